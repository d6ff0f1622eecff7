"""The releases whose weights are known: their networks, the parts of their files, and how they were pre-trained.

A new release is a line of LAYOUTS, and a function of names.py where its names are new. What is said of pre-training is
read off the released code; what a file says of its own run goes before it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from unreel.models.released import names
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec

Values = Mapping[str, int | float | str]


@dataclass(frozen=True)
class ReleasedNetwork:
    """One of our networks under the names of a release; `mark` is a part of a name that only such a file has."""

    backbone: str
    rename: Callable[[str], str]
    options: Mapping[str, float | bool] = field(default_factory=dict, hash=False)
    mark: str = ""


@dataclass(frozen=True)
class Pretraining:
    """The clips and views of a release, and in sentences what is known of its training, what is not, what is otherwise
    here."""

    clip: ClipSpec
    views: ViewSpec
    known: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A release: `parts` are where its files keep the network that is used, the preferred first; `others` networks that
    are not used, and why. `heads` may stand beside the layers of the network."""

    source: str
    networks: tuple[ReleasedNetwork, ...]
    describe: Callable[[ReleasedNetwork, Values], Pretraining]
    parts: tuple[str, ...] = ("",)
    others: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] = ("linear.", "fc.", "classifier.", "final_fc.", "head.")


def read_option(values: Values, name: str) -> int | float | str | None:
    """An option of the training script that a file keeps, e.g. "opt.modality"; None where it has none."""
    return next((value for key, value in values.items() if key.rpartition(".")[2] == name), None)


def list_facts(values: Values, options: tuple[str, ...]) -> tuple[str, ...]:
    """What a file says of its own run, e.g. "modality res (from the file)"."""
    found = {name: read_option(values, name) for name in options}
    return tuple(f"{name} {value} (from the file)" for name, value in found.items() if value is not None)


def choose_iic_views(values: Values) -> tuple[str, ...]:
    """The views of the option `modality` of IIC and IICv2; residual frames where a file does not say."""
    second = {"rgb": "rgb", "u": "flow-u", "v": "flow-v"}.get(str(read_option(values, "modality")), "residual")
    return tuple(dict.fromkeys(("rgb", second)))


def describe_iic(network: ReleasedNetwork, values: Values) -> Pretraining:
    views = choose_iic_views(values)
    known = ("16 consecutive frames, resized to 171 x 128, crop 112, in [0, 1]", f"views {' and '.join(views)}")
    unknown: tuple[str, ...] = (
        () if read_option(values, "modality") else ("the second view: taken as residual, the script's default",)
    )
    if any(view.startswith("flow") for view in views):
        unknown += ("how their flow (TV-L1, kept as pictures) differs from the DIS flow that is computed here",)
    spec = ViewSpec(views, 112, ResidualSpec(boundary="wrap", rescale=True))
    facts = list_facts(values, ("dataset", "modality", "neg", "intra_neg", "epoch"))
    return Pretraining(ClipSpec(16), spec, (*known, *facts), (*unknown, *ask_data(values)))


def describe_iic_v2(network: ReleasedNetwork, values: Values) -> Pretraining:
    modality = str(read_option(values, "modality") or "res")
    views = {"rgb": ("rgb",), "rgb+res": ("rgb", "residual")}.get(modality, ("residual",))
    standardize = read_option(values, "aug") is not False
    scale = "mean and deviation of ImageNet" if standardize else "in [0, 1]"
    known = (f"16 consecutive frames, resized to 171 x 128, crop 112, {scale}", f"views {' and '.join(views)}, raw")
    unknown = () if read_option(values, "modality") else ("the views: taken as residual alone, the script's default",)
    spec = ViewSpec(views, 112, ResidualSpec(boundary="wrap", rescale=False), standardize)
    facts = list_facts(values, ("dataset", "modality", "neg", "intra_neg", "epoch"))
    return Pretraining(ClipSpec(16), spec, (*known, *facts), (*unknown, *ask_data(values)))


def describe_dualvar(network: ReleasedNetwork, values: Values) -> Pretraining:
    known = ("16 frames, every fourth of the file, crop 112", "RGB with mean and deviation of ImageNet")
    differs = ("frames were resized to 128 wide and 171 high (a slip of the release); here to 171 x 128",)
    facts = list_facts(values, ("epoch", "best_acc"))
    spec = ViewSpec(("rgb",), 112, standardize=True)
    return Pretraining(ClipSpec(16, stride_frames=4), spec, (*known, *facts), ask_data(values), differs)


def describe_coclr(network: ReleasedNetwork, values: Values) -> Pretraining:
    known = ("32 consecutive frames, crop 128", "mean and deviation of ImageNet")
    unknown = ("whether this is the network of RGB or of flow: taken as RGB", *ask_data(values))
    differs = ("frames are resized to 195 x 146 before the crop, which is unreel's own choice",)
    spec = ViewSpec(("rgb",), 128, standardize=True)
    return Pretraining(ClipSpec(32), spec, (*known, *list_facts(values, ("epoch", "best_acc"))), unknown, differs)


def describe_cvrl(network: ReleasedNetwork, values: Values) -> Pretraining:
    known = ("16 frames, one of 2 (32 frames in its evaluations), crop 224, in [0, 1]", "padding of TensorFlow")
    unknown = ("whether labels were used: supervised checkpoints of the release have the same names", "the videos")
    differs = ("frames are resized to 341 x 256 before the crop; the shorter side was resized to 256 there",)
    return Pretraining(ClipSpec(16, stride_frames=2), ViewSpec(("rgb",), 224), known, unknown, differs)


