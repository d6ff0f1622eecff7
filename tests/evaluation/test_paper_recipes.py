"""The papers' recipes: schedules, clips and crops against the releases, and a linear layer on a frozen network."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import refused, succeeds

from unreel.errors import InputError
from unreel.evaluation.finetuning.job import adapt_spec
from unreel.evaluation.finetuning.lr_schedule import compute_lr
from unreel.evaluation.finetuning.recipe_presets import LINEAR_RECIPES, RECIPE_PRESETS, build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import train_classifier
from unreel.evaluation.protocols.finetune import build_job, evaluate_finetune
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.geometric import uniform_crops
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Encoder(EncoderSpec("tiny", clip=ClipSpec(4), views=ViewSpec(("rgb",), 32))).eval()


@pytest.fixture(scope="module")
def lists(motion_set: Path) -> tuple[list[Instance], list[Instance]]:
    """Six training videos of two classes, a recording each, and two test videos."""
    both = []
    for name, most in (("train", 3), ("test", 1)):
        paths = [motion_set / line for line in (motion_set / f"{name}.txt").read_text().split()]
        labels = sorted({path.parent.name for path in paths})[:2]
        chosen = [path for label in labels for path in [p for p in paths if p.parent.name == label][:most]]
        both.append([Instance(str(p), n, 0.0, math.inf, p.parent.name, f"{name}{n}") for n, p in enumerate(chosen)])
    return both[0], both[1]


QUICK = replace(LINEAR_RECIPES["cvrl"](), epochs=2, warmup_epochs=1, num_clips=1, workers=0, frames_factor=1.0)


@pytest.mark.parametrize(("name", "epochs", "drops"), [("dualvar", 150, (50, 100)), ("dualvar-ucf", 100, (30, 60, 80))])
def test_dualvars_two_schedules(name: str, epochs: int, drops: tuple[int, ...]) -> None:
    recipe = RECIPE_PRESETS[name]()
    assert recipe.epochs == epochs
    for epoch in range(epochs):
        expected = 0.05 * 0.1 ** sum(epoch >= drop for drop in drops)
        for step in (3 * epoch, 3 * epoch + 2):
            assert compute_lr(step, 3 * epochs, recipe) == pytest.approx(expected)


def test_iicv2_waits_20_epochs_and_takes_pixels_as_they_are() -> None:
    v1, v2 = RECIPE_PRESETS["iic"](), RECIPE_PRESETS["iic-v2"]()
    assert replace(v2, name="iic", patience=50, plain_input=False) == v1
    assert compute_lr(0, 9, v2, [1.0] * 21) == 1e-3 and compute_lr(0, 9, v2, [1.0] * 22) == pytest.approx(1e-4)


def test_cvrls_linear_rate_against_the_twin_of_tensorflows() -> None:
    """Released: 35,744 steps, of which 1,787 warm-up to where the cosine is by then."""
    recipe, total, warm = LINEAR_RECIPES["cvrl"](), 35_744, 35_744 * 5 / 100
    assert warm == pytest.approx(1787, abs=1)
    for step in (0, 1, 900, 1786, 1788, 20_000, 35_743):
        cosine = 32 * 0.5 * (1 + math.cos(math.pi * max(step, warm) / total))
        assert compute_lr(step, total, recipe) == pytest.approx(cosine * min(1, step / warm), rel=1e-12)


def test_what_a_recipe_does_to_the_clips_and_views_of_an_encoder() -> None:
    views = ViewSpec(("rgb", "residual"), 112, ResidualSpec("forward", "wrap", True))
    spec = EncoderSpec("r21d", clip=ClipSpec(16, stride_frames=4, short="border"), views=views)
    dualvar = adapt_spec(spec, RECIPE_PRESETS["dualvar"]())
    assert dualvar.clip == ClipSpec(16, stride_frames=2, short="hold") and dualvar.views == views
    assert adapt_spec(spec, RECIPE_PRESETS["iic"]()).views.residual == ResidualSpec("forward", "wrap", False)
    cvrl = adapt_spec(replace(spec, clip=ClipSpec(16, stride_frames=2)), LINEAR_RECIPES["cvrl"]())
    assert cvrl.clip == ClipSpec(32, stride_frames=2)
    by_rate = replace(spec, clip=ClipSpec(8, fps=12.5, stride_frames=0))
    assert adapt_spec(by_rate, RECIPE_PRESETS["dualvar"]()).clip.fps == 25
    raw = replace(views, residual=ResidualSpec("forward", "wrap", False), standardize=True)
    assert not adapt_spec(replace(spec, views=raw), RECIPE_PRESETS["iic-v2"]()).views.standardize
    assert adapt_spec(spec, RECIPE_PRESETS["small"]()) == spec


def test_five_and_ten_crops_by_indexing() -> None:
    clips = torch.rand(2, 3, 2, 20, 24, generator=torch.Generator().manual_seed(0))
    five, ten = uniform_crops(clips, 16, 5), uniform_crops(clips, 16, 10)
    assert five.shape == (10, 3, 2, 16, 16) and ten.shape == (20, 3, 2, 16, 16)
    places = [(2, 4), (0, 0), (0, 8), (4, 0), (4, 8)]
    for b in range(2):
        for k, (top, left) in enumerate(places):
            crop = clips[b, :, :, top : top + 16, left : left + 16]
            assert torch.equal(five[5 * b + k], crop) and torch.equal(ten[10 * b + k], crop)
            assert torch.equal(ten[10 * b + 5 + k], crop.flip(3))


def test_the_linear_recipes_are_the_releases() -> None:
    cvrl, dualvar = LINEAR_RECIPES["cvrl"](), LINEAR_RECIPES["dualvar"]()
    assert (cvrl.lr, cvrl.lr_batch, cvrl.batch_size, cvrl.weight_decay, cvrl.epochs) == (32, 1024, 1024, 0, 100)
    assert (cvrl.augment, cvrl.flip, cvrl.normalize, cvrl.num_clips, cvrl.num_crops) == ("resized", True, True, 10, 3)
    assert (dualvar.lr, dualvar.batch_size, dualvar.weight_decay, dualvar.epochs) == (0.05, 32, 1e-4, 50)
    assert [round(drop * 50) for drop in dualvar.drops] == [10, 20, 30, 40]
    assert {recipe.trained for recipe in (cvrl, dualvar)} == {"linear"}


def test_only_the_layer_learns_and_its_rate_is_in_proportion(encoder: Encoder, lists: tuple) -> None:
    job = build_job(encoder, *lists, QUICK, False)
    before = {n: t.clone() for n, t in job.network.state_dict().items()}
    assert job.lr_scale == 6 / 1024 and job.test_crop == 37 and ViewSpec(("rgb",), 224).resize_hw[0] == 256
    history, _ = train_classifier(job)
    after = job.network.state_dict()
    assert [n for n, t in after.items() if not torch.equal(before[n], t)] == ["linear.weight", "linear.bias"]
    top = 32 * 6 / 1024
    assert history[0]["lr"] == 0 and history[1]["lr"] == pytest.approx(top * 0.5 * (1 + math.cos(math.pi / 2)))
    assert not job.network.backbone.training


def test_features_have_unit_length_before_the_layer(encoder: Encoder, lists: tuple) -> None:
    network = build_job(encoder, *lists, QUICK, False).network
    clips = torch.rand(3, 3, 4, 32, 32)
    with torch.no_grad():
        h = encoder.backbone(clips).mean(dim=(2, 3, 4))
        expected = network.linear(h / h.norm(dim=1, keepdim=True))
        torch.testing.assert_close(network(clips), expected)


def test_the_table_of_a_linear_recipe(encoder: Encoder, lists: tuple) -> None:
    result = evaluate_finetune(encoder, *lists, QUICK)
    assert list(result.rows) == ["chance", "majority class", "linear", "untrained encoder"]
    assert result.kind == "linear-recipe" and "a linear layer on frozen features of tiny" in result.caption
    assert result.protocol["trained"] == "linear" and result.protocol["train"] == 6
    assert result.protocol["test_crop"] == "tall" and "raw_residual" not in result.protocol


def test_drops_need_a_schedule_that_has_them() -> None:
    assert build_recipe("dualvar", drops=(0.5,)).drops == (0.5,)
    assert build_recipe("small", drops=(0.5,), schedule="steps").schedule == "steps"
    with pytest.raises(InputError, match="'small' has no drops: its schedule is cosine; add --schedule steps"):
        build_recipe("small", drops=(0.5,))
    with pytest.raises(InputError, match="num_crops must be 1, 3, 5 or 10, got 4"):
        Recipe("own", num_crops=4)


def test_a_linear_recipe_from_the_command_line(small_run: Path, motion_set: Path) -> None:
    quick = ("--epochs", 1, "--num-clips", 1, "--no-floors", "--batch-size", 16)
    shown = succeeds("evaluate", "linear", small_run, motion_set, "--recipe", "dualvar", *quick, "--json").out
    assert '"recipe": "dualvar"' in shown and '"epochs": 1' in shown and '"num_crops": 1' in shown
    refused("evaluate", "linear", small_run, motion_set, "--lr", 3, says=("--lr changes a recipe", "--recipe cvrl"))
