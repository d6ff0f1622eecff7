"""Makes the folder of a new run, whole or not at all.

config.json  manifest.parquet  quarantine.csv  held_out.txt  metrics.csv  monitors.csv  tensorboard/  checkpoints/
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from unreel.errors import RunError
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.training.run_folder.config import CONFIG_FILE


def require_new_folder(folder: Path) -> None:
    """Raise RunError when the folder exists and is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
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
    with disk_errors(out, "can't make the run folder"), nullcontext(out) if in_place else atomic_folder(out) as folder:
        write_files(folder)
        atomic_write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return out
