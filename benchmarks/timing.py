"""What the benchmarks share: seconds of a piece of work, the device's queue emptied."""

import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], device: str) -> float:
    began_s = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began_s
