"""Approximate search in a database: its own index of the vectors is made once, and what it finds of the nearest rows is
measured on some of the index's rows and kept beside it."""

import contextlib
import dataclasses
from typing import Literal

import numpy as np

from unreel.indexing.homes.address import HomeAddress
from unreel.indexing.homes.content import slider_ends
from unreel.indexing.homes.home import connect_home
from unreel.indexing.homes.home_rows import HomeSearch, HomeVectors
from unreel.indexing.homes.records import (
    Approximation,
    make_approximation_record,
    read_approximation,
    read_description,
)
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.query_vector import weight_parts
from unreel.models.encoder.row_parts import RowParts
from unreel.models.encoder.view_weights import find_slider_ends

Nearest = Literal["exact", "approximate"]
NUM_QUERIES, NUM_NEAREST = 100, 10
FIRST_CANDIDATES, MOST_CANDIDATES = 64, 1024
TARGET_RECALL = BuildOptions.target_recall
SAME_SCORE = 1e-6


def choose_search(
    search: HomeSearch, vectors: HomeVectors, parts: RowParts, widths: dict[str, int], nearest: Nearest | None
) -> HomeSearch:
    """The search of an opened index as `nearest` says, or where that is None, as who wrote the index said.

    Where approximate search is asked for the first time, the database makes its index and recall is measured. Raises
    InputError.
    """
    if nearest == "exact":
        return search
    found = read_approximation(search.home, search.home.index_id)
    if nearest == "approximate":
        return search.approximate_by(found or make_approximation(search, vectors, parts, widths))
    return search.approximate_by(found) if found is not None and found.is_default else search


def make_approximation(
    search: HomeSearch, vectors: HomeVectors, parts: RowParts, widths: dict[str, int], is_default: bool = False
) -> Approximation:
    """Let the database make its index, take the fewest candidates that reach the target, and keep the recall. A small
    index gets none, since its rows are compared at once. Raises InputError."""
    home, is_small = search.home, len(search) < BuildOptions.flat_below
    names = [] if is_small else home.make_approximate(widths)
    found = Approximation(home.index_id, FIRST_CANDIDATES, names, 1.0, NUM_QUERIES, is_default)
    queries = RecallQueries.draw(search, vectors, parts) if names else None
    while queries is not None:
        found = dataclasses.replace(found, recall=queries.measure(search.approximate_by(found)))
        if found.recall >= TARGET_RECALL or found.candidates >= MOST_CANDIDATES:
            break
        found = dataclasses.replace(found, candidates=2 * found.candidates)
    home.add_records([make_approximation_record(found)])
    return found


def keep_approximation(index: Index, address: HomeAddress) -> None:
    """`make_approximation` of an index that was just written to a database, for all who open it. Raises InputError."""
    with contextlib.closing(connect_home(address)) as home:
        description = read_description(home)
        if description is None:
            raise home.change_error()
        home.open_index(description)
        num_rows, dim = len(index.rows), description["widths"][""]
        search = HomeSearch(home, num_rows, dim, description["fingerprint"], slider_ends(index.parts))
        vectors = HomeVectors(home, num_rows, dim)
        make_approximation(search, vectors, index.parts, description["widths"], is_default=True)


@dataclasses.dataclass(frozen=True)
class RecallQueries:
    """Rows (Q,) as queries (Q, D) for each of some positions of the slider, and the score of their tenth nearest other
    row among all: who reaches it is among the nearest, also in a tie."""

    row_Q: np.ndarray
    queries_PQD: list[np.ndarray]
    min_scores_PQ: list[np.ndarray]

    @classmethod
    def draw(cls, search: HomeSearch, vectors: HomeVectors, parts: RowParts) -> "RecallQueries":
        rng = np.random.default_rng(0)
        row_Q = np.sort(rng.choice(len(search), min(NUM_QUERIES, len(search)), replace=False))
        positions = [parts.motion_weight, 0.0, 1.0] if find_slider_ends(parts.names) else [parts.motion_weight]
        queries_PQD = [weight_parts(vectors[row_Q], position, parts) for position in positions]
        nearest = [search.search(query_QD, NUM_NEAREST + 1) for query_QD in queries_PQD]
        return cls(row_Q, queries_PQD, [_drop_own(*found, row_Q)[:, -1] for found in nearest])

    def measure(self, search: HomeSearch) -> float:
        """The share of the ten nearest that a search finds, at the worst position."""
        recalls = []
        for query_QD, min_score_Q in zip(self.queries_PQD, self.min_scores_PQ, strict=True):
            score_QK = _drop_own(*search.search(query_QD, NUM_NEAREST + 1), self.row_Q)
            recalls.append(float((score_QK >= min_score_Q[:, None] - SAME_SCORE).mean()))
        return min(recalls)


def _drop_own(score_QK: np.ndarray, row_QK: np.ndarray, row_Q: np.ndarray) -> np.ndarray:
    """The scores (Q, K - 1) without that of the query's own row; without the last where it was not found."""
    is_own_QK = row_QK == row_Q[:, None]
    is_own_QK[:, -1] |= ~is_own_QK.any(axis=1)
    return score_QK[~is_own_QK].reshape(len(row_Q), -1)
