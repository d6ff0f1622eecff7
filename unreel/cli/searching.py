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

from unreel.cli.terminal import parse, print_table
from unreel.errors import InputError
from unreel.video.summary import shown

if TYPE_CHECKING:
    from unreel.search.hits import Hit
    from unreel.search.rows import Stretch

MOMENT = re.compile(r"(.+)@(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")


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


def search_command(args: list[str]) -> int:
    given = parse(SearchArgs, args, "search")
    if given.json and given.csv:
        raise InputError("give --json or --csv, not both")
    for name in ("fold", "gap_s"):
        if math.isnan(getattr(given, name)):
            raise InputError(f"--{name.replace('_', '-')} must be a number, got nan")
    if not given.query:
        raise InputError("nothing to search with; name a video, a moment (VIDEO@12.5-15) or a picture")
    if given.count < 1:
        raise InputError(f"--count must be at least 1, got {given.count}")
    from unreel.api.searching import Question, search
    from unreel.search.hits import HitOptions
    from unreel.search.index import open_index, query_encoder
    from unreel.search.rows import Filter

    index = open_index(given.index)
    question = Question(
        like=tuple(stretch(text, given.from_s, given.to_s) for text in given.query),
        unlike=tuple(stretch(text, 0.0, math.inf) for text in given.unlike),
        motion=given.motion,
        own=given.own,
        filter=Filter(given.path, given.label, given.after, given.before),
    )
    options = HitOptions(given.count, given.gap_s, fold_above=given.fold)
    show_hits(search(index, question, options, query_encoder(index, given.allow_import)), given)
    return 0


def stretch(text: str, from_s: float, to_s: float) -> "Stretch":
    """An example: VIDEO@12.5-15 where there is no file of that name, else the file from --from to --to."""
    from unreel.search.rows import Stretch

    if not Path(text).exists() and (found := MOMENT.fullmatch(text)):
        if (from_s, to_s) != (0.0, math.inf):
            raise InputError(f"{text} says its seconds; leave out --from and --to")
        return Stretch(found[1], float(found[2]), float(found[3]))
    if not Path(text).exists():
        raise InputError(f"{text}: no such file to search with; a moment is VIDEO@START-END, e.g. walk.mp4@12.5-15")
    if Path(text).is_dir():
        raise InputError(f"{text}: a folder; name a video in it")
    return Stretch(text, from_s, to_s)


def show_hits(hits: "list[Hit]", given: SearchArgs) -> None:
    if given.json:
        json.dump([as_json(hit) for hit in hits], sys.stdout, indent=2)
        print()
    elif given.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["video", "start_s", "end_s", "score"])
        writer.writerows([hit.path, f"{hit.start_s:.3f}", f"{hit.end_s:.3f}", f"{hit.score:.4f}"] for hit in hits)
    elif not hits:
        print("no hits: the filters leave nothing")
    else:
        rows = [
            (f"{hit.score:.3f}", clock(hit.start_s), clock(hit.end_s), shown(hit.path) + alike_words(hit))
            for hit in hits
        ]
        print_table(("score", "from", "to", "video"), rows)


def alike_words(hit: "Hit") -> str:
    return f"  (and {len(hit.alike)} alike)" if hit.alike else ""


def as_json(hit: "Hit") -> dict[str, Any]:
    return {
        "video": hit.path,
        "start_s": round(hit.start_s, 3),
        "end_s": round(hit.end_s, 3),
        "score": round(hit.score, 6),
        "rows": list(hit.rows),
        "alike": [as_json(other) for other in hit.alike],
    }


def clock(seconds: float) -> str:
    """1:02.5"""
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"
