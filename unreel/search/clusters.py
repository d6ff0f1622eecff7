"""Groups of rows that look alike, by k-means or by density, and how clips go from group to group."""

from dataclasses import dataclass

import faiss
import numpy as np

from unreel.errors import InputError, unknown
from unreel.search.rows import Rows
from unreel.search.vectors import BLOCK, blocks, drawn

METHODS = ("kmeans", "hdbscan")
NONE = -1  # the number of rows that HDBSCAN puts in no cluster


@dataclass(frozen=True)
class ClusterOptions:
    """`count` clusters of k-means (0: by rule), or clusters of at least `least` rows by density.

    Above `most_rows` that many drawn rows are clustered (HDBSCAN costs N squared), and each other row belongs where its
    nearest centre does, or with HDBSCAN its nearest drawn row. HDBSCAN works in `dims` principal directions, since
    density says little in hundreds.
    """

    method: str = "kmeans"
    count: int = 0
    least: int = 10
    most_rows: int = 10_000
    dims: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("way of clustering", self.method, METHODS)
        if self.count < 0 or self.least < 2:
            raise InputError(
                f"clusters need a count of 0 or more and at least 2 rows each, got {self.count} and {self.least}"
            )


@dataclass(frozen=True)
class Clusters:
    """Cluster of each row int64 (N,), largest cluster first and -1 for none, and how it was made, in a sentence."""

    number_N: np.ndarray
    said: str

    @property
    def count(self) -> int:
        return int(self.number_N.max(initial=NONE)) + 1


def cluster(vectors_ND: np.ndarray, options: ClusterOptions | None = None) -> Clusters:
    """Clusters of unit vectors (N, D); the same for the same seed and threads. Raises InputError."""
    options = options or ClusterOptions()
    if len(vectors_ND) < 2:
        raise InputError(f"{len(vectors_ND)} rows are nothing to cluster; embed more clips")
    number_N, said = (_kmeans if options.method == "kmeans" else _hdbscan)(vectors_ND, options)
    return Clusters(_largest_first(number_N), said)


def _largest_first(number_N: np.ndarray) -> np.ndarray:
    """Clusters numbered anew from the largest on, of equal ones the one with the first row."""
    names, first, size = np.unique(number_N, return_index=True, return_counts=True)
    names, first, size = names[names != NONE], first[names != NONE], size[names != NONE]
    place = np.empty(number_N.max(initial=NONE) + 2, np.int64)
    place[NONE] = NONE
    place[names[np.lexsort((first, -size))]] = np.arange(len(names))
    return place[number_N]


