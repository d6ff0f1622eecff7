"""What a step of each method costs, counted: calls of the network, and clips that pass it."""

import dataclasses

import pytest
import torch

from unreel.methods.registry import find_methods, load_method_module, load_preset
from unreel.models.registry import build_backbone
from unreel.types import Clips, Instance

B = 4
# Calls with gradient, calls without (teacher or memory), clips of an instance with gradient, without.
WORK = {
    "motion": (1, 0, 2, 0),
    "trio": (1, 0, 3, 0),
    "iic": (1, 0, 3, 0),
    "iic-paper": (2, 1, 2, 1),  # each view alone, as released; the broken clips only refresh memory
    "iic-v2": (2, 1, 2, 1),
    "cmc": (2, 0, 2, 0),
    "cvrl": (1, 0, 2, 0),
    "cvrl-paper": (1, 0, 2, 0),
    "cvrl-paper-200": (1, 0, 2, 0),
    "dual": (1, 0, 4, 0),
    "dual-moco": (1, 1, 3, 1),
    "dual-paper": (2, 0, 4, 0),  # the shuffled clip apart, as released
    "dual-moco-paper": (2, 1, 3, 1),
    "simclr": (1, 0, 2, 0),
    "simclr-frames": (1, 0, 2, 0),
    "moco": (1, 1, 1, 1),
    "moco-v3": (1, 2, 2, 2),
    "byol": (1, 1, 2, 2),
    "vicreg": (1, 0, 2, 0),
}


def test_every_preset_is_counted() -> None:
    assert set(WORK) == set(find_methods())


@pytest.mark.parametrize("preset", sorted(WORK))
def test_all_views_share_one_pass_where_arithmetic_allows(preset: str) -> None:
    config, _ = load_preset(preset)
    if getattr(config, "queue_size", 0):
        config = dataclasses.replace(config, queue_size=2 * B)
    spec = config.view_spec(32)
    recipe = config.recipe(spec, 0)
    instances = [Instance(f"v{i}.mp4", i, 0.0, 10.0) for i in range(9)]
    method = load_method_module(preset).Method(build_backbone("tiny"), instances, config, 0)
    calls: list[tuple[int, bool]] = []
    for name, module in method.named_modules():
        if name.split(".")[-1] == "backbone":
            module.register_forward_hook(lambda _m, given, _out: calls.append((len(given[0]), torch.is_grad_enabled())))
    frames = torch.zeros(B, recipe.num_clips, 4 + spec.lead_in, *spec.resize_hw, 3, dtype=torch.uint8)
    index = torch.arange(B)
    method(recipe(Clips(frames, index, index, torch.zeros(B).double(), epoch=0)))
    passes = [[n for n, grad in calls if grad is wanted] for wanted in (True, False)]
    counted = (len(passes[0]), len(passes[1]), sum(passes[0]) // B, sum(passes[1]) // B)
    assert counted == WORK[preset]
