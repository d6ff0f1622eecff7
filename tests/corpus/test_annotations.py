"""The annotation files of Kinetics, Something-Something V2 and Diving48."""

from pathlib import Path

import pytest
from layouts import K_HEAD, diving48, kinetics, rows, something, write

from unreel.corpus.labels.labelled_set import load_labelled_set, validate_labelled_set
from unreel.errors import InputError


def test_kinetics_may_lack_videos(tmp_path: Path) -> None:
    dataset = load_labelled_set(kinetics(tmp_path))
    assert rows(dataset.train, tmp_path) == [
        ("train/baking/-a_b_000005_000015.mkv", "baking, cookies", "-a_b"),
        ("train/plain.mp4", "bungee jumping", "plain"),
    ]
    assert rows(dataset.test, tmp_path) == [("val/val1_000100_000110.mp4", "bungee jumping", "val1")]
    assert any(f"{tmp_path / 'train.csv'}: 1 video listed but not found" in n and "2 of 3" in n for n in dataset.notes)
    assert any("tested on validate.csv" in note for note in dataset.notes)
    assert any("test.csv is not used" in note for note in dataset.notes)
    assert validate_labelled_set(tmp_path).format_lines()[-1] == "complete, except 1 missing video left out"
    (tmp_path / "val/val1_000100_000110.mp4").unlink()
    assert rows(load_labelled_set(tmp_path).test, tmp_path) == [
        ("old/val1_000100_000110.mp4", "bungee jumping", "val1")
    ]
    (tmp_path / "old/val1_000100_000110.mp4").unlink()
    with pytest.raises(InputError, match="validate.csv: 1 video listed but not found: .*val1_000100_000110.mp4"):
        load_labelled_set(tmp_path)


def test_kinetics_without_validation_needs_labels_of_the_test_list(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "validate.csv").unlink()
    with pytest.raises(InputError, match="test.csv, line 1: no column label"):
        load_labelled_set(tmp_path)
    write(tmp_path / "test.csv", K_HEAD + "bungee jumping,secret,1,11,test\n")
    assert rows(load_labelled_set(tmp_path).test, tmp_path) == [
        ("test/secret_000001_000011.mp4", "bungee jumping", "secret")
    ]
    (tmp_path / "test.csv").unlink()
    with pytest.raises(InputError, match="no test list; Kinetics"):
        load_labelled_set(tmp_path)


@pytest.mark.parametrize(
    "row, message",
    [
        ("run,abc,five,15,train\n", "train.csv, line 2: expected label,youtube_id,.*, got 'run,abc,five"),
        ("run,abc\n", "train.csv, line 2: expected"),
        (",abc,5,15,train\n", "train.csv, line 2: no label"),
        ('"run,abc,5,15,train\nwalk,x,1,2,train\n', "train.csv, line 2: not valid CSV"),
    ],
)
def test_a_bad_row_of_kinetics_is_named(tmp_path: Path, row: str, message: str) -> None:
    write(kinetics(tmp_path) / "train.csv", K_HEAD + row)
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path)


@pytest.mark.parametrize("prefix", ["something-something-v2-", ""])
@pytest.mark.parametrize("lists", ["", "labels"])
def test_something_something(tmp_path: Path, prefix: str, lists: str) -> None:
    dataset = load_labelled_set(something(tmp_path, prefix, lists))
    videos = "20bn-something-something-v2"
    assert dataset.name == "Something-Something V2"
    assert rows(dataset.train, tmp_path) == [
        (f"{videos}/1.webm", "Putting something on something #2", ""),
        (f"{videos}/12.webm", "Folding something", ""),
    ]
    assert rows(dataset.test, tmp_path) == [(f"{videos}/3.webm", "Folding something", "")]
    assert any("4.webm" in note and "1 video below" in note for note in validate_labelled_set(tmp_path).notes)


def test_something_something_refuses_what_does_not_fit(tmp_path: Path) -> None:
    labels = something(tmp_path) / "something-something-v2-labels.json"
    write(labels, {"Folding something": "0"})
    with pytest.raises(
        InputError, match="1 template not among the classes of .*labels.json: Putting something on something #2"
    ):
        load_labelled_set(tmp_path)
    write(labels, {"Putting something on something #2": "0", "Folding something": "1", "Holding something": "2"})
    with pytest.raises(InputError, match="labels.json: 1 class without a video: Holding something"):
        load_labelled_set(tmp_path)
    labels.unlink()
    (tmp_path / "20bn-something-something-v2/12.webm").rename(tmp_path / "12.mp4")
    assert rows(load_labelled_set(tmp_path).train, tmp_path)[1][:2] == ("12.mp4", "Folding something")
    (tmp_path / "12.mp4").unlink()
    with pytest.raises(InputError, match=r"train.json: 1 video listed but not found: .*12\.webm"):
        load_labelled_set(tmp_path)


@pytest.mark.parametrize("version", ["_V2", ""])
def test_diving48(tmp_path: Path, version: str) -> None:
    dataset = load_labelled_set(diving48(tmp_path, version))
    assert rows(dataset.train, tmp_path) == [
        ("rgb/-A_b_00000.mp4", "Back-15som-NoTwis-PIKE", "-A_b"),
        ("rgb/-A_b_00001.mp4", "Reverse-Dive-NoTwis-TUCK", "-A_b"),
    ]
    assert rows(dataset.test, tmp_path) == [("rgb/_C_00000.mp4", "Reverse-Dive-NoTwis-TUCK", "_C")]
    (tmp_path / "Diving48_vocab.json").unlink()
    assert [entry.label for entry in load_labelled_set(tmp_path).train] == ["0", "1"]
    write(tmp_path / "Diving48_vocab.json", [["A"], ["B"], ["C"]])
    assert load_labelled_set(tmp_path).notes[0].endswith("vocab.json: 1 class without a video: C")
    assert validate_labelled_set(tmp_path).format_lines()[-1] == "complete"
    write(tmp_path / "Diving48_vocab.json", [["A"], ["A"]])
    with pytest.raises(InputError, match=r"vocab.json: 1 class named twice: A"):
        load_labelled_set(tmp_path)
    write(tmp_path / "Diving48_vocab.json", [["Back"]])
    with pytest.raises(InputError, match=f"Diving48{version}_train.json, entry 2: label 1, but the vocabulary has 1"):
        load_labelled_set(tmp_path)


def test_the_corrected_labels_of_diving48_come_first(tmp_path: Path) -> None:
    diving48(tmp_path, "")
    write(tmp_path / "Diving48_train.json", [{"vid_name": "old", "label": 0}])
    assert not validate_labelled_set(tmp_path).is_valid
    assert load_labelled_set(diving48(tmp_path)).train[0].group == "-A_b"


@pytest.mark.parametrize(
    "content, message",
    [
        ('[\n{"id": "1",\n', r"v2-train.json, line 3: not valid JSON \(.*\)"),
        ("{}", "v2-train.json: expected a list of videos, got a dict"),
        ('[{"id": "1", "template": "Folding [something]"}, {"id": "2"}]', "v2-train.json, entry 2: no template"),
        ("[7]", "v2-train.json, entry 1: no id and no template"),
    ],
)
def test_bad_json_is_named_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    write(something(tmp_path) / "something-something-v2-train.json", content)
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path)
    report = validate_labelled_set(tmp_path)
    assert (
        not report.is_valid
        and str(tmp_path) in report.format_lines()[1]
        and report.format_lines()[-1].startswith("to do: ")
    )
