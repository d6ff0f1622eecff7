"""Measure: the parts of a step, decoding in one process, the real loop with its loader, and two settings in turn."""

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
from unreel.profiling.flops import count_flops, find_peak
from unreel.profiling.step_timer import StepTimer, StepTiming, TrainingSetup, record_network_calls, time_step
from unreel.profiling.step_timings import FlopCount, LoopTiming, StepTimings
from unreel.training.loop import (
    TrainingJob,
    build_clip_dataset,
    iterate_batches,
    move_clips,
    setup_training,
    train_step,
)
from unreel.training.metrics import MetricLogger
from unreel.training.runtime.auto_settings import run_eager
from unreel.types import Clips
from unreel.video.loading.clip_dataset import default_num_workers
from unreel.video.sampling.batch_sampler import ResumableBatchSampler

WARMUP_STEPS = 2
ReportStage = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """How much to measure: timed steps, steps of the real loop, and the videos that are looked at, evenly spread."""

    num_rounds: int = 5
    loop_steps: int = 20
    max_videos: int = 200

    def __post_init__(self) -> None:
        for name, least in {"rounds": 1, "loop_steps": 1, "max_videos": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")


def measure_job(
    job: TrainingJob, options: BenchOptions, data_summary: dict[str, Any], report_stage: ReportStage = lambda _: None
) -> StepTimings:
    """Everything about one job. Its weights change, and nothing but its folder is written to."""
    trainer = TrainingSetup(job, *setup_training(job))
    report_stage("decoding")
    clips, decode_s, collate_s = time_decoding(job, options.num_rounds)
    report_stage("parts of a step")
    taken = [time_step(trainer, clips, step) for step in range(WARMUP_STEPS + options.num_rounds)][WARMUP_STEPS:]
    whole = select_median_step(taken)
    report_stage("the loop with its loader")
    loop = time_loop(trainer, options.loop_steps)
    device = trainer.fabric.device
    return StepTimings(
        batch_size=len(clips.index_B),
        part_seconds=whole.part_seconds,
        step_s=whole.step_s,
        decode_s=decode_s,
        collate_s=collate_s,
        loop=loop,
        settings=summarize_settings(job),
        machine=describe_machine(device),
        data=data_summary,
        flops=count_step_flops(trainer, clips),
        network_calls=count_network_calls(trainer, clips),
        batch_mb=clips.frames.nbytes / 2**20,
        peak_memory_mb=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0,
        memory_mb=torch.cuda.get_device_properties(device).total_memory / 2**20 if device.type == "cuda" else 0.0,
    )


def select_median_step(step_timings: list[StepTiming]) -> StepTiming:
    """The step whose length is the median (the upper of two), with its own parts, so that they fit together."""
    return sorted(step_timings, key=lambda t: t.step_s)[len(step_timings) // 2]


def time_decoding(job: TrainingJob, num_rounds: int) -> tuple[Clips, float, float]:
    """A batch, and the median seconds that one process takes to decode one, nothing kept, and to put it together."""
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
    job, fabric, method, optimizer = setup
    log, stream = MetricLogger(job, quiet=True), iterate_batches(job, fabric)
    waited_s, clock = 0.0, StepTimer(fabric.device.type)
    with closing(log), closing(stream):
        for step in range(WARMUP_STEPS + steps):
            if step == WARMUP_STEPS:  # loader processes run, memory is laid out, kernels are chosen
                waited_s, clock = 0.0, StepTimer(fabric.device.type)
            began_s = time.perf_counter()
            clips = next(stream)
            waited_s += time.perf_counter() - began_s
            train_step(job, fabric, method, optimizer, clips, step, log)
        return LoopTiming((clock.read_clock_s() - clock.start_s) / steps, waited_s / steps)


def count_step_flops(setup: TrainingSetup, clips: Clips) -> FlopCount:
    """FLOPs of the method's own forward and backward on this batch."""
    job, fabric, method, optimizer = setup
    views = job.recipe(move_clips(clips, fabric))
    with run_eager(job.settings):
        counted = count_flops(lambda: method(views).loss)
    optimizer.zero_grad(set_to_none=True)
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else ""
    peak = find_peak(name, job.settings.precision, torch.backends.cudnn.allow_tf32)
    if peak is None:
        return FlopCount(counted.forward, counted.backward)
    return FlopCount(counted.forward, counted.backward, peak.flops_per_s, peak.source)


def count_network_calls(setup: TrainingSetup, clips: Clips) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of a network in a step."""
    views = setup.job.recipe(move_clips(clips, setup.fabric))
    with run_eager(setup.job.settings):
        return record_network_calls(setup.job.method, lambda: setup.method(views))


def summarize_settings(job: TrainingJob) -> dict[str, Any]:
    """The settings that a figure depends on, the number of workers as it came out."""
    workers = default_num_workers() if job.settings.workers < 0 else job.settings.workers
    return {"method": job.encoder.spec.method} | dataclasses.asdict(job.settings) | {"workers": workers}


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Where it was measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": name, "cores": cores, "threads": torch.get_num_threads(), "torch": torch.__version__}
