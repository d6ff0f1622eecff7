"""What the loop is made of: rates, label-free monitors, checkpoints that survive a full disk, logs and quarantine."""

import copy
import csv
import errno
import json
import math
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.corpus.held_out import split_held_out
from unreel.corpus.synthetic_motion import MOTIONS, render_video
from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, DiskError, InputError, RunError
from unreel.losses.memory_bank import MemoryBank
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import build_backbone
from unreel.settings import Settings
from unreel.training.lr_schedule import compute_lr, set_lr
from unreel.training.monitors import compute_monitors, evaluate_monitors
from unreel.training.optimizers import build_optimizer
from unreel.training.run_folder.checkpoint import collect_training_state, load_checkpoint, save_checkpoint
from unreel.training.run_folder.checkpoint_index import find_last_checkpoint, rewind_to_step
from unreel.training.run_folder.config import read_config
from unreel.training.run_folder.creation import create_run
from unreel.training.run_folder.csv_log import CsvLog
from unreel.training.run_folder.quarantine import RunQuarantine
from unreel.training.run_folder.run_state import RunState
from unreel.types import FileFailure, Instance
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

# --- the learning rate


@pytest.mark.parametrize("epoch_steps", [1, 7, 596])
def test_the_papers_drops(epoch_steps: int) -> None:
    """IIC's release: times 0.2 after epochs 45, 90, 125 and 160 of 240, so epochs counted from 0 drop at 45, 90, ..."""
    settings, total = Settings(), 240 * epoch_steps
    for epoch in range(240):
        drops = (epoch >= 45) + (epoch >= 90) + (epoch >= 125) + (epoch >= 160)
        for step in (epoch * epoch_steps, (epoch + 1) * epoch_steps - 1):
            assert compute_lr(step, total, settings) == pytest.approx(0.01 * 0.2**drops, rel=1e-12)


def test_drops_are_shares_of_a_run_of_any_length() -> None:
    rates = [compute_lr(step, 48 * 10, Settings()) for step in range(480)]
    changes = [step for step in range(1, 480) if rates[step] != rates[step - 1]]
    assert changes == [90, 180, 250, 320]


@pytest.mark.parametrize("epoch_steps", [1, 60, 150, 1000])
def test_a_run_of_an_epoch_or_less_drops_too(epoch_steps: int) -> None:
    """Settings.schedule promises drops at 45/240 ... of the run, also to `--steps 100` on a large set."""
    rates = [compute_lr(step, 100, Settings()) for step in range(100)]
    assert rates[10] == pytest.approx(0.01) and rates[99] == pytest.approx(0.01 * 0.2**4)
    assert all(0.19 < after / before <= 1 for before, after in zip(rates[:-1], rates[1:], strict=True))


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_warmup_is_a_straight_line_to_the_peak(schedule: Any) -> None:
    settings = Settings(schedule=schedule, warmup=0.1, lr=0.5)
    rates = [compute_lr(step, 100, settings) for step in range(12)]
    assert rates[:11] == pytest.approx([0.5 * (k + 1) / 11 for k in range(11)])
    assert max(rates) == rates[10] == 0.5


def test_cosine_ends_at_zero() -> None:
    settings = Settings(schedule="cosine", warmup=0.2, lr=0.3)
    rates = [compute_lr(step, 1000, settings) for step in range(1001)]
    assert rates[200] == pytest.approx(0.3) and rates[600] == pytest.approx(0.15) and rates[1000] == pytest.approx(0)
    assert 0 < rates[999] < 1e-5
    assert all(after < before for before, after in zip(rates[200:-1], rates[201:], strict=True))
    assert compute_lr(0, 10, Settings(schedule="cosine", lr=0.3)) == 0.3


def test_optimizers_get_the_settings_and_the_trainable_weights() -> None:
    method = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    method[0].requires_grad_(False)
    sgd = build_optimizer(method, Settings(lr=0.2, momentum=0.7, weight_decay=0.03))
    adamw = build_optimizer(method, Settings(optimizer="adamw", lr=0.2, weight_decay=0.03))
    assert isinstance(sgd, torch.optim.SGD) and isinstance(adamw, torch.optim.AdamW)
    for optimizer in (sgd, adamw):
        (group,) = optimizer.param_groups
        assert [id(p) for p in group["params"]] == [id(p) for p in method[1].parameters()]
        assert (group["lr"], group["weight_decay"]) == (0.2, 0.03)
        set_lr(optimizer, 0.5)
        assert group["lr"] == 0.5
    assert sgd.param_groups[0]["momentum"] == 0.7


