"""2D twins: each frame is seen alone."""

import pytest
import torch
from networks import PROBED, with_statistics
from torch import nn

from unreel.models.registry import BACKBONES, build_backbone
from unreel.models.twin_2d import make_2d_conv, make_2d_twin


@pytest.mark.parametrize("name", BACKBONES)
def test_a_twin_sees_each_frame_alone(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(f"{name}-2d")
    clips = torch.empty(1, 3, 5, 64, 64, device="meta")
    assert network(clips).shape[:3] == (1, network.num_features, 5)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.MaxPool3d):
            sizes = (module.kernel_size, module.stride)
            assert all(size[0] == 1 for size in sizes) and module.padding[0] == 0


@pytest.mark.parametrize("name", ["tiny", "s3d"])
def test_frames_of_a_twin_can_be_exchanged(name: str) -> None:
    network = with_statistics(f"{name}-2d")
    clips = torch.rand(1, 3, 4, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(network(clips.flip(2)), network(clips).flip(2), atol=1e-12)


@pytest.mark.parametrize("name", PROBED)
def test_a_networks_own_twin_answers_a_frame_as_it_does_a_repeated_one(name: str) -> None:
    network = with_statistics(name)
    frame = torch.rand(1, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = network(frame.expand(-1, -1, PROBED[name], -1, -1))
        got = make_2d_twin(network)(frame)
    assert torch.allclose(got[:, :, 0], expected[:, :, expected.shape[2] // 2], rtol=1e-9, atol=1e-12)


def test_a_twins_kernel_is_the_sum_and_keeps_the_rest() -> None:
    conv = nn.Conv3d(4, 6, (3, 5, 5), (2, 3, 1), (1, 2, 0), (1, 1, 2), groups=2)
    flat = make_2d_conv(conv)
    assert torch.equal(flat.weight[:, :, 0], conv.weight.sum(2)) and torch.equal(flat.bias, conv.bias)
    assert (flat.stride, flat.padding, flat.dilation, flat.groups) == ((1, 3, 1), (0, 2, 0), (1, 1, 2), 2)
