"""Weights spread over processes: the same steps as with all weights in each, half of the bytes, whole checkpoints."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed as dist
from commands import succeeds
from methods import instances, job, views_in_float64
from processes import run_on
from test_distributed import ON_FOUR, SMALL, clips_of, metrics, unreel
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from videos import encode

from unreel.embedding import load_encoder
from unreel.errors import InputError
from unreel.models.fsdp import (
    count_local_bytes,
    gather_full_tensor,
    gather_state,
    iter_blocks,
    shard_like,
    shard_weights,
)
from unreel.models.registry import build_backbone
from unreel.models.sync_batch_norm import convert_sync_batch_norm
from unreel.settings import Settings
from unreel.training.optimizers import LARS
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

PRESETS = ON_FOUR  # one of each kind, since no method knows of sharding
STEPS, BATCH = 3, 8
OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda weights: torch.optim.AdamW(weights, lr=1e-3),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, weight_decay=1e-4),
    "lars": lambda weights: LARS([{"params": list(weights), "weight_decay": 1e-4}], 0.1, 0.9),
}


class Block(nn.Module):
    """A convolution and batch norm; 5 rows can't be cut in half."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(num_in, num_out, 3, stride=2, padding=1), nn.BatchNorm3d(num_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class Two(nn.Module):
    """A network of a stem that is in no block, and two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.num_features = 8
        self.stem, self.rows = nn.Conv3d(3, 4, 1), nn.Sequential(Block(4, 5), Block(5, 8))

    def forward(self, clips: Tensor) -> Tensor:
        return self.rows(self.stem(clips))


def trained(preset: str, spread: bool, optimizer: str = "adamw", clips_at_once: int = 0) -> dict[str, Any]:
    """Losses of the first steps in float64 and the whole state after them, in one of two processes."""
    changes = {"queue_size": 2 * BATCH} if preset in ("moco", "dual-moco") else {}
    method, recipe, clips = job(preset, Two, num_frames=4, **changes)
    method.backbone.clips_at_once = clips_at_once
    convert_sync_batch_norm(method.double().train())
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    together = shard_weights(method, mesh) if spread else DistributedDataParallel(method, broadcast_buffers=False)
    weights = [p for p in method.parameters() if p.requires_grad]
    updates, losses, norms = OPTIMIZERS[optimizer](weights), [], []
    for rows in ResumableBatchSampler(len(instances()), BATCH, 0, 0, STEPS, (dist.get_rank(), 2)):
        views = views_in_float64(recipe, clips_of(rows, tuple(clips.frames.shape[1:])))
        output = together(views)
        updates.zero_grad()
        output.loss.backward()
        norms.append(
            float(gather_full_tensor(torch.nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])))
        )
        updates.step()
        method.after_step()
        losses.append(float(output.loss.detach()))
    return {"losses": losses, "norms": norms, "state": gather_state(method.state_dict(), keep_result=True)}


def all_trained() -> dict[str, Any]:
    found = {f"{preset} {spread}": trained(preset, spread) for preset in PRESETS for spread in (False, True)}
    for optimizer in ("sgd", "lars"):
        found |= {f"{optimizer} {spread}": trained("byol", spread, optimizer) for spread in (False, True)}
    return found | {f"parts {spread}": trained("simclr", spread, clips_at_once=3) for spread in (False, True)}


@pytest.fixture(scope="module")
def both() -> dict[str, Any]:
    return run_on(2, all_trained)[0]


@pytest.mark.parametrize("name", [*PRESETS, "sgd", "lars", "parts"])
def test_spread_weights_take_the_same_steps(name: str, both: dict[str, Any]) -> None:
    apart, together = both[f"{name} False"], both[f"{name} True"]
    assert len(set(apart["losses"])) == STEPS, "it trains"
    loose = 1e-4 if name.startswith(("iic", "cmc")) else 1e-9  # which compare in float32
    for part in ("losses", "norms"):
        np.testing.assert_allclose(together[part], apart[part], rtol=loose, err_msg=part)
    assert list(together["state"]) == list(apart["state"])
    for part, wanted in apart["state"].items():
        torch.testing.assert_close(together["state"][part], wanted, rtol=10 * loose, atol=loose, msg=part)


# --- what a process holds


def bytes_held(backbone: str, width: int) -> dict[str, int]:
    """Of weights, gradients and AdamW's two averages of a network, whole and in this process."""
    network = build_backbone(backbone, **({"width": width} if width > 1 else {}))
    everything = 4 * count_local_bytes(network.parameters())
    shard_weights(network, init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",)))
    optimizer = torch.optim.AdamW(network.parameters())
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    averages = [t for s in optimizer.state.values() for t in s.values() if t.ndim]
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return {"whole": everything, "here": count_local_bytes(iter([*network.parameters(), *grads, *averages]))}


def test_two_processes_hold_half_each() -> None:
    for found in run_on(2, bytes_held, "r3d18", 1):
        assert 0.5 <= found["here"] / found["whole"] < 0.502, found


@pytest.mark.parametrize(("name", "options", "count"), [("r3d152", {"width": 2}, 3 + 8 + 36 + 3), ("r3d18", {}, 8)])
def test_every_block_of_a_network_is_gathered_by_itself(name: str, options: dict[str, int], count: int) -> None:
    with torch.device("meta"):
        network = build_backbone(name, **options)
    found = list(iter_blocks(network))
    inside = sum(p.numel() for block in found for p in block.parameters())
    largest = max(sum(p.numel() for p in block.parameters()) for block in found)
    total = sum(p.numel() for p in network.parameters())
    assert len(found) == count and inside > 0.99 * total and largest < 0.45 * total


def spread_and_back() -> list[Tensor]:
    mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("data_parallel",))
    linear = nn.Linear(3, 5)
    value = torch.arange(15.0).view(5, 3)
    shard_weights(linear, mesh)
    spread = shard_like(linear.weight, value)
    assert isinstance(spread, DTensor) and spread.to_local().shape == linear.weight.to_local().shape
    assert gather_state({"a": spread}, keep_result=False) == {}
    return [gather_full_tensor(spread), value]


