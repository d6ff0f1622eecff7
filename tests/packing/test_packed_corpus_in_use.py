"""A packed corpus in place of its folder: training, evaluation and embedding, local and remote."""

import json
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from commands import refused, succeeds
from videos import encode

import unreel
from unreel.corpus.held_out import split_held_out
from unreel.corpus.inspection import inspect
from unreel.corpus.segments import build_instances
from unreel.evaluation.leakage import find_duplicates
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.losses.negative_mask import NegativeMask
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.types import Instance
from unreel.video.decoding import packet_index
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_sequential_loader
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sources import packed_corpus, piece_reader
from unreel.video.sources.paths import is_piece


@pytest.fixture(scope="module")
def corpus(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "motion"
    pack(motion_set, out)
    return out


@pytest.fixture(scope="module")
def remote_corpus(corpus: Path) -> str:
    """The same corpus behind fsspec."""
    store = fsspec.filesystem("memory")
    for path in corpus.rglob("*"):
        if path.is_file():
            store.pipe(f"/far/{path.relative_to(corpus)}", path.read_bytes())
    return "memory://far"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNREEL_CACHE", str(tmp_path / "cache"))


def recordings(items: list[Instance], root: Path, corpus: Path) -> list[tuple[object, ...]]:
    """The instances by their originals, whether they are files or pieces."""
    index = packed_corpus.open_packed_corpus(corpus)
    names = {index.piece_path(row): source for row, source in enumerate(index.get_column("source"))}
    path = [names.get(i.path) or Path(i.path).relative_to(root).as_posix() for i in items]
    return [(p, i.video, i.start_s, i.end_s, i.label, i.group) for p, i in zip(path, items, strict=True)]


def test_training_sees_the_same_instances_in_the_same_order(motion_set: Path, corpus: Path) -> None:
    before, after = (build_instances(inspect(source)) for source in (motion_set, corpus))
    assert recordings(after, motion_set, corpus) == recordings(before, motion_set, corpus)
    for original, piece in zip(split_held_out(before, 0.25, 3), split_held_out(after, 0.25, 3), strict=True):
        assert original and recordings(piece, motion_set, corpus) == recordings(original, motion_set, corpus)
    spec = ClipSpec(num_frames=8, fps=12.5, stride_frames=0)
    datasets = [ClipDataset(instances, spec, (32, 32), 2, seed=1) for instances in (before, after)]
    draws = [[dataset[(4, n)] for n in range(6)] for dataset in datasets]
    for original, piece in zip(*draws, strict=True):
        np.testing.assert_allclose(piece.spans_s, original.spans_s, atol=1e-6)
        assert np.abs(original.frames.astype(float) - piece.frames).mean() < 4


@pytest.mark.report
def test_a_run_on_a_remote_corpus(remote_corpus: str, tmp_path: Path) -> None:
    args = ["--backbone", "tiny", "--size", 32, "--num-frames", 8, "--batch-size", 4, "--device", "cpu"]
    succeeds("pretrain", remote_corpus, "--out", tmp_path / "run", "--steps", 2, "--workers", 2, *args)
    assert json.loads((tmp_path / "run/config.json").read_text())["source"] == remote_corpus
    held_out = (tmp_path / "run/held_out.txt").read_text().splitlines()
    assert held_out and all(path.startswith(remote_corpus) and is_piece(path) for path in held_out)
    assert (tmp_path / "run/report.html").stat().st_size > 10_000
    assert unreel.resume(tmp_path / "run", quiet=True)["step"] == 2


def test_evaluation_and_embedding_of_local_and_remote_corpora(
    small_run: Path, motion_set: Path, corpus: Path, remote_corpus: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    results = {}
    for source in (str(corpus), remote_corpus):
        finished = succeeds("evaluate", "retrieval", run, source, "--num-clips", 1, "--no-floors", "--json")
        results[source] = json.loads(finished.out)
        assert (
            "8 of 8 test videos" not in finished.err and "16 of 16 training videos were in pre-training" in finished.err
        )
    local, remote = (json.dumps(data) for data in results.values())
    assert local.replace("motion (", "").replace(str(corpus), "") == remote.replace("far (", "").replace(
        remote_corpus, ""
    )
    vectors = []
    for n, source in enumerate((motion_set, str(corpus), remote_corpus)):
        succeeds("embed", run, source, "--out", tmp_path / f"{n}.parquet", "--num-clips", 2)
        vectors.append(read_embeddings(tmp_path / f"{n}.parquet"))
    assert vectors[1].paths[0].startswith(str(corpus)) and vectors[2].paths[0].startswith("memory://far/00000.tar#")
    np.testing.assert_array_equal(vectors[1].vectors, vectors[2].vectors)
    assert np.einsum("nd,nd->n", vectors[0].vectors, vectors[1].vectors).min() > 0.98
    original = unreel.load_encoder(run).embed([vectors[2].paths[3]], num_clips=2)
    np.testing.assert_allclose(original.vectors[0], vectors[2].vectors[3], atol=1e-6)


def test_pieces_are_left_out_with_a_reason_when_a_shard_is_cut(small_run: Path, corpus: Path, tmp_path: Path) -> None:
    spoiled = Path(shutil.copytree(corpus, tmp_path / "spoiled"))
    shard = spoiled / "00000.tar"
    shard.write_bytes(shard.read_bytes()[: packed_corpus.open_packed_corpus(corpus).get_value(20, "offset") + 9])
    finished = succeeds("embed", small_run, spoiled, "--out", tmp_path / "e.parquet", "--num-clips", 1)
    assert "20 rows, 4 files left out" in finished.out and finished.err.count("truncated: the piece ends at byte") == 4
    finished = succeeds("inspect", spoiled, "--out", tmp_path / "manifest")
    assert "quarantined, truncated: 4 files" in finished.out


def test_the_command(motion_set: Path, tmp_path: Path) -> None:
    finished = succeeds("pack", motion_set, tmp_path / "out", "--short-side", 32, "--workers", 1, "--crf", 20)
    assert "24 pieces of 24 videos in 1 shard" in finished.out and "times as fast to decode" in finished.out
    assert "MB before" in finished.out and "PSNR of 38 dB or more" in finished.out
    repeated = succeeds("pack", motion_set, tmp_path / "out", "--short-side", 32, "--crf", 20, "--no-gain")
    assert "nothing to do" in repeated.out
    refused("pack", motion_set, tmp_path / "out", "--short-side", 48, says=("short-side 32", "another folder"))
    refused("pack", tmp_path / "nowhere", tmp_path / "o", says=("nowhere", "no such folder"))


def test_pieces_of_one_recording_share_its_number(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    encode(tmp_path / "in/a.mp4", 150)
    encode(tmp_path / "in/b.mp4", 20, "mpeg4")
    pack(tmp_path / "in", tmp_path / "out", PackSettings(segment_s=2.0))
    results = build_instances(inspect(tmp_path / "out"))
    assert [(i.video, i.start_s, i.offset_s) for i in results] == [(0, 0, 0), (0, 0, 2), (0, 0, 4), (1, 0, 0)]
    assert NegativeMask(results, 3.0).start_s_N.tolist() == [0, 2, 4, 0]
    assert NegativeMask(results, 3.0).video_N.tolist() == [0, 0, 0, 1]


def test_a_piece_and_its_original_are_known_as_the_same(motion_set: Path, corpus: Path) -> None:
    before, after = (build_instances(inspect(source)) for source in (motion_set, corpus))
    assert len(find_duplicates(before, after)) == 24 and len(find_duplicates(after[:4], after[4:])) == 0


@pytest.mark.reader_processes
def test_loader_processes_read_a_remote_corpus(remote_corpus: str) -> None:
    instances = build_instances(inspect(Path(remote_corpus)))
    clips = ClipDataset(instances, ClipSpec(num_frames=4), (32, 32), 1)
    alone, two = ([s.frames for s in build_sequential_loader(clips, workers)] for workers in (0, 2))
    assert len(alone) == 24 and all(np.array_equal(a, b) for a, b in zip(alone, two, strict=True))


def test_one_read_of_the_shard_for_a_draw(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    load = piece_reader.load_piece
    monkeypatch.setattr(piece_reader, "load_piece", lambda piece: reads.append(piece.path) or load(piece))
    instances = build_instances(inspect(corpus))
    packet_index.clear_caches()
    ClipDataset(instances, ClipSpec(num_frames=4), (32, 32), 3)[(0, 5)]
    assert reads == [instances[5].path]