def _kmeans(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """k-means from well spread starts (k-means++), the best of four; then every row to its nearest centre.

    Without a count sqrt(N / 2) clusters, 50 at most. Source: Arthur, Vassilvitskii 2007, as in scikit-learn; the rule:
    Mardia, Kent, Bibby 1979. FAISS begins at rows drawn blindly, which joined groups that stand apart.
    """
    from sklearn.cluster import KMeans

    count = options.count or int(np.clip(round((len(vectors_ND) / 2) ** 0.5), 2, 50))
    if count > len(vectors_ND):
        raise InputError(f"{count} clusters of {len(vectors_ND)} rows can't be; ask for fewer")
    sample_MD = drawn(vectors_ND, max(options.most_rows, 256 * count), np.random.default_rng(options.seed))
    centre_CD = KMeans(count, n_init=4, random_state=options.seed).fit(sample_MD).cluster_centers_
    half_C = (centre_CD**2).sum(axis=1) / 2  # of |x - c|^2, what differs between the c
    number_N = np.concatenate([(block @ centre_CD.T - half_C).argmax(axis=1) for _, block in blocks(vectors_ND)])
    return number_N.astype(np.int64), f"k-means into {count} clusters on {len(sample_MD)} of {len(vectors_ND)} rows"


def _hdbscan(vectors_ND: np.ndarray, options: ClusterOptions) -> tuple[np.ndarray, str]:
    """Source: Campello, Moulavi, Sander 2013, as in scikit-learn."""
    from sklearn.cluster import HDBSCAN

    rng = np.random.default_rng(options.seed)
    seen = np.sort(rng.choice(len(vectors_ND), min(options.most_rows, len(vectors_ND)), replace=False))
    mean_D, axes_DP = principal(vectors_ND, options.dims, options.seed)
    seen_MP = (np.asarray(vectors_ND[seen], np.float32) - mean_D) @ axes_DP
    number_M = HDBSCAN(min_cluster_size=min(options.least, len(seen)), copy=True).fit(seen_MP).labels_
    said = f"HDBSCAN in {axes_DP.shape[1]} principal directions, clusters of at least {options.least} rows"
    if len(seen) == len(vectors_ND):
        return number_M.astype(np.int64), said
    nearest = faiss.IndexFlatL2(axes_DP.shape[1])
    nearest.add(np.ascontiguousarray(seen_MP))
    found = [nearest.search(np.ascontiguousarray((b - mean_D) @ axes_DP), 1)[1][:, 0] for _, b in blocks(vectors_ND)]
    said += f", on {len(seen)} drawn of {len(vectors_ND)} rows; each other row goes with its nearest drawn one"
    return number_M[np.concatenate(found)].astype(np.int64), said


def principal(vectors_ND: np.ndarray, dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and principal directions (D, P), float32, of at most 65,536 drawn rows; P is `dims` or what there is.

    Each direction's largest number is positive, so that the same rows always turn the same way.
    """
    sample_MD = drawn(vectors_ND, BLOCK, np.random.default_rng(seed)).astype(np.float64)
    mean_D = sample_MD.mean(axis=0)
    sample_MD -= mean_D
    axes_DP = np.linalg.eigh(sample_MD.T @ sample_MD)[1][:, ::-1][:, :dims]
    largest_P = np.abs(axes_DP).argmax(axis=0)
    axes_DP = axes_DP * np.sign(axes_DP[largest_P, np.arange(axes_DP.shape[1])])
    return mean_D.astype(np.float32), axes_DP.astype(np.float32)


def coordinates(vectors_ND: np.ndarray, how: str = "pca", seed: int = 0, most_rows: int = 3_000) -> np.ndarray:
    """Where to draw each row, float32 (N, 2), within -1..1.

    "pca" is quick and keeps distances; "tsne" pulls clusters apart: of at most `most_rows` drawn rows, the others stand
    with the nearest drawn one. Source: van der Maaten and Hinton 2008, as in scikit-learn.
    """
    if how not in ("pca", "tsne"):
        raise unknown("map", how, ("pca", "tsne"))
    mean_D, axes_DP = principal(vectors_ND, 2 if how == "pca" else 50, seed)
    place_NP = np.concatenate([(block - mean_D) @ axes_DP for _, block in blocks(vectors_ND)])
    place_N2 = place_NP if how == "pca" or len(place_NP) < 5 else _tsne(place_NP, seed, most_rows)
    place_N2 = np.pad(place_N2, ((0, 0), (0, 2)))[:, :2]  # rows of one number have one direction
    return (place_N2 / max(float(np.abs(place_N2).max()), 1e-12)).astype(np.float32)


def _tsne(place_NP: np.ndarray, seed: int, most_rows: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    seen = np.sort(np.random.default_rng(seed).choice(len(place_NP), min(most_rows, len(place_NP)), replace=False))
    seen_MP = np.ascontiguousarray(place_NP[seen])
    perplexity = min(30.0, (len(seen) - 1) / 3)
    drawn_M2 = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(seen_MP)
    nearest = faiss.IndexFlatL2(seen_MP.shape[1])
    nearest.add(seen_MP)
    return drawn_M2[nearest.search(np.ascontiguousarray(place_NP), 1)[1][:, 0]]


def transitions(rows: Rows, clusters: Clusters) -> np.ndarray:
    """How often a clip of cluster i is followed by one of cluster j in the same video, int64 (C, C).

    The next clip is the one that begins next; clips of no cluster are left out before.
    """
    kept = np.flatnonzero(clusters.number_N != NONE)
    kept = kept[np.lexsort((rows.start_s[kept], rows.path_N[kept]))]
    path_M, number_M = rows.path_N[kept], clusters.number_N[kept]
    same_M = path_M[1:] == path_M[:-1]
    counts_CC = np.zeros((clusters.count, clusters.count), np.int64)
    np.add.at(counts_CC, (number_M[:-1][same_M], number_M[1:][same_M]), 1)
    return counts_CC
