"""Heads between a backbone's pooled features and a loss; dropped after training."""

from torch import Tensor, nn


class ProjectionMLP(nn.Module):
    """Linear-ReLU-Linear; not normalised, the loss does that.

    Source: Chen et al. 2020 (MoCo v2); IICv2 uses 512 -> 512 -> 128, METHODS 2. Initialisation: PyTorch's.
    """

    def __init__(self, num_in: int, num_hidden: int = 512, num_out: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(num_in, num_hidden), nn.ReLU(inplace=True), nn.Linear(num_hidden, num_out)
        )

    def forward(self, features_BD: Tensor) -> Tensor:
        """(B, num_in) to (B, num_out)."""
        return self.layers(features_BD)
