"""A store follows its files by content: nothing is embedded twice, nothing is left behind, nothing is mixed."""

import errno
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from commands import refused, succeeds
from videos import encode

from unreel.errors import DiskError, InputError, NonFiniteError, RunError
from unreel.indexing.store import embeddings_file, part_writer, parts, update
from unreel.indexing.store.clip_sampling import EvenSampling
from unreel.indexing.store.embeddings_file import list_parts, read_embeddings, read_metadata
from unreel.indexing.store.skipped_videos import is_permanent, read_skipped, record_skipped, write_skipped
from unreel.indexing.store.update import make_update_id, update_store
from unreel.io import retry
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.training.runtime.distributed import SINGLE_PROCESS
from unreel.types import FileFailure
from unreel.verbs.indexing.embed import embed
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sources.source import ContentStat, LocalFile
from unreel.views.view_spec import ViewSpec

TWO = EvenSampling("clip", 2)


def make_encoder(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    folder.mkdir()
    save_encoder(Encoder(EncoderSpec("tiny", "iic", ClipSpec(4, lead_in=1), ViewSpec(size=32))).eval(), folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder") / "e")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for n in range(8):
        encode(folder / f"{n}.mp4", 12 + n)
    return folder


@pytest.fixture
def videos(originals: Path, tmp_path: Path) -> Path:
    """Six of them, to be moved and spoiled."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for n in range(6):
        shutil.copy(originals / f"{n}.mp4", folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """One entry for each video that went through an encoder; parts of two videos, no loader processes."""
    seen: list[int] = []
    features = Encoder.extract_features

    def counted(self: Encoder, frames: torch.Tensor, layer: str = "pooled") -> Any:
        seen.append(len(frames))
        return features(self, frames, layer)

    monkeypatch.setattr(Encoder, "extract_features", counted)
    monkeypatch.setattr(part_writer, "MAX_PART_VIDEOS", 2)
    monkeypatch.setattr(update, "join_processes", lambda _devices: (SINGLE_PROCESS, torch.device("cpu"), 0))
    yield seen


def rows(folder: Path) -> dict[tuple[str, float], tuple[float, str, str, bytes]]:
    """Every row by path and start; two of one are an error."""
    e = read_embeddings(folder)
    columns = zip(e.paths, e.start_s, e.end_s, e.labels, e.content_hashes, e.vectors, strict=True)
    found = {(path, start): (end, label, h, vector.tobytes()) for path, start, end, label, h, vector in columns}
    assert len(found) == len(e)
    return found


def afresh(encoder: Path, source: Path, tmp_path: Path) -> dict[tuple[str, float], tuple[float, str, str, bytes]]:
    """What a store made at one go holds."""
    new = tmp_path / "afresh"
    shutil.rmtree(new, ignore_errors=True)
    update_store(encoder, source, new, TWO)
    return rows(new)


# --- what is written


def test_rows_are_those_of_a_file(encoder: Path, videos: Path, tmp_path: Path, out: Path) -> None:
    count, left_out = embed(encoder, videos, out, "clip", 2)
    embed(encoder, videos, tmp_path / "e.parquet", "clip", 2)
    one, many = read_embeddings(tmp_path / "e.parquet"), read_embeddings(out)
    assert (count, left_out) == (12, []) and many.paths == one.paths and many.labels == one.labels
    np.testing.assert_array_equal(many.vectors, one.vectors)
    np.testing.assert_array_equal(many.start_s, one.start_s)
    np.testing.assert_array_equal(many.end_s, one.end_s)
    assert read_metadata(out)["encoder_hash"] == read_metadata(tmp_path / "e.parquet")["encoder_hash"]


def test_the_folder_is_plain_parquet_of_whole_videos(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    names = ["files.parquet", "left_out.csv", "lock", "parts", "provenance.json", "store.json"]
    assert sorted(p.name for p in out.iterdir()) == names
    parts = [pq.read_table(part) for part in sorted((out / "parts").iterdir())]
    assert [len(set(part["path"].to_pylist())) for part in parts] == [2, 2, 2]
    table = pq.read_table(out / "parts")
    assert table.num_rows == 12
    assert table.column_names == ["path", "start_s", "end_s", "label", "embedding", "content_hash"]
    assert json.loads((out / "store.json").read_text())["clips"] == {"per": "clip", "num_clips": 2}


@pytest.mark.parametrize("limit, value", [("MAX_PART_VIDEOS", 3), ("MAX_PART_BYTES", 5 * 256 * 4), ("MAX_PART_S", 0.0)])
def test_a_part_is_full_by_videos_bytes_or_time(
    limit: str, value: float, encoder: Path, videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "MAX_PART_VIDEOS", 100)
    monkeypatch.setattr(part_writer, limit, value)
    update_store(encoder, videos, out, TWO)
    assert len(list_parts(out)) == {"MAX_PART_VIDEOS": 2, "MAX_PART_BYTES": 2, "MAX_PART_S": 6}[limit]


# --- what is followed


def test_parts_of_a_later_update_sort_after_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index reads the vectors of its own parts first, and those of an update behind them."""
    names = []
    for count, moment_ns in enumerate((7_000_000, 8_000_000, 999_999_000, 1_000_000_000)):
        monkeypatch.setattr("time.time_ns", lambda ns=moment_ns: 1_700_000_000 * 10**9 + ns)
        monkeypatch.setattr("uuid.uuid4", lambda n=count: uuid.UUID(int=(2**128 - 1) >> n))
        names.append(make_update_id())
    assert sorted(names) == names and all(name.count("-") == 2 for name in names)


def test_a_second_run_does_nothing(
    encoder: Path, videos: Path, out: Path, calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(encoder, videos, out, TWO)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in list_parts(out)}
    calls.clear()
    monkeypatch.setattr(LocalFile, "hash_content", lambda file: pytest.fail(f"{file.path} was read again"))
    again = update_store(encoder, videos, out, TWO)
    assert not calls and (again.num_rows, again.num_videos, again.num_embedded) == (12, 6, 0)
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in list_parts(out)} == before


def test_new_changed_moved_and_deleted(
    encoder: Path, originals: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    update_store(encoder, videos, out, TWO)
    calls.clear()
    shutil.copy(originals / "6.mp4", videos / "new.mp4")
    shutil.copy(originals / "7.mp4", videos / "0.mp4")  # changed
    (videos / "below").mkdir()
    (videos / "1.mp4").rename(videos / "below" / "moved.mp4")
    (videos / "2.mp4").unlink()
    done = update_store(encoder, videos, out, TWO)
    assert len(calls) == 2 and (done.num_embedded, done.num_videos) == (2, 6)
    assert rows(out) == afresh(encoder, videos, tmp_path)


def test_two_that_change_places_and_one_that_is_only_touched(
    encoder: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    update_store(encoder, videos, out, TWO)
    calls.clear()
    (videos / "0.mp4").rename(videos / "x")
    (videos / "5.mp4").rename(videos / "0.mp4")
    (videos / "x").rename(videos / "5.mp4")
    os.utime(videos / "3.mp4", ns=(1, 1))
    update_store(encoder, videos, out, TWO)
    assert not calls and rows(out) == afresh(encoder, videos, tmp_path)


def test_equal_files_are_embedded_once_and_each_has_rows(
    encoder: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    shutil.copy(videos / "3.mp4", videos / "twin.mp4")
    done = update_store(encoder, videos, out, TWO)
    assert len(calls) == 6 and (done.num_rows, done.num_videos, done.num_embedded) == (14, 7, 6)
    shutil.copy(videos / "3.mp4", videos / "a third.mp4")
    (videos / "3.mp4").unlink()
    update_store(encoder, videos, out, TWO)
    assert len(calls) == 6
    assert {Path(path).name for path, _ in rows(out)} >= {"twin.mp4", "a third.mp4"}
    assert rows(out) == afresh(encoder, videos, tmp_path)
    for name in ("twin.mp4", "a third.mp4"):
        (videos / name).unlink()
    assert update_store(encoder, videos, out, TWO).num_videos == 5


def test_labels_follow_the_layout(encoder: Path, videos: Path, out: Path, calls: list[int]) -> None:
    update_store(encoder, videos, out, TWO)
    calls.clear()
    for n in range(6):
        folder = videos / f"class {n % 2}"
        folder.mkdir(exist_ok=True)
        (videos / f"{n}.mp4").rename(folder / f"{n}.mp4")
    update_store(encoder, videos, out, TWO)
    assert not calls and {label for _, label, _, _ in rows(out).values()} == {"class 0", "class 1"}
    assert all(Path(path).parent.name == row[1] for (path, _), row in rows(out).items())


def test_another_source_adds_and_takes_nothing(
    encoder: Path, originals: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    update_store(encoder, videos, out, TWO)
    (tmp_path / "list.txt").write_text(f"{originals / '7.mp4'}\n{videos / '0.mp4'}\n{originals / '6.mp4'}\n")
    assert update_store(encoder, tmp_path / "list.txt", out, TWO).num_videos == 8
    assert update_store(encoder, videos / "4.mp4", out, TWO).num_videos == 8
    assert update_store(encoder, videos, out, TWO).num_videos == 8
    (tmp_path / "list.txt").write_text(f"{originals / '7.mp4'}\n")
    assert update_store(encoder, tmp_path / "list.txt", out, TWO).num_videos == 7, (
        "the list named 6.mp4, and does no more"
    )
    (videos / "0.mp4").unlink()
    assert update_store(encoder, videos, out, TWO).num_videos == 6
    assert len(calls) == 8


def test_a_file_of_a_list_that_lay_in_the_folder_leaves_with_it(
    encoder: Path, originals: Path, videos: Path, tmp_path: Path, out: Path
) -> None:
    hidden = videos / ".hidden.mp4"  # which the folder itself would not name
    shutil.copy(originals / "7.mp4", hidden)
    (tmp_path / "list.txt").write_text(f"{hidden}\n{videos / '0.mp4'}\n")
    update_store(encoder, tmp_path / "list.txt", out, TWO)
    assert update_store(encoder, videos, out, TWO).num_videos == 7
    hidden.unlink()
    (videos / "0.mp4").unlink()
    assert update_store(encoder, videos, out, TWO).num_videos == 5


def test_a_folder_that_is_empty_just_now_takes_nothing(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    before = rows(out)
    videos.rename(videos.with_name("unmounted"))
    videos.mkdir()
    with pytest.raises(InputError, match="no video in it"):
        update_store(encoder, videos, out, TWO)
    assert rows(out) == before


def test_a_list_on_a_disk_that_is_not_mounted_takes_nothing(
    encoder: Path, videos: Path, tmp_path: Path, out: Path
) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in sorted(videos.iterdir())))
    update_store(encoder, tmp_path / "list.txt", out, TWO)
    before = rows(out)
    videos.rename(videos.with_name("unmounted"))
    with pytest.raises(InputError, match="none of the 6 known files .* mounted"):
        update_store(encoder, tmp_path / "list.txt", out, TWO)
    assert rows(out) == before
    videos.with_name("unmounted").rename(videos)
    (videos / "0.mp4").unlink()
    assert update_store(encoder, tmp_path / "list.txt", out, TWO).num_videos == 5


def test_a_known_file_that_can_not_be_read_just_now_stays(
    encoder: Path, videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_store(encoder, videos, out, TWO)
    before, get_content_stat = rows(out), LocalFile.get_content_stat

    def stale(file: LocalFile) -> ContentStat:
        if file.path.endswith("3.mp4"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return get_content_stat(file)

    monkeypatch.setattr(LocalFile, "get_content_stat", stale)
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    done = update_store(encoder, videos, out, TWO)
    assert rows(out) == before and [Path(failure.path).name for failure in done.left_out] == ["3.mp4"]


def test_a_busy_machine_is_no_lasting_reason() -> None:
    for reason in ("missing", "unreadable"):
        assert not is_permanent(FileFailure("", reason))
    assert not is_permanent(FileFailure("", "damaged", "reading it took too long", exceeded_limits=True))
    for reason, detail in (("damaged", "frame 3: Invalid data"), ("not a video", ""), ("damaged", "2 MB of memory")):
        assert is_permanent(FileFailure("", reason, detail))


def test_the_lists_tell_what_exceeded_its_limits(tmp_path: Path) -> None:
    failures = {
        "slow": FileFailure("a.mp4", "damaged", "in other words", exceeded_limits=True),
        "bad": FileFailure("b.mp4", "damaged", "the decoder said: 2 MB of memory"),
    }
    for hash_, failure in failures.items():
        record_skipped(tmp_path, "x", hash_, failure)
    assert [is_permanent(failure) for failure in read_skipped(tmp_path).values()] == [False, True]
    write_skipped(tmp_path, failures.items())
    assert [is_permanent(failure) for failure in read_skipped(tmp_path).values()] == [False, True]
    assert (tmp_path / "left_out.csv").read_text().splitlines()[1] == "a.mp4,slow,damaged: in other words,yes"


def test_lists_of_earlier_versions_tell_by_their_texts_what_exceeded_its_limits(tmp_path: Path) -> None:
    slow, large = (
        "damaged: reading it did not end within 300 s",
        "damaged: reading it takes more than 4096 MB of memory",
    )
    (tmp_path / "left_out.csv").write_text(f"path,content_hash,reason\na.mp4,a,{slow}\nb.mp4,b,{large}\n")
    (tmp_path / ".left_out-x.csv").write_text(f"c,{slow}\nd,damaged: frame 3\n")
    found = {hash_: is_permanent(failure) for hash_, failure in read_skipped(tmp_path).items()}
    assert found == {"a": False, "b": False, "c": False, "d": True}


# --- what is left out


def test_bad_files_are_named_and_not_tried_again_until_they_change(
    encoder: Path, originals: Path, videos: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (videos / "bad.mp4").write_bytes(b"no video at all")
    (videos / "bad too.mp4").write_bytes(b"no video at all")
    os.mkfifo(videos / "pipe.mp4")
    (videos / "gone.mp4").symlink_to(videos / "nowhere.mp4")
    done = update_store(encoder, videos, out, TWO)
    reasons = {Path(failure.path).name: str(failure) for failure in done.left_out}
    assert set(reasons) == {"bad.mp4", "bad too.mp4", "pipe.mp4", "gone.mp4"}
    assert reasons["gone.mp4"] == "missing" and reasons["pipe.mp4"] == "unreadable: not a regular file"
    assert reasons["bad.mp4"].startswith("not a video") and done.num_videos == 6
    assert (out / "left_out.csv").read_text().count("\n") == 5 and not list(out.glob(".*"))
    monkeypatch.setattr(
        EvenSampling, "embed_videos", lambda _self, _encoder, videos, *_: pytest.fail(str(videos)) if videos else []
    )
    assert len(update_store(encoder, videos, out, TWO).left_out) == 4
    monkeypatch.undo()
    shutil.copy(originals / "6.mp4", videos / "bad.mp4")
    (videos / "pipe.mp4").unlink()
    assert {Path(failure.path).name for failure in update_store(encoder, videos, out, TWO).left_out} == {
        "bad too.mp4",
        "gone.mp4",
    }


def test_what_was_unreadable_for_a_moment_is_tried_again(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    part = list_parts(out)[0]
    hash_ = read_embeddings(out).content_hashes[0]
    part.unlink()
    record_skipped(out, "x", hash_, FileFailure("", "unreadable", "Stale file handle"))
    (out / ".left_out-y.csv").write_text("torn")  # by a kill
    assert update_store(encoder, videos, out, TWO).num_videos == 6


def test_nothing_to_embed_is_an_error(encoder: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match=r"no video could be embedded; the first: .*bad\.mp4: not a video"):
        update_store(encoder, tmp_path / "v", out, TWO)


def test_vectors_that_are_not_finite_are_refused(encoder: Path, videos: Path, tmp_path: Path, out: Path) -> None:
    from unreel.embedding import load_encoder

    broken = load_encoder(encoder)
    with torch.no_grad():
        next(broken.backbone.parameters()).fill_(float("nan"))
    (tmp_path / "broken").mkdir()
    save_encoder(broken, tmp_path / "broken")
    with pytest.raises(NonFiniteError, match="not finite"):
        update_store(tmp_path / "broken", videos, out, TWO)
    assert not list_parts(out)


# --- what is refused


def test_another_encoder_and_another_choice(encoder: Path, videos: Path, tmp_path: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    before = rows(out)
    other = make_encoder(tmp_path / "other", seed=1)
    refused("embed", other, videos, "--out", out, says=("of another encoder", "made them, or choose another --out"))
    (out / "encoder").mkdir()  # as an index has it
    refused("embed", other, videos, "--out", out, says=(f"made them ({out / 'encoder'} is a copy of it), or",))
    says = ("--per clip --num-clips 2", "--per video --num")
    refused("embed", encoder, videos, "--out", out, "--per", "video", says=says)
    assert rows(out) == before


def test_folders_that_are_no_store(encoder: Path, videos: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letters.txt").write_text("")
    (tmp_path / "file").write_text("")
    refused("embed", encoder, videos, "--out", tmp_path / "mine", says=("letters.txt", "is not a store"))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["letters.txt"]
    refused("embed", encoder, videos, "--out", tmp_path / "file", says=("is a file",))
    refused("embed", encoder, videos, "--out", tmp_path / "file" / "below", says=("can't be made",))
    update_store(encoder, videos, out, TWO)
    about = (out / "store.json").read_text()
    (out / "store.json").unlink()
    refused("embed", encoder, videos, "--out", out, says=("half a store", "store.json is missing"))
    with pytest.raises(InputError, match=r"no store\.json"):
        read_embeddings(out)
    (out / "store.json").write_text(about.replace('"format": 1', '"format": 2'))
    refused("embed", encoder, videos, "--out", out, says=("format 2", "reads format 1"))
    (out / "store.json").write_text(about[:50])
    refused("embed", encoder, videos, "--out", out, says=("store.json", "not what unreel wrote"))
    (out / "store.json").write_text(about)
    (out / "files.parquet").unlink()
    with pytest.raises(InputError, match=r"files\.parquet: the records of the files can't be read"):
        update_store(encoder, videos, out, TWO)
    refused("embed", encoder, videos, "--out", tmp_path / "e.parquet", "--devices", 2, says=("one process writes",))


def test_damaged_and_foreign_parts_are_named_and_made_again(
    encoder: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    update_store(encoder, videos, out, TWO)
    before, part = rows(out), list_parts(out)[1]
    part.write_bytes(part.read_bytes()[:-20])
    refused("embed", encoder, videos, "--out", out, "--per", "clip", "--num-clips", 2, says=(part.name, "Remove it"))
    with pytest.raises(InputError, match=part.name):
        read_embeddings(out)
    calls.clear()
    part.unlink()
    update_store(encoder, videos, out, TWO)
    assert len(calls) == 2 and rows(out) == before
    foreign = tmp_path / "foreign"
    update_store(make_encoder(tmp_path / "other", seed=1), videos, foreign, TWO)
    shutil.copy(list_parts(foreign)[0], out / "parts" / "0.parquet")
    with pytest.raises(InputError, match=r"0\.parquet: a part of another encoder"):
        update_store(encoder, videos, out, TWO)


def test_flipped_bits_in_vectors_are_found_on_reading(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    part = list_parts(out)[0]
    data = bytearray(part.read_bytes())
    column = pq.ParquetFile(part).metadata.row_group(0).column(4)
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1  # there is no dictionary before it
    part.write_bytes(data)
    with pytest.raises(InputError, match=part.name):
        read_embeddings(out)


def test_rows_that_stand_twice_stay_once(encoder: Path, videos: Path, out: Path) -> None:
    """As a process might leave behind that outlived its command."""
    update_store(encoder, videos, out, TWO)
    before, part = rows(out), list_parts(out)[0]
    shutil.copy(part, part.with_name("later.parquet"))
    (out / "parts" / ".half.parquet.7.part").write_bytes(b"half")
    update_store(encoder, videos, out, TWO)
    assert rows(out) == before and not list((out / "parts").glob(".*"))


def test_two_commands_in_one_store(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    hold = (
        "import pathlib, sys, time; from unreel.io.file_lock import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, out], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"another unreel writes in it .process {other.pid} on "):
            update_store(encoder, videos, out, TWO)
        other.kill()
        other.wait()
    assert update_store(encoder, videos, out, TWO).num_embedded == 0


def test_a_full_disk_keeps_what_was_written(
    encoder: Path, videos: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, write_table, room = afresh(encoder, videos, tmp_path), pq.write_table, [2]

    def full(table: Any, where: Path, **options: Any) -> None:
        if Path(where).parent.name == "parts":
            room[0] -= 1
            if room[0] < 0:
                Path(where).write_bytes(b"half")
                raise OSError(28, "No space left on device")
        write_table(table, where, **options)

    monkeypatch.setattr(embeddings_file.pq, "write_table", full)
    with pytest.raises(DiskError, match="No space left"):
        update_store(encoder, videos, out, TWO)
    assert len(rows(out)) == 8 and not list((out / "parts").glob(".*"))
    monkeypatch.setattr(embeddings_file.pq, "write_table", write_table)
    assert update_store(encoder, videos, out, TWO).num_embedded == 2 and rows(out) == wanted


def test_the_command_says_what_is_there(encoder: Path, videos: Path, out: Path) -> None:
    (videos / "bad.mp4").write_bytes(b"no video")
    done = succeeds("embed", encoder, videos, "--out", out, "--num-clips", 1)
    assert done.out == (
        f"{out}: 6 rows of 6 videos, 6 contents newly embedded; 1 file left out, see {out / 'left_out.csv'}\n"
    )
    assert "nothing had to be embedded" in succeeds("embed", encoder, videos, "--out", out, "--num-clips", 1).out


def test_a_packed_corpus_is_followed_too(
    encoder: Path, videos: Path, tmp_path: Path, out: Path, calls: list[int]
) -> None:
    corpus = tmp_path / "corpus"
    succeeds("pack", videos, corpus, "--short-side", 32, "--workers", 1, "--no-gain")
    update_store(encoder, corpus, out, TWO)
    assert len(calls) == 6 and all(path.startswith(f"{corpus}/00000.tar#") for path in read_embeddings(out).paths)
    assert update_store(encoder, corpus, out, TWO).num_embedded == 0
    packed = set(read_embeddings(out).content_hashes)
    again = update_store(encoder, videos, out, TWO)
    assert (again.num_videos, again.num_embedded) == (12, 0) and set(read_embeddings(out).content_hashes) == packed, (
        "packed of these files"
    )


def test_parts_can_be_read_one_at_a_time(encoder: Path, videos: Path, out: Path) -> None:
    update_store(encoder, videos, out, TWO)
    pieces = list(embeddings_file.read_parts(out))
    assert [len(piece) for piece in pieces] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate([piece.vectors for piece in pieces]), read_embeddings(out).vectors)


def test_files_are_counted_in_the_order_of_their_rows() -> None:
    """Grouping alone leaves some tables in another order, by what their names hash to; rows would change places."""
    for k in range(300):
        paths = [f"/set-{k}/{n}/moved{n}.mp4" for n in range(6) for _ in range(2)]
        table = pa.table({"path": paths, "label": [""] * 12, "content_hash": [f"{k} {path}" for path in paths]})
        counted = parts._count_rows_by_file(table)
        assert [path for path, _, _ in counted] == list(dict.fromkeys(paths)) and set(counted.values()) == {2}
