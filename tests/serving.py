"""An index of small videos to serve, as `unreel index` makes one."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from commands import succeeds
from videos import encode

from unreel.corpus.motion_set.make_set import make_set


@dataclass
class Corpus:
    """Where the videos lie, where their index does."""

    videos: Path
    index: Path


def make_corpus(run: Path, out: Path) -> Corpus:
    """Six moving videos in two folders, and in a third one of a codec that browsers do not play (MPEG-4 ASP in AVI)."""
    folder = out / "videos"
    make_set(folder, classes=2, videos=3, seed=2, frames=40, size=(48, 64))
    for listed in folder.glob("*.txt"):
        listed.unlink()
    (folder / "old").mkdir()
    encode(folder / "old" / "old.avi", 40, "mpeg4")
    succeeds("index", run, folder, "--out", out / "index")
    return Corpus(folder, out / "index")


def copied(corpus: Corpus, out: Path) -> Path:
    """The index alone, for a test that changes it."""
    return Path(shutil.copytree(corpus.index, out / "copy"))


def swapped_for_link(path: Path, target: Path) -> None:
    """A link in the place of a file, with the file's time of change."""
    status = path.stat()
    path.unlink()
    path.symlink_to(target)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