# --- monitors


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def random_pairs(num: int, width: int, noise: float, seed: int = 0) -> np.ndarray:
    """Two noisy embeddings of each of some random directions, (N, 2, D)."""
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(num, 1, width)) + noise * rng.normal(size=(num, 2, width)))


def test_monitors_against_explicit_loops() -> None:
    z = random_pairs(30, 16, 1.5)
    ranks = []
    for view in (0, 1):
        for n in range(30):
            own = sum(a * b for a, b in zip(z[n, view], z[n, 1 - view], strict=True))
            better = [m for m in range(30) if m != n and float(z[n, view] @ z[m, 1 - view]) >= own]
            ranks.append(1 + len(better))
    distances = [float(((z[n, 0] - z[n, 1]) ** 2).sum()) for n in range(30)]
    apart = [math.exp(-2 * float(((z[i, 0] - z[j, 0]) ** 2).sum())) for i in range(30) for j in range(i + 1, 30)]
    flat = z.reshape(60, 16)
    centred = flat - flat.mean(axis=0)
    singular = np.sqrt(np.clip(np.linalg.eigvalsh(centred.T @ centred), 0, None))
    shares = singular / singular.sum()
    found = compute_monitors(z)
    assert 0 < found.same_video_r1 < 100
    assert found.num_videos == 30
    assert found.same_video_r1 == pytest.approx(100 * sum(r == 1 for r in ranks) / 60)
    assert found.same_video_mrr == pytest.approx(sum(1 / r for r in ranks) / 60)
    assert found.alignment == pytest.approx(sum(distances) / 30)
    assert found.uniformity == pytest.approx(math.log(sum(apart) / len(apart)))
    assert found.effective_rank == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-6)
    assert found.spread == pytest.approx(float(np.mean([(row**2).sum() for row in centred])))
    assert not found.has_collapsed


def test_unrelated_embeddings_find_their_own_video_by_chance() -> None:
    z = unit(np.random.default_rng(0).normal(size=(400, 2, 64)))
    found = compute_monitors(z)
    assert found.same_video_r1 < 1.0  # chance 0.25 %; 800 queries
    assert found.same_video_mrr == pytest.approx(sum(1 / r for r in range(1, 401)) / 400, rel=0.4)
    assert found.alignment == pytest.approx(2, abs=0.05) and found.effective_rank > 55 and not found.has_collapsed


def test_perfect_embeddings() -> None:
    found = compute_monitors(random_pairs(50, 32, 0.0))
    assert (found.same_video_r1, found.same_video_mrr) == (100, 1)
    assert found.alignment == pytest.approx(0, abs=1e-12) and not found.has_collapsed


def test_one_point_is_a_collapse_and_ties_do_not_count_as_found() -> None:
    found = compute_monitors(np.tile(unit(np.ones(8)), (20, 2, 1)))
    assert found.has_collapsed and found.same_video_r1 == 0 and found.same_video_mrr == pytest.approx(1 / 20)
    assert found.uniformity == pytest.approx(0, abs=1e-9)
    noise = 1e-6 * np.random.default_rng(0).normal(size=(20, 2, 8))
    assert compute_monitors(unit(np.ones((20, 2, 8)) + noise)).has_collapsed


@pytest.mark.parametrize("seed", range(3))
def test_a_line_is_a_collapse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], size=(40, 2, 1))
    assert compute_monitors(signs * unit(rng.normal(size=16))).has_collapsed
    along = unit(rng.normal(size=16)) + 0.1 * rng.normal(size=(40, 2, 1)) * unit(rng.normal(size=16))
    assert compute_monitors(unit(along)).has_collapsed
    assert not compute_monitors(unit(rng.normal(size=(40, 2, 3)))).has_collapsed


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("num", [2, 3, 4])
def test_few_videos_that_are_told_apart_are_no_collapse(num: int, noise: float) -> None:
    """20 to 34 videos hold 2 or 3 out; a perfect encoder spans no more than N - 1 dimensions there."""
    assert not compute_monitors(random_pairs(num, 64, noise)).has_collapsed
    assert compute_monitors(np.tile(unit(np.ones(64)), (num, 2, 1))).has_collapsed


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    out, videos = tmp_path_factory.mktemp("monitored"), []
    for n in range(8):
        path = out / f"{n}.mp4"
        write_video(path, render_video(list(MOTIONS)[n], 1, n, num_frames=24, size=(48, 64)), 25.0)
        videos.append(Instance(str(path), n, 0.0, float("inf")))
    return videos


