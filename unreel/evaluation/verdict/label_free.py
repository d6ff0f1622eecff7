"""The verdict without labels: the label-free tests by the encoder and by every floor, on the same clips."""

import math
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unreel.corpus.held_out import MAX_HELD_OUT
from unreel.embedding import join_views
from unreel.evaluation.baselines.trivial_baselines import build_baseline_extractors
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.verdict.decision import Verdict, compare_with_floors
from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.seeding import make_generator
from unreel.training.label_free.moments import MomentReader
from unreel.training.label_free.scores import (
    CLIPS_PER_VIDEO,
    FAR_CLIP,
    MOMENT,
    ORDER,
    Embed,
    MomentVectors,
    embed_moments,
    get_recording,
    score_tests,
)
from unreel.training.monitors import build_embed, compute_monitors
from unreel.types import Instance

MIN_JUDGED = 120  # training videos make up for too few held-out ones
TIME_LIMIT_S, MIN_IN_TIME = 120.0, 40  # measuring stops after so long, once there are that many videos
TEST_TITLES = {
    MOMENT: "finding a moment again in other looks",
    ORDER: "telling a moment from its frozen, shuffled and reversed copies",
    FAR_CLIP: "finding the other end of a video in other colours and mirrored",
}


def judge_without_labels(encoder: Encoder, held_out: Sequence[Instance], training: Sequence[Instance]) -> Verdict:
    """Verdict by the label-free tests on held-out videos; on training videos too where fewer than 120 are held out.

    Raises NonFiniteError when the embeddings are not finite.
    """
    sources = {"encoder": build_embed(encoder)} | build_floor_embeds(encoder)
    measured, vectors = measure_videos(encoder, select_videos(held_out, training), sources)
    scores = {name: score_tests(vectors[name]) for name in sources} if measured else {}
    groups = [get_recording(instance) for instance in measured]
    comparisons = []
    for test, title in TEST_TITLES.items() if measured else ():
        floors = {name: scores[name][test] for name in list(sources)[1:]}
        comparisons += compare_with_floors(title, scores["encoder"][test], floors, groups)
    same_video = {name: compute_same_video_r1(videos) for name, videos in vectors.items()} if len(measured) > 1 else {}
    return Verdict(tuple(comparisons), describe_basis(measured, held_out), same_video)


def build_floor_embeds(encoder: Encoder) -> dict[str, Embed]:
    """Unit vectors of clips by each floor, by its name: pixels, colours, frame difference, the untrained network."""
    embeds: dict[str, Embed] = {}
    for extractor in build_baseline_extractors(encoder, ("pooled",)):
        spec = encoder.spec
        probe = np.zeros((1, spec.clip.total_frames, spec.views.size, spec.views.size, 3), np.uint8)
        embeds[next(iter(extractor(probe, 0))).source] = build_extractor_embed(extractor)
    return embeds


def build_extractor_embed(extractor: FeatureExtractor) -> Embed:
    """Unit vectors of clips by an extractor that makes one kind of features."""
    return lambda clips: join_views(next(iter(extractor(clips, 0).values())))


def measure_videos(
    encoder: Encoder, videos: Sequence[Instance], sources: dict[str, Embed]
) -> tuple[list[Instance], dict[str, list[MomentVectors]]]:
    """The videos that are long enough and can be read, and their vectors by each source, as time allows."""
    measured: list[Instance] = []
    vectors: dict[str, list[MomentVectors]] = {name: [] for name in sources}
    start_s = time.monotonic()
    for moments in MomentReader(videos, encoder.spec, max_bytes=0, max_tested=len(videos)):
        measured.append(moments.instance)
        for name, video in zip(sources, embed_moments(moments, encoder.spec, list(sources.values())), strict=True):
            vectors[name].append(video)
        if time.monotonic() - start_s > TIME_LIMIT_S and len(measured) >= MIN_IN_TIME:
            break
    return measured, vectors


def compute_same_video_r1(videos: Sequence[MomentVectors]) -> float:
    """Same-video R@1 of the two ends of each video, percent."""
    return compute_monitors(np.stack([video.plain_KD[[0, -1]] for video in videos])).same_video_r1


def select_videos(held_out: Sequence[Instance], training: Sequence[Instance]) -> list[Instance]:
    """The videos to judge by: held-out ones, at most 200, then training videos up to 120 in all."""
    chosen = draw_videos(held_out)[:MAX_HELD_OUT]
    return chosen + draw_videos(training)[: max(0, MIN_JUDGED - len(chosen))]


def count_judged_clips(num_held_out: int, num_training: int) -> int:
    """How many clips a verdict embeds, by the encoder and the untrained network together, at most."""
    num_videos = max(min(num_held_out, MAX_HELD_OUT), min(MIN_JUDGED, num_held_out + num_training))
    return 2 * CLIPS_PER_VIDEO * num_videos


def draw_videos(videos: Sequence[Instance]) -> list[Instance]:
    """The videos in an order that depends on neither class nor name, always the same; a few of each recording.

    Many clips of one recording tell little more than a few, and would outweigh all others.
    """
    recordings = Counter(get_recording(video) for video in videos)
    max_each, taken = max(3, math.ceil(MIN_JUDGED / max(1, len(recordings)))), Counter[str]()
    drawn = []
    for n in make_generator(0, 0, 0, "verdict").permutation(len(videos)):
        recording = get_recording(videos[n])
        taken[recording] += 1
        if taken[recording] <= max_each:
            drawn.append(videos[n])
    return drawn


def describe_basis(measured: Sequence[Instance], held_out: Sequence[Instance]) -> str:
    """What was measured, in words."""
    num_held_out = len(set(measured) & set(held_out))
    num_training = len(measured) - num_held_out
    kinds = [(num_held_out, "held-out video"), (num_training, "training video")]
    counts = " and ".join(format_count(count, noun) for count, noun in kinds if count) or "no videos"
    return f"{counts}, without labels"
