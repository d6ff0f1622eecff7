"""The tests without labels: by hand, at chance, and passed by motion but not by looks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unreel.models.encoder.spec import EncoderSpec
from unreel.training.label_free.changed_clips import BROKEN_COPIES, OTHER_LOOKS, PLAIN, VERY_OTHER_LOOKS, make_copies
from unreel.training.label_free.moments import MomentReader, VideoMoments, count_moments
from unreel.training.label_free.scores import (
    FAR_CLIP,
    MOMENT,
    ORDER,
    MomentVectors,
    embed_moments,
    score_moment,
    score_tests,
)
from unreel.types import Instance
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

SPEC = EncoderSpec("tiny", clip=ClipSpec(8), views=ViewSpec(("rgb",), size=32))


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.maximum(np.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def random_vectors(rng: np.random.Generator, num_moments: int = 3, width: int = 16) -> MomentVectors:
    broken = {name: unit(rng.normal(size=(2, width))) for name in BROKEN_COPIES}
    parts = (unit(rng.normal(size=(n, width))) for n in (num_moments, num_moments, 2))
    return MomentVectors(*parts, broken, is_spread=True)


def test_scores_against_explicit_loops() -> None:
    rng = np.random.default_rng(0)
    videos = [random_vectors(rng, 2 + n % 3) for n in range(7)]
    found = score_tests(videos)
    for n, v in enumerate(videos):
        wins = [
            float(v.other_looks_KD[k] @ v.plain_KD[k] > v.other_looks_KD[k] @ v.plain_KD[j])
            for k in range(len(v.plain_KD))
            for j in range(len(v.plain_KD))
            if j != k
        ]
        assert found[MOMENT][n] == pytest.approx(100 * np.mean(wins))
        wins = []
        for end, other_end in ((0, -1), (-1, 0)):
            for query in (v.other_looks_KD[end], v.plain_KD[other_end]):
                wins += [float(query @ v.plain_KD[end] > query @ v.broken[name][end]) for name in BROKEN_COPIES]
        assert found[ORDER][n] == pytest.approx(100 * np.mean(wins))
        wins = []
        for end, other_end in ((0, -1), (-1, 0)):
            own = v.very_other_2D[end] @ v.plain_KD[other_end]
            wins += [float(own > v.very_other_2D[end] @ w.plain_KD[other_end]) for w in videos if w is not v]
        assert found[FAR_CLIP][n] == pytest.approx(100 * np.mean(wins))


def test_unrelated_vectors_are_at_chance_and_equal_ones_exactly() -> None:
    rng = np.random.default_rng(1)
    found = score_tests([random_vectors(rng) for _ in range(200)])
    for values_N in found.values():
        assert abs(values_N.mean() - 50) < 3.5 * values_N.std() / np.sqrt(200)
    same = np.tile(unit(np.ones(4)), (3, 1))
    equal = MomentVectors(same, same, same[:2], dict.fromkeys(BROKEN_COPIES, same[:2]), is_spread=True)
    assert {name: values.tolist() for name, values in score_tests([equal] * 3).items()} == {
        MOMENT: [50.0] * 3,
        ORDER: [50.0] * 3,
        FAR_CLIP: [50.0] * 3,
    }


def test_moments_that_overlap_and_a_single_video_are_not_scored() -> None:
    video = random_vectors(np.random.default_rng(2))
    assert np.isnan(score_moment(MomentVectors(*(video.plain_KD,) * 2, video.very_other_2D, video.broken, False)))
    assert np.isnan(score_tests([video])[FAR_CLIP]).all()


def test_clips_of_one_recording_are_not_told_apart() -> None:
    rng = np.random.default_rng(3)
    videos = [replace(random_vectors(rng), recording=name) for name in "aabbc"]
    found = score_tests(videos)[FAR_CLIP]
    wins = [
        100.0 * float(v.very_other_2D[end] @ v.plain_KD[other] > v.very_other_2D[end] @ w.plain_KD[other])
        for v, w in ((videos[0], w) for w in videos[2:])
        for end, other in ((0, -1), (-1, 0))
    ]
    assert found[0] == pytest.approx(np.mean(wins))
    one = [replace(video, recording="a") for video in videos]
    assert (score_tests(one)[FAR_CLIP] == score_tests([replace(v, recording="") for v in videos])[FAR_CLIP]).all()


def moving_square(seed: int, num_frames: int = 40) -> np.ndarray:
    """A square that runs along a wavy path over a textured ground, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    frames = np.tile(rng.integers(60, 120, (1, 37, 49, 3), dtype=np.uint8), (num_frames, 1, 1, 1))
    for t in range(num_frames):
        top, left = int(14 + 10 * np.sin(t / 4 + seed)), int(2 + t)
        frames[t, top : top + 6, left : left + 6] = 250
    return frames


