"""The teacher: a slow copy of a network, whose embeddings are the targets of the network."""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unreel.models.fsdp import to_local_shard


class Teacher(nn.Module):
    """A frozen copy of `student`, an exponential moving average of its weights with `momentum`.

    `norm_mode` chooses the statistics of its batch norm: "running", the moving average of those of the student (always
    in evaluation mode), or "batch", those of its own batch.
    Source: Tarvainen, Valpola 2017 (average of weights); Grill et al. 2020 (BYOL) for "batch"; Cai et al. 2021 (EMAN)
    for "running". Without `warm_up` the momentum is the same from the first update on (He et al. 2020, MoCo).

    >>> student = nn.Linear(2, 1, bias=False)
    >>> teacher = Teacher(student, momentum=0.9, norm_mode="running")
    >>> _ = nn.init.ones_(student.weight)
    >>> teacher.update(student)  # the first update copies the student
    >>> teacher(torch.ones(1, 2))
    tensor([[2.]])
    """

    updates: Tensor

    def __init__(
        self, student: nn.Module, momentum: float, norm_mode: Literal["running", "batch"], warm_up: bool = True
    ) -> None:
        super().__init__()
        self.momentum, self.norm_mode, self.warm_up = momentum, norm_mode, warm_up
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("updates", torch.tensor(0))
        self.train()

    def train(self, mode: bool = True) -> "Teacher":
        """Only a teacher with batch statistics follows the training mode of its parent."""
        super().train(mode)
        self.network.train(mode and self.norm_mode == "batch")
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """The output of the copy, without gradient."""
        return self.network(*inputs)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Weights and statistics <- m old + (1 - m) new, m = min(momentum, 1 - 1 / (updates + 1)); counts are copied.

        At first m is small, so that the teacher is the mean of the students so far and forgets its random start.
        Source: Tarvainen, Valpola 2017, release (CuriousAI/mean-teacher).
        """
        teacher_tensors = [*self.network.parameters(), *self.network.buffers()]
        student_tensors = [*student.parameters(), *student.buffers()]
        for old, new in zip(map(to_local_shard, teacher_tensors), map(to_local_shard, student_tensors), strict=True):
            if old.is_floating_point():
                share = (1 / (self.updates + 1).to(old.dtype)).clamp(
                    min=1 - self.momentum
                )  # without waiting for the device
                old.lerp_(new.to(old.dtype), share if self.warm_up else 1 - self.momentum)
            else:
                old.copy_(new)
        self.updates += 1
