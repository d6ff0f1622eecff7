"""The one device a run uses, and what the word "auto" in its settings means there."""

import dataclasses
import importlib.util
import os
import shutil
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from unreel.errors import InputError
from unreel.models.fsdp import shard_weights
from unreel.models.registry import is_builtin_backbone
from unreel.settings import DistributedSettings, RuntimeSettings, Settings
from unreel.settings.runtime import DeviceName

if TYPE_CHECKING:
    from lightning.fabric import Fabric


def choose_device(requested: DeviceName) -> DeviceName:
    """The device asked for, else CUDA, MPS or the CPU, whichever is there. Raises InputError when it is not."""
    here: dict[DeviceName, bool] = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if requested == "auto":
        return next(name for name, there in here.items() if there)
    if not here[requested]:
        raise InputError(
            f"--device {requested} is not on this machine; there is {', '.join(n for n, t in here.items() if t)}"
        )
    return requested


def resolve_auto(settings: Settings) -> Settings:
    """Settings with every "auto" replaced by what it means here: `tiny` on a CPU, r3d elsewhere."""
    device = choose_device(settings.device)
    backbone = settings.backbone.replace("auto", "tiny" if device == "cpu" else "r3d", 1)
    if settings.backbone not in ("auto", "auto-2d"):
        backbone = settings.backbone
    tiny = backbone in ("tiny", "tiny-2d")
    size, num_frames = settings.size or (64 if tiny else 112), settings.num_frames or (8 if tiny else 16)
    precision = settings.precision
    if precision == "auto":
        precision = "bf16-mixed" if device == "cuda" else "32-true"
    shared = 1 if is_launched() else settings.devices  # a launcher has shared the cores already
    threads = settings.threads or max(1, torch.get_num_threads() // shared)  # kept with the run: sums depend on it
    return dataclasses.replace(
        resolve_switches(settings, device),
        threads=threads,
        device=device,
        backbone=backbone,
        size=size,
        num_frames=num_frames,
        precision=precision,
    )


def resolve_switches(settings: Settings, device: DeviceName) -> Settings:
    """Settings with each switch of speed on or off: by themselves on for CUDA and off elsewhere, fused on a CPU too.

    A network of somebody else is compiled only when that is asked for.
    """
    usual = dict.fromkeys(("channels_last", "compile"), ("cuda",)) | {"fused": ("cuda", "cpu")}
    asked = {name: getattr(settings, name) for name in usual}
    where = {name: "on" if device in usual[name] else "off" for name in usual}
    found: dict[str, Any] = {name: where[name] if switch == "auto" else switch for name, switch in asked.items()}
    if settings.compile == "auto" and not (is_builtin_backbone(settings.backbone) and can_compile()):
        found["compile"] = "off"
    if settings.shard == "on":  # tried with none of these; settings refuse them where they were asked for
        found |= {"channels_last": "off", "compile": "off"}
    if settings.optimizer == "lars" or settings.shard == "on":
        found["fused"] = "off"
    if settings.read_back == "each-log" and settings.optimizer != "lars":
        found["fused"] = "on"  # settings refuse it where it was switched off
    if settings.read_back == "auto":
        able = (found["fused"] == "on" or settings.optimizer == "lars") and settings.shard == "off"
        found["read_back"] = "each-log" if device == "cuda" and able else "each-step"
    return dataclasses.replace(settings, **found)


def can_compile() -> bool:
    """Whether torch.compile has what it needs for a GPU: Triton, and a C compiler, which many containers lack."""
    compilers = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    return importlib.util.find_spec("triton") is not None and any(shutil.which(name) for name in compilers if name)


def find_backbones(method: nn.Module) -> list[nn.Module]:
    """Every copy of the network in a method: its own, and a teacher's."""
    return [module for name, module in method.named_modules() if name.split(".")[-1] == "backbone"]


def apply_channels_last(method: nn.Module, settings: RuntimeSettings) -> None:
    """Put the weights of 3D convolutions in channels-last order where that is switched on; their values stay."""
    if settings.channels_last == "on":
        for weight in method.parameters():
            if weight.ndim == 5:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)


