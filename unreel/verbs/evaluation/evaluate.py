"""Evaluations of an encoder's frozen features on labelled videos."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from unreel.embedding import load_encoder
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions
from unreel.evaluation.labelled_videos import LabelSources
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval
from unreel.evaluation.result import Result
from unreel.evaluation.suite import run_evaluations
from unreel.models.encoder.encoder import Encoder
from unreel.settings.runtime import DeviceName
from unreel.training.runtime.auto_settings import choose_device
from unreel.verbs.evaluation.saved_results import EvaluationTarget
from unreel.video.loading.loaders import default_num_workers


def load_encoder_at_rate(
    checkpoint: Path,
    fps: float | None = None,
    stride_frames: int | None = None,
    allow_import: bool = False,
    device: DeviceName = "auto",
) -> Encoder:
    """The encoder of a run on a device, by default the best one, optionally with another frame rate than in training.

    Raises InputError for a device that is not there.
    """
    encoder = load_encoder(checkpoint, allow_import).to(choose_device(device))
    if fps is None and stride_frames is None:
        return encoder
    clip = dataclasses.replace(encoder.spec.clip, fps=fps or 0.0, stride_frames=stride_frames or 0)
    encoder.spec = dataclasses.replace(encoder.spec, clip=clip)
    return encoder


def build_extraction_options(
    num_clips: int = 10,
    num_crops: int = 1,
    trivial_baselines: bool = True,
    baseline_folders: tuple[Path, ...] = (),
    fps: float | None = None,
    stride_frames: int | None = None,
    appearance: str = "",
) -> ExtractionOptions:
    """How clips are extracted, with the usual number of loader processes; names a frame rate that is not the encoder's.

    >>> build_extraction_options(fps=8).rate
    'fps 8'
    """
    rates = {"fps": fps, "stride_frames": stride_frames}
    rate = ", ".join(f"{name} {value:g}" for name, value in rates.items() if value is not None)
    options = ExtractionOptions(
        num_clips, num_crops, trivial_baselines, baseline_folders, default_num_workers(), appearance=appearance
    )
    return dataclasses.replace(options, rate=rate) if rate else options


def evaluate_retrieval(
    run: str | Path,
    data: str | Path,
    train: str | Path | None = None,
    test: str | Path | None = None,
    splits: tuple[str | Path, int] | None = None,
    num_clips: int = 10,
    on_progress: Progress | None = None,
    allow_import: bool = False,
) -> Result:
    """Retrieval of labelled test videos among training videos, beside trivial baselines.

    The result is saved in RUN/evaluations and RUN/report.html if `run` is a run.

    Args:
        run: a run folder, one of its checkpoints, or "base", the encoder that comes with unreel.
        data: folder of labelled videos, in a layout that `unreel data check` knows.
        train: list of training (gallery) videos; by default DATA/train.txt.
        test: list of test (query) videos; by default DATA/test.txt.
        splits: folder of UCF101's or HMDB51's official split files, and the number of the split.
        num_clips: evenly spread clips per video.
        on_progress: called with the videos done and their total.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.

    Returns:
        A table of figures in percent: row name to column name to figure.

    Raises:
        InputError: the labels can't be used.
        CheckpointError: the encoder can't be loaded.

    >>> result = unreel.evaluate_retrieval(run, videos, num_clips=2)
    >>> 0 <= result.rows["residual"]["R@1"] <= 100
    True
    """
    sources = LabelSources(
        split=splits[1] if splits else 1,
        train=Path(train) if train else None,
        test=Path(test) if test else None,
        splits=Path(splits[0]) if splits else None,
    )
    evaluations = {"retrieval": build_retrieval(RetrievalProtocol(num_clips=num_clips))}
    target = EvaluationTarget(Path(run), Path(data), sources)
    encoder = load_encoder_at_rate(target.run, allow_import=allow_import)
    return evaluate_features(encoder, target, evaluations, build_extraction_options(num_clips), on_progress)[
        "retrieval"
    ]


def evaluate_features(
    encoder: Encoder,
    target: EvaluationTarget,
    evaluations: Mapping[str, Evaluation],
    feature_options: ExtractionOptions,
    on_progress: Progress | None = None,
) -> dict[str, Result]:
    """Run evaluations on frozen features of one pass; saved in RUN/evaluations and RUN/report.html if it is a run.

    Raises InputError.
    """
    videos = target.load_videos()
    suite = run_evaluations(encoder, videos.train, videos.test, evaluations, feature_options, on_progress)
    target.save(suite.results, encoder, videos)
    return suite.results
