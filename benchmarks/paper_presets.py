"""The presets and recipes of papers against the papers: each setting as the release has it and as a run of ours has it.

    python benchmarks/paper_presets.py                        # all settings
    python benchmarks/paper_presets.py --deviations           # those that differ, each with its reason
    python benchmarks/paper_presets.py --docs docs/methods.md # puts the latter between the marks in the file

Values of the releases were read in their code. Ours are read off the run that a preset gives after every "auto" is
resolved: its settings, options, clips, views, network and memory. A test fails where a value differs without a reason,
and where a reason stands at a value that does not differ.
"""

import dataclasses
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro

from unreel.evaluation.finetuning.lr_schedule import compute_lr as compute_recipe_lr
from unreel.evaluation.finetuning.recipe_presets import LINEAR_RECIPES, RECIPE_PRESETS
from unreel.evaluation.finetuning.recipes import FINETUNE_AUGMENTATIONS
from unreel.evaluation.protocols.retrieval import build_retrieval_protocol
from unreel.io.atomic_write import atomic_write_text
from unreel.losses.memory_bank import MemoryBank
from unreel.methods.registry import load_method_module
from unreel.models.registry import build_backbone
from unreel.training.job import build_encoder_spec
from unreel.training.lr_schedule import compute_lr
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.types import Instance
from unreel.video.sampling.batch_sampler import steps_per_epoch
from unreel.video.sampling.clip_sampling import compute_uniform_starts, sample_random_clip
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.augmentation import Augmentation
from unreel.views.two_views import select_augmentation
from unreel.views.view_spec import ViewSpec

MARKS = ("<!-- paper presets -->", "<!-- end of paper presets -->")
NUM_VIDEOS = 2000
TRUNCATED_DEVIATION = 0.87962566  # of a standard normal distribution cut at two deviations
STEPS_PER_EPOCH = 10


class Line(NamedTuple):
    """A setting: its value in the release, how ours is read, why ours differs, what the paper says if that is other.

    A string instead of a reader is a fact of the code that no setting holds.
    """

    name: str
    released: str
    read: Callable[[Any], object] | str
    why: str = ""
    paper: str = ""


class Row(NamedTuple):
    """A line with our value."""

    preset: str
    line: Line
    ours: str

    @property
    def is_equal(self) -> bool:
        return self.ours == self.line.released


class Run:
    """What a preset gives for `NUM_VIDEOS` videos, built without memory for weights."""

    def __init__(self, preset: str) -> None:
        config = resolve_config(build_run_config(preset, {"device": "cpu"}))
        self.o, self.s, self.spec = config.options, config.settings, build_encoder_spec(config, None)
        instances = [Instance(f"{n}.mp4", n, 0.0, 10.0) for n in range(NUM_VIDEOS)]
        with torch.device("meta"):
            self.network = build_backbone(self.s.backbone)
            self.method = load_method_module(preset).Method(self.network, instances, self.o, 0)
        self.preset, self.instances = preset, instances

    def count_parameters(self) -> str:
        return f"{sum(p.numel() for p in self.network.parameters()):,}"

    def describe_first_head(self) -> str:
        torch.manual_seed(0)
        method = load_method_module(self.preset).Method(self.network, self.instances, self.o, 0)
        return describe_first_linear(method.head)

    def describe_clip(self) -> str:
        return f"{self.s.num_frames} frames, stride {self.s.stride_frames}"

    def describe_resize(self) -> str:
        return "{} x {} high x wide".format(*self.spec.views.resize_hw)

    def describe_residual(self) -> str:
        residual = self.spec.views.residual
        sign = "x[t] - x[t-1]" if residual.sign == "forward" else "x[t-1] - x[t]"
        first = {"wrap": "first minus last", "lead-in": "a frame before", "zero": "zero"}[residual.boundary]
        return f"{sign}, at the start {first}, {'(r + 1) / 2' if residual.rescale else 'raw'}"

    def describe_augmentation(self, clip: int) -> str:
        return describe_augmentation(select_augmentation(self.o, "clip0" if clip == 1 else "clip1"))

    def describe_optimizer(self) -> str:
        return f"{self.s.optimizer}, momentum {self.s.momentum:g}, weight decay {self.s.weight_decay:g}"

    def rates(self) -> list[float]:
        total = STEPS_PER_EPOCH * self.s.epochs
        return [compute_lr(step, total, self.s, STEPS_PER_EPOCH) for step in range(total)]

    def describe_drops(self) -> str:
        return describe_drops(self.rates())

    def describe_banks(self) -> str:
        shapes = [tuple(bank.rows.shape) for bank in self.method.banks.values()]
        return f"{len(shapes)} of {shapes[0][1]} numbers a video" if {s[0] for s in shapes} == {NUM_VIDEOS} else "?"

    def describe_head(self, head: torch.nn.Module) -> str:
        widths = [m.in_features for m in head.modules() if isinstance(m, torch.nn.Linear)]
        last = [m.out_features for m in head.modules() if isinstance(m, torch.nn.Linear)][-1:]
        return " -> ".join(map(str, widths + last)) or "none"

    def draw_clips(self, length: int = 100) -> list[np.ndarray]:
        """Frames of 2000 clips of a video, whose uniforms are evenly spread."""
        return [
            sample_random_clip(np.arange(length), self.spec.clip, u) for u in np.linspace(0, 1, 2000, endpoint=False)
        ]

    def last_frame(self, length: int = 100) -> str:
        """The last frame that a clip of a video can show."""
        return "used" if max(int(clip.max()) for clip in self.draw_clips(length)) == length - 1 else "never used"

    def describe_starts(self, length: int = 100) -> str:
        """The frames at which a clip begins, and whether all are equally frequent."""
        starts, counts = np.unique([int(clip.min()) for clip in self.draw_clips(length)], return_counts=True)
        how = "uniform" if np.ptp(counts) <= 1 else "not uniform"
        return f"{how}, {starts.min()} to length - {length - starts.max()}"

    def describe_first_memory(self) -> str:
        """The bounds of the first rows of a memory, and whether they are evenly filled."""
        width = int(next(iter(self.method.banks.values())).rows.shape[1])
        rows = MemoryBank(200, width, seed=0).rows / np.sqrt(3 / width)
        is_even = abs(float(rows.var()) - 1 / 3) < 0.01 and 0.99 < float(rows.abs().max()) <= 1
        return "uniform, ± sqrt(3 / width)" if is_even else "?"

    def describe_warm_up(self) -> str:
        """Where the line of the warm-up ends: at the rate itself, or where the cosine is by then."""
        settings, per_epoch = self.s, 1000
        last = round(per_epoch * settings.warmup_epochs)
        total = per_epoch * settings.epochs
        end = compute_lr(last, total, settings, per_epoch)
        slope = compute_lr(1, total, settings, per_epoch) - compute_lr(0, total, settings, per_epoch)
        return "the cosine" if abs(slope * last - end) < 1e-6 * settings.lr else "?"


