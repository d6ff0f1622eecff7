"""Models from elsewhere see the frames of the file at the size that they were made for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unreel.evaluation import suite
from unreel.evaluation.baselines.external_baselines import OwnSizeClips, describe_seen_frames, find_short_side
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.frozen.frozen_model import FrozenModel
from unreel.models.frozen.image_preprocessing import ImagePreprocessor
from unreel.video.decoding.decoder import read_frames
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


def watching_model(resize_to: Any, seen: list[torch.Tensor]) -> FrozenModel:
    """A model that keeps the pictures it gets."""

    def look(_: torch.nn.Module, pictures_VTCHW: torch.Tensor) -> torch.Tensor:
        seen.append(pictures_VTCHW)
        return pictures_VTCHW.mean(dim=(1, 3, 4))

    same = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    prepared = ImagePreprocessor(resize_to, None, 1.0, 0.0, *same, "bicubic")
    return FrozenModel("watching", torch.nn.Linear(1, 1), prepared, np.array([0, 2]), look)


def test_a_model_from_elsewhere_sees_the_file_and_not_the_small_frames_of_the_encoder(
    motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames of 48 x 64 in the file; the encoder of 32 pixels gets them at 37 x 49."""
    seen: list[torch.Tensor] = []
    model = watching_model(48, seen)
    monkeypatch.setattr(suite, "load_external_model", lambda folder, spec, device: model)
    videos = load_labelled_videos(motion_set)
    encoder = Encoder(EncoderSpec("tiny", "iic", ClipSpec(4), ViewSpec(("rgb",), 32))).eval()
    options = ExtractionOptions(1, trivial_baselines=False, baseline_folders=(Path("m"),))
    evaluations = {"retrieval": build_retrieval(RetrievalProtocol(num_clips=1))}
    result = suite.run_evaluations(encoder, videos.train[:2], videos.test[:2], evaluations, options)
    result = result.results["retrieval"]
    assert list(result.rows) == ["chance", "watching", "rgb"]
    assert {tuple(pictures.shape) for pictures in seen} == {(1, 2, 3, 48, 64)}
    by_hand = torch.from_numpy(read_frames(videos.train[0].path, range(24))).permute(0, 3, 1, 2).float()
    assert any(torch.equal(seen[0][0], by_hand[[n, n + 2]]) for n in range(22))
    said = result.protocol["seen"]
    assert said["watching"] == describe_seen_frames(model, 48) and "shorter side at most 48" in said["watching"]
    assert "49 x 37" in said["all other rows"]


def test_frames_are_no_larger_than_the_largest_model_needs(motion_set: Path) -> None:
    assert find_short_side([watching_model(24, []), watching_model((20, 30), [])]) == 30
    assert find_short_side([watching_model(24, []), watching_model(None, [])]) == 0 and find_short_side([]) == 0
    videos = load_labelled_videos(motion_set).train[:1]
    spec = EncoderSpec("tiny", "iic", ClipSpec(4), ViewSpec(("rgb",), 32))
    shapes = {side: OwnSizeClips(videos, spec, 2, side)[0, 0].frames for side in (24, 0, 100)}
    assert [np.asarray(frames).shape for frames in shapes.values()] == [
        (2, 4, 24, 32, 3),
        (2, 4, 48, 64, 3),
        (2, 4, 48, 64, 3),
    ]
