"""Rankings of a gallery by cosine: which videos are nearest, and how well that agrees with classes."""

from collections.abc import Iterator, Sequence

import numpy as np

from unreel.errors import InputError

QUERY_CHUNK, GALLERY_CHUNK = 256, 1024


def similarity(query_QD: np.ndarray, gallery_ND: np.ndarray) -> np.ndarray:
    """Cosine similarity, float32 (Q, N). Worked out in double, so that equal vectors tie wherever they stand."""
    query = _unit(query_QD)
    parts = [query @ _unit(gallery_ND[i : i + GALLERY_CHUNK]).T for i in range(0, len(gallery_ND), GALLERY_CHUNK)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.astype(np.float64)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def chunks(query_QD: np.ndarray, gallery_ND: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First query and similarities (q, N) of some queries at a time."""
    for start in range(0, len(query_QD), QUERY_CHUNK):
        yield start, similarity(query_QD[start : start + QUERY_CHUNK], gallery_ND)


def require_both(query_QD: np.ndarray, gallery_ND: np.ndarray) -> None:
    if not len(query_QD) or not len(gallery_ND):
        raise InputError(f"retrieval needs queries and a gallery, got {len(query_QD)} and {len(gallery_ND)} videos")


def first_correct(
    query_QD: np.ndarray, gallery_ND: np.ndarray, query_labels: Sequence[str], gallery_labels: Sequence[str]
) -> np.ndarray:
    """Rank (0 is best) of the nearest gallery video of the query's class, int64 (Q,); N where there is none.

    Of equally near videos the one that stands first in the gallery comes first. Raises InputError for empty lists.
    """
    require_both(query_QD, gallery_ND)
    gallery, positions = np.asarray(gallery_labels), np.arange(len(gallery_ND))
    ranks = []
    for start, score_QN in chunks(query_QD, gallery_ND):
        correct_QN = np.asarray(query_labels[start : start + len(score_QN)])[:, None] == gallery
        masked_QN = np.where(correct_QN, score_QN, -np.inf)
        best_Q1, where_Q1 = masked_QN.max(1, keepdims=True), masked_QN.argmax(1)[:, None]
        ahead_QN = (score_QN > best_Q1) | ((score_QN == best_Q1) & (positions < where_Q1))
        ranks.append(ahead_QN.sum(axis=1))
    return np.concatenate(ranks)


def recall_at_k(
    query_QD: np.ndarray,
    gallery_ND: np.ndarray,
    query_labels: Sequence[str],
    gallery_labels: Sequence[str],
    ks: Sequence[int],
) -> dict[int, float]:
    """Percentage of queries with their class among the k nearest gallery videos; a k above N means all N."""
    ranks = first_correct(query_QD, gallery_ND, query_labels, gallery_labels)
    return {k: 100.0 * float(np.mean(ranks < min(k, len(gallery_ND)))) for k in ks}


def average_precisions(
    query_QD: np.ndarray, gallery_ND: np.ndarray, query_labels: Sequence[str], gallery_labels: Sequence[str]
) -> np.ndarray:
    """Average precision of each query's ranking of the whole gallery, float64 (Q,) in 0..1; 0 without its class.

    The mean over the right videos of the share of right ones down to each, ties in the order of the gallery.
    """
    require_both(query_QD, gallery_ND)
    gallery, place_N = np.asarray(gallery_labels), np.arange(1, len(gallery_ND) + 1)
    found = []
    for start, score_QN in chunks(query_QD, gallery_ND):
        order_QN = np.argsort(-score_QN, axis=1, kind="stable")
        right_QN = gallery[order_QN] == np.asarray(query_labels[start : start + len(score_QN)])[:, None]
        precision_QN = right_QN.cumsum(axis=1) / place_N
        found.append((precision_QN * right_QN).sum(axis=1) / np.maximum(right_QN.sum(axis=1), 1))
    return np.concatenate(found)


def nearest(query_QD: np.ndarray, gallery_ND: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions int64 (Q, k) and cosines (Q, k) of the k nearest, best first, ties in the order of the gallery."""
    orders, scores = [], []
    for _, score_QN in chunks(query_QD, gallery_ND):
        order = np.argsort(-score_QN, axis=1, kind="stable")[:, :k]
        orders.append(order)
        scores.append(np.take_along_axis(score_QN, order, axis=1))
    return np.concatenate(orders), np.concatenate(scores)
