"""A classifier: an encoder, a head, and what makes its scores probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unreel.classification.calibration import Calibration, Unit
from unreel.classification.clip_features import ClipScorer, read_log_probabilities
from unreel.classification.heads.head import Head
from unreel.classification.predictions import ClipScores, PredictionOptions, Predictions, make_predictions
from unreel.embedding import list_whole_videos
from unreel.errors import InputError
from unreel.indexing.index.clip_index import open_index
from unreel.indexing.index.vectors import iterate_blocks
from unreel.indexing.store.clip_sampling import EvenSampling, SlidingWindow
from unreel.indexing.store.encoder_hash import hash_encoder
from unreel.indexing.store.file_names import STORE_JSON
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import FileFailure, ProgressCallback
from unreel.video.loading.loaders import default_num_workers


@dataclass(frozen=True)
class Classifier:
    """A classifier as `train_classifier` makes it and `load_classifier` reads it.

    Args:
        classes: names of the classes.
        encoder: what makes features of clips; of a fine-tuned classifier the trained network.
        head: what makes scores of features.
        parts: how much each part of a row counts.
        calibrations: temperature and threshold for a "clip" and for a "video".
        about: how it was trained, and its figures on held-out and on test videos; what report.html shows.
        folder: where it is kept; None for one that is not.

    Raises:
        InputError: a video, or an option of `predict`, can't be used.

    >>> classifier = unreel.train_classifier(run, videos, out, num_clips=2)
    >>> classifier.classes
    ['drift_left', 'drift_up', 'loom_in', 'spin_clockwise']
    >>> classifier.predict(videos / "test.txt", per="video").probabilities.shape
    (8, 4)
    """

    classes: list[str]
    encoder: Encoder
    head: Head
    parts: RowParts
    calibrations: Mapping[Unit, Calibration]
    about: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @cached_property
    def scorer(self) -> ClipScorer:
        """The encoder that gives the roots of probabilities."""
        return ClipScorer(self.encoder, self.head, self.parts)

    def predict(
        self,
        source: str | Path,
        per: Unit = "clip",
        hop_s: float = 0.0,
        num_clips: int = 10,
        threshold: float | None = None,
        on_progress: ProgressCallback = lambda _done, _total: None,
    ) -> Predictions:
        """Say what videos show, clip by clip or as a whole; nothing is written.

        Args:
            source: a video, a folder, a list, or an index by the same encoder, which needs no decoding.
            per: a row for each "clip" that slides over the videos, or for each "video".
            hop_s: seconds from one clip to the next; 0 means half a clip.
            num_clips: evenly spread clips whose mean is a video's answer.
            threshold: least probability (0 to 1) of an answer, in place of the classifier's own.
            on_progress: called with the work done and its total.

        Returns:
            The rows by path and time, with the files that could not be read in `failures`.

        Raises:
            InputError: an option can't be used, or no video could be read.
        """
        options = PredictionOptions(per, hop_s, num_clips, threshold)
        calibration = self.choose_calibration(options)
        if (Path(source) / STORE_JSON).is_file():
            return make_predictions(self.score_index(Path(source)), self.classes, calibration, per)
        sampling = choose_sampling(options)
        videos, failures = list_whole_videos(Path(source))
        paths, spans, scores = list[str](), list[np.ndarray](), list[np.ndarray]()
        scorer, workers = self.scorer.to(choose_device("auto")), default_num_workers()
        for number, root_KC, spans_K2 in sampling.embed_videos(scorer, videos, workers, failures.append, on_progress):
            paths += [videos[number].path] * len(root_KC)
            spans.append(spans_K2)
            scores.append(read_log_probabilities(root_KC))
        require_readable(source, len(paths), failures)
        clips = ClipScores(paths, np.concatenate(spans), np.concatenate(scores))
        return make_predictions(clips, self.classes, calibration, per, failures)

    def choose_calibration(self, options: PredictionOptions) -> Calibration:
        """The calibration of clips or of videos, with another threshold if one is given."""
        calibration = self.calibrations[options.per]
        return calibration if options.threshold is None else replace(calibration, threshold=options.threshold)

    def score_index(self, folder: Path) -> ClipScores:
        """Scores of the rows of an index. Raises InputError for an index of another encoder, or a head that needs more
        than rows."""
        index = open_index(folder)
        if self.head.sees != "rows":
            raise InputError(f"{folder}: a classifier of kind {self.head.kind} needs the videos; name their folder")
        if index.encoder_hash != hash_encoder(self.encoder):
            raise InputError(f"{folder}: an index by another encoder than the classifier's; name the folder of videos")
        copied = (block.copy() for _, block in iterate_blocks(index.vectors_ND))  # a head takes no read-only ones
        blocks = (self.parts.set_lengths(index.parts.to_store(block)) for block in copied)
        log_p_NC = np.concatenate([self.head.score(block) for block in blocks])
        paths = [index.rows.get_path(row) for row in range(len(index.rows))]
        return ClipScores(paths, np.stack([index.rows.start_s, index.rows.end_s], axis=1), log_p_NC)


def choose_sampling(options: PredictionOptions) -> SlidingWindow | EvenSampling:
    """The clips that predictions are made of: sliding, or evenly spread over a video."""
    return SlidingWindow(hop_s=options.hop_s) if options.per == "clip" else EvenSampling("clip", options.num_clips)


def require_readable(source: str | Path, num_rows: int, failures: Sequence[FileFailure]) -> None:
    """Raise InputError where no video gave a row."""
    if not num_rows:
        raise InputError(f"{source}: no video there could be read; the first: {failures[0].path}: {failures[0]}")
