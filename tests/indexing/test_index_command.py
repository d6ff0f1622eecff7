"""An index opened as one object: up to date with its files, and refused where it is half, damaged or another's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import refused, succeeds
from videos import copy_six

import unreel
from unreel.embedding import load_encoder
from unreel.errors import DiskError, InputError
from unreel.indexing.index.build_index import refresh_index, write_vectors
from unreel.indexing.index.clip_index import load_query_encoder, open_index, read_rows
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import HitOptions
from unreel.indexing.store.embeddings_file import list_parts, read_embeddings
from unreel.indexing.store.file_names import ANN_INDEX_FILE, VECTORS_NPY
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Moment
from unreel.verbs.indexing.search import search


@pytest.fixture(scope="session")
def made(small_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the 24 videos of `motion_set`."""
    out = tmp_path_factory.mktemp("indexes") / "index"
    succeeds("index", small_run, motion_set, "--out", out)
    return out


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "index"))


@pytest.fixture
def footage(motion_set: Path, tmp_path: Path) -> Path:
    """Six videos to be moved and deleted."""
    return copy_six(motion_set, tmp_path / "footage")


def test_row_n_has_vector_n(made: Path) -> None:
    opened, stored = open_index(made), read_embeddings(made)
    np.testing.assert_array_equal(opened.vectors_ND, stored.vectors)
    assert [opened.rows.get_path(n) for n in range(len(opened.rows))] == stored.paths
    np.testing.assert_array_equal(opened.rows.start_s, stored.start_s)
    score_QK, row_QK = opened.ann_index.search(stored.vectors[:5], 1)
    np.testing.assert_allclose(score_QK[:, 0], 1, atol=1e-5)
    np.testing.assert_allclose(np.abs(stored.vectors[row_QK[:, 0]] - stored.vectors[:5]).max(), 0, atol=1e-5)
    assert opened.views == ("rgb", "residual") and not opened.vectors_ND.flags.writeable


def test_its_encoder_makes_its_vectors_again(made: Path) -> None:
    opened = open_index(made)
    encoder = load_query_encoder(opened.folder, opened.metadata)
    found = encoder.embed(opened.rows.get_path(0), num_clips=1, per="clip")
    at = opened.vectors_ND @ found.vectors[0]
    assert encoder.spec.clip.num_frames == 8 and at[opened.rows.path_N == opened.rows.path_N[0]].max() > 0.99


