"""What a page asks, checked, and what it is answered."""

import glob
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unreel.api.concepts import Marked, teach
from unreel.api.searching import CONCEPTS, Question, answer, rows_and_examples
from unreel.errors import InputError
from unreel.search.concept import Concept, Marks, learn, suggest
from unreel.search.hits import Hit, HitOptions, find_by, merged
from unreel.search.marks import load_marks
from unreel.search.rows import Filter, Stretch
from unreel.serve.served import Opened, Served

MOST_ROWS = 200_000
GAP_S = 0.5
ALIKE = 0.98  # cosine above which hits are near-duplicates
SHOWN_ALIKE = 24
Row = Annotated[int, Field(ge=0, lt=2**31)]
RowNumbers = list[Row]


class Asked(BaseModel):
    """`of` is the index that the page knows."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    of: str


class Moment(BaseModel):
    """Seconds of an upload, or of a video of the index by its number."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    query: str | None = Field(None, max_length=64)
    video: int | None = None
    start_s: float = 0.0
    end_s: float


class Filtered(Asked):
    """`path` is what a path holds, as it stands."""

    labels: list[str] = Field([], max_length=1000)
    path: str = Field("", max_length=1000)
    after_s: float = 0.0
    before_s: float | None = None
    fold: bool = False
    count: int = Field(24, ge=1, le=200)

    def filter(self) -> Filter:
        held = (f"*{glob.escape(self.path)}*",) if self.path else ()
        return Filter(held, tuple(self.labels), self.after_s, math.inf if self.before_s is None else self.before_s)

    def options(self) -> HitOptions:
        return HitOptions(self.count, GAP_S, fold_above=ALIKE if self.fold else 2.0)


class Search(Filtered):
    """Like a moment and these rows, unlike those."""

    moment: Moment | None = None
    like: RowNumbers = Field([], max_length=1000)
    unlike: RowNumbers = Field([], max_length=1000)
    motion: float = 0.5
    own: Literal["keep", "clip", "video"] = "clip"


