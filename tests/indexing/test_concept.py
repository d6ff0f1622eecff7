"""A probe out of marks: ranks what it should, suggests what helps, and comes back for its own encoder alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from vectors import grouped, unit

from unreel.errors import DiskError, InputError
from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.concepts.concept import Concept, _draw_unlabelled, fit_concept
from unreel.indexing.concepts.suggestions import suggest_rows


def kind(count: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of 8 groups, and which are of group 0."""
    return grouped(count, noise=1.0), np.arange(count) % 8 == 0


def average_precision(score_N: np.ndarray, right_N: np.ndarray) -> float:
    found, total = 0, 0.0
    for place, n in enumerate(np.argsort(-score_N, kind="stable"), start=1):
        if right_N[n]:
            found += 1
            total += found / place
    return total / found


def test_a_few_marks_rank_everything() -> None:
    vectors, right_N = kind()
    marks = Annotations(positives=tuple(range(0, 40, 8)), negatives=tuple(n for n in range(24) if n % 8))
    assert average_precision(fit_concept("kick", vectors, marks, "hash").score_rows(vectors), right_N) > 0.95


def test_scores_are_the_sigmoid_of_the_saved_line() -> None:
    vectors, _ = kind(50)
    concept = fit_concept("kick", vectors, Annotations((0, 8), (1, 2)), "hash")
    for row, score in zip(vectors, concept.score_rows(vectors), strict=True):
        logit = sum(w * float(x) for w, x in zip(concept.weight, row, strict=True)) + concept.bias
        assert score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)


def test_its_weights_are_a_query() -> None:
    vectors, _ = kind()
    concept = fit_concept("kick", vectors, Annotations((0, 8, 16), (1, 2, 3)), "hash")
    by_query = np.argsort(-(vectors @ np.array(concept.weight, np.float32)), kind="stable")
    assert set(np.argsort(-concept.score_rows(vectors), kind="stable")[:20]) == set(by_query[:20])


def test_with_yes_alone_others_stand_for_no() -> None:
    """Also where no few of the drawn ones are yes in truth: 1 of 8 here."""
    vectors, right_N = kind()
    marks = Annotations(positives=tuple(range(0, 80, 8)))
    assert average_precision(fit_concept("kick", vectors, marks, "hash").score_rows(vectors), right_N) > 0.9
    assert fit_concept("kick", vectors, marks, "hash") == fit_concept("kick", vectors, marks, "hash")
    assert fit_concept("kick", vectors, marks, "hash", seed=1) != fit_concept("kick", vectors, marks, "hash")


def test_hard_noes_do_not_spoil_the_rest() -> None:
    """The noes are the rows most like the yes: what tells these apart is noise."""
    spoiled, kept = [], []
    for seed in range(5):
        vectors, right_N = grouped(1600, noise=1.5, seed=seed), np.arange(1600) % 8 == 0
        yes = list(range(0, 40, 8))
        hard = [int(n) for n in np.argsort(-(vectors @ vectors[yes].mean(axis=0))) if not right_N[n]][:5]
        marked = np.r_[yes, hard]
        alone = fit_concept("x", vectors[marked], Annotations(tuple(range(5)), tuple(range(5, 10))), "h")
        spoiled.append(average_precision(alone.score_rows(vectors), right_N))
        concept = fit_concept("x", vectors, Annotations(tuple(yes), tuple(hard)), "h")
        kept.append(average_precision(concept.score_rows(vectors), right_N))
    assert np.mean(kept) > np.mean(spoiled) + 0.2


def test_a_row_marked_no_goes_down() -> None:
    vectors, right_N = kind()
    before = fit_concept("x", vectors, Annotations((0, 8, 16)), "h").score_rows(vectors)
    best_wrong = int(np.argmax(np.where(right_N, -np.inf, before)))
    after = fit_concept("x", vectors, Annotations((0, 8, 16), (best_wrong,)), "h").score_rows(vectors)
    assert (after > after[best_wrong]).sum() > (before > before[best_wrong]).sum()


