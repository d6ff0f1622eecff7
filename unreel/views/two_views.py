"""Two views of an instance, for every method that compares a clip with another of the same instance.

`TwoViewOptions` are the clips, their augmentation, the views and the intra-negatives; a method's Config inherits them.
`TwoViewRecipe` makes the views of a batch. Every random draw is a function of (seed, epoch, index) in a stream per clip
and operation, so an option changes no other draw.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from unreel.errors import InputError, unknown_name_error
from unreel.own_code.extendable import Extendable
from unreel.seeding import draw_uniforms
from unreel.settings import Settings
from unreel.settings.data import require_two_instances
from unreel.types import Clips, Views
from unreel.video.sampling.pair_sampling import IntervalDistribution, IntervalKind
from unreel.views.augmentation import AUGMENTATIONS, Augmentation, augment_clips
from unreel.views.inference_views import frames_to_clips, make_view
from unreel.views.intra_negatives import INTRA_NEGATIVES, IntraNegativeName, shuffle_segments
from unreel.views.random_apply import apply_where
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import VIEWS, ViewName, ViewSpec

ClipStream = Literal["clip0", "clip1", "again"]
"""Name of the random stream of a clip; it seeds the draws, so it never changes."""
if TYPE_CHECKING:
    AugmentName = str
else:
    AugmentName = Literal[tuple(AUGMENTATIONS)] | str  # the choices of --augment, and file.py:NAME


@dataclass(frozen=True)
class TwoViewOptions:
    """Which two views of an instance a method compares, and the intra-negative of the first."""

    pairs: Literal["one-clip", "same-moment", "independent", "decreasing", "uniform", "increasing", "mirror"] = (
        "independent"
    )
    """Both views of one clip with the same augmentation (one-clip), one clip augmented twice (same-moment), two clips
    drawn independently, or two clips whose distance in time is drawn: short ones more often (decreasing), all alike
    (uniform), long ones more often (increasing, mirror)."""
    interval_power: float = 1.0
    """Power p of the density of distances: decreasing 1 - x^p, increasing x^p, mirror 1 - (1 - x)^p; else unused."""
    first_view: ViewName = "rgb"
    """View 1, from which the intra-negative is made: RGB, residual frames or one component of optical flow."""
    second_view: ViewName = "rgb"
    """View 2."""
    residual: ResidualSpec = ResidualSpec("forward", "lead-in", True)  # noqa: RUF009  # frozen, so safe as a default
    """Residual frames: sign, what comes before the first frame, and whether to rescale to (r + 1) / 2; kept in the
    checkpoint."""
    standardize: bool = False
    """Subtract ImageNet's mean from RGB and divide by its deviation; raw residual frames are divided by it."""
    augment: AugmentName = "crop"
    """crop: random crop alone. color: crop, colour jitter, grey and blur (IICv2). blend: resized crop, colour jitter,
    and a still frame of the clip blended into it. camera: blend, and half of the crops pan and zoom during the clip, as
    a camera does. cvrl: resized crop, strong jitter and grey (CVRL); cvrl-paper: the same with the arithmetic of its
    release. dual: crop, strong jitter and blur, but only the crop for a fifth of the first views (DualVar).
    path/to/file.py:NAME: one of your own."""
    flip: bool = False
    """Mirror half of the clips left to right. Leave it off where direction matters."""
    asymmetric: bool = False
    """Blur all first and a tenth of the second views, and solarise a fifth of the second (CVRL's release)."""
    consistent: bool = True
    """One draw for all frames of a clip; off, every frame has its own (an ablation: the picture shakes)."""
    time_reversal: float = 0.0
    """Probability that all clips of an instance run backwards."""
    intra_negatives: IntraNegativeName = "none"
    """Copy of view 1 as a negative: one frame repeated, two of four chunks swapped, all frames permuted, or the picture
    rotated (rotate-90: always by a quarter); none makes no copy."""
    intra_view: Literal["first", "residual"] = "first"
    """What is copied: view 1, or residual frames of its clip, whatever view 1 is (IICv2)."""

    def __post_init__(self) -> None:
        names: dict[str, Iterable[str]] = {
            "pairs": (*get_args(IntervalKind), "one-clip", "same-moment"),
            "first_view": VIEWS,
            "second_view": VIEWS,
            "augment": AUGMENTATIONS,
            "intra_negatives": (*INTRA_NEGATIVES, "none"),
        }
        for field, known in names.items():
            if getattr(self, field) not in known:
                listed = known.list_known() if isinstance(known, Extendable) else known
                raise unknown_name_error(field, getattr(self, field), listed)
        if not 0 < self.interval_power < math.inf:
            raise InputError(f"interval_power must be above 0 and finite, got {self.interval_power}")
        if not 0 <= self.time_reversal <= 1:
            raise InputError(f"time_reversal must lie between 0 and 1, got {self.time_reversal}")
        if self.pairs == "one-clip" and self.first_view == self.second_view:
            raise InputError(
                f"both views are {self.first_view} of one clip with one augmentation, so they are the same tensor; "
                "set --pairs independent or another --second-view"
            )
        if AUGMENTATIONS[self.augment].moving and not self.consistent:
            raise InputError(f"--augment {self.augment} moves the crop through the clip; with --no-consistent it can't")
        looks_back = any(VIEWS[name].looks_back for name in (self.first_view, self.second_view))
        if self.intra_view == "residual" and self.residual.boundary == "lead-in" and not looks_back:
            raise InputError(
                "intra_view residual needs the frame before each clip, which neither view reads; set the residual's "
                "boundary to wrap or zero"
            )
        if self.pairs == "one-clip" and self.asymmetric:
            raise InputError(
                "asymmetric views need an augmentation each, and --pairs one-clip has one for both; "
                "set --pairs same-moment"
            )

    def view_spec(self, size: int) -> ViewSpec:
        """The views that a checkpoint keeps, for clips of size x size. Raises InputError."""
        return ViewSpec((self.first_view, self.second_view), size, self.residual, self.standardize)

    def check(self, settings: Settings, num_instances: int) -> None:
        """What a method that compares videos needs in any case; one that needs more has a check of its own.

        Raises InputError.
        """
        require_two_instances(settings, num_instances)

    def interval(self) -> IntervalDistribution:
        """The distribution of the distance between two clips."""
        kind: Any = self.pairs if self.pairs in get_args(IntervalKind) else "independent"
        return IntervalDistribution(kind, self.interval_power)

    def recipe(self, spec: ViewSpec, seed: int, segments: int = 0) -> "TwoViewRecipe":
        """The function from batches of clips to views; with `segments`, also a clip whose segments are shuffled."""
        return TwoViewRecipe(spec, seed, self, segments)


