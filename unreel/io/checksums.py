"""BLAKE2 hashes of bytes and files, and a file of checksums that shows damage to a folder before it is used."""

import hashlib
import json
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from unreel.errors import CheckpointError
from unreel.io.retry import retry_on_stall
from unreel.io.text import parse_json

CHECKSUMS_FILE = "sums.json"
DIGEST_BYTES = 16


def new_digest(data: bytes = b"") -> "hashlib.blake2b":
    """BLAKE2b of 128 bits, to be fed bit by bit; every hash of this module is of this kind."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)


def hash_bytes(data: bytes) -> str:
    """32 hexadecimal digits.

    >>> hash_bytes(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    return new_digest(data).hexdigest()


def hash_stream(stream: BufferedReader) -> str:
    """`hash_bytes` of the rest of an open file."""
    return hashlib.file_digest(stream, new_digest).hexdigest()


def hash_file(path: str | Path) -> str:
    """`hash_bytes` of a whole file. Raises OSError."""
    with open(path, "rb") as file:
        return hash_stream(file)


def write_checksums(folder: Path, file_names: Iterable[str]) -> None:
    """Write sums.json, the hashes of these files of a folder."""
    checksums = {name: hash_file(folder / name) for name in file_names}
    (folder / CHECKSUMS_FILE).write_text(json.dumps(checksums, indent=2) + "\n")


def verify_checksums(
    folder: Path, file_names: Iterable[str], optional: Iterable[str] = (), advice: str = "use another checkpoint"
) -> None:
    """Raise CheckpointError when one of these files differs from its checksum; a folder without sums.json passes.

    `optional` are names that sums.json of earlier versions lack, `advice` is what to do about damage.
    """
    path = folder / CHECKSUMS_FILE
    try:
        checksums = parse_json(retry_on_stall(path.read_text))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read ({error}); {advice}") from error
    for name in (*file_names, *(name for name in optional if name in checksums)):
        try:
            is_intact = checksums[name] == retry_on_stall(lambda name=name: hash_file(folder / name))  # type: ignore[misc]
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder}: {name} is missing; {advice}") from error
        except (OSError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: {name} can't be read ({error}); {advice}") from error
        if not is_intact:
            raise CheckpointError(f"{folder}: {name} is damaged, its checksum differs; {advice}")
