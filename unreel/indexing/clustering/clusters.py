"""Cluster rows by k-means or HDBSCAN, and count transitions between the clusters of consecutive clips."""

from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.clustering.projection import find_nearest, fit_pca
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import iterate_blocks, sample_rows
from unreel.io.text import format_count

CLUSTER_METHODS = ("kmeans", "hdbscan")
NO_CLUSTER = -1  # of rows that HDBSCAN puts in no cluster


@dataclass(frozen=True)
class ClusterOptions:
    """The clustering method and its numbers.

    Of more than `max_rows` rows, that many randomly drawn ones are clustered, since HDBSCAN takes N squared time. Each
    other row joins the cluster of its nearest centre, or with HDBSCAN of its nearest drawn row.

    Args:
        method: "kmeans" or "hdbscan".
        num_clusters: clusters of k-means; 0 means chosen by rule.
        min_cluster_size: rows of the smallest cluster of HDBSCAN.
        max_rows: rows to cluster.
        num_dims: principal directions that HDBSCAN works in, since density means little in hundreds of dimensions.
        seed: seed of all random draws.

    Raises:
        InputError: the method is unknown, or a number is too small.

    >>> unreel.ClusterOptions(num_clusters=8).method
    'kmeans'
    """

    method: str = "kmeans"
    num_clusters: int = 0
    min_cluster_size: int = 10
    max_rows: int = 10_000
    num_dims: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in CLUSTER_METHODS:
            raise unknown_name_error("clustering method", self.method, CLUSTER_METHODS)
        if self.num_clusters < 0 or self.min_cluster_size < 2:
            raise InputError(
                "clusters need a count of 0 or more and at least 2 rows each, got "
                f"{self.num_clusters} and {self.min_cluster_size}"
            )


@dataclass(frozen=True)
class Clusters:
    """Cluster of each row, int64 (N,), the largest being 0, -1 for none; and a sentence about the method."""

    cluster_N: np.ndarray
    description: str

    @property
    def num_clusters(self) -> int:
        return int(self.cluster_N.max(initial=NO_CLUSTER)) + 1


def cluster_vectors(vectors_ND: np.ndarray, options: ClusterOptions | None = None) -> Clusters:
    """Cluster unit vectors (N, D), reproducibly for a seed and number of threads. Raises InputError."""
    options = options or ClusterOptions()
    if len(vectors_ND) < 2:
        raise InputError(f"clustering needs at least 2 rows, got {len(vectors_ND)}; embed more clips")
    run = _run_kmeans if options.method == "kmeans" else _run_hdbscan
    cluster_N, description = run(vectors_ND, options)
    return Clusters(_renumber_by_size(cluster_N), description)


def _renumber_by_size(cluster_N: np.ndarray) -> np.ndarray:
    """Number clusters by decreasing size, equal ones by their first row."""
    names, first, size = np.unique(cluster_N, return_index=True, return_counts=True)
    names, first, size = names[names != NO_CLUSTER], first[names != NO_CLUSTER], size[names != NO_CLUSTER]
    rank = np.empty(cluster_N.max(initial=NO_CLUSTER) + 2, np.int64)
    rank[NO_CLUSTER] = NO_CLUSTER
    rank[names[np.lexsort((first, -size))]] = np.arange(len(names))
    return rank[cluster_N]


def _run_kmeans(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """k-means++, the best of four starts; then each row joins its nearest centre.

    By default sqrt(N / 2) clusters, at most 50 (Mardia, Kent, Bibby 1979). Source: Arthur, Vassilvitskii 2007, as in
    scikit-learn; FAISS starts from uniformly drawn rows, which merged clusters that lie apart.
    """
    from sklearn.cluster import KMeans

    count = options.num_clusters or int(np.clip(round((len(vectors_ND) / 2) ** 0.5), 2, 50))
    if count > len(vectors_ND):
        raise InputError(f"{len(vectors_ND)} rows can't form {count} clusters; ask for fewer")
    sample_MD = sample_rows(vectors_ND, max(options.max_rows, 256 * count), np.random.default_rng(options.seed))
    centre_CD = KMeans(count, n_init=4, random_state=options.seed).fit(sample_MD).cluster_centers_
    half_C = (centre_CD**2).sum(axis=1) / 2  # argmin |x - c|^2 = argmax x.c - |c|^2 / 2
    cluster_N = np.concatenate(
        [(block @ centre_CD.T - half_C).argmax(axis=1) for _, block in iterate_blocks(vectors_ND)]
    )
    description = f"k-means into {format_count(count, 'cluster')} on {len(sample_MD):,} of {len(vectors_ND):,} rows"
    return cluster_N.astype(np.int64), description


def _run_hdbscan(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """Source: Campello, Moulavi, Sander 2013, as in scikit-learn."""
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(options.seed)
    sample_M = np.sort(rng.choice(len(vectors_ND), min(options.max_rows, len(vectors_ND)), replace=False))
    mean_D, axes_DP = fit_pca(vectors_ND, options.num_dims, options.seed)
    pca_MP = (np.asarray(vectors_ND[sample_M], np.float32) - mean_D) @ axes_DP
    cluster_M = HDBSCAN(min_cluster_size=min(options.min_cluster_size, len(sample_M)), copy=True).fit(pca_MP).labels_
    description = (
        f"HDBSCAN in {axes_DP.shape[1]} principal directions, clusters of at least {options.min_cluster_size} rows"
    )
    if len(sample_M) == len(vectors_ND):
        return cluster_M.astype(np.int64), description
    nearest_N = np.concatenate(
        [find_nearest(pca_MP, (block - mean_D) @ axes_DP) for _, block in iterate_blocks(vectors_ND)]
    )
    description += (
        f", on {len(sample_M)} drawn of {len(vectors_ND)} rows; each other row goes with its nearest drawn one"
    )
    return cluster_M[nearest_N].astype(np.int64), description


def count_transitions(rows: RowTable, clusters: Clusters) -> np.ndarray:
    """How often a clip of cluster i is followed by one of cluster j in the same video, int64 (C, C).

    The following clip is the one that starts next, not counting clips in no cluster.
    """
    row_M = np.flatnonzero(clusters.cluster_N != NO_CLUSTER)
    row_M = row_M[np.lexsort((rows.start_s[row_M], rows.path_N[row_M]))]
    path_M, cluster_M = rows.path_N[row_M], clusters.cluster_N[row_M]
    same_M = path_M[1:] == path_M[:-1]
    counts_CC = np.zeros((clusters.num_clusters, clusters.num_clusters), np.int64)
    np.add.at(counts_CC, (cluster_M[:-1][same_M], cluster_M[1:][same_M]), 1)
    return counts_CC
