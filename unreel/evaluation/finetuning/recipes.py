"""Recipes for fine-tuning: what two papers did, and what we would do with few videos.

A recipe says all that a fine-tuned figure depends on beside the encoder and the lists; its fields stand in the protocol
of the result. The learning rate is a function of the step and of the losses so far, so there is no state to keep.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

from unreel.errors import InputError, unknown_name_error
from unreel.video.sampling.batch_sampler import steps_per_epoch
from unreel.views.augmentation import Augmentation

PLATEAU_THRESHOLD = 1e-4  # a loss is lower when it is lower by this share of the lowest so far
FINETUNE_AUGMENTATIONS = {
    "crop": Augmentation(),
    "jitter": Augmentation(jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8),  # Source: lzhangbj/DualVar
}


@dataclass(frozen=True)
class Recipe:
    """How a network and a linear layer on its averaged last map are trained with labels, and tested."""

    name: str
    epochs: int = 30
    """Passes over the training videos."""
    min_steps: int = 0
    """More passes where so few videos would make fewer steps than this."""
    batch_size: int = 16
    """Videos per step, one clip of each. Full batches only: what is left of one epoch's order is seen in another."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Update rule; every weight decays."""
    lr: float = 1e-3
    """Learning rate of all layers at the start."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 0.01
    """L2 penalty (SGD) or decoupled decay (AdamW)."""
    schedule: Literal["cosine", "steps", "plateau"] = "cosine"
    """Cosine to 0 step by step; drops at --drops; or a drop when the validation loss stands still."""
    drops: tuple[float, ...] = ()
    """Shares of the run at which the rate drops, for `steps`."""
    drop_factor: float = 0.1
    """What the rate is multiplied with at each drop."""
    patience: int = 50
    """Epochs without a lower loss that `plateau` bears before it drops."""
    min_lr: float = 1e-5
    """`plateau` drops no lower."""
    dropout: float = 0.0
    """Share of the features that the linear layer does not see in a training step."""
    head_std: float = 0.0
    """Deviation of the linear layer's first weights, its offsets 0; 0 leaves PyTorch's own."""
    augment: Literal["crop", "jitter"] = "crop"
    """A crop at random, or that and strong colour jitter on 0.8 of the clips."""
    flip: bool = False
    """Mirror half of the clips. Leave it off where left and right tell classes apart."""
    select: Literal["validation", "last"] = "validation"
    """Test the epoch of the lowest validation loss, or the last; the last takes all training videos to train."""
    validation_share: float = 0.2
    """Share of the training videos to choose the epoch by, whole groups at a time."""
    average: Literal["softmax", "logits"] = "softmax"
    """What is averaged over the clips of a test video."""
    num_clips: int = 10
    """Evenly spread clips of a test video."""
    num_crops: int = 1
    """Centre crop, or 3 along the longer side."""
    view: str = ""
    """The view of the encoder to train on, e.g. residual; its first one when this is empty."""
    seed: int = 0
    """The only source of chance."""
    threads: int = 0
    """Threads of torch on the CPU; 0 leaves torch's choice."""
    workers: int = -1
    """Loader processes; -1 chooses. Changes nothing but time."""
    cache_mb: int = 1024
    """Memory for decoded frames of short videos. Changes nothing but time."""

    def __post_init__(self) -> None:
        for field, kind in get_type_hints(Recipe).items():
            if get_args(kind) and isinstance(get_args(kind)[0], str) and getattr(self, field) not in get_args(kind):
                raise unknown_name_error(field, getattr(self, field), get_args(kind))
        for field, holds, need in _list_constraints(self):
            if not holds:
                raise InputError(f"recipe '{self.name}': {field} must be {need}, got {getattr(self, field)}")

    @property
    def needs_validation(self) -> bool:
        """Whether some of the training videos are kept apart."""
        return self.validation_share > 0 and (self.select == "validation" or self.schedule == "plateau")

    def count_epochs(self, num_videos: int) -> int:
        """Passes over so many training videos."""
        return max(self.epochs, math.ceil(self.min_steps / steps_per_epoch(num_videos, self.batch_size)))