def test_it_follows_its_files(small_run: Path, footage: Path, motion_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "i"
    succeeds("index", small_run, footage, "--out", out)
    first = open_index(out)
    written = {name: os.stat(out / name).st_mtime_ns for name in (ANN_INDEX_FILE, VECTORS_NPY)}
    moved = sorted(footage.glob("*.mp4"))[0]
    moved.rename(footage / "moved.mp4")
    done = succeeds("index", small_run, footage, "--out", out)
    assert "nothing had to be embedded" in done.out
    assert {name: os.stat(out / name).st_mtime_ns for name in (ANN_INDEX_FILE, VECTORS_NPY)} == written
    again = open_index(out)
    assert str(footage / "moved.mp4") in again.rows.paths and str(moved) not in again.rows.paths
    (footage / "moved.mp4").unlink()
    shutil.copy(sorted(motion_set.rglob("*.mp4"))[1], footage / "new.mp4")
    assert "1 content newly embedded" in succeeds("index", small_run, footage, "--out", out).out
    last, stored = open_index(out), read_embeddings(out)
    assert str(footage / "new.mp4") in last.rows.paths and str(footage / "moved.mp4") not in last.rows.paths
    assert len(last.rows.paths) == len(first.rows.paths)
    np.testing.assert_array_equal(last.vectors_ND, stored.vectors)
    assert len(last.ann_index) == len(last.rows)


def test_an_index_beside_new_rows_has_the_old_ones_until_it_is_brought_up_to_date(
    index: Path, small_run: Path, motion_set: Path
) -> None:
    """So an update that a full disk or a kill has ended takes nothing away; what is new is said to be missing."""
    from unreel.indexing.store.clip_sampling import SlidingWindow
    from unreel.indexing.store.update import update_store

    copy, before = Path(shutil.copytree(motion_set, index.parent / "other")), open_index(index)
    one = sorted(copy.rglob("*.mp4"))[0]
    one.write_bytes(one.read_bytes() + b"\0\0\0\x08free")  # other bytes, the same pictures
    update_store(small_run, one, index, SlidingWindow())
    done = run_in_process("search", index, one)
    assert (
        done.returncode == 0
        and "warning: " in done.stderr
        and "1 video of an update not in the index yet; run" in done.stderr
    )
    write_vectors(
        index, read_rows(list_parts(index))[0], EncoderSpec.from_json(before.metadata["encoder"])
    )  # and no further
    with pytest.warns(RuntimeWarning, match="1 video of an update not in the index yet"):
        opened = open_index(index)
    assert opened.rows.paths == before.rows.paths and np.array_equal(opened.vectors_ND, before.vectors_ND)
    refresh_index(index, load_encoder(small_run))
    assert str(one) in succeeds("search", index, one, "--own", "keep", "--count", 3).out
    assert str(one) in open_index(index).rows.paths


def run_in_process(*args: object) -> subprocess.CompletedProcess:
    """In a process of its own, where a warning is printed and is no error."""
    command = [sys.executable, "-m", "unreel", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done


@pytest.mark.parametrize("harm", ["noise", "one bit", "int8", "other width", "nan"])
def test_other_vectors_than_those_indexed_are_refused(harm: str, index: Path) -> None:
    path = index / VECTORS_NPY
    vectors = np.load(path)
    changed = {
        "noise": np.random.default_rng(0).standard_normal(vectors.shape).astype(np.float32),
        "one bit": (vectors.view(np.uint32) ^ np.eye(*vectors.shape, dtype=np.uint32)).view(np.float32),
        "int8": vectors.astype(np.int8),
        "other width": vectors[:, :-1],
        "nan": np.where(np.arange(vectors.size).reshape(vectors.shape) == 3, np.nan, vectors),
    }[harm]
    np.save(path, changed)
    with pytest.raises(InputError, match=r"vectors\.npy: (half an index|damaged, or of another).*run `unreel index`"):
        open_index(index)


@pytest.mark.parametrize("name", [VECTORS_NPY, ANN_INDEX_FILE])
@pytest.mark.parametrize("harm", ["missing", "cut", "garbage"])
def test_half_an_index_says_what_to_do(name: str, harm: str, index: Path, small_run: Path, motion_set: Path) -> None:
    path = index / name
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if harm == "cut" else b"no such thing" * 99)
    refused("search", index, *sorted(motion_set.rglob("*.mp4"))[:1], says=(name, "run `unreel index` again"))
    succeeds("index", small_run, motion_set, "--out", index)
    assert len(open_index(index).rows) == len(open_index(index).vectors_ND)


@pytest.mark.parametrize("name", [VECTORS_NPY, ANN_INDEX_FILE, "store.json", "encoder/encoder.json"])
def test_a_pipe_in_an_index_is_not_waited_for(name: str, index: Path) -> None:
    (index / name).unlink()
    os.mkfifo(index / name)
    with pytest.raises(InputError, match=rf"{name}: a pipe|no store\.json"):
        open_index(index)


def test_half_an_index_that_is_being_made_says_to_wait(index: Path) -> None:
    (index / ANN_INDEX_FILE).unlink()
    holds = "import pathlib, sys\nfrom unreel.io.file_lock import lock_folder\n"
    holds += "with lock_folder(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    command = [sys.executable, "-c", holds, str(index)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is being indexed just now; ask again"):
            open_index(index)
        other.stdin.close()
    with pytest.raises(InputError, match="run `unreel index` again"):
        open_index(index)


