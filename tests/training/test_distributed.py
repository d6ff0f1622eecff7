"""Several processes train what one trains: same losses for every method, same order of data, one writer."""

import csv
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from commands import Command, Done, in_process, skip_report
from methods import DIFFERENT_PRESETS, Conv, instances, job, views_in_float64
from processes import run_on
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from videos import encode

from unreel.errors import InputError, UnreelError
from unreel.models.sync_batch_norm import SyncBatchNorm, convert_sync_batch_norm
from unreel.settings import Settings
from unreel.training.batches import equalize_ranks
from unreel.training.run_folder.quarantine import RunQuarantine
from unreel.training.runtime.distributed import ProcessGroup
from unreel.training.runtime.launch import count_processes, require_divisible_batch, require_enough_instances
from unreel.types import Clips, FileFailure
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

STEPS, BATCH = 6, 8
PRESETS = DIFFERENT_PRESETS
# Every method on two processes; on four, one of each kind: memory bank, batch, queue and teacher, predictor.
ON_FOUR = ["byol", "cvrl", "dual-moco", "iic-paper", "trio"]


def clips_of(rows: list[tuple[int, int]], shape: tuple[int, ...]) -> Clips:
    """Noise that is a function of the instance, as if it had been decoded."""
    index_B, who = torch.tensor([i for _, i in rows]), instances()
    frames = np.stack([np.random.default_rng(i).integers(0, 256, shape).astype(np.uint8) for _, i in rows])
    videos = torch.tensor([who[i].video for _, i in rows])
    starts = torch.tensor([who[i].start_s for _, i in rows]).double()
    return Clips(torch.from_numpy(frames), index_B, videos, starts, epoch=rows[0][0])


def first_losses(preset: str) -> list[float]:
    """Losses of the first steps, in training mode and float64; the mean over the processes that share the batch."""
    alone = not dist.is_initialized()
    part = (0, 1) if alone else (dist.get_rank(), dist.get_world_size())
    changes = {"queue_size": 2 * BATCH} if preset in ("moco", "dual-moco") else {}
    method, recipe, clips = job(preset, Conv, num_frames=4, **changes)
    method.double().train()
    together = method if alone else DistributedDataParallel(convert_sync_batch_norm(method), broadcast_buffers=False)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for rows in ResumableBatchSampler(len(instances()), BATCH, 0, 0, STEPS, part):
        views = views_in_float64(recipe, clips_of(rows, tuple(clips.frames.shape[1:])))
        output = together(views)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step()
        loss = output.loss.detach().clone()
        if not alone:
            dist.all_reduce(loss)
        losses.append(float(loss) / part[1])
    return losses


def losses_of(presets: list[str]) -> dict[str, list[float]]:
    return {preset: first_losses(preset) for preset in presets}


@pytest.fixture(scope="module")
def by_size() -> dict[int, dict[str, list[float]]]:
    return {1: losses_of(PRESETS), 2: run_on(2, losses_of, PRESETS)[0], 4: run_on(4, losses_of, ON_FOUR)[0]}


@pytest.mark.parametrize("preset", PRESETS)
def test_one_two_and_four_processes_train_alike(preset: str, by_size: dict[int, dict[str, list[float]]]) -> None:
    alone = by_size[1][preset]
    assert len(alone) == STEPS and len(set(alone)) == STEPS, "it trains"
    loose = preset.startswith(("iic", "cmc"))  # compare in float32
    for size in (2, 4) if preset in ON_FOUR else (2,):
        np.testing.assert_allclose(by_size[size][preset], alone, rtol=2e-3 if loose else 1e-6, err_msg=str(size))


# --- batch norm over all processes


def normed() -> dict[str, Tensor]:
    """Output, gradients and statistics of this process's share of a batch of 6."""
    rank, size = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    g = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(6, 3, 2, 4, generator=g).double() for _ in range(2))
    norm = nn.Sequential(nn.BatchNorm2d(3)).double()
    with torch.no_grad():
        norm[0].weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
    if size > 1:
        convert_sync_batch_norm(norm)
        assert isinstance(norm[0], SyncBatchNorm)
    share = slice(rank * 6 // size, (rank + 1) * 6 // size)
    mine = x[share].clone().requires_grad_()
    out = norm(mine)
    (out * weight[share]).sum().backward()
    found = {"out": out.detach(), "grad": mine.grad, "weight_grad": norm[0].weight.grad}
    return found | {f"state.{n}": t for n, t in norm.state_dict().items()}  # type: ignore[return-value]


def test_batch_norm_over_processes_is_that_of_the_joined_batch() -> None:
    alone, parts = normed(), run_on(2, normed)
    for name in ("out", "grad"):
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), alone[name])
    torch.testing.assert_close(sum(part["weight_grad"] for part in parts), alone["weight_grad"])
    for name in (n for n in alone if n.startswith("state.")):
        for part in parts:
            torch.testing.assert_close(part[name], alone[name], msg=name)


