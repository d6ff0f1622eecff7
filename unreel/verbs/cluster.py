"""An index sorted: clusters with what they look like, concepts that go on from mark to mark, and new footage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unreel.errors import DiskError
from unreel.indexing.cluster_report import ClusterReport, build_cluster_report, write_tables
from unreel.indexing.clustering import ClusterOptions
from unreel.indexing.index.clip_index import Index, open_index
from unreel.io.limits import WorkerFailure
from unreel.io.text import format_path
from unreel.io.worker_pool import run_isolated
from unreel.report.gallery import Tile, build_tile, read_tile_frames
from unreel.report.pages.clusters_page import (
    ClusterCard,
    ClusterPage,
    describe_transitions,
    draw_map,
    write_clusters_page,
)
from unreel.report.previews import Moment, encode_data_uri, write_previews

EXAMPLES_PER_CLUSTER, NUM_OUTLIERS_SHOWN, NUM_DUPLICATES_SHOWN = 9, 12, 12
MAX_CARDS = 60
ProgressCallback = Callable[[int, int], None]


def cluster_index(
    index: str | Path | Index,
    out: str | Path,
    options: ClusterOptions | None = None,
    projection: str = "pca",
    duplicate_cosine: float | None = None,
    on_progress: ProgressCallback = lambda _done, _total: None,
) -> ClusterReport:
    """Cluster an index into the folder `out`: tables, contact sheets, previews and report.html. Raises UnreelError."""
    index, out = index if isinstance(index, Index) else open_index(index), Path(out)
    found = build_cluster_report(index, options, projection, duplicate_cosine)
    pictures = out / "clusters"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        for old in [*pictures.glob("[0-9]*.mp4"), *pictures.glob("[0-9]*.jpg")]:
            old.unlink()
    except OSError as error:
        raise DiskError(f"{out}: nothing can be written there ({error.strerror})") from error
    write_tables(found, out)
    count = min(found.clusters.num_clusters, MAX_CARDS)
    for number in range(count):
        write_previews(
            [get_moment(index, row) for row in found.pick_examples(number, EXAMPLES_PER_CLUSTER)],
            pictures / str(number),
        )
        on_progress(number + 1, count)
    write_clusters_page(build_page(found, pictures), out / "report.html")
    return found


def get_moment(index: Index, row: int) -> Moment:
    return Moment(index.rows.get_path(row), float(index.rows.start_s[row]), float(index.rows.end_s[row]))


def build_page(report: ClusterReport, preview_folder: Path) -> ClusterPage:
    """What the page shows of clusters whose pictures are made."""
    index, clusters, moves_CC = report.index, report.clusters, report.transition_CC
    numbers = range(min(clusters.num_clusters, MAX_CARDS))
    cards = [build_card(report, number, describe_transitions(number, moves_CC), preview_folder) for number in numbers]
    rows = index.rows
    titles = [f"{Path(rows.get_path(n)).name} from {rows.start_s[n]:.1f} s" for n in range(len(rows))]
    notes = []
    if clusters.num_clusters > MAX_CARDS:
        notes.append(f"The {MAX_CARDS} largest of {clusters.num_clusters} clusters are shown; segments.csv has all.")
    if missing := sum(not made.preview for made in cards):
        notes.append(f"{missing} clusters have no picture: their files can't be read any more; index the folder again.")
    return ClusterPage(
        name=index.folder.resolve().name,
        description=clusters.description,
        facts=build_facts(report),
        cards=cards,
        map_svg=draw_map(report.xy_N2, clusters.cluster_N, titles),
        outliers=[
            build_row_tile(index, row, float(report.outlier_score_N[row]))
            for row in report.find_outliers(NUM_OUTLIERS_SHOWN)
        ],
        duplicates=[
            (build_row_tile(index, d.row, d.score), build_row_tile(index, d.other_row, d.score), d.num_pairs)
            for d in report.duplicates[:NUM_DUPLICATES_SHOWN]
        ],
        notes=notes,
    )


def build_facts(report: ClusterReport) -> list[tuple[str, str, str]]:
    none = int((report.clusters.cluster_N < 0).sum())
    what = [
        (
            str(report.clusters.num_clusters),
            "clusters",
            f"{none} clips belong to none" if none else "every clip is in one",
        ),
        (f"{len(report.index.rows):,}", "clips", f"of {len(report.index.rows.paths):,} videos"),
        (str(len(report.duplicates)), "doubles", "pairs of videos that show almost the same"),
    ]
    return what


def build_card(report: ClusterReport, number: int, next_clusters: str, preview_folder: Path) -> ClusterCard:
    row_n = np.flatnonzero(report.clusters.cluster_N == number)
    sheet, preview = (encode_data_uri(preview_folder / f"{number}.{kind}") for kind in ("jpg", "mp4"))
    videos, share = len(np.unique(report.index.rows.path_N[row_n])), len(row_n) / len(report.index.rows)
    return ClusterCard(number, len(row_n), videos, share, next_clusters, sheet, preview)


def build_row_tile(index: Index, row: int, score: float) -> Tile:
    """A strip of frames of a row, with its score."""
    path, start_s, end_s = get_moment(index, row)
    where = {"path": path, "start_s": start_s, "end_s": end_s}
    frames = run_isolated(read_tile_frames, where)
    made = build_tile(where, "", [] if isinstance(frames, WorkerFailure) else frames)
    made.name, made.score = f"{format_path(Path(path).name)} at {int(start_s) // 60}:{start_s % 60:04.1f}", score
    return made
