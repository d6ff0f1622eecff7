"""Tests that need no label: of two clips, which belongs to the query? Guessing wins 50 % of the comparisons.

    moment    query: a moment in other looks. Right: the same moment; wrong: another moment of the same video
    order     query: the first or last moment in other looks, or the other end of the video. Right: the moment played;
              wrong: the same moment frozen, shuffled or reversed
    far clip  query: the first or last moment in very other looks (colours, crop, mirrored). Right: the other end of the
              video; wrong: that end of a video of another recording

Moment and order can't be passed by looks: right and wrong show the same scene, in the same colours. What is left of the
looks helps to find a far clip, so its figure means something only beside those of pixels and colours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unreel.models.encoder.spec import EncoderSpec
from unreel.training.label_free.changed_clips import BROKEN_COPIES, OTHER_LOOKS, PLAIN, VERY_OTHER_LOOKS, make_copies
from unreel.training.label_free.moments import MAX_MOMENTS, VideoMoments
from unreel.types import Instance

MOMENT, ORDER, FAR_CLIP = "moment", "order", "far clip"
TESTS = (MOMENT, ORDER, FAR_CLIP)
CLIPS_PER_VIDEO = 2 * MAX_MOMENTS + 2 + 2 * len(BROKEN_COPIES)  # at most, that are embedded of a video
Embed = Callable[[np.ndarray], np.ndarray]
"""uint8 clips (V, lead_in + T, size, size, C) to unit vectors (V, D)."""


@dataclass(frozen=True)
class MomentVectors:
    """Unit vectors of what the tests compare in one video: of its K moments (K, D), of these in other looks (K, D), and
    of the first and the last (2, D): in very other looks, and of broken copies by name. `recording` is the
    group of the video, else its file: clips of one recording are not told apart."""

    plain_KD: np.ndarray
    other_looks_KD: np.ndarray
    very_other_2D: np.ndarray
    broken: Mapping[str, np.ndarray]
    is_spread: bool
    recording: str = ""


def get_recording(instance: Instance) -> str:
    """What clips share if they are of one recording: the group if it is known, else the file."""
    return instance.group or instance.path


def embed_moments(moments: VideoMoments, spec: EncoderSpec, embeds: Sequence[Embed]) -> list[MomentVectors]:
    """The vectors of a video by each of several sources; the copies are made once, and embedded in one call."""
    copies = make_copies(moments.clips, spec)
    clips, ends = np.concatenate(list(copies.values())), np.cumsum([len(part) for part in copies.values()])
    vectors, recording = [], get_recording(moments.instance)
    for embed in embeds:
        parts = dict(zip(copies, np.split(embed(clips).astype(np.float64), ends[:-1]), strict=True))
        broken = {name: parts[name] for name in BROKEN_COPIES}
        wholes = parts[PLAIN], parts[OTHER_LOOKS], parts[VERY_OTHER_LOOKS]
        vectors.append(MomentVectors(*wholes, broken, moments.is_spread, recording))
    return vectors


def score_tests(videos: Sequence[MomentVectors]) -> dict[str, np.ndarray]:
    """Percent of the comparisons that each video wins, float64 (N,), by test; NaN where a video allows no comparison.

    A tie is half a win, so vectors that do not differ score 50.
    """
    return {
        MOMENT: np.array([score_moment(video) for video in videos]),
        ORDER: np.array([score_order(video) for video in videos]),
        FAR_CLIP: score_far_clips(videos),
    }


def score_moment(video: MomentVectors) -> float:
    """How often a moment in other looks is nearer to itself than to another moment of its video; NaN if they overlap
    by more than half a clip."""
    if not video.is_spread:
        return float("nan")
    similarity_KK = video.other_looks_KD @ video.plain_KD.T
    others_KK = ~np.eye(len(similarity_KK), dtype=bool)
    return float(count_wins(np.diag(similarity_KK)[:, None], similarity_KK)[others_KK].mean())


def score_order(video: MomentVectors) -> float:
    """How often a moment in other looks, and the other end of the video, are nearer to the moment played than to its
    broken copies; mean over both queries, both ends and all kinds of copies."""
    played_2D = video.plain_KD[[0, -1]]
    queries = video.other_looks_KD[[0, -1]], played_2D[::-1]
    wins = [
        count_wins((query_2D * played_2D).sum(axis=1), (query_2D * broken_2D).sum(axis=1))
        for query_2D in queries
        for broken_2D in video.broken.values()
    ]
    return float(np.mean(wins))


def score_far_clips(videos: Sequence[MomentVectors]) -> np.ndarray:
    """How often an end of each video in very other looks is nearer to its other end than to that end of a video of
    another recording, (N,); of any other video, where all are of one recording. NaN for a single video."""
    if len(videos) < 2:
        return np.full(len(videos), np.nan)
    recording_N = np.array([video.recording or f"\0{n}" for n, video in enumerate(videos)])
    others_NN = recording_N[:, None] != recording_N
    others_NN = others_NN if others_NN.any() else ~np.eye(len(videos), dtype=bool)
    scores = []
    for end, other_end in ((0, -1), (-1, 0)):
        query_ND = np.stack([video.very_other_2D[end] for video in videos])
        similarity_NN = query_ND @ np.stack([video.plain_KD[other_end] for video in videos]).T
        wins_NN = count_wins(np.diag(similarity_NN)[:, None], similarity_NN)
        scores.append(np.where(others_NN, wins_NN, 0).sum(axis=1) / others_NN.sum(axis=1))
    return np.mean(scores, axis=0)


def count_wins(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """100 where the right clip is nearer, 0 where the wrong one is, 50 for a tie; both as cosines, of any shape."""
    return 50.0 * (1.0 + np.sign(right - wrong))
