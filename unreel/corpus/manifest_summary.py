"""The summary of a manifest that `unreel inspect` prints: a few lines of plain text."""

import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from unreel.corpus.manifest import Manifest
from unreel.corpus.video_files import describe_left_aside
from unreel.io.text import format_count, format_duration, format_path
from unreel.rows.video_rows import Video
from unreel.types import FileFailure

MAX_NAMES = 10  # files named under one heading before "and N more"
MAX_VALUES = 4  # values named on one line
CLIP_FRAMES = 16  # of a usual clip


def summarize_manifest(manifest: Manifest) -> str:
    """Counts, properties of the videos, duplicates, and quarantined files by reason; plain text without markup."""
    videos, num_bad = manifest.videos, len(manifest.quarantine)
    counts = f"{format_count(len(videos), 'video')} can be used, {format_count(num_bad, 'file')} can't"
    lines = [format_path(manifest.root), f"  {counts}"]
    if left_aside := describe_left_aside(manifest.left_aside):
        lines.append(f"  left aside: {left_aside}")
    lines.append("")
    if videos:
        lines += [f"  {name:<12}{value}" for name, value in _list_facts(videos) if value]
    lines += _format_duplicates(manifest) + _format_cut_off(manifest) + _format_quarantine(manifest)
    return "\n".join(lines).rstrip()


def group_by_reason(quarantine: Iterable[FileFailure]) -> dict[str, list[FileFailure]]:
    """Quarantined files by reason, the most common first."""
    groups: dict[str, list[FileFailure]] = {}
    for failure in quarantine:
        groups.setdefault(failure.reason, []).append(failure)
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def _list_facts(videos: Sequence[Video]) -> list[tuple[str, str]]:
    """Name and value of each line; lines without a value are not printed."""
    durations_s = sorted(video.duration_s for video in videos)
    shortest, longest, median = map(format_duration, (durations_s[0], durations_s[-1], statistics.median(durations_s)))
    num_short = sum(video.num_frames < CLIP_FRAMES for video in videos)
    num_variable = sum(video.variable_fps for video in videos)
    num_changes = sum(len(video.shot_changes_s) for video in videos)
    fps = _format_common_values(f"{video.fps:.4g}" for video in videos)
    size_mb = sum(video.size_bytes for video in videos) / 1e6
    return [
        ("total", f"{format_duration(sum(durations_s))}, {size_mb:,.1f} MB"),
        ("length", f"{shortest} to {longest}, median {median}"),
        ("too short", f"{format_count(num_short, 'video')} for a clip of {CLIP_FRAMES} frames" if num_short else ""),
        ("codec", _format_common_values(video.codec for video in videos)),
        ("size", _format_common_values(f"{video.width}x{video.height}" for video in videos)),
        ("fps", fps + (f"; variable in {num_variable:,}" if num_variable else "")),
        ("rotated", _format_common_values(f"{video.rotation}°" for video in videos if video.rotation)),
        ("shots", f"{format_count(num_changes, 'change')} found" if num_changes else ""),
        ("labels", _format_sizes(Counter(video.label for video in videos if video.label), "class")),
        ("groups", _format_sizes(Counter(video.group for video in videos if video.group), "group")),
    ]


def _format_common_values(values: Iterable[Hashable]) -> str:
    """`h264 (90), mpeg4 (4)`: the most common values with their number of videos."""
    counts = Counter(values).most_common()
    more = f", {len(counts) - MAX_VALUES:,} more" if len(counts) > MAX_VALUES else ""
    return ", ".join(f"{value} ({number:,})" for value, number in counts[:MAX_VALUES]) + more


def _format_sizes(counts: Counter[str], noun: str) -> str:
    """`2 classes of 7 to 9 videos`, or `none`."""
    if not counts:
        return "none"
    least, most = min(counts.values()), max(counts.values())
    smallest = "" if least == most else f"{least:,} to "
    return f"{format_count(len(counts), noun)} of {smallest}{format_count(most, 'video')}"


def _format_duplicates(manifest: Manifest) -> list[str]:
    duplicates = [video for video in manifest.videos if video.duplicate_of]
    if not duplicates:
        return []
    title = (
        f"  duplicates: {format_count(len(duplicates), 'file')} with the bytes of another; each content is used once"
    )
    root = manifest.root
    names = [f"{format_path(v.path, root)} = {format_path(v.duplicate_of, root)}" for v in duplicates]
    return ["", title, *_preview_names(names, "manifest.parquet")]


def _format_cut_off(manifest: Manifest) -> list[str]:
    cut = [video for video in manifest.videos if video.cut_off]
    if not cut:
        return []
    title = f"  cut off: {format_count(len(cut), 'file')}, used up to the cut"
    names = [f"{format_path(v.path, manifest.root)}  ({v.cut_off})" for v in cut]
    return ["", title, *_preview_names(names, "manifest.parquet")]


def _format_quarantine(manifest: Manifest) -> list[str]:
    lines = []
    for reason, failures in group_by_reason(manifest.quarantine).items():
        names = [
            format_path(f.path, manifest.root) + (f"  ({format_path(f.detail)})" if f.detail else "") for f in failures
        ]
        lines += ["", f"  quarantined, {reason}: {format_count(len(failures), 'file')}"]
        lines += _preview_names(names, "quarantine.csv")
    return lines


def _preview_names(names: Sequence[str], file_name: str) -> list[str]:
    num_more = len(names) - MAX_NAMES
    more = [f"    ... and {num_more:,} more, see {file_name}"] if num_more > 0 else []
    return [f"    {name}" for name in names[:MAX_NAMES]] + more
