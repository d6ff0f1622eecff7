"""`unreel doctor`: what it says of a machine where all is well, and of one where something is missing."""

import errno
import json
import resource
import tomllib
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import call, succeeds

from unreel.embedding import load_encoder
from unreel.errors import UnreelError
from unreel.profiling import machine_check
from unreel.profiling.machine_check import EXTRAS, check_extra, check_machine, check_shared_memory
from unreel.video.decoding.probe import find_missing_codecs

NO_PARTS = ("all", "dev", "docs", "notebooks", "slow-tests")  # extras that are groups of others, or for developers
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product that takes no time."""
    measure = machine_check.measure_cpu_peak
    monkeypatch.setattr(machine_check, "measure_cpu_peak", lambda size, rounds: measure(8, 1))


def advice(folder: Path) -> dict[str, str]:
    return {finding.name: finding.advice for finding in check_machine(folder) if finding.advice}


def test_each_thing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    findings = {
        finding["name"]: finding for finding in json.loads(succeeds("doctor", "--folder", tmp_path, "--json").out)
    }
    assert "torch" in findings["versions"]["value"] and "GFLOP/s" in findings["processor"]["value"]
    assert "h264" in findings["decoders"]["value"] and str(tmp_path) in findings["disk, here"]["value"]
    assert findings["base encoder"]["value"] == "tiny, 8 frames of 64 pixels"
    assert not any(finding["advice"] for finding in findings.values())
    shown = " ".join(succeeds("doctor", "--folder", tmp_path / "not" / "there").out.split())
    assert "unreel[remote]" in shown and shown.endswith("nothing to mend")


def test_extras_are_those_of_the_package() -> None:
    """Each but the groups of others, with one module for each requirement."""
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]
    needs = {name: len(extras[name]) for name in extras if name not in NO_PARTS and extras[name]}
    assert {name: len(modules) for name, (modules, _) in EXTRAS.items()} == needs
    assert extras["all"] == [f"unreel[{','.join(name for name in extras if name in needs)}]"]


@pytest.mark.parametrize(
    ("present", "says"),
    [
        (("s3fs", "gcsfs", "aiohttp"), "installed: s3://"),
        (
            ("aiohttp",),
            "s3fs and gcsfs not installed; only for s3:// and gs:// addresses: pip install 'unreel[remote]'",
        ),
        ((), "not installed; only for s3:// and gs:// addresses: pip install 'unreel[remote]'"),
    ],
)
def test_an_extra_is_there_in_full_in_part_or_not(
    present: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in present else None)
    assert check_extra("remote").value.startswith(says)


FAULTS: dict[str, tuple[str, Callable[..., object], str]] = {
    "processor": ("os.getloadavg", lambda: (99.0, 0.0, 0.0), "99.0 processes"),
    "memory": ("unreel.profiling.machine_check.read_free_mb", lambda: 100.0, "--batch-size"),
    "shared memory": ("multiprocessing.Lock", lambda: fail_to_lock(), "no locks can be made in /dev/shm"),
    "open files": ("resource.getrlimit", lambda _: (64, 64), "ulimit -n 1024"),
    "disk, here": ("shutil.disk_usage", lambda _: Usage(1, 1, 0), "--out"),
    "disk, temporary files": ("os.access", lambda *_: False, "TMPDIR"),
    "decoders": ("unreel.profiling.machine_check.find_missing_codecs", lambda names, mode: list(names), "PyAV"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_said_with_what_to_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, stand_in, says = FAULTS[name]
    monkeypatch.setattr(place, stand_in)
    assert says in advice(tmp_path)[name]


def test_a_cache_of_no_size_and_a_driver_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNREEL_CACHE_GB", "much")
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = advice(tmp_path)
    assert "UNREEL_CACHE_GB" in found["disk, cache"] and "CUDA" in found["GPU"]


def test_a_damaged_package_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise UnreelError("encoder.safetensors: checksum")

    monkeypatch.setattr(machine_check, "load_encoder", fail)
    done = call("doctor")
    assert done.code == 1 and "install unreel again" in " ".join(done.out.split())


def test_a_folder_of_the_name_of_the_base_encoder_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `unreel index base FOLDER --out base` makes one; where an encoder is asked for, it is named as the reason."""
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert machine_check.check_base_encoder().value == "tiny, 8 frames of 64 pixels"
    with pytest.raises(UnreelError, match="base: a file or folder of this name lies here .*; rename it"):
        load_encoder("base")


def test_shared_memory_has_room_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(2**26, 0, 2**26))
    assert check_shared_memory(tmp_path).value.startswith(f"64 MB are free in {tmp_path}")
    assert check_shared_memory(tmp_path / "none").value == "locks can be made"


def fail_to_lock() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_without_a_limit_of_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert "open files" not in advice(tmp_path)


def test_an_encoder_is_no_decoder() -> None:
    assert find_missing_codecs(["h264", "libx264", "nothing"], "r") == ["libx264", "nothing"]
    assert find_missing_codecs(["h264", "libx264"], "w") == []
