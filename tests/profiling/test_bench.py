"""`unreel bench`: the parts fit together, arithmetic is counted right, and the sentence follows from the figures."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import call, refused
from torch import nn

from unreel.corpus.inspection import inspect
from unreel.errors import InputError
from unreel.methods.registry import load_preset
from unreel.models.registry import build_backbone
from unreel.profiling import flops
from unreel.profiling.ab_compare import Comparison, compare_in_turns, parse_changes, parse_value
from unreel.profiling.bottleneck import find_bottleneck
from unreel.profiling.flops import count_flops, find_peak
from unreel.profiling.measure import BenchOptions, select_median_step, time_decoding
from unreel.profiling.step_timer import STEP_PARTS, StepTiming, time_step
from unreel.profiling.step_timings import FlopCount, LoopTiming, StepTimings
from unreel.profiling.videos import select_videos
from unreel.training.batches import move_clips
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.metrics import MetricLogger
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.train_step import setup_training, train_step
from unreel.verbs.training.bench import bench

SMALL = "--backbone tiny --size 32 --num-frames 8 --batch-size 4 --workers 0 --threads 1 --device cpu".split()
QUICK = ("--rounds", 1, "--loop-steps", 1)


def made(**changes: Any) -> StepTimings:
    """Figures of a step of 100 ms on 16 clips that the network fills."""
    parts = dict.fromkeys(STEP_PARTS, 0.0) | {"views": 0.01, "forward": 0.03, "loss": 0.01, "backward": 0.04}
    settings = {"device": "cuda", "workers": 2, "compile": "on", "channels_last": "on"}
    plain = StepTimings(16, parts, 0.1, 0.15, LoopTiming(0.101, 0.001), settings, {"cores": 16, "name": "made"})
    return dataclasses.replace(plain, **changes)


# What is measured.


@pytest.fixture
def job(motion_set: Path, tmp_path: Path, small: dict[str, Any], request: pytest.FixtureRequest) -> TrainingJob:
    config = resolve_config(build_run_config(getattr(request, "param", "moco"), small | {"steps": 8}))
    if hasattr(config.options, "queue_size"):
        config = config.replace(queue_size=8)
    (tmp_path / "run").mkdir()
    return build_training_job(tmp_path / "run", inspect(motion_set / "train.txt", check="fast", shots=False), config)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that goes on by one second at each look."""
    from unreel.profiling import step_timer

    now = [0.0]

    def look() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(step_timer.time, "perf_counter", look)
    yield now


def test_the_parts_of_a_step_are_disjoint_stretches_of_it(job: TrainingJob, ticking: list[float]) -> None:
    trainer = setup_training(job)
    clips, *_ = time_decoding(job, num_rounds=1)
    began = ticking[0]
    taken = time_step(trainer, clips, 0)
    assert list(taken.part_seconds) == list(STEP_PARTS)
    assert sum(taken.part_seconds.values()) == taken.step_s == ticking[0] - began - 1
    assert (
        taken.part_seconds["forward"] == taken.part_seconds["teacher"] == 1
    )  # moco: the network once, its teacher once
    assert taken.part_seconds["loss"] == 3  # before, between and after the two


@pytest.mark.parametrize("job", ["moco", "iic"], indirect=True)
def test_the_step_that_is_timed_is_the_step_of_the_loop(job: TrainingJob) -> None:
    clips, *_ = time_decoding(job, num_rounds=1)
    states = []
    before = {n: t.clone() for n, t in job.method.state_dict().items()}
    for timed in (False, True):
        job.method.load_state_dict(before)
        trainer = setup_training(job)
        for step in range(2):
            if timed:
                time_step(trainer, clips, step)
            else:
                train_step(trainer, move_clips(clips, trainer.fabric), step, MetricLogger(job, quiet=True))
        states.append({n: t.clone() for n, t in job.method.state_dict().items()})
    assert [n for n in states[0] if not torch.equal(states[0][n], states[1][n])] == []
    assert not torch.equal(before["backbone.stem.0.weight"], states[0]["backbone.stem.0.weight"])
    assert not any("_compiled_call_impl" in vars(module) for module in job.method.modules())


def test_the_step_of_median_length_keeps_its_own_parts() -> None:
    taken = [StepTiming({"views": 10 - s, "backward": s - (10 - s)}, s) for s in (7.0, 5.5, 9.0)]
    assert select_median_step(taken) == taken[0]


