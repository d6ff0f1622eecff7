"""Rankings of a gallery by cosine: the nearest videos of each query, and how well the ranking agrees with classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unreel.errors import InputError

QUERY_CHUNK, GALLERY_CHUNK = 256, 1024


@dataclass(frozen=True)
class QueryGallery:
    """Vectors of queries (Q, D) and gallery (N, D), and what is subtracted from each (D,) before they are compared.

    The subtraction happens in chunks, so no centred copy of all features is held in memory.
    """

    query_QD: np.ndarray
    gallery_ND: np.ndarray
    query_mean_D: np.ndarray | float = 0.0
    gallery_mean_D: np.ndarray | float = 0.0

    def iterate_scores(self) -> Iterator[tuple[int, np.ndarray]]:
        """Chunks of queries: the position of the first one, and cosines float32 (q, N)."""
        for start in range(0, len(self.query_QD), QUERY_CHUNK):
            query = _l2_normalize(self.query_QD[start : start + QUERY_CHUNK], self.query_mean_D)
            starts = range(0, len(self.gallery_ND), GALLERY_CHUNK)
            parts = (_l2_normalize(self.gallery_ND[i : i + GALLERY_CHUNK], self.gallery_mean_D) for i in starts)
            yield start, np.concatenate([query @ part.T for part in parts], axis=1).astype(np.float32)


def _l2_normalize(vectors: np.ndarray, mean_D: np.ndarray | float) -> np.ndarray:
    vectors = vectors.astype(np.float64) - mean_D
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def require_nonempty(vectors: QueryGallery) -> None:
    num_queries, gallery_size = len(vectors.query_QD), len(vectors.gallery_ND)
    if not num_queries or not gallery_size:
        raise InputError(f"retrieval needs queries and a gallery, got {num_queries} and {gallery_size} videos")


def rank_first_correct(vectors: QueryGallery, query_labels: Sequence[str], gallery_labels: Sequence[str]) -> np.ndarray:
    """Rank (0 is best) of the nearest gallery video of the query's class, int64 (Q,); N where there is none.

    Ties are ranked in the order of the gallery. Raises InputError for empty lists.
    """
    require_nonempty(vectors)
    gallery, positions = np.asarray(gallery_labels), np.arange(len(gallery_labels))
    ranks = []
    for start, score_QN in vectors.iterate_scores():
        correct_QN = np.asarray(query_labels[start : start + len(score_QN)])[:, None] == gallery
        masked_QN = np.where(correct_QN, score_QN, -np.inf)
        best_Q1, where_Q1 = masked_QN.max(1, keepdims=True), masked_QN.argmax(1)[:, None]
        ahead_QN = (score_QN > best_Q1) | ((score_QN == best_Q1) & (positions < where_Q1))
        ranks.append(ahead_QN.sum(axis=1))
    return np.concatenate(ranks)


def compute_average_precisions(
    vectors: QueryGallery, query_labels: Sequence[str], gallery_labels: Sequence[str]
) -> np.ndarray:
    """Average precision of each query's ranking of the whole gallery, float64 (Q,) in 0..1; 0 without its class.

    Mean over the correct videos of the precision at their rank, ties in the order of the gallery.
    """
    require_nonempty(vectors)
    gallery, rank_N = np.asarray(gallery_labels), np.arange(1, len(gallery_labels) + 1)
    precisions = []
    for start, score_QN in vectors.iterate_scores():
        order_QN = np.argsort(-score_QN, axis=1, kind="stable")
        is_correct_QN = gallery[order_QN] == np.asarray(query_labels[start : start + len(score_QN)])[:, None]
        precision_QN = is_correct_QN.cumsum(axis=1) / rank_N
        precisions.append((precision_QN * is_correct_QN).sum(axis=1) / np.maximum(is_correct_QN.sum(axis=1), 1))
    return np.concatenate(precisions)


def find_nearest(vectors: QueryGallery, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 (Q, k) and cosines (Q, k) of the k nearest, best first, ties in the order of the gallery."""
    orders, scores = [], []
    for _, score_QN in vectors.iterate_scores():
        order = np.argsort(-score_QN, axis=1, kind="stable")[:, :k]
        orders.append(order)
        scores.append(np.take_along_axis(score_QN, order, axis=1))
    return np.concatenate(orders), np.concatenate(scores)
