"""IIC against a slow explicit twin; the contract of every method stands in tests/methods/test_every_method.py."""

import dataclasses
import math

import methods
import pytest
import torch
from methods import B, Colour, N, alone, cross_entropy, instances, job, unit

from unreel.errors import InputError
from unreel.methods import iic
from unreel.methods.registry import load_method_module
from unreel.models.registry import build_backbone
from unreel.training.runtime.auto_settings import resolve_auto
from unreel.types import Views

PAPER = iic.iic_paper()[0]
OURS = iic.iic()[0]


def views(seed: int = 0, intra: bool = True) -> Views:
    return methods.views("view1", "view2", *(["intra"] if intra else []), seed=seed)


def build(config: iic.Config, count: int = N) -> iic.Method:
    return iic.Method(Colour(), instances(count), config, seed=5).double()


def slow_loss(method: iic.Method, batch: Views, normalize: bool, in_batch: bool, with_intra: bool) -> float:
    """The formula of the docstring, one score at a time."""
    config, tau = method.config, method.config.temperature
    pooled = {n: alone(method.backbone, clips) for n, clips in batch.tensors.items()}
    z = {n: [unit(v) if normalize else v for v in vs] for n, vs in pooled.items()}
    others_BK = method.draw_negatives(batch).others_BK
    total = 0.0
    for anchor, other in (("view1", "view2"), ("view2", "view1")):
        for b in range(B):
            a, own = z[anchor][b], int(batch.index_B[b])
            bank, broken = method.get_bank(other).rows, method.get_bank("intra").rows if with_intra else None
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
                total += (cross_entropy(scores, tau) + cross_entropy([positive, *intra], tau)) / B
            else:
                total += cross_entropy(scores + intra, tau) / B
    return total


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


@pytest.mark.parametrize("intra", ["shuffle-frames", "none"])
def test_ours_has_the_negatives_of_the_batch_alone_and_remembers_nothing(intra: str) -> None:
    method, batch = build(dataclasses.replace(OURS, intra_negatives=intra)), views(intra=intra != "none")
    output = method(batch)
    assert not method.banks and not method.config.remembers_instances
    z = {n: [unit(v) for v in alone(method.backbone, clips)] for n, clips in batch.tensors.items()}
    total, tau = 0.0, method.config.temperature
    for anchor, other in (("view1", "view2"), ("view2", "view1")):
        for b in range(B):
            a = z[anchor][b]
            scores = [a @ z[other][b]] + [a @ z[other][j] for j in range(B) if j != b]
            total += cross_entropy(scores, tau) / B
            if intra != "none":
                total += cross_entropy([scores[0], *(a @ z["intra"][j] for j in range(B))], tau) / B
    assert float(output.loss.detach()) == pytest.approx(total, rel=1e-5)
    method.after_step()
    assert float(method(batch).loss.detach()) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("changed", [{"positives": "memory"}, {"intra_source": "memory"}])
def test_without_negatives_of_memory_nothing_comes_from_it(changed: dict[str, str]) -> None:
    settings = resolve_auto(iic.iic()[1])
    with pytest.raises(InputError, match="num_negatives must lie between 1"):
        dataclasses.replace(OURS, **changed).check(settings, N)


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
    drawn = torch.cat([build(config).draw_negatives(dataclasses.replace(batch, epoch=e)).others_BK for e in range(200)])
    own = batch.index_B.repeat(200)[:, None]
    assert not (drawn == own).any()
    assert drawn.min() == 0 and drawn.max() == N - 1
    few = build(dataclasses.replace(config, num_negatives=1024))
    all_others = few.draw_negatives(batch).others_BK
    for row, mine in zip(all_others.tolist(), batch.index_B.tolist(), strict=True):
        assert sorted(row) == [i for i in range(N) if i != mine]
    released = build(dataclasses.replace(PAPER, num_negatives=1000))
    share = float((released.draw_negatives(batch).others_BK == batch.index_B[:, None]).double().mean())
    assert share == pytest.approx(1 / N, abs=0.02)


def test_neighbours_in_time_can_be_kept_out() -> None:
    batch = views()
    config = dataclasses.replace(OURS, num_negatives=1024)
    method = build(dataclasses.replace(config, exclude_neighbours_s=15.0))
    drawn = method.draw_negatives(batch)
    others, kept = drawn.others_BK, drawn.allowed_BK
    assert float(method(batch).loss.detach()) != float(build(config)(batch).loss.detach())
    for b, (row, keep) in enumerate(zip(others.tolist(), kept.tolist(), strict=True)):
        mine = instances()[int(batch.index_B[b])]
        for j, k in zip(row, keep, strict=True):
            near = instances()[j].video == mine.video and abs(instances()[j].start_s - mine.start_s) < 15
            assert k == (not near)
    assert not kept.all()
    # 7 and 8 are 10 s apart in video 2, 0 and 3 begin two other videos: in the batch only 7 and 8 spare each other.
    index = batch.index_B.tolist()
    spared = {(a, b) for i, a in enumerate(index) for j, b in enumerate(index) if i != j and not drawn.allowed_BN[i, j]}
    assert spared == {(7, 8), (8, 7)}
    inter, _ = method.score_candidates(*[torch.eye(B, 6).double()] * 2, "view2", None, drawn)
    assert torch.isinf(inter).sum() == 2 + (~drawn.allowed_BK).sum()


def test_memory_changes_only_after_the_step() -> None:
    method, batch = build(dataclasses.replace(PAPER, num_negatives=6)), views()
    before = {n: method.get_bank(n).rows.clone() for n in method.banks}
    method(batch)
    assert all(torch.equal(before[n], method.get_bank(n).rows) for n in before)
    method.after_step()
    for name in before:
        changed = (before[name] != method.get_bank(name).rows).any(dim=1).nonzero().flatten().tolist()
        assert changed == sorted(batch.index_B.tolist())
    feature = method.backbone(batch.tensors["view1"][:1]).mean((0, 2, 3, 4))
    mixed = 0.5 * before["view1"][7] + 0.5 * feature
    assert torch.allclose(method.get_bank("view1").rows[7], mixed / mixed.norm(), atol=1e-6)


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


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'iic'"):
        load_method_module("icc")


@pytest.mark.parametrize(("how", "passes"), [("separate", 3), ("joint", 1)])
def test_batch_statistics_are_updated_once_for_each_pass(how: str, passes: int) -> None:
    method, recipe, clips = job("iic", lambda: build_backbone("tiny"), num_frames=4, batch_norm=how)
    method(recipe(clips))
    counts = {int(t) for n, t in method.state_dict().items() if n.endswith("num_batches_tracked")}
    assert counts == {passes}


@pytest.mark.parametrize("intra_softmax", ["shared", "own"])
def test_nce_is_another_loss_than_softmax(intra_softmax: str) -> None:
    losses = {}
    for loss in ("softmax", "nce"):
        method = build(dataclasses.replace(OURS, loss=loss, intra_softmax=intra_softmax, num_negatives=6))
        losses[loss] = float(method(views()).loss.detach())
        known = torch.isfinite(method.nce_log_z).sum()
        assert known == (0 if loss == "softmax" else 2 if intra_softmax == "shared" else 4)
    assert losses["softmax"] != pytest.approx(losses["nce"])
