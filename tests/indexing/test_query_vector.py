"""One query of several examples, and weights of views, against sums over each view by itself."""

import numpy as np
import pytest
from vectors import grouped, unit

from unreel.embedding import join_views
from unreel.errors import InputError
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.query_vector import combine_examples, weight_parts
from unreel.indexing.search.query import build_query_vectors
from unreel.indexing.search.query_encoder import ExampleVectors
from unreel.models.encoder.row_parts import RowParts
from unreel.types import Moment

TWO = RowParts.make_equal(("rgb", "residual"), (12, 12))
HALVES = RowParts.make_equal(("rgb", "residual"), (16, 16))


def two_views(count: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"rgb": rng.standard_normal((count, 12)), "residual": rng.standard_normal((count, 12))}


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
def test_the_slider_weighs_the_cosines_of_the_views(weight: float) -> None:
    gallery, query = two_views(20, 1), two_views(1, 2)
    score_QN = weight_parts(join_views(query), weight, TWO) @ join_views(gallery).T
    for n in range(20):
        appearance = cosine(query["rgb"][0], gallery["rgb"][n])
        motion = cosine(query["residual"][0], gallery["residual"][n])
        assert score_QN[0, n] == pytest.approx((1 - weight) * appearance + weight * motion, abs=1e-6)


def test_the_slider_needs_no_new_index() -> None:
    gallery, query = two_views(500, 1), two_views(1, 2)
    nearest = AnnIndex.build(join_views(gallery).astype(np.float32))
    for weight, view in ((0.0, "rgb"), (1.0, "residual")):
        by_view = sorted(range(500), key=lambda n: -cosine(query[view][0], gallery[view][n]))
        assert nearest.search(weight_parts(join_views(query), weight, TWO), 10)[1][0].tolist() == by_view[:10]


def test_equal_weights_change_nothing() -> None:
    query_QD = join_views(two_views(3, 2)).astype(np.float32)
    np.testing.assert_allclose(weight_parts(query_QD, 0.5, TWO), query_QD, rtol=1e-6)
    np.testing.assert_allclose(weight_parts(query_QD, 0.3, RowParts.make_equal(("rgb",), (24,))), query_QD, rtol=1e-6)


def test_examples_rank_by_likeness_less_a_share_of_unlikeness() -> None:
    rows, like, unlike = grouped(50), grouped(3, seed=1), grouped(4, seed=2)
    score_N = rows @ combine_examples(like, unlike, unlike_weight=0.5)[0]
    expected = []
    for row in rows:
        yes = sum(float(row @ x) for x in like) / 3
        no = sum(float(row @ x) for x in unlike) / 4
        expected.append(yes - 0.5 * no)
    # Its length is the only other thing that is done to the query.
    np.testing.assert_allclose(score_N / score_N[0], np.array(expected) / expected[0], rtol=1e-4)


def test_each_view_of_several_examples_weighs_as_much() -> None:
    """Examples that differ in motion leave a short mean of motion; it counts as much as that of appearance."""
    query_QD = combine_examples(join_views(two_views(5, 3)), join_views(two_views(2, 4)), parts=TWO)
    assert query_QD.shape == (1, 24) and query_QD.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(query_QD.reshape(2, 12), axis=1), np.sqrt([0.5, 0.5]), rtol=1e-6)


def test_each_clip_of_a_long_example_in_turn_stands_for_it() -> None:
    long_KD, short_1D, unlike_2D = grouped(3, seed=1), grouped(1, seed=2), grouped(2, seed=3)
    moments = tuple(Moment("film.mp4", float(k), k + 1.0) for k in range(3))
    long, short = ExampleVectors(long_KD, moments), ExampleVectors(short_1D, (Moment("clip.mp4"),))
    unlike = ExampleVectors(unlike_2D, moments[:2])
    combined = build_query_vectors([short, long], [unlike], parts=HALVES)
    assert combined.moments == moments
    for k in range(3):
        both = np.stack([short_1D[0], long_KD[k]])
        np.testing.assert_array_equal(
            combined.vectors_QD[k], combine_examples(both, unlike_2D.mean(axis=0), parts=HALVES)[0]
        )
    one = build_query_vectors([short, short], [], parts=HALVES)
    assert one.moments == ()
    np.testing.assert_array_equal(one.vectors_QD, combine_examples(np.concatenate([short_1D] * 2), None, parts=HALVES))


def test_an_example_has_gaps_where_its_clips_do_not_touch() -> None:
    def made_of(*starts: float) -> ExampleVectors:
        return ExampleVectors(grouped(len(starts)), tuple(Moment("film.mp4", s, s + 1.0) for s in starts))

    assert not made_of(0).has_gaps and not made_of(0, 0.5, 1.5, 2.6).has_gaps and made_of(0, 0.5, 1.8).has_gaps


def test_one_example_is_itself() -> None:
    row = join_views(two_views(1, 5)).astype(np.float32)
    np.testing.assert_allclose(combine_examples(row, parts=TWO), row, rtol=1e-5)
    np.testing.assert_allclose(combine_examples(row[0]), row, rtol=1e-5)


def test_counter_examples_push_their_kind_down() -> None:
    """Two kinds of rows are as near to the example; the one marked unlike falls behind."""
    axes = np.eye(3, dtype=np.float32)
    one_kind, other_kind = unit(axes[0] + axes[1]), unit(axes[0] + axes[2])
    query_D = combine_examples(axes[:1], other_kind[None])[0]
    assert one_kind @ query_D > other_kind @ query_D


def test_what_makes_no_query_is_refused() -> None:
    row = grouped(1)
    with pytest.raises(InputError, match="at least one example"):
        combine_examples(row[:0])
    with pytest.raises(InputError, match="cancel out"):
        combine_examples(row, row, unlike_weight=1.0)
    with pytest.raises(InputError, match="dimension 32 are not made of parts of 12, 12"):
        weight_parts(row, 0.5, TWO)
    for motion in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="the weight of motion is between 0 and 1, got"):
            weight_parts(row, motion, RowParts.make_equal(("rgb", "residual"), (16, 16)))
