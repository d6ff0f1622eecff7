"""Evaluations side by side: seeds become one row, floors are shared, and protocols never share a column."""

import copy
import io
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from evaluations import motion, retrieval, save, summary
from rich.console import Console

from unreel.errors import InputError, RunError
from unreel.report.comparison.comparability import extract_shared_protocol
from unreel.report.comparison.compare import Comparison, compare_evaluations
from unreel.report.comparison.comparison_rows import ComparisonRow
from unreel.report.pages.comparison_page import write_comparison

EVIL = "<script>alert(1)</script>[red]"


def evaluation(folder: Path, r1: float = 61.5, **changes: Any) -> Path:
    """An evaluation whose joint R@1 is `r1`."""
    data = summary(**changes)
    for name in ("retrieval", "retrieval-dualvar"):
        if name in data["results"]:
            data["results"][name]["rows"]["joint"]["R@1"] = r1
    return save(folder, data)


def with_protocol(name: str, **changes: Any) -> dict[str, Any]:
    """Results of which one has another protocol."""
    results = copy.deepcopy(summary()["results"])
    results[name]["protocol"] |= changes
    return results


def printed(made: Comparison, width: int = 200) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for table in made.to_tables():
        console.print(table)
    return " ".join(console.export_text().split())  # however it is wrapped


def learned(made: Comparison) -> list[list[ComparisonRow]]:
    return [[row for row in part.rows if not row.is_baseline] for part in made.sections]


def test_a_row_for_each_and_a_column_for_each_main_figure(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / "a"), evaluation(tmp_path / "b", 44.4, run="other")]
    made = compare_evaluations(folders)
    assert len(made.sections) == 1 and made.remarks == [] and made.sections[0].heading == ""
    expected = ["R@1, IIC", "R@1, DualVar", "mAP, IIC", "kNN", "linear", "1 label", "5 labels", "motion"]
    assert made.sections[0].columns == expected
    rows = learned(made)[0]
    assert [row.name for row in rows] == ["a", "b"]
    figures = {title: cell.figure.value for title, cell in rows[0].cells.items()}
    assert figures == dict(zip(expected, (61.5, 61.5, 36.7, 40.9, 47.2, 32.8, 47.9, 99.5), strict=True))
    text = printed(made)
    assert (
        "61.5" in text and "44.4" in text and "52 to 71" in text and "does not show that two encoders are equal" in text
    )


def test_floors_are_shared_rows_below(tmp_path: Path) -> None:
    rows = compare_evaluations([evaluation(tmp_path / "a"), evaluation(tmp_path / "b", run="other")]).sections[0].rows
    assert [row.name for row in rows] == ["a", "b", "chance", "frame difference", "untrained encoder"]
    floor = rows[3].cells
    assert floor["R@1, IIC"].figure.value == 32.1 and floor["kNN"].figure.value == 34.6
    assert floor["linear"].figure.value == 71.9 and floor["R@1, IIC"].spread_text == "24 to 41"


def test_floors_that_differ_stand_twice_and_say_whose_they_are(tmp_path: Path) -> None:
    """An encoder with other clips has other floors, and one of another size another untrained network."""
    results = summary()["results"]
    results["retrieval"]["rows"]["frame difference"]["R@1"] = 5.5
    encoder = copy.deepcopy(summary()["encoder"])
    encoder["clip"]["num_frames"] = 16
    folders = [evaluation(tmp_path / "a"), evaluation(tmp_path / "b", encoder=encoder, results=results)]
    part = compare_evaluations(folders).sections[0]
    names = [row.name for row in part.rows if row.is_baseline]
    assert names == ["chance", "frame difference (beside a)", "frame difference (beside b)", "untrained encoder"]
    assert "clips of its own length" in part.notes[0] and "16 frames" in part.notes[0]


