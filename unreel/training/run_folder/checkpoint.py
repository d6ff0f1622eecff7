"""Saves and loads checkpoints: a folder is filled aside, flushed and renamed, then the pointer is replaced.

    RUN/checkpoints/step-00001200/encoder.safetensors, encoder.json     needed to use the encoder
                                  training.safetensors, training.json   needed to resume: head, memory, optimiser
                                  sums.json                             checksums of these but encoder.json
    RUN/checkpoints/index.json                                          {"last": ..., "best": ..., "best_step": ...}

Weights are safetensors and everything else is JSON, so loading a checkpoint can't execute code.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.errors import CheckpointError, DiskError
from unreel.io.atomic_write import atomic_folder, remove_leftovers
from unreel.io.checksums import verify_checksums, write_checksums
from unreel.io.retry import retry_on_stall
from unreel.io.text import parse_json
from unreel.models.encoder.checkpoint_files import (
    CHECKPOINTS_FOLDER,
    SPEC_FILE,
    WEIGHTS_FILE,
    clone_shared_tensors,
    save_encoder,
)
from unreel.models.encoder.encoder import Encoder
from unreel.models.fsdp import gather_state, shard_like
from unreel.training.optimizers import align_optimizer_state
from unreel.training.run_folder.checkpoint_index import (
    find_best,
    find_last_checkpoint,
    format_step,
    list_checkpoints,
    parse_step,
    update_pointer,
)
from unreel.training.run_folder.run_state import RunState

TRAINING_TENSORS_FILE, TRAINING_STATE_FILE = "training.safetensors", "training.json"
CHECKSUMMED_FILES = (WEIGHTS_FILE, TRAINING_TENSORS_FILE, TRAINING_STATE_FILE)


@dataclass(frozen=True)
class TrainingState:
    """What resuming needs beside the encoder: tensors of head, memory and optimiser, unsharded, and JSON numbers."""

    tensors: dict[str, Tensor]
    optimizer_options: dict[str, Any]


def collect_training_state(
    method: nn.Module, optimizer: torch.optim.Optimizer, is_writer: bool = True
) -> TrainingState:
    """The training state, gathered from all processes where it is sharded; only the writer gets the tensors."""
    tensors, numbers = flatten_optimizer(optimizer)
    own = {f"method.{n}": t for n, t in method.state_dict().items() if not n.startswith("backbone.")}
    return TrainingState(clone_shared_tensors(gather_state(tensors | own, is_writer)), numbers)


def save_checkpoint(run_folder: Path, encoder: Encoder, training_state: TrainingState, run_state: RunState) -> None:
    """Write the checkpoint of `run_state.step`; the pointer then names it as the last, and the best of `run_state`.

    Raises DiskError, with the earlier checkpoints untouched, when the disk is full or can't be written.
    """
    folder, step = run_folder / CHECKPOINTS_FOLDER, run_state.step
    name = format_step(step)

    def write() -> None:
        remove_leftovers(folder)
        with atomic_folder(folder / name, sync=True, overwrite=True) as temporary:
            save_encoder(encoder, temporary)
            safetensors.torch.save_file(training_state.tensors, temporary / TRAINING_TENSORS_FILE)
            data = run_state.to_json() | {"optimizer": training_state.optimizer_options}
            (temporary / TRAINING_STATE_FILE).write_text(json.dumps(data, indent=2) + "\n")
            write_checksums(temporary, (*CHECKSUMMED_FILES, SPEC_FILE))
        update_pointer(folder, name, run_state.best_step)

    try:
        retry_on_stall(write)
    except (OSError, safetensors.SafetensorError) as error:
        problem = f"{folder}: the checkpoint of step {step} could not be written ({error})"
        if not list_checkpoints(folder):
            raise DiskError(f"{problem}; it is the first. Free some space, then run the same command again") from error
        advice = f"Free some space, then: unreel pretrain --resume {run_folder}"
        raise DiskError(f"{problem}; earlier checkpoints are valid. {advice}") from error


def load_checkpoint(run_folder: Path, method: nn.Module, optimizer: torch.optim.Optimizer) -> RunState:
    """Restore method and optimiser from the last checkpoint of a run; returns the run's state at that step.

    Raises CheckpointError when the checkpoint is damaged or does not fit.
    """
    folder = find_last_checkpoint(run_folder)
    try:
        verify_checksums(folder, CHECKSUMMED_FILES, optional=(SPEC_FILE,))
    except CheckpointError as error:
        raise CheckpointError(f"{error}{suggest_earlier_checkpoint(folder)}") from error
    try:
        data: dict[str, Any] = parse_json(retry_on_stall((folder / TRAINING_STATE_FILE).read_text))
        tensors = safetensors.torch.load_file(folder / TRAINING_TENSORS_FILE)
        backbone = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        saved = {name.removeprefix("method."): t for name, t in tensors.items() if name.startswith("method.")}
        saved |= {f"backbone.{name}": t for name, t in backbone.items()}
        current = method.state_dict()
        method.load_state_dict({name: shard_like(current.get(name), t) for name, t in saved.items()})
        optimizer.load_state_dict(unflatten_optimizer(tensors, data["optimizer"]))
        align_optimizer_state(getattr(optimizer, "optimizer", optimizer))
        state = RunState.from_json(data)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: can't go on from this checkpoint ({reason})") from error
    if state.best_step is not None and not find_best(folder.parent, state.best_step):
        state.forget_best()  # it was deleted before this run was rewound
    return state


def suggest_earlier_checkpoint(damaged_folder: Path) -> str:
    """How to resume from the newest intact checkpoint before this one; "" when there is none."""
    for folder in reversed(list_checkpoints(damaged_folder.parent)):
        if folder.name < damaged_folder.name:
            with contextlib.suppress(CheckpointError):
                verify_checksums(folder, CHECKSUMMED_FILES, optional=(SPEC_FILE,))
                run = damaged_folder.parent.parent
                return f". The one before is whole: unreel pretrain --resume {run} --step {parse_step(folder)}"
    return ""


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
