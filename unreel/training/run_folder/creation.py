"""Makes the folder of a new run, whole or not at all.

config.json  provenance.json  code/  manifest.parquet  quarantine.csv  held_out.txt
metrics.csv  monitors.csv  tensorboard/  wandb/  checkpoints/
"""

import contextlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unreel.errors import RunError
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.io.file_lock import LOCK_FILE, is_locked, lock_folder, wait_for_lock
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER
from unreel.own_code.copies import CODE_FOLDER
from unreel.provenance.record import PROVENANCE_FILE
from unreel.training.run_folder.board_logs import TENSORBOARD_FOLDER, WANDB_FOLDER
from unreel.training.run_folder.checkpoint_index import list_checkpoints, parse_step
from unreel.training.run_folder.config import CONFIG_FILE

RUN_ENTRIES = {CONFIG_FILE, "manifest.parquet", "quarantine.csv", "held_out.txt", "metrics.csv", "monitors.csv"}
RUN_ENTRIES |= {TENSORBOARD_FOLDER, WANDB_FOLDER, PROVENANCE_FILE, CHECKPOINTS_FOLDER, CODE_FOLDER, LOCK_FILE}
"""What a run has before its first step is saved."""


def require_new_folder(folder: Path) -> None:
    """Raise RunError when the folder exists and is not empty, but for a run that has saved no step yet."""
    is_folder = folder.is_dir()
    if folder.exists() and not (is_folder and (is_empty(folder) or is_unbegun(folder))):
        raise RunError(
            f"{folder} exists already; nothing was changed. "
            f"Go on with it: unreel pretrain --resume {folder}; or choose another --out"
        )


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock."""
    return all(path.name == LOCK_FILE for path in folder.iterdir())


def is_unbegun(folder: Path) -> bool:
    """Whether a folder holds a run that has saved no step: starting again loses nothing (same seed, same run)."""
    was_locked = (folder / CONFIG_FILE).is_file() and (folder / LOCK_FILE).is_file()  # else another makes it just now
    if not was_locked or is_locked(folder):
        return False
    others = {path.name for path in folder.iterdir()} - RUN_ENTRIES
    return not others and all(parse_step(path) == 0 for path in list_checkpoints(folder / CHECKPOINTS_FOLDER))


def clear_unbegun(folder: Path) -> None:
    """Empty the folder of a run that has saved no step; says so. Raises RunError while another process is in it."""
    if not folder.is_dir() or is_empty(folder):
        return
    with lock_folder(folder), disk_errors(folder, "can't be emptied"):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK_FILE:
                path.unlink()
    warnings.warn(f"{folder}: the run there had saved no step; it is started over", RuntimeWarning, stacklevel=2)


def create_run(out: Path, config: dict[str, Any], write_files: Callable[[Path], None] = lambda _: None) -> Path:
    """Make the folder of a new run with its config and what `write_files` puts into it: whole, or not at all.

    Raises RunError when it exists and is not empty, DiskError when it can't be made.
    """
    require_new_folder(out)
    clear_unbegun(out)
    in_place = out.is_dir()  # an empty folder may be where a disk is mounted, so it can't be replaced
    with disk_errors(out, "can't make the run folder"), fill_alone(out) if in_place else atomic_folder(out) as folder:
        write_files(folder)
        atomic_write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return out


@contextlib.contextmanager
def fill_alone(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, while no other run can begin in it. Raises RunError where one has begun."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(wait_for_lock(folder / LOCK_FILE, timeout_s=0))
        except RunError as error:
            raise RunError(f"{folder}: another run begins there just now; choose another --out") from error
        if any(path.name != LOCK_FILE for path in folder.iterdir()):
            raise RunError(f"{folder}: another run has begun there meanwhile; choose another --out")
        yield folder
