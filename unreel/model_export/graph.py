"""The encoder as one function of decoded frames, for exporters: crop, views, network and pooling are all inside it."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.embedding import VideoEncoder
from unreel.errors import InputError
from unreel.models.backbones.r3d import SpatialConv3d, TemporalConv3d
from unreel.views.inference_views import make_inference_views
from unreel.views.view_spec import VIEWS

FLOW_VIEWS = tuple(name for name in VIEWS if name.startswith("flow"))  # computed by OpenCV, which no graph has


class EncoderGraph(nn.Module):
    """uint8 frames (B, lead_in + T, H, W, 3) of the size that frames are decoded at, to features and embedding (B, D).

    The features of all views stand side by side as they are pooled; the embedding has each view at unit length, and
    unit length itself, as a row per clip of `VideoEncoder.embed`. Raises InputError for an encoder with other parts.
    """

    def __init__(self, encoder: VideoEncoder) -> None:
        super().__init__()
        names = encoder.spec.views.names
        if any(name in FLOW_VIEWS for name in names):
            raise InputError(f"an encoder of the view {names[-1]} can't be exported: its flow is computed by OpenCV")
        if encoder.heads is not None or encoder.appearance is not None:
            raise InputError("an encoder with heads or an image model beside it can't be exported", "name its run")
        self.spec = encoder.spec.views
        self.network = unfold_convolutions(copy.deepcopy(encoder.backbone)).float().cpu().eval()
        self.requires_grad_(False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features and embedding of each clip."""
        views = list(make_inference_views(frames, self.spec).values())
        clips = torch.stack(views, dim=1).flatten(0, 1)  # the views of a clip are consecutive rows
        features_BVD = self.network(clips).mean(dim=(2, 3, 4)).unflatten(0, (-1, len(views)))
        units_BVD = F.normalize(features_BVD, dim=2) / len(views) ** 0.5
        return features_BVD.flatten(1), units_BVD.flatten(1)


def unfold_convolutions(network: nn.Module) -> nn.Module:
    """The network with plain 3D convolutions in place of those that a CPU computes as 2D ones; changes it in place."""
    for name, child in network.named_children():
        if isinstance(child, TemporalConv3d | SpatialConv3d):
            setattr(network, name, to_plain_convolution(child))
        else:
            unfold_convolutions(child)
    return network


def to_plain_convolution(conv: nn.Conv3d) -> nn.Conv3d:
    """A `Conv3d` with the same weights."""
    plain = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=conv.groups,
        bias=conv.bias is not None,
    )
    plain.load_state_dict(conv.state_dict())
    return plain
