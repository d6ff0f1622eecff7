"""What a page asks, checked, and what it is answered."""

import glob
import math
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unreel.errors import InputError
from unreel.indexing.annotations import load_annotations
from unreel.indexing.concept import Annotations, Concept, fit_concept, suggest_rows
from unreel.indexing.index.row_table import Moment, RowFilter
from unreel.indexing.results import Hit, HitOptions, merge_rows, search_by_score
from unreel.serve.state import IndexSnapshot, ServerState
from unreel.verbs.concept import MarkedMoments, update_concept
from unreel.verbs.search import CONCEPTS_FOLDER, SearchQuery, collect_query_vectors, search_vectors

MAX_ROWS = 200_000
GAP_S = 0.5
DUPLICATE_THRESHOLD = 0.98  # cosine above which hits are near-duplicates
MAX_DUPLICATES_SHOWN = 24
RowNumber = Annotated[int, Field(ge=0, lt=2**31)]
RowNumbers = list[RowNumber]


class IndexRequest(BaseModel):
    """`of` is the index that the page knows."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    of: str


class MomentRequest(BaseModel):
    """Seconds of an upload, or of a video of the index by its number."""

    model_config = ConfigDict(allow_inf_nan=False, extra="forbid")
    query: str | None = Field(None, max_length=64)
    video: int | None = None
    start_s: float = 0.0
    end_s: float


class FilteredRequest(IndexRequest):
    """`path` is what a path holds, as it stands."""

    labels: list[str] = Field([], max_length=1000)
    path: str = Field("", max_length=1000)
    after_s: float = 0.0
    before_s: float | None = None
    fold: bool = False
    count: int = Field(24, ge=1, le=200)

    def make_filter(self) -> RowFilter:
        held = (f"*{glob.escape(self.path)}*",) if self.path else ()
        return RowFilter(held, tuple(self.labels), self.after_s, math.inf if self.before_s is None else self.before_s)

    def make_hit_options(self) -> HitOptions:
        return HitOptions(self.count, GAP_S, duplicate_threshold=DUPLICATE_THRESHOLD if self.fold else 2.0)


class SearchRequest(FilteredRequest):
    """Like a moment and these rows, unlike those."""

    moment: MomentRequest | None = None
    like: RowNumbers = Field([], max_length=1000)
    unlike: RowNumbers = Field([], max_length=1000)
    motion: float = 0.5
    own: Literal["keep", "clip", "video"] = "clip"


class RankRequest(FilteredRequest):
    """Everything by a probe on these marks, or by a concept that was saved."""

    yes: RowNumbers = Field([], max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    concept: str = Field("", max_length=200)


class SaveConceptRequest(IndexRequest):
    """Marks to be added to a concept, or with `forget` to take the place of those it has."""

    name: str = Field(max_length=100)
    yes: RowNumbers = Field(max_length=10_000)
    no: RowNumbers = Field([], max_length=10_000)
    forget: bool = False


class SelectionRequest(IndexRequest):
    """`scores` of rows, where the page has some."""

    rows: RowNumbers = Field(max_length=MAX_ROWS)
    scores: dict[RowNumber, float] = Field({}, max_length=1000)


def handle_search(state: ServerState, request: SearchRequest) -> dict[str, Any]:
    """The best hits of a question. Raises UnreelError."""
    opened = state.get_snapshot(request.of)
    index, stretches = opened.index, [] if request.moment is None else [resolve_moment(state, opened, request.moment)]
    like_PD, unlike_MD = (
        collect_query_vectors(index, None, tuple(rows), ()) for rows in (request.like, request.unlike)
    )
    like_PD = np.concatenate([like_PD, *(embed_moment(state, s) for s in stretches)])
    if not len(like_PD):
        raise InputError("nothing to search with; drop a video, or use a moment of one")
    rows = tuple(request.like), tuple(request.unlike)
    question = SearchQuery(tuple(stretches), (), *rows, request.motion, request.own, request.make_filter())
    return {
        "hits": [
            hit_to_json(opened, hit)
            for hit in search_vectors(index, question, like_PD, unlike_MD, request.make_hit_options())
        ]
    }


def embed_moment(state: ServerState, moment: Moment) -> np.ndarray:
    """The unit vector (1, D) of an example. Raises InputError, which names an upload no path."""
    try:
        return state.get_query_embedder().embed(moment)
    except InputError as error:
        if not moment.path.startswith(f"{state.uploads.folder}{os.sep}"):
            raise
        raise InputError(str(error).replace(moment.path, "the query")) from error


def resolve_moment(state: ServerState, snapshot: IndexSnapshot, moment: MomentRequest) -> Moment:
    """The file and seconds that a page means. Raises InputError."""
    if (moment.query is None) == (moment.video is None):
        raise InputError("a moment is of an upload or of a video of the index: give one of them")
    if moment.video is not None:
        path = snapshot.files.resolve_path(moment.video)
    else:
        path = str(state.uploads.get_path(moment.query or ""))
    return Moment(path, moment.start_s, moment.end_s)


def hit_to_json(snapshot: IndexSnapshot, hit: Hit) -> dict[str, Any]:
    rows, best = snapshot.index.rows, hit.rows[0]
    video = int(rows.path_N[best])
    return {
        "video": video,
        "name": snapshot.video_names[video],
        "label": rows.labels[rows.label_N[best]],
        "start_s": round(hit.start_s, 3),
        "end_s": round(hit.end_s, 3),
        "score": round(hit.score, 4) if math.isfinite(hit.score) else 0.0,
        "rows": list(hit.rows),
        "num_alike": len(hit.duplicates),
        "alike": [hit_to_json(snapshot, other) for other in hit.duplicates[:MAX_DUPLICATES_SHOWN]],
    }


def make_concept(snapshot: IndexSnapshot, request: RankRequest) -> tuple[Concept, Annotations]:
    index, marks = snapshot.index, Annotations(tuple(request.yes), tuple(request.no))
    if not request.concept:
        return fit_concept("marked hits", index.vectors_ND, marks, index.encoder_hash), marks
    return Concept.load(find_concept_path(snapshot, request.concept), index.encoder_hash), marks


def find_concept_path(snapshot: IndexSnapshot, name: str) -> Path:
    """Raises InputError for one that the index does not have."""
    if name not in list_concepts(snapshot):
        raise InputError(f"no concept '{name}' is saved in this index")
    return snapshot.index.folder / CONCEPTS_FOLDER / f"{name}.json"


def handle_rank(state: ServerState, request: RankRequest) -> dict[str, Any]:
    """Hits by a probe, scores being its probability of yes, and what to mark next. Raises UnreelError."""
    opened = state.get_snapshot(request.of)
    index = opened.index
    concept, marks = make_concept(opened, request)
    score_N, allowed_N = concept.score_rows(index.vectors_ND), request.make_filter().match_rows(index.rows)
    hits = search_by_score(score_N, index.rows, request.make_hit_options(), allowed_N, index.get_vectors)
    next_rows = (
        suggest_rows(concept, index.vectors_ND, marks, 8, allowed_N) if not request.concept else np.zeros(0, np.int64)
    )
    next_hits = merge_rows(index.rows, next_rows, score_N[next_rows], -1)
    return {"hits": [hit_to_json(opened, hit) for hit in hits], "next": [hit_to_json(opened, hit) for hit in next_hits]}


def handle_annotations(state: ServerState, index_id: str, name: str) -> dict[str, Any]:
    """What was marked for a saved concept, a hit for each row. Raises InputError."""
    opened = state.get_snapshot(index_id)
    rows = opened.index.rows
    marks, lost = load_annotations(find_concept_path(opened, name).with_suffix(".csv"), rows)
    found = {
        kind: [hit_to_json(opened, merge_rows(rows, np.array([row]), np.zeros(1), -1)[0]) for row in row_n]
        for kind, row_n in (("yes", marks.positives), ("no", marks.negatives))
    }
    return {**found, "lost": lost}


def handle_moments(state: ServerState, request: SelectionRequest, max_hits: int = 60) -> dict[str, Any]:
    """Selected rows as moments, clips that touch as one, in the order of the videos. Raises InputError."""
    opened = state.get_snapshot(request.of)
    found = select_moments(opened, request.rows)
    return {"hits": [hit_to_json(opened, hit) for hit in found[:max_hits]], "moments": len(found)}


def select_moments(snapshot: IndexSnapshot, rows: RowNumbers, scores: dict[int, float] | None = None) -> list[Hit]:
    """Moments of rows, by path and time; the score of each is its best row's, -inf where none has one."""
    row_K = np.unique(np.array(rows, np.int64))
    if not len(row_K):
        raise InputError("nothing is selected; draw around some points or mark some hits")
    if row_K[-1] >= len(snapshot.index.rows):
        raise InputError(f"row {row_K[-1]} is not in the index; load the page again")
    score_K = np.array([(scores or {}).get(row, -math.inf) for row in row_K.tolist()])
    found = merge_rows(snapshot.index.rows, row_K, score_K, GAP_S)
    return sorted(found, key=lambda hit: (hit.path, hit.start_s))


def list_concepts(snapshot: IndexSnapshot) -> list[str]:
    return sorted(path.stem for path in (snapshot.index.folder / CONCEPTS_FOLDER).glob("*.json"))


def handle_save_concept(state: ServerState, request: SaveConceptRequest) -> dict[str, Any]:
    """Keep marks as a concept of the index. Raises UnreelError."""
    opened = state.get_snapshot(request.of)
    marked = MarkedMoments(tuple(request.yes)), MarkedMoments(tuple(request.no))
    added = request.name in list_concepts(opened) and not request.forget
    update_concept(opened.index, request.name, *marked, discard_marks=request.forget, num_next=0)
    return {"concepts": list_concepts(opened), "added": added}
