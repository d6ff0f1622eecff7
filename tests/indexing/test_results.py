"""Hits: clips of one event merged, doubles folded, the query's own left out, filters; against explicit loops."""

import math

import numpy as np
import pytest
from vectors import clips, grouped, unit

from unreel.errors import InputError
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.row_filter import RowFilter, exclude_own_rows
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.search.event_grouping import group_events
from unreel.indexing.search.results import HitOptions, fold_duplicates, merge_rows, search_by_score, search_by_vector
from unreel.types import Embeddings, Moment


def slow_events(rows: RowTable, row_K: np.ndarray, gap_s: float) -> set[frozenset[int]]:
    """Groups that grow as long as two of them touch in one path."""
    groups = [{int(r)} for r in row_K]
    touches = True
    while touches:
        touches = False
        for i in range(len(groups)):
            for j in range(i + 1, len(groups)):
                if any(near(rows, a, b, gap_s) for a in groups[i] for b in groups[j]):
                    groups[i] |= groups.pop(j)
                    touches = True
                    break
            if touches:
                break
    return {frozenset(g) for g in groups}


def near(rows: RowTable, a: int, b: int, gap_s: float) -> bool:
    gap = max(rows.start_s[a], rows.start_s[b]) - min(rows.end_s[a], rows.end_s[b])
    return rows.get_path(a) == rows.get_path(b) and gap <= gap_s


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("gap_s", [0.0, 0.7])
def test_events_are_those_of_the_slow_way(seed: int, gap_s: float) -> None:
    """Clips of all lengths, also one within another, from before 0 s on."""
    rng = np.random.default_rng(seed)
    start_s = rng.uniform(-3, 20, 40)
    paths = [f"{n}.mp4" for n in rng.integers(0, 4, 40)]
    rows = RowTable.from_embeddings(Embeddings(np.zeros((40, 1)), paths, start_s, start_s + rng.uniform(0.1, 3, 40)))
    row_K = rng.permutation(40)[:25]
    score_K = rng.random(25)
    hits = merge_rows(rows, row_K, score_K, gap_s)
    assert {frozenset(hit.rows) for hit in hits} == slow_events(rows, row_K, gap_s)
    score = dict(zip(row_K.tolist(), score_K.tolist(), strict=True))
    for hit in hits:
        assert hit.score == max(score[r] for r in hit.rows) == score[hit.rows[0]]
        assert list(hit.rows) == sorted(hit.rows, key=lambda r: -score[r])
        assert hit.start_s == min(rows.start_s[r] for r in hit.rows)
        assert hit.end_s == max(rows.end_s[r] for r in hit.rows)
        assert {hit.path} == {rows.get_path(r) for r in hit.rows}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_clips_stay_single_where_they_are_asked_to() -> None:
    rows = clips(1, 4)
    assert len(merge_rows(rows, np.arange(4), np.ones(4), 0.0)) == 1
    assert [hit.rows for hit in merge_rows(rows, np.arange(4), np.ones(4), -1.0)] == [(0,), (1,), (2,), (3,)]
    assert merge_rows(rows, np.arange(0), np.ones(0), 0.0) == []


def test_near_duplicates_stand_under_the_best() -> None:
    rows = clips(4, 1)
    vectors = unit(np.array([[1, 0, 0], [1, 0.05, 0], [0, 1, 0], [1, 0, 0.05]], np.float32))
    hits = group_events(rows, np.arange(4), np.array([0.7, 0.9, 0.8, 0.6]), 0.0)
    found = fold_duplicates(hits, 0.99, lambda r: vectors[r])
    assert [(hit.rows, [a.rows for a in hit.duplicates]) for hit in found] == [((1,), [(0,), (3,)]), ((2,), [])]
    assert all(hit.duplicates == () for hit in fold_duplicates(hits, 2.0, lambda r: vectors[r]))


