"""`unreel concept`: a concept from a few marks."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from unreel.cli.arguments import IndexArgument, name_argument, parse_args
from unreel.cli.indexing.moments import format_hit_rows, hit_to_json, match_moment, print_hits_csv, warn_of_encoder
from unreel.cli.records import refuse_json_and_csv
from unreel.cli.terminal import print_table
from unreel.errors import InputError
from unreel.indexing.homes.address import hide_secrets
from unreel.io.text import format_clock, format_count

if TYPE_CHECKING:
    from unreel.indexing.concepts.annotations import MarkedMoments
    from unreel.indexing.concepts.concept_update import ConceptUpdate
    from unreel.indexing.search.results import Hit

MIN_RELIABLE_MARKS = 5  # of each kind


@dataclasses.dataclass
class ConceptArgs:
    """Learn a concept from a few marks, rank everything by it, and suggest what to mark next. Marks add up: call it
    again with more."""

    index: IndexArgument
    """What `unreel index` made, or the address of a database that it was written to."""
    name: Annotated[Positional[str], name_argument("NAME")]
    """Its name: INDEX/concepts/NAME.json, its marks in NAME.csv."""
    yes: tuple[str, ...] = ()
    """Rows as `unreel search` and this command print them, or moments VIDEO@12.5-15, that are the concept."""
    no: tuple[str, ...] = ()
    """Rows or moments that are not."""
    forget: bool = False
    """Discard the earlier marks."""
    above: float = 0.5
    """Probability from which a clip belongs to a moment."""
    count: int = 20
    """Moments to print."""
    next: int = 10
    """Clips to suggest for the next marks."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print the moments as CSV: video, start_s, end_s, probability, row."""


def concept_command(args: list[str]) -> int:
    options = parse_args(ConceptArgs, args, "concept")
    refuse_json_and_csv(options.json, options.csv)
    if options.count < 1 or options.next < 1:
        raise InputError(f"--count and --next must be at least 1, got {options.count} and {options.next}")
    from unreel.verbs.indexing.concept import concept

    yes, no = parse_marks(options.yes), parse_marks(options.no)
    update = concept(options.index, options.name, yes, no, options.forget, options.above, options.next)
    if options.json:
        print_json(options, update)
    elif options.csv:
        print_hits_csv(update.moments[: options.count], "probability", with_rows=True)
    else:
        print_update(options, update)
        warn_of_encoder(Path(options.index))
    return 0


def parse_marks(texts: tuple[str, ...]) -> "MarkedMoments":
    """Rows and moments. Raises InputError for text that is neither."""
    from unreel.indexing.concepts.annotations import MarkedMoments
    from unreel.types import Moment

    rows, moments = list[int](), list[Moment]()
    for text in texts:
        if text.isdecimal():
            rows.append(int(text))
        elif moment := match_moment(text):
            moments.append(dataclasses.replace(moment, path=str(Path(moment.path).absolute())))
        else:
            whole = f"; of a video, say which seconds: {text}@0-2" if Path(text).is_file() else ""
            raise InputError(f"'{text}' is neither the number of a row nor a moment (VIDEO@12.5-15){whole}")
    return MarkedMoments(tuple(rows), tuple(moments))


def print_json(options: ConceptArgs, update: "ConceptUpdate") -> None:
    marks = {"yes": update.marks.positives, "no": update.marks.negatives, "lost": update.num_lost_marks}
    shown = update.moments[: options.count]
    moments = [hit_to_json(hit, "probability", 4) | {"rows": hit.rows, "row": hit.rows[0]} for hit in shown]
    suggestions = [hit_to_json(hit, "probability", 4) | {"row": hit.rows[0]} for hit in update.to_mark_next]
    print(json.dumps({"name": options.name, "marks": marks, "moments": moments, "next": suggestions}, indent=2))


def print_update(options: ConceptArgs, update: "ConceptUpdate") -> None:
    print_moments(update.moments[: options.count], with_rows=True)
    print("\nworth marking next (--yes ROW ... --no ROW ...): unlike each other, the most doubtful (nearest 0.5) first")
    rows = [(str(hit.rows[0]), f"{hit.score:.3f}", format_clock(hit.start_s), hit.path) for hit in update.to_mark_next]
    print_table(("row", "probability", "from", "video"), rows)
    num_yes, num_no, num_lost = len(update.marks.positives), len(update.marks.negatives), update.num_lost_marks
    lost = (
        f", {format_count(num_lost, 'earlier mark')} forgotten, as what they marked is no longer indexed"
        if num_lost
        else ""
    )
    few = min(num_yes, num_no) < MIN_RELIABLE_MARKS
    warning = "; with so few marks, probabilities are a first guess" if few else ""
    counts = f"{num_yes} yes and {num_no} no{lost}; {format_count(len(update.moments), 'moment')} in all{warning}"
    print(f"\n{hide_secrets(options.index)}/concepts/{options.name}.json: {counts}")
    num_given = len({*options.yes, *options.no})
    if update.num_new_clips > num_given:
        marked = f"{format_count(num_given, 'mark')} became {format_count(update.num_new_clips, 'clip')}"
        print(f"{marked}: a moment marks each clip whose middle lies in it")


def print_moments(moments: "Sequence[Hit]", with_rows: bool = False) -> None:
    """`with_rows` where the moments are of the index that `unreel concept` marks."""
    if not moments:
        print("no moments: nothing reaches --above")
        return
    table = [("probability", "from", "to", "video"), *format_hit_rows(moments, [hit.path for hit in moments])]
    first = ["row", *(str(hit.rows[0]) for hit in moments)]
    lines = [(number, *line) if with_rows else line for number, line in zip(first, table, strict=True)]
    print_table(lines[0], lines[1:])
