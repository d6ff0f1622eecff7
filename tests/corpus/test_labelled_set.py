"""Labelled data sets: every layout is found by itself, and what is wrong with one is said in a sentence."""

import itertools
import json
import os
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from unreel.corpus.labels.labelled_set import LabelledSet, load_labelled_set, validate_labelled_set
from unreel.corpus.labels.layouts import LAYOUTS
from unreel.corpus.labels.test_split import draw_test_split
from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rows(listed: list[VideoEntry], root: Path) -> list[tuple[str, str, str]]:
    return [(entry.path.relative_to(root).as_posix(), entry.label, entry.group) for entry in listed]


def folders(root: Path) -> Path:
    return touch(root, *(f"{label}/{label}{i}.mp4" for label in ("run", "walk") for i in range(4)))


def own_lists(root: Path) -> Path:
    folders(root)
    write(root / "train.txt", "run/run0.mp4\nrun/run1.mp4\nwalk/walk0.mp4\n")
    write(root / "test.txt", "run/run2.mp4\nwalk/walk1.mp4\n")
    return root


def ucf101(root: Path, videos: str = "") -> Path:
    names = ["HandStandPushups/v_HandStandPushups_g01_c01.avi", "HandStandPushups/v_HandStandPushups_g08_c01.avi"]
    touch(root / videos, *names, "Bow/v_Bow_g01_c01.avi", "Bow/v_Bow_g08_c01.avi")
    lists = root / "ucfTrainTestlist"
    for split, (train, test) in {1: ("08", "01"), 2: ("01", "08")}.items():
        train_rows = f"HandstandPushups/v_HandStandPushups_g{train}_c01.avi 2\nBow/v_Bow_g{train}_c01.avi 1\n"
        write(lists / f"trainlist0{split}.txt", train_rows)
        write(lists / f"testlist0{split}.txt", f"Bow/v_Bow_g{test}_c01.avi\n")
    write(lists / "classInd.txt", "1 Bow\r\n2 HandstandPushups\r\n")
    return root


def hmdb51(root: Path, videos: str = "") -> Path:
    clap = [f"#20_Rhythm_clap_u_nm_np1_le_goo_{n}.avi" for n in range(3)]
    sit = [f"Film_sit_f_cm_np1_fr_med_{n}.avi" for n in range(2)]
    touch(root / videos, *(f"clap/{name}" for name in clap), *(f"sit/{name}" for name in sit))
    lists = root / "testTrainMulti_7030_splits"
    write(lists / "clap_test_split1.txt", "".join(f"{n} {s} \n" for n, s in zip(clap, "120", strict=True)))
    write(lists / "sit_test_split1.txt", "".join(f"{n} {s} \n" for n, s in zip(sit, "12", strict=True)))
    return root


K_HEAD = "label,youtube_id,time_start,time_end,split\n"


def kinetics(root: Path) -> Path:
    train = (
        '"baking, cookies",-a_b,5,15,train\nbungee jumping,gone0000000,1,11,train\nbungee jumping,plain,0,10,train\n'
    )
    write(root / "train.csv", K_HEAD + train)
    write(root / "validate.csv", K_HEAD + "bungee jumping,val1,100,110,validate\n")
    write(root / "test.csv", K_HEAD.replace("label,", "") + "secret,1,11,test\n")
    touch(root, "train/baking/-a_b_000005_000015.mkv", "train/plain.mp4", "old/val1_000100_000110.mp4")
    return touch(root, "val/val1_000100_000110.mp4", "test/secret_000001_000011.mp4")


def something(root: Path, prefix: str = "something-something-v2-", lists: str = "") -> Path:
    train = [
        {"id": "1", "label": "putting a pen", "template": "Putting [something] on [something #2]"},
        {"id": 12, "label": "folding paper", "template": "Folding [something]"},
    ]
    test = [{"id": "3", "label": "folding a cloth", "template": "Folding [something]", "placeholders": ["a cloth"]}]
    write(root / lists / f"{prefix}train.json", train)
    write(root / lists / f"{prefix}validation.json", test)
    write(root / lists / f"{prefix}test.json", [{"id": "4"}])
    write(root / lists / f"{prefix}labels.json", {"Putting something on something #2": "0", "Folding something": "1"})
    return touch(root, *(f"20bn-something-something-v2/{n}.webm" for n in (1, 12, 3, 4)))


