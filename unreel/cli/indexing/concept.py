"""`unreel cluster`, `unreel concept` and `unreel apply`: footage sorted by itself, and by a few marks."""

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, parse_args
from unreel.cli.indexing.search import MOMENT_PATTERN, format_clock
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.terminal import escape_markup, print_table, stderr_console
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits

if TYPE_CHECKING:
    from unreel.indexing.results import Hit
    from unreel.verbs.concept import MarkedMoments

MIN_RELIABLE_MARKS = 5  # marks of either kind


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
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def cluster_command(args: list[str]) -> int:
    given = parse_args(ClusterArgs, args, "cluster")
    if not 0 <= given.doubled <= 1:
        raise InputError(f"--doubled is a cosine between 0 and 1, got {given.doubled:g}")
    from unreel.indexing.clustering import ClusterOptions
    from unreel.verbs.cluster import cluster_index

    index = Path(os.path.abspath(given.index))  # "." has no name
    out = given.out or index.parent / f"{index.name}-clusters"
    options = ClusterOptions(given.method, given.count, given.least)
    with use_limits(given.limits), ProgressBar("pictures") as advance:
        found = cluster_index(given.index, out, options, given.layout, given.doubled or None, advance)
    rows, number_N = list[tuple[str, ...]](), found.clusters.cluster_N
    for number in range(-1 if (number_N < 0).any() else 0, found.clusters.num_clusters):
        clips = number_N == number
        videos = len(np.unique(found.index.rows.path_N[clips]))
        share = f"{100 * clips.mean():.1f} %"
        rows.append(("none" if number < 0 else str(number), str(int(clips.sum())), str(videos), share))
    print_table(("cluster", "clips", "videos", "share"), rows)
    print(
        f"{found.clusters.description}; {len(found.duplicates)} pairs of videos hold clips that look the same to the encoder"
    )
    print(f"{out / 'report.html'}: what they look like; segments.csv, transitions.csv, odd.csv, doubles.csv beside it")
    return 0


@dataclasses.dataclass
class ConceptArgs:
    """Learn a concept from a few marks, rank everything by it, and say what to mark next. Marks add up: call it again
    with more."""

    index: Positional[Path]
    """What `unreel index` made."""
    name: Positional[str]
    """Its name: INDEX/concepts/NAME.json, its marks in NAME.csv."""
    yes: tuple[str, ...] = ()
    """Rows as `unreel search --json` and this command print them, or moments VIDEO@12.5-15, that are the concept."""
    no: tuple[str, ...] = ()
    """Rows or moments that are not."""
    forget: bool = False
    """Begin anew without the earlier marks."""
    above: float = 0.5
    """Probability from which on a clip belongs to a moment."""
    count: int = 20
    """Moments to print."""
    next: int = 10
    """Clips to suggest for the next marks."""
    json: bool = False
    """Print JSON."""


def concept_command(args: list[str]) -> int:
    given = parse_args(ConceptArgs, args, "concept")
    if given.count < 1 or given.next < 1:
        raise InputError(f"--count and --next must be at least 1, got {given.count} and {given.next}")
    from unreel.indexing.index.clip_index import open_index
    from unreel.verbs.concept import update_concept

    index = open_index(given.index)
    yes, no = parse_marks(given.yes), parse_marks(given.no)
    taught = update_concept(index, given.name, yes, no, given.forget, given.above, given.next)
    shown = taught.moments[: given.count]
    if given.json:
        marks = {"yes": taught.marks.positives, "no": taught.marks.negatives, "lost": taught.num_lost_marks}
        moments = [moment_to_json(hit) | {"rows": hit.rows} for hit in shown]
        following = [moment_to_json(hit) | {"row": hit.rows[0]} for hit in taught.to_mark_next]
        print(json.dumps({"name": given.name, "marks": marks, "moments": moments, "next": following}, indent=2))
        return 0
    print_moments(shown)
    print("\nnext, mark some of these (--yes ROW ... --no ROW ...), the encoder is unsure of them:")
    table = [(str(hit.rows[0]), f"{hit.score:.3f}", format_clock(hit.start_s), hit.path) for hit in taught.to_mark_next]
    print_table(("row", "probability", "from", "video"), table)
    lost = (
        f", {taught.num_lost_marks} earlier marks forgotten, whose moments are no longer indexed"
        if taught.num_lost_marks
        else ""
    )
    said = f"{len(taught.marks.positives)} yes and {len(taught.marks.negatives)} no{lost}; {len(taught.moments)} moments in all"
    few = min(len(taught.marks.positives), len(taught.marks.negatives)) < MIN_RELIABLE_MARKS
    guess = "; so few marks make probabilities a first guess" if few else ""
    print(f"\n{given.index / 'concepts' / given.name}.json: {said}{guess}")
    return 0


def parse_marks(texts: tuple[str, ...]) -> "MarkedMoments":
    """Rows and moments. Raises InputError for what is neither."""
    from unreel.indexing.index.row_table import Moment
    from unreel.verbs.concept import MarkedMoments

    rows, moments = list[int](), list[Moment]()
    for word in texts:
        if word.isdecimal():
            rows.append(int(word))
        elif found := MOMENT_PATTERN.fullmatch(word):
            moments.append(Moment(str(Path(found[1]).absolute()), float(found[2]), float(found[3])))
        else:
            raise InputError(f"'{word}' is neither the number of a row nor a moment (VIDEO@12.5-15)")
    return MarkedMoments(tuple(rows), tuple(moments))


@dataclasses.dataclass
class ApplyArgs:
    """Find the moments of a concept in new footage, with their seconds."""

    concept: Positional[Path]
    """INDEX/concepts/NAME.json; the encoder beside it is used."""
    source: Positional[Path]
    """A video, a folder, a list, or an index by the same encoder, which needs no decoding."""
    above: float = 0.5
    """Probability from which on a clip belongs to a moment."""
    gap_s: float = 0.5
    """Clips of a video that are no farther apart are one moment; below 0 each is one."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV: video, start_s, end_s, probability."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the index names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def apply_command(args: list[str]) -> int:
    given = parse_args(ApplyArgs, args, "apply")
    if given.json and given.csv:
        raise InputError("give --json or --csv, not both")
    from unreel.verbs.concept import apply_concept

    how = (given.above, given.gap_s)
    with use_limits(given.limits), ProgressBar("looking") as advance:
        found = apply_concept(given.concept, given.source, *how, advance, given.allow_import)
    for failure in found.left_out:
        stderr_console.print(escape_markup(f"left out {failure.path}: {failure}"))
    if given.json:
        print(json.dumps(list(map(moment_to_json, found.moments)), indent=2))
    elif given.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["video", "start_s", "end_s", "probability"])
        writer.writerows([h.path, f"{h.start_s:.3f}", f"{h.end_s:.3f}", f"{h.score:.4f}"] for h in found.moments)
    else:
        print_moments(found.moments)
        print(f"{len(found.moments)} moments in {found.num_clips} clips of {found.num_videos} videos")
    return 0


def moment_to_json(hit: "Hit") -> dict[str, Any]:
    span_s = {"start_s": round(hit.start_s, 3), "end_s": round(hit.end_s, 3)}
    return {"video": hit.path, **span_s, "probability": round(hit.score, 4)}


def print_moments(moments: "Sequence[Hit]") -> None:
    if not moments:
        print("no moments: nothing reaches --above")
        return
    rows = [(f"{hit.score:.3f}", format_clock(hit.start_s), format_clock(hit.end_s), hit.path) for hit in moments]
    print_table(("probability", "from", "to", "video"), rows)
