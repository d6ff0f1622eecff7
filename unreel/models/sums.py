"""Checksums beside the files of a checkpoint, so that a damaged one is found before it is used."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from unreel.errors import CheckpointError
from unreel.video.patience import patiently

SUMS = "sums.json"


def checksum(path: Path) -> str:
    """BLAKE2 of a file's bytes, 128 bits in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_sums(folder: Path, names: Iterable[str]) -> None:
    (folder / SUMS).write_text(json.dumps({name: checksum(folder / name) for name in names}, indent=2) + "\n")


def check_sums(folder: Path, names: Iterable[str]) -> None:
    """Raise CheckpointError when one of these files is not what was written; checkpoints without sums pass."""
    try:
        known = json.loads(patiently((folder / SUMS).read_text))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / SUMS}: can't be read ({error}); use another checkpoint") from error
    for name in names:
        try:
            whole = known[name] == patiently(lambda name=name: checksum(folder / name))  # type: ignore[misc]
        except (OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: {name} can't be read ({error}); use another checkpoint") from error
        if not whole:
            raise CheckpointError(f"{folder}: {name} is damaged, its checksum is another; use another checkpoint")
