"""What a recipe for training on labels consists of; recipe_presets.py has those of papers and ours.

A recipe holds all that a fine-tuned figure depends on besides the encoder and the lists; its fields are written into
the protocol of the result.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from unreel.errors import InputError, unknown_name_error
from unreel.video.sampling.batch_sampler import steps_per_epoch
from unreel.views.augmentation import Augmentation
from unreel.views.geometric import CROP_COUNTS

FINETUNE_AUGMENTATIONS = {
    "crop": Augmentation(),
    "jitter": Augmentation(jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8),  # Source: lzhangbj/DualVar
    "resized": Augmentation(resized_crop=True, tensorflow=True),  # Source: tensorflow/models video_ssl
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
    augment: Literal["crop", "jitter", "resized"] = "crop"
    """Random crop; random crop, and strong colour jitter on 0.8 of the clips; or CVRL's random resized crop."""
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
    """1 is the centre crop; 3 are along the longer side; 5 are the centre and the corners; 10 are these and their
    mirror images."""
    view: str = ""
    """The view of the encoder to train on, e.g. residual; empty for its first one."""
    trained: Literal["all", "linear"] = "all"
    """All layers; or the linear layer alone, on the frozen network in evaluation mode."""
    normalize: bool = False
    """Give features unit length before the linear layer."""
    head_glorot: bool = False
    """Glorot's uniform initial weights of the linear layer, with biases 0 (Keras)."""
    frames_factor: float = 1.0
    """Frames of a clip, times those of the encoder's clips."""
    rate_factor: float = 1.0
    """Frames per second of a clip, times the encoder's; 2 halves a stride."""
    hold_short: bool = False
    """Hold the last frame of a video that is shorter than a clip, and keep other clips inside their videos, whatever
    the encoder's pre-training did."""
    raw_residual: bool = False
    """Residual frames as they are, also where pre-training rescaled them to (r + 1) / 2."""
    plain_input: bool = False
    """No mean and deviation of ImageNet, also where pre-training used them."""
    warmup_epochs: float = 0.0
    """Epochs over which the rate rises from 0 to where the cosine is by then (schedule `cosine`)."""
    lr_batch: int = 0
    """Batch that the rate is meant for; the rate of another batch is in proportion. 0 leaves it as it is."""
    hold_out: bool = False
    """Hold validation videos out although the last epoch is tested, so fewer are trained on, as in a release."""
    test_crop: Literal["trained", "tall"] = "trained"
    """Size of the test crops: that of training, or the height of the frames, 256 for 224."""
    batch_norm: bool = False
    """Batch norm of the pooled features before dropout and the linear layer, trained with them."""
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
        chooses = self.select == "validation" or self.schedule == "plateau"
        return self.validation_share > 0 and (chooses or self.hold_out)

    def count_epochs(self, num_videos: int) -> int:
        """Epochs for this many training videos."""
        return max(self.epochs, math.ceil(self.min_steps / steps_per_epoch(num_videos, self.batch_size)))


def _list_constraints(recipe: Recipe) -> list[tuple[str, bool, str]]:
    minimum = {"epochs": 1, "min_steps": 0, "batch_size": 2, "num_clips": 1, "patience": 0, "seed": 0, "threads": 0}
    minimum |= {"workers": -1, "cache_mb": 0, "weight_decay": 0, "head_std": 0, "min_lr": 0, "warmup_epochs": 0}
    minimum |= {"lr_batch": 0}
    rules = [(name, bound <= getattr(recipe, name) < math.inf, f"{bound} or more") for name, bound in minimum.items()]
    shares = ("momentum", "dropout", "validation_share")
    rules += [(name, 0 <= getattr(recipe, name) < 1, "at least 0 and below 1") for name in shares]
    return [
        *rules,
        ("lr", 0 < recipe.lr < math.inf, "above 0 and finite"),
        ("drop_factor", 0 < recipe.drop_factor <= 1, "above 0, and at most 1"),
        ("drops", all(0 <= drop <= 1 for drop in recipe.drops), "shares of the run, between 0 and 1"),
        ("num_crops", recipe.num_crops in CROP_COUNTS, "1, 3, 5 or 10"),
        ("frames_factor", 0 < recipe.frames_factor <= 64, "above 0, and at most 64"),
        ("rate_factor", 0 < recipe.rate_factor <= 64, "above 0, and at most 64"),
    ]