def describe_augmentation(augmentation: Augmentation) -> str:
    """The operations in their order, with their probabilities."""
    a = augmentation
    parts = [f"{a.plain:g} of clips the crop alone"] if a.plain else []
    parts += ["resized crop" if a.resized_crop else "random crop"]
    parts += [f"flip {a.flip:g}"] if a.flip else []
    parts += [f"jitter {', '.join(f'{x:g}' for x in a.jitter)} with {a.jitter_p:g}"] if a.jitter_p else []
    parts += [
        f"{name} {value:g}" for name, value in (("grey", a.grey), ("blur", a.blur), ("solarise", a.solarize)) if value
    ]
    return "; ".join(parts)


def describe_drops(rates: list[float]) -> str:
    """The first rate, and at which epochs it is multiplied by what."""
    drops = [n for n in range(1, len(rates)) if rates[n] < rates[n - 1]]
    factors = sorted({f"{rates[n] / rates[n - 1]:.3g}" for n in drops})
    return f"{rates[0]:g}, times {' or '.join(factors)} at {', '.join(f'{n / STEPS_PER_EPOCH:g}' for n in drops)}"


def say(value: bool) -> str:
    return "yes" if value else "no"


WHOLE = [
    Line("videos", "whole", lambda r: "whole" if not r.s.segment_s else f"cut every {r.s.segment_s:g} s"),
    Line("videos trained on", "all", lambda r: "all" if not r.s.held_out else f"all but {r.s.held_out:g}"),
    Line("checkpoint used", "the last", lambda r: "the last" if r.s.best_checkpoint == "last" else "by monitors"),
    Line(
        "partial batch at the end of an epoch",
        "dropped",
        lambda r: "dropped" if steps_per_epoch(39, 16) == 2 else "used",
    ),
]
FRAMES = Line("frames", "JPEG files", "decoded from the video", "no second copy of the data; JPEG loses a little")
IIC_DATA = [
    FRAMES,
    Line("clip", "16 frames, stride 1", Run.describe_clip),
    Line("size", "112", lambda r: r.s.size),
    Line("frames resized to", "128 x 171 high x wide", Run.describe_resize),
    Line("parameters of the network", "14,361,792", Run.count_parameters),
    Line("starts of clips", "uniform, 0 to length - 16", Run.describe_starts),
    Line("last frame of a video", "never used", Run.last_frame, "flow is not read, so there is no frame less"),
    Line("shorter videos", "an error", lambda r: {"loop": "looped"}[r.s.short], "a short video is of use too"),
]
IIC_LOSS = [
    Line("K", "1024", lambda r: r.o.num_negatives),
    Line("tau", "0.07", lambda r: r.o.temperature),
    Line("momentum of the memory", "0.5", lambda r: r.o.memory_momentum),
    Line("first memory", "uniform, ± sqrt(3 / width)", Run.describe_first_memory),
    Line("rows of memory after a step", "of unit length", lambda r: describe_updated_rows()),
    Line("a video among its own negatives", "yes", lambda r: say(not r.o.exclude_self)),
    Line(
        "positive",
        "memory of the other view",
        lambda r: "memory of the other view" if r.o.positives == "memory" else "batch",
    ),
    Line("gradient of the intra-negative", "no", lambda r: say(r.o.intra_source != "memory")),
    Line("intra-negatives in the same softmax", "yes", lambda r: say(r.o.intra_softmax == "shared")),
    Line("loss", "softmax", lambda r: r.o.loss),
    Line(
        "passes of batch norm", "one each view", lambda r: "one each view" if r.o.batch_norm == "separate" else "joint"
    ),
]
IIC_RUN = [
    Line("optimiser", "sgd, momentum 0.9, weight decay 0.0001", Run.describe_optimizer),
    Line("batch", "16", lambda r: r.s.batch_size),
    Line("epochs", "240", lambda r: r.s.epochs),
    Line("seed", "632", lambda r: r.s.seed),
    Line("precision", "float32", lambda r: {"32-true": "float32"}.get(r.s.precision, r.s.precision)),
]
LINES: dict[str, list[Line]] = {
    "iic-paper": [
        *WHOLE,
        *IIC_DATA,
        Line(
            "clips of a video",
            "one, for both views",
            lambda r: "one, for both views" if r.o.pairs == "one-clip" else "two",
        ),
        Line("augmentation", "random crop", lambda r: r.describe_augmentation(1)),
        Line("the same for all frames", "yes", lambda r: say(r.o.consistent)),
        Line("mean and deviation of ImageNet", "no", lambda r: say(r.o.standardize)),
        Line("views", "rgb, residual", lambda r: ", ".join(r.spec.views.names), paper="rgb, residual or flow"),
        Line("residual", "x[t] - x[t-1], at the start first minus last, (r + 1) / 2", Run.describe_residual),
        Line(
            "intra-negative",
            "repeat",
            lambda r: r.o.intra_negatives,
            paper="repeat; shuffle permutes frames, not chunks",
        ),
        Line("head", "none", lambda r: r.describe_head(r.method.head)),
        Line("features of unit length", "no", lambda r: say(r.o.normalize)),
        Line("memory", "3 of 512 numbers a video", Run.describe_banks),
        *IIC_LOSS,
        *IIC_RUN,
        Line("rate", "0.01, times 0.2 at 45, 90, 125, 160", Run.describe_drops),
    ],
    "iic-v2": [
        *WHOLE,
        *IIC_DATA,
        Line(
            "clips of a video",
            "two, independent",
            lambda r: {"independent": "two, independent"}.get(r.o.pairs, r.o.pairs),
        ),
        Line(
            "augmentation",
            "random crop; flip 0.5; jitter 0.4, 0.4, 0.4, 0.1 with 0.8; grey 0.2; blur 0.5",
            lambda r: r.describe_augmentation(1),
        ),
        Line("the flip comes", "after the blur", "after the crop", "a flip and a blur can be exchanged"),
        Line("hue", "in HSV", "in YIQ", "one set of operations serves several methods; cvrl-paper has HSV"),
        Line("mean and deviation of ImageNet", "yes", lambda r: say(r.o.standardize)),
        Line("views", "residual, residual", lambda r: ", ".join(r.spec.views.names)),
        Line("residual", "x[t] - x[t-1], at the start first minus last, raw", Run.describe_residual),
        Line("intra-negative", "shuffle", lambda r: r.o.intra_negatives),
        Line("made from", "residual", lambda r: r.o.intra_view),
        Line("head", "512 -> 512 -> 128", lambda r: r.describe_head(r.method.head)),
        Line("features of unit length", "yes", lambda r: say(r.o.normalize)),
        Line("memory", "3 of 128 numbers a video", Run.describe_banks),
        *IIC_LOSS,
        *IIC_RUN,
        Line("rate", "0.1", lambda r: f"{r.rates()[0]:g}"),
        Line(
            "cosine",
            "a value an epoch, the last one 0",
            lambda r: (
                "a value a step" if len(set(r.rates()[:STEPS_PER_EPOCH])) > 1 else "a value an epoch, the last one 0"
            ),
            "an epoch at rate 0 changes nothing but batch statistics",
        ),
    ],
    "cvrl-paper": [
        *WHOLE,
        Line("clip", "16 frames, stride 2", Run.describe_clip),
        Line("size", "224", lambda r: r.s.size),
        Line(
            "crops are cut from",
            "frames as stored",
            lambda r: "frames of {} x {}".format(*r.spec.views.resize_hw),
            "a decoded frame costs the same for every file; wide pictures are squeezed to 4 : 3",
        ),
        Line(
            "grey levels after the crop",
            "whole numbers",
            "fractions",
            "rounding loses what the resize has computed",
        ),
        Line(
            "distance of the clips",
            "P(t), decreasing, power 1",
            lambda r: f"P(t), {r.o.pairs}, power {r.o.interval_power:g}",
        ),
        Line("shorter videos", "loop", lambda r: r.s.short),
        Line(
            "augmentation of clip 1",
            "resized crop; flip 0.5; jitter 0.8, 0.8, 0.8, 0.2 with 0.8; grey 0.2; blur 1",
            lambda r: r.describe_augmentation(1),
        ),
        Line(
            "augmentation of clip 2",
            "resized crop; flip 0.5; jitter 0.8, 0.8, 0.8, 0.2 with 0.8; grey 0.2; blur 0.1; solarise 0.2",
            lambda r: r.describe_augmentation(2),
        ),
        Line(
            "crop, contrast, saturation, hue, blur",
            "TensorFlow's",
            lambda r: "TensorFlow's" if select_augmentation(r.o, "clip0").tensorflow else "torchvision's",
        ),
        Line("the same for all frames", "yes", lambda r: say(r.o.consistent)),
        Line("mean and deviation of ImageNet", "no", lambda r: say(r.o.standardize)),
        Line("parameters of the network", "31,672,128", Run.count_parameters),
        Line(
            "first weights of the network",
            "truncated normal, variance 1 / fan-in",
            lambda r: describe_first_convolution(r.s.backbone),
        ),
        Line("first weights of the head", "Glorot, biases 0", Run.describe_first_head),
        Line("padding", "SAME", lambda r: {"SameConv3d": "SAME"}.get(type(r.network.stem[0]).__name__, "symmetric")),
        Line("head", "2048 -> 2048 -> 2048 -> 2048 -> 128", lambda r: r.describe_head(r.method.head)),
        Line("batch norm of the head, momentum", "0.003", lambda r: f"{r.method.head.layers[1].momentum:g}"),
        Line("batch norm of the network, momentum", "0.1", lambda r: f"{r.network.stem[1].momentum:g}"),
        Line("batch norm over all processes", "yes", lambda r: say(r.s.sync_batch_norm)),
        Line("tau", "0.1", lambda r: r.o.temperature),
        Line("optimiser", "sgd, momentum 0.9, weight decay 1e-06", Run.describe_optimizer),
        Line("weight decay on", "kernels", lambda r: "all weights" if r.s.decay_all else "kernels"),
        Line("batch", "1024", lambda r: r.s.batch_size),
        Line("epochs", "800", lambda r: r.s.epochs, paper="800; 200 in ablations: cvrl-paper-200"),
        Line("rate", "0.32", lambda r: f"{r.s.lr:g}"),
        Line("warm-up", "5 epochs", lambda r: f"{r.s.warmup_epochs:g} epochs"),
        Line(
            "cosine begins", "at step 0", lambda r: {"cosine-from-start": "at step 0"}.get(r.s.schedule, r.s.schedule)
        ),
        Line("warm-up is a line from 0 to", "the cosine", Run.describe_warm_up),
        Line(
            "steps of 200 epochs of Kinetics-600",
            "71,488",
            lambda r: f"{200 * steps_per_epoch(366_016, r.s.batch_size):,}",
            "the release cuts batches across epochs; an epoch here has full batches of its own",
        ),
        Line(
            "gradients of processes",
            "summed",
            "averaged",
            "so the rate of 0.32 acts like 0.32 times the replicas there; sweep --lr",
        ),
        Line(
            "precision",
            "bfloat16",
            lambda r: "bfloat16 on a GPU" if r.s.precision == "32-true" else r.s.precision,
            "a CPU computes in float32; weights and head are float32",
        ),
    ],
    "dual-paper": [
        *[line for line in WHOLE if line.name != "checkpoint used"],
        Line(
            "checkpoint used",
            "epoch 189 of 200",
            lambda r: f"epoch {r.s.epochs - 1} of {r.s.epochs}" if r.s.best_checkpoint == "last" else "by monitors",
            "the last one is defined for every length; the rate is a hundredth by then",
        ),
        Line("clip", "16 frames, stride 4", Run.describe_clip),
        Line("size", "112", lambda r: r.s.size),
        Line("frames resized to", "171 x 128 high x wide", Run.describe_resize, "the release swaps the two by mistake"),
        FRAMES,
        Line("interpolation", "bicubic", "bilinear", "one decoder serves all methods"),
        Line("parameters of the network", "14,365,303", Run.count_parameters),
        Line(
            "clips of a video",
            "two, independent",
            lambda r: {"independent": "two, independent"}.get(r.o.pairs, r.o.pairs),
        ),
        Line(
            "beyond the ends of a video",
            "border frames repeat",
            lambda r: {"border": "border frames repeat"}.get(r.s.short, r.s.short),
        ),
        Line("all clips backwards", "0.5", lambda r: f"{r.o.time_reversal:g}"),
        Line(
            "augmentation of clip 1",
            "0.2 of clips the crop alone; random crop; jitter 0.8, 0.8, 0.8, 0.2 with 0.64; blur 0.5",
            lambda r: r.describe_augmentation(1),
        ),
        Line(
            "augmentation of clips 2 and 3",
            "random crop; jitter 0.8, 0.8, 0.8, 0.2 with 0.64; blur 0.5",
            lambda r: r.describe_augmentation(2),
        ),
        Line("hue", "in HSV", "in YIQ", "one set of operations serves several methods; cvrl-paper has HSV"),
        Line("the same for all frames", "yes", lambda r: say(r.o.consistent)),
        Line("mean and deviation of ImageNet", "yes", lambda r: say(r.o.standardize)),
        Line("head of the clip", "512 -> 512 -> 128", lambda r: r.describe_head(r.method.heads.clip)),
        Line("head of the series", "512 -> 512 -> 128", lambda r: r.describe_head(r.method.heads.series)),
        Line("segments x width", "2 x 64", lambda r: f"{r.o.segments} x {r.o.segment_width}"),
        Line(
            "terms",
            "clips, series, ranking",
            lambda r: ", ".join(["clips"] + ["series"] * r.o.series + ["ranking"] * r.o.shuffle_rank),
        ),
        Line("tau, theta", "0.07, 0.05", lambda r: f"{r.o.temperature:g}, {r.o.theta:g}"),
        Line("limit of the exponent", "5", lambda r: f"{r.o.max_exponent:g}"),
        Line(
            "passes of batch norm",
            "the shuffled clip apart",
            lambda r: "the shuffled clip apart" if r.o.batch_norm == "release" else "joint",
        ),
        Line("batch norm over all processes", "yes", lambda r: say(r.s.sync_batch_norm)),
        Line("precision", "float32", lambda r: {"32-true": "float32"}.get(r.s.precision, r.s.precision)),
        Line("optimiser", "sgd, momentum 0.9, weight decay 0.0001", Run.describe_optimizer),
        Line("batch", "64", lambda r: r.s.batch_size),
        Line("epochs", "200", lambda r: r.s.epochs),
        Line("rate", "0.003, times 0.1 at 120, 160", Run.describe_drops),
        Line(
            "gradient through the gathering of processes",
            "partly lost, one contrast 1/8",
            "whole, equal weights",
            "a slip: on one GPU the release has equal weights too",
        ),
    ],
    "dual-moco-paper": [
        Line("limit of the exponent", "none", lambda r: f"{r.o.max_exponent:g}" if r.o.max_exponent else "none"),
        Line("keys", "16384", lambda r: len(r.method.clip_queue.rows)),
        Line(
            "momentum of the teacher",
            "0.999 from the first step",
            lambda r: (
                f"{r.method.teacher.momentum:g} "
                + ("after a rise" if r.method.teacher.warm_up else "from the first step")
            ),
        ),
        Line(
            "batch norm of the teacher",
            "its batch, over all processes",
            lambda r: {"batch": "its batch, over all processes"}.get(r.method.teacher.norm_mode, "running"),
        ),
        Line(
            "shuffled batch norm",
            "of no effect beside SyncBN",
            lambda r: "left out" if r.s.sync_batch_norm else "missing",
            "statistics over all processes do not depend on the order",
        ),
        Line(
            "older keys of a video",
            "negatives",
            lambda r: "left out" if r.method.clip_queue.exclude_own else "negatives",
        ),
        Line(
            "first keys of the series",
            "means of 2 unit vectors",
            lambda r: f"means of {r.o.segments} unit vectors" if r.o.queue_style == "release" else "unit vectors",
        ),
        Line(
            "passes of batch norm",
            "clip 1 apart from its copies",
            lambda r: "clip 1 apart from its copies" if r.o.batch_norm == "release" else "joint",
        ),
        Line(
            "passes for the ranking",
            "on the query's side",
            lambda r: "on the query's side" if r.o.framework == "queue" else "both",
        ),
    ],
}
IIC_STARTS = ", ".join(str(int(centre - 8)) for centre in np.linspace(8, 100 - 8, 10))
FINETUNE_VALIDATION = Line(
    "validation videos",
    "800 of 9537, random",
    lambda r: f"{round(r.validation_share * 9537)} of 9537, whole groups",
    "recordings of one group on both sides make the validation loss blind",
)
AS_LINEAR, CHOSEN = "as in its linear protocol", "ours, not tuned: the paper's value could not be had"
RECIPE_LINES: dict[str, list[Line]] = {
    "finetune iic": [
        Line("trained", "all layers", lambda r: describe_trained(r)),
        Line("layer and dropout", "linear, none", lambda r: f"linear, {r.dropout or 'none'}"),
        Line("optimiser", "sgd, rate 0.001, momentum 0.9, weight decay 0.0005", lambda r: describe_recipe_optimizer(r)),
        Line("batch, epochs", "16, 150", lambda r: f"{r.batch_size}, {r.epochs}"),
        Line("schedule", "plateau, times 0.1, patience 50, least 1e-05", lambda r: describe_plateau(r)),
        FINETUNE_VALIDATION,
        Line(
            "checkpoint",
            "lowest validation loss",
            lambda r: {"validation": "lowest validation loss"}.get(r.select, r.select),
        ),
        Line("augmentation", "random crop", lambda r: describe_augmentation(FINETUNE_AUGMENTATIONS[r.augment])),
        Line("input", "raw residual", lambda r: f"{'raw ' * r.raw_residual}{r.view}"),
        Line(
            "test",
            "10 clips, 1 crop, mean of logits",
            lambda r: f"{r.num_clips} clips, {r.num_crops} crop, mean of {r.average}",
        ),
    ],
    "finetune iic-v2": [
        Line("schedule", "plateau, times 0.1, patience 20, least 1e-05", lambda r: describe_plateau(r)),
        Line(
            "input",
            "raw residual, not standardised",
            lambda r: f"{'raw ' * r.raw_residual}{r.view}{', not standardised' * r.plain_input}",
        ),
    ],
    "finetune dualvar": [
        Line("trained", "all layers", lambda r: describe_trained(r)),
        Line("layer and dropout", "linear, none", lambda r: f"linear, {r.dropout or 'none'}"),
        Line("optimiser", "sgd, rate 0.05, momentum 0.9, weight decay 0.001", lambda r: describe_recipe_optimizer(r)),
        Line("batch, epochs", "16, 150", lambda r: f"{r.batch_size}, {r.epochs}"),
        Line("rate", "0.05, times 0.1 at 50, 100", lambda r: describe_drops(list_recipe_rates(r))),
        FINETUNE_VALIDATION,
        Line("checkpoint", "the last", lambda r: {"last": "the last"}.get(r.select, r.select)),
        Line("first weights of the layer", "normal, 0.01", lambda r: f"normal, {r.head_std:g}"),
        Line(
            "augmentation",
            "random crop; flip 0.5; jitter 0.8, 0.8, 0.8, 0.2 with 0.8",
            lambda r: describe_recipe_augmentation(r),
        ),
        Line("stride", "2, after 4 in pre-training", lambda r: f"{4 / r.rate_factor:g}, after 4 in pre-training"),
        Line(
            "short videos",
            "padded at a random end",
            lambda r: "the last frame is held" if r.hold_short else "as the encoder",
            "which end is random there; such videos are few",
        ),
        Line(
            "test",
            "10 clips, 1 crop, mean of softmax",
            lambda r: f"{r.num_clips} clips, {r.num_crops} crop, mean of {r.average}",
        ),
    ],
    "finetune dualvar-ucf": [
        Line("epochs", "100", lambda r: r.epochs),
        Line("rate", "0.05, times 0.1 at 30, 60, 80", lambda r: describe_drops(list_recipe_rates(r))),
    ],
    "finetune cvrl": [
        Line("trained", "no code", lambda r: describe_trained(r), "as the paper", "all layers"),
        Line(
            "labels of 1 % and 10 %",
            "no code",
            "a share of each class, at least one video",
            "as the paper; drawn anew for each draw",
            "class-balanced",
        ),
        Line("frames", "no code", lambda r: f"{16 * r.frames_factor:g}, after 16 in pre-training", AS_LINEAR),
        Line("augmentation", "no code", lambda r: describe_recipe_augmentation(r), AS_LINEAR),
        Line(
            "schedule",
            "no code",
            lambda r: f"{r.schedule} from step 0, {r.warmup_epochs:g} epochs warm-up",
            AS_LINEAR,
        ),
        Line(
            "test",
            "no code",
            lambda r: f"{r.num_clips} clips, {r.num_crops} crops of {describe_test_crop(r)}, mean of {r.average}",
            AS_LINEAR,
        ),
        Line("optimiser", "no code", lambda r: describe_recipe_optimizer(r), CHOSEN),
        Line("batch, epochs", "no code", lambda r: f"{r.batch_size}, {r.epochs}", CHOSEN),
        Line("dropout", "no code", lambda r: f"{r.dropout:g}", CHOSEN),
    ],
    "retrieval iic": [
        Line("feature", "last map, max-pooled", lambda r: describe_feature(r)),
        Line("starts of the clips in 100 frames", IIC_STARTS, lambda r: describe_test_starts(r)),
        Line("crops", "1", lambda r: r.num_crops),
        Line("features of unit length before the mean", "no", lambda r: say(r.equal_views)),
        Line("centred by", "none", lambda r: r.centring),
        Line("k", "1, 5, 10, 20, 50", lambda r: ", ".join(map(str, r.ks))),
        Line("last partial batch", "left out", "every video counts", "7 queries of UCF101 would have no answer"),
    ],
    "retrieval dualvar": [
        Line("feature", "last map, averaged", lambda r: describe_feature(r)),
        Line("clips, crops", "10, 1", lambda r: f"{r.num_clips}, {r.num_crops}"),
        Line(
            "centred by",
            "the mean of each side",
            lambda r: {"gallery": "the mean of the gallery", "own": "the mean of each side"}.get(
                r.centring, r.centring
            ),
            "the mean of the queries is known only with the whole test set; --centring own",
        ),
        Line("k", "1, 5, 10, 20, 50", lambda r: ", ".join(map(str, r.ks))),
    ],
    "linear cvrl": [
        Line("trained", "the layer alone", lambda r: describe_trained(r)),
        Line("features of unit length", "yes", lambda r: say(r.normalize)),
        Line("frames", "32, after 16 in pre-training", lambda r: f"{16 * r.frames_factor:g}, after 16 in pre-training"),
        Line("clips of a video in an epoch", "1", "1"),
        Line(
            "augmentation",
            "resized crop; flip 0.5",
            lambda r: describe_recipe_augmentation(r),
        ),
        Line("optimiser", "sgd, rate 32, momentum 0.9, weight decay 0", lambda r: describe_recipe_optimizer(r)),
        Line("batch, epochs", "1024, 100", lambda r: f"{r.batch_size}, {r.epochs}"),
        Line(
            "schedule",
            "cosine from step 0, 5 epochs warm-up",
            lambda r: f"{r.schedule} from step 0, {r.warmup_epochs:g} epochs warm-up",
        ),
        Line(
            "rate of other batches",
            "not defined",
            lambda r: "in proportion" if r.lr_batch else "the same",
            "few corpora and GPUs have batches of 1024",
        ),
        Line(
            "first weights of the layer",
            "Glorot, biases 0",
            lambda r: "Glorot, biases 0" if r.head_glorot else "PyTorch's",
        ),
        Line(
            "test",
            "10 clips, 3 crops of 256, mean of softmax",
            lambda r: f"{r.num_clips} clips, {r.num_crops} crops of {describe_test_crop(r)}, mean of {r.average}",
        ),
        Line(
            "crops are cut from",
            "frames as stored, short side 256 in tests",
            "frames of 256 x 341",
            "as in pre-training",
        ),
    ],
    "linear dualvar": [
        Line("trained", "the layer alone", lambda r: describe_trained(r)),
        Line("features of unit length", "no", lambda r: say(r.normalize)),
        Line("optimiser", "sgd, rate 0.05, momentum 0.9, weight decay 0.0001", lambda r: describe_recipe_optimizer(r)),
        Line("batch, epochs", "32, 50", lambda r: f"{r.batch_size}, {r.epochs}"),
        Line("rate", "0.05, times 0.1 at 10, 20, 30, 40", lambda r: describe_drops(list_recipe_rates(r))),
        Line("batch norm before the layer", "no, on demand", lambda r: "yes" if r.batch_norm else "no, on demand"),
        Line("first weights of the layer", "normal, 0.01", lambda r: f"normal, {r.head_std:g}"),
        Line("augmentation", "random crop", lambda r: describe_augmentation(FINETUNE_AUGMENTATIONS[r.augment])),
        FINETUNE_VALIDATION,
    ],
}


