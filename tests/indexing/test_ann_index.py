"""The index against every score worked out, its filters, its readers, and files that do not fit."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from vectors import grouped, unit

from unreel.errors import DiskError, InputError
from unreel.indexing.index.approximate import ann_index_file
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.approximate.ivf import BuildOptions
from unreel.indexing.index.query_vector import weight_parts
from unreel.indexing.index.vectors import hash_vectors
from unreel.models.encoder.row_parts import RowParts

INVERTED = BuildOptions(flat_below=100)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return grouped(4100)[:4000]


@pytest.fixture(scope="module")
def unseen() -> np.ndarray:
    """Queries of the same kind that are not in the index."""
    return grouped(4100)[4000:]


@pytest.fixture(scope="module")
def inverted(vectors: np.ndarray) -> AnnIndex:
    return AnnIndex.build(vectors, INVERTED)


def slow(
    vectors_ND: np.ndarray, query_D: np.ndarray, k: int, allowed: set[int] | None = None
) -> list[tuple[float, int]]:
    """Every score, best first, of equal ones the first row."""
    score_N = (vectors_ND @ query_D).tolist()
    return sorted(
        ((s, n) for n, s in enumerate(score_N) if allowed is None or n in allowed), key=lambda x: (-x[0], x[1])
    )[:k]


def share_found(
    vectors_ND: np.ndarray, nearest: AnnIndex, query_QD: np.ndarray, k: int, allowed_N: np.ndarray
) -> float:
    """Recall@k, one query after the other."""
    allowed = set(np.flatnonzero(allowed_N).tolist())
    found = 0
    for query_D, row_K in zip(query_QD, nearest.search(query_QD, k, allowed_N)[1], strict=True):
        found += len({n for _, n in slow(vectors_ND, query_D, k, allowed)} & set(row_K.tolist()))
    return found / (k * len(query_QD))


def test_a_small_index_is_exact(vectors: np.ndarray) -> None:
    nearest = AnnIndex.build(vectors)
    assert nearest.description.kind == "flat" and len(nearest) == 4000 and "exact" in str(nearest.description)
    query_QD = grouped(3, seed=1)
    score_QK, row_QK = nearest.search(query_QD, 7)
    for query_D, score_K, row_K in zip(query_QD, score_QK, row_QK, strict=True):
        expected = slow(vectors, query_D, 7)
        assert row_K.tolist() == [n for _, n in expected]
        np.testing.assert_allclose(score_K, [s for s, _ in expected], atol=1e-6)


def test_more_cells_are_searched_only_until_they_hold_enough_rows(
    unseen: np.ndarray, inverted: AnnIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 64 cells, where five hold enough, took as long as the rest of a million rows together."""
    asked, search_cells = [], inverted._search_cells
    sizes = [inverted.index.invlists.list_size(n) for n in range(inverted.description.nlist)]

    def spy(query_QD: np.ndarray, k: int, mask_N: np.ndarray | None, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append((len(query_QD), nprobe))
        return search_cells(query_QD, k, mask_N, nprobe)

    monkeypatch.setattr(inverted, "_search_cells", spy)
    few = dataclasses.replace(inverted.description, nprobe=1)
    monkeypatch.setattr(inverted, "description", few)
    score_QK, row_QK = inverted.search(unseen[:1], max(sizes) + 1)  # one cell never holds so many
    assert (row_QK >= 0).all() and len(set(row_QK[0].tolist())) == max(sizes) + 1
    assert (np.diff(score_QK[0]) <= 0).all()
    assert asked[:2] == [(1, 1), (1, 4)] and asked[-1][1] < 64
    assert inverted.search(unseen[:1], len(inverted))[1].shape == (1, len(inverted))  # in the end all of them


def test_of_equal_rows_the_first_comes_first() -> None:
    vectors_ND = np.repeat(grouped(3), 5, axis=0)
    assert AnnIndex.build(vectors_ND).search(vectors_ND[:1], 5)[1].tolist() == [[0, 1, 2, 3, 4]]


def test_a_large_index_reaches_the_recall_it_says(vectors: np.ndarray, unseen: np.ndarray, inverted: AnnIndex) -> None:
    said = inverted.description
    assert said.kind in ("IVF-SQ8", "IVF-SQfp16") and 1 <= said.nprobe <= said.nlist == 64
    assert said.recall >= 0.97 and f"{said.recall:.3f} on 256 queries" in str(said)
    all_N = np.ones(len(vectors), bool)
    # Three standard errors of 100 queries below what was asked for: their recalls differ by about 0.05.
    assert share_found(vectors, inverted, unseen, 10, all_N) >= 0.97 - 3 * 0.05 / 10


def test_the_recall_said_is_that_of_an_explicit_count(vectors: np.ndarray) -> None:
    built = AnnIndex.build(vectors, dataclasses.replace(INVERTED, target_recall=0.5, num_queries=4000))
    rows = range(0, 4000, 20)
    found = 0
    for row in rows:
        others = set(range(4000)) - {row}
        right = {n for _, n in slow(vectors, vectors[row], 10, others)}
        given = [n for n in built.search(vectors[row][None], 11)[1][0].tolist() if n != row][:10]
        found += len(right & set(given))
    # 200 of the 4000 queries: three standard errors, where the spread between queries is below 0.3.
    assert built.description.recall == pytest.approx(found / 2000, abs=3 * 0.3 / 200**0.5)
    assert 0.5 <= built.description.recall < 0.97


def test_fine_codes_are_taken_where_coarse_ones_do_not_reach_the_recall() -> None:
    base_D = grouped(1, dim=32)[0]
    rng = np.random.default_rng(0)
    near_ND = unit(base_D + 1e-3 * rng.standard_normal((2000, 32)))
    wide_ND = np.concatenate([near_ND, grouped(2000, dim=32, noise=3.0)])
    assert AnnIndex.build(wide_ND, INVERTED).description.kind == "IVF-SQfp16"


def test_the_same_seed_gives_the_same_index(vectors: np.ndarray, inverted: AnnIndex) -> None:
    again = AnnIndex.build(vectors, INVERTED)
    assert again.description == inverted.description
    query_QD = grouped(30, seed=2)
    for one, other in zip(again.search(query_QD, 10), inverted.search(query_QD, 10), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_a_filter_finds_the_nearest_of_what_it_allows(vectors: np.ndarray, inverted: AnnIndex, share: float) -> None:
    allowed_N = np.random.default_rng(3).random(len(vectors)) < share
    query_QD = grouped(30, seed=4)
    k = min(10, int(allowed_N.sum()))
    assert share_found(vectors, inverted, query_QD, k, allowed_N) >= 0.9
    by_row = inverted.search(query_QD, k, np.flatnonzero(allowed_N))
    np.testing.assert_array_equal(by_row[1], inverted.search(query_QD, k, allowed_N)[1])


@pytest.mark.parametrize("refused", [1, 9, 10, 11, 40])
def test_what_few_rows_refused_leave_is_what_would_be_found_without_them(vectors: np.ndarray, refused: int) -> None:
    flat, k = AnnIndex.build(vectors), 10
    query_QD = grouped(3, seed=6)
    near_QM = flat.search(query_QD, refused)[1]
    allowed_N = np.ones(len(vectors), bool)
    allowed_N[near_QM[0]] = False  # the first query's nearest: the others have all or some of theirs
    for query_D, row_K in zip(query_QD, flat.search(query_QD, k, allowed_N)[1], strict=True):
        assert row_K.tolist() == [n for _, n in slow(vectors, query_D, k, set(np.flatnonzero(allowed_N).tolist()))]


def test_a_filter_of_one_far_cell_is_found_all_the_same(vectors: np.ndarray, inverted: AnnIndex) -> None:
    """All allowed rows around another centre than the query's: none lies in the cells looked at first."""
    allowed = np.arange(1, 400, 8)
    score_QK, row_QK = inverted.search(vectors[:1], 50, allowed)
    assert sorted(row_QK[0].tolist()) == allowed.tolist() and (np.diff(score_QK[0]) <= 0).all()


def test_fewer_rows_than_asked_for(vectors: np.ndarray, inverted: AnnIndex) -> None:
    nothing = np.zeros(len(vectors), bool)
    assert inverted.search(vectors[:2], 5, nothing)[1].shape == (2, 0)
    assert inverted.search(vectors[:2], 5, np.array([7, 9]))[1].shape == (2, 2)
    assert inverted.search(vectors[:0], 5)[1].shape == (0, 5)
    assert sorted(inverted.search(vectors[:1], 10_000)[1][0].tolist()) == list(range(4000))


def test_recall_holds_at_both_ends_of_the_slider() -> None:
    vectors_ND = np.concatenate([grouped(3000, 16, seed=1), grouped(3000, 16, 5, seed=2)], axis=1) / np.sqrt(2)
    parts = RowParts.make_equal(("rgb", "residual"), (16, 16))
    nearest = AnnIndex.build(vectors_ND, dataclasses.replace(INVERTED, parts=parts, target_recall=0.9))
    assert nearest.description.num_queries == 3 * 256
    rng = np.random.default_rng(5)
    for weight in (0.0, 0.5, 1.0):
        query_QD = weight_parts(vectors_ND[rng.choice(3000, 40)], weight, parts)
        assert share_found(vectors_ND, nearest, query_QD, 10, np.ones(3000, bool)) >= 0.8


def test_many_readers_at_once_find_what_one_finds(vectors: np.ndarray, inverted: AnnIndex) -> None:
    """Each with a filter and a count of its own; what one reader asks for must not reach another."""
    asked = [(grouped(1, seed=n), 1 + n % 20, np.arange(n % 7, 4000, 1 + n % 7)) for n in range(200)]
    expected = [inverted.search(*what) for what in asked]
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda what: inverted.search(*what), asked))
    for (score, row), (expected_score, expected_row) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(row, expected_row)
        np.testing.assert_array_equal(score, expected_score)


