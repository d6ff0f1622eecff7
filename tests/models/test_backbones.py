"""Backbones: the papers' parameter counts and maps, gradients everywhere, and names found by file."""

import math
import subprocess
import sys

import pytest
import torch

from unreel.errors import InputError
from unreel.models.backbones.r3d import SpatialConv3d, TemporalConv3d
from unreel.models.backbones.r21d import count_mid_channels
from unreel.models.backbones.s3d import SelfGating
from unreel.models.heads import MLP
from unreel.models.registry import BACKBONES, build_backbone
from unreel.own_code.names import is_own_code

# Widths of the four branches of S3D's nine Inception blocks, as CoCLR's release lists them: each gate has w * w + w.
GATED = ((64, 128, 32, 32), (128, 192, 96, 64), (192, 208, 48, 64), (160, 224, 64, 64), (128, 256, 64, 64))
GATED += ((112, 288, 64, 64), (256, 320, 128, 128), (256, 320, 128, 128), (384, 384, 128, 128))


def count_r2d3d(depths: tuple[int, ...], is_deep: bool) -> int:
    """Weights of DPC's network, layer by layer: 1x3x3 kernels in two stages, then 3x3x3; batch norm has 2 a channel."""
    total, num_in = 3 * 64 * 49 + 128, 64
    for place, (depth, width) in enumerate(zip(depths, (64, 128, 256, 256), strict=True)):
        kernel, num_out = 9 if place < 2 else 27, 4 * width if is_deep else width
        for block in range(depth):
            pairs = [(num_in, width, kernel), (width, width, kernel)]
            if is_deep:
                pairs = [(num_in, width, 1), (width, width, kernel), (width, num_out, 1)]
            if block == 0 and (place > 0 or num_in != num_out):
                pairs.append((num_in, num_out, 1))
            total += sum(a * b * k + 2 * b for a, b, k in pairs)
            num_in = num_out
    return total


# docs/methods.md; r3d18, r21d18 and s3d are torchvision's published counts less their classifiers of 400 classes.
PARAMETERS = {
    "c3d": 27_661_440,
    "r3d": 14_361_792,
    "r3d18": 33_371_472 - (512 * 400 + 400),
    "r3d50": 31_672_128,
    "r3d50tf": 31_672_128,
    "r3d101": 59_577_152,
    "r3d101tf": 59_577_152,
    "r21d": 14_365_303,
    "r21d18": 31_505_325 - (512 * 400 + 400),
    "s3d": 8_320_048 - (1024 * 400 + 400),
    "s3dg": 8_320_048 - (1024 * 400 + 400) + sum(w * w + w for block in GATED for w in block),
    "r2d3d18": count_r2d3d((2, 2, 2, 2), is_deep=False),
    "r2d3d34": count_r2d3d((3, 4, 6, 3), is_deep=False),
    "r2d3d50": count_r2d3d((3, 4, 6, 3), is_deep=True),
    "small": 1_242_528,
    "tiny": 315_600,
}
MAPS = {
    "c3d": (512, 2, 7, 7),
    "r3d": (512, 2, 7, 7),
    "r3d18": (512, 2, 7, 7),
    "r3d50": (2048, 8, 4, 4),
    "r3d50tf": (2048, 8, 4, 4),
    "r3d101": (2048, 8, 4, 4),
    "r3d101tf": (2048, 8, 4, 4),
    "r3d152": (2048, 8, 4, 4),
    "r3d152tf": (2048, 8, 4, 4),
    "r21d": (512, 2, 7, 7),
    "r21d18": (512, 2, 7, 7),
    "s3d": (1024, 2, 3, 3),
    "s3dg": (1024, 2, 3, 3),
    "r2d3d18": (256, 4, 4, 4),
    "r2d3d34": (256, 4, 4, 4),
    "r2d3d50": (1024, 4, 4, 4),
    "small": (256, 4, 7, 7),
    "tiny": (128, 4, 7, 7),
}
DEEP = ("r3d101", "r3d152", "r3d101tf", "r3d152tf")  # r3d50's blocks, more of them: slow to build with real weights
SHALLOW = [name for name in BACKBONES if name not in DEEP]


