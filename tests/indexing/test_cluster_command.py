"""Clusters on disk: the tables against slow twins, the page, its moving previews, and `unreel cluster`."""

import base64
import csv
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from commands import refused, succeeds
from vectors import clips, grouped
from videos import encode, number_of, picture

from unreel.indexing.clustering import cluster_page
from unreel.indexing.clustering.cluster_report import ClusterReport, build_cluster_report
from unreel.indexing.clustering.clusters import ClusterOptions, Clusters
from unreel.indexing.index.approximate.ann_index import AnnIndex
from unreel.indexing.index.clip_index import Index, open_index
from unreel.models.encoder.row_parts import RowParts
from unreel.report.pages.clusters_page import describe_transitions, draw_map
from unreel.report.previews import (
    HEIGHT,
    NUM_FRAMES,
    WIDTH,
    build_contact_sheet,
    build_preview,
    read_moment,
    write_previews,
)
from unreel.types import Moment
from unreel.verbs.indexing.cluster import cluster
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.probe import probe

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@pytest.fixture(scope="session")
def sorted_folder(motion_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clusters") / "out"
    done = succeeds("cluster", motion_index, "--out", out, "--count", 3)
    assert "report.html" in done.out and [line.split()[0] for line in done.out.splitlines()[1:4]] == ["0", "1", "2"]
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def made_up(videos: int = 6, per_video: int = 20) -> Index:
    vectors_ND, rows = grouped(videos * per_video, groups=4, noise=0.3), clips(videos, per_video)
    parts = RowParts.make_equal(("rgb",), (vectors_ND.shape[1],))
    return Index(Path("i"), {"encoder_hash": "e"}, rows, vectors_ND, AnnIndex.build(vectors_ND), parts)


def test_segments_are_all_rows_with_their_seconds(sorted_folder: Path, motion_index: Path) -> None:
    index, segments = open_index(motion_index), table(sorted_folder / "segments.csv")
    assert list(segments[0]) == ["video", "start_s", "end_s", "cluster", "x", "y", "odd"]
    assert [s["video"] for s in segments] == [index.rows.get_path(n) for n in range(len(index.rows))]
    np.testing.assert_allclose([float(s["start_s"]) for s in segments], index.rows.start_s, atol=6e-4)
    assert {s["cluster"] for s in segments} == {"0", "1", "2"}
    assert all(-1 <= float(s["x"]) <= 1 and float(s["odd"]) >= 0 for s in segments)


def test_transitions_count_what_follows_in_a_video(sorted_folder: Path) -> None:
    counted: dict[tuple[str, str], int] = {}
    segments = table(sorted_folder / "segments.csv")
    for video in {s["video"] for s in segments}:
        mine = sorted((s for s in segments if s["video"] == video), key=lambda s: float(s["start_s"]))
        for one, following in zip(mine, mine[1:], strict=False):
            pair = (one["cluster"], following["cluster"])
            counted[pair] = counted.get(pair, 0) + 1
    found = {(t["cluster"], t["next_cluster"]): int(t["count"]) for t in table(sorted_folder / "transitions.csv")}
    assert found == counted


def test_the_odd_come_one_of_a_video_the_oddest_first(sorted_folder: Path) -> None:
    odd = table(sorted_folder / "odd.csv")
    segments = table(sorted_folder / "segments.csv")
    best = {v: max(float(s["odd"]) for s in segments if s["video"] == v) for v in {s["video"] for s in segments}}
    assert {o["video"]: float(o["odd"]) for o in odd} == best
    assert [float(o["odd"]) for o in odd] == sorted(best.values(), reverse=True)


def test_a_copied_stretch_is_a_double(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for path in sorted(motion_set.rglob("*.mp4"))[::3]:
        shutil.copy(path, tmp_path / "v")
    one = sorted((tmp_path / "v").iterdir())[2]
    (tmp_path / "v" / "again.mp4").write_bytes(one.read_bytes() + b"\0\0\0\x08free")
    succeeds("index", small_run, tmp_path / "v", "--out", tmp_path / "i")
    succeeds("cluster", tmp_path / "i", "--out", tmp_path / "c", "--count", 2, "--doubled", 0.999999)
    first = table(tmp_path / "c" / "doubles.csv")[0]
    assert {first["video"], first["other_video"]} == {str(one), str(tmp_path / "v" / "again.mp4")}
    assert first["start_s"] == first["other_start_s"] and float(first["score"]) > 0.9999
    page = (tmp_path / "c" / "report.html").read_text()
    assert "again.mp4" in page[page.index("<h2>Duplicates") :]


def test_the_page_plays_and_fetches_nothing(sorted_folder: Path, motion_index: Path) -> None:
    page = (sorted_folder / "report.html").read_text()
    assert page.count("<video ") == 3 and not re.search(r"(src|href)=\"(?!data:|#)", page)
    played = re.search(r'<video src="data:video/mp4;base64,([^"]+)"', page)
    assert played is not None
    assert base64.b64decode(played[1]) == (sorted_folder / "clusters" / "0.mp4").read_bytes()
    info = probe(sorted_folder / "clusters" / "0.mp4")
    assert (info.num_frames, info.codec) == (NUM_FRAMES, "h264") and info.width == 3 * (WIDTH + 2) - 2
    assert "of 24 videos" in page


def test_again_with_fewer_clusters_leaves_no_old_pictures(
    sorted_folder: Path, motion_index: Path, tmp_path: Path
) -> None:
    shutil.copytree(sorted_folder, tmp_path / "c")  # of three clusters
    succeeds("cluster", motion_index, "--out", tmp_path / "c", "--count", 2)
    assert sorted(p.name for p in (tmp_path / "c" / "clusters").iterdir()) == ["0.jpg", "0.mp4", "1.jpg", "1.mp4"]


def test_hdbscan_and_the_default_place(motion_index: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(motion_index, tmp_path / "mine"))
    done = succeeds("cluster", copy, "--method", "hdbscan", "--least", 3, "--map", "tsne")
    assert "HDBSCAN" in done.out and (tmp_path / "mine-clusters" / "segments.csv").is_file()


def test_an_index_named_by_a_dot_has_a_place_beside_it(
    motion_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("NUM_OUTLIERS_SHOWN", "NUM_DUPLICATES_SHOWN"):  # their pictures take time
        monkeypatch.setattr(cluster_page, limit, 0)
    copy = Path(shutil.copytree(motion_index, tmp_path / "mine"))
    monkeypatch.chdir(copy / "encoder")
    succeeds("cluster", "..", "--count", 2)
    shutil.rmtree(tmp_path / "mine-clusters")
    monkeypatch.chdir(copy)
    done = succeeds("cluster", ".", "--count", 2)
    assert str(tmp_path / "mine-clusters" / "report.html") in done.out
    assert (tmp_path / "mine-clusters" / "segments.csv").is_file() and not (copy / "clusters").exists()


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
@pytest.mark.parametrize("spared", [False, True])
def test_previews_play_where_motion_is_not_spared(spared: bool, sorted_folder: Path) -> None:
    """In a real browser that is told `prefers-reduced-motion`, or not."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    if spared:
        options.add_argument("--force-prefers-reduced-motion")
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        driver.get(f"file://{sorted_folder / 'report.html'}")
        ready = "return [...document.querySelectorAll('video')].every(v => v.readyState >= 1 && v.controls)"
        assert driver.execute_script("return matchMedia('(prefers-reduced-motion: reduce)').matches") == spared
        until(lambda: driver.execute_script(ready))
        driver.execute_script("document.querySelector('video').scrollIntoView()")
        if not spared:
            until(lambda: driver.execute_script("return document.querySelector('video').currentTime > 0"))
        else:
            time.sleep(1)
            moved = "return [...document.querySelectorAll('video')].some(v => !v.paused || v.currentTime > 0)"
            assert not driver.execute_script(moved)
    finally:
        driver.quit()


def until(test: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not test():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_is_refused(motion_index: Path, tmp_path: Path) -> None:
    refused("cluster", tmp_path, says=(str(tmp_path),))
    refused("cluster", motion_index, "--out", tmp_path / "c", "--count", 10_000, says=("10000 clusters",))
    refused("cluster", motion_index, "--out", tmp_path / "c", "--doubled", 2, says=("--doubled",))
    (tmp_path / "file").write_text("")
    refused("cluster", motion_index, "--out", tmp_path / "file", says=(str(tmp_path / "file"),))


def test_examples_reach_from_the_centre_to_the_edge_and_are_of_different_videos() -> None:
    index = made_up()
    found = build_cluster_report(index, ClusterOptions(num_clusters=4))
    for number in range(4):
        members, taken = found.rank_members(number), found.pick_examples(number, 5)
        centre_D = index.vectors_ND[members].mean(axis=0)
        score_n = index.vectors_ND[members] @ centre_D
        assert (np.diff(score_n) <= 1e-6).all()
        place = [members.tolist().index(row) for row in taken]
        assert place == sorted(place) and place[0] < len(members) / 5 and place[-1] >= len(members) * 0.8 - 1
        assert len({index.rows.get_path(row) for row in taken}) == 5


def test_few_rows_are_all_examples() -> None:
    index = made_up()
    number_N = np.zeros(len(index.rows), np.int64)
    number_N[[3, 50]] = 1
    found = ClusterReport(index, Clusters(number_N, ""), np.zeros((len(index.rows), 2)), np.zeros(len(index.rows)), [])
    assert set(found.pick_examples(1, 9)) == {3, 50}


def test_frames_of_a_moment_are_its_own(tmp_path: Path) -> None:
    path = str(encode(tmp_path / "a.mp4", 100, size=(64, 96)))
    shown = read_moment(Moment(path, 1.0, 2.0))
    assert shown is not None and shown.shape == (NUM_FRAMES, HEIGHT, WIDTH, 3)
    inner = shown[:, (HEIGHT - 96) // 2 : (HEIGHT + 96) // 2]
    numbers = [number_of(frame) for frame in inner]
    assert numbers[0] == 25 and numbers[-1] == 49 and numbers == sorted(numbers)
    short = read_moment(Moment(path, 1.0, 1.12))
    assert short is not None and len(short) == NUM_FRAMES
    assert sorted({number_of(f[6:-6]) for f in short}) == [25, 26, 27]
    assert read_moment(Moment(str(tmp_path / "gone.mp4"), 0, 1)) is None
    assert read_moment(Moment(path, 50, 60)) is None


def test_a_sheet_has_a_row_a_moment_and_a_preview_a_tile_a_moment(tmp_path: Path) -> None:
    one, other = (np.full((NUM_FRAMES, HEIGHT, WIDTH, 3), shade, np.uint8) for shade in (10, 200))
    made = build_contact_sheet([one, other])
    assert made.shape == (2 * HEIGHT + 2, 6 * (WIDTH + 2) - 2, 3)
    assert (made[:HEIGHT, :WIDTH] == 10).all() and (made[-HEIGHT:, -WIDTH:] == 200).all()
    first = build_preview([one, other])[0]
    assert first.shape == (HEIGHT, 2 * WIDTH + 2, 3) and (first[:, -WIDTH:] == 200).all()
    assert write_previews([Moment(str(tmp_path / "gone.mp4"), 0, 1)], tmp_path / "0") == 0
    assert not list(tmp_path.iterdir())
    good = str(encode(tmp_path / "a.mp4", 30, draw=lambda n, w, h: picture(n, w, h)))
    assert write_previews([Moment(good, 0, 1), Moment("gone", 0, 1)], tmp_path / "0") == 1
    assert read_frames(tmp_path / "0.mp4", [0, NUM_FRAMES - 1]).shape == (2, HEIGHT, WIDTH, 3)


def test_a_map_keeps_its_proportions_and_escapes_names() -> None:
    made = draw_map(np.array([[-1.0, 0.5], [1.0, -0.5]]), np.array([0, -1]), ["a<b", "c"])
    assert 'viewBox="-103.0 -53.0 206.0 106.0"' in made and "a&lt;b" in made
    assert 'cx="-100.0" cy="-50.0"' in made


def test_what_follows_in_words() -> None:
    assert describe_transitions(0, np.array([[9, 2, 5], [0, 0, 0], [0, 0, 0]])) == "2 (5 times), 1 (2 times)"
    assert describe_transitions(1, np.array([[9, 2, 5], [0, 7, 0], [0, 0, 0]])) == ""


def test_the_library_takes_an_open_index(motion_index: Path, tmp_path: Path) -> None:
    seen = []
    found = cluster(
        open_index(motion_index), tmp_path / "c", ClusterOptions(num_clusters=2), on_progress=lambda *n: seen.append(n)
    )
    assert seen == [(1, 2), (2, 2)] and found.clusters.num_clusters == 2
