"""Measures a job: the parts of a step, decoding in one process, and the real loop with its loader."""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch

from unreel.errors import InputError
from unreel.profiling.flops import count_flops, find_peak, measure_cpu_peak
from unreel.profiling.step_timer import StepTimer, StepTiming, record_network_calls, time_step
from unreel.profiling.step_timings import FlopCount, LoopTiming, StepTimings
from unreel.training.batches import build_clip_dataset, iterate_batches, move_clips
from unreel.training.job import TrainingJob
from unreel.training.metrics import MetricLogger
from unreel.training.runtime.network_setup import run_eager
from unreel.training.train_step import TrainingSetup, setup_training, train_step
from unreel.types import Clips
from unreel.video.loading.loaders import default_num_workers
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

WARMUP_STEPS = 2
ReportStage = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """How much to measure.

    Args:
        num_rounds: timed steps, or rounds of a comparison.
        loop_steps: steps of the real training loop.
        max_videos: videos, evenly spread over the source.

    Raises:
        InputError: a number is too small.

    >>> unreel.BenchOptions(num_rounds=1).loop_steps
    20
    """

    num_rounds: int = 5
    loop_steps: int = 20
    max_videos: int = 200

    def __post_init__(self) -> None:
        for name, least in {"num_rounds": 1, "loop_steps": 1, "max_videos": 2}.items():
            if getattr(self, name) < least:
                option = name.removeprefix("num_")
                raise InputError(f"{option} must be at least {least}, got {getattr(self, name)}")


def measure_job(
    job: TrainingJob, options: BenchOptions, data_summary: dict[str, Any], report_stage: ReportStage = lambda _: None
) -> StepTimings:
    """All timings of one job. Training changes its weights, and writes only to its folder."""
    setup = setup_training(job)
    report_stage("decoding")
    clips, decode_s, collate_s = time_decoding(job, options.num_rounds)
    report_stage("parts of a step")
    step_timings = [time_step(setup, clips, step) for step in range(WARMUP_STEPS + options.num_rounds)]
    median_step = select_median_step(step_timings[WARMUP_STEPS:])
    report_stage("the loop with its loader")
    loop = time_loop(setup, options.loop_steps)
    device = setup.fabric.device
    return StepTimings(
        batch_size=len(clips.index_B),
        part_seconds=median_step.part_seconds,
        step_s=median_step.step_s,
        decode_s=decode_s,
        collate_s=collate_s,
        loop=loop,
        settings=summarize_settings(job),
        machine=describe_machine(device),
        data=data_summary,
        flops=count_step_flops(setup, clips),
        network_calls=count_network_calls(setup, clips),
        batch_mb=clips.frames.nbytes / 2**20,
        peak_memory_mb=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0,
        memory_mb=torch.cuda.get_device_properties(device).total_memory / 2**20 if device.type == "cuda" else 0.0,
    )


def select_median_step(step_timings: list[StepTiming]) -> StepTiming:
    """The step whose length is the median (the upper of two), with its own parts, so that they fit together."""
    return sorted(step_timings, key=lambda t: t.step_s)[len(step_timings) // 2]


def time_decoding(job: TrainingJob, num_rounds: int) -> tuple[Clips, float, float]:
    """A batch, and the median seconds that one process takes to decode one without a cache, and to collate it."""
    clips = build_clip_dataset(job, cache_mb=0)
    order = ResumableBatchSampler(len(job.instances), job.videos_per_step, job.settings.seed, 0, num_rounds + 1)
    decoding, collating, batch = [], [], None
    for items in order:
        began_s = time.perf_counter()
        samples = [clips[item] for item in items]
        decoded_s = time.perf_counter()
        batch = clips.collate(samples)
        decoding.append(decoded_s - began_s)
        collating.append(time.perf_counter() - decoded_s)
    assert batch is not None
    return batch, statistics.median(decoding[1:]), statistics.median(collating[1:])


def time_loop(setup: TrainingSetup, steps: int) -> LoopTiming:
    """Mean seconds of a step in the training loop as it is, from loader to log, and of waiting in it."""
    logger, batches = MetricLogger(setup.job, quiet=True), iterate_batches(setup.job, setup.fabric)
    device = setup.fabric.device.type
    waited_s, timer = 0.0, StepTimer(device)
    with closing(logger), closing(batches):
        for step in range(WARMUP_STEPS + steps):
            if step == WARMUP_STEPS:  # loader processes run, memory is laid out, kernels are chosen
                waited_s, timer = 0.0, StepTimer(device)
            began_s = time.perf_counter()
            clips = next(batches)
            waited_s += time.perf_counter() - began_s
            train_step(setup, clips, step, logger)
        return LoopTiming((timer.read_clock_s() - timer.start_s) / steps, waited_s / steps)


def count_step_flops(setup: TrainingSetup, clips: Clips) -> FlopCount:
    """FLOPs of the method's own forward and backward on this batch."""
    job, fabric, method, optimizer = setup
    views = job.recipe(move_clips(clips, fabric))
    with run_eager(job.settings):
        counted = count_flops(lambda: method(views).loss)
    optimizer.zero_grad(set_to_none=True)
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else ""
    on_cpu = fabric.device.type == "cpu"
    peak = measure_cpu_peak() if on_cpu else find_peak(name, job.settings.precision, torch.backends.cudnn.allow_tf32)
    if peak is None:
        return FlopCount(counted.forward, counted.backward)
    return FlopCount(counted.forward, counted.backward, peak.flops_per_s, peak.source)


def count_network_calls(setup: TrainingSetup, clips: Clips) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of a network in a step."""
    views = setup.job.recipe(move_clips(clips, setup.fabric))
    with run_eager(setup.job.settings):
        return record_network_calls(setup.job.method, lambda: setup.method(views))


def summarize_settings(job: TrainingJob) -> dict[str, Any]:
    """The settings that the timings depend on, with the number of workers resolved."""
    workers = default_num_workers() if job.settings.workers < 0 else job.settings.workers
    return {"method": job.encoder.spec.method} | dataclasses.asdict(job.settings) | {"workers": workers}


def describe_machine(device: torch.device) -> dict[str, Any]:
    """The machine that the timings belong to."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": name, "cores": cores, "threads": torch.get_num_threads(), "torch": torch.__version__}