def on_meta(name: str, **options: int) -> torch.nn.Module:
    with torch.device("meta"):
        return build_backbone(name, **options)


def count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_backbones_are_found_by_their_files() -> None:
    assert set(BACKBONES) == set(MAPS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count(name: str) -> None:
    assert count(on_meta(name)) == PARAMETERS[name]


def test_parameters_of_cvrls_largest_with_its_statistics() -> None:
    """CVRL's release: 327.749248 M parameters, and 328.052 M with the running statistics."""
    network = on_meta("r3d152", width=2)
    assert count(network) == 327_749_248 and network.num_features == 4096
    assert round((count(network) + sum(b.numel() for b in network.buffers() if b.ndim)) / 1e6, 3) == 328.052


@pytest.mark.parametrize("name", BACKBONES)
def test_map_of_a_clip_of_112_pixels(name: str) -> None:
    network = on_meta(name)
    assert network(torch.empty(1, 3, 16, 112, 112, device="meta")).shape == (1, *MAPS[name])
    assert network.num_features == MAPS[name][0]


@pytest.mark.parametrize(
    ("name", "option", "parameters", "num_features", "num_frames"),
    [
        ("r3d18", "mixed", 11_695_440 - (512 * 400 + 400), 512, 16),  # torchvision's published count of mc3_18
        ("r3d50", "slow_stem", 32_454_096 - (2048 * 400 + 400), 2048, 16),  # PyTorchVideo's of slow_r50
    ],
)
def test_variants_that_do_not_stride_time(
    name: str, option: str, parameters: int, num_features: int, num_frames: int
) -> None:
    network = on_meta(name, **{option: True})
    assert count(network) == parameters
    maps = network(torch.empty(1, 3, 16, 112, 112, device="meta"))
    assert maps.shape[:3] == (1, num_features, num_frames)


def test_an_option_that_a_network_has_not_is_refused() -> None:
    with pytest.raises(InputError, match="'tiny' has no option width; its options: none"):
        build_backbone("tiny", width=2)
    with pytest.raises(InputError, match="'r3d50' has no option depth; its options: width, slow_stem"):
        build_backbone("r3d50", depth=2)


def test_map_of_tiny_keeps_time() -> None:
    network = on_meta("tiny")
    assert network(torch.empty(1, 3, 16, 64, 64, device="meta")).shape == (1, 128, 4, 4, 4)
    assert network(torch.empty(1, 3, 8, 64, 64, device="meta")).shape == (1, 128, 2, 4, 4)


def shapes_at(name: str, layers: list[str], size: int) -> list[tuple[int, ...]]:
    """Maps behind some layers, for a clip of 16 frames."""
    network, seen = on_meta(name), []
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(lambda module, x, y: seen.append(tuple(y.shape[1:])))
    network(torch.empty(1, 3, 16, size, size, device="meta"))
    return seen


def test_r3d50_layer_by_layer() -> None:
    """CVRL's release, the table."""
    layers = ["stem.2", "stem.3", "stages.0", "stages.1", "stages.2", "stages.3"]
    assert shapes_at("r3d50", layers, 224) == [
        (64, 8, 112, 112),
        (64, 8, 56, 56),
        (256, 8, 56, 56),
        (512, 8, 28, 28),
        (1024, 8, 14, 14),
        (2048, 8, 7, 7),
    ]
    stages = on_meta("r3d50").stages
    assert [[block.conv1.kernel_size[0] for block in stage] for stage in stages] == [[1] * 3, [1] * 4, [3] * 6, [3] * 3]
    assert {block.conv2.kernel_size for stage in stages for block in stage} == {(1, 3, 3)}
    assert [stage[0].conv2.stride for stage in stages] == [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2)]


def test_s3d_layer_by_layer() -> None:
    """Maps of a clip of 16 x 224 x 224 in front of each pool and at the end."""
    layers = ["layers.0", "layers.3", "layers.6", "layers.12", "layers.15"]
    assert shapes_at("s3d", layers, 224) == [
        (64, 8, 112, 112),
        (192, 8, 56, 56),
        (480, 8, 28, 28),
        (832, 4, 14, 14),
        (1024, 2, 7, 7),
    ]


