"""The network that fine-tuning trains: a backbone and a linear layer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.evaluation.finetuning.recipes import Recipe

FROZEN_CLIPS = 64  # clips that a frozen network takes at a time: each clip's features are its own


class VideoClassifier(nn.Module):
    """A backbone, the average of its last map over time and space, and a linear layer to the classes.

    Where the recipe trains the linear layer alone, the backbone stays in evaluation mode and gets no gradient; batch
    norm before the layer, where the recipe has it, is trained all the same. Source of that: lzhangbj/DualVar, --use_bn.
    """

    def __init__(self, backbone: nn.Module, num_classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.is_frozen, self.normalizes = recipe.trained == "linear", recipe.normalize
        self.backbone = backbone
        width = int(backbone.num_features)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm1d(width) if recipe.batch_norm else nn.Identity()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.linear = nn.Linear(width, num_classes)
            if recipe.head_std:
                nn.init.normal_(self.linear.weight, std=recipe.head_std)
            elif recipe.head_glorot:
                nn.init.xavier_uniform_(self.linear.weight)
            if recipe.head_std or recipe.head_glorot:
                nn.init.zeros_(self.linear.bias)

    def train(self, mode: bool = True) -> "VideoClassifier":
        """Only a backbone that is trained follows the mode."""
        super().train(mode)
        self.backbone.train(mode and not self.is_frozen)
        return self

    def forward(self, clips: Tensor, scale_BD: Tensor | None = None) -> Tensor:
        """Logits float32 (B, C) of one view (B, 3, T, H, W); features are multiplied by `scale_BD` (dropout)."""
        h_BD = self.pool_frozen(clips) if self.is_frozen else self.backbone(clips).mean(dim=(2, 3, 4))
        if self.normalizes:
            h_BD = F.normalize(h_BD.float(), dim=1)
        h_BD = self.norm(h_BD)
        return self.linear(h_BD if scale_BD is None else h_BD * scale_BD).float()

    @torch.no_grad()
    def pool_frozen(self, clips: Tensor) -> Tensor:
        """Pooled features (B, D) of some clips at a time, without gradient."""
        return torch.cat([self.backbone(part).mean(dim=(2, 3, 4)) for part in clips.split(FROZEN_CLIPS)])
