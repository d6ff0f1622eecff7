"""Which rows to mark next: uncertain ones that differ from each other."""

import numpy as np

from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.concepts.concept import Concept, require_rows

UNCERTAIN_PER_SUGGESTION = 10


def suggest_rows(
    concept: Concept,
    vectors_ND: np.ndarray,
    annotations: Annotations,
    count: int = 10,
    allowed_N: np.ndarray | None = None,
) -> np.ndarray:
    """Allowed rows to mark next, int64 (count,): of the rows nearest to the decision boundary, the most different.

    Of ten times as many uncertain rows, each next one is the farthest from all rows that are marked or chosen. The
    nearest to the boundary comes first.
    Source: Lewis and Gale 1994 (uncertainty sampling); Sener and Savarese 2018 (greedy k-centres).
    """
    require_rows(len(vectors_ND), annotations)
    marked = np.array(sorted({*annotations.positives, *annotations.negatives}), np.int64)
    margin_N = np.abs(concept.score_rows(vectors_ND) - 0.5)
    margin_N[marked] = np.inf
    if allowed_N is not None:
        margin_N[~allowed_N] = np.inf
    num_unmarked = int(np.isfinite(margin_N).sum())
    pool = np.argsort(margin_N, kind="stable")[: min(UNCERTAIN_PER_SUGGESTION * count, num_unmarked)]
    pool_PD = np.asarray(vectors_ND[pool], np.float32)
    similarity_P = (pool_PD @ np.asarray(vectors_ND[marked], np.float32).T).max(axis=1, initial=-np.inf)
    chosen: list[int] = []
    while len(chosen) < min(count, len(pool)):
        farthest = int(np.argmin(similarity_P))
        chosen.append(farthest)
        similarity_P = np.maximum(similarity_P, pool_PD @ pool_PD[farthest])
        similarity_P[chosen] = np.inf
    return pool[sorted(chosen)]  # the pool is sorted
