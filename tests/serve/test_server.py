"""The server of an index: who may ask, what is served and what never, queries, ranges, marks, export, garbage."""

import asyncio
import csv
import functools
import gc
import io
import json
import multiprocessing
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import refused, succeeds
from serving import Corpus, copied, make_corpus, swapped_for_link
from starlette.testclient import TestClient
from videos import encode, numbers

from unreel.errors import InputError, VideoError
from unreel.indexing.concepts.annotations import Annotations
from unreel.indexing.concepts.concept import fit_concept
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import HitOptions
from unreel.io.file_lock import is_locked
from unreel.serve import handlers, projections, selection_export
from unreel.serve.app import build_app
from unreel.serve.index_progress import IndexProgress
from unreel.serve.media import transcoding
from unreel.serve.media.uploads import (
    FOLDER_PREFIX,
    MAX_CONCURRENT_UPLOADS,
    MAX_UPLOADS,
    TooManyUploadsError,
    UploadLimits,
    UploadStore,
    UploadTimeoutError,
)
from unreel.serve.media.warm_workers import WarmWorkerPool
from unreel.serve.requests import PAGE_VERSION
from unreel.serve.server import open_socket
from unreel.serve.state import IndexSnapshot, ServeOptions, ServerState
from unreel.types import Moment
from unreel.verbs.indexing.search import search
from unreel.video.decoding import decoder, probe

HOME = "http://127.0.0.1"


