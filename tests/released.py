"""Published networks written down as their layer tables, each under the names of its release.

A table is a function that names every layer with its kernel, stride and padding. Running it draws the weights that it
names, so that state dict and output come from the table alone and know nothing of unreel's networks. In float64.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Shape = tuple[int, int, int]


class Weights:
    """The state dict of a table: a layer draws its weights when it is first run. On `meta` only shapes are drawn.

    `shrink` divides every width that a table states, so that a test is fast.
    """

    def __init__(self, eps: float = 1e-5, shrink: int = 1, device: str = "cpu") -> None:
        self.state: dict[str, Tensor] = {}
        self.eps, self.shrink, self.device = eps, shrink, device
        self.random = torch.Generator().manual_seed(5)

    def draw(self, name: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        """Uniform numbers, kept in float32 under the name; as float64."""
        unit = torch.empty(shape, device="meta") if self.device == "meta" else torch.rand(shape, generator=self.random)
        self.state[name] = low + (high - low) * unit
        return self.state[name].double()

    def conv(self, name: str, x: Tensor, out: int, kernel: Shape, stride: Shape, padding: Shape, bias: bool = False):
        limit = (6 / (x.shape[1] * kernel[0] * kernel[1] * kernel[2])) ** 0.5
        weight = self.draw(f"{name}.weight", (out, x.shape[1], *kernel), -limit, limit)
        added = self.draw(f"{name}.bias", (out,), -1, 1) if bias else None
        return F.conv3d(x, weight, added, stride, padding)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """(x - mean) / sqrt(var + eps) * weight + bias; every fifth channel has a variance that is as small as eps."""
        width = x.shape[1]
        mean = self.draw(f"{name}.running_mean", (width,), -0.3, 0.3)
        var = self.draw(f"{name}.running_var", (width,), 0.2, 1.0)
        weight, bias = self.draw(f"{name}.weight", (width,), 0.5, 1.5), self.draw(f"{name}.bias", (width,), -0.3, 0.3)
        for tensor, factor in ((var, 1e-3), (weight, 3e-2)):
            tensor[::5] *= factor
        self.state |= {f"{name}.running_var": var.float(), f"{name}.weight": weight.float()}
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7, device=self.device)
        m, v, w, b = (t.float().double().view(-1, 1, 1, 1) for t in (mean, var, weight, bias))
        return (x - m) / torch.sqrt(v + self.eps) * w + b

    def gate(self, name: str, x: Tensor) -> Tensor:
        """Each channel times the sigmoid of a linear layer on the averages of all channels."""
        width = x.shape[1]
        weight = self.draw(f"{name}.weight", (width, width), -1 / width, 1 / width)  # larger ones double small errors
        sums = x.mean(dim=(2, 3, 4)) @ weight.T + self.draw(f"{name}.bias", (width,), -1, 1)
        return x / (1 + torch.exp(-sums))[:, :, None, None, None]


def clip_order(t: Weights, x: Tensor, factorised: bool, prefix: str = "") -> Tensor:
    """R3D and R(2+1)D of VCOP, IIC, IICv2, DualVar: conv1 to conv5 of one block each."""

    def conv(name: str, x: Tensor, out: int, k: Shape, s: Shape) -> Tensor:
        pad = (k[0] // 2, k[1] // 2, k[2] // 2)
        if not factorised:
            return t.conv(f"{name}.temporal_spatial_conv", x, out, k, s, pad)
        mid = k[0] * k[1] * k[2] * x.shape[1] * out // (k[1] * k[2] * x.shape[1] + k[0] * out)
        x = t.conv(f"{name}.spatial_conv", x, mid, (1, k[1], k[2]), (1, s[1], s[2]), (0, pad[1], pad[2]))
        x = t.norm(f"{name}.bn", x).relu()
        return t.conv(f"{name}.temporal_conv", x, out, (k[0], 1, 1), (s[0], 1, 1), (pad[0], 0, 0))

    wide = 64 // t.shrink
    x = t.norm(f"{prefix}bn1", conv(f"{prefix}conv1", x, wide, (3, 7, 7), (1, 2, 2))).relu()
    for number, width in ((2, wide), (3, 2 * wide), (4, 4 * wide), (5, 8 * wide)):
        block, down = f"{prefix}conv{number}.block1", number > 2
        stride = (2, 2, 2) if down else (1, 1, 1)
        y = t.norm(f"{block}.bn1", conv(f"{block}.conv1", x, width, (3, 3, 3), stride)).relu()
        y = t.norm(f"{block}.bn2", conv(f"{block}.conv2", y, width, (3, 3, 3), (1, 1, 1)))
        if down:
            x = t.norm(f"{block}.downsamplebn", conv(f"{block}.downsampleconv", x, width, (1, 1, 1), (2, 2, 2)))
        x = (x + y).relu()
    return x


def c3d(t: Weights, x: Tensor, prefix: str = "") -> Tensor:
    """C3D with batch norm and biases."""
    pools = {"1": (1, 2, 2), "2": (2, 2, 2), "3b": (2, 2, 2), "4b": (2, 2, 2)}
    widths = {"1": 64, "2": 128, "3a": 256, "3b": 256, "4a": 512, "4b": 512, "5a": 512, "5b": 512}
    for unit, width in widths.items():
        x = t.conv(f"{prefix}conv{unit}", x, width // t.shrink, (3, 3, 3), (1, 1, 1), (1, 1, 1), bias=True)
        x = t.norm(f"{prefix}bn{unit}", x).relu()
        if unit in pools:
            x = F.max_pool3d(x, pools[unit], pools[unit])
    return x


def torchvision_resnet(t: Weights, x: Tensor, kind: str, prefix: str = "", numbered: bool = False) -> Tensor:
    """`r3d_18`, `mc3_18` and `r2plus1d_18`; `numbered` as the chain of children that IICv2 makes of the first."""

    def conv(name: str, x: Tensor, out: int, stride: int, mid: int, is_3d: bool) -> Tensor:
        if kind == "r2plus1d_18":
            x = t.conv(f"{name}.0", x, mid, (1, 3, 3), (1, stride, stride), (0, 1, 1))
            x = t.norm(f"{name}.1", x).relu()
            return t.conv(f"{name}.3", x, out, (3, 1, 1), (stride, 1, 1), (1, 0, 0))
        depth = 3 if is_3d else 1
        return t.conv(name, x, out, (depth, 3, 3), (stride if is_3d else 1, stride, stride), (depth // 2, 1, 1))

    stem, wide = f"{prefix}{'0' if numbered else 'stem'}", 64 // t.shrink
    if kind == "r2plus1d_18":
        x = t.norm(f"{stem}.1", t.conv(f"{stem}.0", x, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3))).relu()
        x = t.norm(f"{stem}.4", t.conv(f"{stem}.3", x, wide, (3, 1, 1), (1, 1, 1), (1, 0, 0))).relu()
    else:
        x = t.norm(f"{stem}.1", t.conv(f"{stem}.0", x, wide, (3, 7, 7), (1, 2, 2), (1, 3, 3))).relu()
    for layer, width in enumerate((wide, 2 * wide, 4 * wide, 8 * wide), 1):
        for b in range(2):
            block = f"{prefix}{'' if numbered else 'layer'}{layer}.{b}"
            stride, is_3d = 2 if layer > 1 and b == 0 else 1, kind != "mc3_18" or layer == 1
            mid = x.shape[1] * width * 27 // (x.shape[1] * 9 + 3 * width)
            y = t.norm(f"{block}.conv1.1", conv(f"{block}.conv1.0", x, width, stride, mid, is_3d)).relu()
            y = t.norm(f"{block}.conv2.1", conv(f"{block}.conv2.0", y, width, 1, mid, is_3d))
            if stride > 1:
                down = (stride if is_3d else 1, stride, stride)
                x = t.conv(f"{block}.downsample.0", x, width, (1, 1, 1), down, (0, 0, 0))
                x = t.norm(f"{block}.downsample.1", x)
            x = (x + y).relu()
    return x


INCEPTION = {  # of each branch; None stands for a max-pool before
    "3": ([(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)], ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    "4": (
        [
            (192, 96, 208, 16, 48, 64),
            (160, 112, 224, 24, 64, 64),
            (128, 128, 256, 24, 64, 64),
            (112, 144, 288, 32, 64, 64),
            (256, 160, 320, 32, 128, 128),
        ],
        ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ),
    "5": ([(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)], ((2, 2, 2), (2, 2, 2), (0, 0, 0))),
}


def s3d(t: Weights, x: Tensor, torchvision: bool, prefix: str = "", gating: bool = False) -> Tensor:
    """S3D: `torchvision` tells whether its names are those of torchvision or of CoCLR, DualVar and IICv2, whose S3D-G
    has a gate behind each branch."""

    def unit(name: str, x: Tensor, out: int, kernel: Shape, stride: Shape, padding: Shape, number: str = "") -> Tensor:
        names = (f"{name}.0", f"{name}.1") if torchvision else (f"{name}.conv{number}", f"{name}.bn{number}")
        return t.norm(names[1], t.conv(names[0], x, out, kernel, stride, padding)).relu()

    def separable(name: str, x: Tensor, out: int, k: int, s: int) -> Tensor:
        first, second = (f"{name}.0", f"{name}.1") if torchvision else (name, name)
        x = unit(first, x, out, (1, k, k), (1, s, s), (0, k // 2, k // 2), "1")
        return unit(second, x, out, (k, 1, 1), (s, 1, 1), (k // 2, 0, 0), "2")

    def point(name: str, x: Tensor, out: int) -> Tensor:
        return unit(name, x, out, (1, 1, 1), (1, 1, 1), (0, 0, 0))

    def place(number: int, name: str) -> str:
        return f"{prefix}features.{number}" if torchvision else f"{prefix}{name}"

    x = separable(place(0, "Conv_1a"), x, 64, 7, 2)
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = point(place(2, "Conv_2b"), x, 64)
    x = separable(place(3, "Conv_2c"), x, 192, 3, 1)
    number = 4
    for stage, (blocks, pool) in INCEPTION.items():
        x = F.max_pool3d(x, *pool)
        for letter, (b0, b1m, b1, b2m, b2, b3) in zip("bcdef", blocks, strict=False):
            number += 1
            name = place(number, f"Mixed_{stage}{letter}")
            end = "" if torchvision else ".0"
            branches = [
                point(f"{name}.branch0{end}", x, b0),
                separable(f"{name}.branch1.1", point(f"{name}.branch1.0", x, b1m), b1, 3, 1),
                separable(f"{name}.branch2.1", point(f"{name}.branch2.0", x, b2m), b2, 3, 1),
                point(f"{name}.branch3.1", F.max_pool3d(x, 3, 1, 1), b3),
            ]
            if gating:
                branches = [t.gate(f"{name}.gating_b{n}.fc", branch) for n, branch in enumerate(branches)]
            x = torch.cat(branches, dim=1)
        number += 1
    return x


def with_block_names(state: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The same tensors also as blocks, as S3D of CoCLR, DualVar and IICv2 registers its layers twice."""
    blocks = {"block1": ["Conv_1a"], "block2": ["", "Conv_2b", "Conv_2c"], "block3": ["", "Mixed_3b", "Mixed_3c"]}
    blocks["block4"] = ["", *(f"Mixed_4{letter}" for letter in "bcdef")]
    blocks["block5"] = ["", "Mixed_5b", "Mixed_5c"]
    places = {name: f"{block}.{n}" for block, names in blocks.items() for n, name in enumerate(names) if name}
    twice: dict[str, Tensor] = {}
    for key, value in state.items():
        unit, _, rest = key.removeprefix(prefix).partition(".")
        twice |= {f"{prefix}{places[unit]}.{rest}": value} if unit in places else {}
    return state | twice