def tiny_encoder(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(EncoderSpec("tiny", clip=ClipSpec(8, lead_in=1), views=ViewSpec(size=32)))


@pytest.mark.parametrize("seed", [0, 1])
def test_an_untrained_network_is_not_taken_for_a_collapsed_one(seed: int, synthetic: list[Instance]) -> None:
    found = evaluate_monitors(tiny_encoder(seed), synthetic)
    assert found is not None and found.num_videos == 8 and not found.has_collapsed
    assert all(math.isfinite(v) for v in vars(found).values())


def test_a_network_that_ignores_its_input_is_collapsed(synthetic: list[Instance]) -> None:
    encoder = tiny_encoder()
    for weight in encoder.backbone.parameters():
        if weight.ndim > 1:
            weight.data.zero_()
        else:
            weight.data.fill_(0.5)
    found = evaluate_monitors(encoder, synthetic)
    assert found is not None and found.has_collapsed and found.same_video_r1 == 0


def test_videos_of_one_clip_are_not_measured(synthetic: list[Instance]) -> None:
    short = [Instance(v.path, v.video, 0.0, 8 / 25) for v in synthetic]
    assert evaluate_monitors(tiny_encoder(), short) is None
    assert evaluate_monitors(tiny_encoder(), [synthetic[0], *short[1:]]) is None
    found = evaluate_monitors(tiny_encoder(), [synthetic[0], *short[2:], synthetic[1]])
    assert found is not None and found.num_videos == 2


# --- holding out


def listed(sizes: list[int], by: str = "group") -> list[Instance]:
    """Instances of groups (or of recordings cut into segments) of these sizes, interleaved."""
    out = []
    for g, size in enumerate(sizes):
        for k in range(size):
            group, path = (f"g{g}", f"{g}_{k}.mp4") if by == "group" else ("", f"{g}.mp4")
            out.append(Instance(path, len(out), 10.0 * k, 10.0 * k + 10, group=group))
    return [out[i] for i in np.random.default_rng(0).permutation(len(out))]


@pytest.mark.parametrize("by", ["group", "path"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_held_out_shares_no_group_with_what_is_trained_on(by: str, seed: int) -> None:
    everything = listed([4] * 30, by)
    training, held = split_held_out(everything, 0.1, seed)
    assert {i.group or i.path for i in training}.isdisjoint({i.group or i.path for i in held})
    assert 12 <= len(held) < 16
    assert training == [i for i in everything if i not in held] and held == [i for i in everything if i in held]


def test_holding_out_is_deterministic_and_goes_by_the_seed() -> None:
    everything = listed([1] * 100)
    assert split_held_out(everything, 0.1, 0) == split_held_out(everything, 0.1, 0)
    assert len({tuple(split_held_out(everything, 0.1, seed)[1]) for seed in range(5)}) == 5
    shuffled = everything[::-1]
    assert set(split_held_out(shuffled, 0.1, 0)[1]) == set(split_held_out(everything, 0.1, 0)[1])


def test_few_instances_are_all_trained_on() -> None:
    assert split_held_out(listed([1] * 19), 0.5, 0) == (listed([1] * 19), [])
    assert len(split_held_out(listed([1] * 20), 0.1, 0)[1]) == 2
    assert split_held_out(listed([1] * 100), 0.0, 0)[1] == []
    assert len(split_held_out(listed([1] * 5000), 0.1, 0)[1]) == 200


def test_a_single_recording_gives_up_segments() -> None:
    training, held = split_held_out(listed([60], by="path"), 0.1, 0)
    assert len(held) == 6 and len(training) == 54


@pytest.mark.parametrize("sizes", [[97, 1, 1, 1], [1] * 5 + [60], [300] + [2] * 10, [25] * 4, [1, 40, 40, 40]])
@pytest.mark.parametrize("by", ["group", "path"])
def test_one_large_group_never_leaves_little_to_train_on(sizes: list[int], by: str) -> None:
    """A long recording among short clips: whatever the seed, at most half is held out, and something is."""
    for seed in range(10):
        training, held = split_held_out(listed(sizes, by), 0.1, seed)
        assert 2 <= len(held) <= len(training), f"seed {seed}: {len(held)} held out, {len(training)} to train on"


# --- checkpoints


class Method(nn.Module):
    """A backbone, a head, a memory bank and a constant, as methods have."""

    z: Tensor

    def __init__(self, seed: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone = build_backbone("tiny")
        self.head = nn.Linear(128, width)
        self.bank = MemoryBank(10, width, seed)
        self.register_buffer("z", torch.rand(2, dtype=torch.float64))
        self.register_buffer("not_kept", torch.rand(2), persistent=False)


class Trained:
    """A method some steps into its training."""

    def __init__(self, seed: int = 0, optimizer: Any = "sgd", steps: int = 0, width: int = 8) -> None:
        self.method = Method(seed, width)
        self.encoder = Encoder(EncoderSpec("tiny", "iic", ClipSpec(8), ViewSpec(size=32)), self.method.backbone)
        self.optimizer = build_optimizer(self.method, Settings(optimizer=optimizer))
        for step in range(steps):
            self.step(step)

    def step(self, number: int) -> None:
        clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(number))
        z = self.method.head(self.method.backbone(clips).mean(dim=(2, 3, 4)))
        set_lr(self.optimizer, 0.1 / (number + 3))
        self.optimizer.zero_grad()
        (z.square().sum() - z[0] @ self.method.bank.rows[0]).backward()
        self.optimizer.step()
        self.method.bank.update(torch.tensor([number % 10]), z[:1].detach(), 0.5)

    def save(self, run: Path, step: int, best: int | None = None, **more: Any) -> None:
        training_state = collect_training_state(self.method, self.optimizer)
        save_checkpoint(run, self.encoder, training_state, RunState(step, best, **more))

    def load(self, run: Path) -> RunState:
        return load_checkpoint(run, self.method, self.optimizer)


def assert_equal(one: Trained, other: Trained) -> None:
    """The same to the bit: method, optimiser's tensors and its numbers."""
    a, b = one.method.state_dict(), other.method.state_dict()
    assert a.keys() == b.keys()
    assert [n for n in a if a[n].dtype != b[n].dtype or not torch.equal(a[n], b[n])] == []
    left, right = one.optimizer.state_dict(), other.optimizer.state_dict()
    assert json.dumps(left["param_groups"]) == json.dumps(right["param_groups"])
    assert left["state"].keys() == right["state"].keys()
    for i, entry in left["state"].items():
        assert entry.keys() == right["state"][i].keys()
        for key, value in entry.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(right["state"][i][key])), (i, key)


def names(run: Path) -> list[str]:
    return sorted(p.name for p in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_loaded_checkpoint_goes_on_to_the_same_bits(optimizer: str, steps: int, tmp_path: Path) -> None:
    whole = Trained(0, optimizer, steps)
    whole.save(tmp_path, steps, best_mrr=0.1 + 0.2)
    loaded = Trained(1, optimizer)
    state = loaded.load(tmp_path)
    assert (state.step, state.best_step, state.best_mrr) == (steps, None, 0.1 + 0.2)
    assert_equal(whole, loaded)
    for number in range(steps, steps + 3):
        whole.step(number)
        loaded.step(number)
    assert_equal(whole, loaded)


def test_the_encoder_in_a_checkpoint_is_usable_alone(tmp_path: Path) -> None:
    best, last = Trained(0, steps=1), Trained(1, steps=1)
    best.save(tmp_path, 1, best=1)
    last.save(tmp_path, 2, best=1)
    for path, trained in ((tmp_path, best), (find_last_checkpoint(tmp_path), last)):
        loaded = load_encoder(path)
        assert loaded.spec == trained.encoder.spec
        own = trained.method.backbone.state_dict()
        assert all(torch.equal(t, own[n]) for n, t in loaded.backbone.state_dict().items())


def test_nothing_in_a_checkpoint_can_execute_code(tmp_path: Path) -> None:
    Trained(0, "adamw", 1).save(tmp_path, 1, best=1)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.relative_to(tmp_path / "checkpoints").as_posix() for p in files} == {
        "index.json",
        *(
            f"step-00000001/{n}"
            for n in ("encoder.safetensors", "encoder.json", "training.safetensors", "training.json", "sums.json")
        ),
    }
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".json":
            json.loads(content)
        else:
            assert isinstance(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]), dict)


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    trained = Trained()
    kept = []
    for step, best in ((0, None), (5, 5), (10, 10), (15, 10), (20, 10), (25, 10), (30, 30), (35, 30)):
        trained.save(tmp_path, step, best)
        kept.append([int(n[5:]) for n in names(tmp_path) if n != "index.json"])
        index = json.loads((tmp_path / "checkpoints/index.json").read_text())
        assert index == {
            "last": f"step-{step:08d}", "best": None if best is None else f"step-{best:08d}", "best_step": best
        }  # fmt: skip
    assert kept == [[0], [0, 5], [5, 10], [10, 15], [10, 15, 20], [10, 20, 25], [25, 30], [30, 35]]


