"""Posters and previews, made when they are asked for and kept on disk up to a size."""

import hashlib
import os
from pathlib import Path

from unreel.serve import media
from unreel.serve.apart import Apart, limit_memory
from unreel.video.disk_cache import DiskCache

VERSION = 1
POSTER_S, CUT_S = 20.0, 120.0  # that making one may take
PROCESSES = 2


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("UNREEL_CACHE") or os.path.join(base, "unreel")) / "previews"


class Previews:
    """What is shown of videos; `content` names their bytes, so a preview outlives a move of its video."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.cache = DiskCache(folder, limit_bytes)
        self.apart = Apart(PROCESSES, limit_memory)

    def poster(self, path: str, content: str, at_s: float) -> bytes:
        """JPEG. Raises VideoError, InputError."""
        name = _name(content, "jpg", at_s)
        if (kept := self.cache.get(name)) is not None:
            return kept
        made = self.apart.call(POSTER_S, media.poster, path, at_s)
        self.cache.put(name, made)
        return made

    def preview(self, path: str, content: str, start_s: float, end_s: float) -> bytes:
        """mp4 (H.264) of at most `media.MOST_S` seconds. Raises VideoError, InputError."""
        name = _name(content, "mp4", start_s, end_s)
        if (kept := self.cache.get(name)) is not None:
            return kept
        made = self.apart.call(CUT_S, media.preview, path, start_s, end_s)
        self.cache.put(name, made)
        return made

    def close(self) -> None:
        self.apart.close()


def _name(content: str, kind: str, *seconds: float) -> str:
    what = f"{VERSION} {content} {kind} " + " ".join(f"{s:.3f}" for s in seconds)
    return f"{hashlib.blake2b(what.encode(), digest_size=16).hexdigest()}.{kind}"
