"""Backbones: the papers' parameter counts and maps, gradients everywhere, and names found by file."""

import subprocess
import sys

import pytest
import torch

from unreel.errors import InputError
from unreel.models import BACKBONES, build_backbone
from unreel.models.heads import ProjectionMLP
from unreel.models.r21d import mid_width

# METHODS 7; resnet18_3d is torchvision's published 33,371,472 for r3d_18 less its fc of 512 x 400 + 400.
PARAMETERS = {"c3d": 27_661_440, "r3d": 14_361_792, "r21d": 14_365_303, "resnet18_3d": 33_371_472 - 205_200}
PARAMETERS["tiny"] = 315_600


def on_meta(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_backbone(name)


def test_the_five_are_found_by_their_files() -> None:
    assert set(BACKBONES) == set(PARAMETERS)


@pytest.mark.parametrize("name", BACKBONES)
def test_parameter_count(name: str) -> None:
    assert sum(p.numel() for p in on_meta(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["c3d", "r3d", "r21d", "resnet18_3d"])
def test_map_of_a_paper_clip(name: str) -> None:
    network = on_meta(name)
    assert network(torch.empty(1, 3, 16, 112, 112, device="meta")).shape == (1, 512, 2, 7, 7)
    assert network.num_features == 512


def test_map_of_tiny_keeps_time() -> None:
    network = on_meta("tiny")
    assert network(torch.empty(1, 3, 16, 64, 64, device="meta")).shape == (1, 128, 4, 4, 4)
    assert network(torch.empty(1, 3, 8, 64, 64, device="meta")).shape == (1, 128, 2, 4, 4)


def test_widths_between_the_factors() -> None:
    """METHODS 1.3, the released R(2+1)D's table."""
    assert mid_width(3, 64, (3, 7, 7)) == 83
    assert [mid_width(i, o, (3, 3, 3)) for i, o in ((64, 64), (64, 128), (128, 128), (256, 512))] == [
        144,
        230,
        288,
        921,
    ]
    assert [mid_width(i, 2 * i, (1, 1, 1)) for i in (64, 128, 256)] == [42, 85, 170]


@pytest.mark.parametrize("name", BACKBONES)
def test_every_weight_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network = build_backbone(name)
    features = network(torch.rand(2, 3, 8, 32, 32)).mean(dim=(2, 3, 4))
    assert features.shape == (2, network.num_features)
    (features * torch.randn_like(features)).sum().backward()
    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name
        # a bias in front of batch norm is cancelled by it: its gradient is there, but is rounding
        assert weight.grad.abs().sum() > 0, weight_name


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_sees_motion(name: str) -> None:
    """Turned-round time gives another pooled feature, so temporal kernels are at work."""
    torch.manual_seed(0)
    network = build_backbone(name).eval()
    clips = torch.rand(1, 3, 8, 32, 32)
    with torch.no_grad():
        forward, backward = (network(c).mean(dim=(2, 3, 4)) for c in (clips, clips.flip(2)))
    assert (forward - backward).norm() > 1e-3 * forward.norm()


def test_same_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_backbone("tiny").state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown backbone 'r3'. Did you mean 'r3d'\? Known: c3d, r21d, r3d"):
        build_backbone("r3")


def test_unknown_option_and_bad_module_are_readable() -> None:
    with pytest.raises(InputError, match=r"in_channels.*depth"):
        build_backbone("r3d", depth=3)
    for name in ("no_such.module", "unreel.models.tiny", "os"):  # a checkpoint may name anything: nothing is imported
        with pytest.raises(InputError, match=f"unknown backbone '{name}'"):
            build_backbone(name)


def test_importing_models_is_light() -> None:
    code = (
        "import sys, unreel.models as m; assert m.BACKBONES; print([n for n in sys.modules if n.startswith('unreel.')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(out)) == {"unreel.models", "unreel.errors"}


def test_projection_is_two_linears_with_a_relu() -> None:
    torch.manual_seed(0)
    head = ProjectionMLP(6, 5, 4)
    first, _, second = head.layers
    x = torch.randn(3, 6)
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    assert torch.allclose(head(x), expected, atol=1e-6)
    assert sum(p.numel() for p in ProjectionMLP(512).parameters()) == 512 * 512 + 512 + 512 * 128 + 128
