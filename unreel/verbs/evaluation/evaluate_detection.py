"""Action detection on videos with boxes in AVA's format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unreel.corpus.labels.detection_set import DetectionSet
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.labelled_videos import LabelledVideos
from unreel.evaluation.protocols.detection import evaluate_detection
from unreel.evaluation.protocols.detection_head import DetectionProtocol
from unreel.evaluation.result import Result
from unreel.types import Instance
from unreel.verbs.evaluation.evaluate import load_encoder_at_rate
from unreel.verbs.evaluation.saved_results import annotate_result, save_result
from unreel.video.loading.loaders import default_num_workers


def evaluate_detection_set(
    run: Path,
    data: Path,
    options: Mapping[str, Any] | None = None,
    clock_s: float = 0.0,
    allow_import: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Result]:
    """Detection on videos with boxes in AVA's format; `options` are fields of DetectionProtocol. Raises UnreelError."""
    encoder = load_encoder_at_rate(run, allow_import=allow_import)
    protocol = DetectionProtocol(**(options or {}))
    boxes = DetectionSet.load(data, clock_s)
    result = evaluate_detection(encoder, boxes, protocol, default_num_workers(), on_progress)
    train, test = (
        drop_repeated_paths([boxes.make_instance(k, n) for n, k in enumerate(keyframes)])
        for keyframes in (boxes.train, boxes.test)
    )
    annotate_result(result, encoder, run, LabelledVideos(f"{data.resolve().name} (boxes)", train, test))
    save_result(result, "detection", run, data)
    return {"detection": result}


def drop_repeated_paths(instances: list[Instance]) -> list[Instance]:
    """One instance for each file."""
    return list({instance.path: instance for instance in instances}.values())