def test_an_exchanged_norm_has_the_same_weights_and_is_the_same_when_used() -> None:
    network = Conv()
    network(torch.randn(4, 3, 4, 8, 8))
    before, x = {n: t.clone() for n, t in network.state_dict().items()}, torch.randn(2, 3, 4, 8, 8)
    weight, wanted = network.norm.weight, network.eval()(x)
    assert (
        convert_sync_batch_norm(network) is network
        and isinstance(network.norm, SyncBatchNorm)
        and network.norm.weight is weight
    )
    assert all(torch.equal(t, before[n]) for n, t in network.state_dict().items()) and not network.norm.training
    assert torch.equal(network(x), wanted)


# --- who draws what, and who is asked


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_processes_share_one_global_order(size: int) -> None:
    whole = list(ResumableBatchSampler(21, 8, 3, 1, 6))
    parts = [list(ResumableBatchSampler(21, 8, 3, 1, 6, (rank, size))) for rank in range(size)]
    assert [[row for share in shares for row in share] for shares in zip(*parts, strict=True)] == whole


def test_a_batch_that_can_not_be_shared_is_refused() -> None:
    require_divisible_batch(Settings(batch_size=8), 4)
    with pytest.raises(InputError, match="of all 3 processes together .* multiple of 3"):
        require_divisible_batch(Settings(batch_size=8), 3)
    with pytest.raises(InputError, match="multiple of 8"):
        require_divisible_batch(Settings(batch_size=12, draws_per_video=2), 4)


def test_who_started_the_processes_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LAUNCHED, "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert count_processes(Settings(devices=3)) == (3, 1)
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_NNODES", "2")
    assert count_processes(Settings(devices=3)) == (4, 2)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    assert count_processes(Settings(devices=3)) == (3, 1)
    monkeypatch.setenv("WORLD_SIZE", "6")
    with pytest.raises(InputError, match="torchrun or srun"):
        count_processes(Settings())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert count_processes(Settings()) == (2, 3)


def test_more_devices_than_there_are_and_fewer_videos_than_processes_are_refused() -> None:
    with pytest.raises(InputError, match="--devices 4, and there is"):
        count_processes(Settings(device="cuda", devices=1 + max(3, torch.cuda.device_count())))
    require_enough_instances(4, 4)
    with pytest.raises(InputError, match="4 processes have 3 videos"):
        require_enough_instances(3, 4)


# --- what they tell each other


def team() -> ProcessGroup:
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def after_bad_files(folder: str) -> dict[str, Any]:
    """Two processes bring 3 and 2 good rows; the second lost a file, the first one none."""
    who = team()
    quarantine = RunQuarantine(Path(folder), 10, 0.5, is_writer=who.is_rank_zero)
    said: list[str] = []
    log: Any = SimpleNamespace(group=who, quarantine=quarantine, progress=SimpleNamespace(print_message=said.append))
    clips = clips_of([(0, n) for n in range(3 - who.rank)], (1, 4, 8, 8, 3))
    clips.failures = [FileFailure("bad.mp4", "damaged", "frame 3")] if who.rank else []
    mine, videos = equalize_ranks(clips, log, draws_per_video=1)
    return {"rows": len(mine.index_B), "frames": len(mine.frames), "videos": videos, "said": said}