def make_moments(seed: int) -> VideoMoments:
    frames = moving_square(seed)
    clips = np.stack([frames[start : start + 8] for start in (0, 10, 20, 32)])
    return VideoMoments(Instance(str(seed), seed, 0.0, 1.6), clips, is_spread=True)


def test_copies_keep_shape_and_are_the_same_in_any_list() -> None:
    moments = make_moments(0)
    copies = make_copies(moments.clips, SPEC)
    assert {name: copy.shape for name, copy in copies.items()} == {
        PLAIN: (4, 8, 32, 32, 3),
        OTHER_LOOKS: (4, 8, 32, 32, 3),
        VERY_OTHER_LOOKS: (2, 8, 32, 32, 3),
        **dict.fromkeys(BROKEN_COPIES, (2, 8, 32, 32, 3)),
    }
    assert all(copy.dtype == np.uint8 for copy in copies.values())
    again = make_copies(moments.clips[2:], SPEC)  # the last moment is the last of both lists
    assert all((copies[name][-1] == again[name][-1]).all() for name in copies)
    assert (copies[OTHER_LOOKS] != copies[PLAIN]).mean() > 0.5
    assert (copies["frozen"] == copies["frozen"][:, :1]).all()
    assert (np.sort(copies["shuffled"], axis=1) == np.sort(copies[PLAIN][[0, -1]], axis=1)).all()


def embed_mean_colour(clips: np.ndarray) -> np.ndarray:
    return unit(clips.mean(axis=(1, 2, 3)) - 90.0)


def embed_ordered_motion(clips: np.ndarray) -> np.ndarray:
    """How much the brightest place moves down and right from each frame to the next: no looks, only motion in time."""
    grey = clips.astype(float).mean(axis=4)
    mask = grey >= np.percentile(grey, 96, axis=(2, 3), keepdims=True)
    y, x = np.mgrid[: grey.shape[2], : grey.shape[3]]
    place = np.stack([(mask * axis).sum(axis=(2, 3)) / mask.sum(axis=(2, 3)) for axis in (y, x)], axis=2)
    return unit(np.diff(place, axis=1).reshape(len(clips), -1))


def test_motion_passes_where_looks_are_at_chance() -> None:
    """Mean colour ignores time, so its figure in the test of order is chance but for the frozen copies."""
    videos = [make_moments(seed) for seed in range(12)]
    both = [embed_moments(video, SPEC, [embed_mean_colour, embed_ordered_motion]) for video in videos]
    colour, motion = (score_tests(list(vectors)) for vectors in zip(*both, strict=True))
    assert motion[MOMENT].mean() > colour[MOMENT].mean() + 15
    assert motion[ORDER].mean() > colour[ORDER].mean() + 15 and motion[ORDER].mean() > 75


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    folder, instances = tmp_path_factory.mktemp("moments"), []
    for n, length in enumerate((40, 10, 40, 8)):
        write_video(folder / f"{n}.mp4", moving_square(n, length), 25.0)
        instances.append(Instance(str(folder / f"{n}.mp4"), n, 0.0, float("inf")))
    return instances


def test_moments_are_decoded_once_and_again_beyond_the_memory(videos: list[Instance]) -> None:
    gone = Instance(str(Path(videos[0].path).with_name("gone.mp4")), 9, 0.0, float("inf"))
    whole = MomentReader([videos[0], gone, *videos[1:]], SPEC)
    first = list(whole)
    assert [v.instance.video for v in first] == [0, 1, 2], "8 frames are one clip"
    assert [(len(v.clips), v.is_spread) for v in first] == [(4, True), (2, False), (4, True)]
    for video in videos:
        Path(video.path).rename(f"{video.path}.away")
    assert all((a.clips == b.clips).all() for a, b in zip(first, list(whole), strict=True)), "from memory"
    for video in videos:
        Path(f"{video.path}.away").rename(video.path)
    little = MomentReader(videos, SPEC, max_bytes=first[0].clips.nbytes + 1, max_tested=2)
    for _ in range(2):
        again = list(little)
        assert all((a.clips == b.clips).all() for a, b in zip(first, again, strict=True))
        assert [v.is_tested for v in again] == [True, False, False], "the ends of the list: the last can't be used"
        assert len(little.cached) == 1


def test_number_of_moments_grows_with_the_video() -> None:
    assert [count_moments(np.arange(n), ClipSpec(8)) for n in (4, 8, 12, 16, 20, 24, 400)] == [2, 2, 2, 3, 4, 4, 4]
