"""Wall time of a piece of work, for all benchmarks."""

import time
from collections.abc import Callable

import torch


def measure_seconds(work: Callable[[], object], device: str) -> float:
    """Seconds of `work`, until the device has finished it."""
    began_s = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began_s
