"""What several protocols write about clips, videos and files that were left out, as plain JSON.

These texts and keys are compared between evaluations (report/comparison): a changed one separates old from new files.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unreel.evaluation.video_features import VideoFeatures
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance
from unreel.views.photometric import IMAGENET_MEAN, IMAGENET_STD


def describe_encoder_input(
    spec: EncoderSpec, views: Iterable[str], omit: Iterable[str] = ("lead_in",)
) -> dict[str, Any]:
    """The encoder and the clips it gets: timing, size, normalisation; `omit` are fields of the clip to leave out."""
    others = (spec.views.mean, spec.views.std) != (IMAGENET_MEAN, IMAGENET_STD)
    channels = {"channel_mean": list(spec.views.mean), "channel_std": list(spec.views.std)}
    return {
        **{name: value for name, value in dataclasses.asdict(spec.clip).items() if name not in omit},
        "size": spec.views.size,
        "residual": dataclasses.asdict(spec.views.residual) if "residual" in views else None,
        "standardize": spec.views.standardize,
        **(channels if spec.views.standardize and others else {}),
        "backbone": spec.backbone,
        "method": spec.method,
    }


def describe_clips(
    train: VideoFeatures, test: VideoFeatures, spec: EncoderSpec, num_clips: int, num_crops: int
) -> dict[str, Any]:
    """What every evaluation on evenly spread clips depends on: clips, crops, encoder, classes, unreadable files."""
    crops = {1: "centre", 3: "left, centre and right", 5: "centre and corners", 10: "centre and corners, and mirrored"}
    crop = crops[num_crops] + (" (pixel floors and frozen models: centre)" if num_crops > 1 else "")
    return {
        "num_clips": num_clips,
        "num_crops": num_crops,
        "clip_choice": "evenly spread over the video",
        **describe_encoder_input(spec, spec.views.names),
        "crop": f"{crop}, of frames resized to {spec.views.resize_hw[1]} x {spec.views.resize_hw[0]}",
        "views": list(spec.views.names),
        "classes": len({*train.labels, *test.labels}),
        "left_out": describe_failures({"training": train.failures, "test": test.failures}),
    }


def describe_test_videos(instances: Sequence[Instance]) -> dict[str, list[str]]:
    """Path, label and group of each test video: what the values in `Result.outcomes` belong to."""
    return {
        "path": [i.path for i in instances],
        "label": [i.label for i in instances],
        "group": [i.group for i in instances],
    }


def describe_failures(failures: Mapping[str, Iterable[FileFailure]]) -> list[dict[str, str]]:
    """Files of each list that could not be read, with the reason."""
    return [
        {"list": name, "path": failure.path, "reason": str(failure)}
        for name, files in failures.items()
        for failure in files
    ]


def count_videos(train: VideoFeatures, test: VideoFeatures, held_N: np.ndarray | None) -> dict[str, Any]:
    """Numbers of videos and classes that a figure depends on."""
    counts = {"train": len(train.instances), "test": len(test.instances), "classes": len(set(train.labels))}
    return {**counts, "held_out": 0 if held_N is None else int(held_N.sum())}


def protocol_to_json(protocol: Any) -> dict[str, Any]:
    """A protocol's fields as plain JSON."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(protocol).items()}
