"""The folder of an exploration, and what it remembers between calls.

DIR/explore.json                       the source, and which run was asked for with which options
    inspected.jsonl                    what was found out about each file (inspection_log.py)
    manifest.parquet, quarantine.csv   the videos, and the files that can't be used
    run/, index/                       the encoder and its index; run-2/ and index-2/ after --retrain, and so on
    lock                               held by the command that works here
"""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.corpus.manifest import MANIFEST_FILE, QUARANTINE_FILE
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_write_text, disk_errors, remove_leftovers
from unreel.io.file_lock import LOCK_FILE, lock_folder
from unreel.io.text import EXPLORED_SUFFIX, parse_json
from unreel.training.run_folder.config import CONFIG_FILE
from unreel.video.sources.paths import absolute_path

STATE_FILE, LOG_FILE = "explore.json", "inspected.jsonl"
OTHER_PLACE = "choose another place with --out"


def default_folder(source: Path) -> Path:
    """NAME.unreel in the working directory, since footage often lies where nothing can be written."""
    path = Path(absolute_path(source)).resolve()
    return Path(f"{path.stem if path.is_file() else path.name}{EXPLORED_SUFFIX}")


@dataclass
class ExplorationFolder:
    """The state of an exploration: the options of each run by its name, and the names of runs by what is done.

    `trained` runs have ended, `indexed` ones have a complete index too.
    """

    path: Path
    source: str
    requests: dict[str, Any] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)
    indexed: list[str] = field(default_factory=list)

    @property
    def log_path(self) -> Path:
        return self.path / LOG_FILE

    @property
    def manifest_path(self) -> Path:
        return self.path / MANIFEST_FILE

    @property
    def quarantine_path(self) -> Path:
        return self.path / QUARANTINE_FILE

    @property
    def number(self) -> int:
        """Number of the latest run, 1 if there is none."""
        matches = (re.fullmatch(r"run-(\d+)", path.parent.name) for path in self.path.glob(f"run-*/{CONFIG_FILE}"))
        return max([1, *(int(match[1]) for match in matches if match)])

    @property
    def run(self) -> Path:
        """The latest run; its folder is missing before training has begun."""
        return self.get_numbered("run", self.number)

    @property
    def index(self) -> Path:
        """The index of the latest run."""
        return self.get_numbered("index", self.number)

    @property
    def has_run(self) -> bool:
        return (self.run / CONFIG_FILE).exists()

    @property
    def is_trained(self) -> bool:
        """Whether the latest run has been trained to its end."""
        return self.has_run and self.run.name in self.trained

    @property
    def is_complete(self) -> bool:
        """Whether the latest run has been trained and indexed, so that a new one may be asked for."""
        return self.is_trained and self.run.name in self.indexed

    def get_numbered(self, name: str, number: int) -> Path:
        """DIR/run, DIR/run-2, ..."""
        return self.path / (name if number == 1 else f"{name}-{number}")

    def find_next_run(self) -> Path:
        """The folder of a new run; earlier ones stay."""
        return self.get_numbered("run", self.number + 1) if self.has_run else self.run

    def save(self) -> None:
        """Write explore.json. Raises DiskError."""
        state = {name: getattr(self, name) for name in ("source", "requests", "trained", "indexed")}
        with disk_errors(self.path / STATE_FILE, advice=f"free some space, or {OTHER_PLACE}"):
            atomic_write_text(self.path / STATE_FILE, json.dumps(state, indent=2) + "\n")


@contextlib.contextmanager
def open_exploration(path: Path, source: Path) -> Iterator[ExplorationFolder]:
    """Make the folder, or open it again; no other command works in it meanwhile.

    Raises InputError when it belongs to other videos or holds something else, RunError while another command works in
    it, DiskError when it can't be written.
    """
    require_exploration_folder(path)
    with disk_errors(path, "the folder can't be made", OTHER_PLACE):
        path.mkdir(parents=True, exist_ok=True)
    with lock_folder(path, "explores"):
        remove_leftovers(path)
        folder = read_exploration(path, absolute_path(source))
        folder.save()
        yield folder


def require_exploration_folder(path: Path) -> None:
    """Raise InputError unless the folder is missing, empty or an exploration."""
    if not path.exists() or (path / STATE_FILE).exists():
        return
    if not path.is_dir():
        raise InputError(f"{path} is a file; {OTHER_PLACE}")
    names = {item.name for item in path.iterdir() if not item.name.startswith(".")} - {LOCK_FILE}
    if names:
        raise InputError(f"{path} holds other files ({min(names)}), nothing was changed; {OTHER_PLACE}")


def read_exploration(path: Path, source: str) -> ExplorationFolder:
    """The state of a folder, new if it is empty. Raises InputError when it is of other videos or damaged."""
    if not (path / STATE_FILE).exists():
        return ExplorationFolder(path, source)
    try:
        state = parse_json((path / STATE_FILE).read_text())
        runs = (list(state[name]) for name in ("trained", "indexed"))
        folder = ExplorationFolder(path, str(state["source"]), dict(state["requests"]), *runs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path / STATE_FILE}: not what unreel wrote ({error}); {OTHER_PLACE}") from error
    if folder.source != source:
        raise InputError(f"{path} belongs to {folder.source}, not to {source}; nothing was changed: {OTHER_PLACE}")
    return folder
