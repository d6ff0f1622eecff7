"""Two views of an instance, for every method that compares a clip with another of the same instance.

`PairOptions` says which clips, how they are augmented, what is shown of them and how time is broken; a method's Config
inherits it. `PairRecipe` does it to a batch. All chance is f(seed, epoch, index) in one stream for each clip and
operation, so that an option changes the draws of nothing else.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unreel.errors import InputError, unknown_name_error
from unreel.seeding import draw_uniforms
from unreel.types import Clips, Views
from unreel.video.sampling.pair_sampling import IntervalDistribution, IntervalKind
from unreel.views import photometric
from unreel.views.intra_negatives import INTRA_NEGATIVES, shuffle_segments
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import VIEW_NAMES, ViewName, ViewSpec, make_view, to_float_clips


@dataclass(frozen=True)
class Augmentation:
    """Chances of the operations on a clip, in their order; 0 leaves one out. `plain` is the chance of the crop alone.

    Jitter is brightness, contrast, saturation and hue (see augment.color_jitter).
    """

    plain: float = 0.0
    resized_crop: bool = False
    flip: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0


AUGMENTATIONS = {
    # Source: BestJuly/IIC.
    "crop": Augmentation(),
    # Source: BestJuly/IICv2, without the flip, which would merge left and right.
    "color": Augmentation(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey=0.2, blur=0.5),
    # Source: tensorflow/models video_ssl; its blur and solarisation are the option `asymmetric`.
    "cvrl": Augmentation(resized_crop=True, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, grey=0.2),
    # Source: lzhangbj/DualVar: jitter of p 0.8 stands in a second choice of p 0.8.
    "dual": Augmentation(plain=0.2, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.64, blur=0.5),
}


@dataclass(frozen=True)
class TwoViewOptions:
    """Which two views of an instance a method compares, and the broken copy of the first."""

    pairs: Literal["one-clip", "same-moment", "independent", "decreasing", "uniform", "increasing", "mirror"] = (
        "independent"
    )
    """Both views of one clip with one draw (one-clip), one clip augmented twice (same-moment), two clips drawn apart,
    or two whose distance in time is drawn: near more often (decreasing), alike, far more often (increasing, mirror)."""
    interval_power: float = 1.0
    """Power of the law of distances: decreasing 1 - x^p, increasing x^p, mirror 1 - (1 - x)^p; the others have none."""
    first_view: ViewName = "rgb"
    """View 1, the one that is broken into the intra-negative: RGB, residual frames or one component of optical flow."""
    second_view: ViewName = "rgb"
    """View 2."""
    residual: ResidualSpec = ResidualSpec("forward", "lead-in", True)  # noqa: RUF009  # frozen, so safe as a default
    """Residual frames: sign, what stands before the first frame, and whether (r + 1) / 2; kept in the checkpoint."""
    standardize: bool = False
    """Subtract ImageNet's mean from RGB and divide by its deviation; raw residual frames are divided by it."""
    augment: Literal["crop", "color", "cvrl", "dual"] = "crop"
    """Random crop alone; crop, colour jitter, grey and blur (IICv2); resized crop, strong jitter and grey (CVRL); crop,
    strong jitter and blur, with a fifth of the first views cropped alone (DualVar)."""
    flip: bool = False
    """Mirror half of the clips left to right. Leave it off where direction matters."""
    asymmetric: bool = False
    """Blur all first and a tenth of the second views, and solarise a fifth of the second (CVRL's release)."""
    consistent: bool = True
    """One draw for all frames of a clip; off, every frame draws for itself (an ablation: the picture shakes)."""
    time_reversal: float = 0.0
    """Chance that the clips of an instance run backwards, all of them together."""
    intra_negatives: Literal["repeat", "shuffle", "shuffle-frames", "rotate", "none"] = "none"
    """How view 1 is broken: one frame repeated, two of four chunks swapped, all frames permuted, or the picture turned;
    none makes no broken copy."""

    def __post_init__(self) -> None:
        names: dict[str, Iterable[str]] = {
            "pairs": (*get_args(IntervalKind), "one-clip", "same-moment"),
            "first_view": VIEW_NAMES,
            "second_view": VIEW_NAMES,
            "augment": AUGMENTATIONS,
            "intra_negatives": (*INTRA_NEGATIVES, "none"),
        }
        for field, known in names.items():
            if getattr(self, field) not in known:
                raise unknown_name_error(field, getattr(self, field), known)
        if not 0 < self.interval_power < math.inf:
            raise InputError(f"interval_power must be above 0 and finite, got {self.interval_power}")
        if not 0 <= self.time_reversal <= 1:
            raise InputError(f"time_reversal must lie between 0 and 1, got {self.time_reversal}")
        if self.pairs == "one-clip" and self.first_view == self.second_view:
            raise InputError(
                f"both views are {self.first_view} of one clip with one draw, so they are the same tensor; "
                "set --pairs independent or another --second-view"
            )
        if self.pairs == "one-clip" and self.asymmetric:
            raise InputError("asymmetric views need a draw each, and --pairs one-clip has one; set --pairs same-moment")

    def view_spec(self, size: int) -> ViewSpec:
        """What a checkpoint keeps of this, for clips of size x size. Raises InputError."""
        return ViewSpec((self.first_view, self.second_view), size, self.residual, self.standardize)

    def interval(self) -> IntervalDistribution:
        """The law of the distance between two clips."""
        kind: Any = self.pairs if self.pairs in get_args(IntervalKind) else "independent"
        return IntervalDistribution(kind, self.interval_power)

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> "TwoViewRecipe":
        """From batches of clips to views; with `segments`, also a clip whose segments are shuffled."""
        return TwoViewRecipe(spec, seed, self, segments)


