"""The rehearsal of a cluster: two nodes, one killed, one without its cable, the same bytes at the end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "rehearsal.sh"


def no_namespaces() -> str:
    """Why no network namespace can be made here; "" where it can."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "making network namespaces takes root on Linux"
    if shutil.which("ip") is None:
        return "there is no ip command (iproute2)"
    name = f"unreel-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return "" if made.returncode == 0 else f"this system lets nobody make one: {made.stderr.strip()}"


@pytest.mark.slow
def test_two_nodes_survive_a_kill_and_a_cut_cable(tmp_path: Path) -> None:
    if why := no_namespaces():
        pytest.skip(why)
    env = os.environ | {"BIN": str(Path(sys.executable).parent)}
    done = subprocess.run(
        ["sh", str(SCRIPT), str(tmp_path / "out")], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ended by itself after") == 2 and done.stdout.count("the same to the byte") == 2
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "unreel-" not in left, left


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """Where it can't be done at all, one sentence and exit code 2."""
    done = subprocess.run(["sh", str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2 and len(said) == 1 and said[0].startswith("rehearsal: "), done.stderr
