"""From views to pooled features, with all views of a step in one pass through the network or each in its own.

A batch whose activations do not fit in memory goes through in parts (`clips_at_once` of the backbone): the activations
of a part are dropped and computed again in the backward pass. The loss still compares the whole batch, and the
gradients are those of one pass (GradCache: Gao et al. 2021; here by activation checkpointing). Batch norm sees each
part separately.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from unreel.models.precision import promote_to_float32


def count_features(backbone: nn.Module) -> int:
    """D, the number of pooled features of a backbone."""
    return int(backbone.num_features)  # type: ignore[arg-type]


def pool_features(backbone: nn.Module, clips: Tensor) -> Tensor:
    """Global average of the last feature map, in float32 at least: (B, C, T, H, W) to (B, D)."""
    part_size = int(getattr(backbone, "clips_at_once", 0)) or len(clips)
    if len(clips) <= part_size or not torch.is_grad_enabled():
        return _pool_batch(backbone, clips)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), freeze_batch_statistics(backbone)

    parts = clips.split(part_size)
    return torch.cat([checkpoint(_pool_batch, backbone, p, use_reentrant=False, context_fn=contexts) for p in parts])


@contextmanager
def freeze_batch_statistics(backbone: nn.Module) -> Iterator[None]:
    """Keep running statistics of batch norm unchanged, so that a pass that is computed again does not count twice."""
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, num_batches in before:
            norm.momentum, norm.num_batches_tracked = momentum, num_batches


def _pool_batch(backbone: nn.Module, clips: Tensor) -> Tensor:
    map_BDTHW = backbone(clips)
    return promote_to_float32(map_BDTHW).mean(dim=(2, 3, 4))


def pool_views(backbone: nn.Module, views: Mapping[str, Tensor], joint: bool = True) -> dict[str, Tensor]:
    """Pooled features (B, D) of each view.

    With `joint`, all views go through the network in one batch: batch norm sees them together, and small batches keep
    a GPU busy. Otherwise each view has its own pass and its own batch statistics.

    >>> from unreel.models.registry import build_backbone
    >>> clips = torch.zeros(2, 3, 8, 64, 64)
    >>> features = pool_views(build_backbone("tiny"), {"view1": clips, "view2": clips})
    >>> {name: tuple(h_BD.shape) for name, h_BD in features.items()}
    {'view1': (2, 128), 'view2': (2, 128)}
    """
    if not joint:
        return {name: pool_features(backbone, clips) for name, clips in views.items()}
    features = pool_features(backbone, torch.cat(list(views.values())))
    return dict(zip(views, features.chunk(len(views)), strict=True))