def set_clips_at_once(method: nn.Module, settings: RuntimeSettings) -> None:
    """Tell every copy of the network how many clips it takes at a time (models/pooling.py)."""
    for network in find_backbones(method):
        network.clips_at_once = settings.clips_at_once  # type: ignore[assignment]


def compile_backbones(method: nn.Module, settings: RuntimeSettings) -> None:
    """Compile every copy of the network in place where that is switched on; names and weights stay."""
    if settings.compile == "on":
        for network in find_backbones(method):
            network.compile()


def run_eager(settings: RuntimeSettings) -> AbstractContextManager[None]:
    """Run networks as they are written: what is done now and then, with other shapes, is not worth compiling."""
    if settings.compile != "on":
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance


def build_fabric(settings: RuntimeSettings) -> "Fabric":
    """Fabric on the settings' device; on a CPU torch is told to be deterministic."""
    from lightning.fabric import Fabric  # takes seconds, and only training needs it

    device, precision = choose_device(settings.device), settings.precision
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    torch.backends.cudnn.benchmark = device == "cuda"  # every step has the same shapes
    torch.set_float32_matmul_precision("highest" if precision == "32-true" else "high")
    known: Any = "32-true" if precision == "auto" else precision
    here, nodes = count_processes(settings)
    if here * nodes == 1:
        return Fabric(accelerator=device, devices=1, precision=known)
    strategy = build_strategy(settings, here * nodes, "nccl" if device == "cuda" else "gloo")
    # Of 1x1x1 kernels, whose strides can be said in two ways; no copy is spared by saying it in the other.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    fabric = Fabric(accelerator=device, devices=here, num_nodes=nodes, precision=known, strategy=strategy)
    fabric.launch()
    if settings.threads:
        torch.set_num_threads(settings.threads)  # which launching changes
    return fabric


def build_strategy(settings: DistributedSettings, world_size: int, backend: str) -> Any:
    """Every process with all weights, or with its share of them."""
    from lightning.fabric.strategies import DDPStrategy, ModelParallelStrategy

    if is_sharded(settings, world_size):
        return ModelParallelStrategy(shard_weights, world_size, tensor_parallel_size=1, process_group_backend=backend)
    # What is not a weight is kept alike by what every process does, so it is not sent with each step.
    return DDPStrategy(process_group_backend=backend, broadcast_buffers=False)


def is_sharded(settings: DistributedSettings, world_size: int) -> bool:
    """Whether the weights are spread over the processes; one alone has all of them."""
    return settings.shard == "on" and world_size > 1


def is_launched() -> bool:
    """Whether torchrun or SLURM started this process among others."""
    env = os.environ
    slurm = "SLURM_NTASKS" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive")  # as Fabric decides
    return "LOCAL_WORLD_SIZE" in env or slurm


def count_processes(settings: RuntimeSettings) -> tuple[int, int]:
    """Processes on this machine, and machines: as torchrun or SLURM started them, else `devices` on this one.

    Raises InputError for more than there are GPUs, and for another launcher, whose processes would not find each other.
    """
    env = os.environ
    if is_launched() and "LOCAL_WORLD_SIZE" in env:  # torchrun
        here = int(env["LOCAL_WORLD_SIZE"])
        return here, int(env["WORLD_SIZE"]) // here
    if is_launched():
        nodes = int(env.get("SLURM_NNODES", "1"))
        return int(env["SLURM_NTASKS"]) // nodes, nodes
    if int(env.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" not in env:
        raise InputError("WORLD_SIZE is set and LOCAL_WORLD_SIZE is not: start several processes with torchrun or srun")
    gpus = torch.cuda.device_count()
    if settings.devices > 1 and (settings.device == "mps" or (settings.device == "cuda" and settings.devices > gpus)):
        there = "one" if settings.device == "mps" else gpus
        raise InputError(f"--devices {settings.devices}, and there is {there} on this machine; give fewer")
    return settings.devices, 1