def test_a_tensor_is_spread_and_gathered() -> None:
    for back, value in run_on(2, spread_and_back):
        assert torch.equal(back, value)


@pytest.mark.parametrize("name", ["compile", "channels_last", "fused", "read_back"])
def test_what_does_not_go_with_it_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="can't be used with shard"):
        Settings(shard="on", **{name: "each-log" if name == "read_back" else "on"})


# --- the command


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(10):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


def last(run: Path) -> dict[str, Tensor]:
    folder = run / "checkpoints" / json.loads((run / "checkpoints" / "index.json").read_text())["last"]
    return {f"{p.name} {n}": t for p in folder.glob("*.safetensors") for n, t in safetensors.torch.load_file(p).items()}


def test_the_command_trains_alike_and_its_checkpoints_are_whole(videos: Path, tmp_path: Path) -> None:
    """As one process with all weights does; and each goes on from a checkpoint of the other."""
    alone, sharded = tmp_path / "alone", tmp_path / "sharded"
    options = (*SMALL.split(), "--method", "moco", "--queue-size", 16, "--monitor-epochs", 3)
    succeeds("pretrain", videos, "--out", alone, *options)
    done = unreel("pretrain", videos, "--out", sharded, "--devices", 2, "--shard", "on", *options)
    assert done.code == 0, done.err
    wanted = last(alone)
    assert_close(last(sharded), wanted)
    for mine, theirs in zip(metrics(alone), metrics(sharded), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4), mine["step"]
    assert load_encoder(sharded).spec.backbone == "tiny"
    done = unreel("pretrain", "--resume", alone, "--step", 3, "--devices", 2, "--shard", "on")
    assert done.code == 0 and "step 4/5" in done.err, done.err
    succeeds("pretrain", "--resume", sharded, "--step", 3, "--devices", 1, "--shard", "off")
    for run in (alone, sharded):
        assert_close(last(run), wanted)


def assert_close(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert {n: (t.shape, t.dtype) for n, t in found.items()} == {n: (t.shape, t.dtype) for n, t in wanted.items()}
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-2, atol=1e-4, msg=name)
