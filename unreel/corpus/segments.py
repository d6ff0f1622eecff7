"""Instances to train on: a short video as a whole, a long one cut into segments of about 10 s within its shots."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.rows.columns import is_constant, rank_strings
from unreel.rows.instance_rows import VIDEO_COLUMNS, InstanceRows
from unreel.rows.video_rows import VideoRows

SEGMENT_S = 10.0
LONG_VIDEO_SEGMENTS = 1.5  # a video longer than this many segments is cut


def build_instances(manifest: Manifest, segment_s: float = SEGMENT_S) -> InstanceRows:
    """One instance per unique video, or per segment of a video longer than 1.5 `segment_s` seconds (0: never cut).

    `Instance.video` numbers the recordings in the order of the manifest; pieces of one original share a number. Raises
    InputError for a negative `segment_s`.
    """
    if not segment_s >= 0:
        raise InputError(f"segments last some seconds, or 0 for whole videos, got segment_s={segment_s}")
    videos = manifest.drop_duplicates()
    whole = list_whole_instances(videos)
    if segment_s == 0 or not (is_long_N := whole.end_s_N > LONG_VIDEO_SEGMENTS * segment_s).any():
        return whole
    changes_s = videos.get_column("shot_changes_s")
    segments = {
        row: cut_segments(float(whole.end_s_N[row]), tuple(changes_s[row].as_py()), segment_s)
        for row in np.flatnonzero(is_long_N).tolist()
    }
    return cut_instances(whole, segments)


def list_whole_instances(videos: VideoRows) -> InstanceRows:
    """Each video as one instance."""
    row_N = np.arange(len(videos), dtype=np.int32)
    start_s_N, end_s_N = np.broadcast_to(0.0, len(videos)), videos.get_column("duration_s").to_numpy()
    return InstanceRows(videos.table.select(VIDEO_COLUMNS), row_N, number_recordings(videos), start_s_N, end_s_N)


def number_recordings(videos: VideoRows) -> np.ndarray:
    """The number (N,) of each video's recording, int32, in the order of their first videos."""
    recording, path = videos.get_column("recording"), videos.get_column("path")
    names = path if is_constant(recording, "") else pc.if_else(pc.equal(recording, ""), path, recording)
    rank_N = rank_strings(names)
    if not len(rank_N) or rank_N.max() == len(rank_N) - 1:  # none has two videos
        return np.arange(len(rank_N), dtype=np.int32)
    _, first_C = np.unique(rank_N, return_index=True)
    number_C = np.empty(len(first_C), np.int32)
    number_C[np.argsort(first_C)] = np.arange(len(first_C))
    return number_C[rank_N]


def cut_instances(whole: InstanceRows, segments: dict[int, list[tuple[float, float]]]) -> InstanceRows:
    """Instances with those of some videos cut; `segments` are seconds, by the video's row."""
    count_N = np.ones(len(whole), np.int64)
    count_N[list(segments)] = [len(spans) for spans in segments.values()]
    instances = whole.select(np.repeat(np.arange(len(whole)), count_N))
    end_N = np.cumsum(count_N)
    start_s_N, end_s_N = instances.start_s_N.copy(), instances.end_s_N.copy()
    for row, spans in segments.items():
        places = slice(end_N[row] - len(spans), end_N[row])
        start_s_N[places], end_s_N[places] = np.array(spans).T
    return replace(instances, start_s_N=start_s_N, end_s_N=end_s_N)


def cut_segments(
    duration_s: float, shot_changes_s: tuple[float, ...], segment_s: float, min_shot_s: float = 1.0
) -> list[tuple[float, float]]:
    """Segments (start, end) in seconds that cover [0, duration_s) without gap or overlap and stay within a shot.

    A shot is cut into round(length / segment_s) equal parts, at least 1. A shot shorter than `min_shot_s` is joined to
    the next shot, the last one to the shot before.

    >>> cut_segments(24.0, (4.0,), segment_s=10.0)
    [(0.0, 4.0), (4.0, 14.0), (14.0, 24.0)]
    """
    edges_s = [0.0]
    for change_s in sorted(shot_changes_s):
        if min_shot_s <= change_s - edges_s[-1] and change_s <= duration_s - min_shot_s:
            edges_s.append(change_s)
    edges_s.append(duration_s)
    segments = []
    for start_s, end_s in itertools.pairwise(edges_s):
        bounds_s = np.linspace(start_s, end_s, max(1, round((end_s - start_s) / segment_s)) + 1).tolist()
        segments += list(itertools.pairwise(bounds_s))
    return segments
