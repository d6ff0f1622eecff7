"""The run folder: made once, never overwritten, and the files that grow in it.

config.json  manifest.parquet  quarantine.csv  held_out.txt  metrics.csv  monitors.csv  tensorboard/  checkpoints/
"""

import csv
import dataclasses
import json
import platform
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from unreel.errors import DiskError, RunError
from unreel.io.atomic_write import append_text, atomic_folder, atomic_write_text, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.settings import Settings
from unreel.video.sources.paths import normalize_path

CONFIG_FILE = "config.json"


def require_new_folder(folder: Path) -> None:
    """Raise RunError when the folder exists and is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(
            f"{folder} exists already; nothing was changed. "
            f"Go on with it: unreel pretrain --resume {folder}; or choose another --out"
        )


def create_run(out: Path, config: dict[str, Any], write_files: Callable[[Path], None] = lambda _: None) -> Path:
    """Make the folder of a new run with its config and what `fill` puts into it: whole, or not at all.

    Raises RunError when it exists and is not empty, DiskError when it can't be made.
    """
    require_new_folder(out)
    in_place = out.is_dir()  # an empty folder may be where a disk is mounted, so it can't be replaced
    with disk_errors(out, "can't make the run folder"), nullcontext(out) if in_place else atomic_folder(out) as folder:
        write_files(folder)
        atomic_write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return out


def read_config(run_folder: Path) -> dict[str, Any]:
    """The config of a run. Raises RunError when the folder is not a run."""
    try:
        config: dict[str, Any] = json.loads(retry_on_stall((run_folder / CONFIG_FILE).read_text))
    except OSError as error:
        raise RunError(f"{run_folder} is not a run of unreel (no {CONFIG_FILE} there)") from error
    except ValueError as error:
        raise RunError(f"{run_folder / CONFIG_FILE} can't be read ({error})") from error
    return config


def collect_versions() -> dict[str, str]:
    """What a figure depends on beside the code's options."""
    from unreel import __version__

    return {
        "unreel": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def build_config(method: str, source: Path, options: Any, settings: Settings) -> dict[str, Any]:
    """config.json of a run: all that is needed to start it again or go on."""
    return {
        "method": method,
        "source": normalize_path(source),
        "options": dataclasses.asdict(options),
        "settings": dataclasses.asdict(settings),
        "versions": collect_versions(),
    }


class CsvLog:
    """A CSV file that grows by rows and is cut back to a step when a run goes on; the first row names the columns."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        self.columns: list[str] = []
        if path.exists():
            text = retry_on_stall(path.read_text)
            reader = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())  # a full disk tears the last row
            rows = list(reader)
            kept = [row for row in rows if row["step"].isdigit() and int(row["step"]) <= last_step]
            self.columns = list(reader.fieldnames or [])
            self._rewrite(kept)

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        lines = [",".join(self.columns)] + [",".join(str(row[c]) for c in self.columns) for row in rows]
        atomic_write_text(self.path, "\n".join(lines) + "\n" if self.columns else "")

    def append_row(self, row: dict[str, float | int | bool]) -> None:
        """Append a row, which must begin with the step."""
        header = "" if self.columns else ",".join(row) + "\n"
        self.columns = self.columns or list(row)
        try:
            append_text(self.path, header + ",".join(str(row[c]) for c in self.columns) + "\n")
        except OSError as error:
            raise DiskError(
                f"{self.path}: the log can't be written ({error.strerror}); free some space and resume"
            ) from error
