"""Intervals that hold the truth as often as they say, and validation parts that keep groups together."""

from collections import Counter

import numpy as np
import pytest

from unreel.errors import InputError
from unreel.evaluation.metrics.bootstrap import bootstrap_interval, sample_counts
from unreel.evaluation.validation_split import choose_validation_groups
from unreel.types import Instance


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 samples of 80 queries that hit with probability 0.3: 95 % of the intervals hold 0.3, give or take."""
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(400):
        low, high = bootstrap_interval((rng.random(80) < 0.3).astype(float), seed=seed, draws=300)
        held += low <= 0.3 <= high
    assert 0.90 <= held / 400 <= 0.98  # sd of the share 0.011; a percentile interval is a little short


def test_only_whole_groups_cover_where_groups_stand_or_fall_together() -> None:
    """25 groups of 8 videos that all hit or all miss: resampling videos is far too sure of itself."""
    rng = np.random.default_rng(1)
    held = Counter[str]()
    for seed in range(300):
        values = np.repeat(rng.random(25) < 0.4, 8).astype(float)
        groups = np.repeat([f"g{n}" for n in range(25)], 8).tolist()
        for name, given in (("videos", None), ("groups", groups)):
            low, high = bootstrap_interval(values, given, seed, draws=200)
            held[name] += low <= 0.4 <= high
    assert held["groups"] / 300 > 0.88 and held["videos"] / 300 < 0.7


def test_a_draw_has_as_many_groups_as_there_are_each_with_the_same_chance() -> None:
    groups = ["a", "a", "a", "b", "", ""]
    times = sample_counts(6, groups, seed=3, draws=4000)
    assert (times[:, 0] == times[:, 1]).all() and (times[:, 1] == times[:, 2]).all()  # stand or fall together
    assert (times[:, 4] != times[:, 5]).any()  # no group means a group of its own
    assert (times[:, [0, 3, 4, 5]].sum(axis=1) == 4).all()
    np.testing.assert_allclose(times.mean(axis=0), 1.0, atol=0.06)  # sd of the mean 0.014
    assert (sample_counts(6, groups, 3, 10) == times[:10]).all()
    assert (sample_counts(6, groups, 4, 10) != times[:10]).any()


def test_a_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="got 0"):
        bootstrap_interval([])
    with pytest.raises(InputError, match="2 videos but 3 groups"):
        bootstrap_interval([1.0, 0.0], ["a", "b", "c"])


def made(labels: list[str], groups: list[str]) -> list[Instance]:
    return [Instance(f"{n}.mp4", n, 0.0, 1.0, c, g) for n, (c, g) in enumerate(zip(labels, groups, strict=True))]


@pytest.mark.parametrize("seed", range(8))
def test_validation_takes_whole_groups_and_leaves_every_class_some(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"g{n}" for n in rng.integers(0, 12, 90)]
    kind = {g: f"c{rng.integers(0, 4)}" for g in set(groups)}
    labels = [kind[g] if rng.random() < 0.7 else f"c{rng.integers(0, 4)}" for g in groups]  # some groups are mixed
    chosen = choose_validation_groups(made(labels, groups), 0.25, seed)
    inside, outside = (
        {g for g, c in zip(groups, chosen, strict=True) if c},
        {g for g, c in zip(groups, chosen, strict=True) if not c},
    )
    assert not inside & outside and inside
    assert {c for c, v in zip(labels, chosen, strict=True) if not v} == set(labels)
    assert (choose_validation_groups(made(labels, groups), 0.25, seed) == chosen).all()


def test_each_class_is_asked_for_where_it_has_two_groups() -> None:
    labels = [f"c{n % 5}" for n in range(50)] + ["alone"] * 4
    groups = [f"g{n % 5}-{n // 25}" for n in range(50)] + ["one"] * 4
    chosen = choose_validation_groups(made(labels, groups), 0.1, 0)
    assert {c for c, v in zip(labels, chosen, strict=True) if v} == {f"c{n}" for n in range(5)}


def test_videos_without_a_group_are_their_own_and_every_group_has_its_chance() -> None:
    instances = made(["a", "b"] * 10, [""] * 20)
    times = np.mean([choose_validation_groups(instances, 0.2, seed) for seed in range(400)], axis=0)
    np.testing.assert_allclose(times, 0.2, atol=0.09)
    assert not choose_validation_groups(
        made(["a", "b"], ["x", "y"]), 0.5, 0
    ).any()  # a class with one group stays in training
