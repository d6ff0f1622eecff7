"""Reading a packed corpus: exactly one piece at a time, retried where that helps, and never a wrong frame."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from fsspec.spec import AbstractFileSystem
from videos import encode, numbers, picture

from unreel.corpus.inspection import inspect
from unreel.errors import InputError, VideoError
from unreel.io import disk_cache, remote
from unreel.io.disk_cache import DiskCache
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.video.decoding import decoder, packet_index, probe
from unreel.video.sources import packed_corpus, piece_reader
from unreel.video.sources.paths import is_piece, is_remote, normalize_path


class Shaky(AbstractFileSystem):
    """Local files under shaky://; each call takes the next of `troubles`."""

    protocol = "shaky"
    cachable = False
    troubles: ClassVar[list[str]] = []
    calls: ClassVar[list[tuple[str, int | None, int | None]]] = []
    release = threading.Event()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        Shaky.calls.append((Path(path).name, start, end))
        trouble = Shaky.troubles.pop(0) if Shaky.troubles else ""
        if trouble == "silent":
            Shaky.release.wait(30)
        if trouble == "down":
            raise ConnectionError("connection reset")
        if trouble == "forbidden":
            raise PermissionError("no key for this bucket")
        data = Path(f"/{self._strip_protocol(path).lstrip('/')}").read_bytes()[start:end]
        if trouble == "short":
            return data[: len(data) // 2]
        return bytes([data[0] ^ 1]) + data[1:] if trouble == "damaged" else data

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        local = Path(f"/{self._strip_protocol(path).lstrip('/')}")
        return {"name": path, "size": local.stat().st_size, "type": "file"}


@pytest.fixture(autouse=True)
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own and short retry delays."""
    fsspec.register_implementation("shaky", Shaky, clobber=True)
    Shaky.troubles, Shaky.calls, Shaky.release = [], [], threading.Event()
    monkeypatch.setenv("UNREEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "RETRY_DELAYS_S", (0.01, 0.02, 0.04))
    packed_corpus._load_packed_corpus.cache_clear()
    packet_index.clear_caches()
    yield
    Shaky.release.set()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pieces in some shards."""
    folder, out = tmp_path_factory.mktemp("originals"), tmp_path_factory.mktemp("packed") / "out"
    for n, name in enumerate("abc"):
        encode(folder / f"{name}.mp4", 150, draw=lambda number, w, h, n=n: picture(number + 200 * n, w, h))
    encode(folder / "d.mp4", 150)  # as a: equal pieces are told apart
    pack(folder, out, PackSettings(segment_s=2.0, shard_mb=0.03))
    return out


@pytest.fixture
def corpus(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


def address(corpus: Path | str, row: int) -> str:
    index = packed_corpus.open_packed_corpus(corpus)
    return index.piece_path(row)


def read_numbers(corpus: Path | str, row: int) -> list[int]:
    return numbers(decoder.read_frames(address(corpus, row), np.arange(50)))


RIGHT = {
    row: list(range(start, start + 50))
    for row, start in enumerate([0, 50, 100, 200, 250, 300, 400, 450, 500, 0, 50, 100])
}


def test_a_corpus_may_be_moved(corpus: Path) -> None:
    manifest = inspect(corpus, check="full")
    assert len(manifest.videos) == 12 and not manifest.quarantine
    assert all(read_numbers(corpus, row) == RIGHT[row] for row in range(12))


def test_a_shard_that_is_cut_short(corpus: Path) -> None:
    shards = sorted(corpus.glob("*.tar"))
    index = packed_corpus.open_packed_corpus(corpus)
    last = max(row for row in range(12) if index.get_value(row, "shard") == shards[0].name)
    shards[0].write_bytes(shards[0].read_bytes()[: index.get_value(last, "offset") + 100])
    shards[1].unlink()
    unusable = {last} | {row for row in range(12) if index.get_value(row, "shard") == shards[1].name}
    for check in ("auto", "full"):
        manifest = inspect(corpus, check=check)
        assert {bad.path: bad.reason for bad in manifest.quarantine} == {
            address(corpus, row): "truncated" if row == last else "missing" for row in unusable
        }
        assert [v.path for v in manifest.videos] == [address(corpus, row) for row in range(12) if row not in unusable]
    with pytest.raises(VideoError, match=r"truncated \(the piece ends at byte \d+ of 00000.tar, the shard at \d+\)"):
        read_numbers(corpus, last)
    with pytest.raises(VideoError, match="missing"):
        read_numbers(corpus, min(unusable - {last}))
    assert all(read_numbers(corpus, row) == RIGHT[row] for row in range(12) if row not in unusable)


def test_an_index_that_does_not_fit_its_shard(corpus: Path) -> None:
    one, other = sorted(corpus.glob("*.tar"))[:2]
    index = packed_corpus.open_packed_corpus(corpus)
    assert read_numbers(corpus, 0) == RIGHT[0]
    content = one.read_bytes()
    other.replace(one)
    packet_index.clear_caches()
    spoiled = [row for row in range(12) if index.get_value(row, "shard") == one.name]
    for row in spoiled:
        with pytest.raises(VideoError, match=r"(damaged|truncated) \("):
            read_numbers(corpus, row)
    assert {bad.path for bad in inspect(corpus, check="full").quarantine} >= {address(corpus, row) for row in spoiled}
    one.write_bytes(content)
    packet_index.clear_caches()
    assert all(read_numbers(corpus, row) == RIGHT[row] for row in spoiled)


def test_one_wrong_bit_is_noticed(corpus: Path) -> None:
    index = packed_corpus.open_packed_corpus(corpus)
    shard = corpus / index.get_value(4, "shard")
    data = bytearray(shard.read_bytes())
    data[index.get_value(4, "offset") + index.get_value(4, "size_bytes") // 2] ^= 16
    shard.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged \(\d+.tar does not match its checksum in index.parquet"):
        read_numbers(corpus, 4)
    assert [bad.path for bad in inspect(corpus, check="full").quarantine] == [address(corpus, 4)]


def test_an_index_that_can_not_be_used_is_refused(corpus: Path) -> None:
    description = json.loads((corpus / "pack.json").read_text())
    for name, data, message in (
        ("pack.json", b"{", "can't be read"),
        ("pack.json", json.dumps(description | {"layout": 2}).encode(), "packed in layout 2"),
        ("pack.json", json.dumps(description | {"pieces": 7}).encode(), "has 12 pieces, pack.json says 7"),
        ("index.parquet", b"PAR1", "can't be read"),
        ("manifest.parquet", b"PAR1", "the manifest of the packed corpus can"),
        ("quarantine.csv", b"path,reason,detail\n" + b"x" * 200_000, "the manifest of the packed corpus can"),
    ):
        content = (corpus / name).read_bytes()
        (corpus / name).write_bytes(data)
        packed_corpus._load_packed_corpus.cache_clear()
        with pytest.raises(InputError, match=message):
            inspect(corpus)
        (corpus / name).write_bytes(content)
    pq.write_table(pq.read_table(corpus / "manifest.parquet").slice(0, 4), corpus / "manifest.parquet")
    with pytest.raises(InputError):
        inspect(corpus)


def test_pieces_that_do_not_exist(corpus: Path, tmp_path: Path) -> None:
    good = address(corpus, 0)
    for wrong, reason in (
        (good.replace("00000000-", "00000009-"), "missing"),
        (good.replace("00000.tar", "00001.tar"), "missing"),
        (f"{tmp_path}/nowhere/00000.tar#00000000-00000-a.mp4", "unreadable"),
        ("shaky://nowhere/00000.tar#00000000-00000-a.mp4", "unreadable"),
    ):
        with pytest.raises(VideoError) as caught:
            probe.probe(wrong)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("path", "text", "is_far"),
    [
        ("s3:/bucket/a", "s3://bucket/a", True),
        ("memory://a/b", "memory://a/b", True),
        ("https:/host/a/00000.tar#k.mp4", "https://host/a/00000.tar#k.mp4", True),
        ("file:///a/b", "/a/b", False),
        ("a/b.mp4", "a/b.mp4", False),
        ("c:/videos", "c:/videos", False),
    ],
)
def test_kinds_of_paths(path: str, text: str, is_far: bool) -> None:
    assert normalize_path(Path(path)) == text and is_remote(path) == is_far
    assert is_piece(path) == ("#" in path)


def test_a_film_with_a_hash_in_its_name_is_a_file(tmp_path: Path) -> None:
    assert not is_piece("#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi") and not is_piece("a.tar#b/c.mp4")
    assert numbers(decoder.read_frames(encode(tmp_path / "a#1.mp4", 5), [3])) == [3]


def test_a_piece_costs_one_range_request_and_then_comes_from_the_cache(corpus: Path) -> None:
    remote_path = f"shaky:/{corpus}"
    index = packed_corpus.open_packed_corpus(remote_path)
    begin, size, shard = (index.get_value(5, name) for name in ("offset", "size_bytes", "shard"))
    Shaky.calls.clear()
    assert read_numbers(remote_path, 5) == RIGHT[5]
    assert Shaky.calls == [(shard, begin, begin + size)]
    packet_index.clear_caches()
    assert read_numbers(remote_path, 5) == RIGHT[5] and len(Shaky.calls) == 1


def test_a_remote_that_fails_twice_and_then_answers(corpus: Path) -> None:
    remote_path = f"shaky:/{corpus}"
    Shaky.troubles = ["down", "down"]
    index = packed_corpus.open_packed_corpus(remote_path)
    assert len(index) == 12 and [call[0] for call in Shaky.calls] == ["pack.json"] * 3 + ["index.parquet"]
    for troubles in (["down", "down"], ["short", "down", "short"], ["damaged"], ["damaged", "down"]):
        shutil.rmtree(disk_cache.open_disk_cache().folder, ignore_errors=True)
        packet_index.clear_caches()
        Shaky.calls, Shaky.troubles = [], list(troubles)
        assert read_numbers(remote_path, 3) == RIGHT[3] and not Shaky.troubles
        assert len(Shaky.calls) == len(troubles) + 1


def test_a_truncated_index_is_requested_again(corpus: Path) -> None:
    Shaky.troubles = ["short", "short"]
    assert len(packed_corpus.open_packed_corpus(f"shaky:/{corpus}")) == 12
    assert [call[0] for call in Shaky.calls] == ["pack.json"] * 3 + ["index.parquet"]


def test_a_remote_that_stays_down_or_forbids_is_reported(corpus: Path) -> None:
    remote_path = f"shaky:/{corpus}"
    packed_corpus.open_packed_corpus(remote_path)
    Shaky.calls, Shaky.troubles = [], ["down"] * 99
    with pytest.raises(VideoError, match="no good answer in 4 tries, the last: connection reset"):
        read_numbers(remote_path, 1)
    assert len(Shaky.calls) == 4
    Shaky.calls, Shaky.troubles = [], ["forbidden"]
    with pytest.raises(VideoError, match="no key for this bucket"):
        read_numbers(remote_path, 1)
    assert len(Shaky.calls) == 1
    packed_corpus._load_packed_corpus.cache_clear()
    Shaky.troubles = ["down"] * 99
    with pytest.raises(InputError, match="no good answer in 4 tries"):
        inspect(remote_path)


def test_a_remote_that_never_answers_is_not_waited_for(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote_path = f"shaky:/{corpus}"
    packed_corpus.open_packed_corpus(remote_path)
    monkeypatch.setattr(remote, "RANGE_TIMEOUT_S", 0.05)
    Shaky.troubles = ["silent"] * 99
    began_s = time.monotonic()
    with pytest.raises(VideoError, match=r"no good answer in 4 tries, the last: no answer within 0.05 s"):
        read_numbers(remote_path, 1)
    assert time.monotonic() - began_s < 20
    Shaky.troubles = ["silent"]
    assert read_numbers(remote_path, 1) == RIGHT[1], "a try that hangs is followed by one that does not"


def test_wrong_bytes_are_neither_used_nor_cached(corpus: Path) -> None:
    remote_path = f"shaky:/{corpus}"
    packed_corpus.open_packed_corpus(remote_path)
    Shaky.troubles = ["damaged"] * 99
    with pytest.raises(VideoError, match="damaged"):
        read_numbers(remote_path, 2)
    assert not disk_cache.open_disk_cache()._list_files()
    Shaky.troubles = []
    assert read_numbers(remote_path, 2) == RIGHT[2]
    ((_, _, cached_path),) = disk_cache.open_disk_cache()._list_files()
    Path(cached_path).write_bytes(Path(cached_path).read_bytes()[:-1] + b"x")
    packet_index.clear_caches()
    Shaky.calls = []
    assert read_numbers(remote_path, 2) == RIGHT[2] and len(Shaky.calls) == 1, (
        "a spoiled file of the cache is fetched again"
    )


def test_a_remote_shard_that_is_cut_or_gone(corpus: Path) -> None:
    remote_path = f"shaky:/{corpus}"
    first, second = sorted(corpus.glob("*.tar"))[:2]
    first.write_bytes(first.read_bytes()[:600])
    index = packed_corpus.open_packed_corpus(remote_path)
    with pytest.raises(VideoError, match="truncated"):
        read_numbers(remote_path, 0)
    second.unlink()
    with pytest.raises(VideoError, match="missing"):
        read_numbers(remote_path, next(row for row in range(12) if index.get_value(row, "shard") == second.name))


def test_a_cache_without_space(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote_path, old = f"shaky:/{corpus}", disk_cache.open_disk_cache()
    packed_corpus.open_packed_corpus(remote_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old.put("aa" * 16, b"x" * 1000)
    monkeypatch.setattr(DiskCache, "_write", full)
    with pytest.warns(RuntimeWarning, match="No space left on device.*UNREEL_CACHE") as warned:
        assert all(read_numbers(remote_path, row) == RIGHT[row] for row in (0, 4, 8))
    assert len(warned) == 1 and not old._list_files(), "what it held made room first"


def test_a_cache_that_can_not_be_made(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("UNREEL_CACHE", str(tmp_path / "a file"))
    with pytest.warns(RuntimeWarning, match="can't be written"):
        assert read_numbers(f"shaky:/{corpus}", 0) == RIGHT[0]


def test_settings_of_the_cache(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNREEL_CACHE_GB", "0.001")
    assert (
        disk_cache.open_disk_cache().limit_bytes == 1_000_000
        and disk_cache.open_disk_cache().folder == tmp_path / "cache"
    )
    monkeypatch.setenv("UNREEL_CACHE_GB", "much")
    with pytest.raises(InputError, match="UNREEL_CACHE_GB is a number"):
        packed_corpus.open_packed_corpus(f"shaky:/{corpus}")


def test_the_least_recently_used_file_leaves_the_cache(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "c", 10_000)
    for n in range(8):
        cache.put(f"{n:032x}", bytes([n]) * 1000)
        time.sleep(0.002)
    assert cache.get(f"{0:032x}") == bytes(1000)
    for n in range(8, 40):
        time.sleep(0.002)
        cache.put(f"{n:032x}", bytes([n]) * 1000)
        cache.get(f"{0:032x}")
        assert sum(size for _, size, _ in cache._list_files()) <= 10_000
    numbers = {int(Path(path).name, 16) for _, _, path in cache._list_files()}
    assert 0 in numbers and numbers - {0} == set(range(40 - len(numbers) + 1, 40)) and len(numbers) >= 8
    cache.put("big", bytes(20_000))
    assert cache.get("big") is None


def strain(folder: Path, seed: int) -> None:
    """Many reads and writes of one small cache; ends with an error when any bytes are wrong."""
    cache, draws = DiskCache(folder, 20_000), np.random.default_rng(seed)
    for n in draws.integers(0, 60, 400).tolist():
        name, right = f"{n:02x}" * 16, bytes([n]) * 1000
        if (cached := cache.get(name)) is None:
            cache.put(name, right)
        else:
            assert cached == right


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=strain, args=(tmp_path / "c", n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (
        sum(size for _, size, _ in DiskCache(tmp_path / "c", 0)._list_files())
        <= 20_000 * (1 + 3 * disk_cache.SCAN_FRACTION) + 3000
    )


def test_an_eviction_spares_what_another_process_is_writing(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1000)
    recent, stale = tmp_path / ".a.1.part", tmp_path / ".b.2.part"
    for path in (recent, stale):
        path.write_bytes(bytes(600))
    os.utime(stale, (0, 0))
    cache.put("cc", bytes(900))
    assert recent.exists() and not stale.exists() and cache.get("cc") == bytes(900)


def test_unknown_url_schemes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nosuch"):
        inspect(Path("nosuch://bucket/corpus"))


def test_only_packed_corpora_may_be_remote(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", 5)
    with pytest.raises(InputError, match="no packed corpus"):
        inspect(f"shaky:/{tmp_path}")


def test_finding_a_piece_is_a_bisection(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = packed_corpus.open_packed_corpus(corpus)
    keys = index.get_column("key")
    assert keys == sorted(keys) and [index.find_row(key) for key in keys] == list(range(12))
    for wrong in ("", "0", "zzz", keys[3] + "x"):
        with pytest.raises(KeyError):
            index.find_row(wrong)


class Ranges(SimpleHTTPRequestHandler):
    """A web server that answers range requests, or (`whole`) one that does not."""

    whole = False
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Ranges.requests.append(self.headers.get("Range", ""))
        path, span = Path(self.translate_path(self.path)), self.headers.get("Range", "")
        if not path.is_file():
            return self.send_error(404)
        data, match = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", span)
        part = data[int(match[1]) : int(match[2]) + 1] if match and not self.whole else data
        self.send_response(200 if part is data else 206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


def test_a_corpus_on_a_web_server(corpus: Path) -> None:
    pytest.importorskip("aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=str(corpus)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remote_path = f"http://127.0.0.1:{server.server_port}"
    try:
        manifest = inspect(remote_path)
        Ranges.requests.clear()
        assert read_numbers(remote_path, 4) == RIGHT[4] and len(manifest.videos) == 12
        piece = piece_reader.locate_piece(address(remote_path, 4))
        assert Ranges.requests == [f"bytes={piece.offset}-{piece.offset + piece.size_bytes - 1}"]
        (corpus / "00001.tar").unlink()
        row = next(
            n for n in range(12) if packed_corpus.open_packed_corpus(remote_path).get_value(n, "shard") == "00001.tar"
        )
        with pytest.raises(VideoError, match="missing"):
            read_numbers(remote_path, row)
        Ranges.whole = True
        with pytest.raises(VideoError, match="does not support range requests"):
            read_numbers(remote_path, 0)
    finally:
        Ranges.whole = False
        server.shutdown()
        server.server_close()
