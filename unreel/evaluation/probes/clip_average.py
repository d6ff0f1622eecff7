"""The mean of a classifier's predictions over the clips of each video."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def average_over_clips(predict: Callable[[np.ndarray], Tensor], clips_QVD: np.ndarray, clips_per_chunk: int) -> Tensor:
    """Mean over the V clips of each of Q videos of what `predict` says of clips (B, D), some clips at a time."""
    _, num_clips, width = clips_QVD.shape
    videos_per_chunk, parts = max(1, clips_per_chunk // num_clips), []
    for start in range(0, len(clips_QVD), videos_per_chunk):
        chunk_QVD = clips_QVD[start : start + videos_per_chunk]
        predicted = predict(chunk_QVD.reshape(-1, width))
        parts.append(predicted.view(len(chunk_QVD), num_clips, *predicted.shape[1:]).mean(dim=1))
    return torch.cat(parts)
