"""Action detection: given the boxes of people at a keyframe, which actions does each of them perform?

After AVA in Qian et al. 2021 (CVRL, table 5), whose recipe is not published: a clip around the keyframe, its last map
averaged over time, RoI align, a linear layer, a sigmoid for each action, and AVA's own mAP. unreel has no person
detector: the boxes of test keyframes are the true ones, or proposals of an external detector.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unreel.corpus.labels.boxes import Detections, Keyframe, read_proposals, write_detections
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.errors import InputError
from unreel.evaluation.baselines.chance import CHANCE
from unreel.evaluation.baselines.descriptions import describe_baseline
from unreel.evaluation.baselines.untrained_encoder import UNTRAINED_ENCODER, build_untrained_encoder
from unreel.evaluation.feature_extraction import Progress, offset_progress
from unreel.evaluation.leakage import find_duplicates
from unreel.evaluation.metrics.frame_map import MAX_PER_KEYFRAME, compute_frame_map
from unreel.evaluation.protocol_description import describe_encoder_input
from unreel.evaluation.protocols.box_features import BoxFeatures, extract_box_features
from unreel.evaluation.protocols.detection_head import (
    DetectionProtocol,
    build_targets,
    finetune_detector,
    fit_head,
)
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER
from unreel.io.text import format_count
from unreel.models.encoder.encoder import Encoder
from unreel.models.roi_align import GRID_SIZE
from unreel.types import Instance

CHANCE_DESCRIPTION = "each box gets the share of training boxes that show the action, whatever it shows itself"


def build_detections(keyframes: Sequence[Keyframe], scores_NK: np.ndarray, action_ids: Sequence[int]) -> Detections:
    """Every action of every box as a row, with its score."""
    keys = [k.key for k in keyframes for _ in range(len(k.boxes) * len(action_ids))]
    boxes = np.concatenate([np.zeros((0, 4)), *(k.boxes for k in keyframes)])
    return Detections(
        keys,
        boxes.repeat(len(action_ids), axis=0),
        np.tile(np.array(action_ids, dtype=np.int64), len(boxes)),
        scores_NK.reshape(-1).astype(np.float64),
    )


def evaluate_detection(
    encoder: Encoder,
    data: DetectionSet | str | Path,
    protocol: DetectionProtocol | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> Result:
    """AVA's mAP of the encoder, of the same network without training, and of chance, for a set of boxes with actions.

    Raises InputError for a set without a training or test list, and when none of its videos can be read.
    """
    protocol = protocol or DetectionProtocol()
    data = data if isinstance(data, DetectionSet) else DetectionSet.load(data)
    train, truth = data.drop_excluded(data.train), data.drop_excluded(data.test)
    test, warnings = _select_test_keyframes(truth, data, protocol)
    encoders = {ENCODER: encoder, UNTRAINED_ENCODER: build_untrained_encoder(encoder, protocol.seed)}
    train_features, test_features = _extract_features(encoders, data, (train, test), workers, progress)
    unreadable = {k.key for k, _ in test_features.failures}
    truth = [k for k in truth if k.key not in unreadable]
    column, rows, per_class = f"mAP@{protocol.least_iou:g}", {}, {}
    for source, scores_NK in _score_boxes(encoders, data, train_features, test_features, protocol, workers):
        detections = build_detections(test_features.keyframes, scores_NK, sorted(data.action_names))
        mean, by_action = compute_frame_map(truth, detections, data.action_names, protocol.least_iou)
        names = _disambiguate_names(data.action_names)
        rows[source] = {column: 100 * mean}
        per_class[source] = {name: 100 * by_action[a] for a, name in names.items() if a in by_action}
        if source == ENCODER and protocol.save_detections:
            write_detections(Path(protocol.save_detections), detections)
    description = describe_protocol(encoder, data, protocol, train_features, test_features, truth)
    return Result(
        kind="detection",
        title="Action detection, mAP in percent",
        rows=rows,
        caption=format_caption(description),
        protocol=description,
        warnings=[*warnings, *_collect_warnings(data, train_features, test_features, truth)],
        extras={"per_class": per_class},
        main_column=column,
        floors={CHANCE: CHANCE_DESCRIPTION, UNTRAINED_ENCODER: describe_baseline(UNTRAINED_ENCODER)},
    )


def _select_test_keyframes(
    truth: Sequence[Keyframe], data: DetectionSet, protocol: DetectionProtocol
) -> tuple[list[Keyframe], list[str]]:
    """Test keyframes with the boxes to score, and a warning about proposals for videos outside the test list."""
    if not protocol.proposals:
        return list(truth), []
    path, videos, known = Path(protocol.proposals), {k.video for k in truth}, {k.key for k in truth}
    proposals = {k.key: k for k in data.drop_excluded(read_proposals(path, protocol.least_score))}
    keyframes = [proposals.get(k.key, Keyframe(*k.key, np.zeros((0, 4)), [])) for k in truth]
    others = [k for k in proposals.values() if k.key not in known]
    keyframes += [k for k in others if k.video in videos]
    unknown_videos = sorted({k.video for k in others} - videos)
    warning = (
        f"{path}: boxes of {format_count(len(unknown_videos), 'video')} not in the test list are ignored, the first is "
    )
    return keyframes, [f"{warning}{unknown_videos[0]}."] if unknown_videos else []


def _extract_features(
    encoders: dict[str, Encoder],
    data: DetectionSet,
    lists: tuple[Sequence[Keyframe], Sequence[Keyframe]],
    workers: int,
    progress: Progress | None,
) -> tuple[BoxFeatures, BoxFeatures]:
    """Features of the training boxes and of the test boxes. Raises InputError when either has none."""
    (train, test), total = lists, sum(map(len, lists))

    def extract(keyframes: Sequence[Keyframe], offset: int) -> BoxFeatures:
        return extract_box_features(encoders, data, keyframes, workers, offset_progress(progress, offset, total))

    train_features, test_features = extract(train, 0), extract(test, len(train))
    _require_boxes(train_features, test_features)
    return train_features, test_features


def _require_boxes(train_features: BoxFeatures, test_features: BoxFeatures) -> None:
    for name, part in (("training", train_features), ("test", test_features)):
        if not any(len(k.boxes) for k in part.keyframes):
            problem = "no keyframe is left"
            if part.failures:
                k, failure = part.failures[0]
                problem = (
                    f"all {len(part.failures)} keyframes are left out, the first is {k.video} at {k.time_s:g} s "
                    f"({failure.path}: {failure}). If the lists count time from another start than the files (AVA's "
                    "902 s is second 2 of a file cut at 900 s), give the set's clock_s"
                )
            elif part.keyframes:
                problem = "no keyframe has a box"
            raise InputError(f"no box of the {name} list can be used: {problem}")


def _score_boxes(
    encoders: dict[str, Encoder],
    data: DetectionSet,
    train_features: BoxFeatures,
    test_features: BoxFeatures,
    protocol: DetectionProtocol,
    workers: int,
) -> Iterator[tuple[str, np.ndarray]]:
    """For each row of the table the score of each action for each test box: (boxes, K) in [0, 1]."""
    truth_NK = build_targets(train_features.keyframes, sorted(data.action_names))
    num_boxes = sum(len(k.boxes) for k in test_features.keyframes)
    yield CHANCE, truth_NK.double().mean(dim=0).numpy()[None].repeat(num_boxes, axis=0)
    for source in (UNTRAINED_ENCODER, ENCODER):
        head, vectors = fit_head(train_features.vectors[source], truth_NK, protocol), test_features.vectors[source]
        if protocol.finetune:
            tuned, head = finetune_detector(encoders[source], head, data, train_features.keyframes, protocol, workers)
            vectors = extract_box_features({source: tuned}, data, test_features.keyframes, workers).vectors[source]
        with torch.inference_mode():
            yield source, torch.sigmoid(head(vectors).double()).numpy()


def _disambiguate_names(names: dict[int, str]) -> dict[int, str]:
    """Names for a table, followed by the number where two actions share a name."""
    count = Counter(names.values())
    return {action: f"{name} ({action})" if count[name] > 1 else name for action, name in names.items()}


def _collect_warnings(
    data: DetectionSet, train_features: BoxFeatures, test_features: BoxFeatures, truth: Sequence[Keyframe]
) -> list[str]:
    """Sentences that belong beside the figures."""
    warnings = list(data.warnings)
    for name, part in (("training", train_features), ("test", test_features)):
        if part.failures:
            first = [f"{k.video} at {k.time_s:g} s ({failure})" for k, failure in part.failures[:5]]
            more = f" and {len(part.failures) - 5} more" if len(part.failures) > 5 else ""
            warnings.append(f"{len(part.failures)} {name} keyframes are left out: {', '.join(first)}{more}.")
    in_test, in_train = (
        {a for k in part for labels in k.actions for a in labels} for part in (truth, train_features.keyframes)
    )
    if unseen := sorted(in_test - in_train):
        names = ", ".join(data.action_names[a] for a in unseen)
        warnings.append(f"no training box shows {names}, but test boxes do, so these can't be learnt.")
    duplicates = find_duplicates(
        _build_instances(data, train_features.keyframes), _build_instances(data, test_features.keyframes)
    )
    if duplicates:
        warnings.append(
            f"{len(duplicates)} test videos are training videos too, or have the content of one, which inflates the "
            f"figures; the first is {duplicates[0][0]}."
        )
    return warnings


def _build_instances(data: DetectionSet, keyframes: Sequence[Keyframe]) -> list[Instance]:
    return [data.make_instance(k, n) for n, k in enumerate(keyframes)]


def describe_protocol(
    encoder: Encoder,
    data: DetectionSet,
    protocol: DetectionProtocol,
    train_features: BoxFeatures,
    test_features: BoxFeatures,
    truth: Sequence[Keyframe],
) -> dict[str, Any]:
    """Everything that a figure depends on, as plain JSON."""
    spec, parts = encoder.spec, (("training", train_features), ("test", test_features))
    failures = Counter((name, failure) for name, part in parts for _, failure in part.failures)
    return {
        **dataclasses.asdict(protocol),
        **describe_encoder_input(spec, spec.views.names, omit=("lead_in", "short")),
        "clip_choice": f"keyframe at frame {spec.clip.num_frames // 2}, first and last frame of the video repeated",
        "crop": f"none: whole frames squeezed to {spec.views.size} x {spec.views.size}",
        "views": list(spec.views.names),
        "features": f"last map averaged over time, RoI align {GRID_SIZE} x {GRID_SIZE}, maximum; views side by side",
        "dimensions": train_features.vectors[ENCODER].shape[1],
        "head": "linear on standardised features, a sigmoid for each action, begun at the actions' shares",
        "metric": f"AVA's: at most {MAX_PER_KEYFRAME} rows a keyframe, mean over actions with a test box",
        "boxes": f"proposals of {protocol.proposals}" if protocol.proposals else "true boxes",
        "training_keyframes": len(train_features.keyframes),
        "training_boxes": sum(len(k.boxes) for k in train_features.keyframes),
        "test_keyframes": len(truth),
        "test_boxes": sum(len(k.boxes) for k in truth),
        "judged_boxes": sum(len(k.boxes) for k in test_features.keyframes),
        "actions": list(_disambiguate_names(data.action_names).values()),
        "actions_judged": len({a for k in truth for labels in k.actions for a in labels}),
        "excluded": len(data.excluded_keys),
        "clock_s": data.clock_s,
        "left_out": [
            {"list": name, "path": failure.path, "reason": str(failure), "keyframes": n}
            for (name, failure), n in failures.items()
        ],
    }


def format_caption(protocol: dict[str, Any]) -> str:
    """The protocol in two sentences, and what it must not be compared with."""
    rate = f"{protocol['fps']:g} fps" if protocol["fps"] else f"stride {protocol['stride_frames']}"
    network = "network and linear layer fine-tuned" if protocol["finetune"] else "network frozen, linear layer trained"
    boxes = "an external detector's" if protocol["proposals"] else "the true ones, so none is missed or invented"
    return (
        f"{protocol['test_keyframes']} test keyframes with {protocol['test_boxes']} boxes, trained on "
        f"{protocol['training_keyframes']} with {protocol['training_boxes']}, {protocol['actions_judged']} actions; "
        f"one clip of {protocol['num_frames']} frames ({rate}) around each, whole frames at {protocol['size']} px, "
        f"{network}. Test boxes are {boxes}; CVRL's AVA figures are for the boxes of a person detector, "
        "which unreel does not have, and not comparable."
    )
