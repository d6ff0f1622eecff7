"""The step on a GPU, as far as a CPU can tell: it waits for nothing, and still refuses what is not finite."""

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from runs import assert_equal_runs, stop_after, tensors
from torch import nn
from torch.utils import deterministic as torch_deterministic
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import unreel
from unreel.corpus.inspection import inspect
from unreel.errors import InputError, NonFiniteError
from unreel.methods import iic
from unreel.methods.registry import load_preset
from unreel.models.registry import build_backbone
from unreel.profiling.measure import time_decoding
from unreel.settings import Settings
from unreel.training import loop
from unreel.training.batches import iterate_batches
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.metrics import MetricLogger
from unreel.training.nan_guard import NanGuard
from unreel.training.optimizers import LARS, align_optimizer_state, build_optimizer
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime import auto_settings, network_setup
from unreel.training.runtime.auto_settings import resolve_auto, resolve_config, resolve_switches
from unreel.training.runtime.fabric import build_fabric
from unreel.training.runtime.network_setup import apply_channels_last, compile_backbones
from unreel.training.train_step import TrainingSetup, setup_training, train_step, update_weights
from unreel.types import FileFailure, Instance
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading import clip_dataset

aten = torch.ops.aten
# What hands numbers of the device to the CPU, or needs their count there.
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten._unique2, aten.bincount}
WAITS |= {aten.repeat_interleave, aten.unique_dim}
PRESETS = ("trio", "iic", "iic-paper", "iic-v2", "cvrl", "dual-moco", "moco", "moco-v3", "byol", "vicreg")


