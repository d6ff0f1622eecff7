"""The bottleneck of training, and what to change, as a sentence from the timings."""

import math
from typing import NamedTuple

from unreel.profiling.step_timings import StepTimings

DATA_BOUND_SHARE = 0.1  # waiting for data is the bottleneck from this share of a step
CPU_CONTENTION_RATIO = 1.2  # the loop takes this many times step and waiting together: others use the processor
LARGE_STEP_SHARE = 0.25  # a part other than the network is the bottleneck from this share of a step
LOW_MFU = 0.3  # below this MFU the kernels do not keep a GPU busy


class Advice(NamedTuple):
    """Which part is the bottleneck, and the sentence."""

    bottleneck: str
    sentence: str


def find_bottleneck(timings: StepTimings) -> Advice:
    """The first that applies: data, CPU contention, a part of the step, an idle GPU, else the network."""
    if timings.loop.data_wait_share >= DATA_BOUND_SHARE:
        return Advice("data", describe_data_wait(timings))
    explained_s = timings.step_s + timings.loop.wait_s
    if timings.settings.get("device") == "cpu" and timings.loop.step_s > CPU_CONTENTION_RATIO * explained_s:
        return Advice("processor", describe_cpu_contention(timings))
    shares = {
        "views": timings.compute_share("views"),
        "move": timings.compute_share("move"),
        "optimiser": timings.compute_share("optimiser", "memory"),
        "loss": timings.compute_share("loss"),
    }
    name, share = max(shares.items(), key=lambda item: item[1])
    if share >= LARGE_STEP_SHARE:
        return Advice(
            name, ADVICE_TEMPLATES[name].format(share=share, batch=timings.batch_size, twice=2 * timings.batch_size)
        )
    mfu = timings.flops.compute_mfu(timings.step_s)
    if timings.settings.get("device") != "cpu" and mfu is not None and mfu < LOW_MFU:
        return Advice("kernels", describe_idle_gpu(timings, mfu))
    return Advice("network", describe_network_bound(timings))


ADVICE_TEMPLATES = {
    "views": "Augmentation takes {share:.0%} of a step: a lighter --augment or a smaller --size would help; with a "
    "larger network its share shrinks.",
    "move": "Moving a batch to the device takes {share:.0%} of a step: a smaller --size or fewer frames would help.",
    "optimiser": "Optimiser and memory take {share:.0%} of a step, whatever the batch: --batch-size {twice} instead of "
    "{batch} would halve that.",
    "loss": "Heads and loss take {share:.0%} of a step: fewer negatives or a smaller head would help; with a larger "
    "network their share shrinks.",
}


def describe_data_wait(timings: StepTimings) -> str:
    """How many loader processes would be enough, and what to do when the machine has too few cores."""
    one, step = timings.clips_per_s(timings.decode_s), timings.clips_per_s(timings.step_s)
    needed, cores = math.ceil(step / one), int(timings.machine.get("cores", 1))
    workers = int(timings.settings.get("workers", 0))
    now = f"{workers} {'does' if workers == 1 else 'do'} so now" if workers else "the loop decodes by itself"
    wait = (
        f"The loop waits for data {timings.loop.data_wait_share:.0%} of the time: one process decodes {one:.0f} "
        f"clips/s, {now}, and a step could take {step:.0f} clips/s. "
    )
    if workers < needed <= cores:
        return wait + f"--workers {needed} would keep up."
    reason = f"{needed} processes would be needed on {cores} cores" if needed > cores else "The cores are taken"
    remedy = "raise --cache-mb if the decoded videos fit into memory, or lower --size"
    if timings.data.get("packed"):
        return wait + f"{reason} and the corpus is packed already: {remedy}."
    return wait + f"{reason}: pack the corpus (unreel pack{describe_packing_speedup(timings)}), {remedy}."


def describe_packing_speedup(timings: StepTimings) -> str:
    return f", {timings.packing_speedup.factor:.1f} times as fast to decode" if timings.packing_speedup else ""


def describe_cpu_contention(timings: StepTimings) -> str:
    """The loader processes take the network's cores."""
    slowdown = timings.loop.step_s / (timings.step_s + timings.loop.wait_s)
    num_processes = timings.num_loader_processes
    processes = "1 loader process shares" if num_processes == 1 else f"{num_processes} loader processes share"
    return (
        f"A step takes {slowdown:.1f} times as long while the loader works: {processes} "
        f"{timings.machine.get('cores', 1)} cores with the network. Pack the corpus (unreel "
        f"pack{describe_packing_speedup(timings)}) or raise --cache-mb, so that decoding costs less."
    )


def describe_idle_gpu(timings: StepTimings, mfu: float) -> str:
    """The GPU waits for kernel launches, or its kernels are small."""
    off = [name for name in ("channels_last", "compile") if timings.settings.get(name) == "off"]
    if off:
        switches = " and ".join(f"--{name.replace('_', '-')} on" for name in off)
        return f"The network reaches {mfu:.0%} of the device's peak: set {switches}."
    if timings.memory_mb and timings.peak_memory_mb < timings.memory_mb / 2:
        used = timings.peak_memory_mb / timings.memory_mb
        return (
            f"The network reaches {mfu:.0%} of the device's peak and uses {used:.0%} of its memory: --batch-size "
            f"{2 * timings.batch_size} gives it more to do at once."
        )
    return (
        f"The network reaches {mfu:.0%} of the device's peak with its memory filled: that is this network's nature "
        "(narrow layers, depthwise or small kernels), and another --backbone would use the device better."
    )


def describe_network_bound(timings: StepTimings) -> str:
    """The network is the bottleneck."""
    share = timings.compute_share("forward", "teacher", "backward")
    where = " or a GPU" if timings.settings.get("device") == "cpu" else ""
    return (
        f"The network takes {share:.0%} of a step and the loop waits {timings.loop.data_wait_share:.0%} of the time, "
        f"so the machine is fully used: only less work (a smaller --size, fewer --num-frames){where} would be faster."
    )
