"""IIC against a slow explicit twin, and the contract of a method."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from unreel.errors import InputError
from unreel.methods import find_methods, iic, method_module
from unreel.models import build_backbone
from unreel.settings import Settings
from unreel.types import Clips, Instance, Views

B, N = 4, 9
PAPER = iic.iic_paper()[0]
OURS = iic.iic()[0]


class Identity(torch.nn.Module):
    """A backbone that gives each clip's mean colour, stretched to D numbers by a fixed matrix."""

    def __init__(self, num_features: int = 6) -> None:
        super().__init__()
        self.num_features = num_features
        matrix = torch.randn(num_features, 3, generator=torch.Generator().manual_seed(7))
        self.matrix = torch.nn.Parameter(matrix.double())

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.einsum("fc,bcthw->bfthw", self.matrix, clips)


def instances(count: int = N) -> list[Instance]:
    return [Instance(f"v{i // 3}.mp4", i // 3, 10.0 * (i % 3), 10.0 * (i % 3) + 10) for i in range(count)]


def views(seed: int = 0, intra: bool = True, dtype: torch.dtype = torch.float64) -> Views:
    g = torch.Generator().manual_seed(seed)
    names = ["view1", "view2"] + (["intra"] if intra else [])
    tensors = {n: torch.rand(B, 3, 4, 5, 5, generator=g).to(dtype) for n in names}
    index = torch.tensor([7, 0, 3, 8])
    return Views(tensors, index, index // 3, 10.0 * (index % 3).double(), epoch=2)


def build(config: iic.Config, count: int = N) -> iic.Method:
    return iic.Method(Identity(), instances(count), config, seed=5).double()


def slow_loss(method: iic.Method, batch: Views, normalize: bool, in_batch: bool, with_intra: bool) -> float:
    """The formula of the docstring, one score at a time."""
    config = method.config
    pooled = {n: [method.backbone(x[None]).mean((0, 2, 3, 4)) for x in t] for n, t in batch.tensors.items()}
    z = {n: [v / v.norm() if normalize else v for v in vs] for n, vs in pooled.items()}
    others_BK = method.negatives(batch).others_BK
    total = 0.0
    for anchor, other in (("view1", "view2"), ("view2", "view1")):
        for b in range(B):
            a, own = z[anchor][b], int(batch.index_B[b])
            bank, broken = method.bank(other).rows, method.bank("intra").rows if with_intra else None
            positive = a @ z[other][b] if in_batch else a @ bank[own]
            scores = [positive] + [a @ bank[int(j)] for j in others_BK[b]]
            if in_batch:
                scores += [a @ z[other][j] for j in range(B) if j != b]
            intra = []
            if with_intra and config.intra_source == "batch":
                intra = [a @ z["intra"][j] for j in range(B)]
            elif broken is not None:
                intra = [a @ broken[own]] + [a @ broken[int(j)] for j in others_BK[b]]
            if config.intra_softmax == "own" and intra:
                total += (cross_entropy(scores, config) + cross_entropy([positive, *intra], config)) / B
            else:
                total += cross_entropy(scores + intra, config) / B
    return total


def cross_entropy(scores: list[torch.Tensor], config: iic.Config) -> float:
    """-log of the softmax of the first score."""
    logits = [float(s.detach()) / config.temperature for s in scores]
    top = max(logits)
    return top + math.log(sum(math.exp(s - top) for s in logits)) - logits[0]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("positives", ["memory", "batch"])
@pytest.mark.parametrize("intra_source", ["memory", "batch"])
@pytest.mark.parametrize("intra", ["repeat", "none"])
@pytest.mark.parametrize("exclude_self", [True, False])
@pytest.mark.parametrize("intra_softmax", ["shared", "own"])
def test_loss_equals_its_explicit_twin(
    normalize: bool, positives: str, intra_source: str, intra: str, exclude_self: bool, intra_softmax: str
) -> None:
    config = dataclasses.replace(
        PAPER,
        normalize=normalize,
        positives=positives,
        intra_source=intra_source,
        intra_negatives=intra,
        exclude_self=exclude_self,
        intra_softmax=intra_softmax,
        num_negatives=6,
        batch_norm="separate",
        head="none",
    )
    method, batch = build(config), views(intra=intra != "none")
    found = float(method(batch).loss.detach())
    wanted = slow_loss(method, batch, normalize, positives == "batch", intra != "none")
    assert found == pytest.approx(wanted, rel=1e-5)  # scores are compared in float32


def test_paper_loss_of_zero_features_is_chance() -> None:
    method = build(PAPER, count=40)
    with torch.no_grad():
        method.backbone.matrix.zero_()
    batch = views()
    assert float(method(batch).loss.detach()) == pytest.approx(2 * math.log(2 * 1024 + 2), abs=1e-4)
    plain = build(dataclasses.replace(PAPER, intra_negatives="none"), count=40)
    with torch.no_grad():
        plain.backbone.matrix.zero_()
    assert float(plain(views(intra=False)).loss.detach()) == pytest.approx(2 * math.log(1025), abs=1e-4)


def test_own_index_is_never_a_negative_unless_the_release_is_followed() -> None:
    batch = views()
    config = dataclasses.replace(OURS, num_negatives=5, intra_negatives="none")
    drawn = torch.cat([build(config).negatives(dataclasses.replace(batch, epoch=e)).others_BK for e in range(200)])
    own = batch.index_B.repeat(200)[:, None]
    assert not (drawn == own).any()
    assert drawn.min() == 0 and drawn.max() == N - 1
    few = build(dataclasses.replace(config, num_negatives=1024))
    all_others = few.negatives(batch).others_BK
    for row, mine in zip(all_others.tolist(), batch.index_B.tolist(), strict=True):
        assert sorted(row) == [i for i in range(N) if i != mine]
    released = build(dataclasses.replace(PAPER, num_negatives=1000))
    share = float((released.negatives(batch).others_BK == batch.index_B[:, None]).double().mean())
    assert share == pytest.approx(1 / N, abs=0.02)


def test_neighbours_in_time_can_be_kept_out() -> None:
    batch = views()
    method = build(dataclasses.replace(OURS, exclude_neighbours_s=15.0))
    drawn = method.negatives(batch)
    others, kept = drawn.others_BK, drawn.kept_BK
    for b, (row, keep) in enumerate(zip(others.tolist(), kept.tolist(), strict=True)):
        mine = instances()[int(batch.index_B[b])]
        for j, k in zip(row, keep, strict=True):
            near = instances()[j].video == mine.video and abs(instances()[j].start_s - mine.start_s) < 15
            assert k == (not near)
    assert not kept.all()
    # 7 and 8 are 10 s apart in video 2, 0 and 3 begin two other videos: in the batch only 7 and 8 spare each other.
    index = batch.index_B.tolist()
    spared = {(a, b) for i, a in enumerate(index) for j, b in enumerate(index) if not drawn.kept_BB[i, j]}
    assert spared == {(7, 8), (8, 7)}
    inter, _ = method.candidates(*[torch.eye(B, 6).double()] * 2, method.bank("view2"), None, drawn)
    assert torch.isinf(inter).sum() == 2 + (~drawn.kept_BK).sum()


def test_memory_changes_only_after_the_step() -> None:
    method, batch = build(dataclasses.replace(PAPER, num_negatives=6)), views()
    before = {n: method.bank(n).rows.clone() for n in method.banks}
    method(batch)
    assert all(torch.equal(before[n], method.bank(n).rows) for n in before)
    method.after_step()
    for name in before:
        changed = (before[name] != method.bank(name).rows).any(dim=1).nonzero().flatten().tolist()
        assert changed == sorted(batch.index_B.tolist())
    feature = method.backbone(batch.tensors["view1"][:1]).mean((0, 2, 3, 4))
    mixed = 0.5 * before["view1"][7] + 0.5 * feature
    assert torch.allclose(method.bank("view1").rows[7], mixed / mixed.norm(), atol=1e-6)


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_gradient_reaches_broken_clips_only_when_asked(source: str) -> None:
    method, batch = build(dataclasses.replace(OURS, intra_source=source, num_negatives=6)), views()
    batch.tensors["intra"].requires_grad_()
    method(batch).loss.backward()
    assert (batch.tensors["intra"].grad is not None) == (source == "batch")


def test_nce_fixes_its_constant_on_the_first_batch() -> None:
    method = build(dataclasses.replace(PAPER, loss="nce", num_negatives=6, normalize=True))
    first = method(views()).loss
    z = method.nce_log_z.clone()
    assert torch.isfinite(z[:, 0]).all() and torch.isfinite(first)
    method(views(1))
    assert torch.equal(z, method.nce_log_z)
    other = build(dataclasses.replace(PAPER, loss="nce", num_negatives=6, normalize=True))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.nce_log_z, z)


def test_what_cannot_work_is_refused_with_a_sentence() -> None:
    with pytest.raises(InputError, match="at least 2 instances"):
        build(OURS, count=1)
    with pytest.raises(InputError, match="two-clips"):
        build(dataclasses.replace(OURS, first_view="rgb", second_view="rgb", two_clips=False))
    with pytest.raises(InputError, match="Did you mean 'iic'"):
        method_module("icc")


# The contract, for every preset of every method file.

PRESETS = sorted(find_methods())


def tiny_job(preset: str) -> tuple[torch.nn.Module, object, Clips]:
    module = method_module(preset)
    config, settings = module.PRESETS[preset]()
    spec = module.Method.view_spec(config, dataclasses.replace(settings, size=32))
    recipe = module.Method.recipe(spec, config, 0)
    torch.manual_seed(0)
    method = module.Method(build_backbone("tiny"), instances(), config, 0)
    frames = np.random.default_rng(0).integers(0, 256, (B, recipe.num_clips, 8 + spec.lead_in, *spec.resize_hw, 3))
    index = torch.tensor([0, 2, 4, 6])
    clips = Clips(torch.from_numpy(frames.astype(np.uint8)), index, index // 3, torch.zeros(B).double(), epoch=0)
    return method, recipe, clips


@pytest.mark.parametrize("preset", PRESETS)
def test_contract_finite_loss_and_gradient_everywhere(preset: str) -> None:
    method, recipe, clips = tiny_job(preset)
    loss = method(recipe(clips)).loss
    assert torch.isfinite(loss)
    loss.backward()
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("preset", PRESETS)
def test_contract_same_seed_same_loss_and_state_round_trip(preset: str) -> None:
    losses = []
    for _ in range(2):
        method, recipe, clips = tiny_job(preset)
        losses.append(method(recipe(clips)).loss.detach())
        method.after_step()
    assert torch.equal(losses[0], losses[1])
    other, recipe, clips = tiny_job(preset)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other(recipe(clips)).loss, method(recipe(clips)).loss)


@pytest.mark.parametrize("preset", PRESETS)
def test_contract_thirty_steps_on_one_batch_lower_the_loss(preset: str) -> None:
    method, recipe, clips = tiny_job(preset)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        output = method(recipe(clips))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step()
        losses.append(float(output.loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("preset", PRESETS)
def test_contract_docstrings_name_source_and_equation(preset: str) -> None:
    module = method_module(preset)
    assert "Source:" in module.__doc__ and "L = " in module.__doc__
    assert module.PRESETS[preset].__doc__


def test_presets_keep_the_papers_numbers() -> None:
    config, settings = iic.iic_paper()
    assert (config.num_negatives, config.temperature, config.memory_momentum) == (1024, 0.07, 0.5)
    assert (settings.lr, settings.momentum, settings.weight_decay) == (0.01, 0.9, 1e-4)
    assert (settings.batch_size, settings.epochs, settings.schedule) == (16, 240, "steps")
    assert (settings.backbone, settings.size, settings.num_frames, settings.stride_frames) == ("r3d", 112, 16, 1)
    assert (config.normalize, config.exclude_self, config.positives, config.head) == (False, False, "memory", "none")
    assert (config.residual.boundary, config.residual.rescale) == ("wrap", True)
    assert isinstance(settings, Settings)


@pytest.mark.parametrize("intra_softmax", ["shared", "own"])
def test_nce_is_another_loss_than_softmax(intra_softmax: str) -> None:
    losses = {}
    for loss in ("softmax", "nce"):
        method = build(dataclasses.replace(OURS, loss=loss, intra_softmax=intra_softmax, num_negatives=6))
        losses[loss] = float(method(views()).loss.detach())
        known = torch.isfinite(method.nce_log_z).sum()
        assert known == (0 if loss == "softmax" else 2 if intra_softmax == "shared" else 4)
    assert losses["softmax"] != pytest.approx(losses["nce"])
