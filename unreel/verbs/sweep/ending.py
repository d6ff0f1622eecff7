"""A member of a sweep ends with the sweep that has started it, however that ends. Imports nothing that takes time."""

import os

from unreel.io.worker_process import exit_with_parent

SWEEP_PROCESS = "UNREEL_SWEEP_PROCESS"  # the number of the process that a member was started by, in its environment


def end_with_sweep() -> None:
    """In the process of a member: end when the sweep that has started it has ended.

    A member that SLURM or a person has started is its own master.
    """
    if number := os.environ.pop(SWEEP_PROCESS, ""):  # gone for processes that the member starts
        exit_with_parent(int(number))
