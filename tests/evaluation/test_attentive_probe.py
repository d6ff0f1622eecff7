"""Attentive pooling against an explicit softmax in double precision, and what it can see that a mean can't."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unreel.errors import InputError
from unreel.evaluation.baselines.chance import CHANCE, MAJORITY_CLASS
from unreel.evaluation.baselines.trivial_baselines import MEAN_FRAME, PIXEL_LAYER
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER
from unreel.evaluation.probes.attentive_pooling import (
    AttentivePooling,
    AttentiveProbe,
    MapTokenizer,
    average_attentive_softmax,
)
from unreel.evaluation.protocols.attentive_probe import AttentiveProtocol, evaluate_attentive, train_probe
from unreel.evaluation.video_features import JOINT, FeatureKey, VideoFeatures
from unreel.types import Instance

CHANNELS, POSITIONS = 4, 6
MAP = FeatureKey("encoder", "map")
PROTOCOL = AttentiveProtocol(epochs=12, batch_size=16, lrs=(0.01, 0.03), weight_decays=(0.01,), heads=2)


def maps(videos: int, seed: int, part: str, related: bool = True) -> VideoFeatures:
    """Two classes whose mean over positions is the same: the sign at the one marked position tells them apart."""
    rng = np.random.default_rng(seed)
    class_N, shape = np.arange(videos) // 2 % 2, (videos, 2, 2)  # videos, clips, views
    x = 0.05 * rng.standard_normal((*shape, POSITIONS, CHANNELS))
    sign = np.where(class_N == 1, 1.0, -1.0) if related else rng.choice([-1.0, 1.0], videos)
    place = rng.integers(0, POSITIONS, shape)
    marked = np.arange(POSITIONS) == place[..., None]
    x[..., 0] += marked * 3.0
    x[..., 1] += np.where(marked, 1.0, -1 / (POSITIONS - 1)) * 2 * sign[:, None, None, None]
    flat = np.moveaxis(x, -1, -2).reshape(videos, 2, -1).astype(np.float32)  # each view's map is channels first
    instances = [Instance(f"{part}{n}", n, 0, 1, f"c{c}", f"{part}{n // 2}") for n, c in enumerate(class_N)]
    width, pixels = CHANNELS * POSITIONS, FeatureKey(MEAN_FRAME, PIXEL_LAYER)
    views = {"rgb": slice(0, width), "residual": slice(width, 2 * width)}
    fresh = FeatureKey(UNTRAINED_ENCODER, "map")
    vectors = {pixels: np.zeros((videos, 3), np.float32), fresh: flat.mean(axis=1), MAP: flat.mean(axis=1)}
    columns = {pixels: {PIXEL_LAYER: slice(0, 3)}, fresh: views, MAP: views}
    return VideoFeatures(instances, vectors, columns, {MAP: flat}, np.zeros((videos, 2, 2)))


def slow_pool(pool: AttentivePooling, tokens: torch.Tensor) -> torch.Tensor:
    """Keys and values of every token, one head and one clip at a time."""
    rows = []
    for clip in tokens:
        keys, values, parts = clip @ pool.key.weight.T, clip @ pool.value.weight.T + pool.value.bias, []
        for head in range(pool.heads):
            own = slice(head * pool.head_width, (head + 1) * pool.head_width)
            weight = torch.stack([(pool.query[own] @ key / math.sqrt(pool.head_width)).exp() for key in keys[:, own]])
            parts.append(sum(w * v for w, v in zip(weight / weight.sum(), values[:, own], strict=True)))
        rows.append(pool.out.weight @ torch.cat(parts) + pool.out.bias)  # type: ignore[arg-type]
    return torch.stack(rows)


@pytest.mark.parametrize("heads", [1, 3])
def test_pooling_equals_an_explicit_softmax(heads: int) -> None:
    torch.manual_seed(0)
    pool, tokens = AttentivePooling(6, heads).double(), torch.randn(4, 5, 6, dtype=torch.float64)
    pool.query.data.mul_(10)  # far from the mean over tokens
    torch.testing.assert_close(pool(tokens), slow_pool(pool, tokens), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(pool(tokens), pool(tokens.mean(dim=1, keepdim=True)), atol=1e-3)
    torch.testing.assert_close(pool(tokens), pool(tokens.flip(1)), rtol=1e-10, atol=1e-12)


def test_pooling_equals_torch_multi_head_attention() -> None:
    torch.manual_seed(1)
    pool, tokens = AttentivePooling(8, 4).double(), torch.randn(3, 7, 8, dtype=torch.float64)
    query, eye = pool.query.expand(3, 1, 8), torch.eye(8, dtype=torch.float64)
    bias = torch.cat([torch.zeros(16, dtype=torch.float64), pool.value.bias])
    expected, _ = F.multi_head_attention_forward(
        query.transpose(0, 1), tokens.transpose(0, 1), tokens.transpose(0, 1), 8, 4, None, bias, None, None, False, 0.0,
        pool.out.weight, pool.out.bias, use_separate_proj_weight=True, q_proj_weight=eye, k_proj_weight=pool.key.weight,
        v_proj_weight=pool.value.weight,
    )  # fmt: skip
    torch.testing.assert_close(pool(tokens), expected[0], rtol=1e-10, atol=1e-12)


def test_every_weight_gets_a_gradient() -> None:
    torch.manual_seed(0)
    probe = AttentiveProbe(6, 2, 3)
    F.cross_entropy(probe(torch.randn(5, 4, 6)), torch.tensor([0, 1, 2, 0, 1])).backward()
    for name, weight in probe.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name


def test_tokens_are_the_positions_of_all_views() -> None:
    rgb, residual = np.arange(6.0).reshape(2, 3), 100 + np.arange(6.0).reshape(2, 3)  # 2 channels, 3 positions
    flat = np.concatenate([rgb.ravel(), residual.ravel()])[None]
    got = MapTokenizer(2, 6)(flat)
    assert got.tolist() == [[[0, 3], [1, 4], [2, 5], [100, 103], [101, 104], [102, 105]]]
    assert MapTokenizer(2, 6)(flat[:, :6]).tolist() == [[[0, 3], [1, 4], [2, 5]]]
    with pytest.raises(InputError, match="dimension 6 can't have 4 channels"):
        MapTokenizer(4, 6)
    with pytest.raises(InputError, match="4 heads do not divide 6 channels; use 2"):
        AttentivePooling(6, 4)


def test_a_video_gets_the_mean_softmax_over_its_clips() -> None:
    torch.manual_seed(0)
    probe, made = AttentiveProbe(CHANNELS, 2, 3).eval(), MapTokenizer(CHANNELS, CHANNELS * POSITIONS)
    clips = np.random.default_rng(0).standard_normal((5, 3, CHANNELS * POSITIONS)).astype(np.float32)
    by_hand = [np.mean([probe(made(c[None]))[0].softmax(0).detach().numpy() for c in video], axis=0) for video in clips]
    np.testing.assert_allclose(average_attentive_softmax(probe, clips, made), by_hand, atol=1e-6)


def test_it_sees_what_a_mean_over_positions_can_not() -> None:
    train, test = maps(40, 0, "train"), maps(24, 1, "test")
    seen = train.clip_vectors[MAP].reshape(40, 2, 2, CHANNELS, POSITIONS).mean(axis=(1, 2, 4))
    assert abs(seen[::4, 1].mean() - seen[2::4, 1].mean()) < 0.02  # the classes have the same mean
    result = evaluate_attentive(train, test, CHANNELS, PROTOCOL)
    assert list(result.rows) == [CHANCE, MAJORITY_CLASS, UNTRAINED_ENCODER, "rgb", "residual", JOINT]
    for row in ("rgb", "residual", JOINT):
        assert result.rows[row]["top-1"] >= 95, result.rows
    assert result.kind == "attentive" and result.protocol["channels"] == CHANNELS and result.protocol["heads"] == 2
    assert result.protocol["held_out"] > 0 and result.protocol["chosen"][JOINT]["lr"] in (0.01, 0.03)
    json.dumps(result.to_json())


def test_unrelated_labels_stay_near_chance() -> None:
    protocol = AttentiveProtocol(epochs=5, batch_size=16, lrs=(0.03,), weight_decays=(0.01,))
    result = evaluate_attentive(maps(40, 0, "train", False), maps(120, 1, "test", False), CHANNELS, protocol)
    assert abs(result.rows[JOINT]["top-1"] - 50) < 18  # sd 4.6


def test_two_runs_are_equal_and_leave_torch_alone() -> None:
    train, made = maps(16, 0, "train"), MapTokenizer(CHANNELS, CHANNELS * POSITIONS)
    class_N, point = np.arange(16) // 2 % 2, {"lr": 0.01, "weight_decay": 0.01}
    before = torch.get_rng_state()
    probes = [train_probe(train.clip_vectors[MAP], class_N, 2, point, made, PROTOCOL) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    one, two = (probe.state_dict() for probe in probes)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_what_has_no_map_is_refused() -> None:
    train, test = maps(16, 0, "train"), maps(8, 1, "test")
    with pytest.raises(InputError, match="can't have 5 channels"):
        evaluate_attentive(train, test, 5)
    del train.vectors[MAP]
    with pytest.raises(InputError, match="training videos have no features of layer 'map'"):
        evaluate_attentive(train, test, CHANNELS)
    with pytest.raises(InputError, match="or more of each"):
        AttentiveProtocol(heads=0)
