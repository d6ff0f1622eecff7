"""The encoder as a transformer of scikit-learn, for its pipelines."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from unreel.embedding import embed_instances, load_encoder
from unreel.errors import InputError
from unreel.models.pooling import count_features
from unreel.types import FileFailure, Instance


class VideoVectorizer(TransformerMixin, BaseEstimator):
    """Paths of videos to vectors, as a transformer of scikit-learn: `fit` loads the encoder, `transform` embeds.

    Rows are those of `Encoder.embed`, one of unit length for each path. The encoder learns nothing in `fit`.

    Args:
        run: a run, a checkpoint or an imported encoder, or "base".
        num_clips: evenly spread clips per video.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.

    Raises:
        CheckpointError: in `fit`, there is no encoder.
        VideoError: in `transform`, a video can't be used: each path has to have its row.

    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> paths = sorted(videos.rglob("*.mp4"))[:6]
    >>> classifier = make_pipeline(unreel.VideoVectorizer(run, num_clips=1), LogisticRegression())
    >>> classifier.fit(paths, [0, 0, 0, 1, 1, 1]).predict(paths[:2]).shape
    (2,)
    """

    def __init__(self, run: str | Path = "base", num_clips: int = 10, allow_import: bool = False) -> None:
        self.run, self.num_clips, self.allow_import = run, num_clips, allow_import

    def fit(self, X: Any = None, y: Any = None) -> "VideoVectorizer":
        """Load the encoder; X and y are not looked at."""
        self.encoder_ = load_encoder(self.run, self.allow_import)
        parts, width = self.encoder_.spec.part_names, count_features(self.encoder_.backbone)
        self.feature_names_ = [f"{part}{n}" for part in parts for n in range(width)]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Vectors float32 (N, D) of N paths, given as a list or an array (N,) or (N, 1)."""
        check_is_fitted(self, "encoder_")
        paths = list_paths(X)
        instances = [Instance(path, n, 0.0, float("inf")) for n, path in enumerate(paths)]

        def stop(failure: FileFailure) -> None:
            raise failure.to_error()

        return embed_instances(self.encoder_, instances, self.num_clips, on_failure=stop).vectors

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: the view and a number."""
        check_is_fitted(self, "encoder_")
        return np.array(self.feature_names_, dtype=object)


def list_paths(X: Any) -> list[str]:
    """The paths of a list or an array (N,) or (N, 1). Raises InputError for anything else."""
    if isinstance(X, str | Path):
        raise InputError(f"a list of paths is wanted, got the single path {X}; write [{str(X)!r}]")
    paths = [row[0] for row in X] if np.ndim(X) == 2 else list(X)
    wrong = next((path for path in paths if not isinstance(path, str | Path)), None)
    if wrong is not None:
        raise InputError(f"a list of paths is wanted, it has {wrong!r}")
    return [str(path) for path in paths]