@dataclass(frozen=True)
class TwoViewRecipe:
    """Makes the views of a batch of clips: "view1", "view2" and optional ones.

    "intra" is the intra-negative of view 1 *after* its augmentation, so appearance is the same to the pixel. With
    `segments`, "again" is clip 1 augmented a second time, never with the crop alone, and "shuffled" is "again" with its
    segments in random order.

    >>> options = TwoViewOptions(second_view="residual", intra_negatives="shuffle-frames")
    >>> recipe = options.recipe(options.view_spec(size=32), seed=0)
    >>> frames = torch.zeros(4, recipe.num_clips, 9, *recipe.spec.resize_hw, 3, dtype=torch.uint8)
    >>> rows = torch.arange(4)
    >>> views = recipe(Clips(frames, rows, rows, torch.zeros(4), epoch=0))
    >>> {name: tuple(view.shape) for name, view in views.tensors.items()}
    {'view1': (4, 3, 8, 32, 32), 'view2': (4, 3, 8, 32, 32), 'intra': (4, 3, 8, 32, 32)}
    """

    spec: ViewSpec
    seed: int
    options: TwoViewOptions
    segments: int = 0

    @property
    def num_clips(self) -> int:
        """Number of clips decoded for each instance."""
        return 1 if self.options.pairs in ("one-clip", "same-moment") else 2

    @property
    def interval(self) -> IntervalDistribution:
        """How the dataset draws the two clips."""
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
            is_first = self.options.intra_view == "first" or first == "residual"
            whole = tensors["view1"] if is_first else make_view("residual", source1, self.spec)
            tensors["intra"] = self._make_intra_negative(whole, clips)
        if self.segments:
            tensors["again"] = make_view(first, self._augment_clips(frames[:, 0], clips, "again"), self.spec)
            u_BS = self._draw_uniforms(clips, "segments", self.segments)
            tensors["shuffled"], views.segment_order_BS = shuffle_segments(tensors["again"], u_BS, self.segments)
        return views

    def _draw_uniforms(self, clips: Clips, stream: str, count: int) -> Tensor:
        """Uniforms (B, count) on the CPU, so that random choices are known without waiting for a GPU."""
        return draw_uniforms(self.seed, clips.epoch, clips.rng_index_B, stream, count)

    def _reverse_time(self, clips: Clips) -> Tensor:
        """The frames, some instances backwards (with the lead-in, so that residual frames run backwards too)."""
        if not self.options.time_reversal:
            return clips.frames
        backwards_B = self._draw_uniforms(clips, "reverse", 1)[:, 0] < self.options.time_reversal
        return apply_where(clips.frames, backwards_B, lambda chosen, _: chosen.flip(2))

    def _augment_clips(self, frames: Tensor, clips: Clips, stream: ClipStream) -> Tensor:
        """Float clips (B, C, T, size, size) of uint8 frames (B, T, H, W, C)."""
        return self._apply_augmentation(
            frames_to_clips(frames), select_augmentation(self.options, stream), clips, stream
        )

    def _apply_augmentation(
        self, batch: Tensor, augmentation: Augmentation, clips: Clips, stream: ClipStream
    ) -> Tensor:
        """Float clips (B, C, T, size, size) of clips (B, C, T, H, W), float or uint8, drawn per clip or per frame."""
        num_clips, num_frames = batch.shape[0], batch.shape[2]
        repeats = 1 if self.options.consistent else num_frames
        plain_B1 = self._draw_uniforms(clips, f"{stream}/plain", 1) < augmentation.plain if augmentation.plain else None

        def draw(op: str, count: int) -> Tensor:
            u_N = self._draw_uniforms(clips, f"{stream}/{op}", count * repeats).view(-1, count)
            if plain_B1 is not None and op not in ("crop", "flip"):
                u_N = u_N.masked_fill(plain_B1.repeat_interleave(repeats, dim=0), 1.0)  # above every probability
            return u_N

        if self.options.consistent:
            return augment_clips(batch, augmentation, draw, self.spec.size)
        single = batch.transpose(1, 2).flatten(0, 1)[:, :, None]  # clips of one frame each
        out = augment_clips(single, augmentation, draw, self.spec.size)
        return out.view(num_clips, num_frames, *out.shape[1:]).squeeze(3).transpose(1, 2)

    def _make_intra_negative(self, view: Tensor, clips: Clips) -> Tensor:
        intra_negative = INTRA_NEGATIVES[self.options.intra_negatives]
        u = self._draw_uniforms(clips, "intra", intra_negative.num_uniforms(view.shape[2]))
        return intra_negative.apply(view, u)


def select_augmentation(options: TwoViewOptions, stream: ClipStream) -> Augmentation:
    """The augmentation of "clip0", "clip1" or "again", different in `plain` and by `asymmetric` (CVRL's release)."""
    augmentation = replace(AUGMENTATIONS[options.augment], flip=0.5 if options.flip else 0.0)
    if stream != "clip0":
        augmentation = replace(augmentation, plain=0.0)
    if not options.asymmetric:
        return augmentation
    return replace(augmentation, blur=0.1, solarize=0.2) if stream == "clip1" else replace(augmentation, blur=1.0)
