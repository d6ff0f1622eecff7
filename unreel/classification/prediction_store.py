"""Predictions of a folder that are kept up to date: a store of scores beside the CSV, from which the CSV is written.

    OUT.csv      seconds, class and probability
    OUT.store/   a store (indexing/store) whose rows are the roots of the probabilities of the classes

So a command that was killed goes on, files that are new, moved or gone are followed by their contents, what can't be
read stands in left_out.csv with its reason, and another threshold costs no decoding.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unreel.classification.classifier import Classifier, choose_sampling
from unreel.classification.classifier_folder import hash_classifier
from unreel.classification.clip_features import read_log_probabilities
from unreel.classification.predictions import COLUMNS, ClipScores, PredictionOptions, read_header
from unreel.embedding import ClipWorkers
from unreel.errors import InputError
from unreel.indexing.store.clip_sampling import EvenSampling, SlidingWindow, VideoVectors
from unreel.indexing.store.embeddings_file import read_parts
from unreel.indexing.store.kept_chunks import KeptChunks
from unreel.indexing.store.update import StoreSummary, StoreUpdateOptions, update_store
from unreel.io.output_path import require_writable_path
from unreel.models.encoder.encoder import Encoder
from unreel.types import FileFailure, Instance, ProgressCallback

STORE_SUFFIX = ".store"


@dataclass(frozen=True)
class ScoredClips:
    """Clips as a store samples them, scored by a classifier, which store.json then names by its hash."""

    clips: SlidingWindow | EvenSampling
    classifier: Classifier

    def to_json(self) -> dict[str, Any]:
        assert self.classifier.folder is not None
        return self.clips.to_json() | {"classifier": hash_classifier(self.classifier.folder)}

    def load_encoder(self, run: str | Path, allow_import: bool) -> Encoder:
        """The classifier's own, whatever the checkpoint: it was loaded with its head."""
        return self.classifier.scorer

    def embed_videos(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: ClipWorkers,
        on_failure: Callable[[FileFailure], None],
        on_progress: ProgressCallback = lambda _done, _total: None,
        kept: KeptChunks | None = None,
    ) -> Iterator[VideoVectors]:
        yield from self.clips.embed_videos(encoder, videos, workers, on_failure, on_progress, kept)


def get_store_path(out: Path) -> Path:
    """The store beside a CSV.

    >>> str(get_store_path(Path("a/classes.csv")))
    'a/classes.store'
    """
    return out.with_suffix(STORE_SUFFIX)


def require_own_csv(out: Path) -> None:
    """Raise InputError unless the CSV is new, or one that this command wrote and can go on with."""
    if out.suffix.lower() != ".csv":
        raise InputError(f"{out}: the predictions are a CSV; give a name that ends in .csv")
    if not out.exists():
        return
    store = get_store_path(out)
    if out.is_dir() or read_header(out) != COLUMNS:
        raise InputError(f"{out} exists already and holds something else; choose another --out")
    if not store.is_dir():
        raise InputError(f"{out} exists already, and {store}, which would let it go on, does not; choose another --out")


def update_scores(
    classifier: Classifier,
    source: str | Path,
    out: Path,
    options: PredictionOptions,
    update_options: StoreUpdateOptions,
) -> tuple[ClipScores, StoreSummary]:
    """Bring the store of a CSV up to date with a source; the scores of all its clips. Raises UnreelError."""
    if classifier.folder is None:
        raise InputError("a classifier that goes on after a kill has a folder; use the one that load_classifier gives")
    require_own_csv(out)
    require_writable_path(out)
    sampling = ScoredClips(choose_sampling(options), classifier)
    store = get_store_path(out)
    summary = update_store(classifier.folder, source, store, sampling, update_options)
    return read_scores(store), summary


def read_scores(store: Path) -> ClipScores:
    """All scores of a store. Raises InputError for one that is damaged."""
    paths, spans, scores = list[str](), list[np.ndarray](), list[np.ndarray]()
    for part in read_parts(store):
        paths += part.paths
        spans.append(np.stack([part.start_s, part.end_s], axis=1))
        scores.append(read_log_probabilities(part.vectors))
    return ClipScores(paths, np.concatenate(spans), np.concatenate(scores))