@lru_cache
def describe_first_convolution(backbone: str) -> str:
    """How the largest kernel of an untrained network is drawn, by its variance and its largest weight."""
    torch.manual_seed(0)
    kernels = [layer.weight for layer in build_backbone(backbone).modules() if isinstance(layer, torch.nn.Conv3d)]
    kernel = max(kernels, key=torch.Tensor.numel).detach()
    variance = float(kernel.var()) * kernel[0].numel()
    limit = 2 / TRUNCATED_DEVIATION  # two deviations of the normal distribution before it is truncated
    is_truncated = 0.95 * limit < float(kernel.abs().max()) * kernel[0].numel() ** 0.5 <= limit
    return f"{'truncated normal' if is_truncated else 'another'}, variance {variance:.2g} / fan-in"


def describe_first_linear(head: torch.nn.Module) -> str:
    """How the largest matrix of an untrained head is drawn: Glorot's is uniform up to sqrt(6 / (in + out))."""
    layer = max((m for m in head.modules() if isinstance(m, torch.nn.Linear)), key=lambda m: m.weight.numel())
    share = float(layer.weight.detach().abs().max()) / (6 / sum(layer.weight.shape)) ** 0.5
    biases = "no biases" if layer.bias is None else f"biases {float(layer.bias.detach().abs().max()):.2g}"
    return f"{'Glorot' if 0.99 < share <= 1 else f'up to {share:.2g} of Glorot'}, {biases}"


