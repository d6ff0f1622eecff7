"""The videos that a benchmark reads: a sample of the source, or synthetic ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from unreel.corpus.discovery import find_videos
from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.corpus.motion_set.make_set import make_set
from unreel.errors import InputError
from unreel.video.sources.paths import absolute_path, is_packed_corpus, normalize_path, real_path

NUM_SYNTHETIC_VIDEOS = 48
Item = TypeVar("Item")


def select_videos(source: Path | None, temporary_folder: Path, max_videos: int) -> tuple[Manifest, dict[str, Any]]:
    """At most `max_videos`, evenly spread over the source, or synthetic ones; and their description for the result."""
    if source is None:
        folder = temporary_folder / "videos"
        make_set(folder, classes=4, videos=NUM_SYNTHETIC_VIDEOS // 4)
        manifest = inspect(folder, check="fast", shots=False)
        return manifest, {"source": "synthetic", "videos": NUM_SYNTHETIC_VIDEOS}
    source = Path(real_path(source))
    packed = is_packed_corpus(source)
    listed, root = (source, None) if packed else sample_videos(source, temporary_folder, max_videos)
    manifest = inspect(listed, root, check="fast", shots=False)
    return manifest, {"source": normalize_path(source), "videos": len(manifest.videos), "packed": packed}


def sample_videos(source: Path, temporary_folder: Path, max_videos: int) -> tuple[Path, Path | None]:
    """The source if it is small, else a list of a sample, since inspecting each video takes time; and its root."""
    try:
        paths = [absolute_path(item.path) for item in find_videos(source)]
    except InputError:
        return source, None  # left to `inspect`
    if len(paths) <= max_videos:
        return source, None
    return write_list(spread_evenly(paths, max_videos), temporary_folder / "some.txt"), Path("/")


def spread_evenly(items: Sequence[Item], count: int) -> list[Item]:
    """`count` items, evenly spread; all of them if there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[len(items) * k // count] for k in range(count)]


def write_list(paths: Sequence[str], file: Path) -> Path:
    """Write a text file of paths; returns it."""
    file.write_text("".join(f"{path}\n" for path in paths))
    return file
