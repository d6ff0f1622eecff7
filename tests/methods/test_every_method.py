"""The contract of a method, for every preset of every method file."""

import dataclasses
from typing import Any

import pytest
import torch
from methods import DIFFERENT_PRESETS, B, job
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.key_queue import KeyQueue
from unreel.methods.registry import find_methods, load_method_module, load_preset
from unreel.models.registry import build_backbone
from unreel.settings import Settings
from unreel.training.lr_schedule import compute_lr
from unreel.training.runtime.auto_settings import resolve_auto
from unreel.types import Clips
from unreel.views.augmentation import AUGMENTATIONS
from unreel.views.two_views import TwoViewOptions

PRESETS = sorted(find_methods())

# Losses of `third_loss`, float32 on a CPU. After an intended change, `python tests/methods/test_every_method.py`
# prints the table anew.
REFERENCE = {
    "byol": 4.082729,
    "cmc": 10.03121,
    "cvrl": 5.083029,
    "cvrl-paper": 3.6259,
    "cvrl-paper-200": 3.6259,
    "dual": 8.929483,
    "dual-moco": 7.986139,
    "dual-moco-paper": 9.446208,
    "dual-paper": 5.81698,
    "iic": 6.797172,
    "iic-paper": 11.65206,
    "iic-v2": 14.779,
    "moco": 1.727118,
    "moco-v3": 2.771874,
    "motion": 1.768793,
    "simclr": 2.086623,
    "simclr-frames": 2.226451,
    "trio": 4.007175,
    "vicreg": 30.59058,
}


def tiny_job(preset: str, num_frames: int = 8) -> tuple[Any, Any, Clips]:
    """The preset on `tiny`, or on its 2D twin and single frames where that is what it trains."""
    if load_preset(preset)[1].backbone.endswith("-2d"):
        return job(preset, lambda: build_backbone("tiny-2d"), num_frames=1)
    return job(preset, lambda: build_backbone("tiny"), num_frames)


def third_loss(preset: str) -> float:
    """Loss of a batch that was seen twice before, so that memory, queues and teacher have a part in it."""
    method, recipe, clips = tiny_job(preset)
    views = recipe(clips)
    for _ in range(2):
        method(views)
        method.after_step()
    return float(method(views).loss.detach())


