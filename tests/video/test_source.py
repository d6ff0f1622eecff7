"""A file on this disk and a piece of a packed corpus answer the same questions."""

import hashlib
import io
from pathlib import Path

import av
import pytest
from videos import encode

from unreel.errors import VideoError
from unreel.packing.pack import pack
from unreel.video.sources.packed_corpus import open_packed_corpus
from unreel.video.sources.source import open_source


def test_a_local_file(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", 10)
    source, status = open_source(path), path.stat()
    assert (source.path, source.is_packed, source.read_packed()) == (str(path), False, None)
    assert source.check() == (str(status.st_mtime_ns), status.st_size)
    assert source.get_content_stat() == (status.st_size, status.st_mtime_ns)
    assert source.hash_content() == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    path.unlink()
    assert source.is_deleted()
    with pytest.raises(VideoError, match="missing"):
        source.check()
    with pytest.raises(FileNotFoundError):
        source.hash_content()


def test_a_piece_is_known_as_its_original(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    original = encode(tmp_path / "in" / "a.mp4", 10)
    pack(tmp_path / "in", tmp_path / "out")
    piece, source = open_source(open_packed_corpus(tmp_path / "out").piece_path(0)), open_source(original)
    assert piece.is_packed and not piece.is_deleted()
    assert piece.hash_content() == source.hash_content()
    assert piece.get_content_stat() == (original.stat().st_size, 0)
    data = piece.read_packed()
    assert data is not None and piece.check() == (hashlib.blake2b(data, digest_size=16).hexdigest(), len(data))
    with av.open(io.BytesIO(data)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 10
    with pytest.raises(FileNotFoundError):
        open_source(f"{tmp_path}/out/00000.tar#nowhere.mp4").hash_content()
