"""Tampered clips: what each condition leaves of numbered frames, that chance falls evenly, and what residuals see."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from unreel.errors import InputError
from unreel.views.inference_views import make_inference_views
from unreel.views.perturb import (
    MID_GREY,
    PERTURBATIONS,
    freeze_time,
    keep_motion,
    reverse_time,
    sample_other_order,
    shuffle_time,
)
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec

KEEP_FRAMES = ("frozen", "shuffled", "reversed")


def numbered(clips: int, lead_in: int, num_frames: int) -> np.ndarray:
    """Clips whose frame s is full of s, the lead-in counted, plus 20 times the clip's number."""
    value = (
        np.arange(lead_in + num_frames)[None, :, None, None, None] + 20 * np.arange(clips)[:, None, None, None, None]
    )
    return np.broadcast_to(value, (clips, lead_in + num_frames, 2, 3, 3)).astype(np.uint8)


def orders(clips: np.ndarray) -> list[list[int]]:
    assert (clips == clips[:, :, :1, :1, :1]).all()
    return [[int(v) - 20 * n for v in clip[:, 0, 0, 0]] for n, clip in enumerate(clips)]


def random_clips(seed: int = 0, shape: tuple[int, ...] = (2, 9, 20, 24, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("lead_in", [0, 1])
def test_arrays_and_tensors_give_the_same_and_stay_what_they_are(name: str, lead_in: int) -> None:
    clips = random_clips()
    before = clips.copy()
    made = PERTURBATIONS[name](clips, lead_in, 3, 5)
    tensor = PERTURBATIONS[name](torch.from_numpy(clips), lead_in, 3, 5)
    assert isinstance(made, np.ndarray) and isinstance(tensor, torch.Tensor)
    assert made.dtype == np.uint8 and made.shape == clips.shape and made.flags.c_contiguous and made.flags.writeable
    np.testing.assert_array_equal(made, tensor.numpy())
    np.testing.assert_array_equal(clips, before)
    assert not np.shares_memory(made, clips)


@pytest.mark.parametrize("name", KEEP_FRAMES)
def test_what_rests_stays_as_it_was(name: str) -> None:
    still = np.repeat(random_clips(shape=(3, 1, 6, 5, 3)), 9, axis=1)
    np.testing.assert_array_equal(PERTURBATIONS[name](still, 1, 0, 0), still)


def test_frozen_is_the_middle_of_the_clip_not_of_the_lead_in() -> None:
    assert orders(freeze_time(numbered(2, 1, 4), 1)) == [[3] * 5] * 2
    assert orders(freeze_time(numbered(2, 0, 5), 0)) == [[2] * 5] * 2
    assert orders(freeze_time(numbered(1, 3, 1), 3)) == [[3] * 4]


def test_reversed_turns_the_whole_round() -> None:
    assert orders(reverse_time(numbered(2, 1, 3), 1)) == [[3, 2, 1, 0]] * 2
    clips = random_clips()
    np.testing.assert_array_equal(reverse_time(reverse_time(clips, 1), 1), clips)


def test_shuffled_keeps_the_frames_and_the_lead_in_and_is_never_the_identity() -> None:
    for index in range(60):
        for order in orders(shuffle_time(numbered(3, 2, 3), 2, 0, index)):
            assert order[:2] == [0, 1] and sorted(order[2:]) == [2, 3, 4] and order[2:] != [2, 3, 4]
    assert orders(shuffle_time(numbered(2, 0, 2), 0)) == [[1, 0]] * 2
    assert orders(shuffle_time(numbered(2, 1, 1), 1)) == [[0, 1]] * 2


def test_shuffles_are_uniform_over_all_other_orders_for_each_clip() -> None:
    drawn = [orders(shuffle_time(numbered(2, 0, 3), 0, 1, index)) for index in range(1500)]
    others = [list(p) for p in permutations(range(3)) if list(p) != [0, 1, 2]]
    for clip in range(2):
        counts = Counter(tuple(found[clip]) for found in drawn)
        assert set(counts) == {tuple(p) for p in others}
        assert chisquare(list(counts.values())).pvalue > 1e-3
    pairs = Counter((tuple(a), tuple(b)) for a, b in drawn)
    assert len(pairs) == 25 and chisquare(list(pairs.values())).pvalue > 1e-3  # each clip has a draw of its own


def test_shuffles_are_a_function_of_seed_and_index() -> None:
    clips = numbered(2, 1, 9)
    first = orders(shuffle_time(clips, 1, 4, 7))
    assert orders(shuffle_time(clips, 1, 4, 7)) == first
    assert orders(shuffle_time(clips, 1, 4, 8)) != first and orders(shuffle_time(clips, 1, 5, 7)) != first
    assert sample_other_order(np.random.default_rng(0), 1).tolist() == [0]


@pytest.mark.parametrize("lead_in", [0, 1])
def test_residual_by_hand(lead_in: int) -> None:
    values = np.array([10, 13, 255, 0, 0, 1], np.uint8)
    clips = np.broadcast_to(values[None, :, None, None, None], (1, 6, 2, 2, 3))
    made = keep_motion(clips, lead_in)[0, :, 0, 0, 0]
    assert made.tolist() == [129, 129, 249, 1, 128, 128]  # 3 / 2, 242 / 2, -255 / 2, nothing, 1 / 2, towards 128
    assert keep_motion(reverse_time(clips, lead_in), lead_in)[0, 1:, 0, 0, 0].tolist() == [128, 128, 255, 7, 127]


def test_residual_of_what_rests_is_flat() -> None:
    still = np.repeat(random_clips(shape=(3, 1, 6, 5, 3)), 9, axis=1)
    assert (keep_motion(still, 1) == MID_GREY).all()
    assert (keep_motion(random_clips(shape=(2, 1, 4, 4, 3)), 0) == MID_GREY).all()


def test_what_the_views_see() -> None:
    """RGB frames keep their set when shuffled; residuals vanish when frozen, and turn round negated when reversed."""
    clips, spec = random_clips(), ViewSpec(size=16, residual=ResidualSpec(rescale=False))
    views = {
        name: make_inference_views(torch.from_numpy(made(clips, 1, 0, 0)), spec) for name, made in PERTURBATIONS.items()
    }
    intact = make_inference_views(torch.from_numpy(clips), spec)
    assert not views["frozen"]["residual"].any()
    assert torch.equal(views["reversed"]["residual"], -intact["residual"].flip(2))
    same = torch.sort(views["shuffled"]["rgb"], dim=2).values == torch.sort(intact["rgb"], dim=2).values
    assert same.all() and not torch.equal(views["shuffled"]["rgb"], intact["rgb"])


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_clips_that_are_none_are_refused(name: str) -> None:
    for clips in (np.zeros((1, 2, 4, 4, 3), np.float32), np.zeros((4, 4, 4, 3), np.uint8)):
        with pytest.raises(InputError, match="clips must be uint8"):
            PERTURBATIONS[name](clips, 0, 0, 0)
    with pytest.raises(InputError, match=r"2 \+ T"):
        PERTURBATIONS[name](np.zeros((1, 2, 4, 4, 3), np.uint8), 2, 0, 0)
