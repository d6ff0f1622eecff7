"""A batch in parts: losses and gradients of the whole one, activations of a part, statistics once."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from methods import Conv, job
from torch import Tensor, nn

from unreel.methods.registry import find_methods
from unreel.models.pooling import pool_features
from unreel.settings import Settings
from unreel.training.runtime.network_setup import set_clips_at_once


def one_step(preset: str, at_once: int) -> dict[str, Any]:
    """Loss and gradients in float64, batch norm in use by its running statistics."""
    method, recipe, clips = job(preset, Conv, num_frames=4)
    method.double().eval()
    set_clips_at_once(method, dataclasses.replace(Settings(), clips_at_once=at_once))
    views = recipe(clips)
    views.tensors = {name: tensor.double() for name, tensor in views.tensors.items()}
    output = method(views)
    output.loss.backward()
    return {"loss": output.loss.detach()} | {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("preset", sorted(find_methods()))
def test_parts_have_the_loss_and_the_gradients_of_the_whole_batch(preset: str) -> None:
    whole, parts = one_step(preset, 0), one_step(preset, 3)
    loose = preset.startswith(("iic", "cmc"))  # compare in float32
    assert whole.keys() == parts.keys() and len(whole) > 2
    for name, wanted in whole.items():
        torch.testing.assert_close(
            parts[name], wanted, rtol=1e-3 if loose else 1e-9, atol=1e-5 if loose else 1e-10, msg=name
        )


class Watched(Conv):
    """Counts the clips of each pass and the activations that are held for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []

    def forward(self, clips: Tensor) -> Tensor:
        self.passes.append(len(clips))
        return super().forward(clips)


def held_bytes(network: nn.Module, clips: Tensor) -> int:
    """Bytes of activations that autograd keeps until the backward pass; the clips themselves apart."""
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        if t.untyped_storage().data_ptr() != clips.untyped_storage().data_ptr():
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        features = pool_features(network, clips)
    features.sum().backward()
    return sum(kept.values())


def test_only_a_part_goes_through_at_a_time_and_little_is_held() -> None:
    clips = torch.randn(10, 3, 4, 16, 16)
    network = Watched()
    whole = held_bytes(network, clips)
    network.clips_at_once = 4
    assert held_bytes(network, clips) < whole / 10
    assert network.passes == [10, 4, 4, 2, 2, 4, 4] or sorted(network.passes) == sorted([10] + 2 * [4, 4, 2])


def test_statistics_count_each_part_once() -> None:
    """What is made again for the backward pass must not change them."""
    clips, network = torch.randn(6, 3, 4, 16, 16), Conv()
    twin = copy.deepcopy(network)
    network.clips_at_once = 2
    pool_features(network, clips).sum().backward()
    for part in clips.split(2):
        pool_features(twin, part)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(network.buffers(), twin.buffers(), strict=True))
    assert network.norm.momentum == 0.1 and int(network.norm.num_batches_tracked) == 3


def test_without_gradients_all_go_at_once() -> None:
    network = Watched()
    network.clips_at_once = 2
    with torch.no_grad():
        pool_features(network, torch.randn(6, 3, 4, 16, 16))
    assert network.passes == [6]