@dataclass(frozen=True)
class TwoViewRecipe:
    """Views of a batch of clips: "view1", "view2" and what the options ask for beside them.

    "intra" is view 1 broken *after* its augmentation, so appearance is the same to the pixel. With `segments`, "again"
    is clip 1 augmented once more at full strength, and "shuffled" is "again" with its segments in random order.
    """

    spec: ViewSpec
    seed: int
    options: TwoViewOptions
    segments: int = 0

    @property
    def num_clips(self) -> int:
        """Clips that are decoded for each instance."""
        return 1 if self.options.pairs in ("one-clip", "same-moment") else 2

    @property
    def interval(self) -> IntervalDistribution:
        """How the two clips are drawn; the dataset asks for it."""
        return self.options.interval()

    @torch.no_grad()
    def __call__(self, clips: Clips) -> Views:
        """Named views, each float (B, 3, T, size, size)."""
        frames, (first, second) = self._reverse_time(clips), self.spec.names
        source1 = self._augment_clips(frames[:, 0], clips, "clip0")
        source2 = source1 if self.options.pairs == "one-clip" else self._augment_clips(frames[:, -1], clips, "clip1")
        tensors = {"view1": make_view(first, source1, self.spec), "view2": make_view(second, source2, self.spec)}
        views = Views(tensors, clips.index_B, clips.video_B, clips.start_s_B, clips.epoch, draw_B=clips.draw_B)
        if self.options.intra_negatives != "none":
            tensors["intra"] = self._make_intra_negative(tensors["view1"], clips)
        if self.segments:
            tensors["again"] = make_view(first, self._augment_clips(frames[:, 0], clips, "again"), self.spec)
            u_BS = self._draw_uniforms(clips, "segments", self.segments)
            tensors["shuffled"], views.segment_order_BS = shuffle_segments(tensors["again"], u_BS, self.segments)
        return views

    def _draw_uniforms(self, clips: Clips, stream: str, count: int) -> Tensor:
        """Drawn on the CPU and left there: what is chosen by chance is known without waiting for a GPU."""
        return draw_uniforms(self.seed, clips.epoch, clips.rng_index_B, stream, count)

    def _reverse_time(self, clips: Clips) -> Tensor:
        """The frames, those of some instances backwards (lead-in included, so that residuals turn round too)."""
        if not self.options.time_reversal:
            return clips.frames
        backwards_B = self._draw_uniforms(clips, "reverse", 1)[:, 0] < self.options.time_reversal
        return photometric.apply_where(clips.frames, backwards_B, lambda chosen, _: chosen.flip(2))

    def _augment_clips(self, frames: Tensor, clips: Clips, stream: str) -> Tensor:
        """Float clips (B, C, T, size, size) of uint8 frames (B, T, H, W, C)."""
        how, batch = select_augmentation(self.options, stream), to_float_clips(frames)
        num_clips, num_frames = batch.shape[0], batch.shape[2]
        repeats = 1 if self.options.consistent else num_frames
        plain_B1 = self._draw_uniforms(clips, f"{stream}/plain", 1) < how.plain if how.plain else None

        def draw(op: str, count: int) -> Tensor:
            u_N = self._draw_uniforms(clips, f"{stream}/{op}", count * repeats).view(-1, count)
            if plain_B1 is not None and op not in ("crop", "flip"):
                u_N = u_N.masked_fill(plain_B1.repeat_interleave(repeats, dim=0), 1.0)  # above every chance
            return u_N

        if self.options.consistent:
            return augment_clips(batch, how, draw, self.spec.size)
        single = batch.transpose(1, 2).flatten(0, 1)[:, :, None]  # clips of one frame each
        out = augment_clips(single, how, draw, self.spec.size)
        return out.view(num_clips, num_frames, *out.shape[1:]).squeeze(3).transpose(1, 2)

    def _make_intra_negative(self, view: Tensor, clips: Clips) -> Tensor:
        function, count = INTRA_NEGATIVES[self.options.intra_negatives]
        return function(view, self._draw_uniforms(clips, "intra", count(view.shape[2])))