def test_both_sides_weigh_as_much_however_many_are_marked() -> None:
    """On one axis, one yes at +1 and 50 no at -1: the border is in the middle."""
    vectors = np.array([[1.0, 0.0]] + [[-1.0, 0.0]] * 50, np.float32)
    concept = fit_concept("x", vectors, Annotations((0,), tuple(range(1, 51))), "hash")
    assert concept.bias == pytest.approx(0, abs=0.05 * concept.weight[0])


def test_suggestions_are_uncertain_unlike_each_other_and_unmarked() -> None:
    vectors, _ = kind()
    marks = Annotations((0, 8, 16), (1, 2, 3, 4))
    concept = fit_concept("kick", vectors, marks, "hash")
    rows = suggest_rows(concept, vectors, marks, count=6)
    assert len(set(rows.tolist())) == 6 and not set(rows.tolist()) & {*marks.positives, *marks.negatives}
    doubt = np.abs(concept.score_rows(vectors) - 0.5)
    unmarked = [n for n in np.argsort(doubt, kind="stable") if n not in {*marks.positives, *marks.negatives}]
    assert set(rows.tolist()) <= set(unmarked[:60])
    # Each is, of those 60, the one whose nearest marked or chosen row is the least near.
    taken, left = [*marks.positives, *marks.negatives], set(rows.tolist())
    while left:
        nearness = {n: max(float(vectors[n] @ vectors[t]) for t in taken) for n in unmarked[:60] if n not in taken}
        chosen = min(left, key=lambda n: nearness[n])
        assert nearness[chosen] == pytest.approx(min(nearness.values()), abs=1e-6)
        taken.append(chosen)
        left.remove(chosen)
    assert doubt[rows].tolist() == sorted(doubt[rows].tolist())  # the nearest to the border first


def test_suggestions_keep_to_what_is_allowed() -> None:
    vectors, _ = kind()
    marks = Annotations((0, 8, 16), (1, 2, 3, 4))
    concept, allowed_N = fit_concept("kick", vectors, marks, "hash"), np.arange(800) % 5 == 3
    rows = suggest_rows(concept, vectors, marks, 6, allowed_N)
    assert len(rows) == 6 and allowed_N[rows].all()
    every = set(suggest_rows(concept, vectors, marks, 800, allowed_N).tolist())
    assert every == {n for n in range(800) if n % 5 == 3} - {*marks.positives, *marks.negatives}
    assert suggest_rows(concept, vectors, marks, 6, np.zeros(800, bool)).tolist() == []
    with pytest.raises(InputError, match="row 800 is marked"):
        suggest_rows(concept, vectors, Annotations((800,)))


