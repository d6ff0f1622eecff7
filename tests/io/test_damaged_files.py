"""Damaged files end as used or with a reason, and a decoder that crashes, hangs or eats memory costs its file alone."""

import csv
import faulthandler
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from commands import refused, succeeds
from damaged import KINDS, damaged, make
from videos import encode

import unreel
from unreel.corpus import inspection
from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.embedding import load_encoder
from unreel.errors import InputError, VideoError
from unreel.io.limits import FailureKind, Limits, WorkerFailure, get_limits, use_limits
from unreel.io.worker_pool import map_jobs, run_isolated
from unreel.report import gallery
from unreel.video.decoding import packet_index, probe
from unreel.video.loading import clip_dataset, loaders

BAD, GOOD = "3.mp4", ["0.mp4", "1.mp4", "2.mp4", "4.mp4", "5.mp4"]
pytestmark = pytest.mark.usefixtures("quick_deaths")


# The corpus of damaged files.


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of each kind and some good ones."""
    out = tmp_path_factory.mktemp("damaged") / "videos"
    assert {kind for _, kind in make(out, 2 * len(KINDS), seed=1, good=3)} == {*KINDS, "good"}
    return out


def test_the_same_seed_makes_the_same_files() -> None:
    for n in range(len(KINDS)):
        kind, name, data = damaged(n, 1)
        assert damaged(n, 1) == (kind, name, data) and name.split(" ", 1)[1].startswith(kind)
    assert any(damaged(n, 1)[2] != damaged(n, 2)[2] for n in range(len(KINDS)))


def test_every_damaged_file_is_used_or_left_out_with_a_reason(corpus: Path, small_run: Path, tmp_path: Path) -> None:
    everything = {path.name for path in corpus.iterdir()}
    manifest = inspect(corpus, workers=2)
    used = {Path(video.path).name for video in manifest.videos}
    left_out = {Path(bad.path).name: bad.reason for bad in manifest.quarantine}
    assert used | set(left_out) == everything and not used & set(left_out)
    assert {name for name in everything if name.startswith("good")} <= used
    for kind in ("zero length", "sound alone", "one frame", "no video", "a jump of ten hours"):
        assert not [name for name in used if kind in name], kind
    cut_off = {Path(video.path).name for video in manifest.videos if video.cut_off}
    assert {name for name in used if "truncated" in name} <= cut_off
    done = succeeds("embed", small_run, corpus, "--out", tmp_path / "v.parquet")
    rows = {Path(path).name for path in pq.read_table(tmp_path / "v.parquet").column("path").to_pylist()}
    named = {name for name in everything if f"{name}: " in done.err}
    assert rows | named == everything and used & rows == used - named


@pytest.mark.parametrize(
    ("name", "patch", "says"),
    [
        ("long.gif", (6, b"\x68\x42\x40\0"), "a picture size of 17000 x 64"),
        ("large.gif", (6, b"\x80\x3e\x80\x3e"), "a picture size of 16000 x 16000"),
        ("fast.mp4", (b"mdhd", 16, b"\x7f\xff\xff\xff"), "4.1943e\\+06 frames a second"),
    ],
)
def test_what_can_not_be_is_said_with_its_value(name: str, patch: Any, says: str, tmp_path: Path) -> None:
    kind = {"codec": "gif", "pix_fmt": "rgb8"} if name.endswith("gif") else {}
    data = bytearray(encode(tmp_path / name, 20, **kind).read_bytes())  # type: ignore[arg-type]
    at = patch[0] if isinstance(patch[0], int) else data.index(patch[0]) + patch[1]
    data[at : at + len(patch[-1])] = patch[-1]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VideoError, match=says) as raised:
        probe.probe(tmp_path / name)
    assert raised.value.reason in ("damaged", "not a video")


def test_slow_motion_and_a_slide_every_ten_minutes_are_no_damage_and_a_jump_is(tmp_path: Path) -> None:
    encode(tmp_path / "fast.mp4", 20, time_base=Fraction(1, 10_000))
    encode(tmp_path / "slow.mp4", 20, time_base=Fraction(60, 1))
    assert probe.probe(tmp_path / "fast.mp4").fps == pytest.approx(10_000)
    assert probe.probe(tmp_path / "slow.mp4").duration_s == pytest.approx(1200)
    encode(tmp_path / "lapse.mp4", 20, time_base=Fraction(600, 1))
    assert probe.probe(tmp_path / "lapse.mp4").duration_s == pytest.approx(12_000)
    encode(tmp_path / "slower.mkv", 5, time_base=Fraction(1, 25), pts=range(0, 5 * 2_250_000, 2_250_000))
    with pytest.raises(VideoError, match="5 frames that last 360000 s"):
        probe.probe(tmp_path / "slower.mkv")
    encode(tmp_path / "jump.mkv", 20, time_base=Fraction(1, 25), pts=[*range(10), *range(900_000, 900_010)])
    with pytest.raises(VideoError, match="20 frames that last 36000.4 s"):
        probe.probe(tmp_path / "jump.mkv")


# A decoder that does not come back.


@pytest.fixture
def six(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for n in range(6):
        encode(tmp_path / "videos" / f"{n}.mp4", 20 + n)
    return tmp_path / "videos"


def crash(by: int = signal.SIGSEGV) -> None:
    faulthandler.disable()  # else the test's runner tells all about it
    os.kill(os.getpid(), by)


def hang() -> None:
    time.sleep(600)


def deaf() -> None:
    """Neither Python's handlers nor its threads come to their turn while a decoder loops."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sum(range(10**12))