def test_going_back_drops_the_future(tmp_path: Path) -> None:
    """A run that goes on from step 10 must not leave behind what an earlier attempt wrote at step 20."""
    trained = Trained()
    for step in (10, 20, 11):
        trained.save(tmp_path, step, best=10)
    assert names(tmp_path) == ["index.json", "step-00000010", "step-00000011"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    Trained(0).save(tmp_path, 3)
    again = Trained(1, steps=1)
    again.save(tmp_path, 3)
    loaded = Trained(2)
    loaded.load(tmp_path)
    assert_equal(again, loaded)
    assert names(tmp_path) == ["index.json", "step-00000003"]


@pytest.mark.parametrize("name", [".step-00000007.123.part", ".writing-step-00000007"])  # of before
def test_what_a_killed_process_left_half_written_is_cleared(name: str, tmp_path: Path) -> None:
    aside = tmp_path / "checkpoints" / name
    aside.mkdir(parents=True)
    (aside / "encoder.safetensors").write_bytes(b"half")
    Trained().save(tmp_path, 9)
    assert names(tmp_path) == ["index.json", "step-00000009"]


def test_a_checkpoint_is_on_the_disk_before_anything_points_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flush every file and the folder, rename, flush the new index, replace the old one."""
    events: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def noted_fsync(handle: int) -> None:
        events.append("flush " + Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def noted(word: str, real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def move(source: Path, target: Path) -> Path:
            events.append(f"{word} {target.name}")
            return real(source, target)

        return move

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted("rename", rename))
    monkeypatch.setattr(Path, "replace", noted("replace", replace))
    Trained().save(tmp_path, 1)
    at = events.index("rename step-00000001")
    files = {"encoder.safetensors", "encoder.json", "training.safetensors", "training.json", "sums.json"}
    assert {f"flush {name}" for name in {*files, f".step-00000001.{os.getpid()}.part"}} <= set(events[:at])
    after = [e for e in events[at + 1 :] if e != "flush checkpoints"]
    assert after == [f"flush .index.json.{os.getpid()}.part", "replace index.json"]


@contextmanager
def failing(where: str, after: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk fills up at call number `after` of a function that writes."""
    owner, name = {
        "save_file": (safetensors.torch, "save_file"), "fsync": (os, "fsync"), "write_text": (Path, "write_text"),
        "write_bytes": (Path, "write_bytes"), "mkdir": (Path, "mkdir"),
        "rename": (Path, "rename"), "replace": (Path, "replace"),
    }[where]  # fmt: skip
    real, calls = getattr(owner, name), iter(range(1000))

    def full(*args: Any, **kwargs: Any) -> Any:
        if next(calls) >= after:
            if where == "save_file":  # half a file, then what safetensors raises
                Path(args[1]).write_text("half")
                raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        yield


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """The kernel itself refuses to write more; Python ignores the signal that comes with it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FAULTS = [("save_file", 0), ("write_bytes", 0), ("write_text", 0), ("write_text", 1), ("mkdir", 0), ("rename", 0)]
FAULTS += [("replace", 0), *(("fsync", k) for k in range(6)), ("kernel", 500_000), ("kernel", 2000)]


@pytest.mark.parametrize(("where", "after"), FAULTS)
def test_a_full_disk_leaves_the_earlier_checkpoint_and_nothing_half_written(
    where: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Trained(0, steps=1), Trained(1, steps=2)
    first.save(tmp_path, 1, best=1)
    index = (tmp_path / "checkpoints/index.json").read_bytes()
    fault = file_size_limit(after) if where == "kernel" else failing(where, after, monkeypatch)
    with fault, pytest.raises(DiskError) as raised:
        second.save(tmp_path, 2, best=2)
    said = str(raised.value)
    assert "step 2" in said and "Free some space" in said and f"--resume {tmp_path}" in said
    assert (tmp_path / "checkpoints/index.json").read_bytes() == index
    assert [p.name for p in tmp_path.rglob("*") if "writing" in p.name] == []
    loaded = Trained(2)
    assert loaded.load(tmp_path).step == 1
    assert_equal(first, loaded)
    second.save(tmp_path, 2, best=2)  # there is space again
    loaded.load(tmp_path)
    assert_equal(second, loaded)
    assert names(tmp_path) == ["index.json", "step-00000001", "step-00000002"]


DAMAGE = [(name, damage) for name in ("encoder.safetensors", "training.safetensors", "training.json", "../index.json")
          for damage in ("half", "empty", "other content", "gone")]  # fmt: skip
DAMAGE.remove(("../index.json", "gone"))  # so a run is left that was killed before it wrote one: it goes on


@pytest.mark.parametrize(("name", "damage"), DAMAGE)
def test_a_damaged_checkpoint_is_named(name: str, damage: str, tmp_path: Path) -> None:
    trained = Trained()
    trained.save(tmp_path, 1)
    path = tmp_path / "checkpoints" / "step-00000001" / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"half": content[: len(content) // 2], "empty": b"", "other content": b"[]"}[damage])
    with pytest.raises(CheckpointError) as raised:
        Trained(1).load(tmp_path)
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    Trained(width=8).save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="step-00000001"):
        Trained(width=9).load(tmp_path)


def test_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to go on from"):
        find_last_checkpoint(tmp_path)


def test_a_run_killed_before_it_pointed_to_its_first_checkpoint_goes_on_from_it(tmp_path: Path) -> None:
    trained = Trained(steps=2)
    trained.save(tmp_path, 2)
    (tmp_path / "checkpoints/index.json").unlink()
    loaded = Trained(1)
    assert loaded.load(tmp_path).step == 2
    assert_equal(trained, loaded)


def test_a_best_checkpoint_that_went_before_this_one_was_gone_back_to_is_not_named(tmp_path: Path) -> None:
    """Steps 10, 20 and 30, each the best when it was made, so that 10 has gone; the run goes on from 20."""
    trained = Trained()
    for step, best in ((10, 10), (20, 10), (30, 30)):
        trained.save(tmp_path, step, best=best, best_mrr=step / 100)
    assert names(tmp_path) == ["index.json", "step-00000020", "step-00000030"]
    rewind_to_step(tmp_path, 20)
    state = trained.load(tmp_path)
    assert (state.step, state.best_step, state.best_mrr) == (20, None, -1.0)
    trained.save(tmp_path, 25, best=10)
    assert json.loads((tmp_path / "checkpoints/index.json").read_text())["best"] is None


def test_saving_changes_nothing_in_memory(tmp_path: Path) -> None:
    trained = Trained(0, "adamw", 2)
    before = copy.deepcopy(trained)
    state = RunState(2, 2, 0.5)
    save_checkpoint(tmp_path, trained.encoder, collect_training_state(trained.method, trained.optimizer), state)
    assert state == RunState(2, 2, 0.5)
    assert_equal(before, trained)


# --- the run folder's tables


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_grows_and_is_cut_back_to_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = CsvLog(path, 0)
    for step in (10, 20, 21, 40):
        table.append_row({"step": step, "loss": step / 8, "collapsed": step > 20})
    assert path.read_text().splitlines()[:2] == ["step,loss,collapsed", "10,1.25,False"]
    again = CsvLog(path, 20)
    assert [row["step"] for row in rows(path)] == ["10", "20"]
    again.append_row({"step": 30, "loss": 0.5, "collapsed": False})
    assert path.read_text() == "step,loss,collapsed\n10,1.25,False\n20,2.5,False\n30,0.5,False\n"
    assert CsvLog(path, 99).columns == ["step", "loss", "collapsed"]
    assert len(rows(path)) == 3


def test_a_table_cut_back_to_nothing_keeps_one_header(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    CsvLog(path, 0).append_row({"step": 5, "loss": 1.0})
    for _ in range(2):  # the second time only the header is there
        CsvLog(path, 0)
    CsvLog(path, 0).append_row({"step": 5, "loss": 2.0})
    assert path.read_text() == "step,loss\n5,2.0\n"
    assert not (tmp_path / "none.csv").exists() and CsvLog(tmp_path / "none.csv", 5).columns == []


@pytest.mark.parametrize("torn", ["3", "30", "30,0", "30,0.5,", "\0\0\0\0\0\0", ",,"])
def test_a_last_row_torn_by_a_full_disk_is_dropped(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,rate\n10,1.0,0.1\n20,0.5,0.1\n" + torn)
    CsvLog(path, 40).append_row({"step": 50, "loss": 0.25, "rate": 0.1})
    assert path.read_text() == "step,loss,rate\n10,1.0,0.1\n20,0.5,0.1\n50,0.25,0.1\n"


def test_a_table_that_can_not_be_written(tmp_path: Path) -> None:
    table = CsvLog(tmp_path / "gone" / "metrics.csv", 0)
    with pytest.raises(DiskError, match=r"metrics\.csv"):
        table.append_row({"step": 1, "loss": 0.5})


def test_a_run_folder_is_made_once(tmp_path: Path) -> None:
    run = create_run(tmp_path / "a" / "run", {"method": "iic", "seed": 3})
    assert read_config(run) == {"method": "iic", "seed": 3} and [p.name for p in run.iterdir()] == ["config.json"]
    with pytest.raises(RunError, match="--resume"):
        create_run(run, {"method": "other"})
    assert read_config(run)["method"] == "iic"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        create_run(tmp_path / "file", {})
    (tmp_path / "empty").mkdir()
    create_run(tmp_path / "empty", {})
    with pytest.raises(DiskError):
        create_run(tmp_path / "file" / "run", {})


@pytest.mark.parametrize("content", [None, "", '{"method": "ii'])
def test_a_config_that_can_not_be_read(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json"):
        read_config(tmp_path)


# --- files that fail while training


def test_failing_files_are_written_down_once(tmp_path: Path) -> None:
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([])
    assert not quarantine.path.exists()
    quarantine.add([FileFailure("a, b.mp4", "damaged", "frame 3: bad, very\nbad"), FileFailure("a, b.mp4", "damaged")])
    quarantine.add([FileFailure("a, b.mp4", "damaged"), FileFailure("c.mp4", "missing")])
    assert rows(quarantine.path) == [
        {"path": "a, b.mp4", "reason": "damaged", "detail": "frame 3: bad, very\nbad"},
        {"path": "c.mp4", "reason": "missing", "detail": ""},
    ]


def test_more_than_the_allowed_share_stops_the_run(tmp_path: Path) -> None:
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([FileFailure("a.mp4", "missing"), FileFailure("b.mp4", "missing")])  # a fifth is allowed
    quarantine.add([FileFailure("a.mp4", "missing")])
    with pytest.raises(InputError, match=r"3 of 10 files.*--max-bad-share 0\.2.*quarantine\.csv"):
        quarantine.add([FileFailure("c.mp4", "truncated", "moov")])
    assert [row["path"] for row in rows(quarantine.path)] == ["a.mp4", "b.mp4", "c.mp4"]


def test_what_the_inspection_and_earlier_attempts_found_counts(tmp_path: Path) -> None:
    (tmp_path / "quarantine.csv").write_text("path,reason,detail\na.mp4,missing,\nb.mp4,missing,\n")
    quarantine = RunQuarantine(tmp_path, num_files=10, max_bad_share=0.2)
    quarantine.add([])
    quarantine.add([FileFailure("b.mp4", "missing")])
    with pytest.raises(InputError, match="3 of 10"):
        quarantine.add([FileFailure("c.mp4", "missing")])
    assert len(rows(quarantine.path)) == 3


def test_a_quarantine_list_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=r"quarantine\.csv"):
        RunQuarantine(tmp_path / "gone", 10, 0.2).add([FileFailure("a.mp4", "missing")])