def test_what_is_like_a_folded_hit_but_not_like_a_kept_one_is_kept() -> None:
    """Else a chain of small steps would fold everything into one hit."""
    angle = np.array([0.0, 0.1, 0.2])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    hits = group_events(clips(3, 1), np.arange(3), np.array([0.9, 0.8, 0.7]), 0.0)
    found = fold_duplicates(hits, math.cos(0.15), lambda r: vectors[r])
    assert [hit.rows for hit in found] == [(0,), (2,)]


def test_copies_of_a_file_fold_second_by_second() -> None:
    """Video 1 has the bytes of video 0: its first clip folds under the other's first, not under its last."""
    rows = clips(3, 3, hop_s=5.0, hashes=["x", "x", "y"])
    hits = group_events(rows, np.array([0, 2, 3, 5, 6]), np.array([0.9, 0.8, 0.7, 0.6, 0.5]), 0.0)
    found = fold_duplicates(hits, 2.0, lambda r: np.eye(9)[r])
    assert [(hit.rows[0], [a.rows[0] for a in hit.duplicates]) for hit in found] == [(0, [3]), (2, [5]), (6, [])]


def test_more_rows_are_asked_for_until_there_are_enough_hits() -> None:
    """One video has 300 clips nearer than anything else: together one hit; the others have to be found too."""
    rows = clips(11, 300)
    vectors = grouped(3300, noise=0.3)
    query = vectors[0]
    vectors[:300] = unit(query + 0.01 * np.random.default_rng(0).standard_normal((300, 32)))
    nearest = AnnIndex.build(vectors)
    asked: list[int] = []
    search = nearest.search

    def counted(*what: object) -> tuple[np.ndarray, np.ndarray]:
        asked.append(what[1])  # type: ignore[arg-type]
        return search(*what)  # type: ignore[arg-type]

    nearest.search = counted  # type: ignore[method-assign]
    hits = search_by_vector(nearest, rows, query, HitOptions(num_hits=6, gap_s=9.0), None, lambda r: vectors[r])
    assert len(hits) == 6 and hits[0].path == "/v/0.mp4" and (hits[0].start_s, hits[0].end_s) == (0, 300)
    assert hits[0].score == pytest.approx(float((vectors[:300] @ query).max()), abs=1e-6)
    assert asked == [300, 1200]
    # Asked for more than there is: every video, then an end.
    assert (
        len(search_by_vector(nearest, rows, query, HitOptions(num_hits=99, gap_s=300), None, lambda r: vectors[r]))
        == 11
    )


def test_one_does_not_go_on_forever_for_what_is_less_alike_than_usual() -> None:
    """One long event and nothing else that is alike: asking ends when the answers are worse than any row."""
    rows, axes = clips(1, 5000), np.eye(8, dtype=np.float32)
    cosine = np.where(np.arange(5000) < 700, 0.9, -0.5)
    vectors = (cosine[:, None] * axes[0] + np.sqrt(1 - cosine**2)[:, None] * axes[1]).astype(np.float32)
    nearest, asked = AnnIndex.build(vectors), []
    search = nearest.search
    nearest.search = lambda *what: (asked.append(what[1]), search(*what))[1]  # type: ignore[method-assign]
    hits = search_by_vector(nearest, rows, axes[0], HitOptions(num_hits=2, gap_s=9000.0), None, lambda r: vectors[r])
    assert (hits[0].start_s, hits[0].end_s) == (0, 700) and asked == [100, 400, 1600]


