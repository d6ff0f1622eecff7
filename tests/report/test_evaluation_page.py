"""The page of an evaluation: every figure, its protocol, an answer that hides no loss; one safe file."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import linear, motion, retrieval, save, summary

from unreel.errors import DiskError, RunError
from unreel.evaluation.result import Result
from unreel.report import html_writer
from unreel.report.baseline_comparison import compare_to_baselines, decide_verdict, draw_conclusion
from unreel.report.confusion_matrix import MAX_LABELLED_CLASSES, build_confusion_matrix
from unreel.report.main_figures import Figure, get_figure
from unreel.report.pages.evaluation_page import write_evaluation_page
from unreel.video.decoding.writer import write_video

VIEWS = ["rgb", "residual", "joint"]


class Page(HTMLParser):
    """Tags, attributes and text as a browser sees them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def made(folder: Path, data: dict[str, Any]) -> str:
    return write_evaluation_page(save(folder, data)).read_text(encoding="utf-8")


def is_safe(html: str) -> bool:
    """Nothing to fetch and nothing to run."""
    page = Page(html)
    links = [v for n, v in page.attributes if n.split(":")[-1] in ("src", "srcset", "href", "action", "data", "poster")]
    assert links and all(v.startswith(("data:", "#")) for v in links), links
    assert not {"script", "iframe", "object", "embed", "base", "i", "img"} & set(page.tags)
    assert not any(n.startswith("on") for n, _ in page.attributes)
    return not re.search(r"https?://|@import|url\((?!#|data:)", html)


def figures_of(data: dict[str, Any]) -> set[str]:
    results = [Result.from_json(r) for r in data["results"].values()]
    values = {v for r in results for row in r.rows.values() for v in row.values()}
    ends = {end for r in results for row in r.intervals.values() for pair in row.values() for end in pair}
    return {f"{v:.1f}" for v in values | ends}


def test_every_figure_interval_and_protocol_is_there(tmp_path: Path) -> None:
    html = made(tmp_path, summary())
    text = Page(html).text
    assert is_safe(html)
    assert not [f for f in figures_of(summary()) if f not in text]
    for said in ("Protocol dualvar: 4 clips.", "One linear layer.", "centring", "where it moves", "9ae20f8a6b7b84f3",
                 "torch", "2.13.0", "230.8 s", "231.0 s", "tiny network, method iic", "Frozen to one frame",
                 "unreel evaluate all my-run DATA --out EVAL --num-clips 4", "224 training videos"):  # fmt: skip
        assert said in text, said
    assert html.count("<svg") == 1  # the curve of few labels
    assert "± 9.8" in text and "99 %" not in text and "100 %" in text


def test_order_of_the_page(tmp_path: Path) -> None:
    seen = "12 of 96 test videos were in pre-training"
    html = made(tmp_path, summary(contamination=[seen]))
    places = [
        html.index(s) for s in ("<h1>", seen, "Motion reliance", "Every table", "Does it see motion", "How to repeat")
    ]
    assert places == sorted(places) and html.count(seen) == 1


@pytest.mark.parametrize(
    ("own", "said"), [((70.0, 60, 80), "above"), ((50.0, 40, 60), "open"), ((30.0, 20, 39), "below"), ((99.0,), "open")]
)
def test_told_apart_only_without_overlap(own: tuple[float, ...], said: str) -> None:
    assert decide_verdict(Figure(*own), Figure(45.0, 40.0, 55.0)) == said
    assert decide_verdict(Figure(70.0, 60, 80), Figure(60.0, None, None)) == "open"
    assert decide_verdict(Figure(70.0, 60, 80), Figure(59.9, None, None)) == "above"


def test_sentences_for_above_not_told_apart_and_below(tmp_path: Path) -> None:
    text = Page(made(tmp_path, summary())).text
    start = "Retrieval (IIC protocol), R@1, joint: 61.5 % (52.2 to 70.8)"
    assert f"{start} is above the best floor, frame difference: 32.1 % (24.2 to 41.3)." in text
    assert "top-1, k=5, joint: 40.9 % (31.3 to 50.1) is higher than the best floor, frame difference: 34.6 %" in text
    assert "but not significantly: their 95 % intervals overlap" in text
    assert "47.2 % (40.4 to 55.5) is below the best floor, frame difference: 71.9 % (66.6 to 77.7)" in text
    assert "Not everywhere: a floor does better in some tables" in text
    assert (
        "above the best floor in 2 of 4, below the best floor in 1 of 4, not significantly different from the best "
        "floor in 1" in text
    )


