"""Optimisers against explicit twins, the rate's drops, and batch norm over several processes."""

import copy
import dataclasses
import math

import pytest
import torch
from methods import Conv, instances
from torch import nn

from unreel.methods.registry import load_method_module, load_preset
from unreel.settings import Settings
from unreel.training.lr_schedule import compute_lr, set_lr
from unreel.training.optimizers import LARS, build_optimizer
from unreel.training.runtime.network_setup import convert_batch_norm

LR, MOMENTUM, DECAY = 0.5, 0.9, 0.1


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()


def length(numbers: list[float]) -> float:
    return math.sqrt(sum(x * x for x in numbers))


def lars_by_hand(
    weight: list[float], grads: list[list[float]], rates: list[float], decay: float, matrix: bool
) -> list[float]:
    """You 2017, algorithm 1, number by number: v <- m v + trust (g + decay w); w <- w - lr v."""
    velocity = [0.0] * len(weight)
    for grad, lr in zip(grads, rates, strict=True):
        change = [g + decay * w for g, w in zip(grad, weight, strict=True)]
        scale = 0.001 * length(weight) / length(change) if matrix and length(weight) and length(change) else 1.0
        velocity = [MOMENTUM * v + scale * c for v, c in zip(velocity, change, strict=True)]
        weight = [w - lr * v for w, v in zip(weight, velocity, strict=True)]
    return weight


@pytest.mark.parametrize("decay_all", [True, False])
def test_lars_number_by_number_over_several_steps(decay_all: bool) -> None:
    net = network()
    settings = Settings(optimizer="lars", lr=LR, momentum=MOMENTUM, weight_decay=DECAY, decay_all=decay_all)
    optimizer = build_optimizer(net, settings)
    assert isinstance(optimizer, LARS)
    before = {n: p.detach().flatten().tolist() for n, p in net.named_parameters()}
    grads: dict[str, list[list[float]]] = {n: [] for n in before}
    rates = [0.5, 0.5, 0.2, 0.1]
    for step, lr in enumerate(rates):
        set_lr(optimizer, lr)
        optimizer.zero_grad()
        clips = torch.randn(5, 3, generator=torch.Generator().manual_seed(step)).double()
        net(clips).square().sum().backward()
        for name, p in net.named_parameters():
            grads[name].append(p.grad.flatten().tolist())
        optimizer.step()
    for name, p in net.named_parameters():
        matrix = p.ndim > 1
        wanted = lars_by_hand(before[name], grads[name], rates, DECAY if matrix or decay_all else 0.0, matrix)
        assert p.detach().flatten().tolist() == pytest.approx(wanted, rel=1e-10, abs=1e-12), name


def test_lars_of_nothing_stays_finite() -> None:
    """Weights of zero, gradients of zero and weights without a gradient: no division by zero, no step where none is."""
    zero, still, idle = (nn.Parameter(w) for w in (torch.zeros(2, 2), torch.ones(2, 2), torch.ones(2, 2)))
    optimizer = LARS([{"params": [zero, still, idle]}], lr=0.1, momentum=0.9)
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    optimizer.step()
    assert torch.allclose(zero, torch.full((2, 2), -0.1))
    assert torch.equal(still, torch.ones(2, 2)) and torch.equal(idle, torch.ones(2, 2))


def test_lars_goes_on_where_its_state_was_saved() -> None:
    nets = [network(), network()]
    optimizers = [LARS([{"params": list(net.parameters())}], lr=0.1, momentum=0.9) for net in nets]

    def step(k: int) -> None:
        optimizers[k].zero_grad()
        nets[k](torch.ones(4, 3).double() * torch.arange(4)[:, None]).square().sum().backward()
        optimizers[k].step()

    step(0)
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    step(0)
    step(1)
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_without_decay_all_only_matrices_decay(optimizer: str) -> None:
    net = network()
    net[3].bias.requires_grad_(False)
    both = Settings(optimizer=optimizer, weight_decay=DECAY)
    (everything,) = build_optimizer(net, both).param_groups
    assert len(everything["params"]) == 5 and everything["weight_decay"] == DECAY
    few = Settings(optimizer=optimizer, weight_decay=DECAY, decay_all=False)
    matrices, vectors = build_optimizer(net, few).param_groups
    assert [id(p) for p in matrices["params"]] == [id(net[0].weight), id(net[3].weight)]
    assert [id(p) for p in vectors["params"]] == [id(net[0].bias), id(net[1].weight), id(net[1].bias)]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (DECAY, 0)


def test_a_network_without_vectors_has_one_group() -> None:
    (group,) = build_optimizer(nn.Linear(2, 2, bias=False), Settings(decay_all=False)).param_groups
    assert group["weight_decay"] == Settings().weight_decay


@pytest.mark.parametrize("factor", [0.1, 0.5])
@pytest.mark.parametrize("drops", [(), (0.25,), (0.6, 0.8), (0.5, 0.5)])
def test_drops_and_their_factor(drops: tuple[float, ...], factor: float) -> None:
    settings = Settings(lr=2.0, drops=drops, drop_factor=factor)
    for step in range(200):
        passed = sum(1 for drop in drops if step >= round(200 * drop))
        assert compute_lr(step, 200, settings) == pytest.approx(2.0 * factor**passed, rel=1e-12)


# --- batch norm over several processes


@pytest.mark.parametrize("preset", ["cvrl", "moco", "byol"])
def test_batch_norm_is_synchronised_in_place(preset: str) -> None:
    """The encoder and the optimiser hold parts of the method, so these must remain the same objects."""
    backbone, (config, settings) = Conv(), load_preset(preset)
    method = load_method_module(preset).Method(backbone, instances(), config, 0)
    plain = [n for n, m in method.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm3d)]
    weights, state = {n: id(p) for n, p in method.named_parameters()}, method.state_dict()
    found = convert_batch_norm(method, dataclasses.replace(settings, device="cuda"), world_size=2)
    assert found is method and method.backbone is backbone
    assert [n for n, m in method.named_modules() if isinstance(m, nn.SyncBatchNorm)] == plain
    assert isinstance(backbone.norm, nn.SyncBatchNorm)
    assert {n: id(p) for n, p in method.named_parameters()} == weights
    assert list(method.state_dict()) == list(state)
    assert all(torch.equal(state[n], t) for n, t in method.state_dict().items())
    for module in method.train().modules():
        if getattr(module, "norm", None) == "running":  # a teacher that goes by running statistics still does
            assert not any(m.training for m in module.network.modules())


@pytest.mark.parametrize(("world", "wanted", "device"), [(1, True, "cuda"), (2, False, "cuda"), (2, True, "cpu")])
def test_batch_norm_is_left_alone(world: int, wanted: bool, device: str) -> None:
    method = network()
    found = convert_batch_norm(method, Settings(sync_batch_norm=wanted, device=device), world)
    assert found is method and not any(isinstance(m, nn.SyncBatchNorm) for m in method.modules())
