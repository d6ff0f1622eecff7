"""An index whose codes stay on disk: what it finds against every score worked out, what it reads, and its file."""

import ctypes
import dataclasses
import mmap
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pytest
from vectors import grouped

import unreel
from unreel.errors import InputError
from unreel.indexing.index import build_index
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.disk_codes import CANDIDATES, CANDIDATES_PER_HIT, rank_anew, read_rows
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.query_vector import weight_parts
from unreel.indexing.index.vectors import hash_vectors, search_exact
from unreel.models.encoder.row_parts import RowParts

ON_DISK = BuildOptions(flat_below=100, on_disk_from=100)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return grouped(4100)[:4000]


@pytest.fixture(scope="module")
def unseen() -> np.ndarray:
    return grouped(4100)[4000:]


@pytest.fixture(scope="module")
def coded(vectors: np.ndarray) -> AnnIndex:
    return AnnIndex.build(vectors, ON_DISK)


class CountedRows:
    """Vectors that say how many rows were read."""

    def __init__(self, vectors_ND: np.ndarray) -> None:
        self.vectors_ND, self.num_read = vectors_ND, 0

    def __getitem__(self, row_n: np.ndarray) -> np.ndarray:
        self.num_read += len(row_n)
        return self.vectors_ND[row_n]


def share_found(vectors_ND: np.ndarray, nearest: AnnIndex, query_QD: np.ndarray, mask_N: np.ndarray) -> float:
    """Recall@10 of exact search."""
    right_QK, found_QK = search_exact(vectors_ND, query_QD, 10, mask_N)[0], nearest.search(query_QD, 10, mask_N)[1]
    return float(
        np.mean([len({*r} & {*f}) / len(r) for r, f in zip(right_QK.tolist(), found_QK.tolist(), strict=True)])
    )


def test_it_reaches_the_recall_it_says(vectors: np.ndarray, unseen: np.ndarray, coded: AnnIndex) -> None:
    description = coded.description
    assert (description.kind, description.is_approximate) == ("IVF-RaBitQ", True)
    assert description.candidates in CANDIDATES and description.recall >= ON_DISK.target_recall
    assert f"the best {description.candidates} ranked anew" in str(description)
    assert share_found(vectors, coded, unseen, np.ones(len(vectors), bool)) >= 0.9


def test_fewer_rows_stay_in_memory(vectors: np.ndarray) -> None:
    in_memory = AnnIndex.build(vectors, dataclasses.replace(ON_DISK, on_disk_from=4001)).description
    assert in_memory.kind.startswith("IVF-SQ") and not in_memory.candidates


def test_candidates_are_ranked_by_their_vectors() -> None:
    rng = np.random.default_rng(0)
    vectors_ND, query_QD = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(2, 5)).astype(np.float32)
    vectors_ND[7] = vectors_ND[30]
    query_QD[0] = vectors_ND[30]
    row_QC = np.array([[30, 3, 7, 39, 12], [5, -1, 8, -1, -1]])
    score_QK, found_QK = rank_anew(vectors_ND, query_QD, row_QC, 4)
    for query_D, row_C, score_K, found_K in zip(query_QD, row_QC, score_QK, found_QK, strict=True):
        scores = [(-sum(float(a) * float(b) for a, b in zip(vectors_ND[n], query_D, strict=True)), n) for n in row_C]
        wanted = sorted((round(score, 5), n) for score, n in scores if n >= 0)[:4]
        assert found_K.tolist() == [n for _, n in wanted] + [-1] * (4 - len(wanted))
        np.testing.assert_allclose(score_K[: len(wanted)], [-score for score, _ in wanted], atol=1e-4)
        assert np.isneginf(score_K[len(wanted) :]).all()


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_a_filter_finds_the_nearest_of_what_it_allows(
    vectors: np.ndarray, unseen: np.ndarray, coded: AnnIndex, share: float
) -> None:
    mask_N = np.random.default_rng(1).random(len(vectors)) < share
    assert share_found(vectors, coded, unseen, mask_N) >= 0.9
    few = coded.search(unseen[:3], 10_000, mask_N)[1]
    assert [sorted(row_K) for row_K in few.tolist()] == [np.flatnonzero(mask_N).tolist()] * 3


