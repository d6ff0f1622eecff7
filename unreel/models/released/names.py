"""The names that released networks give to the tensors of ours: functions from our name to theirs.

Read off the networks' public definitions; a name that leaves no unit its place is a mistake that the strict match of
matching.py shows.
"""

import re

# Inception blocks of S3D by their place in our chain of layers.
S3D_UNITS = {0: "Conv_1a", 2: "Conv_2b", 3: "Conv_2c", 5: "Mixed_3b", 6: "Mixed_3c"}
S3D_UNITS |= {8 + n: f"Mixed_4{letter}" for n, letter in enumerate("bcdef")} | {14: "Mixed_5b", 15: "Mixed_5c"}
# The same units under a second name, since the release registers them twice.
S3D_BLOCKS = {"block1": ("Conv_1a",), "block2": ("", "Conv_2b", "Conv_2c"), "block3": ("", "Mixed_3b", "Mixed_3c")}
S3D_BLOCKS |= {"block4": ("", *(f"Mixed_4{letter}" for letter in "bcdef")), "block5": ("", "Mixed_5b", "Mixed_5c")}
C3D_UNITS = ("1", "2", "3a", "3b", "4a", "4b", "5a", "5b")
TENSORFLOW_UNITS = {"conv1": "_temporal_conv", "conv2": "_spatial_conv", "conv3": "_expand_conv"}
TENSORFLOW_UNITS |= {"bn1": "_norm1", "bn2": "_norm2", "bn3": "_norm3"}
TENSORFLOW_UNITS |= {"shortcut.0": "_shortcut_conv", "shortcut.1": "_norm0"}
TENSORFLOW_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
TENSORFLOW_NORM |= {"num_batches_tracked": "num_batches_tracked"}  # which TensorFlow has not
FACTORISED = {"0": "spatial_conv", "1": "bn", "3": "temporal_conv"}


def to_clip_order_name(name: str) -> str:
    """R3D and R(2+1)D of Xu et al. 2019 (VCOP), of IIC, IICv2 and DualVar.

    >>> to_clip_order_name("stages.1.0.shortcut.0.weight")
    'conv3.block1.downsampleconv.temporal_spatial_conv.weight'
    >>> to_clip_order_name("stem.0.3.weight")
    'conv1.temporal_conv.weight'
    """
    if stem := re.fullmatch(r"stem\.([01])\.(.+)", name):
        return f"bn1.{stem[2]}" if stem[1] == "1" else f"conv1.{to_clip_order_conv(stem[2])}"
    stage, block, rest = split_block(name)
    unit, _, leaf = rest.partition(".")
    if unit == "shortcut":
        place, _, leaf = leaf.partition(".")
        unit = "downsampleconv" if place == "0" else "downsamplebn"
    leaf = leaf if unit in ("bn1", "bn2", "downsamplebn") else to_clip_order_conv(leaf)
    return f"conv{stage + 2}.{'block1' if block == 0 else f'blocks.{block - 1}'}.{unit}.{leaf}"


def to_clip_order_conv(leaf: str) -> str:
    """The rest of a convolution's name: "weight", or "3.weight" of a factorised one."""
    place, _, last = leaf.rpartition(".")
    return f"{FACTORISED[place]}.{last}" if place else f"temporal_spatial_conv.{leaf}"


def to_c3d_name(name: str) -> str:
    """C3D of VCOP, IIC and DualVar.

    >>> to_c3d_name("layers.9.running_var")
    'bn3a.running_var'
    """
    _, place, leaf = name.split(".")
    units = [n for n in range(29) if n not in (3, 7, 14, 21)]  # all but max-pools; conv, norm, ReLU in turn
    number = units.index(int(place))
    return f"{('conv', 'bn')[number % 3]}{C3D_UNITS[number // 3]}.{leaf}"


