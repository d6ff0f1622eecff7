"""`unreel concept` and `unreel apply`: marks that add up, outlast a new indexing, and find moments elsewhere."""

import csv
import errno
import io
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import refused, succeeds
from vectors import clips

from unreel.errors import DiskError, InputError
from unreel.evaluation.verdict.decision import FloorComparison, Verdict
from unreel.evaluation.verdict.verdict_file import write_verdict
from unreel.indexing.concepts import annotations
from unreel.indexing.concepts.annotations import (
    Annotations,
    MarkedMoments,
    find_rows_in_moments,
    load_annotations,
    merge_annotations,
    save_annotations,
)
from unreel.indexing.concepts.concept import Concept
from unreel.indexing.concepts.concept_update import update_concept
from unreel.indexing.index.clip_index import open_index
from unreel.types import Moment


@pytest.fixture
def folder(motion_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(motion_index, tmp_path / "index"))


def learned(*args: object) -> dict[str, Any]:
    found = json.loads(succeeds("concept", *args, "--json").out)
    assert isinstance(found, dict)
    return found


def test_marks_add_up_and_the_new_one_counts(folder: Path) -> None:
    assert learned(folder, "spin", "--yes", 3, 4, "--no", 20)["marks"] == {"yes": [3, 4], "no": [20], "lost": 0}
    assert learned(folder, "spin", "--no", 4, 30)["marks"] == {"yes": [3], "no": [4, 20, 30], "lost": 0}
    assert learned(folder, "spin", "--yes", 8, "--forget")["marks"] == {"yes": [8], "no": [], "lost": 0}


