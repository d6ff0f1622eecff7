"""How torch's threads wait for each other on a CPU; must be decided before torch is imported."""

import os

BUSY_SHARE = 0.3  # of the cores, over the last minute
VARIABLE = "OMP_WAIT_POLICY"


def choose_wait_policy() -> None:
    """Let torch's threads sleep while they wait where other programs keep the processors busy, unless a person chose.

    Threads that spin keep a core from the one that they wait for: beside a busy process, a training step then takes
    many times as long. On a quiet machine spinning is faster. Figures do not depend on it (docs/performance.md).
    """
    if VARIABLE not in os.environ and is_machine_busy():
        os.environ[VARIABLE] = "PASSIVE"


def is_machine_busy() -> bool:
    """Whether more than BUSY_SHARE of the cores were in use over the last minute; False where that is not known."""
    try:
        return os.getloadavg()[0] > BUSY_SHARE * (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows has no such figure
        return False
