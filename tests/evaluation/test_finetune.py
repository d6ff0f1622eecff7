"""Fine-tuning: schedules against torch's, the same digits twice, strict weights, and what small or broken lists do."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from unreel.errors import CheckpointError, InputError, NonFiniteError
from unreel.evaluation.finetuning import training_loop
from unreel.evaluation.finetuning.classifier import VideoClassifier
from unreel.evaluation.finetuning.job import FinetuneJob
from unreel.evaluation.finetuning.lr_schedule import compute_lr, compute_plateau_lr
from unreel.evaluation.finetuning.prediction import average_clips, predict_logits
from unreel.evaluation.finetuning.pretrained_weights import check_weights, load_weights
from unreel.evaluation.finetuning.recipe_presets import RECIPE_PRESETS, build_recipe
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import is_best, sample_dropout_scale
from unreel.evaluation.protocols import finetune as module
from unreel.evaluation.protocols.finetune import FinetuneOutcome, evaluate_finetune, finetune
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Clips, Instance
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.inference_views import make_inference_views
from unreel.views.view_spec import ViewSpec

Lists = tuple[list[Instance], list[Instance]]
QUICK = Recipe("quick", epochs=2, batch_size=4, num_clips=2, workers=0, augment="jitter", dropout=0.3)


@pytest.fixture(scope="module")
def lists(motion_set: Path) -> Lists:
    """12 training videos of 3 classes and 6 test videos, every two recordings a group."""
    both, number = [], 0
    for name, most in (("train", 4), ("test", 2)):
        found: list[Instance] = []
        for line in (motion_set / f"{name}.txt").read_text().split():
            label = Path(line).parent.name
            if label != "loom_in" and sum(i.label == label for i in found) < most:
                found.append(Instance(str(motion_set / line), number, 0.0, float("inf"), label, f"{name}{number // 2}"))
                number += 1
        both.append(found)
    return both[0], both[1]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    views = ViewSpec(("rgb", "residual"), 32)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Encoder(EncoderSpec("tiny", clip=ClipSpec(8, lead_in=views.lead_in), views=views)).eval()


@pytest.fixture(scope="module")
def quick(encoder: Encoder, lists: Lists) -> FinetuneOutcome:
    return finetune(encoder, *lists, QUICK)


def rates_of(scheduler: object, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The rate of each step as torch's scheduler has it."""
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # type: ignore[attr-defined]
    return found


def sgd(lr: float = 0.05) -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def test_cosine_is_torchs() -> None:
    optimizer = sgd(1e-3)
    twin = rates_of(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40), optimizer, 40)
    assert [compute_lr(s, 40, build_recipe("small")) for s in range(40)] == pytest.approx(twin, rel=1e-9)


def test_steps_drop_where_the_release_drops() -> None:
    optimizer = sgd()
    twin = rates_of(torch.optim.lr_scheduler.MultiStepLR(optimizer, [50 * 7, 100 * 7], 0.1), optimizer, 150 * 7)
    assert [compute_lr(s, 150 * 7, build_recipe("dualvar")) for s in range(150 * 7)] == pytest.approx(twin, rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_plateau_is_torchs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = np.round(np.maximum.accumulate(rng.random(120))[::-1] + rng.random(120) * 0.1 * (seed % 3), 3).tolist()
    if seed == 5:
        losses[20:60] = [losses[19] * (1 - 0.9e-4)] * 40  # lower, but by less than counts
    rule = Recipe("p", schedule="plateau", lr=0.01, patience=5, drop_factor=0.1, min_lr=1e-5)
    optimizer = sgd(0.01)
    twin = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=5, min_lr=1e-5)
    for n, loss in enumerate(losses):
        assert compute_plateau_lr(losses[:n], rule) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        twin.step(loss)
    assert compute_plateau_lr(losses, rule) < 0.01 or seed in (0, 3)  # in the others something happened


def test_plateau_goes_by_validation_and_reaches_the_least_rate() -> None:
    assert compute_lr(3, 10, build_recipe("iic"), [1.0] * 51) == 1e-3
    assert compute_lr(3, 10, build_recipe("iic"), [1.0] * 52) == pytest.approx(1e-4)
    assert compute_lr(3, 10, build_recipe("iic"), [1.0] * 500) == pytest.approx(1e-5)


