"""Keep the index of a file that had to be decoded for it, so that it is decoded once and not once in each process."""

import io
import os
import zipfile
from dataclasses import fields

import av
import numpy as np

from unreel.errors import InputError
from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import open_disk_cache
from unreel.video.reading.frame_index import FrameIndex

FORMAT = 5  # a new number wherever an index of the same file would differ
ARRAYS = tuple(field.name for field in fields(FrameIndex) if field.name != "cut_off")


def load_index(path: str, version: str, size_bytes: int) -> FrameIndex | None:
    """The index that was saved for this state of a file; None when there is none, or it can't be read."""
    try:
        data = open_disk_cache().get(_build_name(path, version, size_bytes))
        if data is None:
            return None
        with np.load(io.BytesIO(data), allow_pickle=False) as saved:
            return FrameIndex(**{name: saved[name] for name in ARRAYS}, cut_off=str(saved["cut_off"]))
    except (InputError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_index(path: str, version: str, size_bytes: int, index: FrameIndex) -> None:
    """Keep an index; where the cache can't be written the file is decoded again next time."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: getattr(index, name) for name in ARRAYS}, cut_off=np.array(index.cut_off))
    try:
        open_disk_cache().put(_build_name(path, version, size_bytes), buffer.getvalue())
    except InputError:
        return


def _build_name(path: str, version: str, size_bytes: int) -> str:
    """Another decoder may give other frames, so its version counts."""
    state = (FORMAT, av.__version__, av.ffmpeg_version_info, os.path.abspath(path), version, size_bytes)
    return hash_bytes(repr(state).encode("utf-8", "surrogateescape"))