def test_json_has_its_schema_and_the_parts_sum_to_no_more_than_the_step(motion_set: Path) -> None:
    done = call("bench", motion_set / "train.txt", "--method", "iic", *SMALL, *QUICK, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert list(found) == [
        *("settings", "machine", "data", "batch_size", "decode", "collate", "pack", "parts", "step", "loop", "flops"),
        *("network_calls", "memory", "bottleneck"),
    ]
    assert list(found["parts"]) == list(STEP_PARTS)
    assert all(part.keys() == {"seconds", "share", "clips_per_s"} for part in found["parts"].values())
    assert sum(part["seconds"] for part in found["parts"].values()) <= found["step"]["seconds"] + 1e-9
    assert found["loop"].keys() == {"step_s", "wait_s", "data_wait", "clips_per_s", "mfu"}
    assert 0 < found["loop"]["wait_s"] < found["loop"]["step_s"]
    assert found["decode"].keys() == {"seconds", "clips_per_s", "processes"}
    assert found["collate"]["seconds"] > 0
    assert found["pack"]["least"] <= found["pack"]["factor"] <= found["pack"]["most"] and found["pack"]["pieces"] == 3
    assert found["pack"]["seconds_per_video"] > 0
    assert found["flops"]["forward"] > 0 and found["loop"]["mfu"] > 0 and found["step"]["mfu"] > 0
    assert "float32 matrix product measured here" in found["flops"]["peak_source"]
    assert found["network_calls"] == [{"clips": 12, "gradient": True}]
    assert found["bottleneck"].keys() == {"bottleneck", "sentence"} and found["bottleneck"]["sentence"].endswith(".")
    assert (found["settings"]["method"], found["batch_size"], found["data"]["videos"]) == ("iic", 4, 16)
    assert found["memory"]["batch_mb"] == pytest.approx(4 * 2 * 9 * 37 * 49 * 3 / 2**20)


def test_made_videos_stand_in_and_the_table_is_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreel.profiling.videos.NUM_SYNTHETIC_VIDEOS", 8)
    monkeypatch.setenv("COLUMNS", "200")
    done = call("bench", *SMALL, *QUICK, "--temperature", 0.1, "--held-out", 0)
    assert done.code == 0, done.err
    for part in STEP_PARTS.values():
        assert part in done.out
    assert (
        "GFLOP a step" in done.out
        and "MFU" in done.out
        and "matrix product measured here" in done.out
        and "bottleneck: " in done.out
    )


def test_few_of_many_videos_are_looked_at(motion_set: Path, small: dict[str, Any]) -> None:
    found = bench(motion_set, bench_options=BenchOptions(1, 1, max_videos=9), **small)
    assert found.timings is not None and found.timings.data["videos"] == 9


# Two settings in turn.


def test_two_settings_alternate(motion_set: Path, small: dict[str, Any]) -> None:
    found = bench(motion_set, against="batch_size=2,optimizer=sgd", bench_options=BenchOptions(2, 1), **small)
    told = found.to_json()["against"]
    assert told["changes"] == {"batch_size": 2, "optimizer": "sgd"}
    assert len(told["given"]) == len(told["changed"]) == 2
    assert told["ratio"]["lowest"] <= told["ratio"]["median"] <= told["ratio"]["highest"]
    assert told["sentence"].startswith("batch_size=2 optimizer=sgd")


def test_alternation_and_the_spread_of_the_ratio() -> None:
    ran: list[str] = []

    def run(name: str, clips: int, seconds: Iterator[float]) -> Any:
        def one() -> tuple[int, LoopTiming]:
            ran.append(name)
            return clips, LoopTiming(next(seconds), 0.0)

        return one

    found = compare_in_turns(
        run("a", 4, iter([1.0, 2.0, 4.0])), run("b", 8, iter([1.0, 2.0, 2.0])), 3, {"batch_size": 8}
    )
    assert ran == ["a", "b"] * 3
    assert found == Comparison({"batch_size": 8}, [4.0, 2.0, 1.0], [8.0, 4.0, 4.0])
    assert found.speed_ratios == [2.0, 2.0, 4.0]
    assert found.describe() == "batch_size=8 is faster: 2.00 times the clips/s (2.00 to 4.00)."
    assert "no difference" in Comparison({"size": 8}, [1.0, 1.0], [0.9, 1.2]).describe()
    assert "slower" in Comparison({"size": 8}, [1.0, 1.0], [0.9, 0.8]).describe()


def test_changes_are_read_by_the_type_of_the_field() -> None:
    parts = load_preset("iic")
    text = "batch_size=32, --lr=1e-3,num-frames=4,decay_all=off,augment=cvrl"
    wanted = {"batch_size": 32, "lr": 1e-3, "num_frames": 4, "decay_all": False, "augment": "cvrl"}
    assert parse_changes(text, parts) == wanted
    assert type(parse_value(0.5, "1", "momentum")) is float and parse_value(True, "yes", "flip") is True


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bach_size=4", "unknown field of --against 'bach_size'. Did you mean 'batch_size'"),
        ("batch_size", "field=value"),
        ("batch_size=many", "batch_size is a number"),
        ("flip=perhaps", "on or off"),
        ("drops=1", "drops"),
        (" , ", "names no field"),
    ],
)
def test_what_is_no_change_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_changes(text, load_preset("iic"))


