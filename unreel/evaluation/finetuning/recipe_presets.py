"""Recipes for training on labels: those of the papers, and ours for few videos."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from unreel.errors import InputError, require_known, unknown_name_error
from unreel.evaluation.finetuning.recipes import Recipe


def iic() -> Recipe:
    """The released fine-tuning of IIC: small rate, the epoch of the lowest validation loss, random crops.

    unreel evaluate finetune RUN DATA --recipe iic. The release holds out random videos for validation, so recordings of
    one group are on both sides; we hold out whole groups. Residual frames are raw, whatever pre-training did. The 800
    validation videos of UCF101's 9537 are given as a share.
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
        raw_residual=True,
    )


def iic_v2() -> Recipe:
    """The released fine-tuning of IICv2: that of IIC, but the rate drops after 20 epochs without a lower loss.

    unreel evaluate finetune RUN DATA --recipe iic-v2. Pixels are not standardised, although they were in pre-training.
    Source: Tao, Wang, Yamasaki 2022, BestJuly/IICv2.
    """
    return replace(iic(), name="iic-v2", patience=20, plain_input=True)


def dualvar() -> Recipe:
    """The released fine-tuning of DualVar after pre-training on Kinetics-400: large rate, two drops, the last epoch.

    unreel evaluate finetune RUN DATA --recipe dualvar. Momentum is that of its pre-training. Clips run at twice the
    rate of pre-training (stride 2 instead of 4). 800 of UCF101's 9537 training videos are left out, as a share and in
    whole groups. Short videos hold their last frame; the release pads them at a random end.
    Source: Zhang et al. 2021, lzhangbj/DualVar.
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
        hold_out=True,
        validation_share=800 / 9537,
        rate_factor=2.0,
        hold_short=True,
    )


def dualvar_ucf() -> Recipe:
    """dualvar with the schedule of the release after pre-training on UCF101: 100 epochs, drops at 30, 60 and 80.

    unreel evaluate finetune RUN DATA --recipe dualvar-ucf. Source: Zhang et al. 2021, lzhangbj/DualVar.
    """
    return replace(dualvar(), name="dualvar-ucf", epochs=100, drops=(0.3, 0.6, 0.8))


def cvrl() -> Recipe:
    """CVRL's fine-tuning, of all labels or 1 % and 10 % of each class; rate, batch, epochs, decay and dropout are ours.

    unreel evaluate finetune RUN DATA --recipe cvrl; unreel evaluate few-labels RUN DATA --finetune --recipe cvrl --ks
    --shares 0.01 0.1. The release has no code for it and the paper's values could not be had: what its linear protocol
    says is taken from there (clips, augmentation, warm-up and cosine, 10 clips x 3 crops), the rest was chosen, not
    tuned. Source: Qian et al. 2021 (CVRL), tensorflow/models video_ssl.
    """
    return replace(
        cvrl_linear(),
        trained="all",
        epochs=50,
        batch_size=32,
        lr=0.02,
        lr_batch=32,
        weight_decay=1e-4,
        dropout=0.5,
        normalize=False,
    )


def cvrl_linear() -> Recipe:
    """CVRL's linear protocol: one clip of each video an epoch, twice as long as in pre-training, the network frozen.

    unreel evaluate linear RUN DATA --recipe cvrl. Features of unit length, rate 32 at a batch of 1024 (in proportion
    for others), 5 of 100 epochs warm-up and a cosine, random resized crops and flips; tested on 10 clips x 3 crops as
    high as the frames (256 for 224). Source: Qian et al. 2021 (CVRL), tensorflow/models video_ssl.
    """
    return Recipe(
        "cvrl",
        trained="linear",
        epochs=100,
        batch_size=1024,
        optimizer="sgd",
        lr=32.0,
        lr_batch=1024,
        weight_decay=0.0,
        warmup_epochs=5,
        normalize=True,
        head_glorot=True,
        augment="resized",
        flip=True,
        select="last",
        frames_factor=2.0,
        num_crops=3,
        test_crop="tall",
    )


def dualvar_linear() -> Recipe:
    """DualVar's classifier on the frozen network, with the defaults of its program: 50 epochs, four drops.

    unreel evaluate linear RUN DATA --recipe dualvar. No script of the release runs it, so its figures are not known.
    Source: lzhangbj/DualVar, classifier.py with `--train_what last`.
    """
    return Recipe(
        "dualvar",
        trained="linear",
        epochs=50,
        batch_size=32,
        optimizer="sgd",
        lr=0.05,
        weight_decay=1e-4,
        schedule="steps",
        drops=(0.2, 0.4, 0.6, 0.8),
        head_std=0.01,
        select="last",
        hold_out=True,
        validation_share=800 / 9537,
        hold_short=True,
    )


def small() -> Recipe:
    """Ours, for a few hundred videos: minutes on one GPU, or the tiny network on a CPU.

    unreel evaluate finetune RUN DATA. AdamW with a cosine schedule, 30 epochs and at least 300 steps, so that a few
    videos are learned too; jitter but no flip, since direction may be the class; the epoch of the lowest validation
    loss. These values were chosen, not tuned.
    """
    return Recipe("small", min_steps=300, augment="jitter", dropout=0.2)


RECIPE_PRESETS: dict[str, Callable[[], Recipe]] = {
    "small": small,
    "iic": iic,
    "iic-v2": iic_v2,
    "dualvar": dualvar,
    "dualvar-ucf": dualvar_ucf,
    "cvrl": cvrl,
}
LINEAR_RECIPES: dict[str, Callable[[], Recipe]] = {"cvrl": cvrl_linear, "dualvar": dualvar_linear}


def build_recipe(
    name: str = "small", presets: Mapping[str, Callable[[], Recipe]] = RECIPE_PRESETS, **changes: Any
) -> Recipe:
    """A recipe by name, with some of its values changed. Raises InputError."""
    if name not in presets:
        raise unknown_name_error("recipe", name, presets)
    require_known(
        f"option of recipe '{name}'", changes, [field.name for field in fields(Recipe) if field.name != "name"]
    )
    recipe = replace(presets[name](), **changes)
    if "drops" in changes and recipe.schedule != "steps":
        raise InputError(f"recipe '{name}' has no drops: its schedule is {recipe.schedule}; add --schedule steps")
    if changes.get("warmup_epochs") and recipe.schedule != "cosine":
        raise InputError(f"recipe '{name}' has no warm-up: its schedule is {recipe.schedule}; add --schedule cosine")
    return recipe
