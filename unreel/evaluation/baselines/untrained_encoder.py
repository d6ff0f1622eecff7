"""The baseline of the same network with random weights."""

import dataclasses

import torch

from unreel.models.encoder.encoder import Encoder

UNTRAINED_ENCODER = "untrained encoder"
UNTRAINED_DESCRIPTION = (
    "same network with fresh random weights, all views joined, in eval mode: its batch norm has seen no data, "
    "so running mean 0 and variance 1"
)


def build_untrained_encoder(encoder: Encoder, seed: int = 0) -> Encoder:
    """The same spec with freshly seeded weights, in eval mode, on the same device; torch's own seed does not change."""
    device = next(encoder.backbone.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        untrained = Encoder(dataclasses.replace(encoder.spec, method="untrained"))
    return untrained.to(device).eval()
