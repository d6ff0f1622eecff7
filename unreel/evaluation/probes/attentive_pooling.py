"""A classifier that attends to the tokens of a frozen feature map."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unreel.errors import InputError
from unreel.evaluation.probes.clip_average import average_over_clips

CLIPS_PER_CHUNK = 256  # clips classified at a time


class AttentivePooling(nn.Module):
    """Tokens (B, L, C) to (B, C): one learned query, multi-head cross-attention.

    The key weights are applied to the query once instead of to every token, and values are computed from the averaged
    tokens: the same numbers for a fraction of the work. A bias of the keys would cancel in the softmax.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise InputError(f"{heads} heads do not divide {channels} channels; use {math.gcd(heads, channels)}")
        self.heads, self.head_width = heads, channels // heads
        self.query = nn.Parameter(torch.randn(channels) * channels**-0.5)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens_BLC: Tensor) -> Tensor:
        score_BLH = tokens_BLC @ self._project_query_CH()
        mean_BHC = score_BLH.softmax(dim=1).transpose(1, 2) @ tokens_BLC
        weight_HWC = self.value.weight.view(self.heads, self.head_width, -1)
        value_BC = torch.einsum("bhc,hwc->bhw", mean_BHC, weight_HWC).flatten(1) + self.value.bias
        return self.out(value_BC)

    def _project_query_CH(self) -> Tensor:
        """The query of each head in the space of the tokens: its part of the query times its key weights."""
        query_HW, weight_HWC = self.query.view(self.heads, -1), self.key.weight.view(self.heads, self.head_width, -1)
        return torch.einsum("hw,hwc->ch", query_HW, weight_HWC) / math.sqrt(self.head_width)


class AttentiveProbe(nn.Module):
    """Tokens (B, L, C) to logits; tokens are layer-normalised first, without a gain and bias of their own."""

    def __init__(self, channels: int, heads: int, num_classes: int) -> None:
        super().__init__()
        self.pool = AttentivePooling(channels, heads)
        self.norm = nn.LayerNorm(channels)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, tokens_BLC: Tensor) -> Tensor:
        pooled_BC = self.pool(F.layer_norm(tokens_BLC, tokens_BLC.shape[2:]))
        return self.classifier(self.norm(pooled_BC))


class MapTokenizer:
    """Flattened maps (B, D) to tokens (B, L, C): each view's map is channels first, the views follow one another."""

    def __init__(self, channels: int, view_width: int) -> None:
        """`view_width` is the length of one view's flattened map: D of a row with one view."""
        if channels < 1 or view_width % channels:
            raise InputError(f"maps of dimension {view_width} can't have {channels} channels; give the last layer's")
        self.channels, self.view_width = channels, view_width

    def __call__(self, maps_BD: np.ndarray) -> Tensor:
        x_BD = torch.from_numpy(np.ascontiguousarray(maps_BD, np.float32))
        return x_BD.view(len(x_BD), -1, self.channels, self.view_width // self.channels).transpose(2, 3).flatten(1, 2)


def average_attentive_softmax(probe: AttentiveProbe, test_QVD: np.ndarray, tokenizer: MapTokenizer) -> np.ndarray:
    """Mean of the softmax over the clips of each video, float32 (Q, C)."""
    return average_over_clips(lambda x_BD: probe(tokenizer(x_BD)).softmax(dim=1), test_QVD, CLIPS_PER_CHUNK).numpy()
