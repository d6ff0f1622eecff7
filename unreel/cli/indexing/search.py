"""`unreel search`: moments like an example."""

import dataclasses
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from unreel.cli.arguments import IndexArgument, LimitOptions, NearestOption, name_argument, parse_args
from unreel.cli.indexing.moments import (
    MOMENT_PATTERN,
    format_hit_rows,
    hit_to_json,
    match_moment,
    print_hits_csv,
)
from unreel.cli.records import refuse_json_and_csv
from unreel.cli.terminal import escape_markup, print_table, stderr_console
from unreel.errors import InputError
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_clock, format_path

if TYPE_CHECKING:
    from collections.abc import Container

    from unreel.evaluation.verdict.decision import Verdict
    from unreel.indexing.index.clip_index import Index
    from unreel.indexing.search.query import SearchAnswer, SearchQuery
    from unreel.indexing.search.results import Hit
    from unreel.types import Moment


@dataclasses.dataclass
class SearchArgs:
    """Find moments like an example: the video, from when to when, and the similarity."""

    index: IndexArgument
    """What `unreel index` made, or the address of a database that it was written to."""
    query: Annotated[Positional[tuple[str, ...]], name_argument("[VIDEO ...]")]
    """Videos, moments (VIDEO@12.5-15), pictures, or strips of square pictures side by side; several form one query."""
    from_s: Annotated[float, tyro.conf.arg(name="from")] = 0.0
    """Where the moment begins in the query, in seconds."""
    to_s: Annotated[float, tyro.conf.arg(name="to")] = math.inf
    """Where it ends."""
    unlike: tuple[str, ...] = ()
    """Counter-examples, given like the query."""
    count: int = 20
    """Number of hits."""
    motion: float | None = None
    """Weight of motion (1) against appearance (0), or of series against clip, for an index that has both; None means
    the weight that the index found when it was made, or 0.5; and 0 for a query in which nothing moves."""
    own: Literal["keep", "clip", "video"] = "clip"
    """Leave out nothing of the query's own video (keep), the moment itself (clip), or all of it (video)."""
    fold: float = 2.0
    """Fold hits with this cosine or more under the best one, e.g. 0.98; above 1 only copies of a file are folded."""
    gap_s: float = 0.5
    """Clips of a video at most this far apart are one hit; below 0 each clip is a hit."""
    path: tuple[str, ...] = ()
    """Only videos whose path matches one of these, e.g. '*/kitchen/*'."""
    label: tuple[str, ...] = ()
    """Only videos with one of these labels."""
    after: float = 0.0
    """Only moments after this second of their video."""
    before: float = math.inf
    """Only moments before this second."""
    nearest: NearestOption = None
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV: video, start_s, end_s, score, row."""
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the index names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def search_command(args: list[str]) -> int:
    options = parse_args(SearchArgs, args, "search")
    check_search_args(options)
    from unreel.indexing.homes.open_home import open_index
    from unreel.indexing.index.clip_index import load_query_encoder
    from unreel.indexing.search.results import HitOptions
    from unreel.verbs.indexing.search import answer_query

    index, query = open_index(options.index, options.nearest), build_query(options)
    hit_options = HitOptions(options.count, options.gap_s, duplicate_threshold=options.fold)
    encoder = load_query_encoder(index.folder, index.metadata, options.allow_import)
    with use_limits(options.limits):
        answer = answer_query(index, query, hit_options, encoder)
    print_hits(answer, options, index)
    if answer.note:
        advice = " Give --from and --to, or VIDEO@START-END." if answer.has_gaps else ""
        stderr_console.print(escape_markup(f"{answer.note}{advice}"))
    return 0


def check_search_args(options: SearchArgs) -> None:
    refuse_json_and_csv(options.json, options.csv)
    for name in ("fold", "gap_s"):
        if math.isnan(getattr(options, name)):
            raise InputError(f"--{name.replace('_', '-')} must be a number, got nan")
    if not options.query:
        raise InputError("nothing to search with; name a video, a moment (VIDEO@12.5-15) or a picture")
    if options.count < 1:
        raise InputError(f"--count must be at least 1, got {options.count}")
    for text in (*options.query, *options.unlike):
        require_example(text)


def require_example(text: str) -> None:
    """Raise InputError where neither a file of this name is there nor the video of a moment."""
    from unreel.video.sources.paths import is_piece, is_remote

    match = None if os.path.exists(text) else MOMENT_PATTERN.fullmatch(text)
    path = match[1] if match else text
    if not is_remote(path) and not is_piece(path) and not os.path.exists(path):
        raise InputError(f"{path}: no such file to search with; a moment is VIDEO@START-END, e.g. walk.mp4@12.5-15")


def build_query(options: SearchArgs) -> "SearchQuery":
    from unreel.indexing.index.row_filter import RowFilter
    from unreel.indexing.search.query import SearchQuery

    return SearchQuery(
        positive_moments=tuple(parse_example(text, options.from_s, options.to_s) for text in options.query),
        negative_moments=tuple(parse_example(text, 0.0, math.inf) for text in options.unlike),
        motion_weight=options.motion,
        own_video_mode=options.own,
        filter=RowFilter(options.path, options.label, options.after, options.before),
    )


def parse_example(text: str, from_s: float, to_s: float) -> "Moment":
    """A file of this name from --from to --to, else VIDEO@12.5-15."""
    from unreel.types import Moment

    exists = os.path.exists(text)  # a name with a moment may be too long for a file
    if not exists and (moment := match_moment(text)):
        if (from_s, to_s) != (0.0, math.inf):
            raise InputError(f"{text} has its own seconds; leave out --from and --to")
        return moment
    if not exists:
        raise InputError(f"{text}: no such file to search with; a moment is VIDEO@START-END, e.g. walk.mp4@12.5-15")
    if Path(text).is_dir():
        raise InputError(f"{text}: a folder; name a video in it")
    return Moment(text, from_s, to_s)


def print_hits(answer: "SearchAnswer", options: SearchArgs, index: "Index") -> None:
    from unreel.corpus.file_changes import describe_missing
    from unreel.evaluation.verdict.verdict_file import read_verdict

    hits, nearest = answer.hits, index.ann_index.description
    if options.json:
        found = [search_hit_to_json(hit, answer.missing) for hit in hits]
        recall = {"recall_at_10": round(nearest.recall, 4)} if nearest.is_approximate else {}
        json.dump([hit | recall for hit in found], sys.stdout, indent=2)
        print()
    elif options.csv:
        print_hits_csv(hits, "score", with_rows=True)
    elif not hits:
        print("no hits: the filters leave nothing")
    else:
        print_hit_table(hits, read_verdict(index.folder), answer.missing)
    if nearest.is_approximate and not options.json:
        stderr_console.print(escape_markup(f"{nearest.describe_recall()}; --nearest exact compares all rows"))
    if answer.missing:
        num_gone = sum(hit.path in answer.missing for hit in hits)
        stderr_console.print(escape_markup(describe_missing(num_gone, len(hits), "hits")))


def print_hit_table(hits: "list[Hit]", verdict: "Verdict | None", missing: "Container[str]" = ()) -> None:
    """Hits with their likeness; with their ranks only if the encoder is no better than what needs no training."""
    names = [
        format_path(hit.path) + format_fold_count(hit) + ("  (gone)" if hit.path in missing else "") for hit in hits
    ]
    if verdict is not None and verdict.level == "not better":
        title, values = "rank", [str(n) for n in range(1, len(hits) + 1)]
        note = f"Ranks without scores, since scores of this encoder would mislead. {verdict.sentence}"
    else:
        title, values = "likeness", ["" if hit.likeness is None else f"{hit.likeness:.2f}" for hit in hits]
        note = "Likeness: 0 is a typical moment of the index, 1 the query itself."
    header, rows = [title, "from", "to", "video"], format_hit_rows(hits, names, values)
    if title == "likeness" and any(hit.percentile is not None for hit in hits):
        header.insert(1, "closer than")
        rows = [(row[0], format_percentile(hit), *row[1:]) for row, hit in zip(rows, hits, strict=True)]
        note += " Closer than: the share of the moments here whose third nearest video is less like them."
    header.insert(0, "row")
    rows = [(str(hit.rows[0]), *row) for row, hit in zip(rows, hits, strict=True)]
    note += " Rows can be marked: unreel concept INDEX NAME --yes ROW ... --no ROW ..."
    if any(hit.query_moment for hit in hits):
        header.append("of the query")
        with_name = len({hit.query_moment.path for hit in hits if hit.query_moment}) > 1
        rows = [(*row, format_query_moment(hit, with_name)) for row, hit in zip(rows, hits, strict=True)]
    print_table(header, rows)
    stderr_console.print(escape_markup(note))


def format_percentile(hit: "Hit") -> str:
    return "" if hit.percentile is None else f"{hit.percentile:.0f} %"


def format_query_moment(hit: "Hit", with_name: bool) -> str:
    moment = hit.query_moment
    if moment is None:
        return ""
    name = f"{format_path(Path(moment.path).name)} " if with_name else ""
    return f"{name}{format_clock(moment.start_s)} to {format_clock(moment.end_s)}"


def format_fold_count(hit: "Hit") -> str:
    return f"  (and {len(hit.duplicates)} alike)" if hit.duplicates else ""


def search_hit_to_json(hit: "Hit", missing: "Container[str]") -> dict[str, Any]:
    moment = hit.query_moment
    found = hit_to_json(hit, "score", 6) | {"likeness": hit.likeness, "percentile": hit.percentile}
    if moment:
        found |= {"query_video": moment.path}
        found |= {"query_start_s": round(moment.start_s, 3), "query_end_s": round(moment.end_s, 3)}
    found |= {"rows": list(hit.rows), "alike": [search_hit_to_json(other, missing) for other in hit.duplicates]}
    found |= {"row": hit.rows[0]}
    return found | ({"missing": True} if hit.path in missing else {})
