"""From views to pooled features, all views of a step in one pass through the network where that is wanted."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def pooled(backbone: nn.Module, clips: Tensor) -> Tensor:
    """Global average of the last feature map, in float32 at least: (B, C, T, H, W) to (B, D)."""
    map_BDTHW = backbone(clips)
    return (map_BDTHW.float() if map_BDTHW.dtype in (torch.bfloat16, torch.float16) else map_BDTHW).mean(dim=(2, 3, 4))


def pooled_views(backbone: nn.Module, views: Mapping[str, Tensor], joint: bool = True) -> dict[str, Tensor]:
    """Pooled features (B, D) of each view.

    `joint` sends all views through in one batch, so that batch norm sees them together and small batches keep a GPU
    busy; otherwise each view goes alone and is normalised by its own statistics.
    """
    if not joint:
        return {name: pooled(backbone, clips) for name, clips in views.items()}
    features = pooled(backbone, torch.cat(list(views.values())))
    return dict(zip(views, features.chunk(len(views)), strict=True))