def describe_torchvision(network: ReleasedNetwork, values: Values) -> Pretraining:
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    known: tuple[str, ...] = (
        "its own mean and deviation",
        "15 frames a second",
        "trained with labels (Kinetics-400 where published)",
    )
    if network.backbone == "s3d":
        clip, size, resize = ClipSpec(128, fps=15.0, stride_frames=0), 224, "frames were resized to 256 x 256"
        differs: tuple[str, ...] = (f"{resize} before the crop of 224; here to 341 x 256",)
    else:
        clip, size, differs = ClipSpec(16, fps=15.0, stride_frames=0), 112, ()
    known += (f"{clip.num_frames} frames, crop {size}",)
    return Pretraining(clip, ViewSpec(("rgb",), size, standardize=True, mean=mean, std=std), known, (), differs)


def describe_slowfast(network: ReleasedNetwork, values: Values) -> Pretraining:
    text = str(values.get("cfg", ""))
    found = {
        name: re.search(rf"^\s*{name}: ([1-9]\d{{0,2}})\s*$", text, re.M) for name in ("NUM_FRAMES", "SAMPLING_RATE")
    }
    num_frames, rate = (int(match[1]) if match else 8 for match in found.values())
    kind = re.search(r"^CONTRASTIVE:\n(?:\s.*\n)*?\s+TYPE: (\w+)", text, re.M)
    known: tuple[str, ...] = (
        f"{num_frames} frames, one of {rate} at 30 frames a second, crop 224",
        "mean 0.45 and deviation 0.225",
    )
    known += (f"contrastive, of type {kind[1]} (from the file)",) if kind else ()
    unknown = () if all(found.values()) else ("frames and sampling rate: taken as 8 x 8, the configurations' own",)
    differs = ("the shorter side was resized to 256; here frames are resized to 341 x 256, whatever their shape",)
    spec = ViewSpec(("rgb",), 224, standardize=True, mean=(0.45,) * 3, std=(0.225,) * 3)
    clip = ClipSpec(num_frames, fps=30 / rate, stride_frames=0)
    return Pretraining(clip, spec, known, (*unknown, "the data and whether labels were used"), differs)


def ask_data(values: Values) -> tuple[str, ...]:
    """The videos of pre-training, where a file does not name them."""
    return () if read_option(values, "dataset") else ("the videos of pre-training",)


CLIP_ORDER = (ReleasedNetwork("r3d", names.to_clip_order_name), ReleasedNetwork("r21d", names.to_clip_order_name))
C3D = ReleasedNetwork("c3d", names.to_c3d_name)
S3D = partial(ReleasedNetwork, "s3d", names.to_s3d_name, {"norm_eps": 1e-5})
S3DG = partial(ReleasedNetwork, "s3dg", names.to_s3d_name, {})
SLOW_STEM = {"slow_stem": True}
CVRL_NETWORKS: tuple[tuple[int, tuple[int, ...], dict[str, float | bool]], ...] = (
    (50, (3, 4, 6, 3), {}),
    (101, (3, 4, 23, 3), {}),
    (152, (3, 8, 36, 3), {"width": 2}),
)
MOMENTUM_COPY = "the momentum copy of the network"

LAYOUTS = {
    "iic": Layout("Tao, Wang, Yamasaki 2020, BestJuly/IIC", (*CLIP_ORDER, C3D), describe_iic),
    "iic-v2": Layout(
        "Tao, Wang, Yamasaki 2022, BestJuly/IICv2",
        (*CLIP_ORDER, C3D, ReleasedNetwork("r3d18", names.to_numbered_name), S3D()),
        describe_iic_v2,
        ("base_network",),
    ),
    "dualvar": Layout(
        "Zhang et al. 2021, lzhangbj/DualVar",
        (*CLIP_ORDER, C3D, S3D("series_proj_head"), S3DG("series_proj_head")),
        describe_dualvar,
        ("encoder_q.0", "backbone"),
        {"encoder_k.0": MOMENTUM_COPY},
    ),
    "coclr": Layout(
        "Han, Xie, Zisserman 2020, TengdaHan/CoCLR",
        (S3D(), S3DG(), ReleasedNetwork("r3d50", names.to_resnet_name)),
        describe_coclr,
        ("encoder_q.0", "backbone"),
        {"encoder_k.0": MOMENTUM_COPY, "sampler.0": "the network of the other stream, which chose positives"},
    ),
    "cvrl": Layout(
        "Qian et al. 2021, tensorflow/models",
        tuple(
            ReleasedNetwork(f"r3d{depth}tf", partial(names.to_cvrl_name, depths=depths), options)
            for depth, depths, options in CVRL_NETWORKS
        ),
        describe_cvrl,
        ("backbone", ""),
    ),
    "torchvision": Layout(
        "torchvision.models.video",
        (
            ReleasedNetwork("r3d18", names.to_torchvision_name),
            ReleasedNetwork("r3d18", names.to_torchvision_name, {"mixed": True}),
            ReleasedNetwork("r21d18", names.to_torchvision_factorised_name),
            ReleasedNetwork("s3d", names.to_torchvision_s3d_name),
        ),
        describe_torchvision,
    ),
    "slowfast": Layout(
        "Feichtenhofer et al. 2021, facebookresearch/SlowFast; slow_r50 of PyTorchVideo",
        (
            ReleasedNetwork("r3d50", names.to_slowfast_name, SLOW_STEM),
            ReleasedNetwork("r3d50", names.to_pytorchvideo_name, SLOW_STEM),
        ),
        describe_slowfast,
        ("backbone", ""),
        {"backbone_hist": MOMENTUM_COPY},
        ("head.", "blocks.5."),
    ),
}