def test_seeds_become_a_mean_with_deviation(tmp_path: Path) -> None:
    values = [60.0, 62.5, 70.0]
    folders = [evaluation(tmp_path / f"e{n}", v, run=f"iic-{n}", seed=n) for n, v in enumerate(values)]
    folders.append(evaluation(tmp_path / "other", 11.1, run="cvrl-0"))
    made = compare_evaluations(folders)
    seeds, other = learned(made)[0]
    cell = seeds.cells["R@1, IIC"]
    assert seeds.name == "iic-*" and len(seeds.members) == 3 and other.name == "other"
    assert (
        cell.figure.value == pytest.approx(mean(values))
        and cell.std == pytest.approx(stdev(values))
        and cell.num_runs == 3
    )
    assert cell.spread_text == "± 5.2, n=3" and other.cells["R@1, IIC"].num_runs == 1
    assert "differ in their seed alone" in made.sections[0].notes[0] and "± 5.2, n=3" in printed(made)
    assert [len(part) for part in learned(compare_evaluations(folders, group_seeds=False))] == [4]


def test_what_is_no_seed_is_not_averaged(tmp_path: Path) -> None:
    """Another method, another encoder, the same run twice."""
    other = copy.deepcopy(summary()["encoder"]) | {"method": "byol"}
    wide = copy.deepcopy(summary()["encoder"]) | {"options": {"width": 2}}
    folders = [
        evaluation(tmp_path / "a", run="r-0", seed=0),
        evaluation(tmp_path / "b", run="r-1", seed=1, encoder=other),
        evaluation(tmp_path / "c", run="r-2", seed=2, encoder=wide),
    ]
    assert [row.name for row in learned(compare_evaluations(folders))[0]] == ["a", "b", "c"]
    twice = [folders[0], evaluation(tmp_path / "d", run="r-0", seed=0)]
    assert [row.name for row in learned(compare_evaluations(twice))[0]] == ["a", "d"]
    steps = [evaluation(tmp_path / f"{n}steps", run=f"r-{n}steps", seed=0) for n in (100, 300)]
    assert len(learned(compare_evaluations(steps))[0]) == 2  # the same seed, so something else is different
    longer = [evaluation(tmp_path / f"l{n}", run=f"r-{n}", seed=n, training={"steps": n}) for n in range(2)]
    assert len(learned(compare_evaluations(longer))[0]) == 2
    seeded = [evaluation(tmp_path / f"s{n}", run="r-0", seed=n) for n in range(2)]
    assert [row.name for row in learned(compare_evaluations(seeded))[0]] == ["r-0"]


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"results": with_protocol("retrieval", layer="pooled")}, "layer pooled in Retrieval (IIC protocol)"),
        ({"results": with_protocol("retrieval", centring="own")}, "centring own in Retrieval (IIC protocol)"),
        ({"results": with_protocol("motion", num_clips=10)}, "num clips 10 in Motion"),
        ({"results": with_protocol("linear", kind="logistic")}, "kind logistic in Linear probe"),
        ({"results": with_protocol("knn", invented="later")}, "invented later in Nearest neighbours vote"),
        ({"results": with_protocol("few-labels", blocks={"joint": ["encoder", "conv5", "intact"]})}, "layer"),
        ({"results": with_protocol("motion", layers={"encoder": "conv5"})}, "layer conv5 in Motion"),
        ({"data": {"name": "my-set", "hash": "77777777aa", "notes": []}}, "data my-set, hash 77777777"),
    ],
)
def test_protocols_are_never_mixed(tmp_path: Path, changes: dict[str, Any], heading: str) -> None:
    folders = [evaluation(tmp_path / "a", 61.5), evaluation(tmp_path / "b", 44.4, run="other", **changes)]
    made = compare_evaluations(folders)
    assert [[row.name for row in rows] for rows in learned(made)] == [["a"], ["b"]]
    assert heading in made.sections[1].heading and made.sections[0].heading
    assert "not made alike" in made.remarks[0] and "2 tables" in made.remarks[0]
    text = printed(made, 400)
    assert text.index("61.5") < text.index(made.sections[1].heading) < text.index("44.4")


def made_by(loss: str = "1" * 32, data: str = "d" * 32, name: str = "tubelet.py:barlow") -> dict[str, Any]:
    """The provenance of an evaluation whose run had this source and data."""
    files = {"tubelet.py": loss, "crops.py": "c" * 32}
    code = [{"kind": "method", "name": name, "hash": loss, "files": files}]
    return {"training": {"code": code, "data": {"hash": data}}}


