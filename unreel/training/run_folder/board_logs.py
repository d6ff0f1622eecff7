"""The curves of a run for TensorBoard and Weights & Biases, where their packages are; metrics.csv always has them."""

import importlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.io.atomic_write import atomic_write_text
from unreel.training.run_folder.config import read_config

TENSORBOARD_FOLDER, WANDB_FOLDER, ID_FILE = "tensorboard", "wandb", "id.txt"


def import_summary_writer() -> Any | None:
    """torch's writer of such files; None without the package tensorboard, which it needs."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter


class TensorBoardLog:
    """RUN/tensorboard, without what was written after `last_step`; without the package nothing is written."""

    def __init__(self, run_folder: Path, last_step: int) -> None:
        writer = import_summary_writer()
        folder = str(run_folder / TENSORBOARD_FOLDER)
        self.writer = None if writer is None else writer(folder, purge_step=last_step + 1)

    def log(self, group: str, row: Mapping[str, float], step: int) -> None:
        """Add the figures of a step as GROUP/NAME."""
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(f"{group}/{name}", float(value), step)
            self.writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()


def import_wandb() -> Any:
    """The package wandb. Raises InputError where it is not installed."""
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise InputError("--wandb needs the package wandb, which is not here: pip install 'unreel[wandb]'") from error


class WandbLog:
    """A run of `project` with the name of the run folder; a run that is resumed goes on in it.

    Its identity is in RUN/wandb/id.txt; with WANDB_MODE=offline everything stays in RUN/wandb. The config has no paths.
    """

    def __init__(self, run_folder: Path, project: str) -> None:
        config = read_config(run_folder)
        kept = {name: config[name] for name in ("method", "options", "settings", "versions")}
        self.run = import_wandb().init(
            project=project,
            name=run_folder.resolve().name,
            id=find_identity(run_folder),
            resume="allow",
            dir=str(run_folder),
            config=kept,
        )

    def log(self, group: str, row: Mapping[str, float], step: int) -> None:
        """Add the figures of a step as GROUP/NAME."""
        self.run.log({f"{group}/{name}": float(value) for name, value in row.items()}, step=step)

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()


def find_identity(run_folder: Path) -> str:
    """The identity of a run at Weights & Biases: kept in its folder, made where there is none."""
    path = run_folder / WANDB_FOLDER / ID_FILE
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        atomic_write_text(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()
