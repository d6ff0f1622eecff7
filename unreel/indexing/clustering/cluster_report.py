"""What `unreel cluster` finds in an index: clusters, map, outliers and near-duplicates; and its CSV tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.indexing.clustering.clusters import ClusterOptions, Clusters, cluster_vectors, count_transitions
from unreel.indexing.clustering.duplicates import DuplicatePair, find_duplicates
from unreel.indexing.clustering.outliers import find_neighbours, score_outliers
from unreel.indexing.clustering.projection import project_2d
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.row_table import format_moment
from unreel.io.atomic_write import atomic_write_csv

CANDIDATES_PER_EXAMPLE = 12  # rows considered for each example, so that examples can come from different videos


@dataclass(frozen=True)
class ClusterSize:
    """Clips and videos of a cluster, and its share of all clips. `number` is -1 for the clips in no cluster."""

    number: int
    num_clips: int
    num_videos: int
    share: float


@dataclass(frozen=True)
class ClusterReport:
    """Of each row: its cluster, map position (N, 2) and outlier score (N,). And the duplicate pairs, best first."""

    index: Index
    clusters: Clusters
    xy_N2: np.ndarray
    outlier_score_N: np.ndarray
    duplicates: list[DuplicatePair]

    @property
    def transition_CC(self) -> np.ndarray:
        """How often a clip of cluster i is followed by one of cluster j, int64 (C, C)."""
        return count_transitions(self.index.rows, self.clusters)

    def measure_cluster(self, number: int) -> ClusterSize:
        row_n = np.flatnonzero(self.clusters.cluster_N == number)
        num_videos = len(np.unique(self.index.rows.path_N[row_n]))
        return ClusterSize(number, len(row_n), num_videos, len(row_n) / len(self.index.rows))

    def list_cluster_sizes(self) -> list[ClusterSize]:
        """All clusters, after the clips in no cluster, if any."""
        first = -1 if (self.clusters.cluster_N < 0).any() else 0
        return [self.measure_cluster(number) for number in range(first, self.clusters.num_clusters)]

    def rank_members(self, cluster_number: int) -> np.ndarray:
        """Rows of a cluster, int64 (n,), the nearest to its centre first."""
        row_n = np.flatnonzero(self.clusters.cluster_N == cluster_number)
        vectors_nD = self.index.get_vectors(row_n)
        return row_n[np.argsort(-(vectors_nD @ vectors_nD.mean(axis=0)), kind="stable")]

    def find_outliers(self, count: int) -> list[int]:
        """The rows with the highest outlier scores, one of each video."""
        order = np.argsort(-self.outlier_score_N, kind="stable")
        return _pick_first_per_video(order, self.index.rows.path_N, count)

    def pick_examples(self, cluster_number: int, count: int) -> list[int]:
        """Rows of a cluster, evenly spread from the most to the least typical, of different videos where possible."""
        row_n = self.rank_members(cluster_number)
        spread = np.linspace(0, len(row_n) - 1, CANDIDATES_PER_EXAMPLE * count)
        candidates = row_n[np.unique(spread.round().astype(int))]
        videos, examples = set[int](), list[int]()
        for group in np.array_split(candidates, min(count, len(candidates))):
            new = [row for row in group if self.index.rows.path_N[row] not in videos]
            examples.append(int((new or group)[0]))
            videos.add(int(self.index.rows.path_N[examples[-1]]))
        return examples


def _pick_first_per_video(row_n: np.ndarray, path_N: np.ndarray, count: int) -> list[int]:
    """The first row of each of `count` videos, in the order of the rows."""
    _, first = np.unique(path_N[row_n], return_index=True)
    return [int(row) for row in row_n[np.sort(first)][:count]]


def build_cluster_report(
    index: Index, options: ClusterOptions | None = None, layout: str = "pca", duplicate_threshold: float | None = None
) -> ClusterReport:
    """Cluster all rows, place them on a map ("pca" or "tsne"), find outliers and duplicates. Raises InputError."""
    clusters = cluster_vectors(index.vectors_ND, options)
    neighbours = find_neighbours(index.ann_index, index.vectors_ND, index.rows)
    xy_N2 = project_2d(index.vectors_ND, layout)
    duplicates = find_duplicates(neighbours, index.rows, duplicate_threshold)
    return ClusterReport(index, clusters, xy_N2, score_outliers(neighbours), duplicates)


def write_tables(report: ClusterReport, out: Path, num_outliers: int = 100) -> None:
    """Write segments.csv, transitions.csv, odd.csv and doubles.csv into the folder `out`. Raises DiskError."""
    rows, cluster_N, score_N = report.index.rows, report.clusters.cluster_N, report.outlier_score_N
    moment_columns = ["video", "start_s", "end_s"]

    def describe(row: int) -> tuple[str, ...]:
        return format_moment(rows.get_moment(row))

    segments = (
        [*describe(row), int(cluster_N[row]), *(f"{xy:.4f}" for xy in report.xy_N2[row]), f"{score_N[row]:.5f}"]
        for row in range(len(rows))
    )
    atomic_write_csv(out / "segments.csv", [*moment_columns, "cluster", "x", "y", "odd"], segments)
    count_CC = report.transition_CC
    transitions = ([i, j, int(count_CC[i, j])] for i, j in np.argwhere(count_CC).tolist())
    atomic_write_csv(out / "transitions.csv", ["cluster", "next_cluster", "count"], transitions)
    outliers = ([*describe(row), f"{score_N[row]:.5f}"] for row in report.find_outliers(num_outliers))
    atomic_write_csv(out / "odd.csv", [*moment_columns, "odd"], outliers)
    pairs = (
        [*describe(pair.row), *describe(pair.other_row), f"{pair.score:.5f}", pair.num_pairs]
        for pair in report.duplicates
    )
    pair_columns = [*moment_columns, *(f"other_{name}" for name in moment_columns), "score", "pairs"]
    atomic_write_csv(out / "doubles.csv", pair_columns, pairs)