def test_an_event_in_a_small_corpus_is_not_the_whole_video() -> None:
    """A peak over clips 3 to 5 of a video: a hit as wide as half its height, though all rows are among the nearest."""
    rows, axes = clips(8, 10), np.eye(16, dtype=np.float32)
    vectors = np.repeat(axes[8:], 10, axis=0)
    cosine = np.array([0.0, 0.1, 0.4, 0.6, 1.0, 0.7, 0.3, 0.0, 0.0, 0.0])
    vectors[:10] = cosine[:, None] * axes[0] + np.sqrt(1 - cosine**2)[:, None] * axes[1]
    hits = search_by_vector(AnnIndex.build(vectors), rows, axes[0], HitOptions(num_hits=1), None, lambda r: vectors[r])
    assert [(hit.start_s, hit.end_s, hit.rows) for hit in hits] == [(3, 6, (4, 5, 3))]
    wide = HitOptions(num_hits=1, peak_height=0.2)
    hits = search_by_vector(AnnIndex.build(vectors), rows, axes[0], wide, None, lambda r: vectors[r])
    assert (hits[0].start_s, hits[0].end_s) == (2, 7)


def test_an_event_that_is_less_alike_than_another_of_its_video_is_found_too() -> None:
    """Video 0 shows it twice, clearly and less so; what is better than nothing, in video 1, comes after both."""
    rows, axes = clips(12, 20), np.eye(16, dtype=np.float32)
    cosine = np.zeros(240)
    cosine[2:7] = 0.6, 0.97, 0.99, 0.7, 0.55  # an event, and its flank after it
    cosine[15:18] = 0.5, 0.58, 0.52
    cosine[30] = 0.45
    vectors = (cosine[:, None] * axes[0] + np.sqrt(1 - cosine**2)[:, None] * axes[1]).astype(np.float32)
    found = search_by_vector(AnnIndex.build(vectors), rows, axes[0], HitOptions(num_hits=3), None, lambda r: vectors[r])
    assert [(hit.path, hit.start_s, hit.end_s) for hit in found] == [
        ("/v/0.mp4", 2, 7), ("/v/0.mp4", 15, 18), ("/v/1.mp4", 10, 11)
    ]  # fmt: skip


def slow_high(score_K: list[float], least: list[float]) -> list[bool]:
    """A row begins an event when, around it, all down to its least hold nothing better; the event is these rows."""
    high = [False] * len(score_K)
    for n, score in enumerate(score_K):
        first = last = n
        while first > 0 and score_K[first - 1] >= least[n]:
            first -= 1
        while last < len(score_K) - 1 and score_K[last + 1] >= least[n]:
            last += 1
        if max(score_K[first : last + 1]) == score:
            high[first : last + 1] = [True] * (last + 1 - first)
    return high


@pytest.mark.parametrize("seed", range(20))
def test_events_and_flanks_are_those_of_the_slow_way(seed: int) -> None:
    """Clips that do not overlap: one that is left out parts its neighbours, unless a gap of a clip is allowed."""
    rng = np.random.default_rng(seed)
    score_K = (
        rng.permutation(np.cumsum(rng.standard_normal(30)))[:30] if seed % 2 else np.cumsum(rng.standard_normal(30))
    )
    typical = float(np.median(score_K))

    def least(best_E: np.ndarray) -> np.ndarray:
        return best_E - 0.5 * np.maximum(best_E - typical, 0)

    high = slow_high(score_K.tolist(), least(score_K).tolist())
    expected = [n for n in range(30) if high[n]]
    assert sorted(group_events(clips(1, 30), np.arange(30), score_K, 0.5, least).row_K.tolist()) == expected
    one = group_events(clips(1, 30), np.arange(30), score_K, 30.0, least)
    assert len(one) == 1 and sorted(one.row_K.tolist()) == expected


def test_hits_by_a_score_are_those_of_a_search_that_scores_the_same() -> None:
    rows, vectors = clips(9, 30), grouped(270, noise=0.5)
    query, options = grouped(1, seed=3)[0], HitOptions(num_hits=5)
    for allowed_N in (None, np.arange(270) % 3 > 0):
        expected = search_by_vector(AnnIndex.build(vectors), rows, query, options, allowed_N, lambda r: vectors[r])
        found = search_by_score(vectors @ query, rows, options, allowed_N, lambda r: vectors[r])
        assert len(expected) == 5 and [hit.rows for hit in found] == [hit.rows for hit in expected]


