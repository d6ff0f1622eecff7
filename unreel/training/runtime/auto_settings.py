"""The device of a run, and what "auto" in its settings means there."""

import dataclasses
import importlib.util
import os
import shutil
from typing import Any

import torch

from unreel.errors import InputError
from unreel.models.inflate import choose_initial_weights
from unreel.models.memory_layout import CHANNELS_LAST_ON_CPU
from unreel.models.registry import is_builtin_backbone
from unreel.settings import Settings
from unreel.settings.runtime import DeviceName
from unreel.training.run_folder.config import RunConfig
from unreel.training.runtime.launch import is_launched


def choose_device(requested: DeviceName) -> DeviceName:
    """The requested device; for "auto" the first of CUDA, MPS and CPU. Raises InputError when it is not there."""
    available: dict[DeviceName, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if requested == "auto":
        return next(name for name, is_there in available.items() if is_there)
    if not available[requested]:
        names = ", ".join(name for name, is_there in available.items() if is_there)
        raise InputError(f"--device {requested} is not on this machine; there is {names}")
    return requested


def resolve_config(run_config: RunConfig) -> RunConfig:
    """The same run with every "auto" of its settings replaced by what it means on this machine."""
    return dataclasses.replace(run_config, settings=resolve_auto(run_config.settings))


def resolve_auto(settings: Settings) -> Settings:
    """Replace every "auto" by what it means on this machine, e.g. `tiny` on a CPU and `r3d` elsewhere."""
    device = choose_device(settings.device)
    backbone = settings.backbone.replace("auto", "tiny" if device == "cpu" else "r3d", 1)
    if settings.backbone not in ("auto", "auto-2d"):
        backbone = settings.backbone
    size = settings.size or (64 if backbone.removesuffix("-2d") in ("tiny", "small") else 112)
    num_frames = settings.num_frames or (8 if backbone.removesuffix("-2d") == "tiny" else 16)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16-mixed" if device == "cuda" else "32-true"
    num_sharing = 1 if is_launched() else settings.devices  # a launcher has divided the cores already
    threads = settings.threads or max(1, torch.get_num_threads() // num_sharing)  # kept in the run: sums depend on it
    if device == "cpu":
        refuse_unsafe_layout(settings)
    values: dict[str, Any] = {"threads": threads, "device": device, "backbone": backbone, "precision": precision}
    values["init"] = choose_initial_weights(settings.init, backbone, dict(settings.network_options))
    return resolve_switches(dataclasses.replace(settings, size=size, num_frames=num_frames, **values), device)


def refuse_unsafe_layout(settings: Settings) -> None:
    """Raise InputError for bf16 with channels last on a CPU, which spoils gradients in silence."""
    if settings.precision == "bf16-mixed" and settings.channels_last == "on":
        raise InputError(
            "--precision bf16-mixed with --channels-last on gives NaN or infinite weight gradients on a CPU: the "
            "weight gradient of a depthwise Conv3d in bf16 reads memory that was never written. Leave --channels-last "
            "at auto, or use --precision 32-true"
        )


def resolve_switches(settings: Settings, device: DeviceName) -> Settings:
    """Turn each speed switch on or off: "auto" means on for CUDA, and off elsewhere but for `fused`, on for a CPU too.

    On a CPU, float32 and the networks of `memory_layout.CHANNELS_LAST_ON_CPU` are laid out with channels last. A
    network from elsewhere is compiled only with --compile on.
    """
    auto_devices = dict.fromkeys(("channels_last", "compile"), ("cuda",)) | {"fused": ("cuda", "cpu")}
    switches: dict[str, Any] = {}
    for name, devices in auto_devices.items():
        requested = getattr(settings, name)
        switches[name] = ("on" if device in devices else "off") if requested == "auto" else requested
    if settings.channels_last == "auto" and device == "cpu" and settings.precision != "bf16-mixed":
        switches["channels_last"] = "on" if settings.backbone in CHANNELS_LAST_ON_CPU else "off"
    if settings.compile == "auto" and not (is_builtin_backbone(settings.backbone) and can_compile()):
        switches["compile"] = "off"
    if settings.shard == "on":  # none of these is tested with sharding; Settings refuses an explicit "on"
        switches |= {"channels_last": "off", "compile": "off"}
    if settings.optimizer == "lars" or settings.shard == "on":
        switches["fused"] = "off"
    if settings.read_back == "each-log" and settings.optimizer != "lars":
        switches["fused"] = "on"  # Settings refuses an explicit "off"
    if settings.read_back == "auto":
        can_block = (switches["fused"] == "on" or settings.optimizer == "lars") and settings.shard == "off"
        switches["read_back"] = "each-log" if device == "cuda" and can_block else "each-step"
    return dataclasses.replace(settings, **switches)


def can_compile() -> bool:
    """Whether torch.compile has what it needs for a GPU: Triton, and a C compiler, which many containers lack."""
    compilers = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return importlib.util.find_spec("triton") is not None and any(shutil.which(name) for name in compilers if name)