def describe_updated_rows() -> str:
    """Whether a row that a feature was added to has unit length."""
    bank = MemoryBank(3, 8, seed=0)
    bank.update(torch.tensor([1]), torch.full((1, 8), 9.0), momentum=0.5)
    return "of unit length" if abs(float(bank.rows[1].norm()) - 1) < 1e-6 else "as they come"


def describe_feature(r: Any) -> str:
    return {"conv5": "last map, max-pooled", "pooled": "last map, averaged"}[r.layer]


def describe_test_starts(r: Any) -> str:
    """The starts of the test clips of 16 frames of a video."""
    return ", ".join(map(str, compute_uniform_starts(np.arange(100), ClipSpec(16, stride_frames=1), r.num_clips)))


def describe_recipe_optimizer(r: Any) -> str:
    return f"{r.optimizer}, rate {r.lr:g}, momentum {r.momentum:g}, weight decay {r.weight_decay:g}"


def describe_plateau(r: Any) -> str:
    return f"{r.schedule}, times {r.drop_factor:g}, patience {r.patience}, least {r.min_lr:g}"


def describe_test_crop(r: Any) -> int:
    """Pixels, after training on 224."""
    views = ViewSpec(size=224)
    return views.resize_hw[0] if r.test_crop == "tall" else views.size