def test_the_papers_recipes_are_the_papers() -> None:
    iic, dualvar = RECIPE_PRESETS["iic"](), RECIPE_PRESETS["dualvar"]()
    sames = ("optimizer", "epochs", "batch_size", "momentum", "num_clips")
    assert [getattr(iic, n) for n in sames] == [getattr(dualvar, n) for n in sames] == ["sgd", 150, 16, 0.9, 10]
    assert (iic.lr, iic.weight_decay, iic.schedule, iic.patience, iic.min_lr) == (1e-3, 5e-4, "plateau", 50, 1e-5)
    assert (iic.select, iic.augment, iic.flip, iic.average) == ("validation", "crop", False, "logits")
    assert (dualvar.lr, dualvar.weight_decay, dualvar.schedule, dualvar.head_std) == (0.05, 1e-3, "steps", 0.01)
    assert iic.raw_residual and not iic.plain_input and not dualvar.raw_residual
    assert (dualvar.hold_out, dualvar.needs_validation, dualvar.rate_factor, dualvar.hold_short) == (
        True,
        True,
        2,
        True,
    )
    assert dualvar.validation_share == iic.validation_share == 800 / 9537
    assert (dualvar.select, dualvar.augment, dualvar.flip, dualvar.average) == ("last", "jitter", True, "softmax")
    assert all("Source: " in RECIPE_PRESETS[name].__doc__ for name in ("iic", "dualvar"))  # type: ignore[operator]


def test_few_videos_get_more_epochs() -> None:
    assert build_recipe("small").count_epochs(5) == 300  # one step each
    assert build_recipe("small").count_epochs(1600) == 30


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"batch_size": 1}, {"lr": 0.0}, {"schedule": "sudden"}, {"num_crops": 2}, {"dropout": 1.0}],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        build_recipe("small", **changes)


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(InputError, match="Did you mean 'dualvar'.*iic"):
        build_recipe("dualva")


def test_averages_by_hand() -> None:
    logits_NVC = np.log(np.array([[[1, 3], [9, 1]]], np.float32))
    assert average_clips(logits_NVC, "softmax")[0] == pytest.approx([(1 / 4 + 9 / 10) / 2, (3 / 4 + 1 / 10) / 2])
    assert average_clips(logits_NVC, "logits")[0] == pytest.approx(
        [3 / (3 + 3**0.5), 3**0.5 / (3 + 3**0.5)]
    )  # 9 * 1, 3 * 1