@pytest.mark.parametrize("allowed_N", [None, np.arange(270) % 3 > 0])
@pytest.mark.parametrize("num_hits", [4, 60])
def test_a_row_is_as_good_as_its_likeness_to_the_nearest_of_several_vectors(
    num_hits: int, allowed_N: np.ndarray | None
) -> None:
    """Against a loop over all rows; one of the vectors is like everything, so its cosines are high and mean little."""
    rows, vectors = clips(9, 30), grouped(270, noise=0.5)
    queries = np.stack([*grouped(3, seed=3), unit(vectors.mean(axis=0))])
    moments = [Moment("film.mp4", float(q), q + 1.0) for q in range(4)]
    typical_Q = [np.mean([vectors[round(n)] @ q for n in np.floor(np.linspace(0, 269, 256))]) for q in queries]
    best = {}
    for n in np.arange(270) if allowed_N is None else np.flatnonzero(allowed_N):
        likeness_Q = [(vectors[n] @ q - t) / (1 - t) for q, t in zip(queries, typical_Q, strict=True)]
        best[int(n)] = max(likeness_Q), int(np.argmax(likeness_Q))
    options = HitOptions(num_hits, gap_s=-1)
    found = search_by_vector(
        AnnIndex.build(vectors), rows, queries, options, allowed_N, lambda r: vectors[r], query_moments=moments
    )
    assert [hit.rows[0] for hit in found] == sorted(best, key=lambda n: -best[n][0])[:num_hits]
    for hit in found:
        likeness, q = best[hit.rows[0]]
        assert hit.query_moment == moments[q] and hit.likeness == pytest.approx(max(0, likeness), abs=1e-5)
        assert hit.score == pytest.approx(float(vectors[hit.rows[0]] @ queries[q]), abs=1e-5)
    assert num_hits == 4 or len({hit.query_moment for hit in found}) > 1


