"""Packing: every frame of every piece is correct, at its own time, close to the original, also after a kill."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from videos import CLOSED, FAST_VP9, HEVC, OPEN, UNEVEN, encode, encode_sound, encode_turned, number_of, numbers

from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.io.checksums import hash_bytes
from unreel.packing import output_folder
from unreel.packing.jobs import iter_jobs
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.packing.piece_spans import compute_piece_size, split_into_spans
from unreel.packing.psnr import compute_psnr
from unreel.video.decoding import decoder, packet_index, probe
from unreel.video.reading.frame_index import FrameIndex
from unreel.video.reading.frame_reader import FrameReader
from unreel.video.reading.mp4_index import parse_mp4_index
from unreel.video.sources import packed_corpus, piece_reader
from unreel.video.sources.paths import is_packed_corpus

SETTINGS = PackSettings(short_side=48, segment_s=1.8, shard_mb=0.03)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of files: several codecs, variable frame rate, rotated, of odd size, long, with sound."""
    folder = tmp_path_factory.mktemp("originals")
    for name in ("run", "walk"):
        (folder / name).mkdir()
    encode(folder / "run/h264.mp4", options=OPEN, audio=True)
    encode(folder / "run/hevc.mp4", codec="libx265", options=HEVC)
    encode(folder / "run/long.mp4", 200, options=CLOSED)
    encode(folder / "run/odd.mkv", 30, "ffv1", size=(65, 97), pix_fmt="bgr0")
    encode(folder / "run/xvid.avi", codec="mpeg4", options=CLOSED)
    encode(folder / "walk/film.mkv", 40, options=OPEN, time_base=Fraction(1001, 24000))
    encode(folder / "walk/same as long.mp4", 200, options=CLOSED)
    encode(folder / "walk/stream.ts", options=OPEN)
    encode(folder / "walk/vfr.mp4", options=CLOSED, time_base=Fraction(1, 1000), pts=UNEVEN)
    encode(folder / "walk/vp9.webm", 40, codec="libvpx-vp9", options=FAST_VP9)
    encode_turned(folder / "walk/turned.mp4", 90)
    (folder / "train.txt").write_text("run/h264.mp4\nrun/long.mp4\nwalk/vfr.mp4\n")
    (folder / "test.txt").write_text("run/xvid.avi\nwalk/turned.mp4\n")
    return folder


