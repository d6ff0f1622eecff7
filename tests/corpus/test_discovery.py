"""Folders and lists: which videos are found, with which labels and groups."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
from layouts import touch

from unreel.corpus.discovery import find_videos
from unreel.corpus.labels.labelled_set import load_labelled_set
from unreel.corpus.lists import VideoEntry, read_json
from unreel.errors import InputError


def names(listed: list[VideoEntry], root: Path) -> list[str]:
    return [entry.path.relative_to(root).as_posix() for entry in listed]


def test_a_folder_is_walked_to_any_depth_in_order(tmp_path: Path) -> None:
    touch(tmp_path, "b/c/d.MKV", "a.mp4", "b/x.webm", "notes.txt", "b/.hidden.mp4", ".cache/y.mp4", "b/z.gif", "b/e.ts")
    assert names(find_videos(tmp_path), tmp_path) == ["a.mp4", "b/c/d.MKV", "b/e.ts", "b/x.webm", "b/z.gif"]


def test_odd_names_are_found_as_they_are(tmp_path: Path) -> None:
    odd = ["@20 Rhythm.mp4", "#1.mp4", "boom!(snap)&clap.mp4", "日本/видео [1].mp4", "a'b\"c, d.avi", "-x.mp4"]
    touch(tmp_path, *odd)
    assert sorted(names(find_videos(tmp_path), tmp_path)) == sorted(odd)


def test_link_loops_end_and_linked_folders_are_walked_once(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/x.mp4", "elsewhere/y.mp4")
    os.symlink("..", tmp_path / "in/a/up")
    os.symlink("self", tmp_path / "in/self")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in/link")
    os.symlink(tmp_path / "in/a", tmp_path / "in/0_again")
    os.symlink("nowhere.mp4", tmp_path / "in/broken.mp4")
    assert names(find_videos(tmp_path / "in"), tmp_path / "in") == ["a/x.mp4", "broken.mp4", "link/y.mp4"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "walk/x.mp4", "run/y.mp4", "run/locked/z.mp4")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    entries = find_videos(tmp_path)
    assert names(entries, tmp_path) == ["run/locked", "run/y.mp4", "walk/x.mp4"]
    assert [entry.label for entry in entries][1:] == ["run", "walk"]


@pytest.mark.parametrize(
    "files, labels",
    [
        (["run/a.mp4", "walk/b.mp4"], ["run", "walk"]),
        (["run/a.mp4"], [""]),
        (["run/a.mp4", "walk/b.mp4", "c.mp4"], ["", "", ""]),
        (["run/x/a.mp4", "walk/b.mp4"], ["", ""]),
    ],
)
def test_class_folders_give_labels(tmp_path: Path, files: list[str], labels: list[str]) -> None:
    entries = find_videos(touch(tmp_path, *files))
    assert sorted(entry.label for entry in entries) == sorted(labels)


def test_groups_come_from_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/y, z.mp4", "b/v_Bow_g03_c01.avi")
    (tmp_path / "groups.tsv").write_text("path\tgroup\na/x.mp4\tanna\n./b/y, z.mp4\tbert\n")
    assert [entry.group for entry in find_videos(tmp_path)] == ["anna", "Bow_g03", "bert"]
    (tmp_path / "groups.tsv").unlink()
    (tmp_path / "groups.csv").write_text('a/x.mp4,carl\n"b/y, z.mp4",dora\n')
    assert [entry.group for entry in find_videos(tmp_path)] == ["carl", "Bow_g03", "dora"]
    (tmp_path / "groups.csv").write_text("a/x.mp4,carl\nb/y, z.mp4,dora\n")
    with pytest.raises(InputError, match=r"groups\.csv, line 2"):
        find_videos(tmp_path)


def test_ucf101_and_hmdb51_names_give_groups(tmp_path: Path) -> None:
    touch(tmp_path, "clap/#20_Rhythm_clap_u_nm_np1_le_goo_4.avi", "Bow/v_Bow_g03_c01.avi", "Bow/other.avi")
    assert [entry.group for entry in find_videos(tmp_path)] == ["", "Bow_g03", "#20_Rhythm"]


def test_a_text_list(tmp_path: Path) -> None:
    touch(tmp_path, "run/a 1.mp4", "walk/b.mp4", "walk/#c.mp4", "no_suffix")
    lines = ["\ufeff# comment", "run/a 1.mp4", "", "walk/b.mp4 17", "run/../walk/b.mp4", "walk/#c.mp4", "gone.mp4"]
    (tmp_path / "list.txt").write_bytes("\r\n".join([*lines, "no_suffix"]).encode())
    with pytest.warns(RuntimeWarning, match="1 repeat of files named before, line 5;"):
        listed = find_videos(tmp_path / "list.txt")
    assert names(listed, tmp_path) == ["run/a 1.mp4", "walk/b.mp4", "walk/#c.mp4", "gone.mp4", "no_suffix"]


def test_a_listed_name_may_begin_with_a_hash(tmp_path: Path) -> None:
    touch(tmp_path, "#20_Rhythm.mp4")
    (tmp_path / "list.txt").write_text("#20_Rhythm.mp4\n#21_Rhythm.mp4\n")
    assert names(find_videos(tmp_path / "list.txt"), tmp_path) == ["#20_Rhythm.mp4"]


def test_relative_paths_of_a_list_belong_to_its_folder_or_to_root(tmp_path: Path) -> None:
    touch(tmp_path, "data/run/a.mp4", "data/walk/b.mp4", "lists/none")
    absolute = tmp_path / "data/walk/b.mp4"
    (tmp_path / "lists/all.txt").write_text(f"run/a.mp4\n{absolute}\n")
    listed = find_videos(tmp_path / "lists/all.txt", tmp_path / "data")
    assert [(entry.path, entry.label) for entry in listed] == [(tmp_path / "data/run/a.mp4", "run"), (absolute, "walk")]
    assert find_videos(tmp_path / "lists/all.txt")[0].path == tmp_path / "lists/run/a.mp4"


def test_a_csv_list(tmp_path: Path) -> None:
    rows = '\ufeffPath, Label,group\r\n"a, b.mp4",run,anna\r\nc.mp4,,\r\nd.mp4\r\n\r\nc.mp4,,\r\n'
    (tmp_path / "list.csv").write_bytes(rows.encode())
    expected = [("a, b.mp4", "run", "anna"), ("c.mp4", "", ""), ("d.mp4", "", "")]
    with pytest.warns(RuntimeWarning, match="1 repeat of files named before, line 6; each of the 3 files counts once"):
        found = find_videos(tmp_path / "list.csv")
    assert found == [VideoEntry(tmp_path / path, label, group) for path, label, group in expected]


def test_repeats_in_a_list_are_counted_with_their_lines(tmp_path: Path) -> None:
    """Also where two spellings name one file."""
    (tmp_path / "list.txt").write_text(f"a.mp4\n# a.mp4\nb.mp4\n./a.mp4\n{tmp_path}/b.mp4\na.mp4\na.mp4\n")
    with pytest.warns(RuntimeWarning, match=r"list\.txt: 4 repeats of files named before, line 4, 5, 6 \.\.\.;"):
        assert names(find_videos(tmp_path / "list.txt"), tmp_path) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.txt", "# nothing\n\n", "names no video"),
        ("a.csv", "", "line 1 must name the columns"),
        ("a.csv", "file,label\nx.mp4,run\n", "line 1 must name the columns.*file,label"),
        ("a.csv", "path,label\nx, y.mp4,run\n", "line 2: 3 cells, 2 columns"),
        ("a.csv", "path,label\n,run\n", "line 2: no path"),
        ("a.csv", "path,label,Path\na.mp4,run,b.mp4\n", "line 1 names the column path more than once; keep one"),
        ("a.tsv", "label\tpath\tlabel\nrun\ta.mp4\twalk\n", "line 1 names the column label more than once"),
        ("a.csv", 'path,label\na.mp4,run\n"b.mp4,run\nc.mp4,run\n', "line 3: not valid CSV .*is a quote left open"),
        ("a.csv", "path,label\nx.mp4,run\nx.mp4,walk\n", "x.mp4 has two labels, 'run' and 'walk'"),
        ("a.txt", b"\xff\xfea\x00", "line 1: not UTF-8"),
        ("a.csv", b"path\na.mp4\n\xff.mp4\n", "line 3: not UTF-8"),
        ("a.txt", "a.mp4\nb\0c.mp4\n", "line 2: a NUL character"),
        ("a.csv", "path,label\na.mp4,\0\n", "line 2: a NUL character"),
        ("a.txt", "a.mp4\n" + "x" * 300 + ".mp4\n", "line 2: a name of 304 bytes"),
        ("a.tsv", "path\n\n" + "é" * 130 + "\n", "line 3: a name of 260 bytes"),
    ],
)
def test_a_bad_list_is_refused_in_one_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        find_videos(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_or_empty_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder or list"):
        find_videos(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no video in it"):
        find_videos(tmp_path)


def test_what_is_neither_folder_nor_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    os.mkfifo("pipe.txt")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    Path("link").symlink_to("nowhere")
    kinds = {"pipe.txt": "a named pipe, not", "socket": "a socket, not", "/dev/null": "a device, not"}
    for name, says in (kinds | {"link": "a link to something that is not there"}).items():
        with pytest.raises(InputError, match=f"{name}: {says}.*Give a folder of videos, or a list"):
            find_videos(tmp_path / name)


def test_a_split_has_labels_and_groups(tmp_path: Path) -> None:
    data = touch(tmp_path / "data", "run/a.mp4", "run/b.mp4", "walk/c.mp4")
    (data / "groups.tsv").write_text("run/a.mp4\tanna\nrun/b.mp4\tbert\nwalk/c.mp4\tanna\n")
    (tmp_path / "train.txt").write_text("run/a.mp4\nwalk/c.mp4\nwalk/c.mp4\n")
    (tmp_path / "test.csv").write_text("path,label\nrun/b.mp4,running\n")
    dataset = load_labelled_set(data, train=tmp_path / "train.txt", test=tmp_path / "test.csv")
    train, test = dataset.train, dataset.test
    assert train == [VideoEntry(data / "run/a.mp4", "run", "anna"), VideoEntry(data / "walk/c.mp4", "walk", "anna")]
    assert test == [VideoEntry(data / "run/b.mp4", "running", "bert")]


def test_a_list_does_not_take_another_container(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.txt").write_text("a.avi\n")
    assert names(find_videos(tmp_path / "list.txt"), tmp_path) == ["a.avi"]


def test_accents_may_be_composed_or_not(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFD", "café/é.mp4"))
    (tmp_path / "list.txt").write_text(unicodedata.normalize("NFC", "café/é.mp4\n"))
    assert find_videos(tmp_path / "list.txt")[0].path.is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply|not valid JSON"),
        ('{"a":\n"b\\u0000.mp4"}', "line 2: a NUL character"),
        ('{"a":\n"\0"}', "line 2: a NUL character"),
        ('{"a": ' + "9" * 5000 + "}", "can't be read"),
    ],
)
def test_rubbish_in_json_is_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_names_files_of_any_name(tmp_path: Path) -> None:
    """Quotes keep line ends and commas; the same list with line ends of Windows says the same."""
    odd = ["two\nlines.mp4", "cr\r.mp4", "tab\there.mp4", "comma, 'q\".mp4", "a\u2028.mp4"]
    touch(tmp_path, *odd)
    text = "path,label\n" + "".join('"{}",run\n'.format(name.replace('"', '""')) for name in odd)
    (tmp_path / "list.csv").write_bytes(text.encode())
    assert names(find_videos(tmp_path / "list.csv"), tmp_path) == odd
    (tmp_path / "windows.csv").write_bytes(b"path,label\r\ncomma,run\r\n\r\nb.mp4,run\r\n")
    assert names(find_videos(tmp_path / "windows.csv"), tmp_path) == ["comma", "b.mp4"]
