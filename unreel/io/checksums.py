"""Checksums beside the files of a checkpoint, so that a damaged one is found before it is used."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from unreel.errors import CheckpointError
from unreel.io.retry import retry_on_stall

CHECKSUMS_FILE = "sums.json"


def hash_file(path: Path) -> str:
    """BLAKE2 of a file's bytes, 128 bits in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_checksums(folder: Path, file_names: Iterable[str]) -> None:
    (folder / CHECKSUMS_FILE).write_text(
        json.dumps({name: hash_file(folder / name) for name in file_names}, indent=2) + "\n"
    )


def verify_checksums(folder: Path, file_names: Iterable[str]) -> None:
    """Raise CheckpointError when one of these files is not what was written; checkpoints without sums pass."""
    try:
        known = json.loads(retry_on_stall((folder / CHECKSUMS_FILE).read_text))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / CHECKSUMS_FILE}: can't be read ({error}); use another checkpoint") from error
    for name in file_names:
        try:
            whole = known[name] == retry_on_stall(lambda name=name: hash_file(folder / name))  # type: ignore[misc]
        except (OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: {name} can't be read ({error}); use another checkpoint") from error
        if not whole:
            raise CheckpointError(f"{folder}: {name} is damaged, its checksum is another; use another checkpoint")
