"""Three machines of a Ray cluster: a worker is killed, a machine is lost, another one is added, nothing is missing."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import Command

import unreel
from unreel import embedding
from unreel.engines import worker_batches
from unreel.engines.engine_choice import use_engine
from unreel.indexing.store.clip_sampling import EvenSampling
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.indexing.store.update import StoreUpdateOptions, update_store
from unreel.types import ProgressCallback

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'unreel[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.reader_processes,
]
LOG = "UNREEL_TEST_LOG"


def log_batch(items: Sequence[Any], *arguments: Any) -> list[Any]:
    """`encode_batch`, slower, with a line at its start and one at its end."""
    node, log, paths = ray.get_runtime_context().get_node_id(), Path(os.environ[LOG]), [item.path for item in items]

    def note(event: str) -> None:
        with log.open("a") as file:
            file.write(f"{event} {node} {os.getpid()} {' '.join(paths)}\n")

    note("start")
    time.sleep(0.5)
    features = embedding.encode_batch(items, *arguments)
    note("end")
    return features


def read_log(log: Path) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], list[str]]]:
    """The batches that were begun and those that were finished, by (node, process), each as its paths."""
    begun: dict[tuple[str, str], list[str]] = {}
    finished: dict[tuple[str, str], list[str]] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        event, node, process, paths = line.split(" ", 3)
        (begun if event == "start" else finished).setdefault((node, process), []).append(paths)
    return begun, finished


def find_busy(log: Path, besides: Sequence[str]) -> tuple[str, str]:
    """(node, process) of a worker in the middle of a batch, but for these nodes and processes; waits for one."""
    end_s = time.monotonic() + 300
    while time.monotonic() < end_s:
        begun, finished = read_log(log)
        for place, batches in begun.items():
            if len(batches) > len(finished.get(place, [])) and not {*place} & {*besides}:
                return place
        time.sleep(0.05)
    raise AssertionError("no worker is busy")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "batches.txt"


@pytest.fixture(scope="module")
def cluster(log: Path) -> Iterator[Any]:
    """A head and two more machines, each with one core."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        tests = Path(__file__).parent
        paths = [
            str(Path(unreel.__file__).parent.parent),
            str(tests),
            str(tests.parent),
            os.environ.get("PYTHONPATH", ""),
        ]
        patch.setenv("PYTHONPATH", ":".join(paths))
        patch.setenv(LOG, str(log))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20})
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        made.wait_for_nodes()
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


def list_rows(out: Path) -> list[tuple[Any, ...]]:
    e = read_embeddings(out)
    columns = zip(e.paths, e.start_s, e.end_s, e.labels, e.content_hashes, e.vectors, strict=True)
    return [(*row[:5], row[5].tobytes()) for row in columns]


def test_a_worker_and_a_machine_are_lost_and_one_is_added(
    cluster: Any, log: Path, small_run: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = EvenSampling("clip", 2)
    here = update_store(small_run, motion_set, tmp_path / "here", sampling)
    monkeypatch.setattr(embedding, "encode_batch", log_batch)
    monkeypatch.setattr(worker_batches, "MAX_BATCH_JOBS", 1)
    happened: dict[str, str] = {}

    def interfere(done: int, total: int) -> None:
        if done >= 3 and "worker" not in happened:
            _, happened["worker"] = find_busy(log, [])
            os.kill(int(happened["worker"]), signal.SIGKILL)
        elif done >= 8 and "machine" not in happened:
            happened["machine"], _ = find_busy(log, [cluster.head_node.node_id, happened["worker"]])
            lost = next(node for node in cluster.list_all_nodes() if node.node_id == happened["machine"])
            cluster.remove_node(lost, allow_graceful=False)
            happened["added"] = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20).node_id

    @contextmanager
    def progress(label: str) -> Iterator[ProgressCallback]:
        yield interfere if label == "embedding" else lambda _done, _total: None

    with use_engine("ray"):
        there = update_store(
            small_run, motion_set, tmp_path / "there", sampling, StoreUpdateOptions(progress_bar=progress)
        )
    assert list_rows(tmp_path / "there") == list_rows(tmp_path / "here")
    assert (there.num_rows, there.num_embedded, there.left_out) == (here.num_rows, 24, [])
    begun, finished = read_log(log)
    killed = [place for place in begun if happened["worker"] == place[1] or happened["machine"] == place[0]]
    lost = [paths for place in killed for paths in begun[place][len(finished.get(place, [])) :]]
    assert len(lost) >= 2, "both had begun what they did not finish"
    done = [paths for batches in finished.values() for paths in batches]
    assert set(lost) <= set(done) and len(set(done)) == 24
    assert happened["added"] in {node for node, _ in finished}, "the machine that was added has worked"


def test_the_commands_are_the_same_on_a_cluster(
    cluster: Any, small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    """With a file that can't be read, and in a process of its own, which ends as it does on this machine."""
    (tmp_path / "list.txt").write_text(
        "".join(f"{path}\n" for path in sorted(motion_set.rglob("*.mp4"))[:9]) + "bad.mp4\n"
    )
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    said: dict[str, list[str]] = {}
    for engine in ("local", "ray"):
        folder = tmp_path / engine
        for command in (
            ("inspect", tmp_path / "list.txt", "--out", folder / "inspected"),
            ("pack", tmp_path / "list.txt", folder / "packed", "--short-side", 32, "--no-gain"),
            ("index", small_run, tmp_path / "list.txt", "--out", folder / "index", "--hop-s", 0.2),
        ):
            with Command(*command, "--engine", engine) as process:
                out, error = process.communicate(400)
                assert process.wait() == 0 and "Traceback" not in error, error
                said.setdefault(engine, []).append(out.replace(str(folder), ""))
    assert said["ray"] == said["local"]
    assert list_rows(tmp_path / "ray" / "index") == list_rows(tmp_path / "local" / "index")
    for name in ("inspected/manifest.parquet", "inspected/quarantine.csv", "index/left_out.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    for shard in (tmp_path / "local" / "packed").glob("*.tar"):
        assert shard.read_bytes() == (tmp_path / "ray" / "packed" / shard.name).read_bytes()
