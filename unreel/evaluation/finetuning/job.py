"""Everything that one fine-tuning works with."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from unreel.evaluation.finetuning.classifier import VideoClassifier
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.metrics.accuracy import encode_labels
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import default_num_workers
from unreel.video.sampling.batch_sampler import steps_per_epoch

VALIDATION_CLIPS = 3


@dataclass
class FinetuneJob:
    """Recipe, network and lists; `failures` has the unreadable files by list name and path."""

    recipe: Recipe
    spec: EncoderSpec
    network: VideoClassifier
    train: list[Instance]
    validation: list[Instance]
    classes: list[str]
    failures: dict[tuple[str, str], FileFailure] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.network.linear.weight.device

    @property
    def view(self) -> str:
        return self.recipe.view or self.spec.views.names[0]

    @property
    def workers(self) -> int:
        return default_num_workers() if self.recipe.workers < 0 else self.recipe.workers

    @property
    def lr_scale(self) -> float:
        """Factor of the recipe's rate for the batch in use."""
        batch = min(self.recipe.batch_size, len(self.train))
        return batch / self.recipe.lr_batch if self.recipe.lr_batch else 1.0

    @property
    def test_crop(self) -> int:
        """Height and width of the crops that the network is tested on, in pixels."""
        views = self.spec.views
        return views.resize_hw[0] if self.recipe.test_crop == "tall" else views.size

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.train), self.recipe.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.count_epochs(len(self.train))

    def encode_labels(self, instances: Iterable[Instance]) -> np.ndarray:
        """Class numbers, int64 (N,); -1 for a class without training videos."""
        return encode_labels([i.label for i in instances], self.classes)

    @cached_property
    def validation_clips(self) -> ClipDataset:
        """Clips of the validation videos, cached in memory where they fit, since every epoch uses them."""
        spec, cache_mb = self.spec, self.recipe.cache_mb // 4
        return ClipDataset(self.validation, spec.clip, spec.views.resize_hw, VALIDATION_CLIPS, cache_mb=cache_mb)

    def record_failures(self, split: str, failures: Iterable[FileFailure]) -> None:
        """Remember files of a list that can't be read."""
        self.failures |= {(split, failure.path): failure for failure in failures}

    def describe_first_failure(self, split: str) -> str:
        """Path and reason of the first file of a list that could not be read."""
        return next(f"{path}: {failure}" for (name, path), failure in self.failures.items() if name == split)

    def autocast(self) -> torch.autocast:
        """bfloat16 on CUDA, float32 elsewhere."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def adapt_spec(spec: EncoderSpec, recipe: Recipe) -> EncoderSpec:
    """The encoder's clips and views as the recipe changes them: length, rate, short videos, scale of the input."""
    clip, views = spec.clip, spec.views
    clip = replace(clip, num_frames=max(1, round(clip.num_frames * recipe.frames_factor)))
    if recipe.rate_factor != 1:
        stride_frames = max(1, round(clip.stride_frames / recipe.rate_factor)) if clip.stride_frames else 0
        clip = replace(clip, fps=clip.fps * recipe.rate_factor, stride_frames=stride_frames)
    if recipe.hold_short:
        clip = replace(clip, short="hold")
    views = replace(views, standardize=views.standardize and not recipe.plain_input)
    if recipe.raw_residual:
        views = replace(views, residual=replace(views.residual, rescale=False))
    return replace(spec, clip=clip, views=views)
