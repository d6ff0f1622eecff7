"""A training job: the settings, network, method, recipe and instances of one run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from unreel.corpus.held_out import MAX_HELD_OUT, split_held_out
from unreel.corpus.inspection import count_files, require_usable
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.errors import InputError
from unreel.methods.registry import load_method_module
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.inflate import load_initial_weights
from unreel.models.registry import is_builtin_backbone
from unreel.own_code.names import is_own_code
from unreel.settings import Settings
from unreel.training.label_free.moments import MomentReader
from unreel.training.run_folder.config import RunConfig
from unreel.training.run_folder.run_state import RunState
from unreel.types import Clips, Instance, Views
from unreel.video.sampling.batch_sampler import steps_per_epoch
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.pair_sampling import IntervalDistribution
from unreel.video.sources.paths import is_synthetic


class Recipe(Protocol):
    """Makes a method's views of `num_clips` decoded clips per instance, `interval` apart."""

    @property
    def num_clips(self) -> int: ...

    @property
    def interval(self) -> IntervalDistribution: ...

    def __call__(self, clips: Clips) -> Views: ...


ENDLESS_STEPS = 10**9  # steps of a run whose length is not fixed yet, and so of its schedule


@dataclass
class TrainingJob:
    """Everything a run trains with."""

    run_folder: Path
    run_config: RunConfig
    encoder: Encoder
    method: nn.Module
    recipe: Recipe
    instances: Sequence[Instance]
    held_out: Sequence[Instance]
    num_files: int
    full_encoder: Encoder | None = None  # with sharded weights: the copy of rank 0 for monitors and checkpoints
    state: RunState = field(default_factory=RunState)

    @cached_property
    def monitored(self) -> MomentReader:
        """The moments that the monitors measure, decoded once for all of them."""
        return MomentReader(self.monitor_instances, self.encoder.spec)

    @property
    def settings(self) -> Settings:
        return self.run_config.settings

    @property
    def is_synthetic(self) -> bool:
        """Whether training draws its clips instead of decoding files."""
        return is_synthetic(self.instances[0].path)

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.instances), self.videos_per_step)

    @property
    def videos_per_step(self) -> int:
        """Instances that are opened for a batch; each gives `draws_per_video` rows of it."""
        return self.settings.batch_size // self.settings.draws_per_video

    @property
    def total_steps(self) -> int:
        """Steps of the run; `ENDLESS_STEPS` until `run_length` has found their number."""
        if self.settings.is_length_open:
            return ENDLESS_STEPS
        return self.settings.steps or (self.settings.epochs or 0) * self.steps_per_epoch

    def fix_steps(self, num_steps: int) -> None:
        """Set the number of steps of a run whose length was open."""
        self.run_config = self.run_config.replace(steps=num_steps)

    @property
    def monitor_interval_steps(self) -> int:
        return self.compute_monitor_interval(self.total_steps)

    def compute_monitor_interval(self, total_steps: int) -> int:
        """Steps between monitors in a run of so many steps: whole epochs, about ten times over the run."""
        epochs = self.settings.monitor_epochs or max(1, round(total_steps / self.steps_per_epoch / 10))
        return epochs * self.steps_per_epoch

    @property
    def monitor_instances(self) -> Sequence[Instance]:
        """What the monitors are measured on: held-out videos, or of the training ones where none are held out."""
        return self.held_out or self.instances[:MAX_HELD_OUT]

    @property
    def is_finished(self) -> bool:
        return self.state.step >= self.total_steps


def build_training_job(
    run_folder: Path, manifest: Manifest, run_config: RunConfig, backbone_options: dict[str, Any] | None = None
) -> TrainingJob:
    """Build network, method, recipe and instances of a run; the result is the same when the run resumes.

    A resumed run gives the `backbone_options` of its checkpoint; its weights are then not initialised from `init`.
    Raises InputError when too many videos can't be used, and for settings that do not fit them.
    """
    settings, options = run_config.settings, run_config.options
    spec = build_encoder_spec(run_config, backbone_options)
    method_class = load_method_module(run_config.method).Method
    torch.manual_seed(settings.seed)  # for the initial weights, the only use of torch's global random state
    encoder = Encoder(spec)
    if backbone_options is None:
        load_initial_weights(encoder, settings.init)
    require_usable(manifest, settings.max_bad_share)
    instances = build_instances(manifest, settings.segment_s)
    if is_synthetic(instances[0].path) and getattr(options, "remembers_instances", False):
        raise InputError(
            f"--method {run_config.method} remembers each video from epoch to epoch, and synthetic clips show another "
            "motion each time; choose a method that compares within the batch, e.g. --method motion"
        )
    training, held_out = split_held_out(instances, settings.held_out, settings.seed)
    options.check(settings, len(training))
    return TrainingJob(
        run_folder=run_folder,
        run_config=run_config,
        encoder=encoder,
        method=method_class(encoder.backbone, training, options, settings.seed),
        recipe=options.recipe(spec.views, settings.seed),
        instances=training,
        held_out=held_out,
        num_files=count_files(manifest),
    )


def build_encoder_spec(run_config: RunConfig, backbone_options: dict[str, Any] | None) -> EncoderSpec:
    """The network, clips and views of a run: the one place where its settings become a clip's parameters."""
    settings = run_config.settings
    views = run_config.options.view_spec(settings.size)
    clip = ClipSpec(settings.num_frames, settings.fps, settings.stride_frames, views.lead_in, settings.short)
    options = select_backbone_options(settings) if backbone_options is None else backbone_options
    return EncoderSpec(settings.backbone, run_config.method, clip, views, options)


def select_backbone_options(settings: Settings) -> dict[str, Any]:
    """What a network is built with beside its name; kept in the checkpoint."""
    options: dict[str, Any] = dict(settings.network_options)
    if is_own_code(settings.backbone):
        options = {"options": options} if options else {}
    if not is_builtin_backbone(settings.backbone):
        options |= {"size": settings.size, "num_frames": settings.num_frames}
    return options
