"""`unreel cluster`: groups of clips that look alike, outliers and near-duplicates."""

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unreel.cli.arguments import IndexArgument, LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup, print_table, stderr_console
from unreel.errors import InputError
from unreel.indexing.homes.address import parse_address
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count


@dataclasses.dataclass
class ClusterArgs:
    """Group an index by what looks alike: a page with moving previews, and tables of segments, transitions, outliers
    and near-duplicates."""

    index: IndexArgument
    """What `unreel index` made, or the address of a database that it was written to."""
    out: Path | None = None
    """Folder of page and tables; by default INDEX-clusters, beside the index, or here for a database."""
    method: Literal["kmeans", "hdbscan"] = "kmeans"
    """k-means with a given number of clusters, or HDBSCAN, which finds the number and leaves some clips out."""
    count: int = 0
    """Clusters of k-means; 0 means the square root of half the clips, 50 at most."""
    least: int = 10
    """Clips that a cluster of HDBSCAN has at least."""
    layout: Annotated[Literal["pca", "tsne"], tyro.conf.arg(name="map")] = "pca"
    """How map coordinates are computed: pca is fast, tsne separates clusters."""
    doubled: float = 0.0
    """Cosine from which two clips are near-duplicates; 0 means 20 times nearer than neighbours usually are."""
    json: bool = False
    """Print the table of clusters as JSON."""
    csv: bool = False
    """Print it as CSV."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def name_folder(index: str) -> Path:
    """The folder of page and tables beside an index; for a database in the current folder."""
    if address := parse_address(index):
        return Path(f"{address.name}-clusters")
    path = Path(os.path.abspath(index))  # "." has no name
    return path.parent / f"{path.name}-clusters"


def cluster_command(args: list[str]) -> int:
    options = parse_args(ClusterArgs, args, "cluster")
    refuse_json_and_csv(options.json, options.csv)
    if not 0 <= options.doubled <= 1:
        raise InputError(f"--doubled is a cosine between 0 and 1, got {options.doubled:g}")
    from unreel.corpus.file_changes import describe_missing, find_missing
    from unreel.indexing.clustering.clusters import ClusterOptions
    from unreel.verbs.indexing.cluster import cluster

    out = options.out or name_folder(options.index)
    cluster_options = ClusterOptions(options.method, options.count, options.least)
    with use_limits(options.limits), ProgressBar("pictures") as advance:
        report = cluster(options.index, out, cluster_options, options.layout, options.doubled or None, advance)
    sizes = report.list_cluster_sizes()
    if print_records([dataclasses.asdict(size) for size in sizes], options.json, options.csv):
        return 0
    rows = [
        (str(c.number) if c.number >= 0 else "none", str(c.num_clips), str(c.num_videos), f"{100 * c.share:.1f} %")
        for c in sizes
    ]
    print_table(("cluster", "clips", "videos", "share"), rows)
    pairs = format_count(len(report.duplicates), "pair")
    print(f"{report.clusters.description}; clips that look the same to the encoder: {pairs} of videos")
    missing = find_missing(report.index.rows.paths)
    if missing:
        stderr_console.print(escape_markup(describe_missing(len(missing), len(report.index.rows.paths), "videos")))
    print(f"{out / 'report.html'}: what they look like; segments.csv, transitions.csv, odd.csv, doubles.csv beside it")
    return 0
