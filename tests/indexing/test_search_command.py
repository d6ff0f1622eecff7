"""`unreel search`: every kind of example, filters, what is printed, and what is refused."""

import csv
import io
import json
import math
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from commands import refused, succeeds
from videos import encode

from unreel.errors import InputError
from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.concepts.concept import Concept
from unreel.indexing.concepts.concept_update import learn_concept
from unreel.indexing.index.clip_index import Index, load_query_encoder, open_index
from unreel.indexing.index.row_filter import RowFilter
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.query_encoder import compute_clip_span, count_clips
from unreel.indexing.search.results import HitOptions
from unreel.types import Moment
from unreel.verbs.indexing.search import search
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import VideoInfo, probe
from unreel.video.sampling.clip_sampling import compute_sliding_starts, sample_uniform_clips
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import build_timeline, compute_spans, get_clip_frames, list_candidate_frames


@pytest.fixture(scope="session")
def video(motion_set: Path) -> Path:
    return sorted(motion_set.rglob("*.mp4"))[3]


def hits_of(*args: object) -> list[dict[str, Any]]:
    found = json.loads(succeeds("search", *args, "--json").out)
    assert isinstance(found, list)
    return found


def test_a_clip_of_the_index_finds_itself(motion_index: Path, index: Index) -> None:
    for row in (0, 17, len(index.rows) - 1):
        path, start_s, end_s = index.rows.get_path(row), index.rows.start_s[row], index.rows.end_s[row]
        asked = f"{path}@{start_s:.3f}-{end_s:.3f}"
        first = hits_of(motion_index, asked, "--own", "keep", "--gap-s", -1, "--count", 3)[0]
        assert first["score"] > 0.9999 and row in first["rows"]


def test_json_and_csv_say_the_same_as_the_library(motion_index: Path, index: Index, video: Path) -> None:
    expected = search(index, SearchQuery((Moment(str(video)),), own_video_mode="video"), HitOptions(5))
    found = hits_of(motion_index, video, "--own", "video", "--count", 5)
    assert [set(hit) for hit in found] == [
        {"video", "start_s", "end_s", "score", "likeness", "percentile", "rows", "row", "alike"}
    ] * 5
    assert [(h["video"], tuple(h["rows"])) for h in found] == [(h.path, h.rows) for h in expected]
    np.testing.assert_allclose([h["score"] for h in found], [h.score for h in expected], atol=1e-5)
    text = succeeds("search", motion_index, video, "--own", "video", "--count", 5, "--csv").out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["video", "start_s", "end_s", "score", "row"]
    assert [(r["video"], float(r["start_s"])) for r in rows] == [(h["video"], h["start_s"]) for h in found]
    table = succeeds("search", motion_index, video, "--own", "video", "--count", 5).out.splitlines()
    assert table[0].split()[0] == "row" and [int(line.split()[0]) for line in table[1:]] == [h["row"] for h in found]
    assert [int(r["row"]) for r in rows] == [h["row"] for h in found] == [hit.rows[0] for hit in expected]
    assert len(table) == 6 and all(line.endswith(hit["video"]) for line, hit in zip(table[1:], found, strict=True))


def test_seconds_as_a_table_prints_them_name_a_moment(motion_index: Path, video: Path) -> None:
    named = hits_of(motion_index, f"{video}@0:00.2-0:00.7", "--count", 4)
    assert named == hits_of(motion_index, f"{video}@0.2-0.7", "--count", 4)


def test_a_moment_by_options_and_in_its_name_is_one_thing(motion_index: Path, video: Path) -> None:
    named = hits_of(motion_index, f"{video}@0.2-0.7", "--count", 4)
    assert named == hits_of(motion_index, video, "--from", 0.2, "--to", 0.7, "--count", 4)
    assert named != hits_of(motion_index, video, "--count", 4)


def test_a_file_whose_name_looks_like_a_moment_is_a_file(motion_index: Path, video: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copy(video, tmp_path / "a@1-2"))
    assert hits_of(motion_index, odd, "--count", 2, "--own", "keep") == hits_of(
        motion_index, video, "--count", 2, "--own", "keep"
    )


