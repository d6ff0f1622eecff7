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

from unreel.bench.figures import Figures, Flops, Loop
from unreel.bench.peaks import count, peak_of
from unreel.bench.step import Clock, Taken, Trainer, network_calls, timed_step
from unreel.errors import InputError
from unreel.training.device import as_written
from unreel.training.log import Log
from unreel.training.loop import Job, batches, decoded_clips, on_device, one_step, set_up
from unreel.types import Clips
from unreel.video.dataset import default_workers
from unreel.video.order import Batches

WARM_UP = 2
Said = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much to measure: timed steps, steps of the real loop, and the videos that are looked at, evenly spread."""

    rounds: int = 5
    loop_steps: int = 20
    max_videos: int = 200

    def __post_init__(self) -> None:
        for name, least in {"rounds": 1, "loop_steps": 1, "max_videos": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")


def measure(job: Job, effort: Effort, data: dict[str, Any], say: Said = lambda _: None) -> Figures:
    """Everything about one job. Its weights change, and nothing but its folder is written to."""
    trainer = Trainer(job, *set_up(job))
    say("decoding")
    clips, decode_s, collate_s = decode(job, effort.rounds)
    say("parts of a step")
    taken = [timed_step(trainer, clips, step) for step in range(WARM_UP + effort.rounds)][WARM_UP:]
    whole = middle(taken)
    say("the loop with its loader")
    loop = real_loop(trainer, effort.loop_steps)
    device = trainer.fabric.device
    return Figures(
        batch_size=len(clips.index_B),
        parts=whole.parts,
        step_s=whole.step_s,
        decode_s=decode_s,
        collate_s=collate_s,
        loop=loop,
        settings=described(job),
        machine=machine(device),
        data=data,
        flops=arithmetic(trainer, clips),
        network_calls=calls(trainer, clips),
        batch_mb=clips.frames.nbytes / 2**20,
        peak_memory_mb=torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0,
        memory_mb=torch.cuda.get_device_properties(device).total_memory / 2**20 if device.type == "cuda" else 0.0,
    )


def middle(taken: list[Taken]) -> Taken:
    """The step whose length is the median (the upper of two), with its own parts, so that they fit together."""
    return sorted(taken, key=lambda t: t.step_s)[len(taken) // 2]


def decode(job: Job, rounds: int) -> tuple[Clips, float, float]:
    """A batch, and the median seconds that one process takes to decode one, nothing kept, and to put it together."""
    clips = decoded_clips(job, cache_mb=0)
    order = Batches(len(job.instances), job.videos_a_step, job.settings.seed, 0, rounds + 1)
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


def real_loop(trainer: Trainer, steps: int) -> Loop:
    """Mean seconds of a step in the training loop as it is, from loader to log, and of waiting in it."""
    job, fabric, method, optimizer = trainer
    log, stream = Log(job, quiet=True), batches(job, fabric)
    waited_s, clock = 0.0, Clock(fabric.device.type)
    with closing(log), closing(stream):
        for step in range(WARM_UP + steps):
            if step == WARM_UP:  # loader processes run, memory is laid out, kernels are chosen
                waited_s, clock = 0.0, Clock(fabric.device.type)
            began_s = time.perf_counter()
            clips = next(stream)
            waited_s += time.perf_counter() - began_s
            one_step(job, fabric, method, optimizer, clips, step, log)
        return Loop((clock.now_s() - clock.began_s) / steps, waited_s / steps)


def arithmetic(trainer: Trainer, clips: Clips) -> Flops:
    """FLOPs of the method's own forward and backward on this batch."""
    job, fabric, method, optimizer = trainer
    views = job.recipe(on_device(clips, fabric))
    with as_written(job.settings):
        counted = count(lambda: method(views).loss)
    optimizer.zero_grad(set_to_none=True)
    name = torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else ""
    peak = peak_of(name, job.settings.precision, torch.backends.cudnn.allow_tf32)
    if peak is None:
        return Flops(counted.forward, counted.backward)
    return Flops(counted.forward, counted.backward, peak.flops_per_s, peak.source)


def calls(trainer: Trainer, clips: Clips) -> list[tuple[int, bool]]:
    """(clips, with gradient?) of each call of a network in a step."""
    views = trainer.job.recipe(on_device(clips, trainer.fabric))
    with as_written(trainer.job.settings):
        return network_calls(trainer.job.method, lambda: trainer.method(views))


def described(job: Job) -> dict[str, Any]:
    """The settings that a figure depends on, the number of workers as it came out."""
    workers = default_workers() if job.settings.workers < 0 else job.settings.workers
    return {"method": job.encoder.spec.method} | dataclasses.asdict(job.settings) | {"workers": workers}


def machine(device: torch.device) -> dict[str, Any]:
    """Where it was measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": name, "cores": cores, "threads": torch.get_num_threads(), "torch": torch.__version__}
