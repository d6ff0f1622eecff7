"""`unreel explore`: what each call does, leaves alone and says; stopped, killed, beside another, on odd folders."""

import http.client
import json
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import Command, call, refused, skip_report, succeeds
from image_models import save_image_model
from runs import assert_equal_runs, stop_after
from videos import copy_six

import unreel
from unreel.cli import browser
from unreel.cli.exploration import page
from unreel.cli.exploration.explore import split_options
from unreel.cli.exploration.training_options import build_training_config
from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.verbs.exploration import inspection_log, stages
from unreel.verbs.exploration.exploration_folder import ExplorationFolder, default_folder
from unreel.verbs.exploration.narration import Narration

SETTINGS = "--backbone tiny --size 32 --num-frames 8 --batch-size 4 --workers 0 --threads 1 --device cpu".split()
TRAINING = ["--", "--steps", 3, "--log-steps", 1, "--held-out", 0, *SETTINGS]


@pytest.fixture
def videos(motion_set: Path, tmp_path: Path) -> Path:
    """Six videos, and a file that is none."""
    folder = copy_six(motion_set, tmp_path / "videos")
    (folder / "notes.mp4").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def explored(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exploration of the eight videos of a list. Who writes into it takes a copy."""
    out = tmp_path_factory.mktemp("explored") / "out"
    succeeds("explore", motion_set / "test.txt", "--out", out, "--no-open", *TRAINING)
    return out


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were inspected."""
    names: list[str] = []
    real = inspection_log.inspect_files

    def inspect_files(entries: Any) -> Iterator[Any]:
        for entry, result in zip(entries, real(entries), strict=True):
            names.append(entry.path.name)
            yield result

    monkeypatch.setattr(inspection_log, "inspect_files", inspect_files)
    return names


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_first_call_makes_everything_and_the_next_one_nothing(videos: Path, inspected: list[str]) -> None:
    out = videos.parent / "out"
    shown = succeeds("explore", videos, "--out", out, "--no-open", *TRAINING).out
    for part in (
        "7 files",
        "6 videos can be used",
        "1 of 7 files can't be used, see",
        "1 file can't be used: 1 not a video",
        "notes.mp4",
        "3 steps",
    ):
        assert part in shown, part
    for name in ("manifest.parquet", "quarantine.csv", "run", "run/report.html", "index"):
        assert str(out / name) in shown, name
    assert f"unreel serve {out / 'index'}" in shown
    assert len(unreel.open_index(out / "index").rows.paths) == 6
    assert len(Manifest.load(out).videos) == len(Manifest.load(out / "run").videos) == 6

    before = {name: read_files(out / name) for name in ("run", "index")}
    inspected.clear()
    shown = succeeds("explore", videos, "--out", out, "--no-open").out
    assert not inspected and "none of them new" in shown and "done before" in shown
    assert "--retrain" not in shown
    assert all({**read_files(out / name), "lock": b""} == {**files, "lock": b""} for name, files in before.items())


@pytest.mark.parametrize(
    ("init", "far_clip", "advice"),
    [
        ("base", "60.0", "as base, the encoder did better in the tests without labels (mean 77.0 %, now 70.0 %)"),
        ("base", "99.0", ""),
        ("base", "nan", ""),
        ("none", "60.0", ""),
    ],
)
def test_a_run_that_made_base_worse_names_the_better_one(
    init: str, far_clip: str, advice: str, explored: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(explored / "run", tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    config["settings"]["init"] = init
    (run / "config.json").write_text(json.dumps(config))
    last = config["settings"]["steps"]
    (run / "monitors.csv").write_text(f"step,moment,order,far_clip\n0,80,81,70\n{last},75,75,{far_clip}\n")
    told = stages.advise_start(run, Path("my videos"))
    assert bool(told) == bool(advice) and advice in told
    assert not told or told.endswith("unreel index base 'my videos' --out INDEX")


def test_an_index_with_looks_stays_one(videos: Path, tmp_path: Path) -> None:
    """The next call need not name the image model, and another one is refused with what to do."""
    out, model = videos.parent / "out", save_image_model(tmp_path / "model")
    shown = succeeds("explore", videos, "--out", out, "--no-open", "--appearance", model, *TRAINING).out
    assert f"with the looks that {model} sees" in shown
    shutil.copy(videos / "loom_in_0000.mp4", videos / "again.mp4")
    succeeds("explore", videos, "--out", out, "--no-open")
    opened = unreel.open_index(out / "index")
    assert opened.views[-1] == "appearance" and len(opened.rows.paths) == 7
    other = save_image_model(tmp_path / "other", seed=1)
    for appearance in ("", other):
        done = call("explore", videos, "--out", out, "--no-open", "--appearance", appearance)
        assert done.code == 2 and "delete that folder, with its concepts" in done.err, done
    shown = succeeds("explore", videos, "--out", out, "--no-open", "--retrain", *TRAINING).out
    assert str(out / "index-2") in shown and unreel.open_index(out / "index-2").views[-1] == "appearance"


def test_new_files_are_taken_in_and_a_new_encoder_is_trained_on_request(
    videos: Path, motion_set: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = videos.parent / "out"
    succeeds("explore", videos, "--out", out, "--no-open", *TRAINING)
    unreel.concept(out / "index", "looming", yes=unreel.MarkedMoments(rows=(0,)))
    inspected.clear()
    shutil.copy(motion_set / "loom_in" / "loom_in_0001.mp4", videos / "new.mp4")
    (videos / "notes.mp4").unlink()
    shown = succeeds("explore", videos, "--out", out, "--no-open", "--", "--steps", 5).out
    assert inspected == ["new.mp4"] and "7 videos can be used" in shown and "1 of them new" in shown
    assert "1 new video; with --retrain" in shown and "other options; with --retrain" in shown
    assert str(videos / "new.mp4") in unreel.open_index(out / "index").rows.paths

    before = {name: read_files(out / name) for name in ("run", "index")}
    arguments = ("explore", videos, "--out", out, "--no-open", "--retrain", *TRAINING)
    with monkeypatch.context() as patched:
        patched.setattr(stages, "update_index", stop)
        assert call(*arguments).code == 130
    shown = succeeds(*arguments).out  # it goes on, and does not train a third encoder
    assert not (out / "run-3").exists() and "done before" in shown
    assert len(Manifest.load(out / "run-2").videos) == 7 and "the concept 'looming' was learned again" in shown
    index = unreel.open_index(out / "index-2")
    assert len(index.rows.paths) == 7 and unreel.concepts(index) == ["looming"]
    assert all(read_files(out / name) == files for name, files in before.items())
    shown = succeeds("explore", videos, "--out", out, "--no-open").out
    assert str(out / "run-2") in shown and "learned again" not in shown


def test_inspection_goes_on_where_it_stopped(
    videos: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, arguments = videos.parent / "out", ("explore", videos, "--out", videos.parent / "out", "--no-open")
    real = inspection_log.inspect_files

    def stopped(entries: Any) -> Iterator[Any]:
        for number, result in enumerate(real(entries)):
            if number == 3:
                raise KeyboardInterrupt
            yield result

    with monkeypatch.context() as patched:
        patched.setattr(inspection_log, "inspect_files", stopped)
        done = call(*arguments, *TRAINING)
    assert done.code == 130 and f"Go on with: unreel explore {videos} --out {out}" in done.err
    first = inspected[:3]
    with (out / "inspected.jsonl").open("a") as file:
        file.write('{"path": "half a li')  # of a process that was killed
    inspected.clear()
    monkeypatch.setattr(stages, "update_index", stop)
    done = call(*arguments, *TRAINING)
    assert done.code == 130 and "unreel explore" in done.err and (out / "run" / "config.json").exists()
    assert sorted(first + inspected) == sorted(path.name for path in videos.iterdir())
    assert not (out / "index").exists()
    monkeypatch.undo()
    assert "done before" in succeeds(*arguments).out
    assert len(unreel.open_index(out / "index").rows.paths) == 6


def test_training_goes_on_where_it_stopped(
    motion_set: Path, explored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("explore", motion_set / "test.txt", "--out", tmp_path / "out", "--no-open")
    with monkeypatch.context() as patched:
        stop_after(patched, 1, save=True)
        done = call(*arguments, *TRAINING)
    assert done.code == 130 and "what is done is kept. Go on with: unreel explore" in done.err
    shown = succeeds(*arguments, "--", "--steps", 7).out
    assert "go on with" in shown and "with the options it was begun with" in shown
    assert_equal_runs(explored / "run", tmp_path / "out" / "run")


def test_a_second_call_beside_is_refused_and_a_stopped_one_can_be_replaced(motion_set: Path, tmp_path: Path) -> None:
    source, out = motion_set / "test.txt", tmp_path / "out"
    arguments = ("explore", source, "--out", out, "--no-open")
    with Command(*arguments, "--", "--steps", 100_000, "--log-steps", 1, *SETTINGS, before=skip_report) as first:
        while not first.stderr.readline().startswith("step 2/"):
            assert first.poll() is None
        refused(*arguments, says=(str(out), "another unreel explores in it", f"process {first.pid}"))
        first.send_signal(signal.SIGTERM)
        said = first.communicate()[1]
    assert first.returncode == 130 and f"Go on with: unreel explore {source} --out {out} --no-open -- " in said
    succeeds(*arguments, "--retrain", *TRAINING)  # with other options: a new run, and the old one stays
    assert (out / "run" / "config.json").exists() and (out / "run-2" / "config.json").exists()
    assert unreel.open_index(out / "index-2").folder == out / "index-2"


def test_the_page_is_served_until_ctrl_c(motion_set: Path, explored: Path, tmp_path: Path) -> None:
    out = shutil.copytree(explored, tmp_path / "out")
    with Command("explore", motion_set / "test.txt", "--out", out, "--port", 0) as served:
        line = ""
        while "page: http" not in line:
            line = served.stdout.readline()
            assert line, served.stderr.read()
        connection = http.client.HTTPConnection(line.split("//")[1].strip().rstrip("/"), timeout=60)
        connection.request("GET", "/api/index")
        assert json.loads(connection.getresponse().read())["num_videos"] == 8
        connection.close()
        succeeds("explore", motion_set / "test.txt", "--out", out, "--no-open")  # the page does not lock the folder
        served.send_signal(signal.SIGINT)
        said = served.communicate()[1]
    assert served.returncode == 130 and f"the page is closed; open it again with: unreel serve {out / 'index'}" in said


def test_folders_that_can_not_be_explored(motion_set: Path, explored: Path, tmp_path: Path) -> None:
    one, out = tmp_path / "one", tmp_path / "out"
    one.mkdir()
    arguments = ("explore", one, "--out", out, "--no-open")
    refused(*arguments, says=("one", "no video in it"))
    assert not out.exists()
    refused("explore", tmp_path / "gone", "--out", out, "--no-open", says=("gone", "no such folder"))
    (one / "notes.mp4").write_text("not a video")
    refused(*arguments, says=("none of 1 files can be used (1 not a video",))
    shutil.copy(motion_set / "loom_in" / "loom_in_0000.mp4", one / "a.mp4")
    refused(*arguments, says=("one video of 0.96 s can be used", "it needs two", "unreel index RUN"))
    shutil.copy(one / "a.mp4", one / "b.mp4")
    refused(*arguments, says=("2 files can be used, all with the same content", "it needs two"))
    refused("explore", one, "--out", explored, says=("belongs to", "--out"))
    refused("explore", one, "--out", one, says=("holds other files (a.mp4)", "--out"))
    refused("explore", one, "--out", one / "a.mp4", says=("is a file", "--out"))


def test_options_that_can_not_be_used_are_refused_before_anything_is_made(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("explore", motion_set, "--out", tmp_path / "out")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused(*arguments, "--port", taken.getsockname()[1], says=("can't listen", "--port"))
    for minutes in ("0", "-1", "nan", "inf"):
        refused(*arguments, "--no-open", "--minutes", minutes, says=("minutes must be above 0",))
    refused(*arguments, "--no-open", "--minutes", 3, *TRAINING, says=("--minutes and --steps both",))
    refused(*arguments, "--no-open", "--", "--devices", 2, says=("one process",))
    refused(*arguments, "--no-open", "--", "--method", "nothing", says=("nothing",))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    refused(*arguments, "--no-open", says=("one process",))
    assert not (tmp_path / "out").exists()


def test_options_after_two_dashes_are_those_of_pretrain() -> None:
    own, training = split_options(["videos", "--minutes", "3", "--", "--method", "cvrl", "--batch-size", "8"])
    assert own == ["videos", "--minutes", "3"]
    config = build_training_config(training, minutes=3)
    assert (config.method, config.settings.batch_size, config.settings.minutes) == ("cvrl", 8, 3)
    with pytest.raises(InputError, match="before and after the two dashes"):
        build_training_config(["--minutes=4"], minutes=3)


def test_the_default_folder_has_the_name_of_the_source(motion_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(motion_set / "loom_in")
    assert default_folder(Path()) == Path("loom_in.unreel") == default_folder(Path("../loom_in/"))
    assert default_folder(Path("../train.txt")) == Path("train.unreel")
    assert default_folder(Path("s3://bucket/corpus")) == Path("corpus.unreel")


def test_the_default_port_gives_way_when_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(page, "DEFAULT_PORT", taken.getsockname()[1])
        assert page.choose_port(None) == 0 and page.choose_port(7) == 7
    assert page.choose_port(None) == page.DEFAULT_PORT


@pytest.mark.parametrize("has_screen", [True, False])
def test_a_browser_is_opened_where_there_is_a_screen(has_screen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser.sys, "platform", "linux")
    monkeypatch.setattr(browser.webbrowser, "open", opened.append)
    monkeypatch.setattr(browser.threading.Thread, "start", lambda thread: thread.run())
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0") if has_screen else monkeypatch.delenv("DISPLAY", raising=False)
    browser.open_browser("http://here")
    assert opened == ["http://here"] * has_screen


def test_only_an_index_that_was_there_has_new_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three videos one is a double, which is not embedded; in a first index all of them are new."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    folder, said = ExplorationFolder(tmp_path, "videos", trained=["run"]), list[str]()
    store = SimpleNamespace(num_rows=9, num_videos=3, num_embedded=2, left_out=[])
    monkeypatch.setattr(stages, "update_index", lambda *_: SimpleNamespace(store=store))
    request: Any = SimpleNamespace(allow_import=False, real_source=Path("videos"), appearance="")
    manifest: Any = SimpleNamespace(videos=["a", "b", "c"], quarantine=(), root="")
    for _ in range(2):
        stages.index_videos(folder, request, manifest, Narration(said.append))
    assert [line.strip() for line in said[1::2]] == ["9 moments of 3 videos", "9 moments of 3 videos, 2 of them new"]


def test_a_long_stage_says_once_how_long_the_rest_takes() -> None:
    said: list[str] = []
    seconds = iter(range(0, 1000, 4))
    narration = Narration(said.append, clock=lambda: float(next(seconds)))
    with narration.measure("inspecting") as advance:
        for done in range(1, 5):
            advance(done * 1000, 10_000)
    assert [" ".join(line.split()) for line in said] == ["inspecting: 2,000 of 10,000 done, about 32 s left"]
