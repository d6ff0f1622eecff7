"""C3D with batch norm: eight plain 3x3x3 convolutions and four max-pools.

    clip 3x16x112x112 -> 64 | pool 1,2,2 | 128 | pool 2 | 256,256 | pool 2 | 512,512 | pool 2 | 512,512 -> 512x2x7x7

Source: Tran et al. 2015, with the batch norm of Tao, Wang, Yamasaki 2020 (IIC). 27.66144 M parameters.
"""

from torch import Tensor, nn

LAYER_PLAN = (64, (1, 2, 2), 128, (2, 2, 2), 256, 256, (2, 2, 2), 512, 512, (2, 2, 2), 512, 512)


class C3D(nn.Module):
    """Convolutions keep their bias, as in the released network. Initialisation: PyTorch's own, as released."""

    num_features = 512

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        num_in = in_channels
        for step in LAYER_PLAN:
            if isinstance(step, tuple):
                layers.append(nn.MaxPool3d(step))
            else:
                layers += [nn.Conv3d(num_in, step, 3, padding=1), nn.BatchNorm3d(step), nn.ReLU(inplace=True)]
                num_in = step
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to the last map (B, 512, T / 8, H / 16, W / 16), not pooled."""
        return self.layers(clips)


def build(in_channels: int = 3) -> nn.Module:
    """C3D: 512 features, 27.66144 M parameters."""
    return C3D(in_channels)