def test_refusals_come_before_anything_is_looked_at(tmp_path: Path, motion_set: Path) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()  # empty: it would be refused when it is looked at
    refused("bench", nowhere, *SMALL, says=("nowhere",))
    refused("bench", nowhere, *SMALL, "--against", "optimizer=adamm", says=("unknown optimizer 'adamm'", "adamw"))
    refused("bench", nowhere, *SMALL, "--against", "batch_size=-1", says=("batch_size", "-1"))
    refused("bench", nowhere, *SMALL, "--rounds", 0, says=("rounds must be at least 1, got 0",))
    refused("bench", motion_set / "test.txt", *SMALL, "--batch-size", 64, says=("no batch of 64", "--batch-size"))


# Arithmetic.


class Flat(nn.Module):
    """A convolution, its depthwise cousin, and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.apart = (
            nn.Conv3d(3, 8, (1, 3, 3), bias=False),
            nn.Conv3d(8, 8, (3, 1, 1), groups=8, bias=False),
        )
        self.line = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(self.apart(self.dense(x)).mean(dim=(2, 3, 4))).sum()


def test_flops_of_grouped_convolutions_and_of_gradients_that_are_not_wanted() -> None:
    network, x = Flat(), torch.rand(2, 3, 6, 10, 10)
    dense = 2 * 2 * (8 * 6 * 8 * 8) * (3 * 9)  # clips, multiply and add, outputs, inputs of each
    apart, line = 2 * 2 * (8 * 4 * 8 * 8) * 3, 2 * 2 * 5 * 8
    counted = count_flops(lambda: network(x))
    assert counted.forward == dense + apart + line
    assert counted.backward == dense + 2 * apart + 2 * line  # the clips themselves get no gradient


def test_flops_of_tiny_against_a_hand_count() -> None:
    """Outputs of each convolution times its inputs, by the table in tiny.py, for 2 clips of 8 x 64 x 64."""

    def separated(maps: int, inputs: int, outputs: int, in_frames: int, out_frames: int, side: int) -> int:
        across = outputs * in_frames * side**2 * inputs * 9  # 1x3x3, before time is strided
        return maps * (across + outputs * out_frames * side**2 * 3)

    stem = 16 * 8 * 16**2 * 3 * 3 * 49
    stage1 = separated(2, 16, 16, 8, 8, 16)
    stage2 = separated(1, 16, 32, 8, 4, 8) + separated(1, 32, 32, 4, 4, 8) + 32 * 4 * 8**2 * 16
    stage3 = separated(1, 32, 64, 4, 2, 4) + separated(1, 64, 64, 2, 2, 4) + 64 * 2 * 4**2 * 32
    stage4 = separated(1, 64, 128, 2, 2, 4) + separated(1, 128, 128, 2, 2, 4) + 128 * 2 * 4**2 * 64
    whole = 2 * 2 * (stem + stage1 + stage2 + stage3 + stage4)
    network = build_backbone("tiny")
    counted = count_flops(lambda: network(torch.rand(2, 3, 8, 64, 64)).mean())
    assert counted.forward == whole
    assert counted.backward == 2 * whole - 2 * 2 * stem  # no gradient for the clips


@pytest.mark.parametrize(
    ("name", "precision", "tf32", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16-mixed", True, 989),
        ("NVIDIA H100 PCIe", "bf16-mixed", True, 756),
        ("NVIDIA A100-SXM4-80GB", "32-true", True, 156),
        ("NVIDIA A100-SXM4-80GB", "32-true", False, 19.5),
        ("NVIDIA A10", "bf16-mixed", True, 125),
        ("NVIDIA A10G", "bf16-mixed", True, None),
        ("Tesla T4", "bf16-mixed", True, None),
        ("Tesla T4", "32-true", True, 8.1),
        ("AMD EPYC", "32-true", False, None),
        ("", "32-true", False, None),
    ],
)
def test_published_peaks(name: str, precision: str, tf32: bool, tflops: float | None) -> None:
    found = find_peak(name, precision, tf32)
    if tflops is None:
        assert found is None
    else:
        assert found is not None and found.flops_per_s == tflops * 1e12 and "data sheet" in found.source


def test_mfu_is_arithmetic_over_time_over_peak() -> None:
    counted = FlopCount(forward=10**12, backward=2 * 10**12, peak_per_s=60e12, peak_source="made")
    assert counted.compute_mfu(0.1) == pytest.approx(0.5)
    assert FlopCount(10**12, 10**12).compute_mfu(0.1) is None


def test_the_peak_of_a_cpu_is_its_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of 100 x 100 matrices are 2 MFLOP; the fastest of four takes 10 ms."""
    seconds = iter([0.04, 0.01, 0.03, 0.02])
    done = []
    monkeypatch.setattr(flops, "measure_seconds", lambda work: done.append(work()) or next(seconds))
    peak = flops.measure_cpu_peak(size=100, rounds=2)
    assert peak.flops_per_s == pytest.approx(2e6 / 0.01)
    assert f"with {torch.get_num_threads()} thread" in peak.source
    assert [tuple(product.shape) for product in done] == [(100, 100)] * 2 + [(1, 100, 100, 1)] * 2