def gorge() -> None:
    np.ones(8 << 30, np.uint8)


ENDS: dict[str, tuple[Callable[[], None], str]] = {
    "crash": (crash, "reading it ended the process (SIGSEGV)"),
    "hang": (hang, "reading it did not end within 1 s"),
    "deaf": (deaf, "reading it did not end within 1 s"),
    "gorge": (gorge, "reading it takes more than 200 MB of memory"),
}


@pytest.fixture(params=ENDS)
def ending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One file makes whatever process opens it end, or never come back; the text is what is said of it."""
    act, says = ENDS[request.param]
    spoil(monkeypatch, act)
    yield says


def spoil(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    real, main = packet_index.build_frame_index, os.getpid()

    def index(path: str, *rest: Any) -> Any:
        if Path(path).name == BAD:
            assert os.getpid() != main, "read in the main process"
            act()
        return real(path, *rest)

    index.cache_clear = real.cache_clear  # type: ignore[attr-defined]
    monkeypatch.setattr(packet_index, "build_frame_index", index)


LIMITS = ("--file-limit-s", "1", "--file-memory-mb", "200")


def quarantined(folder: Path) -> list[list[str]]:
    rows = csv.reader((folder / "quarantine.csv").read_text().splitlines()[1:])
    return [[Path(path).name, *said] for path, *said in rows]


@pytest.mark.parametrize("workers", [1, 2])
def test_inspect_goes_on_without_the_file(ending: str, workers: int, six: Path) -> None:
    manifest = inspect(six, workers=workers, limits=Limits(1.0, 200))
    assert [Path(video.path).name for video in manifest.videos] == GOOD
    ((name, reason, detail),) = [(Path(b.path).name, b.reason, b.detail) for b in manifest.quarantine]
    assert (name, reason, detail) == (BAD, "damaged", ending)


def test_the_commands_go_on_without_the_file(ending: str, six: Path, tmp_path: Path) -> None:
    said = succeeds("inspect", six, "--out", tmp_path / "manifest", *LIMITS).out
    assert "5 videos" in said or len(Manifest.load(tmp_path / "manifest").videos) == 5
    assert quarantined(tmp_path / "manifest") == [[BAD, "damaged", ending]]
    done = succeeds("pack", six, tmp_path / "packed", "--no-gain", "--workers", 1, *LIMITS)
    assert quarantined(tmp_path / "packed") == [[BAD, "damaged", ending]]
    assert f"{BAD}: damaged {ending}" in done.err and "5 pieces of 5 videos" in done.out


def test_pack_goes_on_where_a_video_passes_the_inspection_and_coding_it_ends_the_process(
    six: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unreel.packing import jobs, pack

    real = jobs.encode_piece

    def make_piece(path: str, *rest: Any) -> Any:
        if Path(path).name == BAD:
            crash()
        return real(path, *rest)

    monkeypatch.setattr(jobs, "encode_piece", make_piece)
    done = pack.pack(six, tmp_path / "packed", workers=2)
    assert done.num_pieces == 5 and not (tmp_path / "packed" / ".packing").exists()
    assert quarantined(tmp_path / "packed") == [[BAD, "damaged", ENDS["crash"][1]]]


@pytest.mark.parametrize("act", ["crash", "hang", "gorge"])
@pytest.mark.parametrize("workers", [1, 2])
def test_embedding_and_evaluation_go_on_without_the_file(
    act: str, workers: int, six: Path, small_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that pass the inspection: every loader of single videos is the same one."""
    real, main, (ends, says) = clip_dataset.read_frames, os.getpid(), ENDS[act]

    def read(path: str, *rest: Any) -> np.ndarray:
        if Path(path).name == BAD:
            assert os.getpid() != main, "decoded in the main process"
            ends()
        return real(path, *rest)

    spec = load_encoder(small_run).spec
    instances = [unreel.types.Instance(str(six / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(6)]
    found = clip_dataset.ClipDataset(instances, spec.clip, (16, 24), num_clips=2)
    whole = list(loaders.build_sequential_loader(found, 0))
    monkeypatch.setattr(clip_dataset, "read_frames", read)
    samples = list(loaders.build_sequential_loader(found, workers, Limits(1.0, 200)))
    assert [sample.index for sample in samples] == list(range(6))
    for sample, wanted in zip(samples, whole, strict=True):
        if sample.index == 3:
            assert sample.frames is None and sample.failure == unreel.types.FileFailure(str(six / BAD), "damaged", says)
            assert sample.failure.exceeded_limits == (act != "crash")
        else:
            np.testing.assert_array_equal(np.asarray(sample.frames), np.asarray(wanted.frames))


def test_embed_names_the_file_that_crashes_its_decoder(
    six: Path, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, main = clip_dataset.read_frames, os.getpid()

    def read(path: str, *rest: Any) -> np.ndarray:
        if Path(path).name == BAD:
            assert os.getpid() != main, "decoded in the main process"
            crash()
        return real(path, *rest)

    monkeypatch.setattr(clip_dataset, "read_frames", read)
    done = succeeds("embed", small_run, six, "--out", tmp_path / "v.parquet")
    assert f"left out {six / BAD}: damaged: reading it ended the process (SIGSEGV)" in done.err
    assert "5 rows, 1 file left out" in done.out
    assert len(load_encoder(small_run).embed(six)) == 5, "from Python too"


# The pool.


def squared(n: int, actions: dict[int, Callable[[], None]]) -> int:
    actions.get(n, lambda: None)()
    return n * n


def answers(actions: dict[int, Callable[[], None]], workers: int, count: int = 12) -> list[tuple[int, Any]]:
    return list(map_jobs(squared, range(count), (actions,), workers, lambda _: Limits(1.0, 200)))


@pytest.mark.parametrize("workers", [1, 3])
def test_answers_come_in_order_whatever_happens(workers: int) -> None:
    acts = list(ENDS.values())
    found = answers({2 * k: act for k, (act, _) in enumerate(acts)}, workers)
    details = [answer.detail if isinstance(answer, WorkerFailure) else answer for _, answer in found]
    assert [n for n, _ in found] == list(range(12))
    assert details == [acts[n // 2][1] if n % 2 == 0 and n // 2 < len(acts) else n * n for n in range(12)]
    kinds = [answer.kind for _, answer in found if isinstance(answer, WorkerFailure)]
    assert kinds == [FailureKind.CRASH, FailureKind.TIMEOUT, FailureKind.TIMEOUT, FailureKind.MEMORY]


def test_a_process_that_is_killed_from_outside_is_tried_once_more(tmp_path: Path) -> None:
    def once() -> None:
        if not (tmp_path / "there").exists():
            (tmp_path / "there").touch()
            crash(signal.SIGKILL)

    assert answers({4: once}, 2) == [(n, n * n) for n in range(12)]
    always = answers({4: lambda: crash(signal.SIGKILL)}, 2)
    assert always[4] == (
        4,
        WorkerFailure(FailureKind.KILLED, "reading it ended the process twice (SIGKILL; out of memory?)"),
    )
    assert [answer for n, answer in always if n != 4] == [n * n for n in range(12) if n != 4]


def test_what_a_job_raises_is_raised_with_where_it_was(tmp_path: Path) -> None:
    def fails() -> None:
        raise InputError("no good")

    with pytest.raises(InputError, match="no good") as raised:
        answers({3: fails}, 2)
    assert "test_damaged_files.py" in raised.value.__notes__[0]


def test_nothing_is_an_answer() -> None:
    jobs = map_jobs(nothing, range(5), (), 2, lambda _: Limits())
    assert list(jobs) == [(n, None) for n in range(5)]


def nothing(_: int) -> None:
    pass


def test_no_process_is_left_over(tmp_path: Path) -> None:
    others = children()
    jobs = map_jobs(squared, range(1000), ({},), 2, lambda _: Limits())
    next(jobs)
    ours = children() - others
    jobs.close()  # type: ignore[attr-defined]
    assert len(ours) == 2 and not children() & ours


def children() -> set[int]:
    found = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(pid) for pid in found.read_text().split()} if found.exists() else set()


KILLED = """
import signal, sys, time, os
from pathlib import Path
from unreel.io.limits import Limits
from unreel.io.worker_pool import map_jobs, run_isolated
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background of a shell
def work(n):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(600)
list(map_jobs(work, range(4), (), 2, lambda _: Limits()))
"""


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(by: int, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stderr=subprocess.DEVNULL)
    with process:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
        process.send_signal(by)
        process.wait(30)
    wait_for(lambda: not any(Path("/proc", child.name).exists() for child in tmp_path.iterdir()))


def wait_for(what: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not what():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_use_limits_reaches_what_reads_inside_its_block() -> None:
    assert get_limits() == Limits()
    with use_limits(Limits(1.0, 200)):
        assert get_limits() == Limits(1.0, 200)
        failure = run_isolated(hang)
        assert isinstance(failure, WorkerFailure) and failure.detail == "reading it did not end within 1 s"
    assert get_limits() == Limits()


def test_the_commands_that_read_videos_take_limits(
    six: Path, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that takes longer than --file-limit-s is left out of embeddings, of a store, of an evaluation."""
    real = clip_dataset.read_frames

    def read(path: str, *rest: Any) -> np.ndarray:
        if Path(path).name == BAD:
            hang()
        return real(path, *rest)

    monkeypatch.setattr(clip_dataset, "read_frames", read)
    says = "did not end within 1 s"
    assert says in succeeds("embed", small_run, six, "--out", tmp_path / "v.parquet", *LIMITS).err
    succeeds("embed", small_run, six, "--out", tmp_path / "store", *LIMITS)
    assert says in (tmp_path / "store/left_out.csv").read_text()
    lists = {"train": range(4), "test": (4, 5)}
    for name, numbers in lists.items():
        rows = [f"{six / f'{n}.mp4'},{n % 2}\n" for n in numbers]
        (tmp_path / f"{name}.csv").write_text("path,label\n" + "".join(rows))
    sides = [option for name in lists for option in (f"--{name}", tmp_path / f"{name}.csv")]
    done = succeeds("evaluate", "knn", small_run, six, *sides, "--num-clips", 1, "--no-floors", *LIMITS)
    assert says in done.err


@pytest.mark.parametrize(("option", "value"), [("--file-limit-s", "0"), ("--file-memory-mb", "-1")])
def test_limits_that_can_not_be_are_refused(option: str, value: str, six: Path, tmp_path: Path) -> None:
    refused("inspect", six, "--out", tmp_path / "out", option, value, says=(option, value))


BESIDE_THREADS = """
import torch
from unreel.io.worker_pool import run_isolated
def work():
    return float((torch.ones(600, 600) @ torch.ones(600, 600)).sum())
if __name__ == "__main__":
    torch.set_num_threads(2)
    assert work() == run_isolated(work) == 600.0 ** 3
"""


@pytest.mark.timeout(120)
def test_a_process_begun_after_torch_had_threads_does_not_wait_for_them(tmp_path: Path) -> None:
    """They do not survive a fork: what wants them in the new process would wait forever."""
    script = tmp_path / "beside.py"
    script.write_text(BESIDE_THREADS)
    subprocess.run([sys.executable, str(script)], check=True, timeout=100, env={**os.environ, "OMP_NUM_THREADS": "2"})


class OddError(Exception):
    """Pickled without its arguments, it can't be made again."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def test_an_error_that_can_not_be_pickled_is_told_by_its_text() -> None:
    def fails() -> None:
        raise OddError("a.mp4", "odd")

    with pytest.raises(RuntimeError, match=r"OddError: a\.mp4: odd"):
        answers({3: fails}, 1)


# The limit of a run.


class Seen(Exception):
    """Ends a command at the place that was looked at."""


@pytest.mark.report
def test_the_limit_of_a_run_holds_in_inspection_loaders_monitors_and_report(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: dict[str, set[Limits]] = {name: set() for name in ("inspection", "gallery", "loaders")}

    def watch(name: str, module: ModuleType, function: str, find: Callable[..., Limits]) -> None:
        real = getattr(module, function)

        def watched(*args: Any) -> Any:
            limits[name].add(find(*args))
            return real(*args)

        monkeypatch.setattr(module, function, watched)

    for name, module in (("inspection", inspection), ("gallery", gallery)):
        watch(name, module, "map_jobs", lambda _work, jobs, _arguments, _workers, get: get(jobs[0]))
    watch("loaders", loaders, "_iterate_resilient", lambda _dataset, _workers, limits, _make: limits)
    with use_limits(Limits(5.0, 2000)):
        unreel.pretrain(motion_set / "train.txt", tmp_path / "run", quiet=True, steps=2, file_limit_s=77.0, **small)
    assert limits == {name: {Limits(77.0, 2000)} for name in limits}
    assert get_limits() == Limits()


def test_the_limit_of_a_run_holds_when_it_is_resumed(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise Seen(get_limits())

    module = importlib.import_module("unreel.verbs.training.resume")
    config = module.read_config(small_run)
    config["settings"]["file_limit_s"] = 77.0
    monkeypatch.setattr(module, "read_config", lambda _run: config)
    monkeypatch.setattr(module, "train_and_report", stop)
    with pytest.raises(Seen) as seen:
        unreel.resume(small_run)
    assert seen.value.args == (Limits(77.0),)


def test_the_limit_of_a_benchmark_holds_in_its_inspection(
    motion_set: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_work: object, jobs: list[Any], _arguments: object, _workers: int, get: Callable[..., Limits]) -> None:
        raise Seen(get(jobs[0]))

    monkeypatch.setattr(inspection, "map_jobs", stop)
    with pytest.raises(Seen) as seen:
        unreel.bench(motion_set / "train.txt", file_limit_s=77.0, **small)
    assert seen.value.args == (Limits(77.0),)
