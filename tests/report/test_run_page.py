"""The report: one safe file that opens offline, from a whole run or from scraps of one."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from evaluations import retrieve

from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.errors import DiskError, RunError
from unreel.evaluation.protocols.retrieval import RetrievalProtocol
from unreel.evaluation.run_neighbours import find_neighbours
from unreel.evaluation.verdict.decision import FloorComparison, Verdict
from unreel.evaluation.verdict.verdict_file import write_verdict
from unreel.io.limits import Limits, get_limits, use_limits
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.report import frame_strip, gallery
from unreel.report.frame_strip import NUM_FRAMES, crop_to_aspect, read_strip
from unreel.report.pages import run_page as report
from unreel.report.pages.run_page import write_report
from unreel.types import FileFailure, Instance
from unreel.verbs.training import report as report_verb
from unreel.video.decoding.writer import write_video
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

EVIL = "<script>alert(1)<&>.mp4"
MONITORS = "step,epoch,num_videos,same_video_r1,same_video_mrr,alignment,uniformity,effective_rank,collapsed\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine tiny videos of two classes, one of them with a name that is markup."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for n in range(9):
        kind = root / ("left" if n % 2 else "right")
        kind.mkdir(exist_ok=True)
        frames = np.repeat(rng.integers(0, 255, (1, 32, 40, 3), dtype=np.uint8), 12, axis=0)
        moved = np.stack([np.roll(f, t * (1 if n % 2 else -1), axis=1) for t, f in enumerate(frames)])
        write_video(kind / (EVIL if n == 4 else f"{n}.mp4"), moved, fps=12)
    return root


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderSpec("tiny", "iic", ClipSpec(8, lead_in=1), ViewSpec(size=32))).eval()


@pytest.fixture
def run(tmp_path: Path, folder: Path, encoder: Encoder) -> Path:
    """Everything that a finished run leaves."""
    run = tmp_path / "my <em>run"
    checkpoint = run / "checkpoints" / "step-00000020"
    checkpoint.mkdir(parents=True)
    save_encoder(encoder, checkpoint)
    names = {"last": checkpoint.name, "best": checkpoint.name, "best_step": 20}
    (run / "checkpoints" / "index.json").write_text(json.dumps(names))
    found = inspect(folder)
    bad = FileFailure(str(folder / "<img src=x onerror=alert(2)>.mp4"), "damaged", "said <i>nothing</i>")
    Manifest(found.root, found.videos, (bad,)).save(run)
    settings = {"backbone": "tiny", "num_frames": 8, "size": 32, "stride_frames": 1, "fps": 0.0, "segment_s": 10.0}
    config = {"method": "iic", "options": {"residual": {"sign": "<u>forward"}}, "settings": settings}
    (run / "config.json").write_text(json.dumps(config))
    lines = [f"{s},{s / 5},0.01,{9 - s / 10},1.5,100,0.1" for s in range(1, 41)]
    (run / "metrics.csv").write_text("\n".join(["step,epoch,lr,loss,grad_norm,clips_per_s,data_wait", *lines]) + "\n")
    (run / "monitors.csv").write_text(
        MONITORS + "10,2.0,9,40.0,0.5,0.1,-1.0,5.0,False\n20,4.0,9,60.0,0.7,0.2,-2.0,6.0,False\n"
    )
    return run


def evaluated(run: Path, folder: Path, encoder: Encoder) -> None:
    files = sorted(folder.rglob("*.mp4"))
    all_ = [Instance(str(f), n, 0.0, float("inf"), f.parent.name) for n, f in enumerate(files)]
    result = retrieve(encoder, all_[::2], all_[1::2], RetrievalProtocol(num_clips=2, ks=(1, 3)))
    (run / "evaluations").mkdir()
    (run / "evaluations" / "retrieval.json").write_text(json.dumps(result.to_json()))


class Tags(HTMLParser):
    """What a browser would act on: tags, attributes, styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def is_offline(html: str) -> bool:
    """Nothing to fetch and nothing to run: every reference is a data URI or a place on the page."""
    page = Tags(html)
    links = [v for n, v in page.attributes if n.split(":")[-1] in ("src", "srcset", "href", "action", "data", "poster")]
    assert links and all(v.startswith(("data:", "#")) for v in links), {v[:40] for v in links}
    assert not page.tags & {"script", "iframe", "object", "embed", "base", "i", "u", "em"}
    assert not any(n.startswith("on") for n, _ in page.attributes)
    return not re.search(r"https?://|@import|url\((?!#|data:)", html)


