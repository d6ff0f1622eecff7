"""An index in groups, with what is odd and what is doubled in it, and the tables that other programs read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.indexing.clustering import ClusterOptions, Clusters, cluster_vectors, count_transitions, project_2d
from unreel.indexing.index.clip_index import Index
from unreel.indexing.outliers import DuplicatePair, find_duplicates, find_neighbours, score_outliers
from unreel.io.atomic_write import atomic_write_csv

CANDIDATES_PER_EXAMPLE = (
    12  # examples are taken from that many times as many rows, evenly spread, before videos are told apart
)
SpanColumns = tuple[str, str, str]  # video, start_s, end_s, as a table spells them


@dataclass(frozen=True)
class ClusterReport:
    """Of each row its cluster, where a map draws it (N, 2) and how odd it is (N,); and the doubles, best first."""

    index: Index
    clusters: Clusters
    xy_N2: np.ndarray
    outlier_score_N: np.ndarray
    duplicates: list[DuplicatePair]

    @property
    def transition_CC(self) -> np.ndarray:
        """How often a clip of cluster i is followed by one of cluster j, int64 (C, C)."""
        return count_transitions(self.index.rows, self.clusters)

    def rank_members(self, cluster_number: int) -> np.ndarray:
        """Rows of a cluster, int64 (n,), the nearest to its centre first."""
        row_n = np.flatnonzero(self.clusters.cluster_N == cluster_number)
        vectors_nD = self.index.get_vectors(row_n)
        return row_n[np.argsort(-(vectors_nD @ vectors_nD.mean(axis=0)), kind="stable")]

    def find_outliers(self, count: int) -> list[int]:
        """The oddest rows, one of each video."""
        order = np.argsort(-self.outlier_score_N, kind="stable")
        return _pick_first_per_video(order, self.index.rows.path_N, count)

    def pick_examples(self, cluster_number: int, count: int) -> list[int]:
        """Rows of a cluster, evenly spread from the most typical to the least, of different videos where there are."""
        row_n = self.rank_members(cluster_number)
        picked = row_n[np.unique(np.linspace(0, len(row_n) - 1, CANDIDATES_PER_EXAMPLE * count).round().astype(int))]
        steps = np.array_split(picked, min(count, len(picked)))
        seen, taken = set[int](), list[int]()
        for step in steps:
            new = [row for row in step if self.index.rows.path_N[row] not in seen]
            taken.append(int((new or step)[0]))
            seen.add(int(self.index.rows.path_N[taken[-1]]))
        return taken


def _pick_first_per_video(row_n: np.ndarray, path_N: np.ndarray, count: int) -> list[int]:
    """The first rows of each of `count` videos, in the order of the rows."""
    _, first = np.unique(path_N[row_n], return_index=True)
    return [int(row) for row in row_n[np.sort(first)][:count]]


def build_cluster_report(
    index: Index, options: ClusterOptions | None = None, layout: str = "pca", duplicate_threshold: float | None = None
) -> ClusterReport:
    """Cluster all rows, lay them on a map ("pca" or "tsne"), and find what is odd and doubled. Raises InputError."""
    clusters = cluster_vectors(index.vectors_ND, options)
    near = find_neighbours(index.ann_index, index.vectors_ND, index.rows)
    place_N2 = project_2d(index.vectors_ND, layout)
    return ClusterReport(
        index, clusters, place_N2, score_outliers(near), find_duplicates(near, index.rows, duplicate_threshold)
    )


def write_tables(report: ClusterReport, out: Path, num_outliers: int = 100) -> None:
    """segments.csv, transitions.csv, odd.csv and doubles.csv in the folder `out`. Raises DiskError."""
    rows, number_N = report.index.rows, report.clusters.cluster_N
    segments = (
        [
            *format_span(report.index, n),
            int(number_N[n]),
            *(f"{xy:.4f}" for xy in report.xy_N2[n]),
            f"{report.outlier_score_N[n]:.5f}",
        ]
        for n in range(len(rows))
    )
    atomic_write_csv(out / "segments.csv", ["video", "start_s", "end_s", "cluster", "x", "y", "odd"], segments)
    moves_CC = report.transition_CC
    moves = ([i, j, int(moves_CC[i, j])] for i, j in np.argwhere(moves_CC).tolist())
    atomic_write_csv(out / "transitions.csv", ["cluster", "next_cluster", "count"], moves)
    odd = (
        [*format_span(report.index, row), f"{report.outlier_score_N[row]:.5f}"]
        for row in report.find_outliers(num_outliers)
    )
    atomic_write_csv(out / "odd.csv", ["video", "start_s", "end_s", "odd"], odd)
    pairs = (
        [*format_span(report.index, d.row), *format_span(report.index, d.other_row), f"{d.score:.5f}", d.num_pairs]
        for d in report.duplicates
    )
    names = ["video", "start_s", "end_s", "other_video", "other_start_s", "other_end_s", "score", "pairs"]
    atomic_write_csv(out / "doubles.csv", names, pairs)


def format_span(index: Index, row: int) -> SpanColumns:
    return index.rows.get_path(row), f"{index.rows.start_s[row]:.3f}", f"{index.rows.end_s[row]:.3f}"
