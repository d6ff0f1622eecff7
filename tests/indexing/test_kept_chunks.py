"""Long videos of a killed update: what was embedded of them is kept, and the rows are those of a quiet update."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from videos import encode

from unreel.embedding import encode_clips
from unreel.indexing.store import clip_sampling, kept_chunks, part_writer, update
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embeddings_file import list_parts, read_embeddings, read_metadata
from unreel.indexing.store.file_names import CHUNKS_FOLDER
from unreel.indexing.store.kept_chunks import Chunk, KeptChunks
from unreel.indexing.store.update import update_store
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.training.runtime.distributed import SINGLE_PROCESS
from unreel.types import Embeddings
from unreel.video.loading import sliding_clips
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

FRAMES = (61, 12, 50, 40)  # a clip every second frame, five in a chunk: 6 + 1 + 5 + 4 chunks
NUM_CHUNKS = 16


class KilledError(BaseException):
    """Nothing in the package expects it, as nothing runs after SIGKILL."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    save_encoder(Encoder(EncoderSpec("tiny", "iic", ClipSpec(4, lead_in=1), ViewSpec(size=32))).eval(), folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for n, frames in enumerate(FRAMES):
        encode(folder / f"{n}.mp4", frames)
    return folder


@pytest.fixture(autouse=True)
def chunks_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each chunk that went through the encoder; small chunks, kept at once; no loader processes."""
    made: list[int] = []

    def encode_and_count(*args: Any, **options: Any) -> Any:
        for item in encode_clips(*args, **options):
            made.append(item.index)
            yield item

    monkeypatch.setattr(clip_sampling, "encode_clips", encode_and_count)
    for place in (sliding_clips, clip_sampling):
        monkeypatch.setattr(place, "CHUNK_CLIPS", 5)
    monkeypatch.setattr(kept_chunks, "KEEP_INTERVAL_S", 0.0)
    monkeypatch.setattr(update, "join_processes", lambda _devices: (SINGLE_PROCESS, torch.device("cpu"), 0))
    return made


@pytest.fixture
def whole(encoder: Path, videos: Path, tmp_path: Path, chunks_made: list[int]) -> Embeddings:
    """The rows of an update that was never killed."""
    update_store(encoder, videos, tmp_path / "whole", SlidingWindow())
    assert len(chunks_made) == NUM_CHUNKS and not (tmp_path / "whole" / CHUNKS_FOLDER).exists()
    chunks_made.clear()
    return read_embeddings(tmp_path / "whole")


def kill_at(number: int, encoder: Path, videos: Path, out: Path) -> None:
    """Fill a store, and end at a call of the progress."""

    def advance(done: int, _total: int) -> None:
        if done == number:
            raise KilledError

    class Bar:
        def __enter__(self) -> Any:
            return advance

        def __exit__(self, *_: object) -> None: ...

    options = update.StoreUpdateOptions(progress_bar=lambda label: Bar() if label == "embedding" else NoBar())
    with pytest.raises(KilledError):
        update_store(encoder, videos, out, SlidingWindow(), options)


class NoBar:
    def __enter__(self) -> Any:
        return lambda _done, _total: None

    def __exit__(self, *_: object) -> None: ...


def same_rows(found: Embeddings, expected: Embeddings) -> bool:
    """Equal to the byte, whatever the order of the videos."""

    def key(e: Embeddings) -> set[tuple[object, ...]]:
        rows = zip(e.paths, e.start_s, e.end_s, e.labels, e.content_hashes, e.vectors, strict=True)
        return {(*row[:5], row[5].tobytes()) for row in rows}

    return len(found) == len(expected) and key(found) == key(expected)


def test_no_chunk_of_a_long_video_is_made_twice(
    encoder: Path, videos: Path, tmp_path: Path, whole: Embeddings, chunks_made: list[int]
) -> None:
    """Killed among the first chunks, among the further ones of the first film, and of the last; each time all that was
    finished of films is there again, and a short video is lost with its part."""
    out = tmp_path / "store"
    for kill, number in enumerate((3, 5, 12)):
        kill_at(number, encoder, videos, out)
        assert list((out / CHUNKS_FOLDER).glob("*.parquet")) and not list_parts(out), kill
    update_store(encoder, videos, out, SlidingWindow())
    assert same_rows(read_embeddings(out), whole)
    assert len(chunks_made) <= NUM_CHUNKS + 3 * 2, "a kill costs the chunk at hand and the short video"
    assert not (out / CHUNKS_FOLDER).exists() and len(list_parts(out)) == 1


def test_all_chunks_of_a_video_kept_but_no_part_of_it(
    encoder: Path, videos: Path, tmp_path: Path, whole: Embeddings, chunks_made: list[int]
) -> None:
    """The last chunk of a film stands in no file, its video in no part: only that one is made again."""
    kill_at(NUM_CHUNKS, encoder, videos, tmp_path / "store")
    chunks_made.clear()
    update_store(encoder, videos, tmp_path / "store", SlidingWindow())
    assert len(chunks_made) == 3 + 1 and same_rows(read_embeddings(tmp_path / "store"), whole)


def test_what_stands_in_parts_is_not_kept_as_chunks_too(
    encoder: Path, videos: Path, tmp_path: Path, whole: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_writer, "MAX_PART_VIDEOS", 1)
    kill_at(NUM_CHUNKS - 1, encoder, videos, tmp_path / "store")
    kept = [read_embeddings(path) for path in (tmp_path / "store" / CHUNKS_FOLDER).iterdir()]
    parts = read_embeddings(tmp_path / "store")
    assert len(set(parts.paths)) == 3 and kept
    assert not {hash_ for rows in kept for hash_ in rows.content_hashes} & set(parts.content_hashes)
    update_store(encoder, videos, tmp_path / "store", SlidingWindow())
    assert same_rows(read_embeddings(tmp_path / "store"), whole)


def test_chunks_are_written_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    kept = KeptChunks(tmp_path, "stem", {}, ["one", "two"])
    chunks = [Chunk(n, 9, np.full((2, 3), n, np.float32), np.full((2, 2), n + 0.5)) for n in range(3)]
    for chunk in chunks[:2]:
        kept.add(0, "1.mp4", chunk)
    assert not (tmp_path / CHUNKS_FOLDER).exists()
    kept.started_s -= kept_chunks.KEEP_INTERVAL_S
    kept.add(1, "2.mp4", chunks[2])
    assert len(list((tmp_path / CHUNKS_FOLDER).iterdir())) == 1
    found = KeptChunks(tmp_path, "next", {}, ["two", "one"])
    assert {n: list(found.load(n)) for n in (0, 1)} == {0: [2], 1: [0, 1]} and not found.load(0)
    kept.forget(["one", "two"])
    assert not list((tmp_path / CHUNKS_FOLDER).iterdir())


@pytest.mark.parametrize("harm", ["cut", "noise", "another encoder", "another label"])
def test_chunks_that_can_not_be_used_are_made_again(
    harm: str, encoder: Path, videos: Path, tmp_path: Path, whole: Embeddings
) -> None:
    out = tmp_path / "store"
    kill_at(8, encoder, videos, out)
    for path in (out / CHUNKS_FOLDER).glob("*.parquet"):
        rows = read_embeddings(path)
        if harm == "cut":
            path.write_bytes(path.read_bytes()[:-20])
        elif harm == "noise":
            path.write_bytes(b"no such thing")
        elif harm == "another encoder":
            rows = dataclasses.replace(rows, vectors=np.roll(rows.vectors, 1, axis=1))
            part_writer.write_embeddings(rows, path, {"encoder_hash": "another"})
        else:
            rows.labels[:] = ["third"] * len(rows)
            part_writer.write_embeddings(rows, path, read_metadata(path))
    update_store(encoder, videos, out, SlidingWindow())
    assert same_rows(read_embeddings(out), whole)