def of(*joints: tuple[float, float, float]) -> list[Any]:
    return [s for joint in joints for s in compare_to_baselines(retrieval(joint=joint), VIEWS)]


def test_the_answer_never_outvotes_a_loss() -> None:
    above, open_, below = (70.0, 60.0, 80.0), (40.0, 30.0, 50.0), (10.0, 5.0, 15.0)
    expected = {"yes": of(above, above), "part": of(above, open_), "no": of(below, open_), "open": of(open_, open_)}
    for level, found in expected.items():
        assert draw_conclusion(found).level == level
    mixed = draw_conclusion(of(above, above, above, below))
    assert mixed.level == "part" and "a floor does better" in mixed.headline
    assert draw_conclusion([]).level == "open"


def test_a_frozen_model_that_is_better_is_said() -> None:
    result = retrieval()
    result.rows["clip-vit"] = {"R@1": 88.0}
    result.intervals["clip-vit"] = {"R@1": (80.0, 95.0)}
    found = compare_to_baselines(result, VIEWS)
    assert [s.is_trivial for s in found] == [True, False] and "clip-vit, a frozen model from elsewhere" in found[
        1
    ].sentence
    assert (
        draw_conclusion(found).level == "yes"
        and "A frozen model from elsewhere does better in 1" in draw_conclusion(found).explanation
    )


def test_one_view_is_the_main_row_and_the_wider_interval_counts() -> None:
    result = retrieval()
    for row in ("joint", "residual"):
        del result.rows[row]
    assert compare_to_baselines(result, ["rgb", "joint"])[0].row == "rgb"
    result.intervals["rgb"] = {"R@1": (50.0, 60.0)}
    result.extras["intervals_over_groups"] = {"rgb": {"R@1": [30.0, 75.0]}}
    assert get_figure(result, "rgb", "R@1") == Figure(56.3, 30.0, 75.0)


@pytest.mark.parametrize("missing", ["retrieval", "knn", "linear", "few-labels", "motion"])
def test_without_a_part(tmp_path: Path, missing: str) -> None:
    data = summary()
    del data["results"][missing]
    html = made(tmp_path, data)
    assert is_safe(html) and "</html>" in html and ("Does it see motion" in html) == (missing != "motion")


def test_without_extras_floors_and_times(tmp_path: Path) -> None:
    data = summary(seconds={}, versions={})
    for result in data["results"].values():
        result.update(extras={}, floors={}, intervals={}, warnings=[])
    text = Page(made(tmp_path, data)).text
    assert "the table has no interval for it" in text and "Not shown" in text and "Motion reliance" not in text


def test_an_unknown_kind_is_a_plain_table(tmp_path: Path) -> None:
    new = Result("juggling", "Juggling, percent", {"joint": {"balls": 3.7}}, "as many as fit", {})
    text = Page(made(tmp_path, summary(results={"juggling": new.to_json()}))).text
    assert "Juggling, percent" in text and "3.7" in text and "As many as fit." in text and "Not known" in text


def test_motion_that_is_not_shown_is_no_figure(tmp_path: Path) -> None:
    none = made(tmp_path / "a", summary(results={"motion": motion(None).to_json()}))
    assert "not defined: not above chance" in none
    wide = made(tmp_path / "b", summary(results={"motion": motion((75.0, -10.0, 200.0)).to_json()}))
    assert ">not shown<" in wide and "the interval contains 0 (-10 to 200)" in wide and ">75 %<" not in wide


