"""What a likeness is worth in an index: the third nearest of the other videos, against a loop over all rows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import succeeds
from vectors import clips, grouped

from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.index.row_filter import RowFilter
from unreel.indexing.index.score_scale import ScoreScale, load_scale, measure_scale, spread_rows
from unreel.indexing.search.query import SearchQuery, add_percentile, count_looks
from unreel.indexing.search.results import Hit, HitOptions
from unreel.models.encoder.row_parts import RowParts
from unreel.types import Moment
from unreel.verbs.indexing.search import search


@pytest.mark.parametrize(("videos", "hashes"), [(8, None), (8, list("abacdefg")), (3, None), (2, None)])
@pytest.mark.parametrize("block_rows", [7, 1000])
def test_the_scale_is_that_of_a_loop(
    videos: int, hashes: list[str] | None, block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer rows than it looks at, so all are measured; files with the same bytes are one video, and a block may end
    within a video."""
    monkeypatch.setattr("unreel.indexing.index.vectors.BLOCK_ROWS", block_rows)
    vectors_ND, rows = grouped(videos * 5), clips(videos, 5, hashes=hashes)
    scale = measure_scale(vectors_ND, rows, RowParts.make_equal(("residual",), (vectors_ND.shape[1],)), "f")
    typical = spread_rows(rows)
    expected = []
    for n in range(len(rows)):
        best: dict[int, float] = {}
        for m in range(len(rows)):
            if rows.content_N[m] != rows.content_N[n]:
                content = int(rows.content_N[m])
                best[content] = max(best.get(content, -1.0), float(vectors_ND[m] @ vectors_ND[n]))
        mean = np.mean([vectors_ND[m] @ vectors_ND[n] for m in typical])
        expected.append((sorted(best.values(), reverse=True)[:3][-1] - mean) / (1 - mean))
    assert list(scale.likeness) == ["0.5"]
    np.testing.assert_allclose(scale.likeness["0.5"], sorted(expected), atol=2e-5)