@pytest.mark.parametrize("height", [-0.1, 1.01, math.nan])
def test_no_event_is_higher_than_its_best(height: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        HitOptions(peak_height=height)


def test_a_video_that_is_less_alike_than_usual_still_answers() -> None:
    rows, axes = clips(2, 2), np.eye(2, dtype=np.float32)
    vectors = np.stack([axes[0], axes[0], -axes[0], -axes[0]])
    allowed_N = np.array([False, False, True, True])
    hits = search_by_vector(AnnIndex.build(vectors), rows, axes[0], HitOptions(), allowed_N, lambda r: vectors[r])
    assert [(hit.path, hit.score) for hit in hits] == [("/v/1.mp4", -1.0)]


def test_hits_keep_to_what_is_allowed() -> None:
    rows, vectors = clips(10, 5), grouped(50)
    nearest = AnnIndex.build(vectors)
    allowed_N = RowFilter(labels=("a",), from_s=2.0).match_rows(rows)
    hits = search_by_vector(
        nearest, rows, vectors[0], HitOptions(num_hits=50, gap_s=-1), allowed_N, lambda r: vectors[r]
    )
    assert {hit.rows[0] for hit in hits} == set(np.flatnonzero(allowed_N).tolist())


def test_filters_are_those_of_a_loop() -> None:
    rows = clips(12, 6, length_s=1.5)
    for wanted in (
        RowFilter(),
        RowFilter(path_patterns=("/v/1*",)),
        RowFilter(path_patterns=("*/3.mp4", "/v/[5-7].mp4")),
        RowFilter(labels=("b",)),
        RowFilter(labels=("a", "b"), from_s=1.5, to_s=3.0),
        RowFilter(path_patterns=("*2.mp4",), labels=("a",), from_s=4.2),
    ):
        allowed_N = wanted.match_rows(rows)
        for n in range(len(rows)):
            path, label, start = rows.get_path(n), "ab"[(n // 6) % 2], float(n % 6)
            name = path.removeprefix("/v/").removesuffix(".mp4")
            fits = {
                (): True,
                ("/v/1*",): name.startswith("1"),
                ("*/3.mp4", "/v/[5-7].mp4"): name in ("3", "5", "6", "7"),
                ("*2.mp4",): name.endswith("2"),
            }[wanted.path_patterns]
            fits = fits and (not wanted.labels or label in wanted.labels)
            assert allowed_N[n] == (fits and start + 1.5 > wanted.from_s and start < wanted.to_s), (wanted, n)


def test_the_querys_own_is_left_out_with_its_copies() -> None:
    rows = clips(3, 6, length_s=2.0, hashes=["x", "x", "y"])
    query = [Moment("/v/0.mp4", 2.0, 4.0)]
    assert exclude_own_rows(rows, query, "keep").all()
    assert np.flatnonzero(~exclude_own_rows(rows, query, "clip")).tolist() == [1, 2, 3, 7, 8, 9]
    assert np.flatnonzero(exclude_own_rows(rows, query, "video")).tolist() == list(range(12, 18))
    assert exclude_own_rows(rows, [Moment("/elsewhere.mp4")], "video").all()
    two = [Moment("/v/0.mp4", 0.0, 0.5), Moment("/v/2.mp4", 6.5, 9.0)]
    assert np.flatnonzero(~exclude_own_rows(rows, two, "clip")).tolist() == [0, 6, 17]


def test_rows_of_a_path_and_of_a_content_as_a_comparison_with_every_row_finds_them() -> None:
    rng = np.random.default_rng(0)
    content_N = rng.integers(0, 7, 200)
    path_N = content_N * 2 + rng.integers(0, 2, 200)  # two files of each content
    hashes = [f"h{n}" for n in range(7)]
    names = [f"/v/{n}" for n in range(14)]
    times = np.arange(200.0)
    for rows in (
        RowTable(names, ["a"], path_N, path_N * 0, content_N, times, times + 1, hashes),
        RowTable(hashes, ["a"], content_N, path_N * 0, content_N, times, times + 1, hashes),
    ):
        for number in range(len(rows.paths)):
            assert rows.find_rows_of_path(number).tolist() == np.flatnonzero(rows.path_N == number).tolist()
        for number in range(7):
            assert rows.find_rows_of_content(number).tolist() == np.flatnonzero(content_N == number).tolist()


def test_copies_as_a_comparison_of_all_events_finds_them() -> None:
    rng = np.random.default_rng(1)
    rows = clips(6, 8, length_s=1.5, hashes=["x", "x", "y", "x", "y", "z"])
    events = group_events(rows, np.arange(len(rows)), rng.random(len(rows)), -1.0)
    for e in range(len(events)):
        expected = [
            rows.content_N[events.best_E[o]] == rows.content_N[events.best_E[e]]
            and rows.path_N[events.best_E[o]] != rows.path_N[events.best_E[e]]
            and events.start_s_E[o] < events.end_s_E[e]
            and events.start_s_E[e] < events.end_s_E[o]
            for o in range(len(events))
        ]
        assert events.find_copies(e).tolist() == expected


def test_wrong_filters_are_refused() -> None:
    rows = clips(2, 2)
    with pytest.raises(InputError, match="unknown label 'c'.*Known: a, b"):
        RowFilter(labels=("c",)).match_rows(rows)
    with pytest.raises(InputError, match="from 3 s to 1 s allows nothing"):
        RowFilter(from_s=3, to_s=1).match_rows(rows)
    with pytest.raises(InputError, match="unknown treatment .* 'film'"):
        exclude_own_rows(rows, [], "film")
    with pytest.raises(InputError, match="4 rows, but 1 hashes"):
        RowTable.from_embeddings(Embeddings(np.zeros((4, 1)), ["a"] * 4, np.zeros(4), np.ones(4)), ["h"])
