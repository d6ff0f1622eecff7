"""The papers' recipes: schedules, clips and crops against the releases, and a linear layer on a frozen network."""

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from commands import refused, succeeds

import unreel
from unreel.errors import InputError
from unreel.evaluation.finetuning.classifier import VideoClassifier
from unreel.evaluation.finetuning.job import adapt_spec
from unreel.evaluation.finetuning.lr_schedule import compute_lr
from unreel.evaluation.finetuning.recipe_presets import LINEAR_RECIPES, RECIPE_PRESETS, build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import train_network
from unreel.evaluation.protocols import few_labels
from unreel.evaluation.protocols.finetune import build_job, evaluate_finetune, finetune
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.verbs.evaluation.evaluate_finetune import choose_training
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
    history, _ = train_network(job)
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
    assert build_recipe("cvrl", warmup_epochs=2.0).warmup_epochs == 2
    with pytest.raises(InputError, match="'dualvar' has no warm-up: its schedule is steps"):
        build_recipe("dualvar", warmup_epochs=2.0)
    with pytest.raises(InputError, match="num_crops must be 1, 3, 5 or 10, got 4"):
        Recipe("own", num_crops=4)


def test_a_linear_recipe_from_the_command_line(small_run: Path, motion_set: Path) -> None:
    quick = ("--epochs", 1, "--num-clips", 1, "--no-floors", "--batch-size", 16)
    shown = succeeds("evaluate", "linear", small_run, motion_set, "--recipe", "dualvar", *quick, "--json").out
    assert '"recipe": "dualvar"' in shown and '"epochs": 1' in shown and '"num_crops": 1' in shown
    refused("evaluate", "linear", small_run, motion_set, "--lr", 3, says=("--lr changes a recipe", "--recipe cvrl"))
    refused("evaluate", "linear", small_run, motion_set, "--batch-norm", says=("--batch-norm changes a recipe",))


def test_cvrls_few_labels_from_the_command_line(
    small_run: Path, motion_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A share of each class, the recipe with its changes; `--recipe` alone is refused."""
    trained: list[tuple[int, Recipe]] = []

    def fake(encoder: Encoder, train: list[Instance], test: list[Instance], recipe: Recipe, scratch: bool) -> object:
        trained.append((len(train), recipe))
        given = {"instances": test, "known_instances": test, "classes": [], "warnings": []}
        return SimpleNamespace(is_correct=lambda: np.ones(len(test), bool), protocol={"recipe": recipe.name}, **given)

    monkeypatch.setattr(few_labels, "finetune", fake)
    command = ("evaluate", "few-labels", small_run, motion_set)
    asked = ("--finetune", "--recipe", "cvrl", "--ks", "--shares", 0.5, "--draws", 1, "--epochs", 7, "--lr", 0.5)
    shown = json.loads(succeeds(*command, *asked, "--num-clips", 2, "--warmup-epochs", 1, "--json").out)
    assert list(shown["rows"]["fine-tuned"]) == ["50 %", "all"]
    assert [count for count, _ in trained] == [8, 8, 16, 16]  # of four classes, two and four each
    changed = build_recipe("cvrl", epochs=7, lr=0.5, num_clips=2, warmup_epochs=1.0)
    expected = replace(changed, select="last", validation_share=0.0)
    assert {recipe for _, recipe in trained} == {expected} and expected.num_crops == 3
    refused(*command, "--recipe", "cvrl", says=("--recipe is of fine-tuning",))
    refused(*command, "--warmup-epochs", 1, says=("--warmup-epochs is of fine-tuning",))


def test_cvrls_fine_tuning_trains_all_layers(encoder: Encoder, lists: tuple) -> None:
    recipe = build_recipe("cvrl", epochs=1, num_clips=1, workers=0, warmup_epochs=0.0)
    outcome = finetune(encoder, *lists, recipe)
    assert outcome.protocol["frames_factor"] == 2 and outcome.protocol["test_crop"] == "tall"
    after, before = outcome.network.backbone.state_dict(), encoder.backbone.state_dict()
    kernels = [name for name, value in before.items() if value.ndim == 5]
    assert kernels and not any(torch.equal(after[name], before[name]) for name in kernels)
    assert "trained" not in outcome.protocol and outcome.protocol["dropout"] == 0.5


def test_what_an_evaluation_trains() -> None:
    plan = {"ks": (1,), "shares": (0.01, 0.1), "draws": 2}
    few = choose_training("few-labels", plan | {"finetune": True, "recipe": None, "epochs": 3})
    assert few is not None and few.plan == DrawPlan((1,), (0.01, 0.1), 2) and few.build_recipe().epochs == 3
    assert few.build_recipe().name == "small" and few.result_name == "few-labels-finetuned"
    linear = choose_training("linear", {"recipe": "dualvar", "kind": "auto", "drops": (0.5,), "lr": None})
    assert linear is not None and linear.result_name == "linear-dualvar" and linear.build_recipe().drops == (0.5,)
    whole = choose_training("finetune", {"recipe": "cvrl", "scratch": False, "warmup_epochs": 1.0})
    assert whole is not None and not whole.scratch and whole.build_recipe().warmup_epochs == 1
    assert whole.build_recipe().trained == "all" and whole.change(num_clips=2).build_recipe().num_clips == 2
    for name, options in (("few-labels", plan), ("linear", {"recipe": "none"}), ("knn", {})):
        assert choose_training(name, options) is None


def test_in_python_a_recipe_trains_too(small_run: Path, motion_set: Path) -> None:
    quick = {"epochs": 1, "batch_size": 16, "num_clips": 1}
    made = unreel.evaluate(
        None, small_run, motion_set, "linear", recipe="dualvar", batch_norm=True, scratch=False, **quick
    )
    assert list(made) == ["linear-dualvar"] and made["linear-dualvar"].protocol["batch_norm"] is True


@pytest.mark.parametrize("trained", ["all", "linear"])
def test_batch_norm_before_the_layer(encoder: Encoder, trained: Literal["all", "linear"]) -> None:
    """DualVar's --use_bn: of the batch in training, whether or not the network is trained; running in tests."""
    clips = torch.rand(5, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    backbone = copy.deepcopy(encoder.backbone)
    network = VideoClassifier(backbone, 3, Recipe("own", trained=trained, batch_norm=True)).train()
    features = copy.deepcopy(backbone).train(trained == "all")
    with torch.no_grad():
        h_BD = features(clips).mean(dim=(2, 3, 4)).double()
        scaled_BD = (h_BD - h_BD.mean(0)) / (h_BD.var(0, correction=0) + 1e-5).sqrt()
        torch.testing.assert_close(network(clips), network.linear(scaled_BD.float()), atol=1e-4, rtol=1e-4)
        kept = {"mean": 0.1 * h_BD.mean(0), "var": 0.9 + 0.1 * h_BD.var(0)}
        h_BD = backbone.eval()(clips).mean(dim=(2, 3, 4)).double()
        expected = network.linear(((h_BD - kept["mean"]) / (kept["var"] + 1e-5).sqrt()).float())
        torch.testing.assert_close(network.eval()(clips), expected, atol=1e-4, rtol=1e-4)
    assert "norm.weight" not in VideoClassifier(backbone, 3, Recipe("own")).state_dict()