def test_two_runs_and_any_number_of_workers_give_the_same_digits(
    quick: FinetuneOutcome, encoder: Encoder, lists: Lists
) -> None:
    torch.manual_seed(99)
    again = finetune(encoder, *lists, replace(QUICK, workers=2, cache_mb=0))
    assert np.array_equal(quick.probabilities, again.probabilities)
    assert quick.history == again.history
    for mine, other in zip(quick.network.state_dict().values(), again.network.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


def test_torch_is_left_as_it_was(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, replace(QUICK, threads=2), False)
    torch.manual_seed(4)
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.get_rng_state()
    with pytest.raises(KeyError), training_loop.deterministic_mode(job):
        assert torch.get_num_threads() == 2 and torch.are_deterministic_algorithms_enabled()
        torch.rand(1)
        raise KeyError
    assert torch.equal(state, torch.get_rng_state())
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_a_network_that_draws_for_itself_draws_the_same(encoder: Encoder, lists: Lists) -> None:
    class Drawing(nn.Module):
        num_features = 3

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(clips.mean(dim=(2, 3, 4), keepdim=True), 0.5, self.training)

    own = Encoder(encoder.spec, Drawing())
    own.backbone.weight = nn.Parameter(torch.zeros(1))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(finetune(own, lists[0], lists[1][:2], replace(QUICK, epochs=1, select="last")).history)
    assert found[0] == found[1]


def test_what_comes_back(quick: FinetuneOutcome, lists: Lists) -> None:
    assert quick.classes == sorted({i.label for i in lists[0]}) and quick.instances == lists[1]
    assert quick.probabilities.shape == (6, 3) and quick.probabilities.sum(1) == pytest.approx(np.ones(6))
    assert [row["epoch"] for row in quick.history] == [1, 2]
    assert all({"lr", "train_loss", "validation_loss", "validation_top1"} <= set(row) for row in quick.history)
    best = min(quick.history, key=lambda row: row["validation_loss"])
    assert quick.best_epoch == best["epoch"]
    assert quick.protocol["train"] + quick.protocol["validation"] == 12 and quick.protocol["view"] == "rgb"
    json.dumps(quick.protocol, allow_nan=False)


def test_groups_are_whole_in_training_or_in_validation(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, QUICK, False)
    assert job.validation and not {i.group for i in job.train} & {i.group for i in job.validation}
    assert not module.build_job(encoder, *lists, replace(QUICK, select="last"), False).validation


def test_the_best_epoch_is_the_first_of_the_lowest_validation_loss() -> None:
    losses = [0.9, 0.5, 0.7, 0.5, 0.4]
    rows = [{"validation_loss": loss} for loss in losses]
    assert [is_best(rows[: n + 1], QUICK) for n in range(5)] == [True, True, False, False, True]
    assert not is_best([{"train_loss": 1.0}], QUICK) and not is_best(rows, replace(QUICK, select="last"))


def test_the_best_epochs_weights_are_tested(encoder: Encoder, lists: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a validation loss that only rises, training for more epochs must answer as training for one does."""
    rising = iter(range(100))
    real = training_loop.summarize_epoch

    def spoilt(job: FinetuneJob, losses: list[float]) -> training_loop.EpochMetrics:
        return real(job, losses) | {"validation_loss": float(next(rising))}

    monkeypatch.setattr(training_loop, "summarize_epoch", spoilt)
    train, constant = lists[0][:8], replace(QUICK, schedule="steps")
    one, two = (finetune(encoder, train, lists[1][:2], replace(constant, epochs=n)) for n in (1, 2))
    assert two.best_epoch == 1 and np.array_equal(one.probabilities, two.probabilities)


def test_from_scratch_starts_elsewhere_and_is_seeded(encoder: Encoder, lists: Lists) -> None:
    jobs = [module.build_job(encoder, *lists, replace(QUICK, seed=s), True) for s in (0, 0, 1)]
    first, same, other = (job.network.state_dict() for job in jobs)
    assert all(torch.equal(first[n], same[n]) for n in first)
    stem = "backbone.stem.0.weight"
    assert not torch.equal(first[stem], other[stem])
    assert not torch.equal(first[stem], encoder.backbone.state_dict()["stem.0.weight"])
    tuned = module.build_job(encoder, *lists, QUICK, False).network.state_dict()
    assert torch.equal(tuned[stem], encoder.backbone.state_dict()["stem.0.weight"])
    assert torch.equal(tuned["linear.weight"], first["linear.weight"])  # both begin with the same head


def test_all_layers_of_a_copy_move(quick: FinetuneOutcome, encoder: Encoder) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        before = Encoder(encoder.spec).backbone.state_dict()
    assert all(torch.equal(before[n], t) for n, t in encoder.backbone.state_dict().items())  # it was not touched
    assert not encoder.backbone.training
    moved = [not torch.equal(before[n], t) for n, t in quick.network.backbone.state_dict().items()]
    assert all(moved)


def test_the_head_has_the_deviation_of_the_recipe(encoder: Encoder) -> None:
    head = VideoClassifier(encoder.backbone, 500, build_recipe("dualvar")).linear
    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.02) and not head.bias.detach().any()


def test_dropout_keeps_the_mean_and_depends_on_instance_and_epoch(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, QUICK, False)

    def scale(epoch: int, indices: list[int]) -> torch.Tensor:
        nothing, who = torch.zeros(0), torch.tensor(indices)
        found = sample_dropout_scale(job, Clips(nothing, who, who, nothing, epoch))
        assert found is not None
        return found

    first = scale(0, list(range(200)))
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float(first.mean()) == pytest.approx(1, abs=0.01)
    assert torch.equal(scale(0, [7, 3]), first[[7, 3]]) and not torch.equal(scale(1, [7]), first[[7]])


def test_test_videos_are_seen_as_the_encoder_sees_them(encoder: Encoder, lists: Lists) -> None:
    """The logits of a video are the linear layer on the encoder's own features of the same clips, view by view."""
    for view in ("rgb", "residual"):
        job = module.build_job(encoder, *lists, replace(QUICK, view=view), False)
        clips = ClipDataset(lists[1], encoder.spec.clip, encoder.spec.views.resize_hw, 2)
        rows, got_NVC = predict_logits(job, clips, "test", num_crops=3)
        sample = clips[(0, 1)]
        views = make_inference_views(torch.from_numpy(sample.frames), encoder.spec.views, 3)
        with torch.no_grad():
            twin = job.network.linear(encoder.backbone(views[view]).mean(dim=(2, 3, 4)))
        assert rows == list(range(6)) and got_NVC.shape == (6, 6, 3)
        torch.testing.assert_close(torch.from_numpy(got_NVC[1]), twin)


def test_a_view_that_the_encoder_has_not(encoder: Encoder, lists: Lists) -> None:
    with pytest.raises(InputError, match="'flow-u'.*residual, rgb"):
        finetune(encoder, *lists, replace(QUICK, view="flow-u"))


def test_one_video_cannot_be_fine_tuned_on_both_sides(encoder: Encoder, lists: Lists) -> None:
    train, test = lists
    with pytest.raises(InputError, match="training list"):
        finetune(encoder, [*train, test[0]], test, QUICK)


def test_one_class_is_refused(encoder: Encoder, lists: Lists) -> None:
    train, test = lists
    with pytest.raises(InputError, match="2 classes"):
        finetune(encoder, train[:4], test, QUICK)


def test_fewer_videos_than_a_batch_and_none_to_validate_by(encoder: Encoder, lists: Lists) -> None:
    train, test = lists
    found = finetune(encoder, [train[0], train[4]], test, replace(QUICK, batch_size=16))
    assert found.protocol["steps"] == 2 and found.best_epoch == 2
    assert any("none are held out" in sentence for sentence in found.warnings)
    assert any("count as wrong" in sentence for sentence in found.warnings)  # the third class
    wrong = [i.label not in found.classes for i in found.instances]
    assert sum(wrong) == 2 and not found.is_correct(2)[wrong].any() and found.is_correct(2)[~np.array(wrong)].all()


def test_full_batches_only(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, replace(QUICK, select="last", batch_size=5), False)
    sizes = [len(clips.index_B) for clips in training_loop.build_train_loader(job)]
    assert sizes == [5, 5] * 2  # 12 videos: the two that are left of an epoch are others in the next


def broken(instance: Instance, folder: Path) -> Instance:
    path = folder / Path(instance.path).name
    path.write_bytes(b"not a video")
    return replace(instance, path=str(path))


def test_files_that_cannot_be_read_are_left_out_and_named(encoder: Encoder, lists: Lists, tmp_path: Path) -> None:
    train, test = lists
    bad = broken(train[0], tmp_path), broken(test[0], tmp_path)
    recipe = replace(QUICK, select="last", batch_size=12)
    found = finetune(encoder, [bad[0], *train[1:]], [bad[1], *test[1:]], recipe)
    named = {(entry["list"], entry["path"]) for entry in found.protocol["left_out"]}
    assert named == {("training", bad[0].path), ("test", bad[1].path)}
    assert found.instances == test[1:] and len(found.probabilities) == 5 == found.protocol["test"]
    assert any("2 files can't be read" in sentence for sentence in found.warnings)


def test_nothing_to_train_on_or_to_test_is_said(encoder: Encoder, lists: Lists, tmp_path: Path) -> None:
    train, test = lists
    bad_train, bad_test = ([broken(i, tmp_path) for i in part] for part in lists)
    train = [train[0], train[4]]
    with pytest.raises(InputError, match="no batch of the training list.*not a video"):
        finetune(encoder, bad_train, test, replace(QUICK, select="last"))
    with pytest.raises(InputError, match="no video of the test list"):
        finetune(encoder, train, bad_test, replace(QUICK, epochs=1))


def test_a_batch_of_one_is_passed_over(encoder: Encoder, lists: Lists, tmp_path: Path) -> None:
    train, test = lists
    four = [train[0], train[4], train[8], broken(train[9], tmp_path)]
    job = module.build_job(encoder, four, test, replace(QUICK, select="last", batch_size=2), False)
    optimizer = torch.optim.SGD(job.network.parameters(), 0.1)
    losses = [
        training_loop.train_step(job, optimizer, clips, n)
        for n, clips in enumerate(training_loop.build_train_loader(job))
    ]
    assert sorted(map(len, losses)) == [0, 0, 1, 1] and len(job.failures) == 1


def test_a_loss_that_is_not_finite_stops_before_the_step(encoder: Encoder, lists: Lists) -> None:
    train, _ = lists
    job = module.build_job(encoder, *lists, replace(QUICK, select="last"), False)
    optimizer = torch.optim.SGD(job.network.parameters(), 0.1)
    clips = next(iter(training_loop.build_train_loader(job)))
    with torch.no_grad():
        job.network.linear.bias[0] = float("nan")
    before = copy.deepcopy({n: p for n, p in job.network.named_parameters() if n != "linear.bias"})
    with pytest.raises(NonFiniteError, match=r"loss in epoch 2, step 5 is nan.*stopped before.*\.mp4"):
        training_loop.train_step(job, optimizer, clips, 4)
    assert all(torch.equal(p, dict(job.network.named_parameters())[n]) for n, p in before.items())
    assert len(train) // 4 == job.steps_per_epoch == 3


def test_a_gradient_that_is_not_finite_stops_too(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, replace(QUICK, select="last"), False)
    job.network.linear.weight.register_hook(lambda gradient: gradient * float("inf"))
    clips = next(iter(training_loop.build_train_loader(job)))
    with pytest.raises(NonFiniteError, match="gradient in epoch 1, step 1"):
        training_loop.train_step(job, torch.optim.SGD(job.network.parameters(), 0.1), clips, 0)


def test_answers_that_are_not_finite_are_no_figures(encoder: Encoder, lists: Lists) -> None:
    job = module.build_job(encoder, *lists, QUICK, False)
    with torch.no_grad():
        job.network.linear.weight.fill_(float("inf"))
    with pytest.raises(NonFiniteError, match=re.escape(lists[1][0].path)):
        predict_logits(job, ClipDataset(lists[1], encoder.spec.clip, encoder.spec.views.resize_hw, 1), "test")


def test_fine_tuning_learns(encoder: Encoder, lists: Lists) -> None:
    train, _ = lists
    recipe = replace(QUICK, select="last", epochs=30, augment="crop", dropout=0.0, batch_size=6)
    found = finetune(encoder, train[:8], lists[1][:1], recipe)
    losses = [row["train_loss"] for row in found.history]
    assert np.mean(losses[-5:]) < 0.5 * losses[0], losses


def test_the_table(encoder: Encoder, lists: Lists) -> None:
    train, test = lists
    told: list[tuple[int, int]] = []
    result = evaluate_finetune(
        encoder, train, test, replace(QUICK, epochs=1), on_progress=lambda done, total: told.append((done, total))
    )
    assert list(result.rows) == ["chance", "majority class", "fine-tuned", "from scratch"]
    assert set(result.floors) == {"chance", "majority class"}
    assert result.rows["chance"]["top-1"] == pytest.approx(100 / 3) and result.rows["fine-tuned"]["top-5"] == 100
    assert any("top-5 says nothing" in sentence for sentence in result.warnings)
    assert told[-1][0] == told[-1][1] == len(told) and [done for done, _ in told] == list(range(1, len(told) + 1))
    counts = np.array(result.extras["confusion"]["counts"])
    assert counts.sum() == 6 and 100 * np.trace(counts) / 6 == pytest.approx(result.rows["fine-tuned"]["top-1"])
    low, high = result.intervals["fine-tuned"]["top-1"]
    assert low <= result.rows["fine-tuned"]["top-1"] <= high
    assert set(result.protocol["best_epoch"]) == set(result.extras["history"]) == {"fine-tuned", "from scratch"}
    json.dumps(result.to_json(), allow_nan=False)
    assert "recipe quick" in result.caption and "adamw from 0.001" in result.caption


def small_network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_weights_must_match_wholly() -> None:
    network = small_network()
    state = network.state_dict()
    check_weights(network, state)
    short = {n: t for n, t in state.items() if not n.startswith("1.running")}
    with pytest.raises(CheckpointError, match=r"2 missing \(1.running_mean, 1.running_var\)$"):
        check_weights(network, short)
    with pytest.raises(CheckpointError, match=r"4 unexpected \(a, b, c\)$"):
        check_weights(network, state | {name: torch.zeros(1) for name in "abcd"})
    with pytest.raises(CheckpointError, match=r"1 of another shape \(0.weight is \(2, 4\), not \(2, 3\)\)"):
        check_weights(network, state | {"0.weight": torch.zeros(2, 4)})


def test_weights_from_a_file(tmp_path: Path) -> None:
    network, source, path = small_network(), small_network(), tmp_path / "w.safetensors"
    state = {n: t.clone() for n, t in source.state_dict().items()}
    safetensors.torch.save_file(state, path)
    assert load_weights(network, path) == []
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in state.items())
    safetensors.torch.save_file(state | {"head.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="1 unexpected"):  # nothing is left aside unless a prefix tells it apart
        load_weights(network, path)


def test_a_prefix_is_taken_off_and_said(tmp_path: Path) -> None:
    network, source, path = small_network(), small_network(), tmp_path / "w.safetensors"
    state = {n: t.clone() for n, t in source.state_dict().items()}
    wrapped = {f"module.{n}": t for n, t in state.items()}
    safetensors.torch.save_file(wrapped | {"head.weight": torch.zeros(1)}, path)
    (said,) = load_weights(network, path)
    assert "'module.' was removed" in said and "ignored: 1 other tensor (head.weight)" in said
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in state.items())
    safetensors.torch.save_file(wrapped | {f"momentum.{n}": t.clone() for n, t in state.items()}, path)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(CheckpointError, match=r"Several networks are in the file: module\., momentum\."):
        load_weights(network, path)
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in before.items())


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"code")
    with pytest.raises(CheckpointError, match=r"\.safetensors files only"):
        load_weights(small_network(), tmp_path / "w.pth")
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="can't be read"):
        load_weights(small_network(), tmp_path / "w.safetensors")
