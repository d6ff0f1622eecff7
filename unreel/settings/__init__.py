"""The settings of a pre-training run, whatever its method. A method's preset gives the values.

They come in groups, one file each. `Settings` is all of them, flat, for the command line and config.json; it is an
instance of every group, so a function asks for the group that it needs. Field comments are the help of
`unreel pretrain --help`.
"""

from dataclasses import dataclass, replace
from typing import Any

from unreel.errors import InputError
from unreel.settings.data import DataSettings
from unreel.settings.distributed import DistributedSettings
from unreel.settings.network import NetworkSettings
from unreel.settings.optimisation import OptimisationSettings
from unreel.settings.runtime import RuntimeSettings

__all__ = [
    "DataSettings",
    "DistributedSettings",
    "NetworkSettings",
    "OptimisationSettings",
    "RuntimeSettings",
    "Settings",
    "make_paper_settings",
    "make_single_machine_settings",
]


@dataclass(frozen=True)
class Settings(RuntimeSettings, OptimisationSettings, DataSettings, NetworkSettings):
    """Options of network, data, optimisation and run."""

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        DataSettings.__post_init__(self)
        OptimisationSettings.__post_init__(self)
        RuntimeSettings.__post_init__(self)
        self._check_switches()

    def _check_switches(self) -> None:
        """Sharding, the update rule and the kernels of the optimiser exclude each other in part."""
        for name in ("channels_last", "compile", "fused"):
            if self.shard == "on" and getattr(self, name) == "on":
                raise InputError(f"{name} on can't be used with shard on; leave --{name.replace('_', '-')} at auto")
        if self.shard == "on" and self.read_back == "each-log":
            raise InputError("read_back each-log can't be used with shard on; leave --read-back at auto")
        if self.fused == "on" and self.optimizer == "lars":
            raise InputError("fused updates exist for sgd and adamw, not for lars; leave --fused at auto")
        if self.read_back == "each-log" and self.fused == "off" and self.optimizer != "lars":
            raise InputError(
                "--read-back each-log needs an optimiser that can skip an update on the GPU itself: set --fused on, or "
                "--read-back each-step"
            )


def make_single_machine_settings(**changes: Any) -> Settings:
    """Settings for a laptop or one GPU. Our presets share them, so that methods can be compared.

    The clip's length and size follow from the network; time is in seconds, not in frames of the file.

    >>> settings = make_single_machine_settings(batch_size=32)
    >>> settings.batch_size, settings.fps, isinstance(settings, DataSettings)
    (32, 12.5, True)
    """
    shared = Settings(
        num_frames=0,
        fps=12.5,
        stride_frames=0,
        epochs=None,
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup=0.05,
    )
    return replace(shared, **changes)


def make_paper_settings(**changes: Any) -> Settings:
    """Settings that the papers share: all videos, each as a whole, and the last checkpoint.

    >>> settings = make_paper_settings(batch_size=64)
    >>> settings.batch_size, settings.segment_s, settings.held_out
    (64, 0.0, 0.0)
    """
    return replace(Settings(segment_s=0.0, held_out=0.0, best_checkpoint="last"), **changes)