def state(method: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_finite_loss_and_gradient_everywhere(preset: str) -> None:
    method, recipe, clips = tiny_job(preset)
    output = method(recipe(clips))
    assert output.loss.shape == () and torch.isfinite(output.loss)
    assert all(torch.isfinite(value) and not value.requires_grad for value in output.logs.values())
    output.loss.backward()
    trainable = {n: p for n, p in method.named_parameters() if p.requires_grad}
    assert [n for n, p in trainable.items() if p.grad is None] == []
    # Batch norm, variance and covariance take away what a bias before them adds, so only rounding reaches such a bias.
    assert [n for n, p in trainable.items() if not n.endswith("bias") and not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_loss_and_state_round_trip(preset: str) -> None:
    losses = []
    for _ in range(2):
        method, recipe, clips = tiny_job(preset)
        views = recipe(clips)
        losses.append(method(views).loss.detach())
        method.after_step()
    assert torch.equal(*losses)
    other, _, _ = tiny_job(preset)
    for tensor in other.state_dict().values():
        tensor.zero_()  # whatever is not in the state is lost
    other.load_state_dict(state(method))
    for one in (method, other):
        losses.append(one(views).loss.detach())
        one.after_step()
    assert torch.equal(*losses[2:])
    kept = state(method)
    assert kept and all(torch.equal(kept[n], tensor) for n, tensor in state(other).items())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_that_was_refused_leaves_no_trace(preset: str) -> None:
    """Only after_step changes memory, queue and teacher: without it, nothing but running statistics has moved."""
    method, recipe, clips = tiny_job(preset)
    before = state(method)
    method(recipe(clips))
    changed = [n for n, tensor in state(method).items() if not torch.equal(before[n], tensor)]
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert [n for n in changed if not n.endswith(statistics)] == []
    method.after_step()
    method.after_step()  # nothing is pending: a second one remembers nothing twice
    queues = [module for module in method.modules() if isinstance(module, KeyQueue)]
    assert all(int(queue.pointer) == B for queue in queues)
    assert bool(queues) == bool(
        getattr(method.config, "queue_size", 0) and preset in ("moco", "dual-moco", "dual-moco-paper")
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_at_most_thirty_steps_on_one_batch_lower_the_loss(preset: str) -> None:
    method, recipe, clips = tiny_job(preset, num_frames=4)
    views, losses = recipe(clips), []
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-3)
    for step in range(32):
        output = method(views)
        if step >= 2:  # a queue begins with nobody's keys, which are easy to tell from one's own
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            losses.append(float(output.loss.detach()))
            if losses[-1] < losses[0] - 0.3 * abs(losses[0]):  # enough for less than thirty
                return
        method.after_step()
    assert losses[-1] < losses[0]


def test_tests_in_several_processes_have_a_preset_of_each_method() -> None:
    found = find_methods()
    assert {found[preset] for preset in DIFFERENT_PRESETS} == set(found.values())


@pytest.mark.parametrize("preset", PRESETS)
def test_docstrings_name_source_and_equation(preset: str) -> None:
    module = load_method_module(preset)
    assert all(part in module.__doc__ for part in ("Idea", "Source:", "L = "))
    assert module.PRESETS[preset].__doc__ and module.Method.__doc__ and module.Config.__doc__


@pytest.mark.parametrize("preset", PRESETS)
def test_reference_loss(preset: str) -> None:
    assert third_loss(preset) == pytest.approx(REFERENCE[preset], rel=1e-4)


def test_every_preset_has_a_reference() -> None:
    assert set(REFERENCE) == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_accepted_with_its_own_settings(preset: str) -> None:
    config, settings = load_preset(preset)
    assert isinstance(config, TwoViewOptions)
    config.check(resolve_auto(settings), 1000)


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_of_a_method_is_float64_which_mps_has_not(preset: str) -> None:
    method, _, _ = tiny_job(preset)
    assert [n for n, t in (*method.named_buffers(), *method.named_parameters()) if t.dtype == torch.float64] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_mixed_precision_stays_near_full_precision(preset: str) -> None:
    method, recipe, clips = tiny_job(preset, num_frames=4)
    views = recipe(clips)
    full = method(views).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method(views).loss.detach()
    assert mixed.dtype == torch.float32 and torch.allclose(full, mixed, rtol=0.05)


# --- what cannot work is refused with a sentence that names the option


@pytest.mark.parametrize("preset", PRESETS)
def test_a_contrast_needs_somebody_else(preset: str) -> None:
    config, settings = load_preset(preset)
    settings = resolve_auto(settings)
    with pytest.raises(InputError, match="--segment-s"):
        config.check(settings, 1)
    alone = dataclasses.replace(settings, batch_size=1)
    if getattr(config, "positives", "batch") == "memory":
        config.check(alone, 1000)  # IIC's negatives are in memory
        return
    with pytest.raises(InputError, match="--batch-size"):
        config.check(alone, 1000)


@pytest.mark.parametrize("preset", ["moco", "dual-moco"])
@pytest.mark.parametrize("size", [-16, 8, 1000])
def test_a_queue_is_a_whole_number_of_batches(preset: str, size: int) -> None:
    config, settings = load_preset(preset)
    with pytest.raises(InputError, match=f"--queue-size {size}"):
        dataclasses.replace(config, queue_size=size).check(resolve_auto(settings), 1000)
    dataclasses.replace(config, queue_size=48).check(resolve_auto(settings), 1000)


@pytest.mark.parametrize("preset", ["moco", "dual-moco"])
def test_a_queue_trains_view_1_alone(preset: str) -> None:
    config, settings = load_preset(preset)
    with pytest.raises(InputError, match="--second-view residual would never be learned"):
        dataclasses.replace(config, second_view="residual", standardize=False).check(resolve_auto(settings), 1000)
    both = dataclasses.replace(config, first_view="residual", second_view="residual", standardize=False)
    both.check(resolve_auto(settings), 1000)


def test_dual_on_a_queue_needs_one() -> None:
    config, settings = load_preset("dual-moco")
    with pytest.raises(InputError, match="--queue-size 0"):
        dataclasses.replace(config, queue_size=0).check(resolve_auto(settings), 1000)


@pytest.mark.parametrize(
    ("preset", "changes", "says"),
    [
        ("trio", {}, "--intra-negatives shuffle-frames"),
        ("trio", {"intra_negatives": "none", "rank_weight": 0.5}, "the ranking of segments"),
        ("dual", {}, "the ranking of segments"),
        ("cvrl", {"intra_negatives": "shuffle"}, "--intra-negatives shuffle"),
        ("moco", {"intra_negatives": "repeat"}, "--intra-negatives repeat"),
        ("simclr-frames", {"intra_negatives": "repeat"}, "--intra-negatives repeat"),
        ("iic", {}, "--intra-negatives shuffle-frames"),
    ],
)
@pytest.mark.parametrize("how", ["twin", "frame"])
def test_what_has_no_time_is_not_asked_about_it(preset: str, changes: dict, says: str, how: str) -> None:
    config, settings = load_preset(preset)
    timeless = {"backbone": "tiny-2d"} if how == "twin" else {"num_frames": 1}
    settings = dataclasses.replace(resolve_auto(settings), **timeless)
    with pytest.raises(InputError, match=says):
        dataclasses.replace(config, **changes).check(settings, 1000)
    if preset != "dual":
        rotated = {"intra_negatives": "rotate"} | ({"rank_weight": 0} if preset == "trio" else {})
        dataclasses.replace(config, **rotated).check(settings, 1000)


@pytest.mark.parametrize("preset", ["trio", "dual", "dual-moco", "dual-paper", "dual-moco-paper"])
def test_segments_divide_the_clip(preset: str) -> None:
    config, settings = load_preset(preset)
    settings = dataclasses.replace(settings, num_frames=16)
    config = dataclasses.replace(config, rank_weight=0.5) if preset == "trio" else config
    with pytest.raises(InputError, match="--segments 3"):
        dataclasses.replace(config, segments=3).check(settings, 1000)
    dataclasses.replace(config, segments=4).check(settings, 1000)
    unranked = {"rank_weight": 0.0} if preset == "trio" else {"shuffle_rank": False}
    dataclasses.replace(config, segments=3, **unranked).check(settings, 1000)
    with pytest.raises(InputError, match="segments"):
        dataclasses.replace(config, segments=1).check(settings, 1000)


@pytest.mark.parametrize("preset", ["byol", "vicreg"])
def test_broken_clips_have_no_place_without_negatives(preset: str) -> None:
    config, settings = load_preset(preset)
    with pytest.raises(InputError, match="--intra-negatives repeat"):
        dataclasses.replace(config, intra_negatives="repeat").check(resolve_auto(settings), 1000)


@pytest.mark.parametrize("preset", PRESETS)
def test_two_equal_views_are_refused(preset: str) -> None:
    config, _ = load_preset(preset)
    with pytest.raises(InputError, match="--second-view"):
        dataclasses.replace(config, pairs="one-clip", first_view="rgb", second_view="rgb", asymmetric=False)


WRONG = {"temperature": 0.0, "exclude_neighbours_s": -1.0, "teacher_momentum": 1.5, "theta": 0.0, "rank_weight": -1.0}
WRONG |= {"max_exponent": -1.0, "memory_momentum": 2.0, "num_negatives": -1, "head_layers": -1, "segment_width": 0}
WRONG |= {"invariance": -1.0, "variance": -1.0, "covariance": -1.0, "head_width": 0}


@pytest.mark.parametrize("preset", PRESETS)
def test_numbers_out_of_range_are_refused(preset: str) -> None:
    config, settings = load_preset(preset)
    numbers = {f.name for f in dataclasses.fields(config) if f.type in ("int", "float", int, float)}
    numbers -= {f.name for f in dataclasses.fields(TwoViewOptions)} | {"queue_size", "segments"}
    assert numbers <= set(WRONG)
    for name in numbers:
        with pytest.raises(InputError, match=f"{name} must lie between"):
            dataclasses.replace(config, **{name: WRONG[name]}).check(resolve_auto(settings), 1000)


# --- presets keep the papers' numbers


def rates(settings: Settings, *epochs: int) -> list[float]:
    return [round(compute_lr(10 * epoch, 10 * settings.epochs, settings), 9) for epoch in epochs]


def test_cvrl_paper() -> None:
    """CVRL's release."""
    config, settings = load_preset("cvrl-paper")
    assert (config.pairs, config.interval_power, config.temperature, config.head_layers) == ("decreasing", 1.0, 0.1, 3)
    assert (config.augment, config.flip, config.asymmetric, config.consistent) == ("cvrl-paper", True, True, True)
    assert (config.first_view, config.second_view, config.standardize) == ("rgb", "rgb", False)
    assert (config.intra_negatives, config.exclude_neighbours_s, config.time_reversal) == ("none", 0, 0)
    strong = AUGMENTATIONS["cvrl-paper"]
    assert (strong.jitter, strong.jitter_p, strong.grey, strong.resized_crop) == ((0.8, 0.8, 0.8, 0.2), 0.8, 0.2, True)
    assert (settings.backbone, settings.size, settings.num_frames, settings.stride_frames) == ("r3d50tf", 224, 16, 2)
    assert (settings.batch_size, settings.epochs, settings.sync_batch_norm) == (1024, 800, True)
    assert (settings.optimizer, settings.lr, settings.momentum) == ("sgd", 0.32, 0.9)
    assert (settings.weight_decay, settings.decay_all, settings.schedule) == (*(1e-6, False, "cosine-from-start"),)
    short_config, short = load_preset("cvrl-paper-200")
    assert short_config == config and dataclasses.replace(short, epochs=800) == settings
    assert (settings.warmup_epochs, short.warmup_epochs, short.epochs) == (5, 5, 200)
    method, _, _ = tiny_job("cvrl-paper")
    widths = [layer.out_features for layer in method.head.layers if isinstance(layer, torch.nn.Linear)]
    norms = [layer for layer in method.head.layers if isinstance(layer, torch.nn.BatchNorm1d)]
    assert {norm.momentum for norm in norms} == {0.003} and len(norms) == 3
    bound = (6 / 256) ** 0.5  # Glorot: sqrt(6 / (in + out))
    first = method.head.layers[0]
    assert 0.95 * bound < first.weight.abs().max() <= bound and not first.bias.any()
    assert widths == [128, 128, 128, 128]  # three as wide as the features, then 128; tiny has 128 features as well


def test_dual_paper() -> None:
    """DualVar's release; `dual` differs from it in size and in the cut exponent only."""
    config, settings = load_preset("dual-paper")
    assert (config.framework, config.series, config.shuffle_rank) == ("in-batch", True, True)
    assert (config.segments, config.segment_width, config.theta, config.temperature) == (2, 64, 0.05, 0.07)
    assert (config.max_exponent, config.time_reversal, config.flip, config.standardize) == (5, 0.5, False, True)
    assert (config.pairs, config.augment, config.intra_negatives) == ("independent", "dual", "none")
    how = AUGMENTATIONS["dual"]
    assert (how.plain, how.jitter, how.blur, how.grey) == (0.2, (0.8, 0.8, 0.8, 0.2), 0.5, 0)
    assert how.jitter_p == pytest.approx(0.8 * 0.8)
    assert (settings.backbone, settings.size, settings.num_frames, settings.stride_frames) == ("r21d", 112, 16, 4)
    assert (settings.batch_size, settings.epochs, settings.optimizer) == (64, 200, "sgd")
    assert (settings.lr, settings.momentum, settings.weight_decay) == (0.003, 0.9, 1e-4)
    assert rates(settings, 0, 119, 120, 159, 160, 199) == [0.003, 0.003, 3e-4, 3e-4, 3e-5, 3e-5]
    assert (settings.short, settings.precision) == ("border", "32-true")
    assert dataclasses.replace(config, max_exponent=0.0, batch_norm="joint") == load_preset("dual")[0]
    method, _, _ = tiny_job("dual-paper")
    assert method.heads.clip.layers[-1].out_features == method.heads.series.layers[-1].out_features == 128


def test_dual_moco_paper() -> None:
    """DualVar's release with queues: 16384 keys, of which those of the same video are negatives too."""
    config, settings = load_preset("dual-moco-paper")
    assert settings == load_preset("dual-paper")[1]
    released = {"queue_size": 1024, "teacher_momentum": 0.99, "queue_style": "moco", "batch_norm": "joint"}
    assert dataclasses.replace(config, **released) == load_preset("dual-moco")[0]
    assert (config.queue_size, config.teacher_momentum, config.max_exponent) == (16384, 0.999, 0)
    method, recipe, clips = tiny_job("dual-moco-paper")
    assert (method.teacher.momentum, method.teacher.norm_mode, method.teacher.warm_up) == (0.999, "batch", False)
    norms = method.series_queue.rows.norm(dim=1)
    assert 0.5 < float(norms.mean()) < 0.9 and method.clip_queue.rows.norm(dim=1).allclose(torch.ones(2 * B))
    assert method.group_views(recipe(clips)) == [["view1"], ["again", "shuffled"]]
    method(recipe(clips))
    method.after_step()
    mask, index = method.negative_mask, clips.index_B
    assert torch.isfinite(method.clip_queue.score_keys(torch.rand(B, 128), mask, index)).all()


def test_paper_presets_take_whole_videos_and_all_of_them() -> None:
    for preset in PRESETS:
        _, settings = load_preset(preset)
        is_paper = "paper" in preset or preset in ("iic-v2", "cmc")
        expected = (0, 0, "last") if is_paper else (10, 0.1, "monitors")
        assert (settings.segment_s, settings.held_out, settings.best_checkpoint) == expected, preset


def test_iic_paper_and_cmc() -> None:
    """IIC's release."""
    config, settings = load_preset("iic-paper")
    assert (config.num_negatives, config.temperature, config.memory_momentum) == (1024, 0.07, 0.5)
    assert (settings.lr, settings.momentum, settings.weight_decay) == (0.01, 0.9, 1e-4)
    assert (settings.batch_size, settings.epochs, settings.schedule, settings.seed) == (16, 240, "steps", 632)
    assert (settings.backbone, settings.size, settings.num_frames, settings.stride_frames) == ("r3d", 112, 16, 1)
    assert (config.normalize, config.exclude_self, config.positives, config.head) == (False, False, "memory", "none")
    assert (config.intra_source, config.intra_softmax, config.batch_norm) == ("memory", "shared", "separate")
    assert (config.pairs, config.augment, config.flip, config.standardize) == ("one-clip", "crop", False, False)
    assert (config.residual.boundary, config.residual.rescale) == ("wrap", True)
    assert (config.first_view, config.second_view, config.intra_negatives) == ("rgb", "residual", "repeat")
    assert rates(settings, 44, 45, 90, 125, 160) == [0.01, 0.002, 0.0004, 0.00008, 0.000016]
    cmc, cmc_settings = load_preset("cmc")
    assert cmc == dataclasses.replace(config, intra_negatives="none") and cmc_settings == settings


def test_iic_v2() -> None:
    """IICv2's release."""
    config, settings = load_preset("iic-v2")
    assert (config.num_negatives, config.temperature, config.memory_momentum) == (1024, 0.07, 0.5)
    assert (config.pairs, config.first_view, config.second_view) == ("independent", "residual", "residual")
    assert (config.residual.boundary, config.residual.rescale, config.standardize) == ("wrap", False, True)
    assert (config.augment, config.flip, config.intra_negatives) == ("color", True, "shuffle")
    assert config.intra_view == "residual"
    how = AUGMENTATIONS["color"]
    assert (how.jitter, how.jitter_p, how.grey, how.blur) == ((0.4, 0.4, 0.4, 0.1), 0.8, 0.2, 0.5)
    assert (config.head, config.normalize, config.positives, config.intra_source) == ("mlp", True, "memory", "memory")
    assert (config.exclude_self, config.loss, config.intra_softmax) == (False, "softmax", "shared")
    assert (settings.lr, settings.momentum, settings.weight_decay) == (0.1, 0.9, 1e-4)
    assert (settings.batch_size, settings.epochs, settings.schedule, settings.warmup) == (16, 240, "cosine", 0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("REFERENCE = {\n" + "".join(f'    "{p}": {third_loss(p):.7g},\n' for p in PRESETS) + "}")
