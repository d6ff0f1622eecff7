"""The paired test against explicit twins, its false positives on shuffled labels, and Holm's correction."""

import itertools

import numpy as np
import pytest
from scipy import stats

from unreel.errors import InputError
from unreel.evaluation.metrics.paired_test import compare_paired, correct_holm

LEVEL, NUM_COMPARISONS = 0.05, 1000


def draw_runs(rng: np.random.Generator, runs: int, videos: int, seed_sd: float, between: float = 0.0) -> np.ndarray:
    """Right or wrong (R, Q), in percent, of runs that differ in skill on videos that differ in difficulty.

    `between` is how much the first half of the runs and the second differ from video to video.
    """
    logit_RQ = rng.normal(0, 1.5, videos) + rng.normal(0, seed_sd, (runs, 1)) + rng.normal(0, 0.5, (runs, videos))
    logit_RQ += between * rng.normal(0, 1, (2, videos)).repeat(runs // 2, axis=0)
    return 100.0 * (rng.random((runs, videos)) < 1 / (1 + np.exp(-logit_RQ)))


def slow_test(a_SQ: np.ndarray, b_SQ: np.ndarray, groups: list[str]) -> tuple[float, float, float, float]:
    """Difference, interval and p by loops over runs, videos and groups."""
    runs, num_a, count = [*a_SQ, *b_SQ], len(a_SQ), a_SQ.shape[1]
    names = sorted(set(groups))

    def covariance(one: np.ndarray, other: np.ndarray) -> float:
        total = 0.0
        for name in names:
            rows = [q for q in range(count) if groups[q] == name]
            total += sum(one[q] - one.mean() for q in rows) * sum(other[q] - other.mean() for q in rows)
        return total / count**2 * len(names) / (len(names) - 1)

    def shared(arm: list[int]) -> float:
        pairs = [(r, s) for r in arm for s in arm if r != s] or [(arm[0], arm[0])]
        return float(np.mean([covariance(runs[r], runs[s]) for r, s in pairs]))

    a, b = list(range(num_a)), list(range(num_a, len(runs)))
    crossed = float(np.mean([covariance(runs[r], runs[s]) for r in a for s in b]))
    parts = [(max(0.0, shared(a) + shared(b) - 2 * crossed), len(names) - 1)]
    for arm in (a, b):
        figures = [runs[r].mean() for r in arm]
        parts += [(np.var(figures, ddof=1) / len(arm), len(arm) - 1)] if len(arm) > 1 else []
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    difference = float(np.mean(a_SQ) - np.mean(b_SQ))
    low, high = stats.t.interval(0.95, freedom, difference, variance**0.5)
    return difference, low, high, 2 * stats.t.sf(abs(difference) / variance**0.5, freedom)


@pytest.mark.parametrize(("num_a", "num_b"), [(3, 3), (2, 4), (3, 1), (1, 1)])
@pytest.mark.parametrize("group_size", [1, 3])
def test_it_is_an_explicit_loop(num_a: int, num_b: int, group_size: int) -> None:
    rng = np.random.default_rng(num_a + 10 * group_size)
    runs_RQ = rng.normal(50, 20, (num_a + num_b, 12)) + rng.normal(0, 10, 12)
    groups = [f"g{q // group_size}" for q in range(11)] + [""]
    found = compare_paired(runs_RQ[:num_a], runs_RQ[num_a:], groups)
    assert (found.difference, found.low, found.high, found.p) == pytest.approx(
        slow_test(runs_RQ[:num_a], runs_RQ[num_a:], groups), rel=1e-9
    )
    assert found.num_runs == (num_a, num_b) and found.is_about_runs == (num_b == 1)


def test_one_run_of_each_is_the_paired_t_test() -> None:
    a_Q, b_Q = draw_runs(np.random.default_rng(3), 2, 40, 0.5)
    assert compare_paired(a_Q, b_Q).p == pytest.approx(stats.ttest_rel(a_Q, b_Q).pvalue, rel=1e-9)


def test_runs_that_are_alike_on_all_videos_are_welchs_t_test() -> None:
    figures = [61.0, 55.0, 58.0], [50.0, 51.5, 49.0]
    a_SQ, b_SQ = (np.repeat(np.array(one)[:, None], 40, axis=1) for one in figures)
    welch = stats.ttest_ind(*figures, equal_var=False)
    found = compare_paired(a_SQ, b_SQ)
    assert found.p == pytest.approx(welch.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(welch.confidence_interval()), rel=1e-9)


@pytest.mark.parametrize(("seeds", "seed_sd", "between"), [(3, 0.3, 0.0), (3, 0.0, 0.0), (5, 1.0, 0.0), (3, 0.1, 1.0)])
def test_false_positives_on_shuffled_labels_are_as_many_as_the_level_says(
    seeds: int, seed_sd: float, between: float
) -> None:
    """Runs of one method under labels A and B by chance; in the last case of two that differ from video to video alone.

    The number of false positives lies in the binomial interval (99 %) of the level.
    """
    rng = np.random.default_rng(seeds)
    positives = 0
    for _ in range(NUM_COMPARISONS):
        runs_RQ = draw_runs(rng, 2 * seeds, 150, seed_sd, between)
        order = np.arange(2 * seeds) if between else rng.permutation(2 * seeds)
        positives += compare_paired(runs_RQ[order[:seeds]], runs_RQ[order[seeds:]]).p <= LEVEL
    low, high = stats.binom.interval(0.99, NUM_COMPARISONS, LEVEL)
    assert low <= positives <= high


def test_a_real_difference_is_found_and_its_sign_turns_with_the_order() -> None:
    rng = np.random.default_rng(0)
    difficulty_Q = rng.normal(0, 1, 200)
    a, b = (100.0 * (rng.normal(0, 1, (3, 200)) + difficulty_Q < limit) for limit in (0.6, -0.6))
    found, turned = compare_paired(a, b), compare_paired(b, a)
    assert found.p < 0.01 and found.low > 0 and turned.p == pytest.approx(found.p)
    assert (turned.difference, turned.low, turned.high) == pytest.approx((-found.difference, -found.high, -found.low))


def test_without_any_variance() -> None:
    same = compare_paired(np.ones((3, 5)), np.ones((3, 5)))
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    always = compare_paired(np.full((3, 5), 100.0), np.zeros((3, 5)))
    assert always.p == 2.0**-4  # five videos which all agree, as in a sign test


def test_what_can_not_be_tested() -> None:
    with pytest.raises(InputError, match="same test videos, got 4 and 5"):
        compare_paired(np.zeros((1, 4)), np.zeros((1, 5)))
    with pytest.raises(InputError, match="2 test videos"):
        compare_paired(np.zeros((2, 4)), np.zeros((2, 4)), ["one"] * 4)


def test_holm_is_the_closed_test_of_all_subsets() -> None:
    """A comparison counts when each set of comparisons that has it does, by Bonferroni within the set."""
    p_values = [0.012, 0.3, 0.001, 0.013, 0.9]
    expected = []
    for n in range(len(p_values)):
        sets = [s for k in range(1, 6) for s in itertools.combinations(range(5), k) if n in s]
        expected.append(max(min(1.0, len(s) * min(p_values[m] for m in s)) for s in sets))
    assert correct_holm(p_values) == pytest.approx(expected)
    assert correct_holm([]) == []
