"""Checkpoints that can't be half-written: a folder is filled aside, flushed and renamed, then a pointer is replaced.

    RUN/checkpoints/step-00001200/encoder.safetensors, encoder.json     what using the encoder needs
                                  training.safetensors, training.json   what going on needs: head, memory, optimiser
                                  sums.json                             checksums of these but encoder.json
    RUN/checkpoints/index.json                                          {"last": ..., "best": ..., "best_step": ...}

Weights are safetensors and everything else is JSON, so that loading one can't execute code.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import CheckpointError, DiskError
from unreel.models.encoder import WEIGHTS, Encoder, checkpoint_folder, save_encoder, separate
from unreel.models.heads import HeadSpec
from unreel.models.shards import gathered, like
from unreel.models.sums import check_sums, write_sums
from unreel.training.optim import align_state
from unreel.video.patience import patiently

TENSORS, STATE = "training.safetensors", "training.json"
HEAD, PARTS = "method.heads.", ("weight", "bias")  # dual's: a tensor is method.heads.NAME.layers.N.weight or .bias
SUMMED = (WEIGHTS, TENSORS, STATE)
KEEP = 2


@dataclass(frozen=True)
class Kept:
    """What going on needs beside the encoder: head, memory and the optimiser's state, whole, and its numbers."""

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


def kept(method: nn.Module, optimizer: torch.optim.Optimizer, keep: bool = True) -> Kept:
    """Gathered from all processes where it is spread over them, for those that `keep` it."""
    tensors, numbers = flatten_optimizer(optimizer)
    own = {f"method.{n}": t for n, t in method.state_dict().items() if not n.startswith("backbone.")}
    return Kept(separate(gathered(tensors | own, keep)), numbers)


