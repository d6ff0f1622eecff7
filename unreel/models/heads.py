"""Heads between a backbone's pooled features and a loss; dropped after training."""

from torch import Tensor, nn


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU (and batch norm before it) between them; not normalised, the loss does that.

    Source: Chen et al. 2020 (SimCLR; MoCo v2), without batch norm; Grill et al. 2020 (BYOL), with it. IICv2 uses
    512 -> 512 -> 128, METHODS 2. Initialisation: PyTorch's.
    """

    def __init__(
        self, num_in: int, num_hidden: int = 512, num_out: int = 128, num_layers: int = 2, batch_norm: bool = False
    ) -> None:
        super().__init__()
        assert num_layers >= 1, num_layers
        layers: list[nn.Module] = []
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(num_in, num_hidden))
            layers += [nn.BatchNorm1d(num_hidden)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            num_in = num_hidden
        self.layers = nn.Sequential(*layers, nn.Linear(num_in, num_out))

    def forward(self, features_BD: Tensor) -> Tensor:
        """(B, num_in) to (B, num_out)."""
        return self.layers(features_BD)
