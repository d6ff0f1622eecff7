"""The slow copy of a network, and the heads."""

import copy

import pytest
import torch
from torch import Tensor, nn

from unreel.models.heads import MLP
from unreel.models.teacher import Teacher


def student(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    net(clips(seed))  # statistics that are not those of the start
    return net


def clips(seed: int) -> Tensor:
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 1


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.99])
def test_updates_against_a_loop(momentum: float) -> None:
    teacher = Teacher(student(9), momentum, "running")
    twin = {n: x.clone() for n, x in student(9).state_dict().items()}
    for step in range(4):
        new = student(step)
        teacher.update(new)
        m = min(momentum, 1 - 1 / (step + 1))
        for name, value in new.state_dict().items():
            twin[name] = m * twin[name] + (1 - m) * value if value.is_floating_point() else value.clone()
        for name, value in teacher.network.state_dict().items():
            torch.testing.assert_close(value, twin[name], rtol=1e-12, atol=1e-14)
    assert int(teacher.updates) == 4


def test_at_first_the_teacher_is_the_mean_of_the_students() -> None:
    teacher, seen = Teacher(student(9), 0.999, "running"), [student(k) for k in range(5)]
    for net in seen:
        teacher.update(net)
    mean = torch.stack([net[0].weight for net in seen]).mean(dim=0)
    torch.testing.assert_close(teacher.network[0].weight, mean, check_stride=False)


def test_the_teacher_is_a_copy_that_nobody_trains() -> None:
    net = student()
    teacher, before = Teacher(net, 0.9, "batch"), net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight.add_(1)
    assert torch.equal(teacher.network[0].weight, before)
    assert all(not p.requires_grad for p in teacher.parameters()) and all(p.requires_grad for p in net.parameters())
    assert not {id(m) for m in teacher.modules()} & {id(m) for m in net.modules()}
    teacher.update(net)
    assert all(not p.requires_grad for p in teacher.parameters())
    assert not teacher(clips(0).requires_grad_()).requires_grad


def test_a_running_teacher_goes_by_running_statistics_whatever_its_parent_does() -> None:
    net = student()
    parent = nn.ModuleList([Teacher(net, 0.9, "running")])
    expected = copy.deepcopy(net).eval()(clips(5))
    for switch in (lambda: None, lambda: parent.train(), lambda: parent.eval(), lambda: parent.train().train()):
        switch()
        before = parent[0].network[1].running_mean.clone()
        assert torch.equal(parent[0](clips(5)), expected) and not parent[0].network.training
        assert torch.equal(before, parent[0].network[1].running_mean)


def test_a_batch_teacher_goes_by_its_batch() -> None:
    net = student()
    parent = nn.ModuleList([Teacher(net, 0.9, "batch")])
    expected = copy.deepcopy(net).train()(clips(5))
    assert torch.equal(parent[0](clips(5)), expected)
    parent.eval()
    assert not parent[0].network.training
    parent.train()
    assert parent[0].network.training


@pytest.mark.parametrize("norm", ["running", "batch"])
def test_teachers_stay_in_step_after_a_round_trip(norm: str) -> None:
    teacher, other = Teacher(student(1), 0.9, norm), Teacher(student(2), 0.9, norm)
    for step in range(3):
        teacher.update(student(step))
        teacher(clips(step))
    other.load_state_dict(teacher.state_dict())
    for one in (teacher, other):
        one.update(student(7))
        one(clips(7))
    assert all(torch.equal(x, other.state_dict()[n]) for n, x in teacher.state_dict().items())
    assert int(other.updates) == 4


def test_head_layer_by_layer() -> None:
    head, x = MLP(3, 5, 2), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    first, last = head.layers[0], head.layers[2]
    hidden = (x @ first.weight.T + first.bias).clamp(min=0)
    torch.testing.assert_close(head(x), hidden @ last.weight.T + last.bias)


@pytest.mark.parametrize(("layers", "norm", "kinds"), [
    (1, False, "Linear"),
    (1, True, "Linear"),
    (2, False, "Linear ReLU Linear"),
    (3, False, "Linear ReLU Linear ReLU Linear"),
    (3, True, "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear"),
])  # fmt: skip
def test_layers_of_a_head(layers: int, norm: bool, kinds: str) -> None:
    head = MLP(6, 5, 4, layers, norm)
    assert [type(m).__name__ for m in head.layers] == kinds.split()
    assert head(torch.randn(2, 6)).shape == (2, 4)
    assert all(m.bias is not None for m in head.layers if isinstance(m, nn.Linear))


def test_the_default_head_is_that_of_moco() -> None:
    assert sum(p.numel() for p in MLP(512).parameters()) == 512 * 512 + 512 + 512 * 128 + 128


def test_without_warm_up_the_momentum_is_the_same_from_the_first_update_on() -> None:
    student = nn.Linear(2, 1, bias=False)
    teacher = Teacher(student, 0.9, "batch", warm_up=False)
    expected = student.weight.detach().clone()
    for k in range(3):
        with torch.no_grad():
            student.weight.fill_(float(k))
        teacher.update(student)
        expected = 0.9 * expected + 0.1 * k
        torch.testing.assert_close(teacher.network.weight.detach(), expected)