def diving48(root: Path, version: str = "_V2") -> Path:
    train = [{"vid_name": f"-A_b_0000{i}", "label": i, "start_frame": 0, "end_frame": 9} for i in range(2)]
    test = [{"vid_name": "_C_00000", "label": 1, "start_frame": 0, "end_frame": 9}]
    write(root / f"Diving48{version}_train.json", train)
    write(root / f"Diving48{version}_test.json", test)
    write(root / "Diving48_vocab.json", [["Back", "15som", "NoTwis", "PIKE"], ["Reverse", "Dive", "NoTwis", "TUCK"]])
    return touch(root, *(f"rgb/{name}.mp4" for name in ("-A_b_00000", "-A_b_00001", "_C_00000")))


MAKERS = {
    "folders": (folders, "class folders"),
    "lists": (own_lists, "lists"),
    "ucf101": (ucf101, "UCF101 split 1"),
    "hmdb51": (hmdb51, "HMDB51 split 1"),
    "kinetics": (kinetics, "Kinetics"),
    "ssv2": (something, "Something-Something V2"),
    "diving48": (diving48, "Diving48"),
}


def test_every_layout_is_tried_here() -> None:
    assert {"auto", *MAKERS} == set(LAYOUTS)


@pytest.mark.parametrize("layout", MAKERS)
def test_a_layout_is_found_by_itself_and_by_name(tmp_path: Path, layout: str) -> None:
    make, name = MAKERS[layout]
    dataset = load_labelled_set(make(tmp_path))
    assert isinstance(dataset, LabelledSet) and dataset.name == name and dataset.root == tmp_path
    assert dataset == load_labelled_set(tmp_path, layout) and dataset.train and dataset.test and not dataset.validation
    assert all(entry.label and entry.path.is_file() for entry in dataset.train + dataset.test)
    report = validate_labelled_set(tmp_path)
    assert report.is_valid and report.name == name and report.format_lines()[-1].startswith("complete"), (
        report.format_lines()
    )
    assert report.counts["train"][0] == len(dataset.train) and report.counts["test"][0] == len(dataset.test)
    assert set(dataset.notes) <= set(report.remarks)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name != "folders"])
def test_a_layout_is_not_taken_for_another(tmp_path: Path, layout: str) -> None:
    MAKERS[layout][0](tmp_path)
    for other in set(MAKERS) - {layout, "folders"}:
        assert not validate_labelled_set(tmp_path, other).is_valid
        with pytest.raises(InputError, match=r"no (such|training|test|official)"):
            load_labelled_set(tmp_path, other)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name != "folders"])
def test_lists_may_lie_in_a_folder_of_their_own(tmp_path: Path, layout: str) -> None:
    data = MAKERS[layout][0](tmp_path / "data")
    before = load_labelled_set(data)
    for path in [*data.glob("*.*"), data / "ucfTrainTestlist", data / "testTrainMulti_7030_splits"]:
        if path.exists():
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            path.rename(tmp_path / "elsewhere" / path.name)
    after = load_labelled_set(data, splits=tmp_path / "elsewhere")
    assert (after.name, after.train, after.test) == (before.name, before.train, before.test)


def test_lists_of_two_layouts_are_ambiguous(tmp_path: Path) -> None:
    own_lists(ucf101(tmp_path))
    with pytest.raises(InputError, match="lists of 2 layouts; choose with --layout lists or ucf101"):
        load_labelled_set(tmp_path)
    assert (
        load_labelled_set(tmp_path, "ucf101").name == "UCF101 split 1"
        and load_labelled_set(tmp_path, "lists").name == "lists"
    )


