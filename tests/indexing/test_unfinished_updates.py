"""An update of an index that is ended anywhere: the index before answers until the new one is whole, and that is the
one of an update that nobody ended.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import succeeds
from videos import encode

from unreel.indexing.export.files import to_parquet
from unreel.indexing.index import build_index
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.store import part_writer, parts, update
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embeddings_file import list_parts, read_embeddings
from unreel.indexing.store.file_names import PREVIOUS_FOLDER
from unreel.indexing.store.part_writer import PartWriter
from unreel.indexing.store.update import StoreUpdateOptions
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.training.runtime.distributed import SINGLE_PROCESS
from unreel.verbs.indexing.index import update_index
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

CUT_OFF_AT = ["the first part", "the second part", "the first new part", "vectors", "the index", "its name", "the end"]


class KilledError(BaseException):
    """Nothing in the package expects it, as nothing runs after SIGKILL."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_parts_small(monkeypatch)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    save_encoder(Encoder(EncoderSpec("tiny", "iic", ClipSpec(4, lead_in=1), ViewSpec(size=32))).eval(), folder)
    return folder


@pytest.fixture(scope="module")
def originals(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """footage/ with six videos, index/ with an index of three parts of them, and others/."""
    folder = tmp_path_factory.mktemp("originals")
    for name in ("now/footage", "others"):
        (folder / name).mkdir(parents=True)
    for n in range(12):
        encode(folder / ("now/footage" if n < 6 else "others") / f"{n:02}.mp4", 12 + n)
    with pytest.MonkeyPatch.context() as patch:
        make_parts_small(patch)
        bring_up_to_date(encoder, folder / "now")
    shutil.copytree(folder / "now", folder / "kept")
    return folder


@pytest.fixture
def place(originals: Path) -> Path:
    """The same folder for each test, since a store knows its files by where they lie."""
    shutil.rmtree(originals / "now")
    return Path(shutil.copytree(originals / "kept", originals / "now"))


def make_parts_small(patch: pytest.MonkeyPatch) -> None:
    """Parts of two videos, no loader processes."""
    patch.setattr(part_writer, "MAX_PART_VIDEOS", 2)
    patch.setattr(update, "join_processes", lambda _devices: (SINGLE_PROCESS, torch.device("cpu"), 0))


def bring_up_to_date(encoder: Path, place: Path) -> None:
    update_index(encoder, place / "footage", place / "index", SlidingWindow(), StoreUpdateOptions())


def change_all_kinds(footage: Path, others: Path) -> None:
    """One deleted, one changed, one moved, one copied, two new: parts are rewritten, and two are added."""
    first, second, third, fourth, *_ = sorted(footage.glob("*.mp4"))
    first.unlink()
    shutil.copy(others / "06.mp4", third)
    fourth.rename(footage / "moved.mp4")
    shutil.copy(second, footage / "copy.mp4")
    for name in ("07.mp4", "08.mp4"):
        shutil.copy(others / name, footage)


def rows(index: Index) -> set[tuple[Any, ...]]:
    """Rows by name of the file, with their vectors."""
    found = set()
    for n in range(len(index.rows)):
        moment = index.rows.get_moment(n)
        hash_ = index.rows.content_hashes[index.rows.content_N[n]]
        found.add((Path(moment.path).name, moment.start_s, moment.end_s, hash_, index.vectors_ND[n].tobytes()))
    assert len(found) == len(index.rows)
    return found


def cut_off(moment: str, patch: pytest.MonkeyPatch) -> None:
    """Let an update end there."""

    def fail_at(owner: Any, name: str, call: int, after: bool = False) -> None:
        real, calls = getattr(owner, name), []

        def run(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if len(calls) == call and not after:
                raise KilledError
            result = real(*args, **kwargs)
            if len(calls) == call:
                raise KilledError
            return result

        patch.setattr(owner, name, run)

    places: dict[str, Callable[[], None]] = {
        "the first part": lambda: fail_at(parts, "_rewrite_part", 1, after=True),
        "the second part": lambda: fail_at(parts, "_rewrite_part", 2, after=True),
        "the first new part": lambda: fail_at(PartWriter, "flush", 1, after=True),
        "vectors": lambda: fail_at(build_index, "write_vectors", 1, after=True),
        "the index": lambda: fail_at(AnnIndex, "build", 1, after=True),
        "its name": lambda: fail_at(AnnIndex, "save", 1, after=True),
        "the end": lambda: fail_at(build_index, "remove_previous", 1),
    }
    places[moment]()


@pytest.fixture(scope="module")
def quiet(encoder: Path, originals: Path) -> set[Any]:
    """The rows of an update that nobody ended."""
    change_all_kinds(originals / "now" / "footage", originals / "others")
    with pytest.MonkeyPatch.context() as patch:
        make_parts_small(patch)
        bring_up_to_date(encoder, originals / "now")
    return rows(open_index(originals / "now" / "index"))


@pytest.mark.parametrize("moment", CUT_OFF_AT)
def test_the_index_before_answers_until_the_new_one_is_whole(
    moment: str, encoder: Path, originals: Path, place: Path, quiet: set[Any]
) -> None:
    before, footage, index = rows(open_index(place / "index")), place / "footage", place / "index"
    kept = sorted(footage.glob("*.mp4"))[1]
    change_all_kinds(footage, originals / "others")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        cut_off(moment, patch)
        bring_up_to_date(encoder, place)
    if moment in ("its name", "the end"):
        assert rows(open_index(index)) == quiet
    else:
        with pytest.warns(RuntimeWarning, match="of an update not in the index yet; run `unreel index`"):
            opened = open_index(index)
        assert {row[1:] for row in rows(opened)} == {row[1:] for row in before}
    if moment == "vectors":
        with pytest.warns(RuntimeWarning, match="not in the index yet"):
            assert kept.name in succeeds("search", index, kept, "--own", "keep", "--count", 9).out
    bring_up_to_date(encoder, place)
    last = open_index(index)
    assert rows(last) == quiet and len(last.ann_index) == len(last.rows)
    np.testing.assert_array_equal(last.vectors_ND, read_embeddings(index).vectors)
    assert not (index / PREVIOUS_FOLDER).exists()


def test_all_videos_gone_and_others_come(encoder: Path, originals: Path, place: Path) -> None:
    """No part is left, and two updates are ended before a third one ends."""
    before = rows(open_index(place / "index"))
    for moment in ("the first new part", "the index"):
        for path in (place / "footage").glob("*.mp4"):
            path.unlink()
        for path in sorted((originals / "others").glob("*.mp4"))[1 if moment == "the index" else 0 :: 2]:
            shutil.copy(path, place / "footage")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
            cut_off(moment, patch)
            bring_up_to_date(encoder, place)
        with pytest.warns(RuntimeWarning, match="of an update not in the index yet"):
            assert rows(open_index(place / "index")) == before
    bring_up_to_date(encoder, place)
    names = {path.name for path in (place / "footage").glob("*.mp4")}
    assert {Path(path).name for path in open_index(place / "index").rows.paths} == names


def test_what_was_kept_for_an_index_is_not_taken_for_a_later_one(encoder: Path, place: Path) -> None:
    """Killed between the name of the new index and the removal of what was kept; then another update is ended."""
    for moment, number in (("its name", 0), ("vectors", 1)):
        sorted((place / "footage").glob("*.mp4"))[number].unlink()
        before = rows(open_index(place / "index"))
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
            cut_off(moment, patch)
            bring_up_to_date(encoder, place)
    with pytest.warns(RuntimeWarning, match="an update that took videos away"):
        opened = open_index(place / "index")
    assert rows(opened) == before and len(opened.rows.paths) == 5
    to_parquet(opened, place / "exported.parquet")
    assert len(read_embeddings(place / "exported.parquet")) == len(before)


def test_an_index_on_a_disk_without_hard_links(encoder: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    before = rows(open_index(place / "index"))
    sorted((place / "footage").glob("*.mp4"))[0].unlink()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
        cut_off("the index", patch)
        bring_up_to_date(encoder, place)
    with pytest.warns(RuntimeWarning, match="an update that took videos away"):
        assert rows(open_index(place / "index")) == before


def test_the_same_rows_in_another_part(encoder: Path, place: Path) -> None:
    """A damaged part is removed, as its error says, and made again under another name."""
    for part in list_parts(place / "index"):
        part.unlink()
    bring_up_to_date(encoder, place)
    assert rows(open_index(place / "index"))