def select_augmentation(options: TwoViewOptions, stream: str) -> Augmentation:
    """How "clip0", "clip1" or "again" is augmented: some first views are plain, and the release treats them unlike."""
    how = replace(AUGMENTATIONS[options.augment], flip=0.5 if options.flip else 0.0)
    if stream != "clip0":
        how = replace(how, plain=0.0)
    if not options.asymmetric:
        return how
    return replace(how, blur=0.1, solarize=0.2) if stream == "clip1" else replace(how, blur=1.0)


def augment_clips(
    clips: Tensor, augmentation: Augmentation, draw_uniforms: Callable[[str, int], Tensor], size: int
) -> Tensor:
    """Clips (B, C, T, size, size) after all operations of `how`; draw(op, count) gives uniforms (B, count)."""
    if augmentation.resized_crop:
        clips = photometric.random_resized_crop(
            clips, draw_uniforms("crop", photometric.NUM_UNIFORMS["random_resized_crop"]), size
        )
    else:
        clips = photometric.random_crop(clips, draw_uniforms("crop", photometric.NUM_UNIFORMS["random_crop"]), size)
    if augmentation.flip:
        clips = photometric.horizontal_flip(clips, draw_uniforms("flip", 1), augmentation.flip)
    if augmentation.jitter_p:
        clips = photometric.color_jitter(
            clips,
            draw_uniforms("jitter", photometric.NUM_UNIFORMS["color_jitter"]),
            *augmentation.jitter,
            p=augmentation.jitter_p,
        )
    if augmentation.grey:
        clips = photometric.grayscale(clips, draw_uniforms("grey", 1), augmentation.grey)
    if augmentation.blur:
        clips = photometric.gaussian_blur(clips, draw_uniforms("blur", 2), p=augmentation.blur)
    if augmentation.solarize:
        clips = photometric.solarize(clips, draw_uniforms("solarize", 1), augmentation.solarize)
    return clips