def test_what_search_prints_is_what_concept_takes(
    small_run: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and moments, with spaces and umlauts in the names of folder, video, index and concept."""
    monkeypatch.chdir(tmp_path)
    footage = tmp_path / "Größe & Übung"
    footage.mkdir()
    for number, path in enumerate(sorted(motion_set.rglob("*.mp4"))[:4]):
        shutil.copy(path, footage / f"Übung {number} #1 100%.mp4")
    succeeds("index", small_run, footage, "--out", "mein Index ä")
    video = footage / "Übung 0 #1 100%.mp4"
    (header, first, *_) = succeeds("search", "mein Index ä", video, "--own", "video").out.splitlines()
    cells = dict(zip(re.split(r"\s{2,}", header.strip()), re.split(r"\s{2,}", first.strip()), strict=False))
    by_row = learned("mein Index ä", "hoch springen", "--yes", cells["row"])
    assert by_row["marks"]["yes"] == [int(cells["row"])]
    moment = f"{cells['video']}@{cells['from']}-{cells['to']}"
    by_moment = learned("mein Index ä", "übergroß", "--yes", moment, "--no", 0)
    assert by_row["marks"]["yes"][0] in by_moment["marks"]["yes"]
    assert hits_of_search("mein Index ä", moment)
    done = succeeds("apply", "mein Index ä/concepts/hoch springen.json", footage, "--above", 0, "--csv").out
    assert {line["video"] for line in csv.DictReader(io.StringIO(done))} == {str(path) for path in footage.iterdir()}


def hits_of_search(index: object, moment: str) -> list[dict[str, Any]]:
    found = json.loads(succeeds("search", index, moment, "--json").out)
    assert isinstance(found, list)
    return found


def test_marks_of_many_at_once_are_all_kept(folder: Path) -> None:
    index = open_index(folder)

    def mark(row: int) -> None:
        update_concept(index, "spin", MarkedMoments((row,)), MarkedMoments((row + 20,)), num_next=0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(mark, range(8)))
    marks, _ = load_annotations(folder / "concepts" / "spin.csv", index.rows)
    assert marks.positives == tuple(range(8)) and marks.negatives == tuple(range(20, 28))
    assert Concept.load(folder / "concepts" / "spin.json", index.encoder_hash).num_yes == 8


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_marks_fill_keeps_those_before(call: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(folder)
    update_concept(index, "spin", MarkedMoments((3,)), MarkedMoments((23,)), num_next=0)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(DiskError, match="No space left"):
        patched.setattr(os, call, fail)
        update_concept(index, "spin", MarkedMoments((4,)), MarkedMoments(), num_next=0)
    assert load_annotations(folder / "concepts" / "spin.csv", index.rows)[0].positives == (3,)
    assert not [path for path in (folder / "concepts").iterdir() if path.name.startswith(".spin.")]
    update_concept(index, "spin", MarkedMoments((5,)), MarkedMoments(), num_next=0)
    assert load_annotations(folder / "concepts" / "spin.csv", index.rows)[0].positives == (3, 5)


def test_marks_for_an_index_that_was_deleted_do_not_make_it_again(folder: Path) -> None:
    index = open_index(folder)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no index there any more; nothing was saved"):
        update_concept(index, "spin", MarkedMoments((1,)), MarkedMoments((2,)))
    assert not folder.exists()


def test_a_mark_that_is_neither_is_named_with_its_line_and_a_concept_of_no_numbers_is_none(folder: Path) -> None:
    learned(folder, "spin", "--yes", 3, "--no", 20)
    marks, saved = folder / "concepts" / "spin.csv", folder / "concepts" / "spin.json"
    old = json.loads(saved.read_text())
    for changed in (
        {"bias": float("nan")},
        {"weight": [float("nan"), *old["weight"][1:]]},
        {"num_yes": "x"},
        {"bias": {}},
    ):
        saved.write_text(json.dumps(old | changed))
        with pytest.raises(InputError, match="no concept to read there"):
            Concept.load(saved, old["encoder_hash"])
    marks.write_text(marks.read_text().replace(",yes,", ",maybe,"))
    refused("concept", folder, "spin", "--yes", 4, says=("spin.csv", "line 2", "'maybe'"))


@pytest.mark.parametrize("content", [b"", bytes(300), b"a,b\n1,2\n"])
def test_marks_without_their_header_are_damaged_and_not_none(content: bytes, folder: Path) -> None:
    learned(folder, "spin", "--yes", 3, "--no", 20)
    (folder / "concepts" / "spin.csv").write_bytes(content)
    refused("concept", folder, "spin", "--yes", 4, says=("spin.csv", "the marks can't be read", "--forget"))
    assert (folder / "concepts" / "spin.csv").read_bytes() == content
    assert learned(folder, "spin", "--yes", 4, "--forget")["marks"]["yes"] == [4]


def test_what_is_printed_is_what_the_probe_says(folder: Path) -> None:
    found = learned(folder, "spin", "--yes", 3, 4, "--no", 20, 40, "--above", 0.4, "--count", 5, "--next", 4)
    index = open_index(folder)
    score_N = Concept.load(folder / "concepts" / "spin.json", index.encoder_hash).score_rows(index.vectors_ND)
    for moment in found["moments"]:
        score_n = score_N[moment["rows"]]
        assert abs(moment["probability"] - score_n.max()) < 1e-3 and score_n.min() >= 0.4
        assert abs(moment["start_s"] - index.rows.start_s[moment["rows"]].min()) < 1e-3
    listed = [moment["probability"] for moment in found["moments"]]
    assert listed == sorted(listed, reverse=True) and len(listed) <= 5
    assert len(found["next"]) == 4 and not {n["row"] for n in found["next"]} & {3, 4, 20, 40}
    text = succeeds("concept", folder, "spin").out
    assert "2 yes and 2 no" in text and "worth marking next" in text


def test_probabilities_of_a_poor_encoder_are_called_so(folder: Path) -> None:
    concept, said = folder / "concepts" / "spin.json", "note: these probabilities mean little. Not better than"
    for right, is_said in ((90.0, False), (60.0, True)):
        floor = FloorComparison("moment", "frame difference", right, 70.0, right - 75.0, right - 65.0)
        write_verdict(folder, Verdict((floor,), "90 videos"), "step-00000001")
        assert (said in succeeds("concept", folder, "spin", "--yes", 3, "--no", 20).err) is is_said
        assert (said in succeeds("apply", concept, folder).err) is is_said


def test_a_whole_video_is_no_mark(folder: Path, motion_set: Path) -> None:
    video = sorted(motion_set.rglob("*.mp4"))[0]
    refused("concept", folder, "spin", "--yes", video, says=(f"say which seconds: {video}@0-2",))


def test_moments_are_marks_too(folder: Path) -> None:
    index = open_index(folder)
    path = index.rows.get_path(9)
    mine = np.flatnonzero(index.rows.path_N == index.rows.path_N[9])
    assert learned(folder, "whole", "--yes", f"{path}@0-99")["marks"]["yes"] == mine.tolist()
    start_s = float(index.rows.start_s[mine[0]])
    assert learned(folder, "part", "--yes", f"{path}@{start_s}-{start_s + 0.01}")["marks"]["yes"] == [int(mine[0])]
    said = succeeds("concept", folder, "whole", "--yes", f"{path}@0-99", "--no", 40).out
    assert f"2 marks became {len(mine) + 1} clips: a moment marks each clip whose middle lies in it" in said
    assert "became" not in succeeds("concept", folder, "whole", "--no", 40).out


def test_marks_outlast_a_new_indexing(folder: Path, small_run: Path, motion_set: Path) -> None:
    footage = Path(shutil.copytree(motion_set, folder.parent / "copy"))
    out = folder.parent / "mine"
    succeeds("index", small_run, footage, "--out", out, "--hop-s", 0.2)
    before = open_index(out)
    learned(out, "spin", "--yes", 30, "--no", 50)
    kept, gone = (before.rows.get_path(30), float(before.rows.start_s[30])), Path(before.rows.get_path(50))
    Path(before.rows.get_path(0)).unlink()
    gone.unlink()
    succeeds("index", small_run, footage, "--out", out, "--hop-s", 0.2)
    assert "1 yes and 0 no, 1 earlier mark forgotten" in succeeds("concept", out, "spin").out
    after, found = open_index(out), learned(out, "spin")
    row = found["marks"]["yes"][0]
    assert (after.rows.get_path(row), float(after.rows.start_s[row])) == kept
    assert found["marks"]["no"] == [] and found["marks"]["lost"] == 0


def test_marks_follow_a_moved_file_and_leave_a_replaced_one(folder: Path, small_run: Path, motion_set: Path) -> None:
    footage = folder.parent / "some"
    footage.mkdir()
    for n, path in enumerate(sorted(motion_set.rglob("*.mp4"))[:4]):
        shutil.copy(path, footage / f"{n}.mp4")
    out = folder.parent / "mine"
    succeeds("index", small_run, footage, "--out", out, "--hop-s", 0.2)
    before = open_index(out).rows
    row_of = {Path(path).stem: int(np.flatnonzero(before.path_N == n)[1]) for n, path in enumerate(before.paths)}
    learned(out, "spin", "--yes", row_of["0"], row_of["1"], "--no", row_of["2"])
    shutil.move(footage / "0.mp4", footage / "renamed.mp4")
    shutil.move(footage / "1.mp4", footage / "9.mp4")
    shutil.copy(footage / "3.mp4", footage / "2.mp4")  # has the same seconds as what was marked no
    succeeds("index", small_run, footage, "--out", out, "--hop-s", 0.2)
    after, marks = open_index(out).rows, learned(out, "spin")["marks"]
    places = {(Path(after.get_path(row)).name, float(after.start_s[row])) for row in marks["yes"]}
    assert places == {(f"{name}.mp4", float(before.start_s[row_of[n]])) for n, name in (("0", "renamed"), ("1", "9"))}
    assert marks["no"] == []


def test_apply_to_an_index_and_to_its_files_finds_the_same(folder: Path, motion_set: Path) -> None:
    learned(folder, "spin", "--yes", 3, 4, "--no", 20, 40)
    concept = folder / "concepts" / "spin.json"
    indexed = json.loads(succeeds("apply", concept, folder, "--above", 0.5, "--json").out)
    decoded = json.loads(succeeds("apply", concept, motion_set, "--above", 0.5, "--json").out)
    assert indexed and [set(moment) for moment in decoded] == [{"video", "start_s", "end_s", "probability"}] * len(
        decoded
    )
    key = lambda moment: (moment["video"], moment["start_s"], moment["end_s"])  # noqa: E731
    assert sorted(map(key, indexed)) == sorted(map(key, decoded))
    by_key = {key(moment): moment["probability"] for moment in decoded}
    assert all(abs(by_key[key(moment)] - moment["probability"]) < 1e-3 for moment in indexed)
    text = succeeds("apply", concept, motion_set, "--above", 0.5, "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["video", "start_s", "end_s", "probability"] and len(rows) == len(decoded)
    assert "of 24 videos" in succeeds("apply", concept, folder).out


def test_neighbouring_clips_are_one_moment_with_the_best_of_them(folder: Path) -> None:
    learned(folder, "all", "--yes", 3)
    concept = folder / "concepts" / "all.json"
    merged = json.loads(succeeds("apply", concept, folder, "--above", 0, "--json").out)
    single = json.loads(succeeds("apply", concept, folder, "--above", 0, "--gap-s", -1, "--json").out)
    index = open_index(folder)
    assert len(merged) == 24 and len(single) == len(index.rows)
    best = {m["video"]: m["probability"] for m in reversed(single)}
    assert {m["video"]: m["probability"] for m in merged} == best
    assert "nothing reaches" in succeeds("apply", concept, folder, "--above", 1).out


def test_what_can_not_be_read_is_named(folder: Path, motion_set: Path, tmp_path: Path) -> None:
    learned(folder, "spin", "--yes", 3)
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(sorted(motion_set.rglob("*.mp4"))[0], new / "good.mp4")
    (new / "bad.mp4").write_bytes(b"no video")
    done = succeeds("apply", folder / "concepts" / "spin.json", new, "--above", 0)
    assert "bad.mp4" in done.err and "of 1 video" in done.out


def test_what_is_refused(folder: Path, motion_set: Path, small: dict[str, Any], tmp_path: Path) -> None:
    import unreel

    refused("concept", folder, "a", says=("at least one hit marked yes",))
    refused("concept", folder, "a", "--yes", "x", says=("'x' is neither the number of a row nor a moment",))
    refused("concept", folder, "a", "--yes", 99999, says=("row 99999", "mark hits of this index"))
    refused("concept", folder, "a", "--yes", 3, "--no", 3, says=("row 3", "yes and no"))
    refused("concept", folder, "a", "--yes", "/v/none.mp4@1-2", says=("/v/none.mp4 is not in the index",))
    path = open_index(folder).rows.get_path(0)
    refused("concept", folder, "a", "--yes", f"{path}@90-91", says=("no clip from 90 s to 91 s",))
    for name in ("../a", "a/b", ".a", "-", "a  b", " a", "a ", "a\0b", "视" * 34, "a" * 101, "", "a\n"):
        refused("concept", folder, "--yes", 3, "--", name, says=("not a name for a concept", "at most 100 bytes"))
    learned(folder, "视" * 33, "--yes", 3)
    learned(folder, "2nd_hop-v1.3", "--yes", 3)
    learned(folder, "sich bücken", "--yes", 3)
    refused("concept", folder, "a", "--yes", "9" * 23, says=(f"row {'9' * 23}", "mark hits of this index"))
    refused("concept", folder, "a", "--yes", 3, "--next", 0, says=("--next",))
    refused("concept", folder, "a", "--yes", 3, "--above", 2, says=("between 0 and 1",))
    learned(folder, "a", "--yes", 3)
    concept = folder / "concepts" / "a.json"
    refused("apply", concept, folder, "--above", 1.5, says=("between 0 and 1",))
    refused("apply", concept, tmp_path / "nowhere", says=("nowhere",))
    refused("apply", folder / "concepts" / "b.json", motion_set, says=("no concept there", "unreel concept INDEX NAME"))
    lost = Path(shutil.copy(concept, tmp_path / "a.json"))
    refused("apply", lost, motion_set, says=("a concept is used inside its index",))
    other = tmp_path / "run"
    unreel.pretrain(motion_set / "train.txt", out=other, quiet=True, steps=1, seed=5, **small)
    succeeds("index", other, motion_set / "test.txt", "--out", tmp_path / "j")
    refused("apply", concept, tmp_path / "j", says=("another encoder",))
    (folder / "concepts" / "a.csv").write_text("video,start_s,end_s,mark\nx,0,1,maybe\n")
    refused("concept", folder, "a", "--yes", 4, says=("a.csv", "--forget"))


def test_marks_on_disk(folder: Path, tmp_path: Path) -> None:
    rows = open_index(folder).rows
    save_annotations(tmp_path / "m.csv", rows, Annotations((5, 2), (9,)))
    assert load_annotations(tmp_path / "m.csv", rows) == (Annotations((2, 5), (9,)), 0)
    assert load_annotations(tmp_path / "none.csv", rows) == (Annotations(()), 0)
    assert merge_annotations(Annotations((1, 2), (3,)), Annotations((3,), (1,))) == Annotations((2, 3), (1,))
    with pytest.raises(InputError, match="not in the index"):
        find_rows_in_moments(rows, [Moment("/nowhere.mp4", 0, 1)])


def test_a_moment_of_a_relative_path_is_that_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = open_index(folder).rows
    path = Path(rows.paths[0])
    monkeypatch.chdir(path.parent)
    assert find_rows_in_moments(rows, [Moment(path.name)]) == find_rows_in_moments(rows, [Moment(str(path))])
    with pytest.raises(InputError, match=r"^nowhere.mp4 is not in the index"):
        find_rows_in_moments(rows, [Moment("nowhere.mp4")])


def test_marks_of_copies_and_of_files_without_hashes(tmp_path: Path) -> None:
    """Three videos, the first and the last of the same bytes; row 4 is the first clip of the last."""
    rows = clips(3, 2, hashes=["x", "y", "x"])
    save_annotations(tmp_path / "m.csv", rows, Annotations((4,), (2,)))
    table = (tmp_path / "m.csv").read_text()
    assert table.splitlines()[0] == "video,start_s,end_s,mark,content_hash" and "/v/2.mp4,0.000,1.000,yes,x" in table
    assert load_annotations(tmp_path / "m.csv", rows) == (Annotations((4,), (2,)), 0)
    without_last = clips(2, 2, hashes=["x", "y"])
    assert load_annotations(tmp_path / "m.csv", without_last) == (Annotations((0,), (2,)), 0)
    replaced = clips(3, 2, hashes=["a", "y", "b"])
    assert load_annotations(tmp_path / "m.csv", replaced) == (Annotations((), (2,)), 1)
    (tmp_path / "m.csv").write_text("\n".join(line.rpartition(",")[0] for line in table.splitlines()) + "\n")
    assert load_annotations(tmp_path / "m.csv", replaced) == (Annotations((4,), (2,)), 0)


def test_only_rows_of_what_is_marked_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, looked = clips(50, 4), list[int]()
    save_annotations(tmp_path / "m.csv", rows, Annotations((9,), (41,)))
    whole = annotations._format_span
    monkeypatch.setattr(annotations, "_format_span", lambda rows, row: looked.append(row) or whole(rows, row))
    assert load_annotations(tmp_path / "m.csv", rows) == (Annotations((9,), (41,)), 0)
    assert set(looked) == {8, 9, 10, 11, 40, 41, 42, 43}
