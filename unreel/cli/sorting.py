"""`unreel cluster`, `unreel concept` and `unreel apply`: footage sorted by itself, and by a few marks."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from unreel.cli.terminal import parse, progress
from unreel.errors import InputError


@dataclasses.dataclass
class ClusterArgs:
    """Group an index by what looks alike: a page with moving previews, and tables of segments, transitions, odd
    moments and doubles."""

    index: Positional[Path]
    """What `unreel index` made."""
    out: Path | None = None
    """Folder of page and tables; by default INDEX-clusters, beside the index."""
    method: Literal["kmeans", "hdbscan"] = "kmeans"
    """k-means into so many clusters, or HDBSCAN, which finds how many and leaves clips out."""
    count: int = 0
    """Clusters of k-means; 0 means the square root of half the clips, 50 at most."""
    least: int = 10
    """Clips that a cluster of HDBSCAN has at least."""
    layout: Annotated[Literal["pca", "tsne"], tyro.conf.arg(name="map")] = "pca"
    """How coordinates are found: pca is quick, tsne pulls clusters apart."""
    doubled: float = 0.0
    """Cosine from which on two clips are doubles; 0 means 20 times nearer than neighbours usually are."""


def cluster_command(args: list[str]) -> int:
    given = parse(ClusterArgs, args, "cluster")
    if not 0 <= given.doubled <= 1:
        raise InputError(f"--doubled is a cosine between 0 and 1, got {given.doubled:g}")
    from unreel.api.sorting import cluster_index
    from unreel.search.clusters import ClusterOptions

    out = given.out or given.index.with_name(f"{given.index.resolve().name}-clusters")
    options = ClusterOptions(given.method, given.count, given.least)
    with progress("pictures") as advance:
        found = cluster_index(given.index, out, options, given.layout, given.doubled or None, advance)
    table = Table(box=None, pad_edge=False)
    for name in ("cluster", "clips", "videos", "share"):
        table.add_column(name, justify="right")
    number_N = found.clusters.number_N
    for number in range(-1 if (number_N < 0).any() else 0, found.clusters.count):
        clips = number_N == number
        videos = len(np.unique(found.index.rows.path_N[clips]))
        share = f"{100 * clips.mean():.1f} %"
        table.add_row("none" if number < 0 else str(number), str(int(clips.sum())), str(videos), share)
    Console(highlight=False, markup=False).print(table)
    print(f"{found.clusters.said}; {len(found.doubles)} pairs of videos are doubles")
    print(f"{out / 'report.html'}: what they look like; segments.csv, transitions.csv, odd.csv, doubles.csv beside it")
    return 0
