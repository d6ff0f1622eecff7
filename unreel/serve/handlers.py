"""Answers to the requests of the page, as JSON."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import Annotations, MarkedMoments
from unreel.indexing.concepts.concept import Concept, fit_concept
from unreel.indexing.concepts.concept_update import (
    list_concepts,
    load_concept,
    load_marks,
    require_concept,
    update_concept,
)
from unreel.indexing.concepts.suggestions import suggest_rows
from unreel.indexing.search.query import SearchQuery, collect_examples, search_by_vectors
from unreel.indexing.search.query_encoder import ExampleError, ExampleVectors
from unreel.indexing.search.results import Hit, HitOptions, merge_rows, row_to_hit, search_by_score
from unreel.serve.requests import (
    LabelsRequest,
    MomentRequest,
    RankRequest,
    RowNumbers,
    SaveConceptRequest,
    SearchRequest,
    SelectionRequest,
    VideosRequest,
)
from unreel.serve.state import IndexSnapshot, ServerState
from unreel.types import Moment

MAX_DUPLICATES_SHOWN = 24
NUM_SUGGESTIONS = 8


def handle_search(state: ServerState, request: SearchRequest) -> dict[str, Any]:
    """The best hits of a query. Raises UnreelError."""
    snapshot = state.get_snapshot(request.index_id)
    index, moments = snapshot.index, list[Moment]()
    if request.moment is not None:
        moments.append(resolve_moment(state, snapshot, request.moment))
    positives, negatives = (collect_examples(index, None, rows, ()) for rows in (request.like, request.unlike))
    positives += [embed_moment(state, moment) for moment in moments]
    if not positives:
        raise InputError("nothing to search with; drop a video, or use a moment of one")
    query = SearchQuery(
        positive_moments=tuple(moments),
        positive_rows=tuple(request.like),
        negative_rows=tuple(request.unlike),
        motion_weight=request.motion,
        own_video_mode=request.own,
        filter=request.make_filter(),
    )
    with state.search_slots:
        answer = search_by_vectors(index, query, positives, negatives, request.make_hit_options())
        hits = add_ranks([hit_to_json(snapshot, hit) for hit in answer.hits])
    return {"hits": hits, "note": hide_upload_names(state, moments, answer.note)}


def add_ranks(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same hits with their ranks, from 1."""
    return [hit | {"rank": rank} for rank, hit in enumerate(hits, start=1)]


def hide_upload_names(state: ServerState, moments: Sequence[Moment], note: str) -> str:
    """A sentence that says `the query` where it has the random name of an upload."""
    for path in (Path(moment.path) for moment in moments):
        if path.parent == state.uploads.folder:
            note = note.replace(path.name, "the query")
    return note


def embed_moment(state: ServerState, moment: Moment) -> ExampleVectors:
    """The vectors of an example. Raises InputError, which does not name the path of an upload."""
    try:
        return state.get_query_embedder().embed(moment)
    except ExampleError as error:
        if Path(error.path).parent != state.uploads.folder:
            raise
        raise InputError(f"the query: {error.reason}") from error


def resolve_moment(state: ServerState, snapshot: IndexSnapshot, moment: MomentRequest) -> Moment:
    """The moment of a file. Raises InputError."""
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
        "name": snapshot.name_video(video),
        "label": rows.get_label(best),
        "start_s": round(hit.start_s, 3),
        "end_s": round(hit.end_s, 3),
        "score": round(hit.score, 4) if math.isfinite(hit.score) else 0.0,
        "likeness": hit.likeness,
        "percentile": hit.percentile,
        "like_s": [round(s, 3) for s in (hit.query_moment.start_s, hit.query_moment.end_s)]
        if hit.query_moment
        else None,
        "rows": list(hit.rows),
        "num_alike": len(hit.duplicates),
        "alike": [hit_to_json(snapshot, other) for other in hit.duplicates[:MAX_DUPLICATES_SHOWN]],
    }


def handle_videos(state: ServerState, request: VideosRequest) -> dict[str, Any]:
    """A page of the videos of which the filters leave a moment, in the order of their numbers. Raises InputError."""
    snapshot = state.get_snapshot(request.index_id)
    rows = snapshot.index.rows
    is_left_V = np.zeros(len(rows.paths), bool)
    is_left_V[rows.path_N[request.make_filter().match_rows(rows)]] = True
    number_K = np.flatnonzero(is_left_V)
    shown = number_K[request.first : request.first + request.count].tolist()
    return {"videos": [video_to_json(snapshot, number) for number in shown], "total": len(number_K)}


