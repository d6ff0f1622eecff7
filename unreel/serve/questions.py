"""What a page asks, checked, and what it is answered."""

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unreel.api.searching import Question, answer, make_concept, rows_and_examples
from unreel.errors import InputError
from unreel.search.concept import Concept, Marks, learn, suggest
from unreel.search.hits import Hit, HitOptions, find, merged
from unreel.search.rows import Filter, Stretch
from unreel.serve.served import Opened, Served

MOST_ROWS = 200_000
GAP_S = 0.5
RowNumbers = list[int]


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
    labels: list[str] = Field([], max_length=1000)
    path: str = Field("", max_length=1000)
    count: int = Field(24, ge=1, le=200)

    def filter(self) -> Filter:
        return Filter((f"*{self.path}*",) if self.path else (), tuple(self.labels))


class Search(Filtered):
    """Like a moment, or like these rows."""

    moment: Moment | None = None
    like: RowNumbers = Field([], max_length=1000)
    motion: float = 0.5
    own: Literal["keep", "clip", "video"] = "clip"


class Rank(Filtered):
    """Everything by a probe on these marks, or by a concept that was saved."""

    yes: RowNumbers = Field([], max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    concept: str = Field("", max_length=200)


class SaveConcept(Asked):
    name: str = Field(max_length=100)
    yes: RowNumbers = Field(max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)


class Selected(Asked):
    rows: RowNumbers = Field(max_length=MOST_ROWS)


def search(served: Served, asked: Search) -> dict[str, Any]:
    """The best hits of a question. Raises UnreelError."""
    opened = served.now(asked.of)
    index, stretches = opened.index, [] if asked.moment is None else [stretch(served, opened, asked.moment)]
    like_PD = rows_and_examples(index, None, tuple(asked.like), ())
    like_PD = np.concatenate([like_PD, *(served.queries().of(s) for s in stretches)])
    if not len(like_PD):
        raise InputError("nothing to search with; drop a video, or use a moment of one")
    question = Question(tuple(stretches), (), tuple(asked.like), (), asked.motion, asked.own, asked.filter())
    hits = answer(index, question, like_PD, like_PD[:0], HitOptions(asked.count, GAP_S))
    return {"hits": [as_json(opened, hit) for hit in hits]}


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
        "score": round(hit.score, 4),
        "rows": list(hit.rows),
        "alike": len(hit.alike),
    }


def probe_of(opened: Opened, asked: Rank) -> tuple[Concept, Marks]:
    index, marks = opened.index, Marks(tuple(asked.yes), tuple(asked.no))
    if not asked.concept:
        return learn("marked hits", index.vectors_ND, marks, index.encoder_hash), marks
    if asked.concept not in concepts(opened):
        raise InputError(f"no concept '{asked.concept}' is saved in this index")
    return Concept.load(index.folder / "concepts" / f"{asked.concept}.json", index.encoder_hash), marks


def rank(served: Served, asked: Rank) -> dict[str, Any]:
    """Hits by a probe, scores being its probability of yes, and what to mark next. Raises UnreelError."""
    opened = served.now(asked.of)
    index = opened.index
    concept, marks = probe_of(opened, asked)
    weight_D = np.array(concept.weight, np.float32)
    allowed_N = asked.filter().allowed(index.rows)
    found = find(index.nearest, index.rows, weight_D, HitOptions(asked.count, GAP_S), allowed_N, index.vectors)
    hits = [as_json(opened, hit) for hit in found]
    for hit in hits:
        hit["score"] = round(float(0.5 * (1 + np.tanh(0.5 * (hit["score"] + concept.bias)))), 4)
    next_rows = suggest(concept, index.vectors_ND, marks, 8)
    next_hits = merged(index.rows, next_rows, concept.scores(index.vectors(next_rows)), -1)
    return {"hits": hits, "next": [as_json(opened, hit) for hit in next_hits]}


def moments(served: Served, asked: Selected, most: int = 60) -> dict[str, Any]:
    """Selected rows as moments, clips that touch as one, in the order of the videos. Raises InputError."""
    opened = served.now(asked.of)
    found = selected(opened, asked.rows)
    return {"hits": [as_json(opened, hit) for hit in found[:most]], "moments": len(found)}


def selected(opened: Opened, rows: RowNumbers) -> list[Hit]:
    row_K = np.unique(np.array(rows, np.int64))
    if not len(row_K):
        raise InputError("nothing is selected; draw around some points or mark some hits")
    if row_K[0] < 0 or row_K[-1] >= len(opened.index.rows):
        raise InputError(f"row {row_K[-1] if row_K[0] >= 0 else row_K[0]} is not in the index; load the page again")
    found = merged(opened.index.rows, row_K, np.zeros(len(row_K), np.float32), GAP_S)
    return sorted(found, key=lambda hit: (hit.path, hit.start_s))


def concepts(opened: Opened) -> list[str]:
    return sorted(path.stem for path in (opened.index.folder / "concepts").glob("*.json"))


def save(served: Served, asked: SaveConcept) -> dict[str, Any]:
    """Keep a concept in the index. Raises UnreelError."""
    opened = served.now(asked.of)
    make_concept(opened.index, asked.name, Marks(tuple(asked.yes), tuple(asked.no)))
    return {"concepts": concepts(opened)}