def to_torchvision_name(name: str) -> str:
    """torchvision's `r3d_18` and `r2plus1d_18`.

    >>> to_torchvision_name("stages.0.1.conv2.3.weight"), to_torchvision_name("stages.3.0.bn1.bias")
    ('layer1.1.conv2.0.3.weight', 'layer4.0.conv1.1.bias')
    """
    if stem := re.fullmatch(r"stem\.0\.(\d)\.(.+)", name):
        return f"stem.{stem[1]}.{stem[2]}"
    if name.startswith("stem."):
        return name
    stage, block, rest = split_block(name)
    unit, _, leaf = rest.partition(".")
    place = {"conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv2.0", "bn2": "conv2.1", "shortcut": "downsample"}[unit]
    return f"layer{stage + 1}.{block}.{place}.{leaf}"


def to_torchvision_factorised_name(name: str) -> str:
    """torchvision's `r2plus1d_18`, whose stem is one chain of six.

    >>> to_torchvision_factorised_name("stem.1.weight")
    'stem.4.weight'
    """
    return to_torchvision_name(name.replace("stem.1.", "stem.4.") if name.startswith("stem.1.") else name)


def to_numbered_name(name: str) -> str:
    """`r3d_18` in a chain without names, as in IICv2.

    >>> to_numbered_name("stem.0.weight"), to_numbered_name("stages.0.0.conv1.weight")
    ('0.0.weight', '1.0.conv1.0.weight')
    """
    return re.sub(r"^layer", "", to_torchvision_name(name)).replace("stem.", "0.")


def to_torchvision_s3d_name(name: str) -> str:
    """torchvision's `s3d`.

    >>> to_torchvision_s3d_name("layers.5.branches.1.1.0.0.weight")
    'features.5.branch1.1.0.0.weight'
    """
    return re.sub(r"\.branches\.(\d)", r".branch\1", name.replace("layers.", "features.", 1))


def to_s3d_name(name: str) -> str:
    """S3D and S3D-G of CoCLR and DualVar, S3D of IICv2.

    >>> to_s3d_name("layers.0.1.0.weight"), to_s3d_name("layers.2.1.bias")
    ('Conv_1a.conv2.weight', 'Conv_2b.bn.bias')
    >>> to_s3d_name("layers.8.branches.2.1.0.1.bias"), to_s3d_name("layers.8.branches.2.0.0.weight")
    ('Mixed_4b.branch2.1.bn1.bias', 'Mixed_4b.branch2.0.conv.weight')
    >>> to_s3d_name("layers.5.gates.3.fc.bias")
    'Mixed_3b.gating_b3.fc.bias'
    """
    _, place, *parts, leaf = name.split(".")
    unit = S3D_UNITS[int(place)]
    if parts[0] == "gates":
        return f"{unit}.gating_b{parts[1]}.fc.{leaf}"
    if parts[0] == "branches":
        branch, *parts = parts[1:]
        step, *parts = parts if branch in "12" or len(parts) == 2 else ["0", *parts]
        unit += f".branch{branch}.{step}"
    kind = ("conv", "bn")[int(parts[-1])]
    return f"{unit}.{kind}{int(parts[0]) + 1 if len(parts) == 2 else ''}.{leaf}"


def to_resnet_name(name: str) -> str:
    """R3D-50 of CoCLR, with the names of an image ResNet.

    >>> to_resnet_name("stem.1.bias"), to_resnet_name("stages.1.0.shortcut.0.weight")
    ('bn1.bias', 'layer2.0.downsample.0.weight')
    """
    if stem := re.fullmatch(r"stem\.([01])\.(.+)", name):
        return f"{('conv1', 'bn1')[int(stem[1])]}.{stem[2]}"
    stage, block, rest = split_block(name)
    return f"layer{stage + 1}.{block}.{rest.replace('shortcut.', 'downsample.')}"


