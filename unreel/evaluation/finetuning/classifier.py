"""The network that fine-tuning trains: a backbone and a linear layer."""

import torch
from torch import Tensor, nn

from unreel.evaluation.finetuning.recipes import Recipe


class VideoClassifier(nn.Module):
    """A backbone, the average of its last map over time and space, and a linear layer to the classes."""

    def __init__(self, backbone: nn.Module, num_classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.linear = nn.Linear(int(backbone.num_features), num_classes)  # type: ignore[arg-type]
            if recipe.head_std:
                nn.init.normal_(self.linear.weight, std=recipe.head_std)
                nn.init.zeros_(self.linear.bias)

    def forward(self, clips: Tensor, scale_BD: Tensor | None = None) -> Tensor:
        """Logits float32 (B, C) of one view (B, 3, T, H, W); features are multiplied by `scale_BD` (dropout)."""
        h_BD = self.backbone(clips).mean(dim=(2, 3, 4))
        return self.linear(h_BD if scale_BD is None else h_BD * scale_BD).float()
