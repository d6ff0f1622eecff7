"""What `unreel inspect` prints of a manifest: a few lines of plain text for people."""

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from unreel.corpus.manifest import Manifest, Video
from unreel.io.text import format_count, format_duration, format_path
from unreel.types import FileFailure

MAX_NAMES = 10  # files named under one heading before "and so many more"
MAX_VALUES = 4  # values named on one line
CLIP_FRAMES = 16  # the usual clip


def summarize_manifest(manifest: Manifest) -> str:
    """Counts, what the videos are, duplicates by name, and the quarantined files by reason; plain text, no markup."""
    videos, num_bad = manifest.videos, len(manifest.quarantine)
    head = f"{format_count(len(videos), 'video')} can be used, {format_count(num_bad, 'file')} can't"
    lines = [format_path(manifest.root), f"  {head}", ""]
    if videos:
        lines += [f"  {name:<12}{value}" for name, value in _list_facts(videos) if value]
    lines += _format_duplicates(manifest) + _format_quarantine(manifest)
    return "\n".join(lines).rstrip()


def group_by_reason(quarantine: Iterable[FileFailure]) -> dict[str, list[FileFailure]]:
    """Quarantined files by reason, the commonest first."""
    groups: dict[str, list[FileFailure]] = {}
    for bad in quarantine:
        groups.setdefault(bad.reason, []).append(bad)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _list_facts(videos: Sequence[Video]) -> list[tuple[str, str]]:
    lengths = sorted(video.duration_s for video in videos)
    middle, short = statistics.median(lengths), sum(video.num_frames < CLIP_FRAMES for video in videos)
    labels, groups = (Counter(filter(None, names)) for names in zip(*((v.label, v.group) for v in videos), strict=True))
    varying = sum(video.variable_fps for video in videos)
    changes = sum(len(video.shot_changes_s) for video in videos)
    return [
        ("total", f"{format_duration(sum(lengths))}, {sum(video.size_bytes for video in videos) / 1e6:,.1f} MB"),
        (
            "length",
            f"{format_duration(lengths[0])} to {format_duration(lengths[-1])}, median {format_duration(middle)}",
        ),
        ("too short", f"{format_count(short, 'video')} for a clip of {CLIP_FRAMES} frames" if short else ""),
        ("codec", _format_common_values(video.codec for video in videos)),
        ("size", _format_common_values(f"{video.width}x{video.height}" for video in videos)),
        (
            "fps",
            _format_common_values(f"{video.fps:.4g}" for video in videos)
            + (f"; variable in {varying:,}" if varying else ""),
        ),
        ("rotated", _format_common_values(f"{video.rotation}°" for video in videos if video.rotation)),
        ("shots", f"{format_count(changes, 'change')} found" if changes else ""),
        ("labels", f"{_format_range(labels, 'class', 'es')}" if labels else "none"),
        ("groups", f"{_format_range(groups, 'group', 's')}" if groups else "none"),
    ]


def _format_common_values(values: Iterable[Hashable]) -> str:
    """`h264 (90), mpeg4 (4)`: the commonest values with their number of videos."""
    counts = Counter(values).most_common()
    more = f", {len(counts) - MAX_VALUES:,} more" if len(counts) > MAX_VALUES else ""
    return ", ".join(f"{value} ({number:,})" for value, number in counts[:MAX_VALUES]) + more


def _format_range(counts: Counter[str], noun: str, plural: str) -> str:
    least, most = min(counts.values()), max(counts.values())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return f"{len(counts):,} {noun}{plural if len(counts) > 1 else ''} of {each} {'video' if most == 1 else 'videos'}"


def _format_duplicates(manifest: Manifest) -> list[str]:
    again = [video for video in manifest.videos if video.duplicate_of]
    if not again:
        return []
    title = f"  duplicates: {format_count(len(again), 'file')} with the bytes of another; each content is used once"
    names = [f"{format_path(v.path, manifest.root)} = {format_path(v.duplicate_of, manifest.root)}" for v in again]
    return ["", title, *_preview_names(names, "manifest.parquet")]


def _format_quarantine(manifest: Manifest) -> list[str]:
    lines = []
    for reason, files in group_by_reason(manifest.quarantine).items():
        names = [
            f"{format_path(bad.path, manifest.root)}" + f"  ({format_path(bad.detail)})" * bool(bad.detail)
            for bad in files
        ]
        lines += [
            "",
            f"  quarantined, {reason}: {format_count(len(files), 'file')}",
            *_preview_names(names, "quarantine.csv"),
        ]
    return lines


def _preview_names(names: Sequence[str], where: str) -> list[str]:
    more = [f"    ... and {len(names) - MAX_NAMES:,} more, see {where}"] if len(names) > MAX_NAMES else []
    return [f"    {name}" for name in names[:MAX_NAMES]] + more
