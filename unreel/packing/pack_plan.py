"""The plan of a packing: which videos, with which settings; recorded, so that only the same plan continues it."""

import contextlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.discovery import find_videos
from unreel.errors import InputError
from unreel.io.checksums import new_digest
from unreel.packing.pack_settings import PackSettings
from unreel.video.sources.paths import is_packed_corpus, is_remote, is_synthetic


@dataclass(frozen=True)
class PackPlan:
    """The videos to pack, the folder that their paths are relative to, the settings, and the state of the files."""

    source: Path
    root: Path | None
    settings: PackSettings
    fingerprint: str

    @classmethod
    def make(cls, source: str | Path, root: str | Path | None, settings: PackSettings) -> "PackPlan":
        """Find the videos. Raises InputError when there are none, or the source is packed or remote."""
        source, root = Path(source), Path(root) if root else None
        return cls(source, root, settings, compute_fingerprint(source, root))

    def to_json(self) -> dict[str, Any]:
        return {"settings": asdict(self.settings), "source": os.path.abspath(self.source), "files": self.fingerprint}


def compute_fingerprint(source: Path, root: Path | None) -> str:
    """A hash of the path, size, modification time, label and group of every video to pack."""
    if is_synthetic(source):
        raise InputError(f"{source}: drawn videos are no files, so there is nothing to pack")
    if is_remote(source) or is_packed_corpus(source):
        raise InputError(f"{source}: already packed, or remote; give a local folder or list of the original videos")
    digest = new_digest()
    for entry in find_videos(source, root):
        with contextlib.suppress(OSError):
            status = os.stat(entry.path)
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
        row = f"{os.path.abspath(entry.path)}\t{entry.label}\t{entry.group}\n"
        digest.update(row.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