def list_recipe_rates(r: Any) -> list[float]:
    total = STEPS_PER_EPOCH * r.epochs
    return [compute_recipe_lr(step, total, r) for step in range(total)]


def describe_trained(recipe: Any) -> str:
    return {"linear": "the layer alone", "all": "all layers"}[recipe.trained]


def describe_recipe_augmentation(recipe: Any) -> str:
    return describe_augmentation(dataclasses.replace(FINETUNE_AUGMENTATIONS[recipe.augment], flip=0.5 * recipe.flip))


def build_row(name: str, line: Line, subject: Any) -> Row:
    return Row(name, line, line.read if isinstance(line.read, str) else str(line.read(subject)))


def list_rows() -> Iterator[Row]:
    """Every line of every preset and recipe, with our value."""
    for preset, lines in LINES.items():
        run = Run(preset)
        yield from (build_row(preset, line, run) for line in lines)
    for name, lines in RECIPE_LINES.items():
        kind, _, preset = name.partition(" ")
        known = {"finetune": RECIPE_PRESETS, "linear": LINEAR_RECIPES}
        recipe = known[kind][preset]() if kind in known else build_retrieval_protocol(preset)
        yield from (build_row(name, line, recipe) for line in lines)


def format_table(rows: list[Row]) -> str:
    """Markdown: preset, setting, paper (– where only the code of the release was read), release, ours, why."""
    lines = ["| preset | setting | paper | release | ours | why |", "|---|---|---|---|---|---|"]
    for row in rows:
        paper, ours = row.line.paper or "–", "equal" if row.is_equal else row.ours
        lines.append(f"| `{row.preset}` | {row.line.name} | {paper} | {row.line.released} | {ours} | {row.line.why} |")
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Args:
    """What to print, and where."""

    deviations: bool = False
    """Only what differs."""
    docs: Path | None = None
    """Put what differs between the marks in this file."""


def main(args: Args) -> None:
    rows = list(list_rows())
    differing = [row for row in rows if not row.is_equal]
    if args.docs is not None:
        text = args.docs.read_text()
        before, _, rest = text.partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        atomic_write_text(args.docs, f"{before}{MARKS[0]}\n{format_table(differing)}\n{MARKS[1]}{after}")
        return
    print(format_table(differing if args.deviations else rows))
    print(f"\n{len(rows)} settings, {len(rows) - len(differing)} equal, {len(differing)} not")


if __name__ == "__main__":
    main(tyro.cli(Args))