class Device(TorchDispatchMode):
    """Takes some tensors, and all that is computed from them, for a GPU's; notes what would wait for it."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self.there: dict[int, torch.Tensor] = {}
        self.waits: list[str] = []
        self.put(tensors)

    def put(self, found: Any) -> None:
        for tensor in tree_leaves(found):
            if isinstance(tensor, torch.Tensor) and tensor.numel():
                self.there[tensor.untyped_storage().data_ptr()] = tensor  # kept, so that no address comes again

    def has(self, tensor: Any) -> bool:
        return isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() in self.there

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_leaves((args, kwargs or {}))
        touched = any(self.has(value) for value in given)
        masks = func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) and any(
            self.has(value) and value.dtype == torch.bool for value in tree_leaves(args[1])
        )
        if touched and (func.overloadpacket in WAITS or masks):
            self.waits.append(str(func))
        result = func(*args, **(kwargs or {}))
        if touched:
            self.put(result)
        return result

    @contextmanager
    def reads(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Note reads that torch does not dispatch."""
        with monkeypatch.context() as patch:
            for name in ("tolist", "cpu", "numpy", "__array__"):
                real = getattr(torch.Tensor, name)
                patch.setattr(torch.Tensor, name, self.noted(name, real))
            patch.setattr(torch.Tensor, "to", self.arriving(torch.Tensor.to))
            with self:
                yield

    def arriving(self, real: Any) -> Any:
        """`.to(device)` and `.to(a tensor there)` make a copy there of what the CPU holds."""

        def wrapped(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            if not self.has(tensor) and any(isinstance(a, torch.device) or self.has(a) for a in args):
                tensor = tensor.clone()
                self.put(tensor)
            return real(tensor, *args, **options)

        return wrapped

    def noted(self, name: str, real: Any) -> Any:
        def wrapped(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            if self.has(tensor):
                self.waits.append(name)
            return real(tensor, *args, **options)

        return wrapped


inspect_once = cache(partial(inspect, check="fast", shots=False))


def build(data: Path, run: Path, preset: str, options: dict[str, Any]) -> TrainingJob:
    config = resolve_config(build_run_config(preset, options))
    if getattr(config.options, "queue_size", 0):
        config = config.replace(queue_size=8)
    run.mkdir(exist_ok=True)
    return build_training_job(run, inspect_once(data), config)


@pytest.mark.parametrize("preset", [*PRESETS, "rotate", "nce", "each-step"])
def test_a_step_waits_for_the_device_once_in_log_steps(
    preset: str, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own: dict[str, Any] = {"rotate": {"intra_negatives": "rotate"}, "nce": {"loss": "nce"}}.get(preset, {})
    name = preset if preset in PRESETS else "iic"
    forced = {"read_back": "each-log", "log_steps": 3, "steps": 100, "num_negatives": 4} | own
    if not hasattr(load_preset(name)[0], "num_negatives"):
        del forced["num_negatives"]
    if preset == "each-step":  # can this test fail? Looked at in each step, the device is waited for
        forced |= {"read_back": "each-step"}
    job = build(motion_set / "train.txt", tmp_path / "run", name, small | forced)
    setup = setup_training(job)
    log, (clips, *_) = MetricLogger(job, quiet=True), time_decoding(job, num_rounds=1)
    there = [clips.frames, clips.index_B, clips.video_B, clips.start_s_B]
    counter = Device([*job.method.parameters(), *job.method.buffers(), *there])
    counts = []
    with counter.reads(monkeypatch):
        for step in range(4):
            train_step(setup, clips, step, log)
            counts.append(len(counter.waits))
            counter.waits.clear()
    assert counts == ([2, 2, 3, 2] if preset == "each-step" else [0, 0, 1, 0]), counter.waits


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_the_run_knows_to_be_bad_is_not_opened(
    workers: int, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither after --resume, nor (without loader processes, or in the next ones) once another process told of it."""
    job = build(motion_set / "train.txt", tmp_path / "run", "simclr", small | {"workers": workers, "steps": 100})
    known, told = job.instances[0].path, job.instances[1].path
    (job.run_folder / "quarantine.csv").write_text(f"path,reason,detail\n{known},damaged,it hangs\n")
    opened = tmp_path / "opened"

    def noted(path: str) -> Any:
        with opened.open("a") as file:
            print(path, file=file)
        return index_frames(path)

    monkeypatch.setattr(clip_dataset, "index_frames", noted)
    log = MetricLogger(job, quiet=True)
    stream = iterate_batches(job, build_fabric(job.settings), log)
    failed = [bad for _ in range(2 * job.steps_per_epoch) for bad in next(stream).failures]
    assert failed and set(failed) == {FileFailure(known, "damaged", "it hangs")}
    paths = opened.read_text().splitlines()
    assert known not in paths and told in paths
    if workers == 0:
        log.quarantine.add([FileFailure(told, "damaged", "frame 3")])
        next(stream)
        opened.write_text("")
        failed = [bad for _ in range(2 * job.steps_per_epoch) for bad in next(stream).failures]
        assert FileFailure(told, "damaged", "frame 3") in failed
        assert told not in opened.read_text().splitlines()
    stream.close()
    log.close()


# What is not finite.


def poison(monkeypatch: pytest.MonkeyPatch, step: int, what: str) -> None:
    """Make the loss or the gradient of one step of `iic`, and of no other, NaN."""
    real, calls = iic.infonce_loss, {"n": 0}

    def poisoned(scores: torch.Tensor, temperature: float) -> torch.Tensor:
        calls["n"] += 1
        if (calls["n"] - 1) // 4 != step:  # four calls a step
            return real(scores, temperature)
        bad = scores.new_tensor(float("nan")) if what == "loss" else (scores.sum() * 0).sqrt()
        return real(scores, temperature) + bad

    monkeypatch.setattr(iic, "infonce_loss", poisoned)


def test_before_the_first_update_the_rate_is_not_blamed(tmp_path: Path) -> None:
    guard = NanGuard(tmp_path, [Instance("odd.mp4", 0, 0, 2)], is_deferred=False)
    with pytest.raises(NonFiniteError, match=r"loss at step 1 is nan.*odd\.mp4.*what the loss computes") as first:
        guard.check_step("loss", torch.tensor(math.nan), 0, [0])
    assert "--lr" not in str(first.value) and "checkpoint" not in str(first.value)
    with pytest.raises(NonFiniteError, match=r"step 2 is nan.*lower --lr"):
        guard.check_step("loss", torch.tensor(math.nan), 1, [0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_weights_are_held_back_from_the_bad_step_on_and_the_next_look_names_it(
    what: str, optimizer: str, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 2, what)
    kept: list[dict[str, torch.Tensor]] = []
    real_step = loop.train_step

    def watched(setup: TrainingSetup, *args: Any) -> None:
        kept.append({n: p.detach().clone() for n, p in setup.job.method.named_parameters()})
        real_step(setup, *args)
        watched.job = setup.job  # type: ignore[attr-defined]

    monkeypatch.setattr(loop, "train_step", watched)
    forced = {"method": "iic", "read_back": "each-log", "log_steps": 5, "steps": 8, "optimizer": optimizer, "lr": 0.1}
    with pytest.raises(NonFiniteError, match=rf"the {what} at step 3 is (nan|inf).*\.mp4.*--lr"):
        unreel.pretrain(motion_set, out=tmp_path / "run", quiet=True, **small | forced)
    assert len(kept) == 5  # the look comes with the log line
    stems = [weights["backbone.stem.0.weight"] for weights in kept]
    moved = [not torch.equal(stems[k], stems[k + 1]) for k in range(4)]
    assert moved == [True, True, False, False]
    for name, weight in watched.job.method.named_parameters():  # type: ignore[attr-defined]
        assert torch.equal(weight, kept[2][name]), name


def test_nothing_is_saved_before_a_look(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 1, "loss")
    stop_after(monkeypatch, 2, save=True)  # Ctrl-C, which saves, comes before the look
    forced = {"method": "iic", "read_back": "each-log", "log_steps": 50, "steps": 60}
    with pytest.raises(NonFiniteError, match="the loss at step 2 is nan"):
        unreel.pretrain(motion_set, out=tmp_path / "run", quiet=True, **small | forced)
    assert json.loads((tmp_path / "run" / "checkpoints" / "index.json").read_text())["last"] == "step-00000000"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_each_value_that_is_not_finite_is_seen(value: float, tmp_path: Path) -> None:
    check = NanGuard(tmp_path, [unreel.types.Instance("a.mp4", 0, 0.0, 1.0)], is_deferred=True)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], 1.0, fused=True)
    for loss, held in ((1.0, False), (value, True), (1.0, True)):
        weight.grad = torch.ones(2)
        before = weight.detach().clone()
        check.block_update(optimizer, torch.tensor(loss), torch.tensor(1.0))
        optimizer.step()
        assert torch.equal(weight, before) is held
    check.check_logged_values({"loss": 1.0, "grad_norm": 0.0}, 0, [0])
    with pytest.raises(NonFiniteError, match=r"gradient at step 7 is .*a\.mp4"):
        check.check_logged_values({"loss": 1.0, "grad_norm": value}, 6, [0])


# Nothing changes but time.


def test_looking_later_changes_no_figure_and_no_weight(motion_set: Path, tmp_path: Path, small: dict[str, Any]) -> None:
    options = small | {
        "steps": 5,
        "fused": "on",
        "monitor_epochs": 1,
        "log_steps": 2,
        "method": "moco",
        "queue_size": 8,
    }
    for when in ("each-step", "each-log"):
        unreel.pretrain(motion_set, out=tmp_path / when, quiet=True, **options, read_back=when)
    assert_equal_runs(tmp_path / "each-step", tmp_path / "each-log")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_going_on_is_exact_with_every_switch_on(
    optimizer: str, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    switches = {"fused": "on", "channels_last": "on", "read_back": "each-log", "optimizer": optimizer, "log_steps": 1}
    options = small | switches | {"steps": 4, "method": "iic", "num_frames": 4}
    unreel.pretrain(motion_set, out=tmp_path / "whole", quiet=True, **options)
    stop_after(monkeypatch, 2, save=True)
    unreel.pretrain(motion_set, out=tmp_path / "cut", quiet=True, **options)
    monkeypatch.undo()
    unreel.resume(tmp_path / "cut", quiet=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "cut")
    assert all(t.is_contiguous() for t in tensors(tmp_path / "cut").values())


def test_channels_last_moves_memory_and_not_values() -> None:
    network = build_backbone("tiny").eval()
    before = {n: t.clone() for n, t in network.state_dict().items()}
    x = torch.rand(2, 3, 4, 32, 32)
    wanted = network(x)
    apply_channels_last(network, Settings(channels_last="on"))
    assert network.stem[0].weight.is_contiguous(memory_format=torch.channels_last_3d)  # type: ignore[index,union-attr]
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert torch.allclose(network(x), wanted, atol=1e-5)


def test_a_loaded_state_lies_in_memory_as_its_weights_do() -> None:
    weight = nn.Parameter(torch.rand(4, 3, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d))
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9)
    values = torch.rand(4, 3, 2, 2, 2)
    optimizer.state[weight]["momentum_buffer"] = values
    align_optimizer_state(optimizer)
    moved = optimizer.state[weight]["momentum_buffer"]
    assert moved.stride() == weight.stride() != values.stride() and torch.equal(moved, values)


# Switches.


def test_auto_is_on_for_cuda_and_off_elsewhere_but_for_fused_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto_settings, "can_compile", lambda: True)
    names = ("channels_last", "compile", "fused", "read_back")
    for where, wanted in (("cuda", ["on", "on", "on", "each-log"]), ("cpu", ["off", "off", "on", "each-step"])):
        assert [getattr(resolve_switches(Settings(), where), n) for n in names] == wanted  # type: ignore[arg-type]
    lars = resolve_switches(Settings(optimizer="lars"), "cuda")
    assert (lars.fused, lars.read_back) == ("off", "each-log")
    assert resolve_switches(Settings(fused="off"), "cuda").read_back == "each-step"
    assert resolve_switches(Settings(read_back="each-log"), "cpu").fused == "on"
    assert resolve_switches(Settings(backbone="mine.Network"), "cuda").compile == "off"
    assert resolve_switches(Settings(backbone="mine.Network", compile="on"), "cuda").compile == "on"
    kept = resolve_switches(Settings(channels_last="off", compile="off", read_back="each-step"), "cuda")
    assert [getattr(kept, n) for n in names] == ["off", "off", "on", "each-step"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"backbone": "auto"}, "on"),
        ({"backbone": "tiny"}, "on"),
        ({"backbone": "tiny", "channels_last": "off"}, "off"),
        ({"backbone": "tiny", "precision": "bf16-mixed"}, "off"),
        ({"backbone": "tiny", "shard": "on", "devices": 2}, "off"),
        ({"backbone": "mine.tiny"}, "off"),
    ],
)
def test_on_a_cpu_the_measured_networks_run_channels_last(options: dict[str, Any], wanted: str) -> None:
    assert resolve_auto(Settings(device="cpu", **options)).channels_last == wanted


def test_on_a_cpu_bf16_is_never_automatic_and_refused_with_channels_last() -> None:
    assert resolve_auto(Settings(device="cpu")).precision == "32-true"
    with pytest.raises(InputError, match="reads memory that was never written"):
        resolve_auto(Settings(device="cpu", precision="bf16-mixed", channels_last="on"))


def poison_heap() -> None:
    """Leave NaN in freed memory of many sizes, which a kernel that reads what it never wrote will find."""
    kept = [torch.full((k * 1024,), math.nan) for k in (1, 4, 16, 24, 31, 31, 16, 8) * 40]
    kept += [torch.full((k * 256,), math.nan, dtype=torch.bfloat16) for k in (1, 2, 4, 8, 16, 32) * 60]
    kept += [torch.full((megabytes * 2**18,), math.nan) for megabytes in (1, 2, 4, 8, 16) * 2]
    del kept


@pytest.mark.parametrize("name", ["tiny", "tiny-2d"])
@pytest.mark.parametrize(("precision", "channels_last"), [("32-true", "on"), ("32-true", "off"), ("bf16-mixed", "off")])
def test_no_gradient_reads_memory_that_was_never_written(name: str, precision: Any, channels_last: Any) -> None:
    """Clips lie channels last in any case, as crops of decoded frames do."""
    torch.manual_seed(0)
    settings = resolve_auto(Settings(device="cpu", backbone=name, precision=precision, channels_last=channels_last))
    network = build_backbone(name)
    apply_channels_last(network, settings)
    clips = torch.rand(16, 8, 64, 64, 3).permute(0, 4, 1, 2, 3)
    poison_heap()
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
        z_BD = F.normalize(network(clips).float().mean((2, 3, 4)), dim=1)
    poison_heap()
    (z_BD @ z_BD.T / 0.07).logsumexp(1).mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("preset", ["motion", "iic", "cvrl", "dual-moco"])
def test_a_step_is_the_same_to_the_bit_when_new_memory_is_filled_with_nan(
    preset: str, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch can fill what it allocates; training does not let it, and reads nothing that it did not write."""
    weights = []
    for fill in (False, True):
        setup = setup_training(build(motion_set / "train.txt", tmp_path / str(fill), preset, small))
        assert not torch_deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        monkeypatch.setattr(torch_deterministic, "fill_uninitialized_memory", fill)
        batch, *_ = time_decoding(setup.job, 1)
        update_weights(setup, batch, 0, NanGuard(tmp_path, setup.job.instances, is_deferred=False))
        weights.append(torch.cat([p.detach().flatten() for p in setup.job.method.parameters()]))
    assert torch.equal(*weights) and weights[0].isfinite().all()


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    for triton, compiler, wanted in ((True, "/usr/bin/gcc", "on"), (None, "/usr/bin/gcc", "off"), (True, None, "off")):
        monkeypatch.setattr(auto_settings.importlib.util, "find_spec", lambda _name, found=triton: found)
        monkeypatch.setattr(auto_settings.shutil, "which", lambda _name, found=compiler: found)
        assert resolve_switches(Settings(), "cuda").compile == wanted


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(InputError, match="not for lars"):
        Settings(fused="on", optimizer="lars")
    with pytest.raises(InputError, match="--fused on"):
        Settings(read_back="each-log", fused="off")
    Settings(read_back="each-log", fused="off", optimizer="lars")


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_optimiser_is_fused_where_it_is_switched_on(optimizer: Any) -> None:
    for fused, wanted in (("on", True), ("off", None), ("auto", None)):
        made = build_optimizer(nn.Linear(2, 2), Settings(optimizer=optimizer, fused=fused))  # type: ignore[arg-type]
        assert made.param_groups[0]["fused"] is wanted


def test_every_copy_of_the_network_is_compiled_and_keeps_its_name(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    job = build(motion_set / "train.txt", tmp_path / "run", "byol", small)
    names = list(job.method.state_dict())
    for switch, count in (("off", 0), ("on", 2)):
        compile_backbones(job.method, dataclasses.replace(job.settings, compile=switch))  # type: ignore[arg-type]
        assert len(compiled) == count
    assert compiled == network_setup.find_backbones(job.method) and list(job.method.state_dict()) == names


def test_lars_leaves_weights_alone_when_it_is_told_to() -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    optimizer = LARS([{"params": [weight]}], 0.1, 0.9)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    weight.grad = torch.full((3, 3), float("nan"))
    optimizer.step()
    assert torch.equal(weight, torch.ones(3, 3))
