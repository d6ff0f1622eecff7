"""The timings of a training step and of the loop, as plain numbers for tables, JSON and advice."""

from dataclasses import asdict, dataclass, field
from typing import Any

from unreel.packing.speedup import Speedup


@dataclass
class LoopTiming:
    """The real loop with its loader: seconds of a step, and seconds of waiting for a batch in it."""

    step_s: float
    wait_s: float

    @property
    def data_wait_share(self) -> float:
        """Share of a step."""
        return self.wait_s / self.step_s


@dataclass
class FlopCount:
    """FLOPs of one step's network and heads, and the device's peak in FLOP/s, published or of a CPU measured (or 0)."""

    forward: int = 0
    backward: int = 0
    peak_per_s: float = 0.0
    peak_source: str = "not in the table of published peaks"

    def compute_mfu(self, step_s: float) -> float | None:
        """Share of the peak that a step of `step_s` seconds reaches; None without a peak."""
        return (self.forward + self.backward) / step_s / self.peak_per_s if self.peak_per_s else None


@dataclass
class StepTimings:
    """The timings of one run configuration on one machine and one set of videos.

    A clip is an instance with all its views, as in a run's log. `part_seconds` belong to the step of median length, so
    they sum to no more than `step_s`; `decode_s` and `collate_s` are for one batch in one process. `packing_speedup` is
    the gain of packing the corpus, `pack_s_per_video` its cost. Memory is in MB.
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
        """Share of the step that these parts take together."""
        return sum(self.part_seconds.get(name, 0.0) for name in part_names) / self.step_s

    def clips_per_s(self, seconds: float) -> float:
        return self.batch_size / seconds if seconds > 0 else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Plain numbers under stable keys."""
        packing = self.packing_speedup
        return {
            "settings": self.settings,
            "machine": self.machine,
            "data": self.data,
            "batch_size": self.batch_size,
            "decode": self._describe(self.decode_s) | {"processes": self.num_loader_processes},
            "collate": self._describe(self.collate_s),
            "pack": asdict(packing) | {"seconds_per_video": self.pack_s_per_video} if packing else None,
            "parts": {
                name: self._describe(seconds) | {"share": seconds / self.step_s}
                for name, seconds in self.part_seconds.items()
            },
            "step": self._describe(self.step_s) | {"mfu": self.flops.compute_mfu(self.step_s)},
            "loop": asdict(self.loop)
            | {
                "data_wait": self.loop.data_wait_share,
                "clips_per_s": self.clips_per_s(self.loop.step_s),
                "mfu": self.flops.compute_mfu(self.loop.step_s),
            },
            "flops": asdict(self.flops),
            "network_calls": [{"clips": clips, "gradient": gradient} for clips, gradient in self.network_calls],
            "memory": {"batch_mb": self.batch_mb, "peak_mb": self.peak_memory_mb, "device_mb": self.memory_mb},
        }

    def _describe(self, seconds: float) -> dict[str, float | None]:
        """Seconds, and the clips per second that they allow; None where they were not measured."""
        return {"seconds": seconds, "clips_per_s": self.clips_per_s(seconds) if seconds else None}
