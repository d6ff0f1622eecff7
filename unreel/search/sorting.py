"""An index in groups, with what is odd and what is doubled in it, and the tables that other programs read."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unreel.errors import DiskError
from unreel.search.clusters import ClusterOptions, Clusters, cluster, coordinates, transitions
from unreel.search.index import Index
from unreel.search.oddness import Double, doubles, neighbours, oddness

STEPS = 12  # examples are taken from that many times as many rows, evenly spread, before videos are told apart
Span = tuple[str, str, str]  # video, start_s, end_s, as a table spells them


@dataclass(frozen=True)
class Sorted:
    """Of each row its cluster, where a map draws it (N, 2) and how odd it is (N,); and the doubles, best first."""

    index: Index
    clusters: Clusters
    place_N2: np.ndarray
    odd_N: np.ndarray
    doubles: list[Double]

    @property
    def moves_CC(self) -> np.ndarray:
        """How often a clip of cluster i is followed by one of cluster j, int64 (C, C)."""
        return transitions(self.index.rows, self.clusters)

    def members(self, number: int) -> np.ndarray:
        """Rows of a cluster, int64 (n,), the nearest to its centre first."""
        row_n = np.flatnonzero(self.clusters.number_N == number)
        vectors_nD = self.index.vectors(row_n)
        return row_n[np.argsort(-(vectors_nD @ vectors_nD.mean(axis=0)), kind="stable")]

    def oddest(self, count: int) -> list[int]:
        """The oddest rows, one of each video."""
        order = np.argsort(-self.odd_N, kind="stable")
        return _of_different(order, self.index.rows.path_N, count)

    def examples(self, number: int, count: int) -> list[int]:
        """Rows of a cluster, evenly spread from the most typical to the least, of different videos where there are."""
        row_n = self.members(number)
        picked = row_n[np.unique(np.linspace(0, len(row_n) - 1, STEPS * count).round().astype(int))]
        steps = np.array_split(picked, min(count, len(picked)))
        seen, taken = set[int](), list[int]()
        for step in steps:
            new = [row for row in step if self.index.rows.path_N[row] not in seen]
            taken.append(int((new or step)[0]))
            seen.add(int(self.index.rows.path_N[taken[-1]]))
        return taken


def _of_different(row_n: np.ndarray, path_N: np.ndarray, count: int) -> list[int]:
    """The first rows of each of `count` videos, in the order of the rows."""
    _, first = np.unique(path_N[row_n], return_index=True)
    return [int(row) for row in row_n[np.sort(first)][:count]]


def sort(index: Index, options: ClusterOptions | None = None, how: str = "pca", above: float | None = None) -> Sorted:
    """Cluster all rows, lay them on a map ("pca" or "tsne"), and find what is odd and doubled. Raises InputError."""
    clusters = cluster(index.vectors_ND, options)
    near = neighbours(index.nearest, index.vectors_ND, index.rows)
    place_N2 = coordinates(index.vectors_ND, how)
    return Sorted(index, clusters, place_N2, oddness(near), doubles(near, index.rows, above))


def write_tables(found: Sorted, out: Path, num_odd: int = 100) -> None:
    """segments.csv, transitions.csv, odd.csv and doubles.csv in the folder `out`. Raises DiskError."""
    rows, number_N = found.index.rows, found.clusters.number_N
    segments = (
        [*span(found.index, n), int(number_N[n]), *(f"{xy:.4f}" for xy in found.place_N2[n]), f"{found.odd_N[n]:.5f}"]
        for n in range(len(rows))
    )
    write_csv(out / "segments.csv", ["video", "start_s", "end_s", "cluster", "x", "y", "odd"], segments)
    moves_CC = found.moves_CC
    moves = ([i, j, int(moves_CC[i, j])] for i, j in np.argwhere(moves_CC).tolist())
    write_csv(out / "transitions.csv", ["cluster", "next_cluster", "count"], moves)
    odd = ([*span(found.index, row), f"{found.odd_N[row]:.5f}"] for row in found.oddest(num_odd))
    write_csv(out / "odd.csv", ["video", "start_s", "end_s", "odd"], odd)
    pairs = ([*span(found.index, d.row), *span(found.index, d.other), f"{d.score:.5f}", d.pairs] for d in found.doubles)
    names = ["video", "start_s", "end_s", "other_video", "other_start_s", "other_end_s", "score", "pairs"]
    write_csv(out / "doubles.csv", names, pairs)


def span(index: Index, row: int) -> Span:
    return index.rows.path(row), f"{index.rows.start_s[row]:.3f}", f"{index.rows.end_s[row]:.3f}"


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table, whole or not at all. Raises DiskError."""
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file, lineterminator="\n").writerow(names)
            csv.writer(file, lineterminator="\n").writerows(rows)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise DiskError(f"{path}: can't be written ({error.strerror})") from error
