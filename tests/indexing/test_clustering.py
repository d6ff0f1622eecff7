"""Clusters, maps, transitions, what is odd and what is doubled; against explicit loops."""

import dataclasses

import numpy as np
import pytest
from vectors import clips, grouped, unit

from unreel.errors import InputError
from unreel.indexing.clustering.clusters import NO_CLUSTER, ClusterOptions, Clusters, cluster_vectors, count_transitions
from unreel.indexing.clustering.duplicates import find_duplicates
from unreel.indexing.clustering.outliers import find_neighbours, score_outliers
from unreel.indexing.clustering.projection import fit_pca, project_2d
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.row_table import RowTable
from unreel.types import Embeddings

KMEANS_OF_SOME = ClusterOptions(num_clusters=8, max_rows=100)
DENSITY = ClusterOptions("hdbscan", num_dims=8)


def agrees(number_N: np.ndarray, truth_N: np.ndarray) -> float:
    """Share of rows whose cluster's most frequent truth is theirs; rows of no cluster are wrong."""
    right = 0
    for number in set(number_N.tolist()) - {NO_CLUSTER}:
        right += np.bincount(truth_N[number_N == number]).max()
    return right / len(truth_N)


@pytest.mark.parametrize(
    "options", [ClusterOptions(num_clusters=8), KMEANS_OF_SOME, DENSITY, dataclasses.replace(DENSITY, max_rows=200)]
)
def test_groups_are_found_and_found_again(options: ClusterOptions) -> None:
    vectors = grouped(2560, noise=0.4)
    found = cluster_vectors(vectors, options)
    assert found.num_clusters == 8 and agrees(found.cluster_N, np.arange(2560) % 8) > 0.97
    again = cluster_vectors(vectors, options)
    np.testing.assert_array_equal(again.cluster_N, found.cluster_N)
    assert again.description == found.description


def test_what_was_done_is_said() -> None:
    vectors = grouped(640)
    few = ClusterOptions(num_clusters=2, max_rows=600)
    assert cluster_vectors(vectors, few).description == "k-means into 2 clusters on 600 of 640 rows"
    assert (
        "on 200 drawn of 640 rows" in cluster_vectors(vectors, dataclasses.replace(DENSITY, max_rows=200)).description
    )
    assert "drawn" not in cluster_vectors(vectors, DENSITY).description


def test_without_a_count_a_rule_gives_one() -> None:
    assert cluster_vectors(grouped(800)).num_clusters == 20
    assert cluster_vectors(grouped(3)).num_clusters == 2


def test_rows_go_to_their_nearest_centre_and_the_largest_cluster_is_first() -> None:
    vectors = np.concatenate([grouped(60, groups=1, seed=1), grouped(200, groups=1, seed=2)])
    number_N = cluster_vectors(vectors, ClusterOptions(num_clusters=2)).cluster_N
    assert set(number_N[:60].tolist()) == {1} and set(number_N[60:].tolist()) == {0}


def test_density_leaves_scattered_rows_out() -> None:
    scattered = unit(np.random.default_rng(1).standard_normal((30, 32)))
    vectors = np.concatenate([grouped(400, groups=4, noise=0.2), scattered])
    number_N = cluster_vectors(vectors, dataclasses.replace(DENSITY, num_dims=32)).cluster_N
    assert (number_N[400:] == NO_CLUSTER).mean() > 0.8 and (number_N[:400] == NO_CLUSTER).mean() < 0.1


def test_clusters_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="unknown clustering method 'kmean'.*'kmeans'"):
        ClusterOptions("kmean")
    with pytest.raises(InputError, match="at least 2 rows each, got 0 and 1"):
        ClusterOptions(min_cluster_size=1)
    with pytest.raises(InputError, match="at least 2 rows, got 1"):
        cluster_vectors(grouped(1))
    with pytest.raises(InputError, match="8 rows can't form 9 clusters"):
        cluster_vectors(grouped(8), ClusterOptions(num_clusters=9))
    with pytest.raises(InputError, match="unknown map 'umap'"):
        project_2d(grouped(8), "umap")


def test_principal_directions_are_those_of_a_singular_value_decomposition() -> None:
    vectors = grouped(300)
    mean_D, axes_DP = fit_pca(vectors, 3)
    np.testing.assert_allclose(mean_D, vectors.mean(axis=0), atol=1e-6)
    expected_PD = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)[2][:3]
    np.testing.assert_allclose(np.abs(np.sum(expected_PD * axes_DP.T, axis=1)), 1, atol=1e-4)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes_DP.T)


@pytest.mark.parametrize("how", ["pca", "tsne"])
def test_a_map_keeps_groups_together_and_stays_the_same(how: str) -> None:
    vectors = grouped(240, groups=3, noise=0.3)
    place_N2 = project_2d(vectors, how, max_rows=120)
    assert place_N2.shape == (240, 2) and place_N2.dtype == np.float32 and np.abs(place_N2).max() == 1
    np.testing.assert_array_equal(project_2d(vectors, how, max_rows=120), place_N2)
    for group in range(3):
        centre_2 = place_N2[group::3].mean(axis=0)
        others_2 = [place_N2[other::3].mean(axis=0) for other in range(3) if other != group]
        within = np.linalg.norm(place_N2[group::3] - centre_2, axis=1).mean()
        assert within < 0.5 * min(np.linalg.norm(centre_2 - other) for other in others_2)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_map_of_hardly_anything(count: int) -> None:
    assert np.isfinite(project_2d(grouped(count), "tsne")).all()
    assert project_2d(np.ones((count, 1), np.float32), "pca").shape == (count, 2)


