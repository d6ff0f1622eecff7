"""Recipes for fine-tuning: those of two papers, and ours for few videos.

A recipe holds all that a fine-tuned figure depends on besides the encoder and the lists; its fields are written into
the protocol of the result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

from unreel.errors import InputError, unknown_name_error
from unreel.video.sampling.batch_sampler import steps_per_epoch
from unreel.views.augmentation import Augmentation

FINETUNE_AUGMENTATIONS = {
    "crop": Augmentation(),
    "jitter": Augmentation(jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8),  # Source: lzhangbj/DualVar
}


@dataclass(frozen=True)
class Recipe:
    """How a network with a linear layer on its averaged last map is trained on labels, and tested."""

    name: str
    epochs: int = 30
    """Passes over the training videos."""
    min_steps: int = 0
    """Optimiser steps at least: more passes where few videos would give fewer."""
    batch_size: int = 16
    """Videos per step, one clip of each. Full batches only: each epoch leaves out the rest of its random order."""
    optimizer: Literal["sgd", "adamw"] = "adamw"
    """Update rule; weight decay applies to all weights."""
    lr: float = 1e-3
    """Learning rate of all layers at the start."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 0.01
    """L2 penalty (SGD) or decoupled decay (AdamW)."""
    schedule: Literal["cosine", "steps", "plateau"] = "cosine"
    """Cosine to 0; drops at the shares in `drops`; or a drop when the validation loss stops falling."""
    drops: tuple[float, ...] = ()
    """Shares of the run at which the rate drops (schedule `steps`)."""
    drop_factor: float = 0.1
    """Factor of the rate at each drop."""
    patience: int = 50
    """Epochs without a lower loss before a drop (schedule `plateau`)."""
    min_lr: float = 1e-5
    """Lowest rate (schedule `plateau`)."""
    dropout: float = 0.0
    """Dropout probability of the features before the linear layer."""
    head_std: float = 0.0
    """Standard deviation of the linear layer's initial weights, with biases 0; 0 uses PyTorch's default."""
    augment: Literal["crop", "jitter"] = "crop"
    """Random crop; or random crop, and strong colour jitter on 0.8 of the clips."""
    flip: bool = False
    """Flip half of the clips. Leave it off where left and right distinguish classes."""
    select: Literal["validation", "last"] = "validation"
    """Test the epoch of the lowest validation loss; or the last one, trained on all training videos."""
    validation_share: float = 0.2
    """Share of the training videos held out to choose the epoch, whole groups at a time."""
    average: Literal["softmax", "logits"] = "softmax"
    """What is averaged over the clips of a test video."""
    num_clips: int = 10
    """Evenly spread clips of a test video."""
    num_crops: int = 1
    """1 is the centre crop; 3 are along the longer side."""
    view: str = ""
    """The view of the encoder to train on, e.g. residual; empty for its first one."""
    seed: int = 0
    """Seed of all random draws."""
    threads: int = 0
    """CPU threads of torch; 0 for torch's default."""
    workers: int = -1
    """Loader processes; -1 for automatic. Affects speed only."""
    cache_mb: int = 1024
    """Memory for decoded frames of short videos. Affects speed only."""

    def __post_init__(self) -> None:
        for field, kind in get_type_hints(Recipe).items():
            if get_args(kind) and isinstance(get_args(kind)[0], str) and getattr(self, field) not in get_args(kind):
                raise unknown_name_error(field, getattr(self, field), get_args(kind))
        for field, is_valid, requirement in _list_constraints(self):
            if not is_valid:
                raise InputError(f"recipe '{self.name}': {field} must be {requirement}, got {getattr(self, field)}")

    @property
    def needs_validation(self) -> bool:
        """Whether some of the training videos are held out."""
        return self.validation_share > 0 and (self.select == "validation" or self.schedule == "plateau")

    def count_epochs(self, num_videos: int) -> int:
        """Epochs for this many training videos."""
        return max(self.epochs, math.ceil(self.min_steps / steps_per_epoch(num_videos, self.batch_size)))


def _list_constraints(recipe: Recipe) -> list[tuple[str, bool, str]]:
    minimum = {"epochs": 1, "min_steps": 0, "batch_size": 2, "num_clips": 1, "patience": 0, "seed": 0, "threads": 0}
    minimum |= {"workers": -1, "cache_mb": 0, "weight_decay": 0, "head_std": 0, "min_lr": 0}
    rules = [(name, bound <= getattr(recipe, name) < math.inf, f"{bound} or more") for name, bound in minimum.items()]
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
    """The released fine-tuning of IIC: small rate, the epoch of the lowest validation loss, random crops.

    unreel evaluate finetune RUN DATA --recipe iic. The release holds out random videos for validation, so recordings of
    one group are on both sides; we hold out whole groups. It trains on raw residual frames, we on the encoder's
    residual view. Its 800 validation videos of UCF101's 9537 are given as a share.
    Source: Tao, Wang, Yamasaki 2020, BestJuly/IIC.
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
    """The released fine-tuning of DualVar: large rate with two drops, colour jitter and flip, the last epoch.

    unreel evaluate finetune RUN DATA --recipe dualvar. Momentum is that of its pre-training. Clips have the length and
    rate of the encoder's; the release fine-tunes at stride 2. Source: Zhang et al. 2021, lzhangbj/DualVar.
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
    """Ours, for a few hundred videos: minutes on one GPU, or the tiny network on a CPU.

    unreel evaluate finetune RUN DATA. AdamW with a cosine schedule, 30 epochs and at least 300 steps, so that a few
    videos are learned too; jitter but no flip, since direction may be the class; the epoch of the lowest validation
    loss. These values were chosen, not tuned.
    """
    return Recipe("small", min_steps=300, augment="jitter", dropout=0.2)


RECIPE_PRESETS: dict[str, Callable[[], Recipe]] = {"small": small, "iic": iic, "dualvar": dualvar}


def build_recipe(name: str = "small", **changes: Any) -> Recipe:
    """A recipe by name, with some of its values changed. Raises InputError."""
    if name not in RECIPE_PRESETS:
        raise unknown_name_error("recipe", name, RECIPE_PRESETS)
    return replace(RECIPE_PRESETS[name](), **changes)