@pytest.fixture(scope="module")
def corpus(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "out"
    pack(videos, out, SETTINGS)
    return out


def rows(out: Path) -> list[dict[str, object]]:
    return packed_corpus.open_packed_corpus(out).index_table.to_pylist()


def test_every_frame_of_every_piece_is_the_right_one_at_its_own_time(videos: Path, corpus: Path) -> None:
    index = packed_corpus.open_packed_corpus(corpus)
    seen: dict[str, list[int]] = {}
    for n, row in enumerate(rows(corpus)):
        original, piece = videos / row["source"], index.piece_path(n)
        before_s, inside_s = packet_index.index_frames(original).times_s, packet_index.index_frames(piece).times_s
        first = int(np.searchsorted(before_s, row["start_s"] - 1e-9))
        frame_numbers = numbers(decoder.read_frames(piece, np.arange(row["num_frames"])))
        assert frame_numbers == list(range(first, first + row["num_frames"])), row["source"]
        original_times_s = before_s[first : first + len(frame_numbers)]
        np.testing.assert_allclose(inside_s, original_times_s - original_times_s[0], rtol=0, atol=1e-9)
        assert row["start_s"] == original_times_s[0] and row["end_s"] > original_times_s[-1]
        seen.setdefault(row["source"], []).extend(frame_numbers)
    lengths = {name: len(packet_index.index_frames(videos / name).times_s) for name in seen}
    assert len(seen) == 11 and {name: list(range(n)) for name, n in lengths.items()} == seen
    assert sum(row["source"] == "run/long.mp4" for row in rows(corpus)) == 4
    assert sum(row["source"] == "walk/vfr.mp4" for row in rows(corpus)) == 2


def test_any_frames_in_any_order_are_exact(corpus: Path) -> None:
    index = packed_corpus.open_packed_corpus(corpus)
    row = next(n for n, row in enumerate(rows(corpus)) if row["source"] == "run/long.mp4" and row["start_s"] > 3)
    first = round(index.get_value(row, "start_s") * 25)
    wanted = np.array([37, 3, 3, 44, 12, 0])
    assert numbers(decoder.read_frames(index.piece_path(row), wanted)) == (first + wanted).tolist()


def test_frames_reach_the_stated_psnr(videos: Path, corpus: Path) -> None:
    index = packed_corpus.open_packed_corpus(corpus)
    for n, row in enumerate(rows(corpus)):
        frames, size = np.arange(row["num_frames"]), (row["height"], row["width"])
        before = int(np.searchsorted(packet_index.index_frames(videos / row["source"]).times_s, row["start_s"] - 1e-9))
        original, coded = (
            decoder.read_frames(videos / row["source"], before + frames, size),
            decoder.read_frames(index.piece_path(n), frames),
        )
        sampled = np.unique(np.linspace(0, len(frames) - 1, 16).round().astype(int))
        assert compute_psnr(original[sampled], coded[sampled]) == pytest.approx(row["psnr_db"], abs=1e-6)
        assert row["psnr_db"] >= SETTINGS.psnr_db, "the pictures are grey, so nothing excuses less"
        assert compute_psnr(original, coded) >= SETTINGS.psnr_db - 0.5, "the frames between the sampled ones"


def test_saturated_patterns_need_only_reach_the_psnr_of_encoding(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)

    def draw(number: int, width: int, height: int) -> np.ndarray:
        return cv2.GaussianBlur(noise[number // 10], (0, 0), 0.7)

    encode(tmp_path / "in/a.mkv", 30, "ffv1", pix_fmt="bgr0", size=(96, 128), draw=draw)
    done = pack(tmp_path / "in", tmp_path / "out", PackSettings(short_side=96))
    (row,) = rows(tmp_path / "out")
    assert row["psnr_db"] < 38 <= row["coding_psnr_db"] and (done.num_limited_by_chroma, done.num_below_psnr) == (1, 0)


def test_smooth_colour_reaches_the_psnr_itself(tmp_path: Path) -> None:
    """Smooth colour: the PSNR is reached against the original itself, and at a higher CRF for a lower PSNR."""
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    smooth = cv2.normalize(cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 9), None, 60, 200, cv2.NORM_MINMAX)

    def draw(number: int, width: int, height: int) -> np.ndarray:
        return np.roll(smooth, number, axis=1).astype(np.uint8)

    encode(tmp_path / "in/a.mkv", 30, "ffv1", pix_fmt="bgr0", size=(96, 128), draw=draw)
    sizes = []
    for wanted_db in (30.0, 38.0):
        pack(tmp_path / "in", tmp_path / str(wanted_db), PackSettings(psnr_db=wanted_db, crf=35))
        (row,) = rows(tmp_path / str(wanted_db))
        index = packed_corpus.open_packed_corpus(tmp_path / str(wanted_db))
        original, coded = (decoder.read_frames(p, range(30)) for p in (tmp_path / "in/a.mkv", index.piece_path(0)))
        assert row["psnr_db"] >= wanted_db and compute_psnr(original, coded) >= wanted_db - 0.5
        sizes.append(row["size_bytes"])
    assert sizes[0] < sizes[1]


def test_content_of_the_shards(videos: Path, corpus: Path) -> None:
    """Small, upright, short GOPs, no sound, no B frames; pairs of KEY.mp4 and KEY.json in WebDataset's convention."""
    table = rows(corpus)
    assert {row["shard"] for row in table} == set(json.loads((corpus / "pack.json").read_text())["shards"])
    assert len({row["shard"] for row in table}) > 3
    for row in table:
        with tarfile.open(corpus / row["shard"]) as tar:
            names = tar.getnames()
            assert names == sorted(names, key=lambda name: (name.split(".")[0], name.endswith("json")))
            member = tar.getmember(f"{row['key']}.mp4")
            data, metadata = tar.extractfile(member).read(), json.load(tar.extractfile(f"{row['key']}.json"))
        assert (member.offset_data, member.size) == (row["offset"], row["size_bytes"])
        assert (
            hash_bytes(data) == row["checksum"]
            and piece_reader.read_piece(f"{corpus}/{row['shard']}#{row['key']}.mp4") == data
        )
        assert metadata == {name: row[name] for name in ("source", "source_hash", "start_s", "end_s", "label", "group")}
        with av.open(io.BytesIO(data)) as container:
            (stream,) = container.streams
            assert (stream.codec_context.pix_fmt, min(stream.height, stream.width)) == ("yuv420p", 48)
            kinds = [
                (packet.is_keyframe, packet.pts == packet.dts) for packet in container.demux(stream) if packet.size
            ]
        keys = [n for n, (key, _) in enumerate(kinds) if key]
        assert max(np.diff([*keys, len(kinds)])) <= 12 and all(same for _, same in kinds)
    turned = next(row for row in table if row["source"] == "walk/turned.mp4")
    assert (turned["width"], turned["height"]) == (72, 48)


def test_the_manifest_of_the_pieces(videos: Path, corpus: Path) -> None:
    before, after = inspect(videos), inspect(corpus, check="full")
    assert after.root == str(corpus) and not after.quarantine
    assert [video.path for video in after.videos] == packed_addresses(corpus)
    assert [video.recording for video in after.drop_duplicates()] == [
        Path(v.path).relative_to(videos).as_posix()
        for v in before.drop_duplicates()
        for _ in range({"long.mp4": 4, "vfr.mp4": 2}.get(Path(v.path).name, 1))
    ]
    for video in after.videos:
        info = probe.probe(video.path)
        assert (info.width, info.height, info.num_frames) == (video.width, video.height, video.num_frames)
        assert info.fps == pytest.approx(video.fps) and info.size_bytes == video.size_bytes
        cut = video.recording in ("run/long.mp4", "walk/same as long.mp4", "walk/vfr.mp4")
        assert video.label == video.recording.split("/")[0] and video.group == (video.recording if cut else "")
    duplicates = [video for video in after.videos if video.recording == "walk/same as long.mp4"]
    assert [v.duplicate_of for v in duplicates] == [v.path for v in after.videos if v.recording == "run/long.mp4"]


def packed_addresses(corpus: Path) -> list[str]:
    index = packed_corpus.open_packed_corpus(corpus)
    return [index.piece_path(n) for n in range(len(index))]


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.mark.reader_processes
def test_any_number_of_processes_writes_the_same_bytes(videos: Path, corpus: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pack(videos, tmp_path / "out", SETTINGS, workers=2, on_progress=lambda done, total: seen.append((done, total)))
    assert contents(tmp_path / "out") == contents(corpus)
    total = len(list(iter_jobs(inspect(videos), SETTINGS.segment_s)))
    assert seen == [(n + 1, total) for n in range(total)]


KILLED = """
import sys, time
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
def progress(done, total):
    print(done, flush=True)
    if done == 6:
        time.sleep(600)
settings = PackSettings(short_side=48, segment_s=1.8, shard_mb=0.03)
pack(sys.argv[1], sys.argv[2], settings, workers=2, on_progress=progress)
"""


def test_a_killed_packing_continues_to_the_same_result(videos: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", KILLED, videos, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert [process.stdout.readline().strip() for _ in range(6)] == list("123456")
        process.send_signal(signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert finished and not is_packed_corpus(out) and list((out / ".packing").glob("*.part"))
    with pytest.raises(InputError, match="not finished"):
        inspect(out)
    (out / ".packing" / "00000009-00000-vp9.mp4.part").write_bytes(b"half a piece")
    pieces = [path for path in (out / ".packing").glob("*.mp4") if path.with_suffix(".json").is_file()]
    assert pieces
    spoiled = bytearray(pieces[0].read_bytes())
    spoiled[len(spoiled) // 2] ^= 1  # as long as before
    pieces[0].write_bytes(spoiled)
    pack(videos, out, SETTINGS)
    assert contents(out) == contents(corpus)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "finished shards stay"


def standing(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_the_originals_do_not_change(videos: Path, tmp_path: Path) -> None:
    before = standing(videos)
    pack(videos, tmp_path / "out", SETTINGS, workers=2)
    assert standing(videos) == before


def test_a_clip_of_a_piece_costs_little_decoding(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of 8 frames feeds the decoder at most one GOP of 12 more, and a few packets that it delays."""
    fed, feed = list[int](), FrameReader._decode_packet

    def counted(self: FrameReader, n: int, packet: object, may_fail: bool) -> object:
        fed.append(n)
        return feed(self, n, packet, may_fail)

    monkeypatch.setattr(FrameReader, "_decode_packet", counted)
    index = packed_corpus.open_packed_corpus(corpus)
    for row in range(len(index)):
        for start in range(0, index.get_value(row, "num_frames") - 8, 5):
            fed.clear()
            decoder.read_frames(index.piece_path(row), np.arange(start, start + 8))
            assert 8 <= len(fed) <= 8 + 12 + 4, (row, start, len(fed))


def test_packing_again_does_nothing(videos: Path, corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert pack(videos, corpus, SETTINGS).is_new is False
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_another_corpus_or_other_settings_are_refused(videos: Path, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    encode(other / "a.mp4", 10)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for source, out, settings, message in (
        (videos, corpus, PackSettings(short_side=64, segment_s=1.8, shard_mb=0.03), "short-side 48"),
        (other, corpus, SETTINGS, "holds the packed videos of"),
        (other, tmp_path / "full", SETTINGS, "not a packed corpus"),
        (other, other / "out", SETTINGS, "must not change"),
        (other, Path("s3://bucket/out"), SETTINGS, "into a local folder"),
        (corpus, tmp_path / "twice", SETTINGS, "already packed"),
        (other, tmp_path / "out", PackSettings(short_side=47), "--short-side must be even"),
        (other, tmp_path / "out", PackSettings(segment_s=0), "--segment-s must lie between"),
    ):
        with pytest.raises(InputError, match=message):
            pack(source, out, settings)
    assert os.listdir(tmp_path / "full") == ["notes.txt"] and not (tmp_path / "out").exists()


def test_a_folder_that_has_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mp4", 10)
    pack(tmp_path / "in", tmp_path / "out", SETTINGS)
    encode(tmp_path / "in/b.mp4", 10)
    with pytest.raises(InputError, match="has changed since it was packed"):
        pack(tmp_path / "in", tmp_path / "out", SETTINGS)


def test_files_that_can_not_be_used_are_quarantined_with_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    encode(folder / "good.mp4", 20)
    encode_sound(folder / "sound.mp4")
    (folder / "text.mp4").write_text("no video\n" * 50)
    data = bytearray(encode(folder / "middle.mp4", 300, options=CLOSED).read_bytes())
    with av.open(str(folder / "middle.mp4")) as container:
        spoiled = next(
            packet for packet in container.demux(video=0) if packet.pts and packet.pts * packet.time_base >= 5
        )
        at, size = spoiled.pos, spoiled.size
    data[at + 4 : at + size] = bytes(255 - byte for byte in data[at + 4 : at + size])
    (folder / "middle.mp4").write_bytes(data)
    done = pack(folder, tmp_path / "out", PackSettings(short_side=48, segment_s=2.0))
    reasons = {Path(bad.path).name: (bad.reason, bad.detail) for bad in done.quarantine}
    assert {name: reason for name, (reason, _) in reasons.items()} == {
        "sound.mp4": "no video stream",
        "text.mp4": "not a video",
        "middle.mp4": "damaged",
    }
    assert reasons["middle.mp4"][1].startswith("piece 3 of 6: frame 1")
    start_times = [row["start_s"] for row in rows(tmp_path / "out") if row["source"] == "middle.mp4"]
    assert start_times == [0.0, 2.0, 6.0, 8.0, 10.0], "the rest of a long recording stays"
    assert Manifest.load(tmp_path / "out").quarantine == done.quarantine


def test_a_folder_without_usable_videos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mp4").write_text("no video")
    with pytest.raises(InputError, match="no video in it can be used"):
        pack(tmp_path / "in", tmp_path / "out", SETTINGS)


@pytest.mark.parametrize(
    ("width", "height", "short", "expected"),
    [(1280, 720, 128, (128, 228)), (720, 1280, 256, (456, 256)), (96, 65, 128, (64, 96)), (129, 300, 128, (298, 128))],
)
def test_sizes_are_even_and_never_above_the_original(
    width: int, height: int, short: int, expected: tuple[int, int]
) -> None:
    assert compute_piece_size(width, height, short) == expected


def test_pieces_cover_every_frame_once() -> None:
    for times_s in (np.arange(100) / 10, np.array([0, 0.1, 0.2, 9.0, 9.1]), np.array([0.0, 9.0]), np.zeros(1)):
        for count in (1, 2, 3, 7):
            spans = split_into_spans(times_s, count)
            assert [n for span in spans for n in range(span.start_frame, span.stop_frame)] == list(range(len(times_s)))
            assert len(spans) <= count and all(
                span.stop_frame - span.start_frame >= min(2, len(times_s)) for span in spans
            )
            assert [(span.piece_number, span.num_pieces) for span in spans] == [
                (n, len(spans)) for n in range(len(spans))
            ]


def test_a_frame_says_minus_one_when_it_is_turned() -> None:
    """The tests above can fail."""
    from videos import picture

    assert number_of(np.rot90(picture(5))) == -1 and number_of(picture(5)) == 5


def test_the_index_from_mp4_tables_equals_that_of_a_demux_pass(corpus: Path, tmp_path: Path) -> None:
    for n, address in enumerate(packed_addresses(corpus)):
        (tmp_path / f"{n}.mp4").write_bytes(piece_reader.read_piece(address))
        demuxed, read = packet_index.index_frames(tmp_path / f"{n}.mp4"), packet_index.index_frames(address)
        for name in [field.name for field in dataclasses.fields(FrameIndex)]:
            np.testing.assert_array_equal(getattr(read, name), getattr(demuxed, name), err_msg=name)


def test_other_files_have_no_index_from_mp4_tables(tmp_path: Path) -> None:
    reordered = encode(tmp_path / "b.mp4", options=CLOSED).read_bytes()
    sound = encode(tmp_path / "s.mp4", options={"bf": "0"}, audio=True).read_bytes()
    late = encode(tmp_path / "l.mp4", options={"bf": "0"}, pts=range(100, 160)).read_bytes()
    for data in (reordered, sound, late, b"", b"\0" * 100, reordered[:200]):
        assert parse_mp4_index(data) is None


def test_workers_of_a_killed_packer_are_waited_for_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of a killed packer holds the inherited lock until it ends."""
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mp4", 10)
    out = tmp_path / "out"
    (out / ".packing").mkdir(parents=True)
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(flush=True); time.sleep({})"
    for seconds, wait_s, ends in ((60, 0.2, "refused"), (1, 30, "packed")):
        monkeypatch.setattr(output_folder, "LOCK_TIMEOUT_S", wait_s)
        command = [sys.executable, "-c", hold.format(seconds), out / ".packing" / "lock"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None and other.stdout.readline()
            if ends == "refused":
                with pytest.raises(InputError, match="another unreel packs into it"):
                    pack(tmp_path / "in", out, SETTINGS)
                other.kill()
            else:
                assert pack(tmp_path / "in", out, SETTINGS).num_pieces == 1
                assert other.wait(10) == 0, "it had gone by itself"