def test_csv_lists_with_a_validation_part(tmp_path: Path) -> None:
    touch(tmp_path, "a, b.mp4", "#c.mp4", "d.mp4", "e.mp4")
    write(tmp_path / "train.csv", 'path,label,group\n"a, b.mp4","run, fast",anna\n#c.mp4,walk,bert\n')
    write(tmp_path / "val.csv", "path,label\nd.mp4,walk\n")
    write(tmp_path / "test.csv", "path,label\ne.mp4,walk\n")
    dataset = load_labelled_set(tmp_path)
    assert rows(dataset.train, tmp_path) == [("a, b.mp4", "run, fast", "anna"), ("#c.mp4", "walk", "bert")]
    assert rows(dataset.validation, tmp_path) == [("d.mp4", "walk", "")]
    assert dataset.notes == ["1 class only in the training list: run, fast"]
    (tmp_path / "val.csv").rename(tmp_path / "validation.csv")
    assert load_labelled_set(tmp_path) == dataset


def test_lists_given_by_name(tmp_path: Path) -> None:
    own_lists(tmp_path / "data")
    write(tmp_path / "data/val.txt", "run/run3.mp4\n")
    mine = write(tmp_path / "mine.txt", "walk/walk3.mp4\nrun/run3.mp4\n")
    dataset = load_labelled_set(tmp_path / "data", test=mine)
    assert [row[0] for row in rows(dataset.test, tmp_path / "data")] == ["walk/walk3.mp4", "run/run3.mp4"]
    assert len(dataset.train) == 3 and dataset.validation == []
    with pytest.raises(InputError, match="gone.txt: no such test list"):
        load_labelled_set(tmp_path / "data", test=tmp_path / "gone.txt")
    with pytest.raises(InputError, match="the layout folders has its own"):
        load_labelled_set(tmp_path / "data", "folders", test=mine)


def test_a_training_list_needs_a_test_list(tmp_path: Path) -> None:
    own_lists(tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(InputError, match="test.txt: no such test list; name one with --test"):
        load_labelled_set(tmp_path)


@pytest.mark.parametrize("videos", ["", "UCF-101"])
def test_ucf101(tmp_path: Path, videos: str) -> None:
    base = ucf101(tmp_path, videos) / videos
    dataset = load_labelled_set(tmp_path)
    upper = "HandStandPushups"
    expected = [(f"{upper}/v_{upper}_g08_c01.avi", upper, f"{upper}_g08"), ("Bow/v_Bow_g08_c01.avi", "Bow", "Bow_g08")]
    assert rows(dataset.train, base) == expected
    assert rows(dataset.test, base) == [("Bow/v_Bow_g01_c01.avi", "Bow", "Bow_g01")]
    assert rows(load_labelled_set(tmp_path, split=2).test, base) == [("Bow/v_Bow_g08_c01.avi", "Bow", "Bow_g08")]
    with pytest.raises(InputError, match="no official split 3"):
        load_labelled_set(tmp_path, split=3)
    write(tmp_path / "ucfTrainTestlist/classInd.txt", "1 Bow\n2 HandstandPushups\n3 Yo Yo\n")
    with pytest.raises(InputError, match="classInd.txt: 1 class without a video: Yo Yo"):
        load_labelled_set(tmp_path)


@pytest.mark.parametrize("videos", ["", "hmdb51_org"])
def test_hmdb51(tmp_path: Path, videos: str) -> None:
    base = hmdb51(tmp_path, videos) / videos
    dataset = load_labelled_set(tmp_path)
    clap, sit = "clap/#20_Rhythm_clap_u_nm_np1_le_goo_", "sit/Film_sit_f_cm_np1_fr_med_"
    assert rows(dataset.train, base) == [(f"{clap}0.avi", "clap", "#20_Rhythm"), (f"{sit}0.avi", "sit", "Film")]
    assert rows(dataset.test, base) == [(f"{clap}1.avi", "clap", "#20_Rhythm"), (f"{sit}1.avi", "sit", "Film")]
    assert dataset.notes == ["1 video on neither side of this split, as its lists say"]
    assert any(
        "2 groups in both lists, training and test: #20_Rhythm, Film" in r
        for r in validate_labelled_set(tmp_path).remarks
    )


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
    assert any("4.webm" in remark and "1 video below" in remark for remark in validate_labelled_set(tmp_path).remarks)


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


def test_problems_are_all_reported_and_the_first_is_raised(tmp_path: Path) -> None:
    own_lists(tmp_path)
    gone = "".join(f"run/gone{i}.mp4\n" for i in range(4))
    write(tmp_path / "test.txt", f"{gone}run/run2.mp4\nwalk/walk0.mp4\nrun/run2.mp4\n")
    message = (
        r"test.txt: 4 videos listed but not found: \S*gone0.mp4, \S*gone1.mp4, \S*gone2.mp4 \.\.\..*1 more problem"
    )
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path)
    report = validate_labelled_set(tmp_path)
    text = "\n".join(report.format_lines())
    assert len(report.problems) == 2 and "1 video in both lists, training and test: " in text
    assert "test.txt: 1 repeated line; each file counts once" in text
    assert f"4 videos below {tmp_path} in no list" in text and report.counts["test"] == (2, 2)
    assert report.format_lines()[-1].startswith("to do: add the missing videos or take them out of the lists; ")