def test_each_end_of_the_slider_has_a_scale_of_its_own() -> None:
    """Appearance is the same everywhere, so every row has a twin; motion is not."""
    rng = np.random.default_rng(0)
    motion_ND = rng.standard_normal((60, 8))
    motion_ND /= np.linalg.norm(motion_ND, axis=1, keepdims=True)
    vectors_ND = np.concatenate([np.eye(8)[np.arange(60) % 8], motion_ND], axis=1).astype(np.float32) / np.sqrt(2)
    scale = measure_scale(vectors_ND, clips(6, 10), RowParts.make_equal(("rgb", "residual"), (8, 8)), "f")
    assert scale.likeness["0"] == [1.0] * 60 and max(scale.likeness["1"]) < 0.99
    assert scale.compute_percentile(0.995, motion_weight=0) == 0
    assert scale.compute_percentile(0.995, motion_weight=1) == 100
    between = [scale.compute_percentile(0.995, motion_weight=weight) for weight in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert between == sorted(between) and between[1] == pytest.approx(0.4 * scale.compute_percentile(0.995, 0.5))


def test_hits_have_the_percentile_of_their_likeness(index: Index) -> None:
    assert index.scale is not None
    measured = index.scale.likeness["0.5"]
    assert len(measured) == min(256, len(index.rows)) and measured == sorted(measured)
    hits = search(index, SearchQuery(positive_rows=(5,), own_video_mode="video"), HitOptions(60, gap_s=-1))
    for hit in hits:
        assert hit.likeness is not None
        below = sum(value < hit.likeness for value in measured)
        assert hit.percentile == pytest.approx(100 * below / len(measured), abs=0.05)
    assert len({hit.percentile for hit in hits}) > 2


def test_half_of_the_third_hits_are_in_the_upper_half(index: Index) -> None:
    """A percentile is what it says: that of the third hit of a row, one for each other video, is uniform over rows."""
    best = []
    for row in range(0, len(index.rows), 3):
        mine = index.rows.get_path(row)
        others = RowFilter(path_patterns=tuple(path for path in index.rows.paths if path != mine))
        query = SearchQuery(positive_rows=(row,), own_video_mode="video", filter=others)
        best.append(search(index, query, HitOptions(3, gap_s=1e9))[2].percentile)
    assert 40 < np.mean([value for value in best if value is not None]) < 60


def test_an_index_of_one_video_has_no_scale_and_says_nothing(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    video = sorted(motion_set.rglob("*.mp4"))[0]
    succeeds("index", small_run, video, "--out", tmp_path / "index", "--hop-s", 0.1)
    assert open_index(tmp_path / "index").scale == ScoreScale(open_index(tmp_path / "index").scale.fingerprint, {})  # type: ignore[union-attr]
    (hit,) = json.loads(succeeds("search", tmp_path / "index", video, "--own", "keep", "--json").out)
    assert hit["percentile"] is None and hit["likeness"] is not None


def test_an_older_index_is_searched_and_gets_its_scale_when_it_is_indexed_again(
    small_run: Path, motion_set: Path, motion_index: Path, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(motion_index, tmp_path / "index"))
    (old / "scale.json").unlink()
    video = sorted(motion_set.rglob("*.mp4"))[0]

    def find_percentiles() -> list[float | None]:
        return [hit["percentile"] for hit in json.loads(succeeds("search", old, video, "--json").out)]

    assert set(find_percentiles()) == {None}
    succeeds("index", small_run, motion_set, "--out", old, "--hop-s", 0.2)
    assert (old / "scale.json").read_text() == (motion_index / "scale.json").read_text()
    assert None not in find_percentiles()


DAMAGED = ["{", "[1]", '{"fingerprint": "F"}', '{"fingerprint": 1, "likeness": {}}']
WRONG = ("[1]", '"x"', '{"0.5": []}', '{"a": [1]}', '{"0.5": ["a"]}', '{"0.5": [2, 1]}', '{"9": [1]}')
DAMAGED += [f'{{"fingerprint": "F", "likeness": {text}}}' for text in WRONG]


EARLIER = '{"fingerprint": "F", "likeness": {"0.5": [0.1, 0.9]}}'  # of nearest videos, not of third nearest


@pytest.mark.parametrize("text", [*DAMAGED, EARLIER])
def test_a_scale_that_is_damaged_or_of_an_earlier_version_is_as_if_it_were_not_there(text: str, tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    path.write_text(text.replace("F", "f"))
    assert load_scale(path, "f") is None


def test_the_scale_of_other_rows_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"
    ScoreScale("f", {"0.5": [0.1, 0.9]}).save(path)
    assert load_scale(path, "f") == ScoreScale("f", {"0.5": [0.1, 0.9]}) and load_scale(path, "g") is None
    assert load_scale(tmp_path / "none.json", "f") is None


def test_a_damaged_scale_is_measured_again_and_nothing_else_is(
    small_run: Path, motion_set: Path, motion_index: Path, tmp_path: Path
) -> None:
    index, video = Path(shutil.copytree(motion_index, tmp_path / "index")), sorted(motion_set.rglob("*.mp4"))[0]
    (index / "scale.json").write_text("{")
    built = (index / "nearest.faiss").stat().st_mtime_ns
    assert json.loads(succeeds("search", index, video, "--json").out)[0]["percentile"] is None
    succeeds("index", small_run, motion_set, "--out", index, "--hop-s", 0.2)
    assert (index / "nearest.faiss").stat().st_mtime_ns == built
    assert (index / "scale.json").read_text() == (motion_index / "scale.json").read_text()


def test_the_best_of_several_clips_has_more_chances() -> None:
    """Uniform percentiles of single clips: that of the best of four is uniform too."""
    scale = ScoreScale("f", {"0.5": np.linspace(0, 1, 1001)[1:].tolist()})
    rng, found = np.random.default_rng(0), []
    for best in rng.random((4000, 4)).max(axis=1):
        hit = Hit("a.mp4", score=float(best), rows=(0,), typical_score=0.0)
        percentile = add_percentile(hit, scale, 0.5, looks=4.0).percentile
        assert percentile is not None
        found.append(percentile)
    assert np.mean(found) == pytest.approx(50, abs=2) and np.quantile(found, 0.9) == pytest.approx(90, abs=2)


def test_looks_are_counted_by_the_seconds_that_clips_cover() -> None:
    def made_of(*starts: float, path: str = "film.mp4") -> list[Moment]:
        return [Moment(path, start, start + 1.0) for start in starts]

    assert count_looks([]) == 1 and count_looks(made_of(3)) == 1
    assert count_looks(made_of(0, 0.5, 1, 1.5, 2)) == pytest.approx(3)
    assert count_looks(made_of(0, 10, 20, 30)) == pytest.approx(4)
    assert count_looks(made_of(0, 0.5) + made_of(0, 0.5, path="other.mp4")) == pytest.approx(3)