def slow_r50(
    t: Weights, x: Tensor, pytorchvideo: bool, prefix: str = "", depths: tuple[int, ...] = (3, 4, 6, 3)
) -> Tensor:
    """Slow-R50: stem 1x7x7, no stride of time, kernels over three frames in the last two stages."""

    def layer(block: str, letter: str, x: Tensor, out: int, kernel: Shape, stride: Shape, padding: Shape) -> Tensor:
        conv = f"{block}.branch2.{'conv_' if pytorchvideo else ''}{letter}"
        norm = f"{block}.branch2.norm_{letter}" if pytorchvideo else f"{block}.branch2.{letter}_bn"
        return t.norm(norm, t.conv(conv, x, out, kernel, stride, padding))

    stem = f"{prefix}{'blocks.0' if pytorchvideo else 's1.pathway0_stem'}"
    x = t.conv(f"{stem}.conv", x, 64, (1, 7, 7), (1, 2, 2), (0, 3, 3))
    x = t.norm(f"{stem}.{'norm' if pytorchvideo else 'bn'}", x).relu()
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, (depth, mid, frames) in enumerate(zip(depths, (64, 128, 256, 512), (1, 1, 3, 3), strict=True), 2):
        for b in range(depth):
            block = f"blocks.{stage - 1}.res_blocks.{b}" if pytorchvideo else f"s{stage}.pathway0_res{b}"
            block = prefix + block
            s = 2 if stage > 2 and b == 0 else 1
            y = layer(block, "a", x, mid, (frames, 1, 1), (1, 1, 1), (frames // 2, 0, 0)).relu()
            y = layer(block, "b", y, mid, (1, 3, 3), (1, s, s), (0, 1, 1)).relu()
            y = layer(block, "c", y, 4 * mid, (1, 1, 1), (1, 1, 1), (0, 0, 0))
            if b == 0:
                down = ("branch1_conv", "branch1_norm") if pytorchvideo else ("branch1", "branch1_bn")
                x = t.conv(f"{block}.{down[0]}", x, 4 * mid, (1, 1, 1), (1, s, s), (0, 0, 0))
                x = t.norm(f"{block}.{down[1]}", x)
            x = (x + y).relu()
    return x


def coclr_r50(t: Weights, x: Tensor, prefix: str = "", depths: tuple[int, ...] = (3, 4, 6, 3)) -> Tensor:
    """CoCLR's 2D-3D ResNet-50: stem 5x7x7 that strides time, kernels over three frames in the last two stages."""
    x = t.norm(f"{prefix}bn1", t.conv(f"{prefix}conv1", x, 64, (5, 7, 7), (2, 2, 2), (2, 3, 3))).relu()
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for layer, (depth, mid, frames) in enumerate(zip(depths, (64, 128, 256, 512), (1, 1, 3, 3), strict=True), 1):
        for b in range(depth):
            block, s = f"{prefix}layer{layer}.{b}", 2 if layer > 1 and b == 0 else 1
            y = t.conv(f"{block}.conv1", x, mid, (frames, 1, 1), (1, 1, 1), (frames // 2, 0, 0))
            y = t.conv(f"{block}.conv2", t.norm(f"{block}.bn1", y).relu(), mid, (1, 3, 3), (1, s, s), (0, 1, 1))
            y = t.conv(f"{block}.conv3", t.norm(f"{block}.bn2", y).relu(), 4 * mid, (1, 1, 1), (1, 1, 1), (0, 0, 0))
            if b == 0:
                x = t.conv(f"{block}.downsample.0", x, 4 * mid, (1, 1, 1), (1, s, s), (0, 0, 0))
                x = t.norm(f"{block}.downsample.1", x)
            x = (x + t.norm(f"{block}.bn3", y)).relu()
    return x


def cvrl_r3d(t: Weights, x: Tensor, prefix: str = "", depths: tuple[int, ...] = (3, 4, 6, 3)) -> Tensor:
    """CVRL's R3D-50 in TensorFlow: layers by number, kernels (t, h, w, in, out), SAME padding, which has the odd pixel
    at the end."""

    def conv(name: str, x: Tensor, out: int, kernel: Shape, stride: Shape) -> Tensor:
        y = t.conv(name, pad_same(x, kernel, stride, 0.0), out, kernel, stride, (0, 0, 0))
        t.state[f"{name}.kernel"] = t.state.pop(f"{name}.weight").permute(2, 3, 4, 1, 0)
        return y

    def norm(name: str, x: Tensor) -> Tensor:
        y = t.norm(name, x)
        del t.state[f"{name}.num_batches_tracked"]
        for ours, theirs in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")):
            t.state[f"{name}.{theirs}"] = t.state.pop(f"{name}.{ours}")
        t.state[f"{name}.moving_variance"] = t.state.pop(f"{name}.running_var")
        return y

    x = norm(f"{prefix}layer_with_weights-1", conv(f"{prefix}layer_with_weights-0", x, 64, (5, 7, 7), (2, 2, 2))).relu()
    x = F.max_pool3d(pad_same(x, (1, 3, 3), (1, 2, 2), float("-inf")), (1, 3, 3), (1, 2, 2))
    number = 1
    for stage, (depth, mid, frames) in enumerate(zip(depths, (64, 128, 256, 512), (1, 1, 3, 3), strict=True)):
        for b in range(depth):
            number += 1
            block, s = f"{prefix}layer_with_weights-{number}", 2 if stage and b == 0 else 1
            y = norm(f"{block}._norm1", conv(f"{block}._temporal_conv", x, mid, (frames, 1, 1), (1, 1, 1))).relu()
            y = norm(f"{block}._norm2", conv(f"{block}._spatial_conv", y, mid, (1, 3, 3), (1, s, s))).relu()
            y = norm(f"{block}._norm3", conv(f"{block}._expand_conv", y, 4 * mid, (1, 1, 1), (1, 1, 1)))
            if b == 0:
                x = norm(f"{block}._norm0", conv(f"{block}._shortcut_conv", x, 4 * mid, (1, 1, 1), (1, s, s)))
            x = (x + y).relu()
    return x


def turn_kernels(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Kernels (t, h, w, in, out) as (out, in, t, h, w), as a reader of TensorFlow's checkpoints gives them."""
    return {name: t.permute(4, 3, 0, 1, 2) if name.endswith("kernel") else t for name, t in state.items()}


def pad_same(x: Tensor, kernel: Shape, stride: Shape, value: float) -> Tensor:
    """Padding that gives ceil(n / stride) outputs, one axis after the other."""
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
        n = x.shape[axis]
        total = max((-(-n // s) - 1) * s + k - n, 0)
        before, after = list(x.shape), list(x.shape)
        before[axis], after[axis] = total // 2, total - total // 2
        x = torch.cat([x.new_full(before, value), x, x.new_full(after, value)], dim=axis)
    return x


def run_table(
    table: Callable[..., Tensor], clip: Tensor, eps: float = 1e-5, shrink: int = 1, **options: object
) -> tuple[dict[str, Tensor], Tensor]:
    """The weights that a table names, and its last map of a clip in float64; of a clip on `meta` the shapes alone."""
    weights = Weights(eps, shrink, clip.device.type)
    with torch.no_grad():
        return weights.state, table(weights, clip.double(), **options)


CLIP = torch.rand(1, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))
SHRINK, SLOW_DEPTHS = 8, (1, 2, 1, 1)
R3D, R21D = partial(clip_order, factorised=False), partial(clip_order, factorised=True)
S3D = partial(s3d, torchvision=False)
R3D18 = partial(torchvision_resnet, kind="r3d_18")


def tensors(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Tensors of zeros; two underscores in a name stand for a dot."""
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def as_moco(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A query network with its momentum copy, heads and queue."""
    copy = {name.replace("encoder_q.", "encoder_k."): tensor + 1 for name, tensor in state.items()}
    heads = tensors(encoder_q__2__weight=(8, 8, 1, 1, 1), encoder_q__4__weight=(4, 8, 1, 1, 1), queue=(4, 6))
    return {f"module.{name}": tensor for name, tensor in (state | copy | heads | {"queue_ptr": torch.zeros(1)}).items()}


# release, our network, the table, options of the table, epsilon, what else is in a file and how it is wrapped
RELEASES: dict[str, tuple[str, str, Callable[..., Tensor], dict[str, Any], float, Callable[[Any], Any]]] = {
    "iic r3d": (
        "iic",
        "r3d",
        R3D,
        {},
        1e-5,
        lambda s: {"model": s, "contrast": tensors(memory_1=(9, 4)), "epoch": 240},
    ),
    "iic r21d": ("iic", "r21d", R21D, {}, 1e-5, lambda s: {"model": s | tensors(linear__weight=(101, 512))}),
    "iic c3d": ("iic", "c3d", c3d, {}, 1e-5, lambda s: s),
    "iic-v2 r18": (
        "iic-v2",
        "r3d18",
        R3D18,
        {"prefix": "base_network.", "numbered": True},
        1e-5,
        lambda s: {"model": s | tensors(projector__mlp__0__weight=(512, 512), projector__mlp__2__weight=(128, 512))},
    ),
    "iic-v2 s3d": (
        "iic-v2",
        "s3d",
        S3D,
        {"prefix": "base_network."},
        1e-5,
        with_block_names,
    ),
    "dualvar r21d": (
        "dualvar",
        "r21d",
        R21D,
        {"prefix": "encoder_q.0."},
        1e-5,
        lambda s: {"state_dict": as_moco(s), "epoch": 189, "best_acc": 0.5},
    ),
    "dualvar c3d": ("dualvar", "c3d", c3d, {"prefix": "backbone."}, 1e-5, lambda s: {"state_dict": s}),
    "coclr s3d": (
        "coclr",
        "s3d",
        S3D,
        {"prefix": "encoder_q.0."},
        1e-5,
        lambda s: {"state_dict": as_moco(with_block_names(s, "encoder_q.0."))},
    ),
    "coclr s3dg": (
        "coclr",
        "s3dg",
        partial(S3D, gating=True),
        {"prefix": "backbone."},
        1e-5,
        lambda s: {"state_dict": s},
    ),
    "coclr r50": ("coclr", "r3d50", coclr_r50, {"prefix": "encoder_q.0."}, 1e-5, lambda s: {"state_dict": as_moco(s)}),
    "cvrl": ("cvrl", "r3d50tf", cvrl_r3d, {"prefix": "backbone."}, 1e-5, lambda s: {"model": turn_kernels(s)}),
    "r3d_18": ("torchvision", "r3d18", R3D18, {}, 1e-5, lambda s: s | tensors(fc__weight=(400, 512), fc__bias=(400,))),
    "mc3_18": ("torchvision", "r3d18", partial(torchvision_resnet, kind="mc3_18"), {}, 1e-5, lambda s: s),
    "r2plus1d_18": ("torchvision", "r21d18", partial(torchvision_resnet, kind="r2plus1d_18"), {}, 1e-5, lambda s: s),
    "s3d": (
        "torchvision",
        "s3d",
        partial(s3d, torchvision=True),
        {},
        1e-3,
        lambda s: s | tensors(classifier__1__weight=(400, 1024, 1, 1, 1)),
    ),
    "slowfast": (
        "slowfast",
        "r3d50",
        partial(slow_r50, pytorchvideo=False),
        {"prefix": "backbone."},
        1e-5,
        lambda s: {
            "model_state": s | {n.replace("backbone.", "backbone_hist."): t for n, t in s.items()},
            "cfg": "CONTRASTIVE:\n  DIM: 256\n  TYPE: byol\nDATA:\n  NUM_FRAMES: 16\n  SAMPLING_RATE: 4\n",
        },
    ),
    "pytorchvideo": ("slowfast", "r3d50", partial(slow_r50, pytorchvideo=True), {}, 1e-5, lambda s: {"model_state": s}),
}


def flatten(content: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors of dictionaries in each other by their joined keys."""
    if isinstance(content, Tensor):
        return {name: content}
    items = content.items() if isinstance(content, dict) else ()
    return {k: t for key, value in items for k, t in flatten(value, f"{name}.{key}" if name else key).items()}