def test_one_file_under_two_names_counts_as_one(tmp_path: Path) -> None:
    own_lists(tmp_path)
    os.symlink(tmp_path / "run/run0.mp4", tmp_path / "run/again.mp4")
    write(tmp_path / "test.txt", "run/again.mp4\nwalk/walk1.mp4\n")
    with pytest.raises(InputError, match="1 video in both lists, training and test: .*again.mp4"):
        load_labelled_set(tmp_path)
    os.symlink(tmp_path / "run/run0.mp4", tmp_path / "walk/again.mp4")
    write(tmp_path / "train.txt", "run/run0.mp4\nwalk/again.mp4\n")
    with pytest.raises(InputError, match=r"1 video with two labels: .*again.mp4 \('run', 'walk'\)"):
        load_labelled_set(tmp_path)


def test_a_class_that_only_the_test_list_has_is_reported(tmp_path: Path) -> None:
    own_lists(tmp_path)
    write(tmp_path / "train.txt", "run/run0.mp4\n")
    note = "1 class only in the test list, so 1 test video can't be classified correctly: walk"
    assert load_labelled_set(tmp_path).notes == [note] and note in validate_labelled_set(tmp_path).remarks


def test_videos_without_a_class_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    write(tmp_path / "train.txt", "a.mp4\n")
    write(tmp_path / "test.txt", "b.mp4\n")
    with pytest.raises(InputError, match="1 video of the training list without a class: .*a.mp4.*columns path,label"):
        load_labelled_set(tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    touch(folders(tmp_path), "stray.mp4")
    with pytest.raises(InputError, match="no class folders .*1 video elsewhere: .*stray.mp4"):
        load_labelled_set(tmp_path)
    touch(tmp_path / "one", "run/a.mp4", "run/b.mp4")
    with pytest.raises(InputError, match="there is one folder only"):
        load_labelled_set(tmp_path / "one")


def test_an_empty_class_folder_is_refused_unless_lists_say_what_counts(tmp_path: Path) -> None:
    write(folders(tmp_path) / "notes/read.txt", "no class")
    (tmp_path / "jump").mkdir()
    with pytest.raises(InputError, match=f"{tmp_path}: 1 class without a video: jump"):
        load_labelled_set(tmp_path)
    own_lists(tmp_path)
    assert load_labelled_set(tmp_path).notes == [f"{tmp_path}: 1 class without a video: jump"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layout": "ucf"}, "unknown layout 'ucf'. Did you mean 'ucf101'"),
        ({"split": 0, "layout": "ucf101"}, "split 0: the layout ucf101 has splits 1, 2 and 3"),
        ({"split": 4}, "split 4: "),
        ({"split": 2}, r"split 2: the layout folders has no numbered splits \(UCF101 and HMDB51 do\)"),
        ({"layout": "kinetics"}, "no training list; Kinetics has train.csv"),
    ],
)
def test_wrong_options_are_refused_and_a_problem_of_the_report(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    folders(tmp_path)
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path, **options)
    assert not validate_labelled_set(tmp_path, **options).is_valid
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no lists of a known kind"):
        load_labelled_set(tmp_path, splits=tmp_path / "empty")
    assert "no such folder" in validate_labelled_set(tmp_path / "gone").format_lines()[1]


