"""Groups of rows that look alike, by k-means or by density, and how clips go from group to group."""

from dataclasses import dataclass

import faiss
import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import BLOCK_ROWS, iterate_blocks, sample_rows

CLUSTER_METHODS = ("kmeans", "hdbscan")
NO_CLUSTER = -1  # the number of rows that HDBSCAN puts in no cluster


@dataclass(frozen=True)
class ClusterOptions:
    """`count` clusters of k-means (0: by rule), or clusters of at least `least` rows by density.

    Above `most_rows` that many drawn rows are clustered (HDBSCAN costs N squared), and each other row belongs where its
    nearest centre does, or with HDBSCAN its nearest drawn row. HDBSCAN works in `dims` principal directions, since
    density says little in hundreds.
    """

    method: str = "kmeans"
    num_clusters: int = 0
    min_cluster_size: int = 10
    max_rows: int = 10_000
    num_dims: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in CLUSTER_METHODS:
            raise unknown_name_error("way of clustering", self.method, CLUSTER_METHODS)
        if self.num_clusters < 0 or self.min_cluster_size < 2:
            raise InputError(
                f"clusters need a count of 0 or more and at least 2 rows each, got {self.num_clusters} and {self.min_cluster_size}"
            )


@dataclass(frozen=True)
class Clusters:
    """Cluster of each row int64 (N,), largest cluster first and -1 for none, and how it was made, in a sentence."""

    cluster_N: np.ndarray
    description: str

    @property
    def num_clusters(self) -> int:
        return int(self.cluster_N.max(initial=NO_CLUSTER)) + 1


def cluster_vectors(vectors_ND: np.ndarray, options: ClusterOptions | None = None) -> Clusters:
    """Clusters of unit vectors (N, D); the same for the same seed and threads. Raises InputError."""
    options = options or ClusterOptions()
    if len(vectors_ND) < 2:
        raise InputError(f"{len(vectors_ND)} rows are nothing to cluster; embed more clips")
    number_N, said = (_run_kmeans if options.method == "kmeans" else _run_hdbscan)(vectors_ND, options)
    return Clusters(_renumber_by_size(number_N), said)


def _renumber_by_size(cluster_N: np.ndarray) -> np.ndarray:
    """Clusters numbered anew from the largest on, of equal ones the one with the first row."""
    names, first, size = np.unique(cluster_N, return_index=True, return_counts=True)
    names, first, size = names[names != NO_CLUSTER], first[names != NO_CLUSTER], size[names != NO_CLUSTER]
    place = np.empty(cluster_N.max(initial=NO_CLUSTER) + 2, np.int64)
    place[NO_CLUSTER] = NO_CLUSTER
    place[names[np.lexsort((first, -size))]] = np.arange(len(names))
    return place[cluster_N]


