"""Files that an index was built of, kept while an update replaces them, so that it answers until the new one is whole.

    INDEX/previous/ID/vectors.npy, parts/*.parquet    ID belongs to the nearest-neighbour index that stands there

A file is kept before it is first replaced or deleted, and whoever opens this index reads the kept one. The next index
has another ID, so it takes over in the moment in which its one file gets its name; what was kept is then deleted.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from unreel.indexing.store.embeddings_file import list_parts
from unreel.indexing.store.file_names import ANN_INDEX_FILE, PREVIOUS_FOLDER
from unreel.io.atomic_write import atomic_path, disk_errors
from unreel.io.checksums import hash_stream

TAIL_BYTES = 4096  # of a nearest-neighbour index: its description, with a checksum, stands at its end


def read_index_id(folder: Path) -> str:
    """What tells the nearest-neighbour index of a folder from any other; "" where there is none that can be read."""
    path = folder / ANN_INDEX_FILE
    if not path.is_file():  # a pipe would be waited for
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return hash_stream(file)
    except OSError:
        return ""


def keep_previous(folder: Path, path: Path) -> None:
    """Keep a file of an index that is about to be replaced or deleted. Raises DiskError.

    Without effect in a store without an index, and for a file that was kept before.
    """
    kept = _build_kept_path(folder, path)
    if kept is None or kept.exists() or not path.exists():
        return
    with disk_errors(kept, "the files of the old index can't be kept", "free some space, then run it again"):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as temporary:
            _link_or_copy(path, temporary)


def _link_or_copy(path: Path, new: Path) -> None:
    """A second name for a file, which is replaced whole and never changed; a copy on a disk without such names."""
    try:
        os.link(path, new)
    except OSError:
        shutil.copyfile(path, new)


def find_indexed(folder: Path, path: Path) -> Path:
    """The file that the index of a folder was built of: the one kept for it, or that at its usual place."""
    kept = _build_kept_path(folder, path)
    return kept if kept is not None and kept.exists() else path


def list_indexed_parts(folder: Path, part_names: Sequence[str] = ()) -> list[Path]:
    """The parts that the index of a folder was built of, in the order of its rows: those named, or all."""
    kept = _build_kept_path(folder, folder)
    parts = {part.name: part for part in (*list_parts(folder), *(list_parts(kept) if kept is not None else ()))}
    return [parts[name] for name in sorted(parts) if not part_names or name in part_names]


def has_previous(folder: Path) -> bool:
    """Whether an update has replaced files of the index that stands in a folder, and has not built the next one yet."""
    kept = _build_kept_path(folder, folder)
    return kept is not None and kept.exists()


def remove_previous(folder: Path) -> None:
    """Delete all that was kept, once the next index is whole. Only for who holds the folder's lock."""
    shutil.rmtree(folder / PREVIOUS_FOLDER, ignore_errors=True)


def _build_kept_path(folder: Path, path: Path) -> Path | None:
    """Where a file of the index in a folder is kept; None where no index stands there."""
    index_id = read_index_id(folder)
    return folder / PREVIOUS_FOLDER / index_id / path.relative_to(folder) if index_id else None
