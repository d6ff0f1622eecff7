"""A residual network as it is used on a CPU: batch norm folded into its convolutions, and one stem for two views.

Results differ from those of the network itself by rounding alone. Whatever uses an encoder goes through
`Encoder.extract_layers`, and so through here: queries, rows of an index and evaluations agree.
"""

import copy
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from unreel.models.backbones.r3d import BasicBlock, ResNet3D
from unreel.models.memory_layout import move_to_channels_last
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec

SHARING_VIEWS = ["residual", "rgb"]


def fold_batch_norms(network: ResNet3D) -> ResNet3D:
    """A copy, with channels last, whose convolutions do the work of the batch norm in evaluation that follows them.

    >>> network = ResNet3D(widths=(4, 4, 4, 4)).eval()
    >>> clips = torch.rand(1, 3, 8, 16, 16)
    >>> torch.allclose(fold_batch_norms(network)(clips), network(clips), atol=1e-5)
    True
    """
    folded = copy.deepcopy(network).eval()
    for parent in [m for m in folded.modules() if isinstance(m, nn.Sequential | BasicBlock)]:
        children = list(parent.named_children())
        for (_, before), (name, norm) in zip(children, children[1:], strict=False):
            if isinstance(norm, nn.BatchNorm3d):
                fold_into(find_last_conv(before), norm)
                setattr(parent, name, nn.Identity())
    move_to_channels_last(folded)
    return folded


def find_last_conv(module: nn.Module) -> nn.Conv3d:
    """The convolution whose output is that of the module: itself, or the last of a chain."""
    return [m for m in module.modules() if isinstance(m, nn.Conv3d)][-1]


def fold_into(conv: nn.Conv3d, norm: nn.BatchNorm3d) -> None:
    """Scale the weights of a convolution, and give it a bias, as a batch norm would in evaluation."""
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def read_versions(network: nn.Module) -> list[tuple[int, int]]:
    """What changes when a weight or a running statistic does: where it lies, and how often it was written in place."""
    tensors = [*network.parameters(), *network.buffers()]
    return [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]


def can_fold(network: nn.Module) -> TypeGuard[ResNet3D]:
    """Whether the network is one of ours that is folded: a `ResNet3D` of float32 on a CPU, with batch norm's own."""
    weight = next(network.parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    ours = all(type(norm) is nn.BatchNorm3d and norm.running_mean is not None for norm in norms)
    return type(network) is ResNet3D and weight.device.type == "cpu" and weight.dtype == torch.float32 and ours


def can_share_stem(network: ResNet3D, spec: ViewSpec) -> bool:
    """Whether RGB and residual frames can come from one convolution of the frames: both are linear until then."""
    convs, conv = sum(isinstance(m, nn.Conv3d) for m in network.stem.modules()), find_last_conv(network.stem)
    plain = convs == 1 and type(conv) is nn.Conv3d and conv.dilation == (1, 1, 1) and conv.groups == 1
    spans = conv.kernel_size[0] == 3 and conv.stride[0] == 1 and conv.padding[0] == 1
    return plain and spans and sorted(spec.names) == SHARING_VIEWS and spec.lead_in == 1 and not spec.standardize


@dataclass
class InferenceNetwork:
    """The folded copy of a network, for as long as the network stays as it is (`versions`)."""

    network: ResNet3D
    versions: list[tuple[int, int]]
    still_maps: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def compute_maps(self, frames: Tensor, spec: ViewSpec) -> dict[str, Tensor]:
        """The last map of RGB and residual frames of uint8 frames (B, 1 + T, H, W, C), by one stem."""
        stems: Tensor = nn.Sequential(*list(self.network.stem)[1:])(self.convolve_views(frames, spec.residual))
        rgb, residual = self.network.stages(stems).chunk(2)
        maps = {"rgb": rgb, "residual": residual}
        return {name: maps[name] for name in spec.names}

    def convolve_views(self, frames: Tensor, residual: ResidualSpec) -> Tensor:
        """The stem's convolution of both views, RGB first: (2 B, D, T, H', W').

        Each frame is convolved once with the kernel of each of the three moments. Residual frames are differences of
        frames, so their convolution is the difference of convolutions, plus that of "nothing moved" where r is
        rescaled.
        """
        conv, num_clips, (factor, still) = find_last_conv(self.network.stem), len(frames), read_residual(residual)
        kernels = conv.weight.permute(2, 0, 1, 3, 4).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2).float().div_(255)
        padding = int(conv.padding[1]), int(conv.padding[2])
        flat = F.conv2d(pixels, kernels, None, conv.stride[1:], padding)  # (B (1 + T), 3 D, H', W')
        moments = flat.permute(0, 2, 3, 1).unflatten(0, (num_clips, -1)).unflatten(4, (3, -1))
        joint = moments.new_empty((2 * num_clips, moments.shape[1] - 1, *moments.shape[2:]))
        joint[:num_clips] = moments[:, 1:]
        torch.sub(moments[:, 1:], moments[:, :-1], out=joint[num_clips:])
        sums = joint[..., 1, :].clone()  # (2 B, T, H', W', D)
        sums[:, 1:] += joint[:, :-1, ..., 0, :]
        sums[:, :-1] += joint[:, 1:, ..., 2, :]
        sums[:num_clips] += conv.bias
        sums[num_clips:].mul_(factor).add_(self.convolve_still(frames.shape, still))
        return sums.permute(0, 4, 1, 2, 3)

    def convolve_still(self, shape: torch.Size, value: float) -> Tensor:
        """The stem's convolution of one clip whose numbers all have a value, (T, H', W', D); borders are padded."""
        key = (*shape[1:], int(2 * value))
        if key not in self.still_maps:
            clip = torch.full((1, shape[4], shape[1] - 1, *shape[2:4]), value)
            self.still_maps = {key: self.network.stem[0](clip)[0].permute(1, 2, 3, 0).contiguous()}
        return self.still_maps[key]


def read_residual(spec: ResidualSpec) -> tuple[float, float]:
    """Residual frames are factor * (x[t] - x[t - 1]) + still: the two numbers."""
    sign = 1.0 if spec.sign == "forward" else -1.0
    return (sign / 2, 0.5) if spec.rescale else (sign, 0.0)