def test_what_a_kill_left_is_no_hindrance(index: Path, small_run: Path, motion_set: Path) -> None:
    """Keeping the encoder writes a folder aside; killed there, the next indexing takes it away."""
    left = index / ".encoder.999.part"
    shutil.copytree(index / "encoder", left)
    shutil.rmtree(index / "encoder")
    succeeds("index", small_run, motion_set, "--out", index)
    assert not left.exists() and load_query_encoder(index, open_index(index).metadata)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_disk_that_is_full_is_told(made: Path, tmp_path: Path) -> None:
    """A map of a file on it would end the process with a signal instead."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        shutil.copytree(made, disk / "index", ignore=shutil.ignore_patterns("vectors.npy", "nearest.faiss", "encoder"))
        free = os.statvfs(disk)
        (disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - 8192)))
        with pytest.raises(DiskError, match="vectors.npy: can't be written .*No space left"):
            opened = open_index(made)
            write_vectors(disk / "index", opened.rows, EncoderSpec.from_json(opened.metadata["encoder"]))
        assert not list((disk / "index").glob(".vectors*"))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a process forked meanwhile may hold it


def test_a_damaged_part_is_named(index: Path) -> None:
    part = sorted((index / "parts").glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{part.name}: a damaged part.*Remove it"):
        open_index(index)


def test_another_version_is_refused(index: Path) -> None:
    about = json.loads((index / "store.json").read_text())
    (index / "store.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(InputError, match="format 99, this unreel reads format 1"):
        open_index(index)
    (index / "store.json").write_text(json.dumps(about))
    path = index / ANN_INDEX_FILE
    path.write_bytes(path.read_bytes().replace(b"unreel index 00001", b"unreel index 00009"))
    with pytest.raises(InputError, match="of version 00009.*run `unreel index` again"):
        open_index(index)


def test_what_is_no_index_is_told_apart(made: Path, small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index there; make one with `unreel index"):
        open_index(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no embeddings to read there .*make it, or continue it, by `unreel index"):
        open_index(tmp_path)
    succeeds("embed", small_run, motion_set / "test.txt", "--out", tmp_path / "store")
    with pytest.raises(InputError, match="do not cover every moment"):
        open_index(tmp_path / "store")
    shutil.copytree(made, tmp_path / "bare")
    for part in (tmp_path / "bare" / "parts").iterdir():
        part.unlink()
    with pytest.raises(InputError, match="no embeddings in it yet"):
        open_index(tmp_path / "bare")


def test_encoders_are_not_mixed(index: Path, small_run: Path, small: dict[str, Any], motion_set: Path) -> None:
    other = index.parent / "other"
    unreel.pretrain(motion_set / "train.txt", out=other, quiet=True, steps=1, seed=5, **small)
    refused("index", other, motion_set, "--out", index, says=("another encoder", "choose another --out"))
    shutil.rmtree(index / "encoder")
    shutil.copytree(sorted((other / "checkpoints").glob("step-*"))[0], index / "encoder")
    refused("search", index, *sorted(motion_set.rglob("*.mp4"))[:1], says=("not the encoder that made these rows",))
    succeeds("index", small_run, motion_set, "--out", index)
    succeeds("search", index, *sorted(motion_set.rglob("*.mp4"))[:1])


def test_the_query_is_known_by_its_content_wherever_it_lies(made: Path, motion_set: Path, tmp_path: Path) -> None:
    """A copy, a link and another spelling of an indexed video have that video as their own."""
    video = sorted(motion_set.rglob("*.mp4"))[0]
    copy, link = tmp_path / "copy.mp4", tmp_path / "link"
    shutil.copy(video, copy)
    link.symlink_to(video.parent)
    other_ways = [copy, link / video.name, video.parent / ".." / video.parent.name / video.name]
    expected = search(made, SearchQuery((Moment(str(video)),), own_video_mode="video"), HitOptions(5))
    assert expected and str(video) not in {hit.path for hit in expected}
    for path in other_ways:
        found = search(made, SearchQuery((Moment(str(path)),), own_video_mode="video"), HitOptions(5))
        assert [(hit.path, hit.start_s) for hit in found] == [(hit.path, hit.start_s) for hit in expected]
    copy.write_bytes(sorted(motion_set.rglob("*.mp4"))[-1].read_bytes())  # another video under a known name
    assert str(video) in {
        hit.path for hit in search(made, SearchQuery((Moment(str(copy)),), own_video_mode="video"), HitOptions(99))
    }
