"""An encoder: a backbone with the clip and views that it was trained for; frames in, features out."""

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.encoder.inference import (
    InferenceNetwork,
    can_fold,
    can_share_stem,
    fold_batch_norms,
    read_versions,
)
from unreel.models.encoder.spec import APPEARANCE, EncoderSpec
from unreel.models.frozen.frozen_model import FrozenModel
from unreel.models.heads import HeadDict
from unreel.models.registry import build_backbone
from unreel.views.inference_views import crop_frames, make_inference_views

FEATURE_LAYERS = ("pooled", "conv5", "map")


class Encoder(nn.Module):
    """A backbone with its clip length, rate and views.

    >>> from unreel.video.sampling.clip_spec import ClipSpec
    >>> from unreel.views.view_spec import ViewSpec
    >>> encoder = Encoder(EncoderSpec("tiny", clip=ClipSpec(num_frames=8), views=ViewSpec(("rgb",), size=64)))
    >>> frames = torch.zeros(2, 8, *encoder.spec.views.resize_hw, 3, dtype=torch.uint8)
    >>> encoder.extract_features(frames)["rgb"].shape
    torch.Size([2, 128])
    """

    def __init__(self, spec: EncoderSpec, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone if backbone is not None else build_backbone(spec.backbone, **spec.options)
        known = getattr(self.backbone, "rebuild_options", {})  # of an external network, so that a checkpoint suffices
        self.spec = dataclasses.replace(spec, options=spec.options | known)
        self.heads = HeadDict(spec.heads) if spec.heads else None
        self.appearance: FrozenModel | None = None  # see appearance.py
        self._folded: tuple[InferenceNetwork, ...] = ()  # none or one; a tuple, so that it is no part of the state

    def forward(self, frames: Tensor) -> Tensor:
        """Rows (B, D) of uint8 clips (B, lead_in + T, H, W, C), as `embed` makes them, of unit length: the pooled
        features of each view, side by side with equal weight. Gradients reach the network; its mode is left alone.
        """
        device = next(self.backbone.parameters()).device
        views = make_inference_views(frames.to(device), self.spec.views, 1)
        parts = [F.normalize(pool_layer(self.backbone(view), "pooled")) for view in views.values()]
        return torch.cat(parts, dim=1) / len(parts) ** 0.5

    def extract_features(self, frames: Tensor, layer: str = "pooled") -> dict[str, Tensor]:
        """Features (B, D) of each view of uint8 clips (B, lead_in + T, H, W, C); batch norm as at the end of training.

        `pooled` is the global average of the last map, `conv5` the map max-pooled by (1, 2, 2) and flattened
        (9216 numbers for the paper's networks), `map` the whole map, flattened. Source: BestJuly/IIC, retrieval script.
        """
        return self.extract_layers(frames, (layer,))[layer]

    @torch.inference_mode()
    def extract_layers(self, frames: Tensor, layers: Sequence[str], num_crops: int = 1) -> dict[str, dict[str, Tensor]]:
        """Several layers from one call of the network: layer to view to features (B * num_crops, D).

        The crops of a clip, evenly spread along the longer side of the frame, are consecutive rows.
        """
        device = next(self.backbone.parameters()).device
        if self.backbone.training:  # walking through all modules takes as long as the sums of a clip
            self.backbone.eval()
            self._folded = ()
        maps = self._compute_maps(frames.to(device), num_crops)
        return {layer: {name: pool_layer(m, layer) for name, m in maps.items()} for layer in layers}

    def _compute_maps(self, frames: Tensor, num_crops: int) -> dict[str, Tensor]:
        """The last map of each view; on a CPU from one call: with few clips, a call costs as much as its sums."""
        folded = self._fold_backbone()
        if folded is not None and can_share_stem(folded.network, self.spec.views):
            return folded.compute_maps(crop_frames(frames, self.spec.views.size, num_crops), self.spec.views)
        views = make_inference_views(frames, self.spec.views, num_crops)
        network = self.backbone if folded is None else folded.network
        if len(views) == 1 or frames.device.type != "cpu":
            return {name: network(view) for name, view in views.items()}
        maps = network(torch.cat(list(views.values())))
        return dict(zip(views, maps.chunk(len(views)), strict=True))

    def _fold_backbone(self) -> InferenceNetwork | None:
        """The backbone with batch norm folded, made anew when its weights have changed; None where it is not folded."""
        versions = read_versions(self.backbone)
        if not self._folded or self._folded[0].versions != versions:
            network = self.backbone
            self._folded = (InferenceNetwork(fold_batch_norms(network), versions),) if can_fold(network) else ()
        return self._folded[0] if self._folded else None

    @torch.inference_mode()
    def extract_parts(self, frames: Tensor) -> dict[str, Tensor]:
        """The parts of a row of an index, named by `EncoderSpec.part_names`: the pooled features of each view, or the
        output of each head, averaged over views; then those of the frozen image model, if there is one."""
        parts = self.extract_features(frames)
        if self.heads is not None:
            outputs = [self.heads(features_BD) for features_BD in parts.values()]
            parts = {name: torch.stack([output[name] for output in outputs]).mean(dim=0) for name in self.heads}
        return parts if self.appearance is None else parts | {APPEARANCE: self.appearance.extract_features(frames)}


def pool_layer(map_BDTHW: Tensor, layer: str) -> Tensor:
    """The last feature map as vectors (B, D); see `Encoder.extract_features`."""
    if layer == "pooled":
        return map_BDTHW.mean(dim=(2, 3, 4))
    if layer == "conv5":
        height, width = map_BDTHW.shape[3:]
        return F.max_pool3d(map_BDTHW, (1, min(2, height), min(2, width))).flatten(1)
    if layer == "map":
        return map_BDTHW.flatten(1)
    raise InputError(f"unknown layer '{layer}'. Known: {', '.join(FEATURE_LAYERS)}")
