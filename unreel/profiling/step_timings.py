"""What was measured, as plain numbers: for the table, for JSON, and for the sentence that says what to change."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group
from rich.table import Table

from unreel.packing.speedup import Speedup
from unreel.profiling.step_timer import STEP_PARTS


@dataclass
class LoopTiming:
    """The real loop with its loader: seconds of a step, and how many of them it waits for a batch."""

    step_s: float
    wait_s: float

    @property
    def data_wait_share(self) -> float:
        """Share of a step."""
        return self.wait_s / self.step_s


@dataclass
class FlopCount:
    """Arithmetic of one step's network and heads, and the device's published peak (0 where unknown)."""

    forward: int = 0
    backward: int = 0
    peak_per_s: float = 0.0
    peak_source: str = "not in the table of published peaks"

    def compute_mfu(self, step_s: float) -> float | None:
        """Share of the peak that a step of so many seconds reaches; None without one."""
        return (self.forward + self.backward) / step_s / self.peak_per_s if self.peak_per_s else None


@dataclass
class StepTimings:
    """One setting on one machine and one set of videos.

    A clip is an instance with all its views, as in a run's log. `parts` are seconds of the step whose length was the
    median, so they sum to no more than `step_s`; `decode_s` and `collate_s` are one batch in one process. `packed` is
    what packing the corpus would gain, `pack_s` what it costs a video. Memory is in MB.
    """

    batch_size: int
    part_seconds: dict[str, float]
    step_s: float
    decode_s: float
    loop: LoopTiming
    settings: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    flops: FlopCount = field(default_factory=FlopCount)
    network_calls: list[tuple[int, bool]] = field(default_factory=list)
    batch_mb: float = 0.0
    peak_memory_mb: float = 0.0
    memory_mb: float = 0.0
    collate_s: float = 0.0
    packing_speedup: Speedup | None = None
    pack_s_per_video: float = 0.0

    @property
    def num_loader_processes(self) -> int:
        """Loader processes; without any the loop itself decodes."""
        return max(1, int(self.settings.get("workers", 1)))

    def compute_share(self, *part_names: str) -> float:
        """Of the step."""
        return sum(self.part_seconds.get(name, 0.0) for name in part_names) / self.step_s

    def clips_per_s(self, seconds: float) -> float:
        return self.batch_size / seconds if seconds > 0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers under stable names."""
        own = {"settings": self.settings, "machine": self.machine, "data": self.data, "batch_size": self.batch_size}
        parts = {
            name: {"seconds": s, "share": s / self.step_s, "clips_per_s": self.clips_per_s(s) if s else None}
            for name, s in self.part_seconds.items()
        }
        decode = {
            "seconds": self.decode_s,
            "clips_per_s": self.clips_per_s(self.decode_s),
            "processes": self.num_loader_processes,
        }
        collate = {
            "seconds": self.collate_s,
            "clips_per_s": self.clips_per_s(self.collate_s) if self.collate_s else None,
        }
        pack = (
            asdict(self.packing_speedup) | {"seconds_per_video": self.pack_s_per_video}
            if self.packing_speedup
            else None
        )
        loop = asdict(self.loop) | {
            "data_wait": self.loop.data_wait_share,
            "clips_per_s": self.clips_per_s(self.loop.step_s),
            "mfu": self.flops.compute_mfu(self.loop.step_s),
        }
        step = {
            "seconds": self.step_s,
            "clips_per_s": self.clips_per_s(self.step_s),
            "mfu": self.flops.compute_mfu(self.step_s),
        }
        calls = [{"clips": clips, "gradient": gradient} for clips, gradient in self.network_calls]
        memory = {"batch_mb": self.batch_mb, "peak_mb": self.peak_memory_mb, "device_mb": self.memory_mb}
        return own | {
            "decode": decode,
            "collate": collate,
            "pack": pack,
            "parts": parts,
            "step": step,
            "loop": loop,
            "flops": asdict(self.flops),
            "network_calls": calls,
            "memory": memory,
        }


def build_tables(timings: StepTimings) -> Group:
    """What a person reads: the parts of a step, and the loop beside its two halves."""
    step = Table(title=format_title(timings), title_justify="left")
    for name in ("part of a step", "ms", "share", "clips/s"):
        step.add_column(name, justify="left" if name.startswith("part") else "right")
    for name, seconds in timings.part_seconds.items():
        rate = f"{timings.clips_per_s(seconds):.0f}" if seconds else ""
        step.add_row(STEP_PARTS[name], f"{1000 * seconds:.1f}", f"{timings.compute_share(name):.0%}", rate)
    whole = Table(title="the loop", title_justify="left")
    for name in ("", "clips/s", "ms a batch"):
        whole.add_column(name, justify="right" if name else "left")
    decode_s = timings.decode_s / timings.num_loader_processes
    many = (
        "1 process"
        if timings.num_loader_processes == 1
        else f"{timings.num_loader_processes} processes, if they had the machine alone"
    )
    for what, seconds in (
        (f"decoding, {many}", decode_s),
        ("putting a batch together", timings.collate_s / timings.num_loader_processes),
        ("a step, its batch at hand", timings.step_s),
        (f"the loop, waiting {timings.loop.data_wait_share:.0%}", timings.loop.step_s),
    ):
        whole.add_row(what, f"{timings.clips_per_s(seconds):.1f}", f"{1000 * seconds:.1f}")
    return Group(step, whole)


def describe_packing(timings: StepTimings) -> str:
    """What packing the corpus would gain, and cost; "" where it was not measured."""
    if (gain := timings.packing_speedup) is None:
        return ""
    return (
        f"Packed (unreel pack), a window would decode {gain.factor:.1f} times as fast ({gain.least:.1f} to "
        f"{gain.most:.1f}; {gain.windows} windows of {gain.pieces} pieces); packing takes {timings.pack_s_per_video:.1f} s a video."
    )


def format_title(timings: StepTimings) -> str:
    """The settings that the figures belong to."""
    s, m = timings.settings, timings.machine
    what = f"{s.get('method')}, {s.get('backbone')}, {s.get('num_frames')} x {s.get('size')} x {s.get('size')}"
    where = f"{m.get('name', s.get('device'))}, {s.get('precision')}, workers {s.get('workers')}"
    return f"{what}, batch {timings.batch_size}; {where}"
