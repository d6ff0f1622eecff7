"""Label-free monitors against explicit loops; what counts as a collapse."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from unreel.corpus.motion_set.make_set import MOTIONS, render_video
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.training.label_free.moments import MomentReader
from unreel.training.monitors import MonitorMetrics, compute_monitors, evaluate_monitors, rate_checkpoint
from unreel.types import Instance
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def random_pairs(num: int, width: int, noise: float, seed: int = 0) -> np.ndarray:
    """Two noisy embeddings of each of some random directions, (N, 2, D)."""
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(num, 1, width)) + noise * rng.normal(size=(num, 2, width)))


def test_monitors_against_explicit_loops() -> None:
    z = random_pairs(30, 16, 1.5)
    ranks = []
    for view in (0, 1):
        for n in range(30):
            own = sum(a * b for a, b in zip(z[n, view], z[n, 1 - view], strict=True))
            better = [m for m in range(30) if m != n and float(z[n, view] @ z[m, 1 - view]) >= own]
            ranks.append(1 + len(better))
    distances = [float(((z[n, 0] - z[n, 1]) ** 2).sum()) for n in range(30)]
    apart = [math.exp(-2 * float(((z[i, 0] - z[j, 0]) ** 2).sum())) for i in range(30) for j in range(i + 1, 30)]
    flat = z.reshape(60, 16)
    centred = flat - flat.mean(axis=0)
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    shares = singular / singular.sum()
    found = compute_monitors(z)
    assert 0 < found.same_video_r1 < 100
    assert found.num_videos == 30
    assert found.same_video_r1 == pytest.approx(100 * sum(r == 1 for r in ranks) / 60)
    assert found.same_video_mrr == pytest.approx(sum(1 / r for r in ranks) / 60)
    assert found.alignment == pytest.approx(sum(distances) / 30)
    assert found.uniformity == pytest.approx(math.log(sum(apart) / len(apart)))
    assert found.effective_rank == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-6)
    assert found.spread == pytest.approx(float(np.mean([(row**2).sum() for row in centred])))
    assert not found.has_collapsed


def test_unrelated_embeddings_find_their_own_video_by_chance() -> None:
    z = unit(np.random.default_rng(0).normal(size=(400, 2, 64)))
    found = compute_monitors(z)
    assert found.same_video_r1 < 1.0  # chance 0.25 %; 800 queries
    assert found.same_video_mrr == pytest.approx(sum(1 / r for r in range(1, 401)) / 400, rel=0.4)
    assert found.alignment == pytest.approx(2, abs=0.05) and found.effective_rank > 55 and not found.has_collapsed


def test_perfect_embeddings() -> None:
    found = compute_monitors(random_pairs(50, 32, 0.0))
    assert (found.same_video_r1, found.same_video_mrr) == (100, 1)
    assert found.alignment == pytest.approx(0, abs=1e-12) and not found.has_collapsed


def test_one_point_is_a_collapse_and_ties_do_not_count_as_found() -> None:
    found = compute_monitors(np.tile(unit(np.ones(8)), (20, 2, 1)))
    assert found.has_collapsed and found.same_video_r1 == 0 and found.same_video_mrr == pytest.approx(1 / 20)
    assert found.uniformity == pytest.approx(0, abs=1e-9)
    noise = 1e-6 * np.random.default_rng(0).normal(size=(20, 2, 8))
    assert compute_monitors(unit(np.ones((20, 2, 8)) + noise)).has_collapsed


@pytest.mark.parametrize("seed", range(3))
def test_a_line_is_a_collapse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(40, 2, 1))
    assert compute_monitors(signs * unit(rng.normal(size=16))).has_collapsed
    along = unit(rng.normal(size=16)) + 0.1 * rng.normal(size=(40, 2, 1)) * unit(rng.normal(size=16))
    assert compute_monitors(unit(along)).has_collapsed
    assert not compute_monitors(unit(rng.normal(size=(40, 2, 3)))).has_collapsed


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("num", [2, 3, 4])
def test_few_videos_that_are_told_apart_are_no_collapse(num: int, noise: float) -> None:
    """20 to 34 videos hold 2 or 3 out; a perfect encoder spans no more than N - 1 dimensions there."""
    assert not compute_monitors(random_pairs(num, 64, noise)).has_collapsed
    assert compute_monitors(np.tile(unit(np.ones(64)), (num, 2, 1))).has_collapsed


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    out, videos = tmp_path_factory.mktemp("monitored"), []
    for n in range(8):
        path = out / f"{n}.mp4"
        write_video(path, render_video(list(MOTIONS)[n], 1, n, num_frames=24, size=(48, 64)), 25.0)
        videos.append(Instance(str(path), n, 0.0, float("inf")))
    return videos


def tiny_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderSpec("tiny", clip=ClipSpec(8, lead_in=1), views=ViewSpec(size=32)))


def evaluate(encoder: Encoder, videos: list[Instance]) -> MonitorMetrics | None:
    return evaluate_monitors(encoder, MomentReader(videos, encoder.spec))


@pytest.mark.parametrize("seed", [0, 1])
def test_an_untrained_network_is_not_taken_for_a_collapsed_one(seed: int, synthetic: list[Instance]) -> None:
    found = evaluate(tiny_encoder(seed), synthetic)
    assert found is not None and found.num_videos == 8 and not found.has_collapsed
    assert all(math.isfinite(v) for v in vars(found).values())


def test_a_network_that_ignores_its_input_is_collapsed(synthetic: list[Instance]) -> None:
    encoder = tiny_encoder()
    for weight in encoder.backbone.parameters():
        if weight.ndim > 1:
            weight.data.zero_()
        else:
            weight.data.fill_(0.5)
    found = evaluate(encoder, synthetic)
    assert found is not None and found.has_collapsed and found.same_video_r1 == 0


def test_videos_of_one_clip_are_not_measured(synthetic: list[Instance]) -> None:
    short = [Instance(v.path, v.video, 0.0, 8 / 25) for v in synthetic]
    assert evaluate(tiny_encoder(), short) is None
    assert evaluate(tiny_encoder(), [synthetic[0], *short[1:]]) is None
    found = evaluate(tiny_encoder(), [synthetic[0], *short[2:], synthetic[1]])
    assert found is not None and found.num_videos == 2


def test_the_checkpoint_that_passes_most_tests_is_the_best() -> None:
    healthy = dataclasses.replace(compute_monitors(random_pairs(40, 64, 0.1)), moment=70.0, order=80.0, far_clip=60.0)
    assert rate_checkpoint(healthy, 80, 100) == pytest.approx(70)
    assert rate_checkpoint(dataclasses.replace(healthy, far_clip=63.0), 80, 100) == pytest.approx(71)
    assert rate_checkpoint(dataclasses.replace(healthy, same_video_mrr=1.0, spread=0.9), 80, 100) == pytest.approx(70)
    assert rate_checkpoint(healthy, 74, 100) is None, "before the last quarter"
    assert rate_checkpoint(dataclasses.replace(healthy, spread=0.0), 80, 100) is None, "collapsed"
    assert rate_checkpoint(dataclasses.replace(healthy, order=math.nan), 80, 100) == -1, "chosen, if nothing better is"