def test_a_cpu_is_not_told_to_use_a_gpus_switches() -> None:
    slow = FlopCount(10**11, 2 * 10**11, 30e12, "made")  # 10 % of its peak
    settings = {"device": "cpu", "workers": 1, "channels_last": "off", "compile": "off"}
    assert find_bottleneck(made(flops=slow, settings=settings)).bottleneck == "network"


# The sentence.


def test_waiting_for_data_says_how_many_processes_would_do() -> None:
    found = find_bottleneck(made(decode_s=0.45, loop=LoopTiming(0.3, 0.2)))
    assert found.bottleneck == "data"
    assert "waits for data 67% of the time" in found.sentence and "one process decodes 36 clips/s" in found.sentence
    assert found.sentence.endswith("--workers 5 would keep up.")
    alone = made(decode_s=0.08, loop=LoopTiming(0.18, 0.08), settings={"device": "cuda", "workers": 0})
    assert (
        "the loop decodes by itself" in find_bottleneck(alone).sentence
        and "--workers 1" in find_bottleneck(alone).sentence
    )


def test_without_cores_the_files_must_get_cheaper() -> None:
    starved = made(decode_s=4.0, loop=LoopTiming(0.3, 0.2))
    assert (
        "40 processes would be needed on 16 cores: pack the corpus (unreel pack)" in find_bottleneck(starved).sentence
    )
    packed = dataclasses.replace(starved, data={"packed": True})
    assert (
        "packed already" in find_bottleneck(packed).sentence and "unreel pack" not in find_bottleneck(packed).sentence
    )
    assert "The cores are taken" in find_bottleneck(made(decode_s=0.2, loop=LoopTiming(0.3, 0.2))).sentence


def test_each_part_can_be_the_bottleneck() -> None:
    for part, word in (("views", "--augment"), ("move", "--size"), ("memory", "--batch-size 32"), ("loss", "head")):
        parts = made().part_seconds | {"backward": 0.0, part: 0.05}
        found = find_bottleneck(made(part_seconds=parts))
        assert found.bottleneck == ("optimiser" if part == "memory" else part) and word in found.sentence


def test_a_gpu_that_idles_gets_more_to_do() -> None:
    slow = FlopCount(10**11, 2 * 10**11, 30e12, "made")  # 10 % of its peak
    small = made(flops=slow, peak_memory_mb=10.0, memory_mb=100.0)
    assert "10% of the device's peak and uses 10% of its memory: --batch-size 32" in find_bottleneck(small).sentence
    off = dataclasses.replace(small, settings=small.settings | {"compile": "off"})
    assert find_bottleneck(off).sentence.endswith("set --compile on.")
    assert "its memory filled" in find_bottleneck(dataclasses.replace(small, peak_memory_mb=90.0)).sentence
    busy = dataclasses.replace(small, flops=FlopCount(10**12, 2 * 10**12, 60e12, "made"))
    assert find_bottleneck(busy).bottleneck == "network"


def test_on_a_cpu_loader_and_network_share_the_cores() -> None:
    settings = {"device": "cpu", "workers": 1}
    found = find_bottleneck(made(loop=LoopTiming(0.2, 0.001), settings=settings, machine={"cores": 2}))
    assert found.bottleneck == "processor" and "2.0 times as long" in found.sentence
    assert "1 loader process shares 2 cores" in found.sentence
    assert (
        find_bottleneck(made(settings=settings)).bottleneck == "network"
        and "or a GPU" in find_bottleneck(made(settings=settings)).sentence
    )


def test_a_sample_of_drawn_videos(tmp_path: Path) -> None:
    manifest, description = select_videos(Path("synthetic://all"), tmp_path, 5)
    assert [video.path for video in manifest.videos] == [f"synthetic://all#{n * 4096 // 5}" for n in range(5)]
    assert description == {"source": "synthetic://all", "videos": 5, "packed": False}