def save_checkpoint(run: Path, step: int, encoder: Encoder, training: Kept, state: dict[str, Any]) -> None:
    """Write the checkpoint of `step` and point to it as the last, and as the best if `state["best_step"]` is this step.

    Raises DiskError, with the earlier checkpoints untouched, when the disk is full or can't be written.
    """
    folder = run / "checkpoints"
    name, aside = f"step-{step:08d}", folder / f".writing-step-{step:08d}"

    def write() -> None:
        for left in folder.glob(".writing-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        save_encoder(encoder, aside)
        safetensors.torch.save_file(training.tensors, aside / TENSORS)
        (aside / STATE).write_text(json.dumps(state | {"step": step, "optimizer": training.numbers}, indent=2) + "\n")
        write_sums(aside, SUMMED)
        flush(aside)
        shutil.rmtree(folder / name, ignore_errors=True)
        aside.rename(folder / name)
        flush(folder, deep=False)
        point_to(folder, name, state.get("best_step"))

    try:
        patiently(write)
    except (OSError, safetensors.SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise DiskError(
            f"{folder}: the checkpoint of step {step} could not be written ({error}); "
            f"earlier checkpoints are valid. Free some space, then: unreel pretrain --resume {run}"
        ) from error


def flush(folder: Path, deep: bool = True) -> None:
    """Bring a folder to the disk, and with `deep` every file in it."""
    for path in [*(folder.iterdir() if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_text(path: Path, text: str) -> None:
    """Write a text file in one piece: aside, flushed, renamed."""
    aside = path.with_name(f".{path.name}.writing")

    def write() -> None:
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)

    try:
        patiently(write)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def point_to(folder: Path, name: str, best_step: int | None) -> None:
    """Make `name` the last checkpoint, then delete what is neither among the last few nor the best."""
    best = best_of(folder, best_step)
    best_step = best_step if best else None
    replace_text(
        folder / "index.json", json.dumps({"last": name, "best": best, "best_step": best_step}, indent=2) + "\n"
    )
    others = sorted(p.name for p in folder.glob("step-*") if p.name <= name)
    for stale in set(others[:-KEEP]) - {best, name} | {p.name for p in folder.glob("step-*") if p.name > name}:
        shutil.rmtree(folder / stale, ignore_errors=True)


def best_of(folder: Path, best_step: int | None) -> str | None:
    """The name of the best checkpoint, where it is still there: going back leaves those behind that came after."""
    name = f"step-{best_step:08d}" if best_step is not None else ""
    return name if name and (folder / name).is_dir() else None


def load_checkpoint(run: Path, method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore method and optimiser from the last checkpoint of a run; returns the state it was saved with."""
    folder = last_checkpoint(run)
    try:
        check_sums(folder, SUMMED)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{offer(folder)}") from error
    try:
        state: dict[str, Any] = json.loads(patiently((folder / STATE).read_text))
        tensors = safetensors.torch.load_file(folder / TENSORS)
        backbone = safetensors.torch.load_file(folder / WEIGHTS)
        own = {name.removeprefix("method."): t for name, t in tensors.items() if name.startswith("method.")}
        own |= {f"backbone.{name}": t for name, t in backbone.items()}
        now = method.state_dict()
        method.load_state_dict({name: like(now.get(name), t) for name, t in own.items()})
        optimizer.load_state_dict(unflatten_optimizer(tensors, state["optimizer"]))
        align_state(getattr(optimizer, "optimizer", optimizer))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: can't go on from this checkpoint ({why})") from error
    del state["optimizer"]
    if state.get("best_step") is not None and not best_of(folder.parent, state["best_step"]):
        state |= {"best_step": None, "best_mrr": -1.0}  # it was deleted before this run went back
    return state


def with_heads(encoder: Encoder, path: str | Path) -> Encoder:
    """An encoder and the heads that it was trained with, from its run or checkpoint. Raises CheckpointError."""
    folder = checkpoint_folder(Path(path))
    try:
        check_sums(folder, (TENSORS,))
        with safetensors.safe_open(folder / TENSORS, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys() if name.startswith(HEAD)}  # noqa: SIM118
        options = json.loads((folder.parent.parent / "config.json").read_text())["options"]
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: its heads can't be read ({error}); name the run") from error
    weights = {name.removeprefix(HEAD): tensor for name, tensor in found.items()}
    names = ["clip"] + ["series"] * bool(options.get("series") or options.get("shuffle_rank"))
    if set(weights) != {f"{name}.layers.{n}.{part}" for name in {"clip", "series"} for n in (0, 2) for part in PARTS}:
        method = encoder.spec.method
        raise CheckpointError(f"{path}: trained by {method}, which has no heads of its own; index it by its features")
    weights = {key: tensor for key, tensor in weights.items() if key.partition(".")[0] in names}  # trained ones
    specs = []
    for name in names:
        first, last = (weights[f"{name}.layers.{layer}.weight"] for layer in (0, 2))
        segments = int(options["segments"]) if name == "series" else 1
        specs.append(HeadSpec(name, first.shape[1], first.shape[0], last.shape[0], segments))
    made = Encoder(dataclasses.replace(encoder.spec, heads=tuple(specs)), encoder.backbone)
    assert made.heads is not None
    made.heads.load_state_dict(weights)
    return made.eval()


def offer(damaged: Path) -> str:
    """How to go on from the newest checkpoint before this one that is whole; "" when there is none."""
    for folder in sorted(damaged.parent.glob("step-*"), reverse=True):
        if folder.name < damaged.name:
            with contextlib.suppress(CheckpointError):
                check_sums(folder, SUMMED)
                run, step = damaged.parent.parent, int(folder.name.removeprefix("step-"))
                return f". The one before is whole: unreel pretrain --resume {run} --step {step}"
    return ""


def go_back(run: Path, step: int) -> None:
    """Make the checkpoint of an earlier step the last one; the rest goes with the next save. Raises CheckpointError."""
    folder = run / "checkpoints"
    kept = sorted(int(p.name.removeprefix("step-")) for p in folder.glob("step-*"))
    if step not in kept:
        raise CheckpointError(f"{run}: no checkpoint of step {step}; there are {', '.join(map(str, kept)) or 'none'}")
    try:
        best = json.loads((folder / "index.json").read_text()).get("best_step")
    except (OSError, ValueError, AttributeError):
        best = None
    name = best_of(folder, best) if best is not None and best <= step else None
    pointer = {"last": f"step-{step:08d}", "best": name, "best_step": best if name else None}
    replace_text(folder / "index.json", json.dumps(pointer, indent=2) + "\n")


def has_checkpoint(run: Path) -> bool:
    """Whether a run has come to its first checkpoint."""
    folder = run / "checkpoints"
    return (folder / "index.json").exists() or any(folder.glob("step-*"))


def last_checkpoint(run: Path) -> Path:
    """Folder of the last checkpoint, also of a run killed before it pointed to its first. Raises CheckpointError."""
    pointer = run / "checkpoints" / "index.json"
    if not pointer.exists():
        if found := sorted(pointer.parent.glob("step-*")):
            return found[-1]
        raise CheckpointError(f"{run}: no checkpoint to go on from; start again with another --out")
    try:
        return run / "checkpoints" / str(json.loads(patiently(pointer.read_text))["last"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{pointer}: can't be read ({error})") from error


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state as named tensors and plain JSON numbers."""
    state = optimizer.state_dict()
    tensors = {
        f"optimizer.{i}.{key}": value
        for i, entry in state["state"].items()
        for key, value in entry.items()
        if isinstance(value, torch.Tensor)
    }
    return tensors, {"param_groups": state["param_groups"]}


def unflatten_optimizer(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = tensor
    return {"state": state, "param_groups": numbers["param_groups"]}
