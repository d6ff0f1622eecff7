"""Videos as columns: the sequence that was put in, of few bytes, read and written a part at a time."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.rows import video_rows
from unreel.rows.video_rows import FILE_SCHEMA, Video, VideoRows

FIRST = Video(
    "/v/a.mp4", "h264", 320, 240, 29.97, 300, 10.01, 90, True, 123_456_789_012, "ab", "jump", "x", "", (2.5, 4.0)
)


def list_some(count: int) -> list[Video]:
    """Videos that differ in every kind of field."""
    return [
        replace(
            FIRST, path=f"/v/{n}.mp4", num_frames=n, label="ab"[n % 2], shot_changes_s=(0.5,) * (n % 3), cut_off="x"
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("block", [3, 65_536])
def test_a_sequence_of_the_same_videos(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_rows, "BLOCK_ROWS", block)
    videos = [FIRST, *list_some(10)]
    rows = VideoRows.from_videos(videos)
    assert len(rows) == 11 and list(rows) == videos and rows == videos and tuple(videos) == rows
    assert [rows[n] for n in range(-11, 11)] == videos * 2 and isinstance(rows[0].shot_changes_s, tuple)
    assert rows[2:5] == videos[2:5] and rows[8:2:-2] == videos[8:2:-2] and rows[20:] == []
    assert rows != videos[:-1] and rows != [*videos[:-1], FIRST]
    assert VideoRows.from_videos(rows) is rows and pickle.loads(pickle.dumps(rows)) == videos
    with pytest.raises(IndexError):
        rows[11]


def test_a_repr_names_the_first_videos_alone() -> None:
    shown = repr(VideoRows.from_videos(list_some(1000)))
    assert shown.startswith("VideoRows([Video(path='/v/0.mp4'") and shown.endswith(", ...])") and len(shown) < 2000


def test_a_video_takes_few_bytes() -> None:
    """Counted, not timed: 10,000,000 videos are to fit into 2 GB."""
    rows = VideoRows.from_videos(replace(FIRST, path=f"/corpus/{n:032d}", shot_changes_s=()) for n in range(10_000))
    assert rows.table.nbytes < 170 * len(rows)


def test_columns_that_are_the_same_in_each_block_stand_in_memory_once(tmp_path: Path) -> None:
    """A manifest has many: no rotation, no recording, no duplicate. The others are as they were."""
    videos = [replace(FIRST, path=f"/v/{n:06d}", num_frames=n, shot_changes_s=()) for n in range(200)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_rows, "BLOCK_ROWS", 50)
        Manifest("/v", videos).save(tmp_path)
        rows = Manifest.load(tmp_path).rows
    assert rows == videos and pickle.loads(pickle.dumps(rows)) == videos
    chunks = {name: rows.get_column(name).chunks for name in ("path", "num_frames", "width", "fps", "offset_s")}
    places = [len({chunk.buffers()[-1].address for chunk in chunks[name]}) for name in chunks]
    assert places == [4, 4, 1, 1, 1]


def test_the_file_keeps_its_types_and_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_rows, "BLOCK_ROWS", 4)
    Manifest("/v", list_some(100)).save(tmp_path)
    schema = pq.read_schema(tmp_path / "manifest.parquet")
    assert (
        schema.remove_metadata().equals(FILE_SCHEMA)
        and pq.read_metadata(tmp_path / "manifest.parquet").num_row_groups > 1
    )
    assert Manifest.load(tmp_path).videos == list_some(100)


def test_a_manifest_of_an_earlier_version_gets_what_it_lacks(tmp_path: Path) -> None:
    Manifest("/v", [replace(FIRST, cut_off="")]).save(tmp_path)
    path = tmp_path / "manifest.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["cut_off", "offset_s"]), path)
    assert Manifest.load(tmp_path).videos == [replace(FIRST, cut_off="")]
    pq.write_table(table.drop_columns(["path"]), path)
    with pytest.raises(Exception, match="the manifest is damaged"):
        Manifest.load(tmp_path)
    pq.write_table(table.append_column("own", pa.array([1])), path)
    with pytest.raises(Exception, match="unknown columns own"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("duplicate_of", [None, ""]),
        ("shot_changes_s", [None, []]),
        ("path", pa.array([b"\xff", b"x"]).view(pa.string())),
        ("label", pa.array([b"\xff", b"x"]).view(pa.string())),
    ],
)
def test_a_row_without_a_value_or_with_unreadable_text_is_damage(tmp_path: Path, name: str, values: object) -> None:
    """Told where the file is read, not where somebody asks for the row."""
    Manifest("/v", list_some(2)).save(tmp_path)
    table = pq.read_table(tmp_path / "manifest.parquet")
    field = table.schema.field(name)
    spoiled = table.set_column(table.column_names.index(name), field, pa.array(values, field.type))
    pq.write_table(spoiled, tmp_path / "manifest.parquet")
    with pytest.raises(InputError, match="the manifest is damaged"):
        Manifest.load(tmp_path)


@pytest.mark.parametrize("name", ["caf\udce9", "s3:bucket"])
def test_a_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Manifest("/v", list_some(2)).save(Path(name))
    assert Manifest.load(Path(name)).videos == list_some(2)


def test_selecting_all_copies_nothing() -> None:
    rows = VideoRows.from_videos(list_some(5))
    assert rows.select(np.ones(5, bool)) is rows
    assert rows.select(np.arange(5) % 2 == 0) == list_some(5)[::2]
