"""The bottleneck, and what to change, in a sentence made of the figures."""

import math
from typing import NamedTuple

from unreel.bench.figures import Figures

WAITING = 0.1  # share of a step from which waiting for data is the bottleneck
CROWDED = 1.2  # the loop takes so many times what step and waiting explain: somebody else uses the processor
LARGE = 0.25  # share of a step from which a part other than the network is the bottleneck
BUSY = 0.3  # MFU below which a GPU is not kept busy by its kernels


class Advice(NamedTuple):
    """Which part is the bottleneck, and the sentence."""

    bottleneck: str
    sentence: str


def advice(found: Figures) -> Advice:
    """The first of these that the figures show: data, crowding, a part of the step, an idle GPU, else the network."""
    if found.loop.data_wait >= WAITING:
        return Advice("data", waiting(found))
    explained_s = found.step_s + found.loop.wait_s
    if found.settings.get("device") == "cpu" and found.loop.step_s > CROWDED * explained_s:
        return Advice("processor", crowded(found))
    beside = {
        "views": found.share("views"),
        "move": found.share("move"),
        "optimiser": found.share("optimiser", "memory"),
        "loss": found.share("loss"),
    }
    name, share = max(beside.items(), key=lambda item: item[1])
    if share >= LARGE:
        return Advice(name, CURES[name].format(share=share, batch=found.batch_size, twice=2 * found.batch_size))
    mfu = found.flops.mfu(found.step_s)
    if mfu is not None and mfu < BUSY:
        return Advice("kernels", idle(found, mfu))
    return Advice("network", network(found))


CURES = {
    "views": "Augmentation takes {share:.0%} of a step: a lighter --augment or a smaller --size would help; with a "
    "larger network its share shrinks.",
    "move": "Bringing a batch to the device takes {share:.0%} of a step: a smaller --size or fewer frames would help.",
    "optimiser": "Optimiser and memory take {share:.0%} of a step, whatever the batch: --batch-size {twice} instead of "
    "{batch} would halve that.",
    "loss": "Heads and loss take {share:.0%} of a step: fewer negatives or a smaller head would help, or a larger "
    "network would make it matter less.",
}


def waiting(found: Figures) -> str:
    """How many processes decoding would need, and what to do when the machine does not have them."""
    one, step = found.clips_per_s(found.decode_s), found.clips_per_s(found.step_s)
    needed, cores = math.ceil(step / one), int(found.machine.get("cores", 1))
    workers = int(found.settings.get("workers", 0))
    now = f"{workers} {'does' if workers == 1 else 'do'} so now" if workers else "the loop decodes by itself"
    said = (
        f"The loop waits for data {found.loop.data_wait:.0%} of the time: one process decodes {one:.0f} clips/s, {now}"
        f", and a step could take {step:.0f} clips/s. "
    )
    if workers < needed <= cores:
        return said + f"--workers {needed} would keep up."
    why = f"{needed} processes would be needed on {cores} cores" if needed > cores else "The cores are taken"
    less = "raise --cache-mb if the decoded videos fit into memory, or lower --size"
    if found.data.get("packed"):
        return said + f"{why} and the corpus is packed already: {less}."
    return said + f"{why}: pack the corpus (unreel pack{gained(found)}), {less}."


def gained(found: Figures) -> str:
    return f", {found.packed.factor:.1f} times as fast to decode" if found.packed else ""


def crowded(found: Figures) -> str:
    """The loader takes the network's cores."""
    times = found.loop.step_s / (found.step_s + found.loop.wait_s)
    return (
        f"A step takes {times:.1f} times as long while the loader works: {found.processes} loader "
        f"{'process shares' if found.processes == 1 else 'processes share'} {found.machine.get('cores', 1)} cores with "
        f"the network. Pack the corpus (unreel pack{gained(found)}) or raise --cache-mb, so that decoding costs less."
    )


def idle(found: Figures, mfu: float) -> str:
    """A GPU that waits for kernels to be launched, or gets small ones."""
    off = [name for name in ("channels_last", "compile") if found.settings.get(name) == "off"]
    if off:
        switches = " and ".join(f"--{name.replace('_', '-')} on" for name in off)
        return f"The network reaches {mfu:.0%} of the device's peak: set {switches}."
    room = found.memory_mb and found.peak_memory_mb < found.memory_mb / 2
    if room:
        return (
            f"The network reaches {mfu:.0%} of the device's peak and uses {found.peak_memory_mb / found.memory_mb:.0%} "
            f"of its memory: --batch-size {2 * found.batch_size} gives it more to do at once."
        )
    return (
        f"The network reaches {mfu:.0%} of the device's peak with its memory filled: that is this network's nature "
        "(narrow layers, depthwise or small kernels), and another --backbone would use the device better."
    )


def network(found: Figures) -> str:
    """Nothing stands beside the network."""
    share = found.share("forward", "teacher", "backward")
    where = " or a GPU" if found.settings.get("device") == "cpu" else ""
    return (
        f"The network takes {share:.0%} of a step and the loop waits {found.loop.data_wait:.0%} of the time, so the "
        f"machine does what it can: only less work (a smaller --size, fewer --num-frames){where} would be faster."
    )