def test_widths_within_r21d18() -> None:
    """torchvision's r2plus1d_18: 45 in the stem, one width for both convolutions of a block, whole shortcuts."""
    network = on_meta("r21d18")
    assert network.stem[0][0].out_channels == 45
    widths = [[block.conv1[0].out_channels, block.conv2[0].out_channels] for stage in network.stages for block in stage]
    assert widths == [[144] * 2, [144] * 2, [230] * 2, [288] * 2, [460] * 2, [576] * 2, [921] * 2, [1152] * 2]
    assert network.stages[1][0].shortcut[0].kernel_size == (1, 1, 1)


def test_widths_between_the_factors() -> None:
    """IIC's release, the released R(2+1)D's table."""
    assert count_mid_channels(3, 64, (3, 7, 7)) == 83
    assert [count_mid_channels(i, o, (3, 3, 3)) for i, o in ((64, 64), (64, 128), (128, 128), (256, 512))] == [
        144,
        230,
        288,
        921,
    ]
    assert [count_mid_channels(i, 2 * i, (1, 1, 1)) for i in (64, 128, 256)] == [42, 85, 170]


@pytest.fixture(scope="module", params=SHALLOW)
def built(request: pytest.FixtureRequest) -> torch.nn.Module:
    """A network with weights, which take as long to draw as a step."""
    torch.manual_seed(0)
    return build_backbone(request.param)


def test_a_backbone_sees_motion(built: torch.nn.Module) -> None:
    """Turned-round time gives another pooled feature, so temporal kernels are at work."""
    torch.manual_seed(0)
    network, clips = built.eval(), torch.rand(1, 3, 8, 32, 32)
    with torch.no_grad():
        forward, backward = (network(c).mean(dim=(2, 3, 4)) for c in (clips, clips.flip(2)))
    assert (forward - backward).norm() > 1e-3 * forward.norm()


def test_every_weight_gets_a_gradient(built: torch.nn.Module) -> None:
    torch.manual_seed(0)
    network = built.train()
    network.zero_grad()
    features = network(torch.rand(2, 3, 8, 48, 48)).mean(dim=(2, 3, 4))
    assert features.shape == (2, network.num_features) and features.dtype == torch.float32
    assert torch.isfinite(features).all()
    (features * torch.randn_like(features)).sum().backward()
    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name
        # a bias in front of batch norm is cancelled by it: its gradient is there, but is rounding
        assert weight.grad.abs().sum() > 0, weight_name


@pytest.mark.parametrize("name", ["r3d152", "r3d152tf"])
def test_deep_networks_stay_finite_untrained(name: str) -> None:
    """With batch norm's first statistics every block adds its input's variance once more: no overflow after 50.

    Two of DEEP, which have all blocks of the other two.
    """
    torch.manual_seed(0)
    with torch.no_grad():
        map_BDTHW = build_backbone(name).eval()(torch.rand(1, 3, 2, 32, 32))
    assert map_BDTHW.dtype == torch.float32 and torch.isfinite(map_BDTHW).all() and map_BDTHW.any()


def test_same_seed_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build_backbone("tiny").state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(
        InputError, match=r"unknown backbone 'r3'. Did you mean 'r3d'\? Known: c3d, r21d, r21d18, r2d3d18"
    ):
        build_backbone("r3")


def test_unknown_option_and_bad_module_are_readable() -> None:
    with pytest.raises(InputError, match="has no option depth; its options: none"):
        build_backbone("r3d", depth=3)
    for name in ("os", "inflate", "encoder", "tiny-3d", "-2d"):
        with pytest.raises(InputError, match=f"unknown backbone '{name}'"):
            build_backbone(name)


def test_names_of_code_from_outside() -> None:
    assert is_own_code("package.module.Class") and is_own_code("module:function")
    assert not any(is_own_code(n) for n in ("tiny", "tiny-2d", "transformers:videomae", "transformers:/a/b.c/d"))


