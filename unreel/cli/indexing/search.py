"""`unreel search`: more moments like this one."""

import csv
import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, parse_args
from unreel.cli.terminal import print_table
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_path

if TYPE_CHECKING:
    from unreel.indexing.index.row_table import Moment
    from unreel.indexing.results import Hit

MOMENT_PATTERN = re.compile(r"(.+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


@dataclasses.dataclass
class SearchArgs:
    """Find moments like an example: in which video, from when to when, and how near."""

    index: Positional[Path]
    """What `unreel index` made."""
    query: Positional[tuple[str, ...]]
    """Videos, moments (VIDEO@12.5-15), pictures or strips of square pictures side by side; several are one question."""
    from_s: Annotated[float, tyro.conf.arg(name="from")] = 0.0
    """Where the moment begins in the query, in seconds."""
    to_s: Annotated[float, tyro.conf.arg(name="to")] = math.inf
    """Where it ends."""
    unlike: tuple[str, ...] = ()
    """Counter-examples, named as the query is."""
    count: int = 20
    """Hits."""
    motion: float = 0.5
    """Appearance (0) against motion (1), or clip against series, for an index that has both."""
    own: Literal["keep", "clip", "video"] = "clip"
    """Leave out nothing of the query's own video, the moment itself, or all of it."""
    fold: float = 2.0
    """Fold hits of a cosine of this or more under the best of them, e.g. 0.98; above 1 only copies of a file are."""
    gap_s: float = 0.5
    """Clips of a video that are no farther apart are one hit; below 0 each is one."""
    path: tuple[str, ...] = ()
    """Only videos whose path fits one of these, e.g. '*/kitchen/*'."""
    label: tuple[str, ...] = ()
    """Only videos of these labels."""
    after: float = 0.0
    """Only what is shown after this second of its video."""
    before: float = math.inf
    """Only what is shown before this second."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV: video, start_s, end_s, score."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the index names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def search_command(args: list[str]) -> int:
    given = parse_args(SearchArgs, args, "search")
    if given.json and given.csv:
        raise InputError("give --json or --csv, not both")
    for name in ("fold", "gap_s"):
        if math.isnan(getattr(given, name)):
            raise InputError(f"--{name.replace('_', '-')} must be a number, got nan")
    if not given.query:
        raise InputError("nothing to search with; name a video, a moment (VIDEO@12.5-15) or a picture")
    if given.count < 1:
        raise InputError(f"--count must be at least 1, got {given.count}")
    from unreel.indexing.index.clip_index import load_query_encoder, open_index
    from unreel.indexing.index.row_table import RowFilter
    from unreel.indexing.results import HitOptions
    from unreel.verbs.search import SearchQuery, search

    index = open_index(given.index)
    question = SearchQuery(
        positive_segments=tuple(parse_segment(text, given.from_s, given.to_s) for text in given.query),
        negative_segments=tuple(parse_segment(text, 0.0, math.inf) for text in given.unlike),
        motion_weight=given.motion,
        own_video_policy=given.own,
        filter=RowFilter(given.path, given.label, given.after, given.before),
    )
    options = HitOptions(given.count, given.gap_s, duplicate_threshold=given.fold)
    with use_limits(given.limits):
        hits = search(index, question, options, load_query_encoder(index, given.allow_import))
    print_hits(hits, given)
    return 0


def parse_segment(text: str, from_s: float, to_s: float) -> "Moment":
    """An example: VIDEO@12.5-15 where there is no file of that name, else the file from --from to --to."""
    from unreel.indexing.index.row_table import Moment

    if not Path(text).exists() and (found := MOMENT_PATTERN.fullmatch(text)):
        if (from_s, to_s) != (0.0, math.inf):
            raise InputError(f"{text} says its seconds; leave out --from and --to")
        return Moment(found[1], float(found[2]), float(found[3]))
    if not Path(text).exists():
        raise InputError(f"{text}: no such file to search with; a moment is VIDEO@START-END, e.g. walk.mp4@12.5-15")
    if Path(text).is_dir():
        raise InputError(f"{text}: a folder; name a video in it")
    return Moment(text, from_s, to_s)


def print_hits(hits: "list[Hit]", args: SearchArgs) -> None:
    if args.json:
        json.dump([hit_to_json(hit) for hit in hits], sys.stdout, indent=2)
        print()
    elif args.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["video", "start_s", "end_s", "score"])
        writer.writerows([hit.path, f"{hit.start_s:.3f}", f"{hit.end_s:.3f}", f"{hit.score:.4f}"] for hit in hits)
    elif not hits:
        print("no hits: the filters leave nothing")
    else:
        rows = [
            (
                f"{hit.score:.3f}",
                format_clock(hit.start_s),
                format_clock(hit.end_s),
                format_path(hit.path) + format_fold_count(hit),
            )
            for hit in hits
        ]
        print_table(("score", "from", "to", "video"), rows)


def format_fold_count(hit: "Hit") -> str:
    return f"  (and {len(hit.duplicates)} alike)" if hit.duplicates else ""


def hit_to_json(hit: "Hit") -> dict[str, Any]:
    return {
        "video": hit.path,
        "start_s": round(hit.start_s, 3),
        "end_s": round(hit.end_s, 3),
        "score": round(hit.score, 6),
        "rows": list(hit.rows),
        "alike": [hit_to_json(other) for other in hit.duplicates],
    }


def format_clock(seconds: float) -> str:
    """1:02.5"""
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
