"""Group an index into clusters."""

import dataclasses
from pathlib import Path

from unreel.errors import DiskError
from unreel.indexing.clustering.cluster_page import MAX_CARDS, build_page
from unreel.indexing.clustering.cluster_report import ClusterReport, build_cluster_report, write_tables
from unreel.indexing.clustering.clusters import ClusterOptions
from unreel.indexing.homes.home_rows import local_vectors
from unreel.indexing.homes.open_home import open_index
from unreel.indexing.index.clip_index import Index
from unreel.report.pages.clusters_page import write_clusters_page
from unreel.report.previews import write_previews
from unreel.types import ProgressCallback

EXAMPLES_PER_CLUSTER = 9


def cluster(
    index: str | Path | Index,
    out: str | Path,
    options: ClusterOptions | None = None,
    projection: str = "pca",
    duplicate_cosine: float | None = None,
    on_progress: ProgressCallback = lambda _done, _total: None,
) -> ClusterReport:
    """Cluster an index into the folder `out`: tables, contact sheets, previews and report.html.

    Args:
        index: folder or address of an index, or an opened one.
        out: folder to write; made if missing.
        options: clustering method and number of clusters; by default k-means with a number chosen by rule.
        projection: how rows are placed on the map, "pca" or "tsne".
        duplicate_cosine: clips of different videos with at least this cosine are near-duplicates; by default those 20
            times nearer than usual neighbours.
        on_progress: called with the clusters drawn and their total.

    Returns:
        Of each of the N rows: its cluster, map position (N, 2) and outlier score (N,); and the near-duplicates.

    Raises:
        InputError: the index or an option can't be used.
        DiskError: `out` can't be written.

    >>> report = unreel.cluster(index, out, unreel.ClusterOptions(num_clusters=2))
    >>> report.xy_N2.shape[1], (out / "report.html").exists()
    (2, True)
    """
    index, out = index if isinstance(index, Index) else open_index(index), Path(out)
    with local_vectors(index) as local:
        report = build_cluster_report(local, options, projection, duplicate_cosine)
        write_report(report, out, on_progress)
    return dataclasses.replace(report, index=index)


def write_report(report: ClusterReport, out: Path, on_progress: ProgressCallback) -> None:
    """Tables, previews and report.html in the folder `out`. Raises DiskError."""
    index = report.index
    preview_folder = out / "clusters"
    try:
        preview_folder.mkdir(parents=True, exist_ok=True)
        for path in [*preview_folder.glob("[0-9]*.mp4"), *preview_folder.glob("[0-9]*.jpg")]:
            path.unlink()
    except OSError as error:
        raise DiskError(f"{out}: nothing can be written there ({error.strerror})") from error
    write_tables(report, out)
    count = min(report.clusters.num_clusters, MAX_CARDS)
    for number in range(count):
        moments = [index.rows.get_moment(row) for row in report.pick_examples(number, EXAMPLES_PER_CLUSTER)]
        write_previews(moments, preview_folder / str(number))
        on_progress(number + 1, count)
    write_clusters_page(build_page(report, preview_folder), out / "report.html")
