"""An encoder as a file of torch.export, which PyTorch runs without unreel."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unreel.model_export.clip_description import INPUT
from unreel.model_export.graph import EncoderGraph
from unreel.model_export.parity import RunModel


def write_torch_export(graph: EncoderGraph, clips: Tensor, path: Path) -> None:
    """Export a graph whose batch may have any size."""
    shapes = {INPUT: {0: torch.export.Dim("batch", min=1)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(graph, (clips[:2],), dynamic_shapes=shapes)
        torch.export.save(program, path)


def load_torch_export(path: Path) -> RunModel:
    """The file as a function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(path).module()

    def run(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            features, embedding = module(torch.from_numpy(frames))
        return features.numpy(), embedding.numpy()

    return run
