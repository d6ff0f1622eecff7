"""Checks before a run is made: settings that can't work, and one black clip through views and network.

What is code of one's own is tried on two clips as well (method_contract.py).
"""

from pathlib import Path

import torch
from torch import nn

from unreel.errors import InputError
from unreel.models.registry import find_builder, is_builtin_backbone
from unreel.own_code.error_lines import describe_error
from unreel.own_code.source_files import SourceFiles
from unreel.settings.network import INIT_WORDS
from unreel.training.job import TrainingJob
from unreel.training.method_contract import try_own_code
from unreel.training.run_folder.board_logs import import_wandb
from unreel.training.run_folder.config import RunConfig
from unreel.types import Clips
from unreel.views.two_views import TwoViewRecipe

UNKNOWN_NUM_INSTANCES = 10**9  # the number of instances before the videos are read: more than any method asks for


def validate_config(run_config: RunConfig) -> None:
    """Raise InputError for settings that can't work with any videos, before hours are spent on reading them."""
    settings = run_config.settings
    run_config.options.check(settings, num_instances=UNKNOWN_NUM_INSTANCES)
    run_config.options.view_spec(settings.size)
    find_builder(settings.backbone)
    if settings.wandb:
        import_wandb()
    if settings.init not in INIT_WORDS and not Path(settings.init).exists():
        raise InputError(f"--init {settings.init}: no such file or run")


def dry_run(job: TrainingJob) -> None:
    """Send one black clip through views and network. Raises InputError for a clip that the network can't take."""
    spec, backbone = job.encoder.spec, job.encoder.backbone
    shape = (1, job.recipe.num_clips, spec.clip.total_frames, *spec.views.resize_hw, 3)
    zero_B = torch.zeros(1, dtype=torch.int64)
    clips = Clips(torch.zeros(shape, dtype=torch.uint8), zero_B, zero_B, zero_B.float(), epoch=0)
    backbone.eval()
    size = f"{spec.clip.num_frames} frames of {spec.views.size} x {spec.views.size}"
    try:
        with torch.inference_mode():
            view = make_first_view(job, clips)
            no_time = backbone(view).shape[2] == 1 and exceeds_temporal_stride(backbone, view, spec.backbone)
    except RuntimeError as error:
        if is_builtin_backbone(spec.backbone):
            too_small = f"{size} are too few or too small for {spec.backbone}; raise --num-frames or --size"
            raise InputError(too_small) from error
        reason = describe_error(error, getattr(backbone, "sources", SourceFiles()))
        raise InputError(f"{size} make an error in {spec.backbone} ({reason})") from error
    if no_time:
        raise InputError(f"{size} are too few for {spec.backbone}, whose stride in time is longer; raise --num-frames")
    try_own_code(job)


def make_first_view(job: TrainingJob, clips: Clips) -> torch.Tensor:
    """View 1 of the clips, by the recipe of the run; where that is one's own, a black view of the right shape."""
    if isinstance(job.recipe, TwoViewRecipe):
        return next(iter(job.recipe(clips).tensors.values()))
    spec = job.encoder.spec
    return torch.zeros(1, 3, spec.clip.num_frames, spec.views.size, spec.views.size)


def exceeds_temporal_stride(backbone: nn.Module, view: torch.Tensor, name: str) -> bool:
    """Whether even a clip of twice the length (B, C, 2T, H, W) is reduced to one time step: the stride is above T.

    Always False for a clip of one frame, which has no time, and for a foreign network, which takes no other length.
    """
    if view.shape[2] == 1 or not is_builtin_backbone(name):
        return False
    return backbone(torch.cat([view, view], dim=2)).shape[2] == 1