def test_bad_files_leave_every_process_as_many_rows_and_are_written_down_once(tmp_path: Path) -> None:
    found = run_on(2, after_bad_files, str(tmp_path))
    said = ["left out from now on: bad.mp4 (damaged: frame 3)"]
    assert found == [{"rows": 2, "frames": 2, "videos": 4, "said": said}] * 2
    with (tmp_path / "quarantine.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"path": "bad.mp4", "reason": "damaged", "detail": "frame 3"}]


def what_the_first_does(fails: bool) -> list[str]:
    def work() -> str:
        assert dist.get_rank() == 0, "only the first one does it"
        if fails:
            raise InputError("no such folder")
        return "done"

    try:
        return [
            team().on_rank_zero(work),
            str(team().all_reduce_mean([dist.get_rank(), 4.0])),
            str(team().all_gather(dist.get_rank())),
        ]
    except UnreelError as error:
        return [type(error).__name__]


def test_the_first_process_works_for_all_or_ends_all() -> None:
    assert run_on(2, what_the_first_does, False) == [["done", "[0.5, 4.0]", "[0, 1]"]] * 2
    assert run_on(2, what_the_first_does, True) == [["InputError"], ["PeerStoppedError"]]


# --- the command

LAUNCHED = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "SLURM_NTASKS")
SMALL = "--steps 5 --batch-size 8 --num-frames 4 --size 32 --log-steps 1 --workers 0 --held-out 0 --lr 1e-4 --threads 1"
TRIO = f"--method trio {SMALL}"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n in range(10):
        encode(folder / f"{n}.mp4", 12 + n)  # files of equal bytes count once
    return folder


def unreel(*args: object) -> Done:
    return in_process(*args, env=environment(), before=skip_report)


def environment() -> dict[str, str]:
    """Ours, without what a launcher says, and with one thread for each process."""
    return {k: v for k, v in os.environ.items() if k not in LAUNCHED} | {"OMP_NUM_THREADS": "1"}


def metrics(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open() as file:
        return [{n: float(v) for n, v in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def one_and_two(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run in one process and in two."""
    folder = tmp_path_factory.mktemp("runs")
    for count in (1, 2):
        done = unreel("pretrain", videos, "--out", folder / str(count), "--devices", count, *TRIO.split())
        assert done.code == 0, done.err
        assert done.err.count("step 5/5") == 1 and done.out.count("report:") == 1, "one process speaks"
        assert "Warning" not in done.err
    return folder / "1", folder / "2"


def test_the_command_trains_alike_in_two_processes(one_and_two: tuple[Path, Path]) -> None:
    alone, together = map(metrics, one_and_two)
    assert [row["step"] for row in together] == [1, 2, 3, 4, 5]
    for mine, theirs in zip(alone, together, strict=True):
        for name in ("loss", "grad_norm", "top1"):
            assert theirs[name] == pytest.approx(mine[name], rel=1e-2, abs=1e-6), (mine["step"], name)
    for name in ("manifest.parquet", "held_out.txt", "monitors.csv", "checkpoints"):
        assert (one_and_two[1] / name).exists(), name


def test_two_processes_measure_their_pace_together(
    videos: Path, one_and_two: tuple[Path, Path], tmp_path: Path
) -> None:
    """Minutes without room for a step: both processes take the one step that rank 0 plans, from where they began."""
    run, options = tmp_path / "run", TRIO.replace("--steps 5", "--minutes 0.0001").split()
    done = unreel("pretrain", videos, "--out", run, "--devices", 2, *options)
    assert done.code == 0 and done.err.count("warning: 0.0001 minutes are too short") == 1, done.err
    (row,) = metrics(run)
    assert row["step"] == 1 and row["loss"] == pytest.approx(metrics(one_and_two[0])[0]["loss"], rel=1e-2)


def test_stopped_in_two_processes_and_ended_in_one(
    videos: Path, one_and_two: tuple[Path, Path], tmp_path: Path
) -> None:
    """SIGTERM to one of them: all stop after the same step; the run goes on in any number of processes."""
    run = tmp_path / "run"
    with Command("pretrain", videos, "--out", run, "--devices", "2", *TRIO.split(), env=environment()) as process:
        for line in process.stderr:
            if line.startswith("step 2/5"):
                process.send_signal(signal.SIGTERM)
                break
        _, rest = process.communicate()
        assert process.wait() == 130, rest
    stopped = [row["step"] for row in metrics(run)]
    assert stopped in ([1, 2], [1, 2, 3], [1, 2, 3, 4]), stopped
    done = unreel("pretrain", "--resume", run, "--devices", 1)
    assert done.code == 0, done.err
    for mine, theirs in zip(metrics(one_and_two[0]), metrics(run), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-2), mine["step"]


def test_a_refusal_is_said_once_and_ends_all(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("mine")
    for out, options, says in (
        (tmp_path / "run", (), "exists already"),
        (tmp_path / "other", ("--batch-size", 7), "can't be divided evenly"),
    ):
        done = unreel("pretrain", videos, "--out", out, "--devices", 2, *SMALL.split(), *options)
        assert done.code == 2 and done.err.count("unreel:") == 1 and says in done.err, done.err
        assert "Traceback" not in done.err