def test_importing_models_is_light() -> None:
    code = (
        "import sys, unreel.models.registry as m; assert m.BACKBONES; "
        "print([n for n in sys.modules if n.startswith('unreel.')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    models, own_code = (
        {"unreel.models", "unreel.models.registry", "unreel.models.twin_2d"},
        {"unreel.own_code.names", "unreel.own_code.installed"},
    )
    assert set(eval(out)) == models | own_code | {"unreel.own_code", "unreel.errors"}


def test_projection_is_two_linears_with_a_relu() -> None:
    torch.manual_seed(0)
    head = MLP(6, 5, 4)
    first, _, second = head.layers
    x = torch.randn(3, 6)
    expected = (x @ first.weight.T + first.bias).clamp(min=0) @ second.weight.T + second.bias
    assert torch.allclose(head(x), expected, atol=1e-6)
    assert sum(p.numel() for p in MLP(512).parameters()) == 512 * 512 + 512 + 512 * 128 + 128


CPU_CONVS = [
    (TemporalConv3d(4, 8, 3, 1), torch.nn.Conv3d(4, 8, (3, 1, 1), 1, (1, 0, 0), bias=False)),
    (TemporalConv3d(4, 8, 3, 2, groups=4), torch.nn.Conv3d(4, 8, (3, 1, 1), (2, 1, 1), (1, 0, 0), 1, 4, False)),
    (SpatialConv3d(4, 8, 3, 2), torch.nn.Conv3d(4, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)),
    (SpatialConv3d(4, 8, 1), torch.nn.Conv3d(4, 8, 1, bias=False)),
]


@pytest.mark.parametrize(("ours", "plain"), CPU_CONVS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_convolution_written_for_a_cpu_is_pytorchs_own(
    ours: torch.nn.Conv3d, plain: torch.nn.Conv3d, layout: torch.memory_format
) -> None:
    plain.load_state_dict(ours.state_dict())
    results = []
    for conv in (ours.to(memory_format=layout), plain):
        torch.manual_seed(1)
        x = torch.randn(2, 4, 5, 6, 7).contiguous(memory_format=layout).requires_grad_()
        y = conv(x)
        conv.zero_grad()
        (y * torch.randn(y.shape)).sum().backward()
        results.append((y.detach(), x.grad, conv.weight.grad))
    for mine, its in zip(*results, strict=True):
        torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("name", SHALLOW)
def test_convolutions_over_time_run_as_2d_ones(name: str) -> None:
    """None is a plain 3D convolution, which a CPU computes slowly; a twin that sees frames alone has none."""
    over_time = [m for m in on_meta(name).modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size[0] > 1]
    flat = [m for m in over_time if m.kernel_size[1:] == (1, 1)]
    assert bool(flat) == (name in ("tiny", "small", "r3d50", "r3d50tf", "r21d", "r21d18", "s3d", "s3dg"))
    assert all(isinstance(m, TemporalConv3d) for m in flat)


def test_gates_and_blocks_of_coclr_and_dpc() -> None:
    """A gate is a sigmoid of a linear layer on averages; R2D3D's first stages see frames alone, its end has signs."""
    torch.manual_seed(0)
    gate, x = SelfGating(4).requires_grad_(False), torch.randn(2, 4, 3, 5, 5)
    for b in range(2):
        for c in range(4):
            score = sum(float(gate.fc.weight[c, d]) * float(x[b, d].mean()) for d in range(4)) + float(gate.fc.bias[c])
            torch.testing.assert_close(gate(x)[b, c], x[b, c] / (1 + math.exp(-score)))
    network = build_backbone("r2d3d18").eval()
    kernels = [[conv.kernel_size[0] for conv in stage[0].convs] for stage in network.stages]
    assert kernels == [[1, 1], [1, 1], [3, 3], [3, 3]]
    with torch.no_grad():
        clip = torch.rand(1, 3, 4, 32, 32)
        assert (network(clip) < 0).any() and network(clip).shape == (1, 256, 1, 1, 1)
        early = network.stages[:2](network.stem(clip))
        assert torch.allclose(network.stages[:2](network.stem(clip[:, :, 2:3])), early[:, :, 2:3], atol=1e-5)
