"""Tiny models of transformers on disk, with random weights."""

from pathlib import Path

import pytest
import torch


def save_image_model(folder: Path, seed: int = 0) -> Path:
    """A ResNet of two blocks for pictures of 32 x 32; skips the test without transformers."""
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
        model = transformers.ResNetModel(config).eval()
        for parameter in model.parameters():  # no zeros and ones, so that every weight matters
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def save_video_model(folder: Path) -> Path:
    """A VideoMAE for clips of 8 frames of 32 x 32; skips the test without transformers."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.VideoMAEConfig(**sizes, image_size=32, patch_size=8, num_frames=8, tubelet_size=2)
    transformers.VideoMAEModel(config).save_pretrained(folder)
    return folder