def test_different_sources_are_no_seeds_of_one_row(tmp_path: Path) -> None:
    """The loss was edited between seed 1 and 2."""
    sources = [made_by(), made_by(), made_by("2" * 32)]
    folders = [evaluation(tmp_path / f"e{n}", run=f"r-{n}", seed=n, provenance=p) for n, p in enumerate(sources)]
    made = compare_evaluations(folders)
    assert [row.name for row in learned(made)[0]] == ["r-*", "e2"]
    note = next(note for note in made.sections[0].notes if "rows apart" in note)
    assert note == (
        "e0, e1 and e2 have the same options but are rows apart: method tubelet.py:barlow is 11111111 in e0, 11111111 "
        "in e1 and 22222222 in e2 (files that differ: tubelet.py)."
    )
    assert "rows apart" in printed(made)
    assert "rows apart" in " ".join(write_comparison(folders, tmp_path / "page.html").read_text().split())


def test_different_training_data_are_no_seeds_of_one_row(tmp_path: Path) -> None:
    sources = [made_by(), made_by(data="e" * 32)]
    folders = [evaluation(tmp_path / f"e{n}", run=f"r-{n}", seed=n, provenance=p) for n, p in enumerate(sources)]
    made = compare_evaluations(folders)
    assert len(learned(made)[0]) == 2
    assert any("training data is dddddddd in e0 and eeeeeeee in e1" in note for note in made.sections[0].notes)


def test_seeds_of_different_commits_say_so(tmp_path: Path) -> None:
    folders = []
    for n, made_with in enumerate(({"commit": "a" * 40, "modified": False}, {"commit": "a" * 40, "modified": True})):
        provenance = made_by()
        provenance["training"]["unreel"] = made_with
        folders.append(evaluation(tmp_path / f"e{n}", run=f"r-{n}", seed=n, provenance=provenance))
    made = compare_evaluations(folders)
    assert len(learned(made)[0]) == 1
    assert "e0 with aaaaaaaa, e1 with aaaaaaaa+ (+: with changes)" in " ".join(made.sections[0].notes)
    assert "commits" not in " ".join(compare_evaluations(folders[:1]).sections[0].notes)


def test_runs_without_a_source_are_seeds_as_before_with_a_note(tmp_path: Path) -> None:
    """Of an earlier version, with settings that it did not have yet."""
    training = {"method": "x", "options": {}, "settings": {"lr": 0.1}}
    newer = training | {"settings": {"lr": 0.1, "backbone_options": ""}}
    folders = [evaluation(tmp_path / "e0", run="r-0", seed=0, training=training)]
    folders.append(evaluation(tmp_path / "e1", run="r-1", seed=1, training=newer, provenance=made_by()))
    made = compare_evaluations(folders)
    assert [row.name for row in learned(made)[0]] == ["r-*"]
    assert any("e0: made before unreel recorded sources" in note for note in made.sections[0].notes)
    folders.append(evaluation(tmp_path / "e2", run="r-2", seed=2, training=newer, provenance=made_by("2" * 32)))
    assert [row.name for row in learned(compare_evaluations(folders))[0]] == ["e1", "e2", "e0"]


def test_seeds_of_other_protocols_are_not_averaged(tmp_path: Path) -> None:
    changed = with_protocol("retrieval", num_crops=3)
    folders = [evaluation(tmp_path / "a", run="r-0", seed=0), evaluation(tmp_path / "b", run="r-1", results=changed)]
    assert [[row.name for row in rows] for rows in learned(compare_evaluations(folders))] == [["a"], ["b"]]


def test_what_belongs_to_the_encoder_is_no_protocol() -> None:
    a, b = retrieval(), retrieval()
    b.protocol |= {"backbone": "r3d18", "method": "byol", "num_frames": 16, "left_out": [{"path": "x"}], "versions": {}}
    assert extract_shared_protocol(a) == extract_shared_protocol(b)
    a, b = motion(), motion()
    b.protocol["layers"] = {"encoder": "pooled", "a frozen model": "conv5"}
    assert extract_shared_protocol(a) == extract_shared_protocol(b)