@pytest.fixture(scope="module")
def corpus(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(small_run, tmp_path_factory.mktemp("served"))


def options(folder: Path, **limits: Any) -> ServeOptions:
    return ServeOptions(UploadLimits(**limits), 10**8, folder / "cache")


@pytest.fixture(scope="module")
def served(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ServerState:
    return ServerState(corpus.index, options(tmp_path_factory.mktemp("cache"), max_bytes=2**20))


@pytest.fixture(scope="module")
def client(served: ServerState) -> Iterator[TestClient]:
    with TestClient(build_app(served), HOME, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def about(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/api/index").json())


def says(response: Any, status: int, *words: str) -> None:
    """A refusal with this status and one sentence, which has these words."""
    assert response.status_code == status, response.text
    sentence = response.json()["error"]
    assert "\n" not in sentence and "Traceback" not in sentence
    for word in words:
        assert word in sentence, sentence


def list_names(client: TestClient, about: dict[str, Any]) -> list[str]:
    """The names of all videos, by number."""
    listed = client.post("/api/videos", json={"of": about["id"], "count": 200}).json()["videos"]
    assert [video["video"] for video in listed] == [*range(len(listed))]
    return [video["name"] for video in listed]


def video_number(client: TestClient, about: dict[str, Any], ending: str) -> int:
    return next(n for n, name in enumerate(list_names(client, about)) if name.endswith(ending))


# --- what a page is told of an index, and what it asks for


def make_many(served: ServerState, num_videos: int) -> IndexSnapshot:
    """The open index with other rows: two clips of each of so many videos, and as many labels."""
    clip_N = np.arange(2 * num_videos)
    paths = [f"/many/{n % 7}/[{n}].mp4" for n in clip_N // 2]
    labels = [f"label {n}" for n in clip_N // 2]
    rows = RowTable.from_columns(paths, labels, paths, clip_N % 2 * 0.5, clip_N % 2 * 0.5 + 1.0)
    old = served.get_snapshot()
    return replace(old, index=replace(old.index, rows=rows), video_folder="/many")


def test_what_a_page_is_told_does_not_grow_with_the_index(
    client: TestClient, served: ServerState, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    for num_videos in (5005, 9009):  # numbers of as many digits
        monkeypatch.setattr(served, "snapshot", make_many(served, num_videos))
        answer = client.get(f"/api/index?page={PAGE_VERSION}")
        assert answer.json()["num_videos"] == answer.json()["num_labels"] == num_videos
        listed = client.post("/api/videos", json={"of": about["id"], "count": 200})
        labels = client.post("/api/labels", json={"of": about["id"], "text": "9", "count": 200})
        assert len(listed.json()["videos"]) == 200 and listed.json()["total"] == num_videos
        assert labels.json()["total"] == sum("9" in str(n) for n in range(num_videos))
        sizes.append(len(answer.content))
        for asked in (listed, labels):
            assert len(asked.content) < 20_000
    assert sizes[0] == sizes[1]
    says(client.post("/api/videos", json={"of": about["id"], "count": 10**6}), 422, "count", "200")
    says(client.post("/api/search", json={"of": about["id"], "like": [0], "labels": ["x"]}), 400, "and 8,809 more")
    named = client.post("/api/labels", json={"of": about["id"], "numbers": [7, 9008, 9009]}).json()["labels"]
    assert named == [{"number": 7, "name": "label 7"}, {"number": 9008, "name": "label 9008"}]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"path": "/3/"},
        {"path": "[1"},
        {"path": "*"},
        {"path": "/many/3"},
        {"labels": ["label 4", "label 80", "label 9"]},
        {"path": "8", "after_s": 1.2},
        {"path": "9]", "before_s": 0.2, "labels": ["label 9", "label 8"]},
        {"after_s": 2.0},
    ],
)
def test_pages_of_videos_are_those_that_a_slow_twin_finds(
    client: TestClient,
    served: ServerState,
    about: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
) -> None:
    many = make_many(served, 90)
    monkeypatch.setattr(served, "snapshot", many)
    rows, wanted = many.index.rows, []
    for number, path in enumerate(rows.paths):
        left = [
            row
            for row in range(len(rows))
            if rows.get_path(row) == path
            and asked.get("path", "") in path
            and (not asked.get("labels") or rows.get_label(row) in asked["labels"])
            and rows.end_s[row] > asked.get("after_s", 0)
            and rows.start_s[row] < asked.get("before_s", 1e9)
        ]
        if left:
            name = path.removeprefix("/many/")
            wanted.append({"video": number, "name": name, "label": rows.get_label(left[0])})
    found = []
    for first in range(0, 120, 40):
        page = client.post("/api/videos", json={"of": about["id"], "first": first, "count": 40} | asked).json()
        assert page["total"] == len(wanted) and page["videos"] == wanted[first : first + 40]
        found += page["videos"]
    assert found == wanted


def test_a_video_is_named_by_its_number(client: TestClient, about: dict[str, Any]) -> None:
    names = list_names(client, about)
    assert about["num_videos"] == len(names) == 7 and "videos" not in about
    for number, name in enumerate(names):
        assert client.get(f"/api/{about['id']}/videos/{number}").json()["name"] == name
    says(client.get(f"/api/{about['id']}/videos/7"), 410, "has 7 videos")
    says(client.get("/api/other/videos/0"), 409, "load the page again")


def test_a_page_of_another_version_is_told_to_load_again(client: TestClient) -> None:
    """The first pages named no version; they show what is `missing`."""
    script = client.get("/api_client.js").text
    assert f"PAGE_VERSION = {PAGE_VERSION};" in script
    assert client.get(f"/api/status?page={PAGE_VERSION}").json()["missing"] == ""
    for other in ("", "?page=1", f"?page={PAGE_VERSION + 1}"):
        assert "load the page again" in client.get(f"/api/status{other}").json()["missing"]
    says(client.get(f"/api/index?page={PAGE_VERSION + 1}"), 409, "another version", "load the page again")


# --- asking


def test_a_row_is_answered_as_the_library_answers(
    client: TestClient, served: ServerState, about: dict[str, Any]
) -> None:
    asked = {"of": about["id"], "like": [3], "count": 4, "motion": 0.2, "own": "video"}
    hits = client.post("/api/search", json=asked).json()["hits"]
    wanted = search(
        served.get_snapshot().index,
        SearchQuery(positive_rows=(3,), motion_weight=0.2, own_video_mode="video"),
        HitOptions(4),
    )
    assert [(h["rows"], h["start_s"], h["score"]) for h in hits] == [
        (list(h.rows), round(h.start_s, 3), round(h.score, 4)) for h in wanted
    ]


def count_held(client: TestClient, about: dict[str, Any], times: int) -> tuple[int, int, int]:
    """Open files, threads and objects of this process after so many rounds of requests, answered and refused."""
    asked = {"of": about["id"], "like": [3], "count": 4}
    for _ in range(times):
        assert client.get("/api/index").status_code == client.post("/api/search", json=asked).status_code == 200
        assert client.get(f"/api/{about['id']}/videos/0/file", headers={"range": "bytes=0-99"}).status_code == 206
        assert client.get(f"/api/{about['id']}/videos/0/poster?at=nan").status_code == 422
        assert client.post("/api/queries?name=a.mp4", content=b"no video " * 9).status_code >= 400
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), len(gc.get_objects())


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_server_does_not_grow_with_its_requests(client: TestClient, about: dict[str, Any]) -> None:
    files, threads, objects = count_held(client, about, 5)
    more_files, more_threads, more_objects = count_held(client, about, 40)
    assert more_files <= files + 2 and more_threads <= threads + 2
    assert more_objects < objects + 160  # fewer than one for each of 200 requests


def test_an_upload_is_answered_as_the_library_answers(
    client: TestClient, served: ServerState, corpus: Corpus, about: dict[str, Any]
) -> None:
    path = next(corpus.videos.rglob("*.mp4"))
    kept = client.post("/api/queries?name=mine.mp4", content=path.read_bytes()).json()
    assert kept["length_s"] == pytest.approx(probe.probe(path).duration_s)
    moment = {"query": kept["query"], "start_s": 0.2, "end_s": 1.2}
    hits = client.post("/api/search", json={"of": about["id"], "moment": moment, "count": 5}).json()["hits"]
    question = SearchQuery((Moment(str(path), 0.2, 1.2),), own_video_mode="clip")
    wanted = search(served.get_snapshot().index, question, HitOptions(5))
    assert [h["rows"] for h in hits] == [list(h.rows) for h in wanted]
    whole = {"of": about["id"], "moment": moment, "count": 5, "own": "video"}
    assert str(path) not in {about_path(served, h) for h in client.post("/api/search", json=whole).json()["hits"]}
    wanted = search(served.get_snapshot().index, replace(question, own_video_mode="keep"), HitOptions(5))
    number = served.get_snapshot().index.rows.paths.index(str(path))
    moment = {"video": number, "start_s": 0.2, "end_s": 1.2}
    asked = {"of": about["id"], "moment": moment, "count": 5, "own": "keep"}
    assert [h["rows"] for h in client.post("/api/search", json=asked).json()["hits"]] == [list(h.rows) for h in wanted]


def test_hits_of_a_long_query_say_which_part_of_it_they_are_like(
    client: TestClient, served: ServerState, about: dict[str, Any], tmp_path: Path
) -> None:
    film = encode(tmp_path / "film.mp4", 300, pts=range(300), time_base=Fraction(1, 5), size=(48, 64))
    kept = client.post("/api/queries?name=film.mp4", content=film.read_bytes()).json()
    moment = {"query": kept["query"], "start_s": 0.0, "end_s": kept["length_s"]}
    answer = client.post("/api/search", json={"of": about["id"], "moment": moment, "count": 5}).json()
    wanted = search(served.get_snapshot().index, SearchQuery((Moment(str(film)),)), HitOptions(5))
    assert [h["rows"] for h in answer["hits"]] == [list(h.rows) for h in wanted]
    for hit, expected in zip(answer["hits"], wanted, strict=True):
        part = expected.query_moment
        assert part is not None and hit["like_s"] == [round(part.start_s, 3), round(part.end_s, 3)]
    assert answer["note"].startswith("the query: of its") and "32 clips" in answer["note"]
    assert "choose the part" in answer["note"]
    moment["end_s"] = 0.5
    answer = client.post("/api/search", json={"of": about["id"], "moment": moment, "count": 5}).json()
    assert answer["note"] == "" and {hit["like_s"] for hit in answer["hits"]} == {None}


def about_path(served: ServerState, hit: dict[str, Any]) -> str:
    return served.get_snapshot().index.rows.paths[hit["video"]]


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_strip_of_pictures_is_a_query(
    client: TestClient, served: ServerState, corpus: Corpus, about: dict[str, Any], ending: str, tmp_path: Path
) -> None:
    path = next(corpus.videos.rglob("*.mp4"))
    strip = np.concatenate(list(decoder.read_frames(str(path), range(0, 24, 3), (64, 64))), axis=1)
    cv2.imwrite(str(tmp_path / f"strip.{ending}"), strip[..., ::-1])
    kept = client.post(f"/api/queries?name=strip.{ending}", content=(tmp_path / f"strip.{ending}").read_bytes()).json()
    moment = {"query": kept["query"], "start_s": 0.0, "end_s": kept["length_s"]}
    hits = client.post("/api/search", json={"of": about["id"], "moment": moment, "count": 5}).json()["hits"]
    wanted = search(
        served.get_snapshot().index, SearchQuery((Moment(str(tmp_path / f"strip.{ending}")),)), HitOptions(5)
    )
    assert [h["rows"] for h in hits] == [list(h.rows) for h in wanted]
    cv2.imwrite(str(tmp_path / f"one.{ending}"), strip[:, :64, ::-1])
    kept = client.post(f"/api/queries?name=one.{ending}", content=(tmp_path / f"one.{ending}").read_bytes()).json()
    moment = {"query": kept["query"], "start_s": 0.0, "end_s": kept["length_s"]}
    answer = client.post("/api/search", json={"of": about["id"], "moment": moment, "count": 5}).json()
    assert answer["note"].startswith("the query: nothing moves in it, so looks alone")
    says(client.post(f"/api/queries?name=torn.{ending}", content=b"no picture"), 400, f"torn.{ending}", "picture")


def test_examples_and_counter_examples(client: TestClient, served: ServerState, about: dict[str, Any]) -> None:
    asked = {"of": about["id"], "like": [0, 5], "unlike": [9], "motion": 0.7, "own": "keep"}
    hits = client.post("/api/search", json=asked).json()["hits"]
    question = SearchQuery(positive_rows=(0, 5), negative_rows=(9,), motion_weight=0.7, own_video_mode="keep")
    wanted = search(served.get_snapshot().index, question, HitOptions(24))
    assert [(h["rows"], h["score"]) for h in hits] == [(list(h.rows), round(h.score, 4)) for h in wanted]
    without = client.post("/api/search", json={**asked, "unlike": []}).json()["hits"]
    assert [h["score"] for h in hits] != [h["score"] for h in without]


def test_near_duplicates_stand_under_the_best_when_asked(
    client: TestClient, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unreel.serve.requests.DUPLICATE_THRESHOLD", -1.0)  # so that everything is one
    asked = {"of": about["id"], "like": [0], "own": "keep"}
    single = client.post("/api/search", json=asked).json()["hits"]
    (folded,) = client.post("/api/search", json={**asked, "fold": True}).json()["hits"]
    assert len(single) > 1 and folded["num_alike"] == len(single) - 1
    assert [h["rows"] for h in folded["alike"]] == [h["rows"] for h in single[1:]]


def test_no_more_searches_run_than_there_are_cores(
    client: TestClient, served: ServerState, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty that take turns keep the event loop waiting, so everybody's answer comes late."""
    running, most, lock, search_by_vectors = 0, 0, threading.Lock(), handlers.search_by_vectors

    def count(*given: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        try:
            return search_by_vectors(*given)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(handlers, "search_by_vectors", count)
    with ThreadPoolExecutor(8) as pool:
        asked = [{"of": about["id"], "like": [n]} for n in range(8)]
        assert {answer.status_code for answer in pool.map(lambda a: client.post("/api/search", json=a), asked)} == {200}
    assert 1 <= most <= served.source.max_searches == os.cpu_count()


def test_filters_leave_what_fits(client: TestClient, about: dict[str, Any]) -> None:
    label = about["labels"][-1]
    asked = {"of": about["id"], "like": [0], "labels": [label], "own": "keep"}
    assert {h["label"] for h in client.post("/api/search", json=asked).json()["hits"]} == {label}
    asked = {"of": about["id"], "like": [0], "path": "old", "own": "keep"}
    assert {h["name"] for h in client.post("/api/search", json=asked).json()["hits"]} == {"old/old.avi"}
    for path in ("[old", "*", "o?d"):  # as it stands, no pattern
        assert client.post("/api/search", json={**asked, "path": path}).json() == {"hits": [], "note": ""}
    asked = {"of": about["id"], "like": [0], "own": "keep", "after_s": 1.0, "before_s": 1.2, "count": 200}
    found = client.post("/api/search", json=asked).json()["hits"]
    assert found and all(h["end_s"] > 1.0 and h["start_s"] < 1.2 for h in found)
    says(client.post("/api/search", json={**asked, "after_s": 3.0}), 400, "allows nothing")


def test_marks_rank_everything_and_become_a_concept(
    served: ServerState, corpus: Corpus, tmp_path: Path, about: dict[str, Any]
) -> None:
    with TestClient(build_app(ServerState(copied(corpus, tmp_path), options(tmp_path))), HOME) as client:
        rows = served.get_snapshot().index.rows
        yes = np.flatnonzero(rows.path_N == rows.path_N[0]).tolist()
        no = np.flatnonzero(rows.path_N == rows.path_N[-1]).tolist()
        marks = {"of": about["id"], "yes": yes, "no": no}
        found = client.post("/api/rank", json=marks).json()
        assert found["hits"][0]["video"] == rows.path_N[0] and found["hits"][0]["score"] > 0.5
        assert len(found["next"]) == 8 and not {h["rows"][0] for h in found["next"]} & {*yes, *no}
        exact = fit_concept(
            "m", served.get_snapshot().index.vectors_ND, Annotations(tuple(yes), tuple(no)), "e"
        ).score_rows(served.get_snapshot().index.vectors_ND)
        assert found["hits"][0]["score"] == round(float(exact.max()), 4)
        half = {**marks, "yes": yes[:1], "name": "first"}
        assert client.post("/api/concepts", json=half).json() == {"concepts": ["first"], "added": False}
        more = {**marks, "yes": yes[1:], "no": [], "name": "first"}  # added to what was marked before
        assert client.post("/api/concepts", json=more).json() == {"concepts": ["first"], "added": True}
        kept = client.get(f"/api/{about['id']}/concepts/first").json()
        assert [h["rows"] for h in kept["yes"]] == [[row] for row in yes] and kept["lost"] == 0
        assert [h["rows"] for h in kept["no"]] == [[row] for row in no]
        says(client.get(f"/api/{about['id']}/concepts/second"), 400, "no concept 'second'")
        client.post("/api/concepts", json={**half, "no": no[:1], "forget": True})
        kept = client.get(f"/api/{about['id']}/concepts/first").json()
        assert [[h["rows"] for h in kept[kind]] for kind in ("yes", "no")] == [[[yes[0]]], [[no[0]]]]
        client.post("/api/concepts", json={**marks, "name": "first", "forget": True})
        again = client.post("/api/rank", json={"of": about["id"], "concept": "first"}).json()
        assert [h["rows"] for h in again["hits"]] == [h["rows"] for h in found["hits"]]
        says(client.post("/api/rank", json={"of": about["id"], "concept": "../store"}), 400, "no concept")
        for name in ("../../x", "a\0b", "字" * 100, "", ".hidden"):
            says(client.post("/api/concepts", json={**marks, "name": name}), 400, "not a name")
        says(client.post("/api/rank", json={"of": about["id"], "no": no}), 400, "marked yes")


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        ({}, 400, "nothing to search with"),
        ({"like": [10**7]}, 400, "not in the index"),
        ({"like": [-1]}, 422, "like 0"),
        ({"like": [10**30]}, 422, "like 0"),
        ({"like": ["x"]}, 422, "like 0"),
        ({"like": [0], "motion": 7}, 400, "between 0 and 1"),
        ({"like": [0], "count": 10**6}, 422, "count"),
        ({"like": [0], "labels": ["nobody"]}, 400, "unknown label"),
        ({"moment": {"video": 0, "start_s": 1.0, "end_s": 1.0}}, 400, "must end after its start"),
        ({"moment": {"video": 0, "start_s": 90.0, "end_s": 91.0}}, 400, "is after its end"),
        ({"moment": {"video": 99, "start_s": 0.0, "end_s": 1.0}}, 410, "not in the index"),
        ({"moment": {"query": "gone", "end_s": 1.0}}, 400, "choose its file again"),
        ({"moment": {"query": "x", "video": 1, "end_s": 1.0}}, 400, "one of them"),
        ({"of": "another", "like": [0]}, 409, "load the page again"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    client: TestClient, about: dict[str, Any], asked: dict[str, Any], status: int, word: str
) -> None:
    says(client.post("/api/search", json={"of": about["id"], **asked}), status, word)


def test_numbers_that_are_none_are_refused(client: TestClient, about: dict[str, Any]) -> None:
    text = json.dumps({"of": about["id"], "moment": {"video": 0, "start_s": 0.0, "end_s": float("inf")}})
    says(client.post("/api/search", content=text, headers={"content-type": "application/json"}), 422, "end_s")
    says(client.get(f"/api/{about['id']}/videos/0/poster?at=nan"), 422, "at")
    says(client.post("/api/search", content="{", headers={"content-type": "application/json"}), 422)


# --- uploads


@pytest.mark.parametrize("data", [b"no video at all " * 50, b"\x00\x00\x00\x18ftypmp42" + b"\x07" * 500, b"GIF89a"])
def test_garbage_is_refused_and_not_kept(client: TestClient, served: ServerState, data: bytes) -> None:
    before = set(served.uploads.folder.iterdir())
    says(client.post("/api/queries?name=../../odd.mp4", content=data), 400, "no video to search with", "odd.mp4")
    assert set(served.uploads.folder.iterdir()) == before
    assert client.get("/api/status").status_code == 200


def test_uploads_are_limited_in_size_announced_or_not(client: TestClient, served: ServerState) -> None:
    says(client.post("/api/queries?name=big.mp4", content=b"x" * (2**20 + 1)), 413, "1 MB")

    def streamed() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 2**16

    before = set(served.uploads.folder.iterdir())
    says(client.post("/api/queries?name=big.mp4", content=streamed()), 413, "1 MB")
    says(client.post("/api/queries?name=none.mp4", content=b""), 400, "empty")
    assert set(served.uploads.folder.iterdir()) == before


async def stalled() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.sleep(3600)


def test_uploads_are_limited_in_time_and_number() -> None:
    uploads = UploadStore(UploadLimits(timeout_s=0.05))

    async def many() -> list[Any]:
        sent = [uploads.save("a.mp4", None, stalled()) for _ in range(MAX_CONCURRENT_UPLOADS + 1)]
        return await asyncio.gather(*sent, return_exceptions=True)

    try:
        assert [type(error) for error in asyncio.run(many())] == [UploadTimeoutError] * MAX_CONCURRENT_UPLOADS + [
            TooManyUploadsError
        ]
        assert not uploads.num_active and not list(uploads.folder.iterdir())
    finally:
        uploads.close()


def test_what_a_killed_server_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, young = tmp_path / f"{FOLDER_PREFIX}left", tmp_path / f"{FOLDER_PREFIX}young"
    left.mkdir()
    living = UploadStore(UploadLimits())
    for folder in (left, living.folder):
        os.utime(folder, (0, 0))
    young.mkdir()
    other = UploadStore(UploadLimits())
    assert other.folder.is_dir() and not left.exists()
    assert living.folder.is_dir() and young.is_dir()
    living.close()
    other.close()
    assert list(tmp_path.iterdir()) == [young]


def test_the_oldest_upload_leaves(client: TestClient, served: ServerState, corpus: Corpus) -> None:
    data = next(corpus.videos.rglob("*.mp4")).read_bytes()
    kept = [client.post("/api/queries?name=a.mp4", content=data).json()["query"] for _ in range(MAX_UPLOADS + 1)]
    assert len(list(served.uploads.folder.iterdir())) == MAX_UPLOADS
    says(client.get(f"/api/queries/{kept[0]}/preview?start=0&end=1"), 400, "has been deleted")
    assert client.get(f"/api/queries/{kept[-1]}/preview?start=0&end=1").status_code == 200


# --- files


def test_ranges(client: TestClient, served: ServerState, about: dict[str, Any]) -> None:
    address = f"/api/{about['id']}/videos/0/file"
    data = Path(served.get_snapshot().index.rows.paths[0]).read_bytes()
    whole = client.get(address)
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, data, "bytes")
    for asked, part in (("0-99", data[:100]), ("100-", data[100:]), ("-7", data[-7:]), ("0-99999999", data)):
        got = client.get(address, headers={"range": f"bytes={asked}"})
        assert (got.status_code, got.content) == (206, part), asked
        first = len(data) - 7 if asked == "-7" else int(asked.split("-")[0])
        assert got.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        assert got.headers["content-length"] == str(len(part))
    assert client.get(address, headers={"range": f"bytes={'9' * 5000}-"}).status_code == 200
    for asked in (f"{len(data)}-", "9-3", "-0"):
        got = client.get(address, headers={"range": f"bytes={asked}"})
        assert (got.status_code, got.content, got.headers["content-range"]) == (416, b"", f"bytes */{len(data)}"), asked
    assert client.get(address, headers={"range": "lines=1-2"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/index.html",
        "/app.py",
        "/api/ID/videos/..%2f..%2fetc%2fpasswd/file",
        "/api/ID/videos/-1/file",
        "/api/ID/videos/100000/file",
        "/api/ID/videos/0/../../../../etc/passwd",
        "/api/queries/..%2f..%2fetc%2fpasswd/preview?start=0&end=1",
    ],
)
def test_no_path_leads_out(client: TestClient, about: dict[str, Any], path: str) -> None:
    answer = client.get(path.replace("ID", about["id"]))
    assert 400 <= answer.status_code < 500 and b"root:" not in answer.content
    assert list(answer.json()) == ["error"]


def test_a_file_that_is_another_now_is_not_served(small_run: Path, tmp_path: Path) -> None:
    corpus = make_corpus(small_run, tmp_path)
    secret = tmp_path / "secret.txt"
    with TestClient(build_app(ServerState(corpus.index, options(tmp_path))), HOME) as client:
        about = client.get("/api/index").json()
        swapped, deleted, touched, piped = (corpus.videos / name for name in list_names(client, about)[:4])
        secret.write_bytes(b"s" * swapped.stat().st_size)  # not even of another size
        swapped_for_link(swapped, secret)
        deleted.unlink()
        os.utime(touched)
        piped.unlink()
        os.mkfifo(piped)
        for number, word in ((0, "another file"), (1, "deleted or moved"), (3, "another file")):
            for what in ("file", "poster?at=0", "preview?start=0&end=1"):
                says(client.get(f"/api/{about['id']}/videos/{number}/{what}"), 410, word)
        assert client.get(f"/api/{about['id']}/videos/2/file").content == touched.read_bytes()
        moment = {"video": 1, "start_s": 0.0, "end_s": 1.0}
        says(client.post("/api/search", json={"of": about["id"], "moment": moment}), 410, "unreel index")


# --- pictures


def test_a_preview_shows_the_frames_of_its_seconds_in_h264(
    client: TestClient, about: dict[str, Any], tmp_path: Path
) -> None:
    number = video_number(client, about, "old.avi")
    data = client.get(f"/api/{about['id']}/videos/{number}/preview?start=0.4&end=0.8").content
    (tmp_path / "preview.mp4").write_bytes(data)
    info = probe.probe(tmp_path / "preview.mp4")
    assert info.codec == "h264" and info.fps == pytest.approx(25)
    assert numbers(decoder.read_frames(tmp_path / "preview.mp4", range(info.num_frames))) == list(range(10, 20))
    poster = client.get(f"/api/{about['id']}/videos/{number}/poster?at=0.48")
    assert poster.headers["content-type"] == "image/jpeg" and poster.content[:2] == b"\xff\xd8"
    (tmp_path / "poster.jpg").write_bytes(poster.content)
    assert numbers(file_picture(tmp_path / "poster.jpg")) == [12]
    says(client.get(f"/api/{about['id']}/videos/{number}/preview?start=1&end=1"), 400, "must end after its start")


@pytest.mark.parametrize("codec, name", [("libx265", "new.mp4"), ("mpeg4", "old.avi"), ("libvpx-vp9", "web.webm")])
def test_what_a_browser_may_not_play_becomes_h264(codec: str, name: str, tmp_path: Path) -> None:
    encode(tmp_path / name, 30, codec)
    (tmp_path / "preview.mp4").write_bytes(transcoding.make_preview(str(tmp_path / name), 0.4, 0.8))
    assert probe.probe(tmp_path / "preview.mp4").codec == "h264"
    assert numbers(decoder.read_frames(tmp_path / "preview.mp4", range(10))) == list(range(10, 20))


def file_picture(path: Path) -> np.ndarray:
    import cv2

    return cv2.imread(str(path))[None, :, :, ::-1]


def test_a_preview_is_made_once(client: TestClient, served: ServerState, about: dict[str, Any]) -> None:
    address = f"/api/{about['id']}/videos/1/preview?start=0&end=0.5"
    first, calls = client.get(address).content, served.previews.worker_pool.call
    served.previews.worker_pool.call = None  # type: ignore[assignment]
    try:
        assert client.get(address).content == first
        assert client.get(address, headers={"range": "bytes=4-7"}).content == b"ftyp"
    finally:
        served.previews.worker_pool.call = calls  # type: ignore[method-assign]


def test_the_start_of_a_process_is_no_part_of_its_first_job() -> None:
    """It imports torch, which took longer on a busy machine than a file may: no upload was ever read there."""
    apart = WarmWorkerPool(1, functools.partial(time.sleep, 2.5))
    try:
        assert apart.call(2, sum, [1, 2]) == 3
    finally:
        apart.close()


def test_a_crash_or_a_hang_costs_one_answer() -> None:
    apart = WarmWorkerPool(1, gc.enable)  # nothing of this module, which takes long to import
    try:
        with pytest.raises(InputError, match="crashed"):
            apart.call(60, os.abort)
        assert apart.call(60, sum, [1, 2]) == 3
        with pytest.raises(InputError, match="more than 0.2 s"):
            apart.call(0.2, time.sleep, 60)
        assert apart.call(60, sum, [3, 4]) == 7
        assert len(multiprocessing.active_children()) >= 1
    finally:
        apart.close()


# --- the map, export


def test_what_strangers_send_is_read_in_processes_of_little_memory(client: TestClient, served: ServerState) -> None:
    for apart in (served.get_query_embedder().reader_pool, served.previews.worker_pool):
        assert 4 * 2**30 < apart.call(60, resource.getrlimit, resource.RLIMIT_DATA)[0] < 5 * 2**30


def test_the_map_has_every_row_and_is_kept(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied(corpus, tmp_path)
    index = ServerState(folder, options(tmp_path)).get_snapshot().index
    made = wait_for(projections.ProjectionCache(index), "pca")
    monkeypatch.setattr(projections, "project_2d", None)
    again = wait_for(projections.ProjectionCache(index), "pca")
    assert np.array_equal(again.xy_N2, made.xy_N2) and again.description == made.description
    data, count = projections.pack_points(index, made), len(index.rows)
    assert np.frombuffer(data, "<u4", 1)[0] == count and len(data) == 4 + 28 * count
    assert np.array_equal(np.frombuffer(data, "<f4", 2 * count, 4 + 8 * count).reshape(-1, 2), made.xy_N2)
    assert np.array_equal(np.frombuffer(data, "<i4", count, 4 + 24 * count), index.rows.label_N)
    (folder / ".map-pca.npz").write_bytes(b"half")
    with pytest.raises(InputError, match="terminal says why"):  # what was damaged is made again, here in vain
        wait_for(projections.ProjectionCache(index), "pca")


def wait_for(made: projections.ProjectionCache, layout: str) -> projections.Projection:
    while (found := made.get(layout)) is None:
        time.sleep(0.02)
    return found


def test_a_selection_leaves_as_csv_and_as_clips(client: TestClient, served: ServerState, about: dict[str, Any]) -> None:
    rows = served.get_snapshot().index.rows
    first, last = np.flatnonzero(rows.path_N == 0).tolist(), np.flatnonzero(rows.path_N == rows.path_N[-1]).tolist()
    asked = {"of": about["id"], "rows": [*last[:1], *first]}
    found = client.post("/api/moments", json=asked).json()
    assert found["moments"] == 2 and found["hits"][0]["rows"] == first
    table = list(csv.DictReader(io.StringIO(client.post("/api/export.csv", json=asked).text)))
    assert [row["video"] for row in table] == [rows.paths[0], rows.paths[rows.path_N[-1]]]
    assert float(table[0]["end_s"]) == pytest.approx(rows.end_s[first].max(), abs=1e-3)
    zipped = zipfile.ZipFile(io.BytesIO(client.post("/api/export.zip", json=asked).content))
    listed = list(csv.DictReader(io.StringIO(zipped.read("selection.csv").decode())))
    assert sorted(zipped.namelist()) == sorted([*(row["clip"] for row in listed), "selection.csv"])
    assert zipped.read(listed[0]["clip"])[4:8] == b"ftyp"
    says(client.post("/api/export.csv", json={"of": about["id"], "rows": []}), 400, "nothing is selected")
    says(client.post("/api/export.zip", json={"of": about["id"], "rows": [10**6]}), 400, "not in the index")
    scored = {**asked, "scores": {str(last[0]): 0.75}}
    table = list(csv.DictReader(io.StringIO(client.post("/api/export.csv", json=scored).text)))
    assert [row["score"] for row in table] == ["", "0.7500"]


def test_a_label_is_no_formula() -> None:
    assert [selection_export.escape_formula(label) for label in ("=1+1", "@a", "walk", "1-2")] == [
        "'=1+1",
        "'@a",
        "walk",
        "1-2",
    ]


def test_a_cut_clip_is_as_long_as_its_moment_a_preview_is_not(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcoding, "MAX_PREVIEW_S", 0.4)
    path = str(next(corpus.videos.rglob("*.mp4")))
    for make, length_s in ((transcoding.cut_clip, 1.2), (transcoding.make_preview, 0.4)):
        (tmp_path / "cut.mp4").write_bytes(make(path, 0.0, 1.2))
        assert probe.probe(str(tmp_path / "cut.mp4")).duration_s == pytest.approx(length_s, abs=0.05)


def test_errors_show_no_folder_of_the_server_and_a_full_disk_is_told(
    client: TestClient, served: ServerState, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise VideoError("/secret/folder/a.mp4", "damaged", "half of it")

    async def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(served.previews, "get_preview", damaged)
    answer = client.get(f"/api/{about['id']}/videos/0/preview?start=0&end=1")
    says(answer, 400, "a.mp4: damaged (half of it)")
    assert "secret" not in answer.text
    monkeypatch.setattr(served.uploads, "save", full)
    says(client.post("/api/queries?name=a.mp4", content=b"x"), 507, "disk is full")


def test_uploads_go_on_where_the_temporary_folder_was_cleared(
    client: TestClient, served: ServerState, corpus: Corpus
) -> None:
    shutil.rmtree(served.uploads.folder)
    data = next(corpus.videos.rglob("*.mp4")).read_bytes()
    assert client.post("/api/queries?name=a.mp4", content=data).status_code == 200


def make_png(width: int, height: int) -> bytes:
    """A picture of one colour, one bit a pixel: few bytes, however large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data", [make_png(20_000, 20_000), b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\0;"]
)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(client: TestClient, data: bytes) -> None:
    says(client.post("/api/queries?name=bomb.png", content=data), 400, "bomb.png", "a picture")
    assert client.post("/api/queries?name=small.png", content=make_png(64, 32)).status_code == 200


# --- who may ask


def test_other_pages_and_other_names_are_refused(client: TestClient) -> None:
    says(client.get("/", headers={"host": "evil.example"}), 403, "evil.example")
    says(client.get("/", headers={"host": "testserver"}), 403, "testserver", "--token")
    says(client.get("/", headers={"origin": "http://[::1"}), 400, "not a valid address")
    for host in ("127.0.0.1@evil.example", "[", "127.0.0.1:port", "a b"):
        says(client.get("/", headers={"host": host}), 400, "not a valid address")
    two = {"content-length": "2", "transfer-encoding": "chunked"}
    says(client.post("/api/search", headers=two, content=b"{}"), 400, "in one way")
    says(client.post("/api/reload", headers={"content-length": "9" * 5000}), 411)
    for origin in ("http://evil.example", "null", "http://127.0.0.1.evil.example"):
        says(client.post("/api/reload", headers={"origin": origin}), 403, "another page", "a proxy", "Host")
    assert client.post("/api/reload", json={}, headers={"origin": HOME}).status_code == 200
    headers = client.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/docs").status_code == 404
    says(client.post("/api/search", content=b" " * (5 * 2**20)), 413, "select fewer")


def test_a_token_is_wanted_and_becomes_a_cookie(corpus: Corpus, tmp_path: Path) -> None:
    app = build_app(ServerState(corpus.index, options(tmp_path)), "s3cret")
    with TestClient(app, base_url="http://10.0.0.7:8765") as client:
        for path in ("/", "/main.js", "/api/index", "/?token=wrong", "/?token=%C3%A9"):
            says(client.get(path), 401, "requires a token")
        assert client.get("/api/status", headers={"authorization": "Bearer s3cret"}).status_code == 200
        entered = client.get("/?token=s3cret", follow_redirects=False)
        assert entered.status_code == 303 and entered.headers["location"] == "/"
        elsewhere = client.get("http://10.0.0.7:8765//evil.example/?token=s3cret", follow_redirects=False)
        assert elsewhere.headers["location"] == "/evil.example/"
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/api/index").status_code == 200


def test_two_servers_of_one_host_know_their_own_tokens(corpus: Corpus, tmp_path: Path) -> None:
    """A browser keeps one jar of cookies for all ports of a host."""
    state = ServerState(corpus.index, options(tmp_path))
    with TestClient(build_app(state, "one"), base_url="https://lab.example") as client:
        entered = client.get("/?token=one", follow_redirects=False)
        assert "; secure" in entered.headers["set-cookie"].lower()  # what came encrypted goes so alone
        other = TestClient(build_app(state, "two"), base_url="https://lab.example", cookies=client.cookies)
        says(other.get("/"), 401, "requires a token")
        client.cookies.update(other.get("/?token=two", follow_redirects=False).cookies)
        assert client.get("/api/index").status_code == 200


def test_health_needs_no_token_and_tells_nothing(corpus: Corpus, tmp_path: Path) -> None:
    state = ServerState(corpus.index, options(tmp_path))
    with TestClient(build_app(state, "s3cret"), base_url="http://10.0.0.7:8765") as client:
        answer = client.get("/api/health")
        assert (answer.status_code, answer.json()) == (200, {"ready": True})
        state.snapshot, state.problem = None, f"{corpus.index} is being made"
        answer = client.get("/api/health")
        assert (answer.status_code, answer.json()) == (503, {"ready": False})


# --- an index that is being made, half of one, none


def test_progress_counts_what_is_in_the_parts(corpus: Corpus, tmp_path: Path) -> None:
    folder = copied(corpus, tmp_path)
    found = IndexProgress(folder).read_status()
    served = ServerState(folder, options(tmp_path))
    assert found == {"rows": len(served.get_snapshot().index.rows), "videos": 7, "of_videos": 7, "indexing": False}
    next((folder / "parts").glob("*.parquet")).unlink()
    assert served.status()["rows"] == 0


def test_a_page_hears_of_a_move_and_asks_anew_about_a_file_that_is_another(
    small_run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    videos, folder = tmp_path / "v", tmp_path / "index"
    first, second = sorted(corpus.videos.rglob("*.mp4"))[:2]
    videos.mkdir()
    shutil.copy(first, videos / "a.mp4")
    shutil.copy(second, videos / "b.mp4")
    succeeds("index", small_run, videos, "--out", folder)
    with TestClient(build_app(served := ServerState(folder, options(tmp_path))), HOME) as client:
        of = client.get("/api/index").json()["id"]
        asked = {"moment": {"video": 0, "start_s": 0.0, "end_s": 2.0}, "own": "keep", "count": 1}
        (hit,) = client.post("/api/search", json={"of": of, **asked}).json()["hits"]
        assert about_path(served, hit) == str(videos / "a.mp4") and served.status()["reload"] is False
        (videos / "b.mp4").rename(videos / "c.mp4")  # as many rows as before
        shutil.copy(second, videos / "a.mp4")
        shutil.copy(first, videos / "b.mp4")
        succeeds("index", small_run, videos, "--out", folder)
        assert served.status()["reload"] is True
        of = client.post("/api/reload", json={}).json()["id"]
        assert served.status()["reload"] is False
        paths = served.get_snapshot().index.rows.paths
        asked["moment"]["video"] = paths.index(str(videos / "a.mp4"))  # type: ignore[index]
        (hit,) = client.post("/api/search", json={"of": of, **asked}).json()["hits"]
        assert about_path(served, hit) != str(videos / "b.mp4") and hit["score"] > 0.999


HOLD = "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.lockf(f, fcntl.LOCK_EX); print(1, flush=True); input()"


def test_an_index_that_is_being_made_is_waited_for(corpus: Corpus, tmp_path: Path) -> None:
    folder, kept = copied(corpus, tmp_path), tmp_path / "vectors.npy"
    refused("serve", tmp_path / "none", says=("no index there", "unreel index"))
    (folder / "vectors.npy").rename(kept)
    refused("serve", folder, says=("half an index", "vectors.npy"))
    command, pipe = [sys.executable, "-c", HOLD, str(folder / "lock")], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as writer:
        assert writer.stdout is not None and writer.stdout.readline() and is_locked(folder)
        with TestClient(build_app(ServerState(folder, options(tmp_path))), HOME) as client:
            says(client.get("/api/index"), 503, "half an index", "is being indexed just now")
            assert client.get("/api/status").json()["indexing"] is True
            writer.communicate(b"\n")
            kept.rename(folder / "vectors.npy")
            assert client.get("/api/status").json()["reload"] is True
            assert client.post("/api/reload", json={}).status_code == 200
            assert client.get("/api/index").json()["rows"] > 0


def test_an_index_of_another_version_and_a_busy_port_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    folder = copied(corpus, tmp_path)
    about = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps({**about, "format": 99}))
    refused("serve", folder, says=("format 99",))
    refused("serve", corpus.index, "--port", 99999, says=("--port", "99999"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused("serve", corpus.index, "--port", port, says=(f"port {port} (Address already in use); give another",))
    refused("serve", corpus.index, "--upload-mb", 0, says=("--upload-mb",))
    refused("serve", corpus.index, "--token", "a b&c", says=("--token", "letters"))


def test_serve_says_what_it_serves_and_opens_the_browser_when_asked(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("uvicorn.Server.run", lambda _server, sockets: sockets[0].close())
    monkeypatch.setattr("unreel.cli.indexing.serve.open_browser", opened.append)
    said = succeeds("serve", corpus.index, "--port", 0).out
    address = said.split()[1]
    assert (
        f"7 videos in {corpus.videos}" in said and said.startswith(f"{corpus.index}: http://127.0.0.1:") and not opened
    )
    assert succeeds("serve", corpus.index, "--port", 0, "--open").out.split()[1] == opened[0] != address
    monkeypatch.setenv("UNREEL_TOKEN", "from-the-environment")  # a command line is seen by all users of a machine
    assert "?token=from-the-environment\n" in succeeds("serve", corpus.index, "--port", 0).out
    assert "?token=given\n" in succeeds("serve", corpus.index, "--port", 0, "--token", "given").out


def test_answers_do_not_wait_for_an_acknowledgement() -> None:
    """A header and a body that leave one after the other would be held together for 40 ms."""
    with open_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_unforeseen_error_is_a_sentence(
    client: TestClient, about: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("unreel.serve.handlers.search_by_vectors", None)
    says(client.post("/api/search", json={"of": about["id"], "like": [0]}), 500, "terminal")
    assert "TypeError" in caplog.text