def test_markup_and_odd_names_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    where = {"start_s": 0.0, "end_s": None, "label": evil}
    asked = [{**where, "path": f"/v/{evil}\udc80.mp4", "hits": [{**where, "path": "/w/\udcff.mp4", "score": 0.5}]}]
    result = retrieval()
    result.extras["neighbours"] = asked
    result.rows[evil] = {"R@1": 1.0}
    result.protocol["left_out"] = [{"list": "test", "path": f"{evil}\udc80", "reason": "damaged"}]
    data = summary(run=evil, checkpoint=evil, contamination=[evil], data={"name": evil, "hash": evil, "notes": [evil]})
    data["results"] |= {"retrieval": result.to_json(), "linear": linear().to_json()}
    html = made(tmp_path, data)
    assert is_safe(html) and "<script" not in html and "&lt;script&gt;alert(1)" in html
    assert "widen the &lt;i&gt;grid" in html and "run &amp; &lt;b&gt;hide" in html
    assert html.count('class="gone"') == 2 and "no picture" in html


def test_the_gallery_shows_frames(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (12, 32, 40, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames, fps=12)
    there = {"path": str(tmp_path / "a.mp4"), "start_s": 0.0, "end_s": None, "label": "jump"}
    result = retrieval()
    result.extras["neighbours"] = [{**there, "hits": [{**there, "score": 0.75}]}]
    html = made(tmp_path / "e", summary(results={"retrieval": result.to_json()}))
    assert html.count("data:image/jpeg") == 12 and "0.750" in html and "1 of 96 test videos" in html


def test_cells_of_the_confusion_matrix(tmp_path: Path) -> None:
    html = made(tmp_path, summary())
    assert 'title="jump predicted as run &amp; &lt;b&gt;hide: 3 of 12 (25 %)"' in html
    assert re.search(r'style="--share: 75%">9</td>', html) and re.search(r'style="--share: 8%">1</td>', html)
    view = build_confusion_matrix({"classes": ["a", "b", "c"], "counts": [[5, 4, 1], [0, 0, 0], [3, 6, 1]]})
    assert [p.description.split(":")[0] for p in view.pairs] == [
        "c predicted as b",
        "a predicted as b",
        "c predicted as a",
        "a predicted as c",
    ]
    assert view.rows[1][1].share == 0 and sum(c.share for c in view.rows[0]) == pytest.approx(1)
    with pytest.raises(ValueError, match="as large"):
        build_confusion_matrix({"classes": ["a", "b"], "counts": [[1, 2]]})


def test_a_hundred_classes_are_a_picture_and_a_list(tmp_path: Path) -> None:
    size = 100
    counts = 9 * np.eye(size, dtype=int)
    counts[3, 7] = 5
    result = linear()
    result.extras["confusion"] = {"classes": [f"class {n}" for n in range(size)], "counts": counts.tolist()}
    assert size > MAX_LABELLED_CLASSES
    html = made(tmp_path, summary(results={"linear": result.to_json()}))
    assert html.count("<title>class") == size + 1 and html.count("class 3 predicted as class 7: 5 of 14 (36 %)") == 2
    assert is_safe(html) and 'class="heat"' not in html


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{ half", "is damaged"),
        ("[]", "is not what unreel"),
        ('{"unreel": "9.9", "results": {}}', "written by version 9.9"),
        (json.dumps(summary(results={})), "no results"),
        (json.dumps(summary(videos={"test": 3})), "training"),
        (json.dumps(summary(results={"knn": {"kind": "knn"}})), "is not what"),
        (json.dumps(summary()).replace("61.5", "NaN"), "NaN is not a figure"),
        (json.dumps(summary()).replace("61.5", '"61.5"'), "a figure is not a number"),
        (json.dumps(summary()).replace('"counts": [[9, 3]', '"counts": [[9]'), "can't be shown"),
    ],
)
def test_a_file_that_is_damaged_or_of_another_version(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(RunError, match=said):
        write_evaluation_page(tmp_path)
    assert not list(tmp_path.glob("*.html")) and not list(tmp_path.glob(".report*"))


def test_no_evaluation_and_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="unreel evaluate all RUN DATA"):
        write_evaluation_page(tmp_path / "none")
    save(tmp_path, summary())
    (tmp_path / "report.html").write_text("old")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(html_writer.Path, "write_bytes", full)
    with pytest.raises(DiskError, match="No space left"):
        write_evaluation_page(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