def test_a_whole_run_with_an_evaluation(run: Path, folder: Path, encoder: Encoder) -> None:
    evaluated(run, folder, encoder)
    path = write_report(run)
    assert path == run / "report.html" and not list(run.glob(".report*"))
    html = path.read_text(encoding="utf-8")
    assert is_offline(html)
    assert "&lt;script&gt;alert(1)" in html and "my &lt;em&gt;run" in html
    assert "&lt;img src=x" in html and "said &lt;i&gt;nothing" in html and "&lt;u&gt;forward" in html
    for said in ("untrained encoder", "layer pooled", "4 queries against 5 gallery", "step 20", "Same-video R@1", "✗"):
        assert said in html
    assert html.count("<svg") == 1 + 5 + 4
    assert html.count('class="query"') == 4 and html.count('class="strip"') == 4 + 4 * 5
    assert html.count("data:image/jpeg") == NUM_FRAMES * (4 + 4 * 5)
    assert "collapsed" not in html


def test_without_an_evaluation_the_run_asks_itself(run: Path, folder: Path) -> None:
    asking = sorted(folder.rglob("*.mp4"))[:3]
    (run / "held_out.txt").write_text("".join(f"{p}\n" for p in asking))
    html = write_report(run).read_text(encoding="utf-8")
    assert is_offline(html) and html.count('class="query"') == 3 and "3 held-out videos" in html
    shown = gallery.build_gallery(run, Manifest.load(run), [], 10.0)
    for query, hits in shown.rows:
        assert len(hits) == 5 and query.path not in [h.path for h in hits]
        assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
        assert all(h.is_correct is (h.label == query.label) for h in hits)


def test_neighbours_come_from_other_files() -> None:
    """Two segments of one file are nearer than anything else, and yet not neighbours."""
    who = [Instance("a", 0, 0, 10), Instance("a", 0, 10, 20), Instance("b", 1, 0, 10)]
    rows = find_neighbours(who, np.array([[1, 0], [1, 0], [0, 1]], np.float32), 2)
    assert [[h["path"] for h in row["hits"]] for row in rows] == [["b"], ["b"]]


@pytest.mark.parametrize("missing", ["config.json", "manifest.parquet", "metrics.csv", "monitors.csv", "checkpoints"])
def test_without_a_part(run: Path, missing: str) -> None:
    part = run / missing
    part.rename(run.parent / "elsewhere")
    html = write_report(run).read_text(encoding="utf-8")
    assert is_offline(html) and "</html>" in html
    if missing == "checkpoints":
        assert "There is no gallery" in html


def test_scraps_are_enough(tmp_path: Path) -> None:
    assert "nothing to show yet" in write_report(tmp_path).read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text("{ half")
    (tmp_path / "metrics.csv").write_text("step,loss\n1,nan\n2,\nx,3\n4,5.0\n")
    (tmp_path / "monitors.csv").write_text(MONITORS)
    (tmp_path / "manifest.parquet").write_text("no table")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert "config.json can&#39;t be read" in html and "manifest is damaged" in html and html.count("<svg") == 1


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json"])
def test_a_checkpoint_that_is_cut_short_is_said(run: Path, name: str) -> None:
    whole = write_report(run).read_text(encoding="utf-8")
    assert "encoder" in whole and name + " can" not in whole
    for file in (run / "checkpoints").glob(f"*/{name}"):
        file.write_bytes(file.read_bytes()[:40])
    html = write_report(run).read_text(encoding="utf-8")
    assert "can&#39;t be read" in html and name in html