def _list_constraints(recipe: Recipe) -> list[tuple[str, bool, str]]:
    least = {"epochs": 1, "min_steps": 0, "batch_size": 2, "num_clips": 1, "patience": 0, "seed": 0, "threads": 0}
    least |= {"workers": -1, "cache_mb": 0, "weight_decay": 0, "head_std": 0, "min_lr": 0}
    rules = [(name, bound <= getattr(recipe, name) < math.inf, f"{bound} or more") for name, bound in least.items()]
    shares = ("momentum", "dropout", "validation_share")
    rules += [(name, 0 <= getattr(recipe, name) < 1, "at least 0 and below 1") for name in shares]
    return [
        *rules,
        ("lr", 0 < recipe.lr < math.inf, "above 0 and finite"),
        ("drop_factor", 0 < recipe.drop_factor <= 1, "above 0, and at most 1"),
        ("drops", all(0 <= drop <= 1 for drop in recipe.drops), "shares of the run, between 0 and 1"),
        ("num_crops", recipe.num_crops in (1, 3), "1 or 3"),
    ]


def iic() -> Recipe:
    """The released fine-tuning of IIC: small rate, validation by loss, augmentation as in its pre-training.

    unreel evaluate finetune RUN DATA --recipe iic. The release keeps videos taken at random for validation, so that
    recordings of one group stand on both sides; ours keeps whole groups. It gives the network raw residual frames, ours
    the residual frames of the encoder, rescaled or not. The number of its validation videos (800 of UCF101's 9537) is
    given here as a share. Source: Tao, Wang, Yamasaki 2020, BestJuly/IIC.
    """
    return Recipe(
        "iic",
        epochs=150,
        optimizer="sgd",
        weight_decay=5e-4,
        schedule="plateau",
        average="logits",
        validation_share=800 / 9537,
        view="residual",
    )


def dualvar() -> Recipe:
    """The released fine-tuning of DualVar: large rate, two drops, colour jitter and flip, the last epoch.

    unreel evaluate finetune RUN DATA --recipe dualvar. Momentum is that of its pre-training. Clips are as long and as
    fast as the encoder's; the release fine-tunes at stride 2. Source: Zhang et al. 2021, lzhangbj/DualVar.
    """
    return Recipe(
        "dualvar",
        epochs=150,
        optimizer="sgd",
        lr=0.05,
        weight_decay=1e-3,
        schedule="steps",
        drops=(50 / 150, 100 / 150),
        head_std=0.01,
        augment="jitter",
        flip=True,
        select="last",
    )


def small() -> Recipe:
    """Ours, for a few hundred videos and minutes on one GPU, or the tiny network on a CPU.

    unreel evaluate finetune RUN DATA. AdamW with a cosine needs no choice of drops; 30 epochs, and 300 steps at least,
    so that a handful of videos is learned too; jitter but no flip, as direction may be the class; the epoch of the
    lowest validation loss. Chosen, not tuned.
    """
    return Recipe("small", min_steps=300, augment="jitter", dropout=0.2)


RECIPE_PRESETS: dict[str, Callable[[], Recipe]] = {"small": small, "iic": iic, "dualvar": dualvar}


def build_recipe(name: str = "small", **changes: Any) -> Recipe:
    """A recipe by its name, with some of its values changed. Raises InputError."""
    if name not in RECIPE_PRESETS:
        raise unknown_name_error("recipe", name, RECIPE_PRESETS)
    return replace(RECIPE_PRESETS[name](), **changes)


def compute_lr(step: int, total_steps: int, recipe: Recipe, epoch_losses: Sequence[float] = ()) -> float:
    """Learning rate of a step; `watched` are the losses of the epochs before it, which `plateau` goes by."""
    if recipe.schedule == "plateau":
        return compute_plateau_lr(epoch_losses, recipe)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    return recipe.lr * recipe.drop_factor ** sum(step / total_steps >= drop - 1e-9 for drop in recipe.drops)


def compute_plateau_lr(epoch_losses: Sequence[float], recipe: Recipe) -> float:
    """The rate after these epochs: dropped, to `min_lr` at most, when `patience` + 1 of them brought no lower loss.

    Source: PyTorch's ReduceLROnPlateau with its own threshold (lower by a ten-thousandth) and no pause after a drop.
    """
    lr, lowest, idle = recipe.lr, math.inf, 0
    for loss in epoch_losses:
        lower = loss < lowest * (1 - PLATEAU_THRESHOLD)
        lowest, idle = (loss, 0) if lower else (lowest, idle + 1)
        if idle > recipe.patience:
            lr, idle = max(lr * recipe.drop_factor, min(lr, recipe.min_lr)), 0
    return lr
