"""The checkpoints of a run by step, and the pointer to the last and the best (checkpoints/index.json)."""

import json
import shutil
from pathlib import Path

from unreel.errors import CheckpointError
from unreel.io.atomic_write import atomic_write_text
from unreel.io.retry import retry_on_stall
from unreel.io.text import parse_json
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, POINTER_FILE

STEP_PREFIX = "step-"
NUM_KEPT_CHECKPOINTS = 2


def format_step(step: int) -> str:
    """The folder name of a step's checkpoint, e.g. step-00001200; names sort like steps."""
    return f"{STEP_PREFIX}{step:08d}"


def parse_step(folder: Path) -> int:
    """The inverse of `format_step`."""
    return int(folder.name.removeprefix(STEP_PREFIX))


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in RUN/checkpoints, by step."""
    return sorted(folder.glob(f"{STEP_PREFIX}*"))


def update_pointer(folder: Path, last_name: str, best_step: int | None) -> None:
    """Make `last_name` the last checkpoint, then delete all that are neither among the last few nor the best."""
    best = find_best(folder, best_step)
    write_pointer(folder, last_name, best, best_step)
    names = [path.name for path in list_checkpoints(folder)]
    older, newer = [n for n in names if n <= last_name], [n for n in names if n > last_name]
    for name in set(older[:-NUM_KEPT_CHECKPOINTS]) - {best, last_name} | set(newer):
        shutil.rmtree(folder / name, ignore_errors=True)


def write_pointer(folder: Path, last_name: str, best_name: str | None, best_step: int | None) -> None:
    pointer = {"last": last_name, "best": best_name, "best_step": best_step if best_name else None}
    atomic_write_text(folder / POINTER_FILE, json.dumps(pointer, indent=2) + "\n")


def find_best(folder: Path, best_step: int | None) -> str | None:
    """The name of the best checkpoint if it still exists: rewinding deletes those that came later."""
    name = format_step(best_step) if best_step is not None else ""
    return name if name and (folder / name).is_dir() else None


def rewind_to_step(run_folder: Path, step: int) -> None:
    """Make the checkpoint of an earlier step the last one; the next save deletes the later ones.

    Raises CheckpointError when there is no checkpoint of that step.
    """
    folder = run_folder / CHECKPOINTS_FOLDER
    steps = [parse_step(path) for path in list_checkpoints(folder)]
    if step not in steps:
        raise CheckpointError(
            f"{run_folder}: no checkpoint of step {step}; there are {', '.join(map(str, steps)) or 'none'}"
        )
    try:
        best_step = parse_json((folder / POINTER_FILE).read_text()).get("best_step")
    except (OSError, ValueError, AttributeError):
        best_step = None
    best = find_best(folder, best_step) if best_step is not None and best_step <= step else None
    write_pointer(folder, format_step(step), best, best_step)


def has_checkpoint(run_folder: Path) -> bool:
    """Whether a run has reached its first checkpoint."""
    folder = run_folder / CHECKPOINTS_FOLDER
    return (folder / POINTER_FILE).exists() or bool(list_checkpoints(folder))


def find_last_checkpoint(run_folder: Path) -> Path:
    """Folder of the last checkpoint, also of a run that was killed before it wrote the pointer.

    Raises CheckpointError when there is none.
    """
    pointer = run_folder / CHECKPOINTS_FOLDER / POINTER_FILE
    if not pointer.exists():
        if folders := list_checkpoints(pointer.parent):
            return folders[-1]
        raise CheckpointError(f"{run_folder}: no checkpoint to go on from; start again with another --out")
    try:
        return pointer.parent / str(parse_json(retry_on_stall(pointer.read_text))["last"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{pointer}: can't be read ({error})") from error