def test_others_are_drawn_evenly_from_what_is_not_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 rows of which 6 are marked: each of the 14 others comes as often, and none of them twice in a draw."""
    monkeypatch.setattr("unreel.indexing.concepts.concept.NUM_UNLABELLED", 5)
    marked, count_N = np.array([0, 7, 3, 19, 8, 4]), np.zeros(20, int)
    for seed in range(2000):
        taken = _draw_unlabelled(20, marked, np.random.default_rng(seed))
        assert len(set(taken.tolist())) == 5 and (np.diff(taken) > 0).all()
        count_N[taken] += 1
    assert not count_N[marked].any()
    assert np.abs(np.delete(count_N, marked) - 2000 * 5 / 14).max() < 5 * (2000 * 5 / 14 * 9 / 14) ** 0.5
    monkeypatch.setattr("unreel.indexing.concepts.concept.NUM_UNLABELLED", 99)
    assert _draw_unlabelled(9, np.array([2, 0, 8]), np.random.default_rng(0)).tolist() == [1, 3, 4, 5, 6, 7]
    assert _draw_unlabelled(2, np.array([1, 0]), np.random.default_rng(0)).tolist() == []


def test_suggestions_end_where_all_is_marked() -> None:
    vectors, _ = kind(8)
    marks = Annotations((0,), tuple(range(1, 6)))
    assert sorted(suggest_rows(fit_concept("x", vectors, marks, "h"), vectors, marks, 10).tolist()) == [6, 7]
    marks = Annotations((0,), tuple(range(1, 8)))
    assert suggest_rows(fit_concept("x", vectors, marks, "h"), vectors, marks, 10).tolist() == []


def test_marking_what_is_suggested_helps_more_than_marking_at_random() -> None:
    vectors, right_N = grouped(1600, noise=2.0), np.arange(1600) % 8 == 0
    gained = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found = {}
        for way in ("suggested", "random"):
            marked = [int(rng.choice(np.flatnonzero(right_N))), int(rng.choice(np.flatnonzero(~right_N)))]
            for _ in range(6):
                marks = Annotations(tuple(n for n in marked if right_N[n]), tuple(n for n in marked if not right_N[n]))
                concept = fit_concept("x", vectors, marks, "h")
                more = (
                    suggest_rows(concept, vectors, marks, 5)
                    if way == "suggested"
                    else rng.choice(1600, 5, replace=False)
                )
                marked = sorted({*marked, *more.tolist()})
            found[way] = average_precision(concept.score_rows(vectors), right_N)
        gained.append(found["suggested"] - found["random"])
    assert np.mean(gained) > 0


def test_a_concept_comes_back_as_it_was_and_is_applied_to_new_vectors(tmp_path: Path) -> None:
    vectors, _ = kind()
    concept = fit_concept('a "name" å', vectors, Annotations((0, 8), (1,)), "hash")
    path = tmp_path / "new" / "c.json"
    concept.save(path)
    assert [f.name for f in path.parent.iterdir()] == ["c.json"]
    back = Concept.load(path, "hash")
    assert back == concept
    new = unit(np.random.default_rng(9).standard_normal((5, 32)))
    np.testing.assert_array_equal(back.score_rows(new), concept.score_rows(new))
    assert back.score_rows(new[:0]).shape == (0,)


def test_concepts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    vectors, _ = kind()
    path = tmp_path / "c.json"
    concept = fit_concept("kick", vectors, Annotations((0, 8), (1,)), "hash")
    concept.save(path)
    with pytest.raises(InputError, match="made with another encoder"):
        Concept.load(path, "other")
    with pytest.raises(InputError, match="'kick' is of 32 numbers"):
        concept.score_rows(vectors[:, :16])
    kept = json.loads(path.read_text())
    for wrong in ('{"unreel_concept": 1}', "[]", "{", path.read_text()[:-50]):
        path.write_text(wrong)
        with pytest.raises(InputError, match="no concept to read"):
            Concept.load(path, "hash")
    path.write_text(json.dumps(kept | {"unreel_concept": 2}))
    with pytest.raises(InputError, match="version 2, this unreel reads 1"):
        Concept.load(path, "hash")
    with pytest.raises(InputError, match="no concept to read"):
        Concept.load(tmp_path / "missing.json", "hash")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="can't be written"):
        concept.save(tmp_path / "file" / "c.json")


def test_marks_that_make_no_sense_are_refused() -> None:
    vectors, _ = kind(10)
    for marks, why in (
        (Annotations(()), "at least one hit marked yes"),
        (Annotations((1, 2), (2,)), "row 2 is marked yes and no"),
        (Annotations((10,)), "row 10 is marked, but there are 10 rows"),
        (Annotations((1,), (-1,)), "row -1 is marked"),
        (Annotations((10**23,)), "row 10{23} is marked"),
        (Annotations(tuple(range(10))), "every row is marked yes"),
    ):
        with pytest.raises(InputError, match=why):
            fit_concept("x", vectors, marks, "hash")
