"""Tables and sentences of `unreel bench` for the terminal."""

import statistics

from rich.console import Group
from rich.table import Table

from unreel.profiling.ab_compare import Comparison, format_value
from unreel.profiling.step_timer import STEP_PARTS
from unreel.profiling.step_timings import StepTimings


def build_tables(timings: StepTimings) -> Group:
    """The parts of a step, and the loop beside its two halves."""
    return Group(build_step_table(timings), build_loop_table(timings))


def build_step_table(timings: StepTimings) -> Table:
    table = Table(title=format_title(timings), title_justify="left")
    for name in ("part of a step", "ms", "share", "clips/s"):
        table.add_column(name, justify="left" if name.startswith("part") else "right")
    for name, seconds in timings.part_seconds.items():
        rate = f"{timings.clips_per_s(seconds):.0f}" if seconds else ""
        table.add_row(STEP_PARTS[name], f"{1000 * seconds:.1f}", f"{timings.compute_share(name):.0%}", rate)
    return table


def build_loop_table(timings: StepTimings) -> Table:
    table = Table(title="the loop", title_justify="left")
    for name in ("", "clips/s", "ms a batch"):
        table.add_column(name, justify="right" if name else "left")
    num_processes = timings.num_loader_processes
    processes = "1 process" if num_processes == 1 else f"{num_processes} processes, if they had the machine alone"
    for name, seconds in (
        (f"decoding, {processes}", timings.decode_s / num_processes),
        ("putting a batch together", timings.collate_s / num_processes),
        ("a step, its batch at hand", timings.step_s),
        (f"the loop, waiting {timings.loop.data_wait_share:.0%}", timings.loop.step_s),
    ):
        table.add_row(name, f"{timings.clips_per_s(seconds):.1f}", f"{1000 * seconds:.1f}")
    return table


def build_comparison_table(comparison: Comparison) -> Table:
    """Clips/s of both configurations: median, lowest and highest round."""
    title = f"the loop, in alternation, {len(comparison.given)} rounds"
    table = Table(title=title, title_justify="left")
    for name in ("settings", "clips/s, median", "lowest", "highest"):
        table.add_column(name, justify="left" if name == "settings" else "right")
    changes = ", ".join(f"{name}={format_value(value)}" for name, value in comparison.changes.items())
    for name, rates in (("as given", comparison.given), (changes, comparison.changed)):
        table.add_row(name, *(f"{rate:.1f}" for rate in (statistics.median(rates), min(rates), max(rates))))
    return table


def describe_flops(timings: StepTimings) -> str:
    """FLOPs of a step, and MFU where the peak is known."""
    total = timings.flops.forward + timings.flops.backward
    per_s = total / timings.step_s
    speed = f"{per_s / 1e12:.2f} TFLOP/s" if per_s >= 1e12 else f"{per_s / 1e9:.0f} GFLOP/s"
    rate = f"{total / 1e9:.1f} GFLOP a step, {speed} in a step"
    step, loop = timings.flops.compute_mfu(timings.step_s), timings.flops.compute_mfu(timings.loop.step_s)
    if step is None or loop is None:
        return f"{rate}; no MFU, the device's peak is {timings.flops.peak_source}"
    return f"{rate}: MFU {step:.1%}, in the loop {loop:.1%} ({timings.flops.peak_source})"


def describe_packing(timings: StepTimings) -> str:
    """What packing the corpus would gain, and cost; "" if it was not measured."""
    if (gain := timings.packing_speedup) is None:
        return ""
    return (
        f"Packed (unreel pack), a window would decode {gain.factor:.1f} times as fast ({gain.least:.1f} to "
        f"{gain.most:.1f}; {gain.windows} windows of {gain.pieces} pieces); packing takes "
        f"{timings.pack_s_per_video:.1f} s a video."
    )


def format_title(timings: StepTimings) -> str:
    """The settings that the timings belong to."""
    s, m = timings.settings, timings.machine
    network = f"{s.get('method')}, {s.get('backbone')}, {s.get('num_frames')} x {s.get('size')} x {s.get('size')}"
    machine = f"{m.get('name', s.get('device'))}, {s.get('precision')}, workers {s.get('workers')}"
    return f"{network}, batch {timings.batch_size}; {machine}"
