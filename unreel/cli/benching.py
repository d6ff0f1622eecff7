"""`unreel bench`: where the time of training goes on this machine."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional

from unreel.cli.terminal import escape, help_text, option, parse, stderr


def bench_command(args: list[str]) -> int:
    from unreel.methods import DEFAULT

    given = parse(bench_args(option(args, "--method", DEFAULT)), args, "bench")
    from unreel.api.benching import run_bench
    from unreel.bench.loop import Effort

    effort = Effort(given.rounds, given.loop_steps, given.max_videos)
    what = (given.source, given.method, given.options, given.settings, given.against, effort)
    with stderr.status("videos") as status:
        found = run_bench(*what, say=status.update)
    if given.json:
        json.dump(found.to_json(), sys.stdout, indent=2)
        print()
        return 0
    show(found)
    return 0


def show(found: Any) -> None:
    """The tables, then the sentence."""
    console = Console(highlight=False)
    if found.comparison is not None:
        console.print(found.comparison.table())
        console.print(escape(found.comparison.sentence()))
        return
    from unreel.bench.figures import packing, tables

    console.print(tables(found.figures))
    for said in filter(None, (arithmetic(found.figures), packing(found.figures))):
        console.print(escape(said))
    console.print(f"[bold]bottleneck: {found.advice.bottleneck}.[/] {escape(found.advice.sentence)}")


def arithmetic(found: Any) -> str:
    """FLOPs of a step, and MFU where the peak is known."""
    total = found.flops.forward + found.flops.backward
    rate = f"{total / 1e9:.1f} GFLOP a step, {total / found.step_s / 1e12:.2f} TFLOP/s in a step"
    if not found.flops.peak_per_s:
        return f"{rate}; no MFU, the device's peak is {found.flops.peak_source}"
    step, loop = found.flops.mfu(found.step_s), found.flops.mfu(found.loop.step_s)
    return f"{rate}: MFU {step:.1%}, in the loop {loop:.1%} ({found.flops.peak_source})"


def bench_args(method: str) -> Any:
    """The options of `unreel pretrain` for one method, and how much to measure."""
    from unreel.methods import find_methods, preset_of

    config, settings = preset_of(method)
    own: Any = Annotated[type(config), OmitArgPrefixes, tyro.conf.arg(name=method)]
    common: Any = Annotated[type(settings), OmitArgPrefixes, tyro.conf.arg(name="run")]
    source: Any = Annotated[Path | None, Positional, help_text("Videos to train on; made ones without.")]
    against = help_text("Compare with other values of fields, in alternation: batch_size=32,workers=2.")
    fields: list[Any] = [
        ("source", source, None),
        ("method", Annotated[str, help_text(f"{', '.join(find_methods())}, or package.module:preset.")], method),
        ("against", Annotated[str, against], ""),
        ("rounds", Annotated[int, help_text("Timed steps, or rounds of a comparison.")], 5),
        ("loop_steps", Annotated[int, help_text("Steps of the real loop; the loader's lead fades after some.")], 20),
        ("max_videos", Annotated[int, help_text("Look at no more videos than this, evenly spread.")], 200),
        ("json", Annotated[bool, help_text("Print the figures as JSON to standard output.")], False),
        ("options", own, dataclasses.field(default_factory=lambda: config)),
        ("settings", common, dataclasses.field(default_factory=lambda: settings)),
    ]
    made = dataclasses.make_dataclass("BenchArgs", fields)
    made.__doc__ = (
        "Tell where the time of training goes on this machine and these videos, and what to change. Options are those "
        f"of `unreel pretrain`, defaults those of the method '{method}'; nothing is kept."
    )
    return made
