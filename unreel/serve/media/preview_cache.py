"""Posters and previews, made on request and cached on disk up to a size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import DiskCache, get_cache_folder
from unreel.serve.media import transcoding
from unreel.serve.media.warm_workers import MAX_MEMORY_MB, WarmWorkerPool

CACHE_VERSION = 1
POSTER_TIMEOUT_S, PREVIEW_TIMEOUT_S = 20.0, 120.0
NUM_WORKERS = 2


def get_preview_folder() -> Path:
    return get_cache_folder() / "previews"


class PreviewCache:
    """Posters and previews of videos by content hash, so that they stay valid when a video is moved."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.cache = DiskCache(folder, limit_bytes)
        self.worker_pool = WarmWorkerPool(NUM_WORKERS, max_memory_mb=MAX_MEMORY_MB)

    def get_poster(self, path: str, content_hash: str, at_s: float) -> bytes:
        """JPEG. Raises VideoError, InputError."""
        key = _make_cache_key(content_hash, "jpg", at_s)
        return self._get_or_make(key, POSTER_TIMEOUT_S, transcoding.make_poster, path, at_s)

    def get_preview(self, path: str, content_hash: str, start_s: float, end_s: float) -> bytes:
        """mp4 (H.264) of at most `transcoding.MAX_PREVIEW_S` seconds. Raises VideoError, InputError."""
        key = _make_cache_key(content_hash, "mp4", start_s, end_s)
        return self._get_or_make(key, PREVIEW_TIMEOUT_S, transcoding.make_preview, path, start_s, end_s)

    def _get_or_make(self, key: str, timeout_s: float, make: Callable[..., bytes], *arguments: Any) -> bytes:
        """The cached bytes, or those that a worker process makes now."""
        if (cached := self.cache.get(key)) is not None:
            return cached
        data = self.worker_pool.call(timeout_s, make, *arguments)
        self.cache.put(key, data)
        return data

    def close(self) -> None:
        self.worker_pool.close()


def _make_cache_key(content_hash: str, suffix: str, *seconds: float) -> str:
    text = f"{CACHE_VERSION} {content_hash} {suffix} " + " ".join(f"{s:.3f}" for s in seconds)
    return f"{hash_bytes(text.encode())}.{suffix}"