def video_to_json(snapshot: IndexSnapshot, number: int) -> dict[str, Any]:
    """Its number and name, and the label of its first clip."""
    rows = snapshot.index.rows
    return {
        "video": number,
        "name": snapshot.name_video(number),
        "label": rows.get_label(int(rows.find_rows_of_path(number)[0])),
    }


def handle_labels(state: ServerState, request: LabelsRequest) -> dict[str, Any]:
    """A page of the labels that contain a text, or those of some numbers. Raises InputError."""
    labels = state.get_snapshot(request.index_id).index.rows.labels
    numbers = [n for n, label in enumerate(labels) if label and request.text in label]
    if request.numbers is not None:
        numbers = [n for n in request.numbers if n < len(labels)]
    shown = numbers[request.first : request.first + request.count]
    return {"labels": [{"number": n, "name": labels[n]} for n in shown], "total": len(numbers)}


def handle_rank(state: ServerState, request: RankRequest) -> dict[str, Any]:
    """Hits by the probability of a concept, and for marks also rows to mark next. Raises UnreelError."""
    snapshot = state.get_snapshot(request.index_id)
    index = snapshot.index
    concept, marks = make_concept(snapshot, request)
    score_N, allowed_N = concept.score_rows(index.vectors_ND), request.make_filter().match_rows(index.rows)
    hits = search_by_score(score_N, index.rows, request.make_hit_options(), allowed_N, index.get_vectors)
    next_hits: list[Hit] = []
    if not request.concept:
        next_rows = suggest_rows(concept, index.vectors_ND, marks, NUM_SUGGESTIONS, allowed_N)
        next_hits = [row_to_hit(index.rows, int(row), float(score_N[row])) for row in next_rows]
    return {
        "hits": [hit_to_json(snapshot, hit) for hit in hits],
        "next": [hit_to_json(snapshot, hit) for hit in next_hits],
    }


def make_concept(snapshot: IndexSnapshot, request: RankRequest) -> tuple[Concept, Annotations]:
    """The saved concept that is named, or one trained on the marks. Raises InputError."""
    index, marks = snapshot.index, Annotations(tuple(request.yes), tuple(request.no))
    if not request.concept:
        return fit_concept("marked hits", index.vectors_ND, marks, index.encoder_hash), marks
    require_concept(index, request.concept)
    return load_concept(index, request.concept), marks


def handle_annotations(state: ServerState, index_id: str, name: str) -> dict[str, Any]:
    """The marks of a saved concept, one hit for each row. Raises InputError."""
    snapshot = state.get_snapshot(index_id)
    require_concept(snapshot.index, name)
    rows = snapshot.index.rows
    marks, num_lost = load_marks(snapshot.index, name)
    yes, no = (
        [hit_to_json(snapshot, row_to_hit(rows, row, 0.0)) for row in row_n]
        for row_n in (marks.positives, marks.negatives)
    )
    return {"yes": yes, "no": no, "lost": num_lost}


def handle_save_concept(state: ServerState, request: SaveConceptRequest) -> dict[str, Any]:
    """Save marks as a concept of the index. Raises UnreelError."""
    index = state.get_snapshot(request.index_id).index
    yes, no = MarkedMoments(tuple(request.yes)), MarkedMoments(tuple(request.no))
    added = request.name in list_concepts(index) and not request.forget
    update_concept(index, request.name, yes, no, discard_marks=request.forget, num_next=0)
    return {"concepts": list_concepts(index), "added": added}


def handle_moments(state: ServerState, request: SelectionRequest, max_hits: int = 60) -> dict[str, Any]:
    """Selected rows as moments, in the order of the videos. Raises InputError."""
    snapshot = state.get_snapshot(request.index_id)
    hits = select_moments(snapshot, request.rows)
    return {"hits": [hit_to_json(snapshot, hit) for hit in hits[:max_hits]], "moments": len(hits)}


def select_moments(snapshot: IndexSnapshot, rows: RowNumbers, scores: dict[int, float] | None = None) -> list[Hit]:
    """Rows as moments, sorted by path and time. A moment has the best score of its rows, -inf where none has one."""
    row_K = np.unique(np.array(rows, np.int64))
    if not len(row_K):
        raise InputError("nothing is selected; draw around some points or mark some hits")
    if row_K[-1] >= len(snapshot.index.rows):
        raise InputError(f"row {row_K[-1]} is not in the index; load the page again")
    score_K = np.array([(scores or {}).get(row, -math.inf) for row in row_K.tolist()])
    hits = merge_rows(snapshot.index.rows, row_K, score_K, HitOptions.gap_s)
    return sorted(hits, key=lambda hit: (hit.path, hit.start_s))
