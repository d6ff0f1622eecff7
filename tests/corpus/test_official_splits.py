"""The official splits of UCF101 and HMDB51."""

from pathlib import Path

import pytest
from layouts import hmdb51, rows, touch, ucf101, write

from unreel.corpus.labels.labelled_set import load_labelled_set, validate_labelled_set
from unreel.corpus.labels.official_splits import read_official_split
from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError


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
        for r in validate_labelled_set(tmp_path).notes
    )


UPPER, LOWER = "HandStandPushups", "HandstandPushups"


@pytest.mark.parametrize("folder", [UPPER, LOWER])
@pytest.mark.parametrize("file", [UPPER, LOWER])
@pytest.mark.parametrize("listed", [UPPER, LOWER])
@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_ucf101_splits_whichever_way_handstands_are_spelled(
    tmp_path: Path, folder: str, file: str, listed: str, suffix: str
) -> None:
    data, lists = tmp_path / "UCF-101", tmp_path / "ucfTrainTestlist"
    videos = [f"{folder}/v_{file}_g01_c01{suffix}", f"{folder}/v_{file}_g08_c02{suffix}", f"Bow/v_Bow_g01_c01{suffix}"]
    touch(data, *videos, f"Bow/v_Bow_g01_c01{suffix}.txt", "Bow/v_Bow_g01_c01.txt")
    touch(lists, "classInd.txt")
    (lists / "trainlist02.txt").write_text(f"{listed}/v_{listed}_g08_c02.avi 37\r\nBow/v_Bow_g01_c01.avi 1\r\n")
    (lists / "testlist02.txt").write_text(f"{listed}/v_{listed}_g01_c01.avi\r\n")
    dataset = load_labelled_set(data, splits=lists, split=2)
    train, test = dataset.train, dataset.test
    assert train == [
        VideoEntry(data / f"{folder}/v_{file}_g08_c02{suffix}", folder, f"{file}_g08"),
        VideoEntry(data / f"Bow/v_Bow_g01_c01{suffix}", "Bow", "Bow_g01"),
    ]
    assert test == [VideoEntry(data / f"{folder}/v_{file}_g01_c01{suffix}", folder, f"{file}_g01")]
    again = load_labelled_set(data, splits=tmp_path, split=2)
    assert (again.train, again.test) == (train, test)


def test_hmdb51_splits(tmp_path: Path) -> None:
    data, lists = tmp_path / "hmdb51", tmp_path / "testTrainMulti_7030_splits"
    clap = [f"#20_Rhythm_clap_u_nm_np1_le_goo_{n}.avi" for n in range(3)]
    touch(data, *(f"clap/{name}" for name in clap), "sit/Film_sit_f_cm_np1_fr_med_0.avi")
    touch(lists, "none")
    (lists / "clap_test_split1.txt").write_text(
        "".join(f"{name} {side} \n" for name, side in zip(clap, "120", strict=True))
    )
    (lists / "sit_test_split1.txt").write_text("Film_sit_f_cm_np1_fr_med_0.avi 2 \n")
    dataset = load_labelled_set(data, splits=lists)
    train, test = dataset.train, dataset.test
    assert train == [VideoEntry(data / "clap" / clap[0], "clap", "#20_Rhythm")]
    assert test == [
        VideoEntry(data / "clap" / clap[1], "clap", "#20_Rhythm"),
        VideoEntry(data / "sit/Film_sit_f_cm_np1_fr_med_0.avi", "sit", "Film"),
    ]
    (lists / "sit_test_split1.txt").write_text("Film_sit_f_cm_np1_fr_med_0.avi 3\n")
    with pytest.raises(InputError, match=r"sit_test_split1.txt, line 1: .* does not end with 0 \(unused\)"):
        load_labelled_set(data, splits=lists)


def test_a_missing_official_split_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no official split 3\. Looked for trainlist03\.txt .*\*_test_split3\.txt"):
        read_official_split(tmp_path, 3, tmp_path)