def test_a_strip_of_a_videos_frames_is_that_video(motion_index: Path, index: Index, tmp_path: Path) -> None:
    """Eight frames side by side, as they were decoded, in a square each."""
    row = 12
    path, start_s = index.rows.get_path(row), index.rows.start_s[row]
    first = round(start_s * probe(path).fps)
    frames = read_frames(path, np.arange(first, first + 8), (48, 48))
    strip = tmp_path / "strip.png"
    cv2.imwrite(str(strip), np.concatenate(list(frames), axis=1)[..., ::-1])
    found = hits_of(motion_index, strip, "--motion", 0, "--count", 200, "--gap-s", -1)
    assert found[0]["video"] == path
    assert row in {r for hit in found[:3] for r in hit["rows"]}  # clips one frame apart differ in the fifth digit
    score_N = by_hand(index, frames)
    np.testing.assert_allclose([hit["score"] for hit in found], [score_N[hit["rows"][0]] for hit in found], atol=1e-4)
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), frames[0][..., ::-1])
    score_N = by_hand(index, frames[:1])
    found = hits_of(motion_index, still, "--motion", 0, "--count", 5, "--gap-s", -1)
    np.testing.assert_allclose([hit["score"] for hit in found], [score_N[hit["rows"][0]] for hit in found], atol=1e-4)


