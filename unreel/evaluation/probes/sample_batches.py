"""Batches of samples for probes that are trained by gradient steps."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unreel.video.sampling.batch_sampler import permute_epoch

WARMUP = 0.05  # share of the steps in which the learning rate rises


class SampleBatches(NamedTuple):
    """Batches of about equal size that cover all samples, in an order that is a function of seed and epoch."""

    batch_size: int
    seed: int

    def count_batches(self, num_samples: int) -> int:
        """Batches of one epoch, each of at most `batch_size` samples."""
        return math.ceil(num_samples / self.batch_size)

    def iterate_batches(self, num_samples: int, num_epochs: int) -> Iterator[Tensor]:
        """Rows of each batch, int64, epoch after epoch."""
        for epoch in range(num_epochs):
            order = torch.from_numpy(permute_epoch(self.seed, epoch, num_samples))
            yield from order.tensor_split(self.count_batches(num_samples))