def test_recall_holds_at_both_ends_of_the_slider() -> None:
    vectors_ND = np.concatenate([grouped(3000, 16, seed=1), grouped(3000, 16, 5, seed=2)], axis=1) / np.sqrt(2)
    parts = RowParts.make_equal(("rgb", "residual"), (16, 16))
    nearest = AnnIndex.build(vectors_ND, dataclasses.replace(ON_DISK, parts=parts, target_recall=0.9))
    assert nearest.description.num_queries == 3 * 256
    for weight in (0.0, 0.5, 1.0):
        query_QD = weight_parts(vectors_ND[:40], weight, parts)
        assert share_found(vectors_ND, nearest, query_QD, np.ones(3000, bool)) >= 0.8


def test_a_question_reads_its_candidates_alone(vectors: np.ndarray, unseen: np.ndarray, coded: AnnIndex) -> None:
    rows = CountedRows(vectors)
    counted = AnnIndex(coded.index, coded.description, rows)  # type: ignore[arg-type]
    for k in (10, 400):
        rows.num_read = 0
        counted.search(unseen[:1], k)
        assert k <= rows.num_read <= max(coded.description.candidates, CANDIDATES_PER_HIT * k)


def list_pages_in_memory(path: Path) -> list[int]:
    """The pages of a file that lie in memory, as Linux's mincore says; to read them would read ahead."""
    numbers: np.ndarray = np.memmap(path, np.uint8, "r")
    state = np.zeros(-(-numbers.size // mmap.PAGESIZE), np.uint8)
    address, length = ctypes.c_void_p(numbers.ctypes.data), ctypes.c_size_t(numbers.size)
    assert ctypes.CDLL(None).mincore(address, length, ctypes.c_void_p(state.ctypes.data)) == 0
    return [int(page) for page in np.flatnonzero(state & 1)]


def forget_pages(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if list_pages_in_memory(path):
        pytest.skip("a file system whose files always lie in memory")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what lies in memory")
def test_the_disk_reads_the_rows_that_are_ranked_alone(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    numbers_ND = np.random.default_rng(0).random((2000, 512), np.float32)
    np.save(path, numbers_ND)
    vectors_ND: np.ndarray = np.load(path, mmap_mode="r")
    row_n = np.array([3, 700, 701, 1500])
    forget_pages(path)
    np.testing.assert_array_equal(read_rows(vectors_ND[2:1800], row_n), numbers_ND[2 + row_n])
    first_n = 128 + 2048 * (2 + row_n)  # after the header
    wanted = {int(byte) // mmap.PAGESIZE for first in first_n for byte in (first, first + 2047)}
    found = set(list_pages_in_memory(path))
    assert wanted <= found and len(found) <= 4 * len(wanted)  # of 1,001; a kernel may read in larger pieces


def test_its_cells_stay_in_the_file(tmp_path: Path, vectors: np.ndarray, unseen: np.ndarray, coded: AnnIndex) -> None:
    path = tmp_path / "nearest.faiss"
    coded.save(path)
    back = AnnIndex.load(path, hash_vectors(vectors))
    back.use_vectors(vectors)
    cells = faiss.downcast_InvertedLists(faiss.extract_index_ivf(back.index).invlists)
    assert isinstance(cells, faiss.OnDiskInvertedLists)
    if sys.platform == "linux":
        assert str(path) in Path("/proc/self/maps").read_text()
    assert back.description == coded.description
    for one, other in zip(back.search(unseen, 10), coded.search(unseen, 10), strict=True):
        np.testing.assert_array_equal(one, other)
    whole = path.read_bytes()
    path.write_bytes(whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:])
    with pytest.raises(InputError, match="damaged"):
        AnnIndex.load(path, hash_vectors(vectors))


def test_the_same_seed_gives_the_same_file(tmp_path: Path, vectors: np.ndarray, coded: AnnIndex) -> None:
    coded.save(tmp_path / "one")
    AnnIndex.build(vectors, ON_DISK).save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_footage_is_searched_on_disk_as_in_memory(
    motion_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(motion_index, folder)
    (folder / "nearest.faiss").unlink()
    monkeypatch.setattr(build_index, "BuildOptions", partial(BuildOptions, flat_below=10, on_disk_from=10))
    assert "IVF-RaBitQ" in build_index.refresh_index(folder, unreel.load_encoder(folder / "encoder"))
    options = unreel.HitOptions(num_hits=5)
    for row in (0, 9):
        query = unreel.SearchQuery(positive_rows=(row,))
        found, wanted = (unreel.search(unreel.open_index(place), query, options) for place in (folder, motion_index))
        assert [(hit.path, hit.start_s) for hit in found] == [(hit.path, hit.start_s) for hit in wanted]
