"""Posters and previews, made when they are asked for and kept on disk up to a size."""

import os
from pathlib import Path

from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import DiskCache
from unreel.serve.media import transcoding
from unreel.serve.media.worker_pool import MAX_MEMORY_MB, WorkerPool

CACHE_VERSION = 1
POSTER_TIMEOUT_S, PREVIEW_TIMEOUT_S = 20.0, 120.0  # that making one may take
NUM_WORKERS = 2


def get_cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("UNREEL_CACHE") or os.path.join(base, "unreel")) / "previews"


class PreviewCache:
    """What is shown of videos; `content` names their bytes, so a preview outlives a move of its video."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.cache = DiskCache(folder, limit_bytes)
        self.worker_pool = WorkerPool(NUM_WORKERS, max_memory_mb=MAX_MEMORY_MB)

    def get_poster(self, path: str, content_hash: str, at_s: float) -> bytes:
        """JPEG. Raises VideoError, InputError."""
        name = _make_cache_key(content_hash, "jpg", at_s)
        if (kept := self.cache.get(name)) is not None:
            return kept
        made = self.worker_pool.call(POSTER_TIMEOUT_S, transcoding.make_poster, path, at_s)
        self.cache.put(name, made)
        return made

    def get_preview(self, path: str, content_hash: str, start_s: float, end_s: float) -> bytes:
        """mp4 (H.264) of at most `media.MOST_S` seconds. Raises VideoError, InputError."""
        name = _make_cache_key(content_hash, "mp4", start_s, end_s)
        if (kept := self.cache.get(name)) is not None:
            return kept
        made = self.worker_pool.call(PREVIEW_TIMEOUT_S, transcoding.make_preview, path, start_s, end_s)
        self.cache.put(name, made)
        return made

    def close(self) -> None:
        self.worker_pool.close()


def _make_cache_key(content_hash: str, suffix: str, *seconds: float) -> str:
    what = f"{CACHE_VERSION} {content_hash} {suffix} " + " ".join(f"{s:.3f}" for s in seconds)
    return f"{hash_bytes(what.encode())}.{suffix}"
