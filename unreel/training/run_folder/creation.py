"""Makes the folder of a new run, whole or not at all.

config.json  manifest.parquet  quarantine.csv  held_out.txt  metrics.csv  monitors.csv  tensorboard/  checkpoints/
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from unreel.errors import RunError
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.io.file_lock import LOCK_FILE, wait_for_lock
from unreel.training.run_folder.config import CONFIG_FILE


def require_new_folder(folder: Path) -> None:
    """Raise RunError when the folder exists and is not empty, but for the lock of a run that never began."""
    if folder.exists() and (not folder.is_dir() or any(path.name != LOCK_FILE for path in folder.iterdir())):
        raise RunError(
            f"{folder} exists already; nothing was changed. "
            f"Go on with it: unreel pretrain --resume {folder}; or choose another --out"
        )


def create_run(out: Path, config: dict[str, Any], write_files: Callable[[Path], None] = lambda _: None) -> Path:
    """Make the folder of a new run with its config and what `write_files` puts into it: whole, or not at all.

    Raises RunError when it exists and is not empty, DiskError when it can't be made.
    """
    require_new_folder(out)
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
