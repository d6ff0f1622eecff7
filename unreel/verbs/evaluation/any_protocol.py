"""Every evaluation by its name, as `unreel evaluate NAME`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol, adopt_protocol
from unreel.evaluation.labelled_videos import LabelSources
from unreel.evaluation.protocol_registry import build_evaluations, build_standard_suite
from unreel.evaluation.result import Result
from unreel.models.encoder.encoder import Encoder
from unreel.verbs.evaluation.evaluate import build_extraction_options, evaluate_features, load_encoder_at_rate
from unreel.verbs.evaluation.evaluate_detection import evaluate_detection_set
from unreel.verbs.evaluation.evaluate_finetune import choose_training, evaluate_finetuning
from unreel.verbs.evaluation.saved_results import EvaluationTarget

ALL, DETECTION = "all", "detection"


def evaluate(
    encoder: Encoder | None,
    run: str | Path,
    data: str | Path,
    evaluations: str | FeatureProtocol[Any] | Mapping[str, Evaluation],
    sources: LabelSources | None = None,
    feature_options: ExtractionOptions | None = None,
    on_progress: Progress | None = None,
    num_clips: int = 10,
    allow_import: bool = False,
    **options: Any,
) -> dict[str, Result]:
    """Evaluate an encoder on labelled videos; saved in RUN/evaluations and RUN/report.html if `run` is a run.

    Args:
        encoder: the encoder to evaluate; None loads that of `run`.
        run: the run folder, or checkpoint, that the encoder is from.
        data: folder of labelled videos, in a layout that `unreel data check` knows.
        evaluations: name of a protocol as in `unreel evaluate NAME`: "retrieval", "knn", "finetune", "detection" and
            so on, or "all" for every one on frozen features; a protocol of your own, by its file or as an object; or
            evaluations by name.
        sources: the layout of the labels, and lists in place of the data's own.
        feature_options: clips and crops of each video, and the baselines; by default 10 clips and 1 crop.
        on_progress: called with the videos done and their total.
        num_clips: evenly spread clips per video, if `feature_options` is not given.
        allow_import: import, and so run, the code of your own that the checkpoint of `run` names as its network.
        options: options of the protocol, e.g. layer="pooled"; of "finetune" recipe, scratch, weights and fields of the
            recipe; of "detection" clock_s and fields of DetectionProtocol. Only with a name.

    Returns:
        Results by name. Each is a table of figures: row name to column name to figure.

    Raises:
        InputError: the labels can't be used, or the protocol or an option is unknown.
        CheckpointError: the encoder can't be loaded.

    >>> results = unreel.evaluate(None, run, videos, "retrieval", num_clips=2)
    >>> list(results)
    ['retrieval']
    """
    target = EvaluationTarget(Path(run), Path(data), sources or LabelSources())
    if evaluations == DETECTION:
        clock_s = options.pop("clock_s", 0.0)
        return evaluate_detection_set(target.run, target.data, options, clock_s, allow_import, on_progress)
    encoder = encoder or load_encoder_at_rate(target.run, allow_import=allow_import)
    if isinstance(evaluations, str) and (training := choose_training(evaluations, options)):
        training = training.change(num_clips=feature_options.num_clips if feature_options else num_clips)
        return evaluate_finetuning(encoder, target, training, on_progress)
    is_protocol = isinstance(evaluations, str | FeatureProtocol) and evaluations != ALL
    feature_options = feature_options or (build_extraction_options if is_protocol else ExtractionOptions)(num_clips)
    return evaluate_features(
        encoder, target, choose_evaluations(evaluations, feature_options, options), feature_options, on_progress
    )


def choose_evaluations(
    evaluations: str | FeatureProtocol[Any] | Mapping[str, Evaluation],
    feature_options: ExtractionOptions,
    options: Mapping[str, Any],
) -> Mapping[str, Evaluation]:
    """The evaluations of a protocol, of all, or those that were given. Raises InputError."""
    if isinstance(evaluations, FeatureProtocol):
        evaluations = adopt_protocol(evaluations)
    if isinstance(evaluations, str | FeatureProtocol) and evaluations != ALL:
        return build_evaluations(evaluations, feature_options, **options)
    if options:
        raise InputError(f"option {', '.join(options)}: name the protocol, e.g. 'retrieval', to give it options")
    return evaluations if isinstance(evaluations, Mapping) else build_standard_suite(feature_options)