def test_a_collapse_is_said_first(run: Path) -> None:
    with (run / "monitors.csv").open("a") as file:
        file.write("30,6.0,9,1.0,0.1,0.0,0.0,1.1,True\n")
    html = write_report(run).read_text(encoding="utf-8")
    assert html.index("The embeddings collapsed") < html.index("Nearest neighbours")
    assert "From step 30 on" in html and "don’t use this encoder" in html
    with (run / "monitors.csv").open("a") as file:
        file.write("40,8.0,9,50.0,0.5,0.1,-1.0,5.0,False\n")
    assert "but it recovered" in write_report(run).read_text(encoding="utf-8")


def test_videos_that_are_gone_leave_a_gap(run: Path, folder: Path, encoder: Encoder) -> None:
    evaluated(run, folder, encoder)
    where = run / "evaluations" / "retrieval.json"
    where.write_text(where.read_text().replace(".mp4", ".gone.mp4"))
    assert "no picture" in write_report(run).read_text(encoding="utf-8")


def test_a_finished_run_has_a_report(small_run: Path) -> None:
    html = (small_run / "report.html").read_text(encoding="utf-8")
    assert is_offline(html) and "<svg" in html and "data:image/jpeg" in html


def test_strips_are_spread_over_the_asked_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.repeat(np.arange(0, 240, 4, dtype=np.uint8), 32 * 64 * 3).reshape(60, 32, 64, 3)
    write_video(tmp_path / "ramp.mp4", grey, fps=10)
    taken: list[float] = []
    monkeypatch.setattr(frame_strip, "encode_jpeg", lambda frame: str(taken.append(float(frame.mean()))))
    read_strip(str(tmp_path / "ramp.mp4"), 3.0, 5.0)
    assert len(taken) == NUM_FRAMES and taken == sorted(taken)
    assert taken[0] >= 4 * 30 and taken[-1] < 4 * 50
    assert read_strip(str(tmp_path / "none.mp4")) == []


def test_tall_and_wide_frames_keep_their_middle() -> None:
    assert crop_to_aspect(np.zeros((200, 100, 3), np.uint8)).shape == (100, 100, 3)
    assert crop_to_aspect(np.zeros((100, 300, 3), np.uint8)).shape == (100, 180, 3)


def test_no_run_and_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="no such run"):
        write_report(tmp_path / "none")
    (tmp_path / "report.html").write_text("old")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.Path, "write_bytes", full)
    with pytest.raises(DiskError, match="No space left"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_the_report_command_reads_files_under_the_limits_of_the_run(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((small_run / "config.json").read_text())
    config["settings"]["file_limit_s"] = 7.0
    (tmp_path / "config.json").write_text(json.dumps(config))
    seen: list[float] = []
    monkeypatch.setattr(report, "write_report", lambda run: seen.append(get_limits().file_limit_s) or run)
    with use_limits(Limits(file_memory_mb=123)):
        assert report_verb.report(tmp_path) == tmp_path
        assert report_verb.read_run_limits(config) == Limits(7.0, 123)
        assert report_verb.read_run_limits({}) == Limits(file_memory_mb=123), "a run of another version"
    assert seen == [7.0]


def test_the_verdict_stands_at_the_top_and_same_video_retrieval_does_not(run: Path) -> None:
    loss = FloorComparison("telling order", "frame difference", 60.0, 70.0, -15.0, -5.0)
    verdict = Verdict((loss,), "9 videos", {"encoder": 41.0, "colour histogram": 99.0})
    write_verdict(run, verdict, "step-00000020")
    html = write_report(run).read_text()
    place = [
        html.index(text) for text in ("Not better than subtracting frames.", 'class="facts"', "Nearest neighbours")
    ]
    assert place == sorted(place)
    assert "Same-video R@1 is 41.0 %, and 99.0 % for a colour histogram" in html
    facts = html[place[1] : html.index("</dl>", place[1])]
    assert "same-video" not in facts and "training steps" in facts
    assert "Ranks without scores" in html and "The figure is the cosine" not in html
    write_verdict(run, verdict, "step-00000010")
    html = write_report(run).read_text()
    assert "subtracting frames" not in html and "The figure is the cosine" in html, "it is about another checkpoint"
