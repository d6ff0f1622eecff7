"""The bottleneck, and what to change, in a sentence made of the figures."""

import math
from typing import NamedTuple

from unreel.profiling.step_timings import StepTimings

DATA_BOUND_SHARE = 0.1  # share of a step from which waiting for data is the bottleneck
CPU_CONTENTION_RATIO = (
    1.2  # the loop takes so many times what step and waiting explain: somebody else uses the processor
)
LARGE_STEP_SHARE = 0.25  # share of a step from which a part other than the network is the bottleneck
LOW_MFU = 0.3  # MFU below which a GPU is not kept busy by its kernels


class Advice(NamedTuple):
    """Which part is the bottleneck, and the sentence."""

    bottleneck: str
    sentence: str


def find_bottleneck(timings: StepTimings) -> Advice:
    """The first of these that the figures show: data, crowding, a part of the step, an idle GPU, else the network."""
    if timings.loop.data_wait_share >= DATA_BOUND_SHARE:
        return Advice("data", describe_data_wait(timings))
    explained_s = timings.step_s + timings.loop.wait_s
    if timings.settings.get("device") == "cpu" and timings.loop.step_s > CPU_CONTENTION_RATIO * explained_s:
        return Advice("processor", describe_cpu_contention(timings))
    beside = {
        "views": timings.compute_share("views"),
        "move": timings.compute_share("move"),
        "optimiser": timings.compute_share("optimiser", "memory"),
        "loss": timings.compute_share("loss"),
    }
    name, share = max(beside.items(), key=lambda item: item[1])
    if share >= LARGE_STEP_SHARE:
        return Advice(
            name, ADVICE_TEMPLATES[name].format(share=share, batch=timings.batch_size, twice=2 * timings.batch_size)
        )
    mfu = timings.flops.compute_mfu(timings.step_s)
    if mfu is not None and mfu < LOW_MFU:
        return Advice("kernels", describe_idle_gpu(timings, mfu))
    return Advice("network", describe_network_bound(timings))


ADVICE_TEMPLATES = {
    "views": "Augmentation takes {share:.0%} of a step: a lighter --augment or a smaller --size would help; with a "
    "larger network its share shrinks.",
    "move": "Bringing a batch to the device takes {share:.0%} of a step: a smaller --size or fewer frames would help.",
    "optimiser": "Optimiser and memory take {share:.0%} of a step, whatever the batch: --batch-size {twice} instead of "
    "{batch} would halve that.",
    "loss": "Heads and loss take {share:.0%} of a step: fewer negatives or a smaller head would help, or a larger "
    "network would make it matter less.",
}


def describe_data_wait(timings: StepTimings) -> str:
    """How many processes decoding would need, and what to do when the machine does not have them."""
    one, step = timings.clips_per_s(timings.decode_s), timings.clips_per_s(timings.step_s)
    needed, cores = math.ceil(step / one), int(timings.machine.get("cores", 1))
    workers = int(timings.settings.get("workers", 0))
    now = f"{workers} {'does' if workers == 1 else 'do'} so now" if workers else "the loop decodes by itself"
    said = (
        f"The loop waits for data {timings.loop.data_wait_share:.0%} of the time: one process decodes {one:.0f} clips/s, {now}"
        f", and a step could take {step:.0f} clips/s. "
    )
    if workers < needed <= cores:
        return said + f"--workers {needed} would keep up."
    why = f"{needed} processes would be needed on {cores} cores" if needed > cores else "The cores are taken"
    less = "raise --cache-mb if the decoded videos fit into memory, or lower --size"
    if timings.data.get("packed"):
        return said + f"{why} and the corpus is packed already: {less}."
    return said + f"{why}: pack the corpus (unreel pack{describe_packing_speedup(timings)}), {less}."


def describe_packing_speedup(timings: StepTimings) -> str:
    return f", {timings.packing_speedup.factor:.1f} times as fast to decode" if timings.packing_speedup else ""


def describe_cpu_contention(timings: StepTimings) -> str:
    """The loader takes the network's cores."""
    times = timings.loop.step_s / (timings.step_s + timings.loop.wait_s)
    return (
        f"A step takes {times:.1f} times as long while the loader works: {timings.num_loader_processes} loader "
        f"{'process shares' if timings.num_loader_processes == 1 else 'processes share'} {timings.machine.get('cores', 1)} cores with "
        f"the network. Pack the corpus (unreel pack{describe_packing_speedup(timings)}) or raise --cache-mb, so that decoding costs less."
    )


def describe_idle_gpu(timings: StepTimings, mfu: float) -> str:
    """A GPU that waits for kernels to be launched, or gets small ones."""
    off = [name for name in ("channels_last", "compile") if timings.settings.get(name) == "off"]
    if off:
        switches = " and ".join(f"--{name.replace('_', '-')} on" for name in off)
        return f"The network reaches {mfu:.0%} of the device's peak: set {switches}."
    room = timings.memory_mb and timings.peak_memory_mb < timings.memory_mb / 2
    if room:
        return (
            f"The network reaches {mfu:.0%} of the device's peak and uses {timings.peak_memory_mb / timings.memory_mb:.0%} "
            f"of its memory: --batch-size {2 * timings.batch_size} gives it more to do at once."
        )
    return (
        f"The network reaches {mfu:.0%} of the device's peak with its memory filled: that is this network's nature "
        "(narrow layers, depthwise or small kernels), and another --backbone would use the device better."
    )


def describe_network_bound(timings: StepTimings) -> str:
    """Nothing stands beside the network."""
    share = timings.compute_share("forward", "teacher", "backward")
    where = " or a GPU" if timings.settings.get("device") == "cpu" else ""
    return (
        f"The network takes {share:.0%} of a step and the loop waits {timings.loop.data_wait_share:.0%} of the time, so the "
        f"machine does what it can: only less work (a smaller --size, fewer --num-frames){where} would be faster."
    )
