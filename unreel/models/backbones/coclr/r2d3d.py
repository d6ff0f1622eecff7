"""R2D3D: a ResNet whose first two stages see frames alone, and whose last two see time, as in DPC and MemDPC.

    clip 3x16x112x112 -> stem 64x16x56x56 -> max 1x3x3 -> 64x16x28x28 -> 128x16x14x14 -> 256x8x7x7 -> 256x4x4x4

The last stage is as wide as the one before, and its last block ends without ReLU, so features are of either sign.
DualVar's `r2d3d18` has only blocks that see frames alone, and its `r50` can't run, since a shortcut halves time where
the block does not; CoCLR's `r2d3d50` is CVRL's network, here `r3d50`, with the same numbers of weights.
Source: Han, Xie, Zisserman 2019 (DPC), TengdaHan/DPC, resnet_2d3d.py.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from unreel.models.backbones.r3d import Triple, build_conv3d, build_flat_conv3d, build_shortcut, init_he_normal

WIDTHS, SPANS_TIME = (64, 128, 256, 256), (False, False, True, True)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or three of which the middle one is 3x3 and the last four times as wide; ReLU at the end
    unless `final_relu` is off. With `spans_time`, 3x3 is 3x3x3 and the stride is that of time too."""

    def __init__(self, num_in: int, width: int, stride: int, spans_time: bool, is_deep: bool) -> None:
        super().__init__()
        depth = 3 if spans_time else 1
        kernel, strides, once = (depth, 3, 3), (stride if spans_time else 1, stride, stride), (1, 1, 1)
        self.final_relu, self.relu = True, nn.ReLU(inplace=True)
        plan: list[tuple[int, int, Triple, Triple]] = [(num_in, width, kernel, strides), (width, width, kernel, once)]
        if is_deep:
            plan = [(num_in, width, once, once), (width, width, kernel, strides), (width, 4 * width, once, once)]
        self.convs = nn.ModuleList([build_flat_conv3d(*row) for row in plan])
        self.norms = nn.ModuleList([nn.BatchNorm3d(row[1]) for row in plan])
        self.num_out = plan[-1][1]
        self.shortcut = build_shortcut(num_in, self.num_out, strides, build_flat_conv3d)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, T, H, W) to (B, num_out, T / stride or T, H / stride, W / stride)."""
        y = x
        for place, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y if place == 0 else self.relu(y)))
        y = y + self.shortcut(x)
        return self.relu(y) if self.final_relu else y


class R2D3D(nn.Module):
    """Stem, max-pool and four stages. Initialisation: He-normal by fan-out, batch norm at 1 and 0."""

    def __init__(self, depths: Sequence[int], is_deep: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        stem = build_conv3d(in_channels, 64, (1, 7, 7), (1, 2, 2))
        pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1))
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(64), nn.ReLU(inplace=True), pool)
        num_in, stages = 64, []
        for place, (depth, width, spans_time) in enumerate(zip(depths, WIDTHS, SPANS_TIME, strict=True)):
            blocks = []
            for number in range(depth):
                stride = 2 if place > 0 and number == 0 else 1
                blocks.append(ResidualBlock(num_in, width, stride, spans_time, is_deep))
                num_in = blocks[-1].num_out
            stages.append(nn.Sequential(*blocks))
        blocks[-1].final_relu = False
        self.stages, self.num_features = nn.Sequential(*stages), num_in
        init_he_normal(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) to the last map (B, num_features, T / 4, H / 32, W / 32), not pooled."""
        return self.stages(self.stem(clips))
