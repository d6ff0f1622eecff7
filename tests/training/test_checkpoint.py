"""Checkpoints: whole or not there, equal to the bit, the last two and the best kept."""

import copy
import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, DiskError
from unreel.losses.memory_bank import MemoryBank
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import build_backbone
from unreel.settings import Settings
from unreel.training.lr_schedule import set_lr
from unreel.training.optimizers import build_optimizer
from unreel.training.run_folder.checkpoint import collect_training_state, load_checkpoint, save_checkpoint
from unreel.training.run_folder.checkpoint_index import find_last_checkpoint, rewind_to_step
from unreel.training.run_folder.run_state import RunState
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


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


def test_a_changed_description_is_damage_unless_it_never_had_a_checksum(tmp_path: Path) -> None:
    trained = Trained(steps=1)
    trained.save(tmp_path, 1, best=1)
    folder = find_last_checkpoint(tmp_path)
    description = json.loads((folder / "encoder.json").read_text())
    description["clip"]["stride_frames"] = 3
    (folder / "encoder.json").write_text(json.dumps(description))
    for load in (load_encoder, Trained().load):
        with pytest.raises(CheckpointError, match=r"encoder\.json is damaged, its checksum differs"):
            load(tmp_path)
    sums = json.loads((folder / "sums.json").read_text())
    del sums["encoder.json"]  # as of an earlier version
    (folder / "sums.json").write_text(json.dumps(sums))
    assert load_encoder(tmp_path).spec.clip.stride_frames == 3


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