def by_hand(index: Index, squares: np.ndarray) -> np.ndarray:
    """Cosine (N,) of each row's appearance with that of a clip of these squares, each shown for as long."""
    encoder = load_query_encoder(index.folder, index.metadata)
    span, (height, width) = encoder.spec.clip.total_frames, encoder.spec.views.resize_hw
    small = [cv2.resize(square, (width, height), interpolation=cv2.INTER_AREA) for square in squares]
    clip = np.stack([small[t * len(small) // span] for t in range(span)])
    view_D = encoder.extract_features(torch.from_numpy(clip[None]))["rgb"].float().numpy()[0]
    rgb_ND = index.vectors_ND[:, : len(view_D)]
    return (rgb_ND @ view_D) / (np.linalg.norm(rgb_ND, axis=1) * np.linalg.norm(view_D))


def test_several_examples_and_counter_examples_are_one_question(
    motion_index: Path, index: Index, motion_set: Path
) -> None:
    one, two, three = sorted(motion_set.rglob("*.mp4"))[:3]
    both = hits_of(motion_index, one, two, "--own", "video", "--count", 24)
    assert not {str(one), str(two)} & {hit["video"] for hit in both}
    liked = {hit["video"]: hit["score"] for hit in hits_of(motion_index, one, "--own", "video", "--count", 24)}
    without = hits_of(motion_index, one, "--unlike", three, "--own", "video", "--count", 24)
    less = {hit["video"]: hit["score"] for hit in without}
    assert less[str(three)] < liked[str(three)]
    question = SearchQuery((Moment(str(one)),), (Moment(str(three)),), own_video_mode="video")
    assert [h.path for h in search(index, question, HitOptions(24))] == [h["video"] for h in without]


def test_hits_of_a_long_example_say_which_part_of_it_they_are_like(
    motion_index: Path, motion_set: Path, tmp_path: Path
) -> None:
    """A film that shows one video of the index, then another: each is found by its own part, not by their mean."""
    one, two = sorted(motion_set.rglob("*.mp4"))[2:22:19]
    shown = np.concatenate([read_frames(path, np.arange(24)) for path in (one, two)])
    film = encode(tmp_path / "film.mp4", 48, size=shown.shape[1:3], draw=lambda n, _width, _height: shown[n])
    found = hits_of(motion_index, film, "--count", 2)
    assert {hit["video"] for hit in found} == {str(one), str(two)} and min(hit["score"] for hit in found) > 0.95
    turn_s = 24 / 25
    for hit in found:
        middle_s = (hit["query_start_s"] + hit["query_end_s"]) / 2
        assert (middle_s < turn_s) == (hit["video"] == str(one)), hit
    printed = succeeds("search", motion_index, film, "--count", 2)
    assert "of the query" in printed.out.splitlines()[0] and "choose the part" not in printed.err
    other = Path(shutil.copy(film, tmp_path / "other.mp4"))
    several = succeeds("search", motion_index, film, other, "--count", 20, "--gap-s", -1, "--own", "keep").out
    assert "film.mp4 0:" in several and {hit["query_video"] for hit in found} == {str(film)}
    short = succeeds("search", motion_index, f"{film}@0-0.3", "--count", 2)
    assert "of the query" not in short.out


def test_a_film_is_compared_by_some_clips_and_the_part_is_asked_for(motion_index: Path, tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mp4", 300, pts=range(300), time_base=Fraction(1, 5), size=(48, 64))
    asked = succeeds("search", motion_index, film, "--count", 2, "--json")
    assert "film.mp4: of its " in asked.err and "32 clips" in asked.err and "--from and --to" in asked.err
    assert all(0 <= hit["query_start_s"] < hit["query_end_s"] <= 60 for hit in json.loads(asked.out))
    part = succeeds("search", motion_index, film, "--count", 2, "--from", 10, "--to", 12)
    assert "choose the part" not in part.err


@pytest.mark.parametrize(
    "length_s, count", [(0.5, 0), (1.28, 0), (1.29, 0), (1.31, 4), (1.6, 4), (1.61, 5), (9.0, 28), (999, 32)]
)
def test_a_long_example_is_divided_into_clips_that_overlap_by_half(length_s: float, count: int) -> None:
    info = VideoInfo("h264", 64, 48, 25.0, round(25 * length_s), length_s, 0, False, 0)
    clip = ClipSpec(8, fps=12.5, stride_frames=0)
    assert count_clips(Moment("film.mp4"), info, clip) == count
    assert count_clips(Moment("film.mp4", 0.0, 0.5), info, clip) == 0


@pytest.mark.parametrize("own, there", [("keep", True), ("clip", True), ("video", False)])
def test_its_own_video_is_treated_as_asked(own: str, there: bool, motion_index: Path, video: Path) -> None:
    found = hits_of(motion_index, f"{video}@0-0.3", "--own", own, "--gap-s", -1, "--count", 200)
    mine = [hit for hit in found if hit["video"] == str(video)]
    assert bool(mine) == there
    if own == "clip":
        assert all(hit["start_s"] >= 0.3 for hit in mine)


def test_the_ends_of_the_slider_are_cosines_of_one_view(index: Index) -> None:
    """Against a slow twin over all rows."""
    parts_NVD = np.array(index.vectors_ND).reshape(len(index.rows), 2, -1)
    parts_NVD = parts_NVD / np.linalg.norm(parts_NVD, axis=2, keepdims=True)
    for motion, view in ((0.0, 0), (1.0, 1)):
        options = HitOptions(len(index.rows), gap_s=-1)
        found = search(index, SearchQuery(positive_rows=(5,), motion_weight=motion, own_video_mode="video"), options)
        for hit in found:
            cosine = parts_NVD[hit.rows[0], view] @ parts_NVD[5, view]
            assert math.isclose(hit.score, cosine, abs_tol=1e-4)


def test_filters(motion_index: Path, index: Index, video: Path) -> None:
    label = index.rows.labels[1]
    of_label = {index.rows.get_path(n) for n in range(len(index.rows)) if index.rows.label_N[n] == 1}
    found = hits_of(motion_index, video, "--label", label, "--own", "keep", "--count", 50)
    assert {hit["video"] for hit in found} == of_label
    name = Path(index.rows.paths[7]).name
    found = hits_of(motion_index, video, "--path", f"*/{name}", "--own", "keep", "--count", 50)
    assert found and all(Path(hit["video"]).name == name for hit in found)
    found = hits_of(motion_index, video, "--after", 0.5, "--gap-s", -1, "--count", 200)
    assert found and all(hit["end_s"] > 0.5 for hit in found)
    assert hits_of(motion_index, video, "--path", "nothing/like/it") == []
    assert "no hits" in succeeds("search", motion_index, video, "--path", "nothing/like/it").out
    refused("search", motion_index, video, "--label", "lable", says=("unknown label 'lable'", label))
    refused("search", motion_index, video, "--after", 3, "--before", 2, says=("from 3 s to 2 s",))


def test_a_video_deleted_after_indexing_is_still_found_but_no_query(
    small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "v").mkdir()
    for path in sorted(motion_set.rglob("*.mp4"))[:4]:
        shutil.copy(path, tmp_path / "v")
    one, other = sorted((tmp_path / "v").iterdir())[:2]
    succeeds("index", small_run, tmp_path / "v", "--out", tmp_path / "i")
    one.unlink()
    refused("search", tmp_path / "i", one, says=(f"{one}: no such file",))
    refused("search", tmp_path / "i", f"{one}@0-1", says=(f"{one}: no such file",))
    assert str(one) in {hit["video"] for hit in hits_of(tmp_path / "i", other)}
    done = succeeds("cluster", tmp_path / "i", "--out", tmp_path / "c", "--count", 2)
    assert "report.html" in done.out


def test_what_is_no_query(motion_index: Path, video: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "broken.png").write_text("not a picture")
    refused("search", motion_index, tmp_path / "text.mp4", says=("text.mp4", "no video to search with", "not a video"))
    refused("search", motion_index, tmp_path / "broken.png", says=("broken.png", "not a picture"))
    refused("search", motion_index, tmp_path, says=(str(tmp_path), "a folder; name a video in it"))
    refused("search", motion_index, tmp_path / "nowhere.mp4", says=("nowhere.mp4: no such file",))
    refused("search", motion_index, f"{video}@0.5-0.5", says=("must end after its start, got 0.5 s to 0.5 s",))
    refused("search", motion_index, video, "--from", 0.6, "--to", 0.2, says=("got 0.6 s to 0.2 s",))
    refused("search", motion_index, f"{video}@99-100", says=("99 s is after its end",))
    refused("search", motion_index, video, "--from", -1, says=("-1",))
    refused("search", motion_index, video, "--from", "nan", says=("nan",))
    refused("search", motion_index, video, "--motion", 1.5, says=("between 0 and 1",))
    refused("search", motion_index, video, "--count", 0, says=("--count",))
    refused("search", motion_index, video, "--json", "--csv", says=("not both",))
    refused("search", motion_index, says=("nothing to search with",))
    refused("search", tmp_path / "nowhere", video, says=("no index there",))


def test_marks_that_do_not_fit_the_index(index: Index) -> None:
    with pytest.raises(InputError, match="row 10000 is not in the index"):
        search(index, SearchQuery(positive_rows=(10000,)))
    with pytest.raises(InputError, match="nothing to search with"):
        search(index, SearchQuery(filter=RowFilter()))
    with pytest.raises(InputError, match="not a name for a concept"):
        learn_concept(index, "../up", Annotations((1,)))


def test_a_concept_is_kept_with_its_index(motion_index: Path, tmp_path: Path) -> None:
    index = open_index(shutil.copytree(motion_index, tmp_path / "mine"))
    made = learn_concept(index, "first", Annotations((1, 2), (30,)))
    assert Concept.load(tmp_path / "mine" / "concepts" / "first.json", index.encoder_hash) == made


@pytest.mark.parametrize(
    "clip", [ClipSpec(8, lead_in=1), ClipSpec(8, 12.5, 0, lead_in=1), ClipSpec(8, stride_frames=2)]
)
def test_a_rows_own_seconds_give_its_frames_again(clip: ClipSpec, tmp_path: Path) -> None:
    """Also where they are printed with three digits."""
    path = str(encode(tmp_path / "a.mp4", 40, time_base=Fraction(1, 30)))
    times_s, info = index_frames(path).times_s, probe(path)
    line = build_timeline(times_s, clip)
    clips = [get_clip_frames(line, start, clip) for start in compute_sliding_starts(line, times_s, clip, 0.1)]
    same = 0
    for frames, span_2 in zip(clips, compute_spans(times_s, clips, clip.lead_in), strict=True):
        moment = Moment(path, *(round(float(s), 3) for s in span_2))
        shown = list_candidate_frames(times_s, clip, *compute_clip_span(moment, info, clip))
        near = sample_uniform_clips(shown, clip, 1)[0]
        assert np.abs(near - frames).max() <= 1, "ticks of a rate begin at the moment, so they may fall a frame apart"
        same += (near == frames).all()
    assert same == len(clips) or clip.fps


def test_a_moment_shorter_than_a_clip_is_shown_with_what_surrounds_it(tmp_path: Path) -> None:
    path = str(encode(tmp_path / "a.mp4", 40))
    times_s, info, clip = index_frames(path).times_s, probe(path), ClipSpec(8, lead_in=1)
    for start_s, end_s, first in ((0.8, 0.88, 16), (0.0, 0.04, 0), (1.56, 1.6, 31)):
        shown = list_candidate_frames(times_s, clip, *compute_clip_span(Moment(path, start_s, end_s), info, clip))
        frames = sample_uniform_clips(shown, clip, 1)[0]
        assert (np.diff(frames) == 1).all() and abs(int(frames[0]) - first) <= 1
