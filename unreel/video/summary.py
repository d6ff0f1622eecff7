"""What `unreel inspect` prints of a manifest: a few lines of plain text for people."""

import os
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unreel.video.manifest import Manifest, Quarantined, Video

NAMED = 10  # files named under one heading before "and so many more"
KINDS = 4  # values named on one line
CLIP_FRAMES = 16  # the usual clip


def summary(manifest: "Manifest") -> str:
    """Counts, what the videos are, duplicates by name, and the quarantined files by reason; plain text, no markup."""
    videos, num_bad = manifest.videos, len(manifest.quarantine)
    head = f"{count(len(videos), 'video')} can be used, {count(num_bad, 'file')} can't"
    lines = [shown(manifest.root), f"  {head}", ""]
    if videos:
        lines += [f"  {name:<12}{value}" for name, value in _facts(videos) if value]
    lines += _duplicates(manifest) + _quarantine(manifest)
    return "\n".join(lines).rstrip()


def by_reason(quarantine: Iterable["Quarantined"]) -> dict[str, list["Quarantined"]]:
    """Quarantined files by reason, the commonest first."""
    groups: dict[str, list[Quarantined]] = {}
    for bad in quarantine:
        groups.setdefault(bad.reason, []).append(bad)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def shown(path: str, root: str = "") -> str:
    """A path, relative to `root` where it lies inside, on one line: characters that can't be printed are escaped."""
    inside = os.path.relpath(path, root) if root and os.path.isabs(path) else path
    path = path if inside.startswith(os.pardir) else inside
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


def count(number: int, what: str) -> str:
    """`1 video`, `2 videos`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in three figures."""
    unit, name = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / unit:.3g} {name}"


def _facts(videos: Sequence["Video"]) -> list[tuple[str, str]]:
    lengths = sorted(video.duration_s for video in videos)
    middle, short = statistics.median(lengths), sum(video.num_frames < CLIP_FRAMES for video in videos)
    labels, groups = (Counter(filter(None, names)) for names in zip(*((v.label, v.group) for v in videos), strict=True))
    varying = sum(video.variable_fps for video in videos)
    changes = sum(len(video.shot_changes_s) for video in videos)
    return [
        ("total", f"{duration(sum(lengths))}, {sum(video.size_bytes for video in videos) / 1e6:,.1f} MB"),
        ("length", f"{duration(lengths[0])} to {duration(lengths[-1])}, median {duration(middle)}"),
        ("too short", f"{count(short, 'video')} for a clip of {CLIP_FRAMES} frames" if short else ""),
        ("codec", _kinds(video.codec for video in videos)),
        ("size", _kinds(f"{video.width}x{video.height}" for video in videos)),
        ("fps", _kinds(f"{video.fps:.4g}" for video in videos) + (f"; variable in {varying:,}" if varying else "")),
        ("rotated", _kinds(f"{video.rotation}°" for video in videos if video.rotation)),
        ("shots", f"{count(changes, 'change')} found" if changes else ""),
        ("labels", f"{_spread(labels, 'class', 'es')}" if labels else "none"),
        ("groups", f"{_spread(groups, 'group', 's')}" if groups else "none"),
    ]


def _kinds(values: Iterable[Hashable]) -> str:
    """`h264 (90), mpeg4 (4)`: the commonest values with their number of videos."""
    counts = Counter(values).most_common()
    more = f", {len(counts) - KINDS:,} more" if len(counts) > KINDS else ""
    return ", ".join(f"{value} ({number:,})" for value, number in counts[:KINDS]) + more


def _spread(counts: Counter[str], what: str, plural: str) -> str:
    least, most = min(counts.values()), max(counts.values())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(counts):,} {what}{plural if len(counts) > 1 else ''} of {each} {'video' if most == 1 else 'videos'}"


def _duplicates(manifest: "Manifest") -> list[str]:
    again = [video for video in manifest.videos if video.duplicate_of]
    if not again:
        return []
    title = f"  duplicates: {count(len(again), 'file')} with the bytes of another; each content is used once"
    names = [f"{shown(v.path, manifest.root)} = {shown(v.duplicate_of, manifest.root)}" for v in again]
    return ["", title, *_some(names, "manifest.parquet")]


def _quarantine(manifest: "Manifest") -> list[str]:
    lines = []
    for reason, files in by_reason(manifest.quarantine).items():
        names = [f"{shown(bad.path, manifest.root)}" + f"  ({shown(bad.detail)})" * bool(bad.detail) for bad in files]
        lines += ["", f"  quarantined, {reason}: {count(len(files), 'file')}", *_some(names, "quarantine.csv")]
    return lines


def _some(names: Sequence[str], where: str) -> list[str]:
    more = [f"    ... and {len(names) - NAMED:,} more, see {where}"] if len(names) > NAMED else []
    return [f"    {name}" for name in names[:NAMED]] + more