class Rank(Filtered):
    """Everything by a probe on these marks, or by a concept that was saved."""

    yes: RowNumbers = Field([], max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    concept: str = Field("", max_length=200)


class SaveConcept(Asked):
    """Marks to be added to a concept, or with `forget` to take the place of those it has."""

    name: str = Field(max_length=100)
    yes: RowNumbers = Field(max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    forget: bool = False


class Selected(Asked):
    """`scores` of rows, where the page has some."""

    rows: RowNumbers = Field(max_length=MOST_ROWS)
    scores: dict[Row, float] = Field({}, max_length=1000)


def search(served: Served, asked: Search) -> dict[str, Any]:
    """The best hits of a question. Raises UnreelError."""
    opened = served.now(asked.of)
    index, stretches = opened.index, [] if asked.moment is None else [stretch(served, opened, asked.moment)]
    like_PD, unlike_MD = (rows_and_examples(index, None, tuple(rows), ()) for rows in (asked.like, asked.unlike))
    like_PD = np.concatenate([like_PD, *(vector(served, s) for s in stretches)])
    if not len(like_PD):
        raise InputError("nothing to search with; drop a video, or use a moment of one")
    rows = tuple(asked.like), tuple(asked.unlike)
    question = Question(tuple(stretches), (), *rows, asked.motion, asked.own, asked.filter())
    return {"hits": [as_json(opened, hit) for hit in answer(index, question, like_PD, unlike_MD, asked.options())]}


def vector(served: Served, example: Stretch) -> np.ndarray:
    """The unit vector (1, D) of an example. Raises InputError, which names an upload no path."""
    try:
        return served.queries().of(example)
    except InputError as error:
        if not example.path.startswith(f"{served.uploads.folder}{os.sep}"):
            raise
        raise InputError(str(error).replace(example.path, "the query")) from error


def stretch(served: Served, opened: Opened, moment: Moment) -> Stretch:
    """The file and seconds that a page means. Raises InputError."""
    if (moment.query is None) == (moment.video is None):
        raise InputError("a moment is of an upload or of a video of the index: give one of them")
    if moment.video is not None:
        path = opened.files.path(moment.video)
    else:
        path = str(served.uploads.path(moment.query or ""))
    return Stretch(path, moment.start_s, moment.end_s)


def as_json(opened: Opened, hit: Hit) -> dict[str, Any]:
    rows, best = opened.index.rows, hit.rows[0]
    video = int(rows.path_N[best])
    return {
        "video": video,
        "name": opened.names[video],
        "label": rows.labels[rows.label_N[best]],
        "start_s": round(hit.start_s, 3),
        "end_s": round(hit.end_s, 3),
        "score": round(hit.score, 4) if math.isfinite(hit.score) else 0.0,
        "rows": list(hit.rows),
        "num_alike": len(hit.alike),
        "alike": [as_json(opened, other) for other in hit.alike[:SHOWN_ALIKE]],
    }


def probe_of(opened: Opened, asked: Rank) -> tuple[Concept, Marks]:
    index, marks = opened.index, Marks(tuple(asked.yes), tuple(asked.no))
    if not asked.concept:
        return learn("marked hits", index.vectors_ND, marks, index.encoder_hash), marks
    return Concept.load(concept_path(opened, asked.concept), index.encoder_hash), marks


def concept_path(opened: Opened, name: str) -> Path:
    """Raises InputError for one that the index does not have."""
    if name not in concepts(opened):
        raise InputError(f"no concept '{name}' is saved in this index")
    return opened.index.folder / CONCEPTS / f"{name}.json"


def rank(served: Served, asked: Rank) -> dict[str, Any]:
    """Hits by a probe, scores being its probability of yes, and what to mark next. Raises UnreelError."""
    opened = served.now(asked.of)
    index = opened.index
    concept, marks = probe_of(opened, asked)
    score_N, allowed_N = concept.scores(index.vectors_ND), asked.filter().allowed(index.rows)
    hits = find_by(score_N, index.rows, asked.options(), allowed_N, index.vectors)
    next_rows = suggest(concept, index.vectors_ND, marks, 8, allowed_N) if not asked.concept else np.zeros(0, np.int64)
    next_hits = merged(index.rows, next_rows, score_N[next_rows], -1)
    return {"hits": [as_json(opened, hit) for hit in hits], "next": [as_json(opened, hit) for hit in next_hits]}


def marks_of(served: Served, of: str, name: str) -> dict[str, Any]:
    """What was marked for a saved concept, a hit for each row. Raises InputError."""
    opened = served.now(of)
    rows = opened.index.rows
    marks, lost = load_marks(concept_path(opened, name).with_suffix(".csv"), rows)
    found = {
        kind: [as_json(opened, merged(rows, np.array([row]), np.zeros(1), -1)[0]) for row in row_n]
        for kind, row_n in (("yes", marks.yes), ("no", marks.no))
    }
    return {**found, "lost": lost}


def moments(served: Served, asked: Selected, most: int = 60) -> dict[str, Any]:
    """Selected rows as moments, clips that touch as one, in the order of the videos. Raises InputError."""
    opened = served.now(asked.of)
    found = selected(opened, asked.rows)
    return {"hits": [as_json(opened, hit) for hit in found[:most]], "moments": len(found)}


def selected(opened: Opened, rows: RowNumbers, scores: dict[int, float] | None = None) -> list[Hit]:
    """Moments of rows, by path and time; the score of each is its best row's, -inf where none has one."""
    row_K = np.unique(np.array(rows, np.int64))
    if not len(row_K):
        raise InputError("nothing is selected; draw around some points or mark some hits")
    if row_K[-1] >= len(opened.index.rows):
        raise InputError(f"row {row_K[-1]} is not in the index; load the page again")
    score_K = np.array([(scores or {}).get(row, -math.inf) for row in row_K.tolist()])
    found = merged(opened.index.rows, row_K, score_K, GAP_S)
    return sorted(found, key=lambda hit: (hit.path, hit.start_s))


def concepts(opened: Opened) -> list[str]:
    return sorted(path.stem for path in (opened.index.folder / CONCEPTS).glob("*.json"))


def save(served: Served, asked: SaveConcept) -> dict[str, Any]:
    """Keep marks as a concept of the index. Raises UnreelError."""
    opened = served.now(asked.of)
    marked = Marked(tuple(asked.yes)), Marked(tuple(asked.no))
    added = asked.name in concepts(opened) and not asked.forget
    teach(opened.index, asked.name, *marked, forget=asked.forget, num_next=0)
    return {"concepts": concepts(opened), "added": added}