def test_the_drawn_test_part_moves_with_the_seed_and_not_with_the_folder(tmp_path: Path) -> None:
    for place in ("here", "there"):
        touch(
            tmp_path / place,
            *(
                f"{label}/v_{label}_g{g:02d}_c{c:02d}.avi"
                for label in ("run", "walk", "sit")
                for g in range(8)
                for c in range(3)
            ),
        )
    drawn = {seed: load_labelled_set(tmp_path / "here", seed=seed) for seed in range(5)}
    parts = {seed: rows(dataset.test, tmp_path / "here") for seed, dataset in drawn.items()}
    assert rows(load_labelled_set(tmp_path / "there", seed=3).test, tmp_path / "there") == parts[3]
    assert len({str(part) for part in parts.values()}) == 5
    for seed, dataset in drawn.items():
        assert len(dataset.test) == 18 and len(dataset.train) == 54
        assert dataset.notes == [
            f"no test list: 18 of 72 videos (25 %) make the test part, drawn by whole groups with seed {seed}"
        ]


def sides(items: list[VideoEntry], seed: int) -> tuple[dict[str, set[str]], dict[str, set[bool]], list[str]]:
    """Groups of each class, sides of each class, and the classes that are told to be torn."""
    train, test, torn = draw_test_split(items, Path("/d"), seed)
    assert not {i.group for i in train} & {i.group for i in test} and sorted(train + test, key=items.index) == items
    groups, where = defaultdict(set), defaultdict(set)
    for side, part in ((False, train), (True, test)):
        for entry in part:
            groups[entry.label].add(entry.group)
            where[entry.label].add(side)
    return groups, where, torn


def possible(groups: dict[str, set[str]]) -> bool:
    """Is there any choice of whole groups with every class of two groups or more on both sides? By trying them all."""
    names = sorted(set().union(*groups.values()))
    wanted = [of for of in groups.values() if len(of) > 1]
    choices = (
        {n for n, t in zip(names, bits, strict=True) if t} for bits in itertools.product((0, 1), repeat=len(names))
    )
    return any(all(of & test and of - test for of in wanted) for test in choices)


def test_groups_stay_whole_and_classes_are_on_both_sides_wherever_that_is_possible() -> None:
    chance, refused = random.Random(5), 0
    for seed in range(150):
        labels, groups_n = chance.randint(1, 6), chance.randint(2, 7)
        items = [
            VideoEntry(Path(f"/d/{i}.mp4"), f"c{chance.randrange(labels)}", f"g{chance.randrange(groups_n)}")
            for i in range(chance.randint(4, 16))
        ]
        try:
            groups, where, torn = sides(items, seed)
        except InputError as error:
            refused += 1
            assert "every class has a single group" in str(error)
            continue
        split = [name for name, of in groups.items() if len(of) > 1]
        assert torn == sorted(name for name in split if len(where[name]) < 2)
        assert not torn or not possible(groups)
    assert refused < 20


def test_classes_tied_in_a_ring_can_not_all_be_on_both_sides() -> None:
    ring = [("c0", "a"), ("c0", "b"), ("c1", "b"), ("c1", "c"), ("c2", "c"), ("c2", "a")]
    items = [VideoEntry(Path(f"/d/{i}.mp4"), label, group) for i, (label, group) in enumerate(ring)]
    groups, _, torn = sides(items, 0)
    assert len(torn) == 1 and not possible(groups)


def test_a_class_of_one_group_stays_in_training(tmp_path: Path) -> None:
    touch(tmp_path, "run/v_run_g01_c01.avi", "run/v_run_g01_c02.avi", *(f"sit/v_sit_g0{i}_c01.avi" for i in range(4)))
    for seed in range(6):
        dataset = load_labelled_set(tmp_path, seed=seed)
        assert {entry.label for entry in dataset.test} == {"sit"} and len(dataset.test) == 1
        assert "1 class only in the training list: run" in dataset.notes
    touch(tmp_path / "lone", "run/v_run_g01_c01.avi", "sit/v_sit_g01_c01.avi")
    with pytest.raises(InputError, match="no test part can be made, as every class has a single group"):
        load_labelled_set(tmp_path / "lone")
