"""The order in which instances are visited: a permutation for each epoch, cut into batches; resumable at any step."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from unreel.seeding import make_generator


def permute_epoch(seed: int, epoch: int, num_instances: int, together: int = 1) -> np.ndarray:
    """A permutation of the instances for this epoch, int64 (num_instances,); so many neighbours stay side by side.

    Instances beyond the last full group come last.
    """
    groups = make_generator(seed, epoch, 0, "order").permutation(num_instances // together)
    members = (groups[:, None] * together + np.arange(together)).ravel()
    return np.concatenate([members, np.arange(len(members), num_instances)])


def steps_per_epoch(num_instances: int, batch_size: int) -> int:
    """Number of full batches in an epoch; 1 when there are fewer instances than a batch holds."""
    return max(1, num_instances // batch_size)


class BatchOrder(Protocol):
    """The (epoch, index) pairs of each batch, and the same order without its first batches."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[tuple[int, int]]]: ...

    def skip_steps(self, num_steps: int) -> "BatchOrder": ...


class ResumableBatchSampler:
    """Batches of (epoch, index) from `start_step` to `stop_step`, the same for any number of workers.

    With several processes, `shard` is (rank, number of processes): each takes its share of the same global batch.
    `together` neighbours stay side by side in the order.

    >>> list(ResumableBatchSampler(5, batch_size=2, seed=0, start_step=0, stop_step=2))
    [[(0, 0), (0, 1)], [(0, 2), (0, 4)]]
    """

    def __init__(
        self,
        num_instances: int,
        batch_size: int,
        seed: int,
        start_step: int,
        stop_step: int,
        shard: tuple[int, int] = (0, 1),
        together: int = 1,
    ) -> None:
        self.num_instances, self.batch_size, self.seed, self.together = num_instances, batch_size, seed, together
        self.start_step, self.stop_step, (self.shard_index, self.num_shards) = start_step, stop_step, shard

    def skip_steps(self, num_steps: int) -> "ResumableBatchSampler":
        """The same sampler without its first steps."""
        shard = (self.shard_index, self.num_shards)
        return ResumableBatchSampler(
            self.num_instances,
            self.batch_size,
            self.seed,
            self.start_step + num_steps,
            self.stop_step,
            shard,
            self.together,
        )

    def __len__(self) -> int:
        return self.stop_step - self.start_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = steps_per_epoch(self.num_instances, self.batch_size)
        share = min(self.batch_size, self.num_instances) // self.num_shards
        order, order_epoch = np.empty(0, dtype=np.int64), -1
        for step in range(self.start_step, self.stop_step):
            epoch, k = divmod(step, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = permute_epoch(self.seed, epoch, self.num_instances, self.together), epoch
            first = k * self.batch_size + self.shard_index * share
            yield [(epoch, int(i)) for i in order[first : first + share]]