def test_transitions_are_those_of_a_loop() -> None:
    """Rows in any order, clips of no cluster between."""
    rng = np.random.default_rng(0)
    start_s, paths = rng.permutation(60) / 2, [f"{n}" for n in rng.integers(0, 4, 60)]
    rows = RowTable.from_embeddings(Embeddings(np.zeros((60, 1)), paths, start_s, start_s + 1))
    number_N = rng.integers(-1, 3, 60)
    expected = np.zeros((3, 3), int)
    for path in set(paths):
        clips_of_path = sorted((n for n in range(60) if paths[n] == path), key=lambda n: start_s[n])
        numbers = [number_N[n] for n in clips_of_path if number_N[n] != NO_CLUSTER]
        for one, following in zip(numbers, numbers[1:], strict=False):
            expected[one, following] += 1
    counts = count_transitions(rows, Clusters(number_N, ""))
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == (number_N != NO_CLUSTER).sum() - 4


@pytest.mark.parametrize("flat_below", [10, 10_000])
def test_neighbours_are_elsewhere(flat_below: int) -> None:
    rows, vectors = clips(30, 8), grouped(240)
    nearest = AnnIndex.build(vectors, BuildOptions(flat_below=flat_below, target_recall=1.0))
    found = find_neighbours(nearest, vectors, rows, 5)
    score_NN = vectors @ vectors.T
    agreed = 0
    for n in range(240):
        elsewhere = [m for m in range(240) if m // 8 != n // 8]
        best = sorted(elsewhere, key=lambda m: -score_NN[n, m])[:5]
        agreed += len(set(best) & set(found.row_NK[n].tolist()))
        np.testing.assert_allclose(found.score_NK[n], score_NN[n, found.row_NK[n]], atol=5e-3)
    assert agreed >= (240 * 5 if flat_below == 10_000 else 0.97 * 240 * 5)


def test_where_no_other_video_is_near_the_gap_is_said() -> None:
    """One video of 100 clips alike, more than are looked at: others are no nearer than the last one seen."""
    vectors = np.concatenate([grouped(100, groups=1, noise=0.05), -grouped(3, groups=1, noise=0.05)])
    rows = RowTable.from_embeddings(
        Embeddings(vectors, ["a"] * 100 + ["b", "c", "d"], np.arange(103), np.arange(103) + 1.0)
    )
    found = find_neighbours(AnnIndex.build(vectors), vectors, rows, 2)
    assert (found.row_NK[:100] == -1).all() and (found.row_NK[100:] >= 100).all()
    for n in range(100):
        seen = np.sort(vectors @ vectors[n])[::-1][3 * 2 + 32 - 1]
        np.testing.assert_allclose(found.score_NK[n], seen, atol=1e-6)


def test_the_odd_one_is_the_one_far_from_all_others() -> None:
    """A whole odd video: its clips are near to each other, which must not hide it."""
    rows, vectors = clips(20, 6), grouped(120, groups=2, noise=0.3)
    vectors[42:48] = unit(np.random.default_rng(5).standard_normal(32) + 0.1 * grouped(6))
    odd_N = score_outliers(find_neighbours(AnnIndex.build(vectors), vectors, rows, 5))
    assert set(np.argsort(-odd_N)[:6].tolist()) == set(range(42, 48))
    others = sorted((float(vectors[0] @ vectors[m]) for m in range(6, 120)), reverse=True)[:5]
    assert odd_N[0] == pytest.approx(1 - sum(others) / 5, abs=1e-5)


def test_doubles_are_those_of_a_loop() -> None:
    rows, vectors = clips(12, 6), grouped(72, groups=12, noise=1.0)
    vectors[30:33] = unit(vectors[6:9] + 0.02 * grouped(3))  # clips of video 5 show what those of video 1 do
    vectors[71] = vectors[66]  # what a video shows twice is no double
    nearest = AnnIndex.build(vectors)
    near = find_neighbours(nearest, vectors, rows, 10)
    found = find_duplicates(near, rows, threshold=0.99)
    assert find_duplicates(near, rows) == found  # the rule of its own, 0.97 or so for these rows
    best: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    for n in range(72):
        for m in range(n + 1, 72):
            score = float(vectors[n] @ vectors[m])
            if score >= 0.99 and n // 6 != m // 6:
                best.setdefault((n // 6, m // 6), []).append((score, n, m))
    assert {(double.row // 6, double.other_row // 6) for double in found} == set(best) == {(1, 5)}
    for double in found:
        pairs = best[(double.row // 6, double.other_row // 6)]
        assert double.num_pairs == len(pairs)
        assert (double.row, double.other_row) == max(pairs)[1:] and double.score == pytest.approx(
            max(pairs)[0], abs=1e-6
        )
    assert [double.score for double in found] == sorted((double.score for double in found), reverse=True)
    assert find_duplicates(find_neighbours(nearest, vectors, rows), rows, threshold=1.1) == []
