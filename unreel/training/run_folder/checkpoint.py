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
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import CheckpointError, DiskError
from unreel.io.atomic_write import atomic_folder, atomic_write_text, remove_leftovers
from unreel.io.checksums import verify_checksums, write_checksums
from unreel.io.retry import retry_on_stall
from unreel.models.encoder.checkpoint_files import WEIGHTS_FILE, clone_shared_tensors, find_checkpoint, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.fsdp import gather_state, shard_like
from unreel.models.heads import HeadSpec
from unreel.training.optimizers import align_optimizer_state

TRAINING_TENSORS_FILE, TRAINING_STATE_FILE = "training.safetensors", "training.json"
HEAD_PREFIX, HEAD_PARAMETERS = (
    "method.heads.",
    ("weight", "bias"),
)  # dual's: a tensor is method.heads.NAME.layers.N.weight or .bias
CHECKSUMMED_FILES = (WEIGHTS_FILE, TRAINING_TENSORS_FILE, TRAINING_STATE_FILE)
NUM_KEPT_CHECKPOINTS = 2


@dataclass(frozen=True)
class TrainingState:
    """What going on needs beside the encoder: head, memory and the optimiser's state, whole, and its numbers."""

    tensors: dict[str, Tensor]
    optimizer_options: dict[str, Any]


def collect_training_state(
    method: nn.Module, optimizer: torch.optim.Optimizer, is_writer: bool = True
) -> TrainingState:
    """Gathered from all processes where it is spread over them, for those that `keep` it."""
    tensors, numbers = flatten_optimizer(optimizer)
    own = {f"method.{n}": t for n, t in method.state_dict().items() if not n.startswith("backbone.")}
    return TrainingState(clone_shared_tensors(gather_state(tensors | own, is_writer)), numbers)


def save_checkpoint(
    run_folder: Path, step: int, encoder: Encoder, resume_state: TrainingState, state: dict[str, Any]
) -> None:
    """Write the checkpoint of `step` and point to it as the last, and as the best if `state["best_step"]` is this step.

    Raises DiskError, with the earlier checkpoints untouched, when the disk is full or can't be written.
    """
    folder = run_folder / "checkpoints"
    name = f"step-{step:08d}"

    def write() -> None:
        remove_leftovers(folder)
        with atomic_folder(folder / name, sync=True, overwrite=True) as aside:
            save_encoder(encoder, aside)
            safetensors.torch.save_file(resume_state.tensors, aside / TRAINING_TENSORS_FILE)
            (aside / TRAINING_STATE_FILE).write_text(
                json.dumps(state | {"step": step, "optimizer": resume_state.optimizer_options}, indent=2) + "\n"
            )
            write_checksums(aside, CHECKSUMMED_FILES)
        update_pointer(folder, name, state.get("best_step"))

    try:
        retry_on_stall(write)
    except (OSError, safetensors.SafetensorError) as error:
        raise DiskError(
            f"{folder}: the checkpoint of step {step} could not be written ({error}); "
            f"earlier checkpoints are valid. Free some space, then: unreel pretrain --resume {run_folder}"
        ) from error


def update_pointer(folder: Path, last_name: str, best_step: int | None) -> None:
    """Make `name` the last checkpoint, then delete what is neither among the last few nor the best."""
    best = find_best(folder, best_step)
    best_step = best_step if best else None
    atomic_write_text(
        folder / "index.json", json.dumps({"last": last_name, "best": best, "best_step": best_step}, indent=2) + "\n"
    )
    others = sorted(p.name for p in folder.glob("step-*") if p.name <= last_name)
    for stale in set(others[:-NUM_KEPT_CHECKPOINTS]) - {best, last_name} | {
        p.name for p in folder.glob("step-*") if p.name > last_name
    }:
        shutil.rmtree(folder / stale, ignore_errors=True)


def find_best(folder: Path, best_step: int | None) -> str | None:
    """The name of the best checkpoint, where it is still there: going back leaves those behind that came after."""
    name = f"step-{best_step:08d}" if best_step is not None else ""
    return name if name and (folder / name).is_dir() else None


