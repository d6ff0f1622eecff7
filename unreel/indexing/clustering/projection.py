"""2D positions of rows for a map, by PCA or t-SNE."""

import faiss
import numpy as np

from unreel.errors import unknown_name_error
from unreel.indexing.index.vectors import BLOCK_ROWS, iterate_blocks, sample_rows

LAYOUTS = ("pca", "tsne")


def project_2d(vectors_ND: np.ndarray, layout: str = "pca", seed: int = 0, max_rows: int = 3_000) -> np.ndarray:
    """Positions of rows on a map, float32 (N, 2), within -1..1.

    "pca" is fast and keeps distances. "tsne" separates clusters; it places `max_rows` randomly drawn rows, and each
    other row at its nearest drawn one. Source: van der Maaten and Hinton 2008, as in scikit-learn.
    """
    if layout not in LAYOUTS:
        raise unknown_name_error("map", layout, LAYOUTS)
    mean_D, axes_DP = fit_pca(vectors_ND, 2 if layout == "pca" else 50, seed)
    pca_NP = np.concatenate([(block - mean_D) @ axes_DP for _, block in iterate_blocks(vectors_ND)])
    xy_N2 = pca_NP if layout == "pca" or len(pca_NP) < 5 else _run_tsne(pca_NP, seed, max_rows)
    xy_N2 = np.pad(xy_N2, ((0, 0), (0, 2)))[:, :2]  # vectors of one number have one direction
    return (xy_N2 / max(float(np.abs(xy_N2).max()), 1e-12)).astype(np.float32)


def _run_tsne(pca_NP: np.ndarray, seed: int, max_rows: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    sample_M = np.sort(np.random.default_rng(seed).choice(len(pca_NP), min(max_rows, len(pca_NP)), replace=False))
    pca_MP = np.ascontiguousarray(pca_NP[sample_M])
    perplexity = min(30.0, (len(sample_M) - 1) / 3)
    xy_M2 = TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(pca_MP)
    return xy_M2[find_nearest(pca_MP, pca_NP)]


def fit_pca(vectors_ND: np.ndarray, num_dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and principal directions (D, P), float32, of at most 65,536 drawn rows; P is at most `num_dims`.

    The largest number of each direction is positive, so that the sign is always the same.
    """
    sample_MD = sample_rows(vectors_ND, BLOCK_ROWS, np.random.default_rng(seed)).astype(np.float64)
    mean_D = sample_MD.mean(axis=0)
    sample_MD -= mean_D
    axes_DP = np.linalg.eigh(sample_MD.T @ sample_MD)[1][:, ::-1][:, :num_dims]
    largest_P = np.abs(axes_DP).argmax(axis=0)
    axes_DP = axes_DP * np.sign(axes_DP[largest_P, np.arange(axes_DP.shape[1])])
    return mean_D.astype(np.float32), axes_DP.astype(np.float32)


def find_nearest(points_MP: np.ndarray, query_NP: np.ndarray) -> np.ndarray:
    """The nearest point of each query by Euclidean distance, int64 (N,)."""
    nearest = faiss.IndexFlatL2(points_MP.shape[1])
    nearest.add(np.ascontiguousarray(points_MP))
    return nearest.search(np.ascontiguousarray(query_NP), 1)[1][:, 0]