def to_cvrl_name(name: str, depths: tuple[int, ...]) -> str:
    """R3D of CVRL in TensorFlow, whose layers are numbered: stem, its batch norm, then blocks of all stages.

    >>> to_cvrl_name("stages.1.0.conv3.weight", (3, 4, 6, 3)), to_cvrl_name("stem.1.running_var", (3, 4, 6, 3))
    ('layer_with_weights-5._expand_conv.kernel', 'layer_with_weights-1.moving_variance')
    """
    module, _, leaf = name.rpartition(".")
    if module in ("stem.0", "stem.1"):
        number, unit, is_norm = int(module[-1]), "", module == "stem.1"
    else:
        stage, block, rest = split_block(f"{module}.")
        rest, number = rest.rstrip("."), 2 + sum(depths[:stage]) + block
        unit, is_norm = f".{TENSORFLOW_UNITS[rest]}", "norm" in TENSORFLOW_UNITS[rest]
    return f"layer_with_weights-{number}{unit}.{TENSORFLOW_NORM[leaf] if is_norm else 'kernel'}"


def to_slowfast_name(name: str) -> str:
    """The slow pathway of SlowFast.

    >>> to_slowfast_name("stages.0.0.shortcut.1.weight"), to_slowfast_name("stages.3.2.conv1.weight")
    ('s2.pathway0_res0.branch1_bn.weight', 's5.pathway0_res2.branch2.a.weight')
    """
    if stem := re.fullmatch(r"stem\.([01])\.(.+)", name):
        return f"s1.pathway0_stem.{('conv', 'bn')[int(stem[1])]}.{stem[2]}"
    stage, block, letter, is_norm, leaf = split_unit(name)
    inner = f"{f'branch2.{letter}' if letter else 'branch1'}{'_bn' if is_norm else ''}"
    return f"s{stage + 2}.pathway0_res{block}.{inner}.{leaf}"


def to_pytorchvideo_name(name: str) -> str:
    """`slow_r50` of PyTorchVideo.

    >>> to_pytorchvideo_name("stages.0.0.conv2.weight"), to_pytorchvideo_name("stem.1.bias")
    ('blocks.1.res_blocks.0.branch2.conv_b.weight', 'blocks.0.norm.bias')
    """
    if stem := re.fullmatch(r"stem\.([01])\.(.+)", name):
        return f"blocks.0.{('conv', 'norm')[int(stem[1])]}.{stem[2]}"
    stage, block, letter, is_norm, leaf = split_unit(name)
    kind = "norm" if is_norm else "conv"
    inner = f"branch2.{kind}_{letter}" if letter else f"branch1_{kind}"
    return f"blocks.{stage + 1}.res_blocks.{block}.{inner}.{leaf}"


def split_unit(name: str) -> tuple[int, int, str, bool, str]:
    """Stage, block, the letter of the convolution in its bottleneck ("" for the shortcut), whether it is the batch norm
    after it, and the tensor.

    >>> split_unit("stages.3.2.bn1.weight"), split_unit("stages.0.0.shortcut.1.bias")
    ((3, 2, 'a', True, 'weight'), (0, 0, '', True, 'bias'))
    """
    stage, block, rest = split_block(name)
    unit, _, leaf = rest.partition(".")
    if unit == "shortcut":
        place, _, leaf = leaf.partition(".")
        return stage, block, "", place == "1", leaf
    return stage, block, "abc"[int(unit[-1]) - 1], unit.startswith("bn"), leaf


def split_block(name: str) -> tuple[int, int, str]:
    """Stage, block and the rest of "stages.1.0.conv1.weight"."""
    _, stage, block, rest = name.split(".", 3)
    return int(stage), int(block), rest


def find_s3d_alias(name: str) -> str:
    """The first of the two names of a tensor of S3D; other names stay.

    >>> find_s3d_alias("block3.2.branch0.0.bn.weight"), find_s3d_alias("Conv_1a.bn1.weight")
    ('Mixed_3c.branch0.0.bn.weight', 'Conv_1a.bn1.weight')
    """
    if twice := re.fullmatch(r"(block\d)\.(\d)\.(.+)", name):
        units = S3D_BLOCKS.get(twice[1], ())
        number = int(twice[2])
        return f"{units[number]}.{twice[3]}" if number < len(units) and units[number] else name
    return name