def test_a_part_that_is_missing_leaves_cells_empty(tmp_path: Path) -> None:
    only = {"retrieval": summary()["results"]["retrieval"], "motion": motion(None).to_json()}
    made = compare_evaluations([evaluation(tmp_path / "a"), evaluation(tmp_path / "b", run="other", results=only)])
    assert len(made.sections) == 1
    assert set(learned(made)[0][1].cells) == {"R@1, IIC", "mAP, IIC"}


def test_versions_and_contamination_are_said(tmp_path: Path) -> None:
    seen = "96 of 96 test videos were in pre-training"
    folders = [evaluation(tmp_path / n, run=n, unreel=v, contamination=[seen]) for n, v in (("a", "0.1"), ("b", "0.2"))]
    made = compare_evaluations(folders)
    assert made.contamination == [f"a, b: {seen}"] and "0.1, 0.2" in made.remarks[0]
    assert seen in printed(made)


def test_the_page_is_one_safe_file(tmp_path: Path) -> None:
    name = "<b>evil [red]"
    encoder = copy.deepcopy(summary()["encoder"]) | {"method": EVIL}
    changes = {"run": f"{EVIL}\udc80", "encoder": encoder, "data": {"name": EVIL, "hash": "7" * 16, "notes": []}}
    folders = [evaluation(tmp_path / "a"), evaluation(tmp_path / name, 44.4, **changes)]
    out = write_comparison(folders, tmp_path / "side.html")
    html = out.read_text(encoding="utf-8")
    assert "<script" not in html and "&lt;script&gt;" in html and "<b>evil" not in html
    assert "http" not in html and "61.5" in html and "44.4" in html and "52 to 71" in html
    parser = HTMLParser()
    found: list[tuple[str, str | None]] = []
    parser.handle_starttag = lambda tag, attrs: found.extend(attrs)  # type: ignore[method-assign]
    parser.feed(html)
    assert all((v or "").startswith("data:") for n, v in found if n in ("src", "href"))
    assert "[red]" in printed(compare_evaluations(folders), 400)


def test_what_can_not_be_compared(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "a")
    with pytest.raises(InputError, match="nothing to compare"):
        compare_evaluations([])
    with pytest.raises(InputError, match="given twice"):
        compare_evaluations([folder, tmp_path / "a" / ".." / "a"])
    with pytest.raises(RunError, match="no evaluation here"):
        compare_evaluations([folder, tmp_path / "none"])
    with pytest.raises(InputError, match=r"must end in \.html"):
        write_comparison([folder], folder / "results.json")


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / top / "eval", run=top) for top in ("x", "y")]
    assert [row.name for row in learned(compare_evaluations(folders))[0]] == ["x/eval", "y/eval"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_shows_what_has_room_and_names_the_rest(width: int, tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / name, run=name) for name in ("a-rather-long-name-of-an-evaluation", "b")]
    made = compare_evaluations(folders)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(made.to_tables(width)[0])
    lines = console.export_text(clear=False).splitlines()
    title, figure = made.sections[0].data_description, "61.5"
    assert all(len(line.rstrip()) <= width for line in lines) and title in " ".join(lines)
    assert any(figure in line for line in lines) and any("52 to 71" in line for line in lines)  # neither is broken
    head, _, below = console.export_text(clear=False).partition("└")
    left_out = [column for column in made.sections[0].columns if column.split()[-1] not in head]
    assert bool(left_out) == ("Not shown at this width: " in below) == (width < 120) and "R@1" in head
    assert all(column in " ".join(below.split()) for column in left_out)
    assert "Not shown" not in printed(made)


def test_rows_of_a_sweep_have_its_names(tmp_path: Path) -> None:
    """Two seeds of a row, and a run of its own; without seeds made one, folders tell the runs apart."""
    members = {"seed0": ("simclr lr=0.1", 0), "seed1": ("simclr lr=0.1", 1), "other": ("", 0)}
    for name, (row, seed) in members.items():
        found = summary(run="other" if not row else f"run-{seed}", seed=seed, row=row)
        save(tmp_path / name, found)
    folders = [tmp_path / name for name in members]
    assert [row.name for row in learned(compare_evaluations(folders))[0]] == ["simclr lr=0.1", "other"]
    assert compare_evaluations(folders, against="simclr lr=0.1").against == "simclr lr=0.1"
    assert [row.name for row in learned(compare_evaluations(folders, group_seeds=False))[0]] == list(members)