def load_checkpoint(run_folder: Path, method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore method and optimiser from the last checkpoint of a run; returns the state it was saved with."""
    folder = find_last_checkpoint(run_folder)
    try:
        verify_checksums(folder, CHECKSUMMED_FILES)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{suggest_earlier_checkpoint(folder)}") from error
    try:
        state: dict[str, Any] = json.loads(retry_on_stall((folder / TRAINING_STATE_FILE).read_text))
        tensors = safetensors.torch.load_file(folder / TRAINING_TENSORS_FILE)
        backbone = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        own = {name.removeprefix("method."): t for name, t in tensors.items() if name.startswith("method.")}
        own |= {f"backbone.{name}": t for name, t in backbone.items()}
        now = method.state_dict()
        method.load_state_dict({name: shard_like(now.get(name), t) for name, t in own.items()})
        optimizer.load_state_dict(unflatten_optimizer(tensors, state["optimizer"]))
        align_optimizer_state(getattr(optimizer, "optimizer", optimizer))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: can't go on from this checkpoint ({why})") from error
    del state["optimizer"]
    if state.get("best_step") is not None and not find_best(folder.parent, state["best_step"]):
        state |= {"best_step": None, "best_mrr": -1.0}  # it was deleted before this run went back
    return state


def load_encoder_with_heads(encoder: Encoder, path: str | Path) -> Encoder:
    """An encoder and the heads that it was trained with, from its run or checkpoint. Raises CheckpointError."""
    folder = find_checkpoint(Path(path))
    try:
        verify_checksums(folder, (TRAINING_TENSORS_FILE,))
        with safetensors.safe_open(folder / TRAINING_TENSORS_FILE, "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys() if name.startswith(HEAD_PREFIX)}  # noqa: SIM118
        options = json.loads((folder.parent.parent / "config.json").read_text())["options"]
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: its heads can't be read ({error}); name the run") from error
    weights = {name.removeprefix(HEAD_PREFIX): tensor for name, tensor in found.items()}
    names = ["clip"] + ["series"] * bool(options.get("series") or options.get("shuffle_rank"))
    if set(weights) != {
        f"{name}.layers.{n}.{part}" for name in {"clip", "series"} for n in (0, 2) for part in HEAD_PARAMETERS
    }:
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


def suggest_earlier_checkpoint(damaged_folder: Path) -> str:
    """How to go on from the newest checkpoint before this one that is whole; "" when there is none."""
    for folder in sorted(damaged_folder.parent.glob("step-*"), reverse=True):
        if folder.name < damaged_folder.name:
            with contextlib.suppress(CheckpointError):
                verify_checksums(folder, CHECKSUMMED_FILES)
                run, step = damaged_folder.parent.parent, int(folder.name.removeprefix("step-"))
                return f". The one before is whole: unreel pretrain --resume {run} --step {step}"
    return ""


def rewind_to_step(run_folder: Path, step: int) -> None:
    """Make the checkpoint of an earlier step the last one; the rest goes with the next save. Raises CheckpointError."""
    folder = run_folder / "checkpoints"
    kept = sorted(int(p.name.removeprefix("step-")) for p in folder.glob("step-*"))
    if step not in kept:
        raise CheckpointError(
            f"{run_folder}: no checkpoint of step {step}; there are {', '.join(map(str, kept)) or 'none'}"
        )
    try:
        best = json.loads((folder / "index.json").read_text()).get("best_step")
    except (OSError, ValueError, AttributeError):
        best = None
    name = find_best(folder, best) if best is not None and best <= step else None
    pointer = {"last": f"step-{step:08d}", "best": name, "best_step": best if name else None}
    atomic_write_text(folder / "index.json", json.dumps(pointer, indent=2) + "\n")


def has_checkpoint(run_folder: Path) -> bool:
    """Whether a run has come to its first checkpoint."""
    folder = run_folder / "checkpoints"
    return (folder / "index.json").exists() or any(folder.glob("step-*"))


def find_last_checkpoint(run_folder: Path) -> Path:
    """Folder of the last checkpoint, also of a run killed before it pointed to its first. Raises CheckpointError."""
    pointer = run_folder / "checkpoints" / "index.json"
    if not pointer.exists():
        if found := sorted(pointer.parent.glob("step-*")):
            return found[-1]
        raise CheckpointError(f"{run_folder}: no checkpoint to go on from; start again with another --out")
    try:
        return run_folder / "checkpoints" / str(json.loads(retry_on_stall(pointer.read_text))["last"])
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


def unflatten_optimizer(tensors: dict[str, Tensor], optimizer_options: dict[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state.setdefault(int(i), {})[key] = tensor
    return {"state": state, "param_groups": optimizer_options["param_groups"]}
