"""`unreel bench`: where the time of training goes on this machine."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.terminal import argument_help, escape_markup, parse_args, read_option, stderr_console


def bench_command(args: list[str]) -> int:
    from unreel.methods.registry import DEFAULT_METHOD

    given = parse_args(build_bench_args(read_option(args, "--method", DEFAULT_METHOD)), args, "bench")
    from unreel.profiling.measure import BenchOptions
    from unreel.verbs.bench import bench_config

    effort = BenchOptions(given.rounds, given.loop_steps, given.max_videos)
    what = (given.source, given.method, given.options, given.settings, given.against, effort)
    with stderr_console.status("videos") as status:
        found = bench_config(*what, report_stage=status.update)
    if given.json:
        json.dump(found.to_json(), sys.stdout, indent=2)
        print()
        return 0
    print_result(found)
    return 0


def print_result(result: Any) -> None:
    """The tables, then the sentence."""
    console = Console(highlight=False)
    if result.comparison is not None:
        console.print(result.comparison.table())
        console.print(escape_markup(result.comparison.sentence()))
        return
    from unreel.profiling.step_timings import build_tables, describe_packing

    console.print(build_tables(result.figures))
    for said in filter(None, (describe_flops(result.figures), describe_packing(result.figures))):
        console.print(escape_markup(said))
    console.print(f"[bold]bottleneck: {result.advice.bottleneck}.[/] {escape_markup(result.advice.sentence)}")


def describe_flops(timings: Any) -> str:
    """FLOPs of a step, and MFU where the peak is known."""
    total = timings.flops.forward + timings.flops.backward
    rate = f"{total / 1e9:.1f} GFLOP a step, {total / timings.step_s / 1e12:.2f} TFLOP/s in a step"
    if not timings.flops.peak_per_s:
        return f"{rate}; no MFU, the device's peak is {timings.flops.peak_source}"
    step, loop = timings.flops.mfu(timings.step_s), timings.flops.mfu(timings.loop.step_s)
    return f"{rate}: MFU {step:.1%}, in the loop {loop:.1%} ({timings.flops.peak_source})"


def build_bench_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, and how much to measure."""
    from unreel.methods.registry import find_methods, load_preset

    config, settings = load_preset(method)
    own: Any = Annotated[type(config), OmitArgPrefixes, tyro.conf.arg(name=method)]
    common: Any = Annotated[type(settings), OmitArgPrefixes, tyro.conf.arg(name="run")]
    source: Any = Annotated[Path | None, Positional, argument_help("Videos to train on; made ones without.")]
    against = argument_help("Compare with other values of fields, in alternation: batch_size=32,workers=2.")
    fields: list[Any] = [
        ("source", source, None),
        ("method", Annotated[str, argument_help(f"{', '.join(find_methods())}, or package.module:preset.")], method),
        ("against", Annotated[str, against], ""),
        ("rounds", Annotated[int, argument_help("Timed steps, or rounds of a comparison.")], 5),
        (
            "loop_steps",
            Annotated[int, argument_help("Steps of the real loop; the loader's lead fades after some.")],
            20,
        ),
        ("max_videos", Annotated[int, argument_help("Look at no more videos than this, evenly spread.")], 200),
        ("json", Annotated[bool, argument_help("Print the figures as JSON to standard output.")], False),
        ("options", own, dataclasses.field(default_factory=lambda: config)),
        ("settings", common, dataclasses.field(default_factory=lambda: settings)),
    ]
    made = dataclasses.make_dataclass("BenchArgs", fields)
    made.__doc__ = (
        "Tell where the time of training goes on this machine and these videos, and what to change. Options are those "
        f"of `unreel pretrain`, defaults those of the method '{method}'; nothing is kept."
    )
    return made
