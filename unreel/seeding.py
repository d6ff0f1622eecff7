"""Random numbers as functions of (seed, epoch, index, stream), without any state.

So a run is the same for any number of workers, and a resumed run needs only its step number. The name of a stream is
part of its seed: a renamed stream draws other numbers.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def make_generator(seed: int, epoch: int, index: int, stream: str) -> np.random.Generator:
    """A new generator for one purpose (`stream`, e.g. "start", "crop", "negatives") of one instance in one epoch."""
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence([seed, epoch, index, zlib.crc32(stream.encode())]))
    )


def draw_uniforms(seed: int, epoch: int, indices: Sequence[int] | Tensor, stream: str, count: int) -> Tensor:
    """Uniform numbers in [0, 1), float32 (B, count): row b depends only on (seed, epoch, indices[b], stream).

    >>> draw_uniforms(seed=0, epoch=0, indices=[7], stream="crop", count=3)
    tensor([[0.0019, 0.0202, 0.2904]])
    """
    numbers = indices.tolist() if isinstance(indices, Tensor) else [int(i) for i in indices]
    rows = [make_generator(seed, epoch, i, stream).random(count, dtype=np.float32) for i in numbers]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, count)