def _run_kmeans(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """k-means from well spread starts (k-means++), the best of four; then every row to its nearest centre.

    Without a count sqrt(N / 2) clusters, 50 at most. Source: Arthur, Vassilvitskii 2007, as in scikit-learn; the rule:
    Mardia, Kent, Bibby 1979. FAISS begins at rows drawn blindly, which joined groups that stand apart.
    """
    from sklearn.cluster import KMeans

    count = options.num_clusters or int(np.clip(round((len(vectors_ND) / 2) ** 0.5), 2, 50))
    if count > len(vectors_ND):
        raise InputError(f"{count} clusters of {len(vectors_ND)} rows can't be; ask for fewer")
    sample_MD = sample_rows(vectors_ND, max(options.max_rows, 256 * count), np.random.default_rng(options.seed))
    centre_CD = KMeans(count, n_init=4, random_state=options.seed).fit(sample_MD).cluster_centers_
    half_C = (centre_CD**2).sum(axis=1) / 2  # of |x - c|^2, what differs between the c
    number_N = np.concatenate(
        [(block @ centre_CD.T - half_C).argmax(axis=1) for _, block in iterate_blocks(vectors_ND)]
    )
    return number_N.astype(np.int64), f"k-means into {count} clusters on {len(sample_MD)} of {len(vectors_ND)} rows"


def _run_hdbscan(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """Source: Campello, Moulavi, Sander 2013, as in scikit-learn."""
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(options.seed)
    seen = np.sort(rng.choice(len(vectors_ND), min(options.max_rows, len(vectors_ND)), replace=False))
    mean_D, axes_DP = fit_pca(vectors_ND, options.num_dims, options.seed)
    seen_MP = (np.asarray(vectors_ND[seen], np.float32) - mean_D) @ axes_DP
    number_M = HDBSCAN(min_cluster_size=min(options.min_cluster_size, len(seen)), copy=True).fit(seen_MP).labels_
    said = f"HDBSCAN in {axes_DP.shape[1]} principal directions, clusters of at least {options.min_cluster_size} rows"
    if len(seen) == len(vectors_ND):
        return number_M.astype(np.int64), said
    nearest = faiss.IndexFlatL2(axes_DP.shape[1])
    nearest.add(np.ascontiguousarray(seen_MP))
    found = [
        nearest.search(np.ascontiguousarray((b - mean_D) @ axes_DP), 1)[1][:, 0] for _, b in iterate_blocks(vectors_ND)
    ]
    said += f", on {len(seen)} drawn of {len(vectors_ND)} rows; each other row goes with its nearest drawn one"
    return number_M[np.concatenate(found)].astype(np.int64), said


def fit_pca(vectors_ND: np.ndarray, num_dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and principal directions (D, P), float32, of at most 65,536 drawn rows; P is `dims` or what there is.

    Each direction's largest number is positive, so that the same rows always turn the same way.
    """
    sample_MD = sample_rows(vectors_ND, BLOCK_ROWS, np.random.default_rng(seed)).astype(np.float64)
    mean_D = sample_MD.mean(axis=0)
    sample_MD -= mean_D
    axes_DP = np.linalg.eigh(sample_MD.T @ sample_MD)[1][:, ::-1][:, :num_dims]
    largest_P = np.abs(axes_DP).argmax(axis=0)
    axes_DP = axes_DP * np.sign(axes_DP[largest_P, np.arange(axes_DP.shape[1])])
    return mean_D.astype(np.float32), axes_DP.astype(np.float32)


def project_2d(vectors_ND: np.ndarray, layout: str = "pca", seed: int = 0, max_rows: int = 3_000) -> np.ndarray:
    """Where to draw each row, float32 (N, 2), within -1..1.

    "pca" is quick and keeps distances; "tsne" pulls clusters apart: of at most `most_rows` drawn rows, the others stand
    with the nearest drawn one. Source: van der Maaten and Hinton 2008, as in scikit-learn.
    """
    if layout not in ("pca", "tsne"):
        raise unknown_name_error("map", layout, ("pca", "tsne"))
    mean_D, axes_DP = fit_pca(vectors_ND, 2 if layout == "pca" else 50, seed)
    place_NP = np.concatenate([(block - mean_D) @ axes_DP for _, block in iterate_blocks(vectors_ND)])
    place_N2 = place_NP if layout == "pca" or len(place_NP) < 5 else _run_tsne(place_NP, seed, max_rows)
    place_N2 = np.pad(place_N2, ((0, 0), (0, 2)))[:, :2]  # rows of one number have one direction
    return (place_N2 / max(float(np.abs(place_N2).max()), 1e-12)).astype(np.float32)


def _run_tsne(pca_NP: np.ndarray, seed: int, max_rows: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    seen = np.sort(np.random.default_rng(seed).choice(len(pca_NP), min(max_rows, len(pca_NP)), replace=False))
    seen_MP = np.ascontiguousarray(pca_NP[seen])
    perplexity = min(30.0, (len(seen) - 1) / 3)
    drawn_M2 = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(seen_MP)
    nearest = faiss.IndexFlatL2(seen_MP.shape[1])
    nearest.add(seen_MP)
    return drawn_M2[nearest.search(np.ascontiguousarray(pca_NP), 1)[1][:, 0]]


def count_transitions(rows: RowTable, clusters: Clusters) -> np.ndarray:
    """How often a clip of cluster i is followed by one of cluster j in the same video, int64 (C, C).

    The next clip is the one that begins next; clips of no cluster are left out before.
    """
    kept = np.flatnonzero(clusters.cluster_N != NO_CLUSTER)
    kept = kept[np.lexsort((rows.start_s[kept], rows.path_N[kept]))]
    path_M, number_M = rows.path_N[kept], clusters.cluster_N[kept]
    same_M = path_M[1:] == path_M[:-1]
    counts_CC = np.zeros((clusters.num_clusters, clusters.num_clusters), np.int64)
    np.add.at(counts_CC, (number_M[:-1][same_M], number_M[1:][same_M]), 1)
    return counts_CC
