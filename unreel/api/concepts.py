"""Concepts from mark to mark, and what they find in new footage."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.api.searching import CONCEPTS, make_concept, require_name
from unreel.api.using import to_device
from unreel.errors import CheckpointError, InputError
from unreel.models.encoder import load_encoder, whole_videos
from unreel.search.clip_choice import EveryMoment
from unreel.search.concept import Concept, Marks, suggest
from unreel.search.embeddings import ABOUT, encoder_hash
from unreel.search.hits import Hit, merged
from unreel.search.index import ENCODER, Index, clips_of, open_index
from unreel.search.marks import joined_marks, load_marks, rows_within
from unreel.search.rows import Rows, Stretch
from unreel.types import Instance
from unreel.video.dataset import default_workers

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Taught:
    """A concept after some marks: every row's probability, the best moments, and single rows to mark next.

    `lost` counts earlier marks of moments that the index no longer has.
    """

    concept: Concept
    marks: Marks
    score_N: np.ndarray
    moments: list[Hit]
    next: list[Hit]
    lost: int = 0


@dataclass(frozen=True)
class Marked:
    """What a person marks: rows of the index and moments of its videos."""

    rows: tuple[int, ...] = ()
    moments: tuple[Stretch, ...] = ()


def teach(
    index: Index, name: str, yes: Marked, no: Marked, forget: bool = False, above: float = 0.5, num_next: int = 10
) -> Taught:
    """Add marks to a concept (`forget` the earlier ones) and learn it anew, kept in the index. Raises UnreelError."""
    require_name(name)
    require_probability(above)
    old, lost = (Marks(()), 0) if forget else load_marks(index.folder / CONCEPTS / f"{name}.csv", index.rows)
    new = Marks(*(m.rows + rows_within(index.rows, m.moments) for m in (yes, no)))
    both = sorted(set(new.yes) & set(new.no))
    if both:
        raise InputError(f"row {both[0]} is marked yes and no at once; take one mark away")
    marks = joined_marks(old, new)
    concept = make_concept(index, name, marks)
    score_N = concept.scores(index.vectors_ND)
    row_n = suggest(concept, index.vectors_ND, marks, num_next)
    following = [merged(index.rows, row_n[[k]], score_N[row_n[[k]]], -1)[0] for k in range(len(row_n))]
    return Taught(concept, marks, score_N, moments_above(index.rows, score_N, above), following, lost)


def require_probability(above: float) -> None:
    if not 0 <= above <= 1:
        raise InputError(f"a probability is between 0 and 1, got {above:g}")


def moments_above(rows: Rows, score_N: np.ndarray, above: float, gap_s: float = 0.5) -> list[Hit]:
    """Neighbouring rows of probability `above` or more as one moment with the best of them, best first."""
    row_K = np.flatnonzero(score_N >= above)
    return merged(rows, row_K, score_N[row_K], gap_s)


@dataclass(frozen=True)
class Applied:
    """What a concept found, best first, in how many clips of how many videos, and what could not be looked at."""

    moments: list[Hit]
    clips: int
    videos: int
    left_out: list[tuple[str, str]]


def apply_concept(
    concept: str | Path,
    source: str | Path,
    above: float = 0.5,
    gap_s: float = 0.5,
    on_progress: Advance = lambda _done, _total: None,
    allow_import: bool = False,
) -> Applied:
    """Moments of new footage that are the concept: a video, a folder, a list, or an index, which is not decoded.

    The encoder is that of the index in which the concept lies. Raises UnreelError.
    """
    path, source = Path(concept), Path(source)
    require_probability(above)
    home = path.resolve().parent.parent
    if (source / ABOUT).is_file():
        there = open_index(source)
        probe = Concept.load(path, there.encoder_hash)
        score_N = probe.scores(there.vectors_ND)
        found = moments_above(there.rows, score_N, above, gap_s)
        return Applied(found, len(there.rows), len(there.rows.paths), [])
    if not path.is_file():
        raise InputError(f"{path}: no concept there; `unreel concept INDEX NAME` makes INDEX/{CONCEPTS}/NAME.json")
    try:
        about, encoder = clips_of(home), to_device(load_encoder(home / ENCODER, allow_import))
    except (InputError, CheckpointError) as error:
        raise InputError(f"{path}: a concept is used where its index lies, which has its encoder: {error}") from error
    probe = Concept.load(path, encoder_hash(encoder))
    videos, left_out = whole_videos(source)
    found, clips, looked = [], 0, 0
    every = EveryMoment(**about["clips"]).rows(
        encoder, videos, default_workers(), lambda where, why: left_out.append((where, why))
    )
    for number, vectors_KD, spans_K2 in every:
        score_K = probe.scores(vectors_KD)
        found += moments_above(rows_of(videos[number], spans_K2), score_K, above, gap_s)
        clips, looked = clips + len(score_K), looked + 1
        on_progress(looked, len(videos))
    if not looked:
        raise InputError(f"{source}: no video there could be looked at; the first: {': '.join(left_out[0])}")
    return Applied(sorted(found, key=lambda hit: (-hit.score, hit.path, hit.start_s)), clips, looked, left_out)


def rows_of(video: Instance, spans_K2: np.ndarray) -> Rows:
    who = [video.path] * len(spans_K2)
    return Rows.named(who, [video.label] * len(who), who, spans_K2[:, 0], spans_K2[:, 1])
