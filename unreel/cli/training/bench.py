"""`unreel bench`: where the time of training goes on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from tyro.conf import Positional

from unreel.cli.arguments import argument_help, name_argument
from unreel.cli.method_options import get_run_config, make_args_class, make_method_field, parse_method_args
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup, stderr_console

if TYPE_CHECKING:
    from unreel.verbs.training.bench import BenchResult


def bench_command(argv: list[str]) -> int:
    args = parse_method_args(build_bench_args, argv, "bench")
    refuse_json_and_csv(args.json, args.csv)
    from unreel.profiling.measure import BenchOptions
    from unreel.verbs.training.bench import bench_config

    bench_options = BenchOptions(args.rounds, args.loop_steps, args.max_videos)
    with stderr_console.status("videos") as status:
        result = bench_config(args.source, get_run_config(args), args.against, bench_options, status.update)
    if not print_records(list_timings(result) if args.csv else [], args.json, args.csv, result.to_json()):
        print_result(result)
    return 0


def list_timings(result: "BenchResult") -> list[dict[str, Any]]:
    """A record for each part of a step; of a comparison, one for each round."""
    if result.comparison is not None:
        given, changed = result.comparison.given, result.comparison.changed
        return [{"given_clips_per_s": a, "changed_clips_per_s": b} for a, b in zip(given, changed, strict=True)]
    timings = result.to_json()
    whole = {name: timings[name] for name in ("decode", "collate", "step")}
    return [{"part": name} | part for name, part in (whole | timings["parts"]).items()]


def print_result(result: "BenchResult") -> None:
    """The tables, then the advice."""
    from unreel.profiling.tables import build_comparison_table, build_tables, describe_flops, describe_packing

    console = Console(highlight=False)
    if result.comparison is not None:
        console.print(build_comparison_table(result.comparison))
        console.print(escape_markup(result.comparison.describe()))
        return
    assert result.timings is not None and result.advice is not None
    console.print(build_tables(result.timings))
    for sentence in filter(None, (describe_flops(result.timings), describe_packing(result.timings))):
        console.print(escape_markup(sentence))
    console.print(f"[bold]bottleneck: {result.advice.bottleneck}.[/] {escape_markup(result.advice.sentence)}")


def build_bench_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, and how much to measure."""
    source_help = "Videos to train on; without them, synthetic ones."
    against_help = "Compare with other values of fields, in alternation: batch_size=32,workers=2."
    loop_steps_help = "Steps of the real loop; the batches that the loader prepared ahead are used up after some."
    max_videos_help = "Read no more videos than this, evenly spread over the source."
    fields: list[Any] = [
        ("source", Annotated[Path | None, Positional, name_argument("[FOLDER]", source_help)], None),
        make_method_field(method),
        ("against", Annotated[str, argument_help(against_help)], ""),
        ("rounds", Annotated[int, argument_help("Timed steps, or rounds of a comparison.")], 5),
        ("loop_steps", Annotated[int, argument_help(loop_steps_help)], 20),
        ("max_videos", Annotated[int, argument_help(max_videos_help)], 200),
        ("json", Annotated[bool, argument_help("Print the result as JSON to standard output.")], False),
        ("csv", Annotated[bool, argument_help("Print the seconds of each part as CSV.")], False),
    ]
    help_text = (
        "Measure where the time of training goes on this machine and these videos, and say what to change. Options are "
        f"those of `unreel pretrain`, defaults those of the method '{method}'; nothing is kept."
    )
    return make_args_class("BenchArgs", help_text, fields, method)