def test_vectors_may_stay_on_disk(tmp_path: Path, vectors: np.ndarray, inverted: AnnIndex) -> None:
    np.save(tmp_path / "v.npy", vectors)
    assert AnnIndex.build(np.load(tmp_path / "v.npy", mmap_mode="r"), INVERTED).description == inverted.description


@pytest.mark.parametrize("flat_below", [100, 100_000])
def test_an_index_comes_back_as_it_was(tmp_path: Path, vectors: np.ndarray, flat_below: int) -> None:
    nearest = AnnIndex.build(vectors, BuildOptions(flat_below=flat_below))
    path = tmp_path / "new" / "nearest.index"
    nearest.save(path)
    assert [f.name for f in path.parent.iterdir()] == ["nearest.index"]
    back = AnnIndex.load(path, hash_vectors(vectors))
    assert back.description == nearest.description
    for one, other in zip(back.search(vectors[:9], 10), nearest.search(vectors[:9], 10), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_of_other_vectors_is_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    AnnIndex.build(vectors).save(tmp_path / "i")
    with pytest.raises(InputError, match=r"other embeddings \(4000 rows\).*build the index again"):
        AnnIndex.load(tmp_path / "i", hash_vectors(vectors[::-1]))


def test_files_that_are_no_whole_index_are_refused(tmp_path: Path, vectors: np.ndarray) -> None:
    path, of = tmp_path / "i", hash_vectors(vectors)
    with pytest.raises(InputError, match="no index to read"):
        AnnIndex.load(path, of)
    AnnIndex.build(vectors, fingerprint=of).save(path)
    whole = path.read_bytes()
    for half in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(half)
        with pytest.raises(InputError, match="not an index of unreel, or half of one"):
            AnnIndex.load(path, of)
    path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    with pytest.raises(InputError, match="damaged"):
        AnnIndex.load(path, of)
    path.write_bytes(whole[1000:])
    with pytest.raises(InputError, match="damaged"):
        AnnIndex.load(path, of)
    path.write_bytes(whole.replace(b"unreel index 00001", b"unreel index 00002"))
    with pytest.raises(InputError, match="version 00002, this unreel reads 00001"):
        AnnIndex.load(path, of)
    path.write_bytes(whole.replace(b'"rows"', b'"rowz"'))
    with pytest.raises(InputError, match="description can't be read"):
        AnnIndex.load(path, of)


def test_a_full_disk_keeps_the_old_index(tmp_path: Path, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "i"
    AnnIndex.build(vectors).save(path)
    before = path.read_bytes()

    def full(_index: object, where: str) -> None:
        Path(where).write_bytes(b"half")
        raise RuntimeError("write error in ... (No space left on device)\nmore")

    monkeypatch.setattr(ann_index_file.faiss, "write_index", full)
    with pytest.raises(DiskError, match="No space left"):
        AnnIndex.build(vectors[:5]).save(path)
    assert path.read_bytes() == before and [f.name for f in tmp_path.iterdir()] == ["i"]


def test_rows_that_are_no_unit_vectors_are_refused(vectors: np.ndarray) -> None:
    for bad in (2.0, np.nan, 0.0):
        wrong = vectors.copy()
        wrong[3210] *= bad
        with pytest.raises(InputError, match="row 3210 has length"):
            AnnIndex.build(wrong)
    with pytest.raises(InputError, match="embed some videos first"):
        AnnIndex.build(vectors[:0])


def test_queries_and_filters_that_do_not_fit_are_refused(vectors: np.ndarray) -> None:
    nearest = AnnIndex.build(vectors)
    with pytest.raises(InputError, match=r"\(1, 16\), the index needs \(Q, 32\)"):
        nearest.search(vectors[:1, :16], 5)
    with pytest.raises(InputError, match="not finite"):
        nearest.search(np.full((1, 32), np.nan), 5)
    for wrong in (np.ones(3999, bool), np.array([4000]), np.array([-1])):
        with pytest.raises(InputError, match="does not fit an index of 4000 rows"):
            nearest.search(vectors[:1], 5, wrong)
