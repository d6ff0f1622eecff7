"""Retrieval against slow explicit twins, and the traps of the released protocol."""

import dataclasses
import io
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluations import recall_at_k, retrieve
from rich.console import Console

from unreel.embedding import encode, pool_clips
from unreel.errors import InputError, NonFiniteError
from unreel.evaluation import leakage
from unreel.evaluation.baselines import trivial_baselines
from unreel.evaluation.baselines.chance import compute_chance_recall
from unreel.evaluation.baselines.trivial_baselines import FRAME_DIFFERENCE, MEAN_FRAME
from unreel.evaluation.baselines.untrained_encoder import build_untrained_encoder
from unreel.evaluation.feature_extraction import FeatureExtractor, extract_features
from unreel.evaluation.metrics.cosine_ranking import (
    QueryGallery,
    compute_average_precisions,
    find_nearest,
    rank_first_correct,
)
from unreel.evaluation.protocols.retrieval import RetrievalProtocol, build_retrieval_protocol
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import FeatureKey
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.decoding.writer import write_video
from unreel.video.loading import clip_dataset
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

KS = (1, 2, 5, 20, 50)
Lists = tuple[list[Instance], list[Instance]]
PROTOCOL = build_retrieval_protocol("iic", num_clips=3, ks=(1, 5, 20))


def slow_recall(
    query: np.ndarray, gallery: np.ndarray, query_labels: list[str], gallery_labels: list[str], k: int
) -> float:
    """A double loop in double precision; of equally near videos the first of the gallery wins."""
    hits = 0
    for q, label in zip(query.astype(np.float64), query_labels, strict=True):
        scores = []
        for n, g in enumerate(gallery.astype(np.float64)):
            scores.append((-np.float32(q @ g / (np.linalg.norm(q) * np.linalg.norm(g))), n))
        hits += any(gallery_labels[n] == label for _, n in sorted(scores)[:k])
    return 100 * hits / len(query)


def labelled(rng: np.random.Generator, count: int, classes: int) -> list[str]:
    return [f"c{c}" for c in rng.integers(0, classes, count)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_recall_agrees_with_a_double_loop(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    query, gallery = rng.standard_normal((23, 6)), rng.standard_normal((31, 6))
    if ties:  # few directions, exactly representable, so that many cosines are equal
        query, gallery = np.eye(6)[rng.integers(0, 3, 23)], np.eye(6)[rng.integers(0, 4, 31)] * 4
    labels = labelled(rng, 23, 5), labelled(rng, 31, 4)
    query, gallery = query.astype(np.float32), gallery.astype(np.float32)
    got = recall_at_k(query, gallery, *labels, KS)
    assert got == pytest.approx({k: slow_recall(query, gallery, *labels, k) for k in KS})
    assert list(got.values()) == sorted(got.values())
    assert got[50] == pytest.approx(100 * np.mean(np.isin(*labels)))  # a k above the gallery means all of it


def test_ties_do_not_depend_on_where_a_video_stands() -> None:
    """Equal vectors must tie although BLAS works on blocks; then the order of the gallery decides."""
    rng = np.random.default_rng(0)
    one = rng.standard_normal(777).astype(np.float32)
    gallery = np.repeat(one[None], 1031, axis=0)
    labels = ["right" if n == 700 else "wrong" for n in range(1031)]
    query = rng.standard_normal((5, 777)).astype(np.float32)
    assert rank_first_correct(QueryGallery(query, gallery), ["right"] * 5, labels).tolist() == [700] * 5


def test_collapsed_features_are_not_rewarded() -> None:
    """With `>=` in the wrong place a constant encoder reaches 100 %."""
    labels = [f"c{n // 10}" for n in range(100)]
    assert recall_at_k(np.ones((100, 4)), np.ones((100, 4)), labels, labels, [1, 10]) == {1: 10.0, 10: 10.0}


def test_nearest_agrees_with_sorting() -> None:
    rng = np.random.default_rng(1)
    query, gallery = rng.standard_normal((300, 5)).astype(np.float32), rng.standard_normal((40, 5)).astype(np.float32)
    order, score = find_nearest(QueryGallery(query, gallery), 5)
    q, g = query.astype(np.float64), gallery.astype(np.float64)
    full = q @ g.T / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(g, axis=1)
    np.testing.assert_array_equal(order, np.argsort(-full, axis=1)[:, :5])
    np.testing.assert_allclose(score, -np.sort(-full, axis=1)[:, :5], atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_agrees_with_a_double_loop_and_with_scikit_learn(ties: bool) -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(4)
    query, gallery = rng.standard_normal((9, 5)), rng.standard_normal((30, 5))
    if ties:
        query, gallery = np.eye(5)[rng.integers(0, 3, 9)], np.eye(5)[rng.integers(0, 3, 30)]
    labels = [*labelled(rng, 8, 4), "only here"], labelled(rng, 30, 4)
    got = compute_average_precisions(QueryGallery(query, gallery), *labels)
    assert got[-1] == 0.0
    for q in range(8):
        cosine = gallery @ query[q] / np.linalg.norm(query[q]) / np.linalg.norm(gallery, axis=1)
        order = sorted(range(30), key=lambda n: (-np.float32(cosine[n]), n))
        right = [labels[1][n] == labels[0][q] for n in order]
        precisions = [sum(right[: i + 1]) / (i + 1) for i in range(30) if right[i]]
        assert got[q] == pytest.approx(np.mean(precisions))
        if not ties:
            truth = np.asarray(labels[1]) == labels[0][q]
            assert got[q] == pytest.approx(average_precision_score(truth, cosine))


def test_random_features_are_near_chance() -> None:
    rng = np.random.default_rng(2)
    labels = labelled(rng, 1500, 10), labelled(rng, 600, 10)
    got = recall_at_k(rng.standard_normal((1500, 64)), rng.standard_normal((600, 64)), *labels, [1, 5, 20])
    expected = compute_chance_recall(*labels, [1, 5, 20])
    for k, value in expected.items():
        assert abs(got[k] - value) < 4, (k, got, expected)  # binomial sd at most 1.3


def test_chance_agrees_with_simulated_rankings() -> None:
    rng = np.random.default_rng(3)
    gallery_labels = ["a"] * 1 + ["b"] * 4 + ["c"] * 15
    query_labels = ["a"] * 5 + ["b"] * 3 + ["c"] * 1 + ["only in test"] * 2
    hits: Counter[int] = Counter()
    for _ in range(3000):
        ranking = rng.permutation(np.array(gallery_labels))
        for k in (1, 5, 20):
            hits[k] += sum(label in ranking[:k] for label in query_labels)
    chance = compute_chance_recall(query_labels, gallery_labels, [1, 5, 20, 50])
    for k in (1, 5, 20):
        assert abs(chance[k] - 100 * hits[k] / 3000 / len(query_labels)) < 1
    assert chance[1] == pytest.approx(100 * (5 * 1 / 20 + 3 * 4 / 20 + 15 / 20) / 11)
    assert chance[20] == chance[50] == pytest.approx(100 * 9 / 11)


def test_empty_lists_are_refused() -> None:
    with pytest.raises(InputError, match="0 and 3"):
        recall_at_k(np.ones((0, 2)), np.ones((3, 2)), [], ["a"] * 3, [1])
    with pytest.raises(InputError, match="test list is empty"):
        leakage.check_train_test([Instance("a", 0, 0, 1, "x")], [])
    with pytest.raises(InputError, match=r"no class.*b\.mp4"):
        leakage.check_train_test([Instance("a", 0, 0, 1, "x")], [Instance("b.mp4", 0, 0, 1)])


def test_bad_protocols_are_refused() -> None:
    with pytest.raises(InputError, match="conv6"):
        RetrievalProtocol(layer="conv6")
    with pytest.raises(InputError, match="k=1"):
        RetrievalProtocol(ks=(0, 1))


def scene(path: Path, kind: str, seed: int) -> Instance:
    """24 frames of a moving square (one class per direction) on a ground of noise."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(0, 90, (1, 32, 48, 3), dtype=np.uint8), 24, axis=0)
    row, column = rng.integers(0, 16), rng.integers(0, 12)
    for t in range(24):
        y, x = (row, column + t) if kind == "across" else ((row + t) % 24, column)
        frames[t, y : y + 8, x : x + 8] = 230
    write_video(path, frames, fps=12)
    return Instance(str(path), seed, 0.0, float("inf"), kind)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Lists:
    folder = tmp_path_factory.mktemp("videos")
    made = [scene(folder / f"{n:02d}.mp4", "across" if n % 2 else "down", n) for n in range(13)]
    return made[:8], made[8:]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(1)
    return Encoder(EncoderSpec("tiny", "iic", ClipSpec(8, lead_in=1), ViewSpec(size=32))).eval()


def test_every_video_counts_and_is_decoded_once(
    videos: Lists, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    read = clip_dataset.read_frames

    def counted(path: str, *args: object) -> np.ndarray:
        reads[path] += 1
        return read(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_dataset, "read_frames", counted)
    steps: list[tuple[int, int]] = []
    result = retrieve(encoder, *videos, PROTOCOL, progress=lambda done, total: steps.append((done, total)))
    assert result.protocol["queries"] == 5 and result.protocol["gallery"] == 8
    assert reads == {i.path: 1 for i in [*videos[0], *videos[1]]}
    assert steps == [(n, 13) for n in range(1, 14)]
    assert list(result.rows) == [
        "chance", "mean frame (pixels)", "colour histogram", "frame difference", "untrained encoder", "rgb", "residual",
        "joint",
    ]  # fmt: skip
    for name, row in result.rows.items():
        recalls = [row["R@1"], row["R@5"], row["R@20"]]
        assert recalls == sorted(recalls) and recalls[-1] == 100.0
        assert list(row) == ["R@1", "R@5", "R@20"] + ["mAP"] * (name != "chance")
    assert set(result.floors) == set(result.rows) - {"rgb", "residual", "joint"}
    assert any("R@20" in w and "8 videos" in w for w in result.warnings)


def test_rows_are_the_mean_over_clips_of_raw_features(videos: Lists, encoder: Encoder) -> None:
    result = retrieve(encoder, *videos, PROTOCOL, floors=False)
    assert list(result.rows) == ["chance", "rgb", "residual", "joint"]
    manual: dict[str, list[list[np.ndarray]]] = {"rgb": [[], []], "residual": [[], []], "joint": [[], []]}
    for part, instances in enumerate(videos):
        for item in encode(encoder, instances, num_clips=3, layer="conv5"):
            both = np.concatenate([item.features["rgb"], item.features["residual"]], axis=1)  # raw, before averaging
            for name, clips in {**item.features, "joint": both}.items():
                manual[name][part].append(np.mean(clips, axis=0))
    labels = [i.label for i in videos[1]], [i.label for i in videos[0]]
    for name, (gallery, query) in manual.items():
        assert result.protocol["dimensions"][name] == len(gallery[0])
        for k in PROTOCOL.ks:
            assert result.rows[name][f"R@{k}"] == pytest.approx(
                slow_recall(np.stack(query), np.stack(gallery), *labels, k)
            )
    order, score = find_nearest(QueryGallery(np.stack(manual["joint"][1]), np.stack(manual["joint"][0])), 5)
    for n, shown in enumerate(result.extras["neighbours"]):
        assert shown["path"] == videos[1][n].path
        assert [h["path"] for h in shown["hits"]] == [videos[0][g].path for g in order[n]]
        assert [h["score"] for h in shown["hits"]] == pytest.approx(score[n].tolist(), abs=1e-4)


def test_pixel_floors_agree_with_arithmetic(videos: Lists, encoder: Encoder) -> None:
    """A flat picture keeps its value, and a flicker of 30 grey levels has a mean difference of 30."""
    clips = np.full((2, 9, 36, 48, 3), 100, np.uint8)
    clips[1, 1::2] = 130
    mean = trivial_baselines.build_mean_frame_extractor(encoder.spec)(clips, 0)[FeatureKey(MEAN_FRAME, "pixels")][
        "pixels"
    ]
    moved = trivial_baselines.build_difference_extractor(encoder.spec)(clips, 0)[
        FeatureKey(FRAME_DIFFERENCE, "pixels")
    ]["pixels"]
    assert mean.shape == moved.shape == (2, 32 * 32 * 3)
    np.testing.assert_allclose(mean[0], 100 / 255, atol=1e-6)
    np.testing.assert_allclose(mean[1], 115 / 255, atol=1e-6)  # without the frame of the lead-in
    np.testing.assert_allclose(moved[0], 0, atol=1e-6)
    np.testing.assert_allclose(moved[1], 30 / 255, atol=1e-6)


def test_the_untrained_floor_is_seeded_and_leaves_the_seed_alone(encoder: Encoder) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, two = build_untrained_encoder(encoder), build_untrained_encoder(encoder)
    assert torch.equal(torch.rand(3), expected)
    first, second = one.backbone.state_dict(), two.backbone.state_dict()
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], v) for n, v in encoder.backbone.state_dict().items())
    assert one.spec.method == "untrained" and not one.backbone.training


def test_a_query_in_the_gallery_is_refused(videos: Lists, encoder: Encoder, tmp_path: Path) -> None:
    train, test = videos
    with pytest.raises(InputError, match="find itself"):
        retrieve(encoder, train, [*test, train[3]], PROTOCOL)
    copy = tmp_path / "copy.mp4"
    shutil.copy(train[3].path, copy)
    twins = [*test, Instance(str(copy), 99, 0, 1, "down")]
    leakage.check_train_test(train, twins)  # a copy elsewhere is no reason to refuse a data set, but it is said
    assert any(
        "content of a training video" in said and "copy.mp4" in said
        for said in leakage.collect_warnings(twins, train, [1])
    )
    link = tmp_path / "link.mp4"
    link.symlink_to(train[4].path)
    with pytest.raises(InputError, match="find itself"):
        leakage.check_train_test(train, [Instance(str(link), 99, 0, 1, "down")])


def test_unreadable_files_and_lonely_classes_are_said(videos: Lists, encoder: Encoder, tmp_path: Path) -> None:
    train, test = videos
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    odd = Instance(test[0].path, 50, 0.0, float("inf"), "unheard of")
    result = retrieve(encoder, [*train, Instance(str(broken), 51, 0, 1, "down")], [odd, *test[1:]], PROTOCOL)
    assert [(f["list"], f["path"]) for f in result.protocol["left_out"]] == [("training", str(broken))]
    assert result.protocol["gallery"] == 8
    assert any("unheard of" in w and "can't be right" in w for w in result.warnings)
    assert result.rows["joint"]["R@20"] == pytest.approx(80.0)
    with pytest.raises(InputError, match="no video of the test list"):
        retrieve(encoder, train, [Instance(str(broken), 51, 0, 1, "down")], PROTOCOL)


def constant(value: float) -> FeatureExtractor:
    return lambda frames, number: {FeatureKey("bad", "pooled"): {"x": np.full((len(frames), 4), value)}}


def test_nan_features_are_refused(videos: Lists, encoder: Encoder) -> None:
    """No comparison with NaN is true, so a broken encoder would rank its own class first."""
    with pytest.raises(NonFiniteError, match=r"00\.mp4"):
        extract_features(videos[0], encoder.spec, [constant(np.nan)], 2)


def test_result_travels_as_json_and_as_a_table(videos: Lists, encoder: Encoder) -> None:
    result = retrieve(encoder, *videos, PROTOCOL)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert Result.from_json(data) == result
    assert data["protocol"]["distance"] == "cosine" and data["protocol"]["layer"] == "conv5"
    console = Console(width=140, file=io.StringIO())
    with console.capture() as printed:
        console.print(result.to_table())
    assert "untrained encoder" in printed.get() and "5 queries against 8 gallery" in printed.get()


def test_the_protocols_of_the_literature_differ_in_layer_and_centring(videos: Lists, encoder: Encoder) -> None:
    """GAP features centred by the gallery's own mean, by hand; the released way is said to look at the test set."""
    train, test = videos
    made = [
        np.stack([np.concatenate(list(item.features.values()), 1).mean(0) for item in encode(encoder, part, 3)])
        for part in videos
    ]
    labels = [i.label for i in test], [i.label for i in train]
    for centring in ("none", "gallery", "own"):
        protocol = build_retrieval_protocol("dualvar", centring=centring, num_clips=3, ks=(1, 2, 5))
        result = retrieve(encoder, train, test, protocol, floors=False)
        gallery, query = made[0].astype(np.float64), made[1].astype(np.float64)
        mean = {"none": (0, 0), "gallery": (gallery.mean(0),) * 2, "own": (gallery.mean(0), query.mean(0))}[centring]
        for k in protocol.ks:
            wanted = slow_recall(query - mean[1], gallery - mean[0], *labels, k)
            assert result.rows["joint"][f"R@{k}"] == pytest.approx(wanted)
        assert any("each answer then depends on" in w for w in result.warnings) == (centring == "own")
        assert "layer pooled" in result.caption and result.protocol["centring"] == centring
    with pytest.raises(InputError, match="dualvar, iic, unreel"):
        build_retrieval_protocol("vcop")


@pytest.mark.parametrize("centring", ["none", "gallery"])
def test_the_default_compares_what_embed_and_index_compare(videos: Lists, encoder: Encoder, centring: str) -> None:
    """Each view of unit length, after centring, by hand; without centring they are the rows of `embed`."""
    train, test = videos
    protocol = build_retrieval_protocol("unreel", num_clips=3, ks=(1, 2, 5), centring=centring)
    result = retrieve(encoder, train, test, protocol)
    parts = [[pool_clips(item, "video")[0][0] for item in encode(encoder, part, 3)] for part in videos]
    gallery, query = (np.stack(rows).astype(np.float64) for rows in parts)
    if centring == "gallery":
        views = [[item.features for item in encode(encoder, part, 3)] for part in videos]
        means = [np.stack([[v.mean(0) for v in item.values()] for item in part]).astype(np.float64) for part in views]
        centred = [rows_NVD - means[0].mean(0) for rows_NVD in means]
        gallery, query = ((c / np.linalg.norm(c, axis=2, keepdims=True)).reshape(len(c), -1) for c in centred)
    labels = [i.label for i in test], [i.label for i in train]
    for k in protocol.ks:
        assert result.rows["joint"][f"R@{k}"] == pytest.approx(slow_recall(query, gallery, *labels, k))
    assert result.protocol["layer"] == "pooled" and "unit length" in result.protocol["joint"]


def test_clips_can_ask_by_themselves(videos: Lists, encoder: Encoder) -> None:
    train, test = videos
    protocol = build_retrieval_protocol("iic", layer="pooled", unit="clip", num_clips=3, ks=(1, 4))
    result = retrieve(encoder, train, test, protocol)
    assert set(result.floors) == set(result.rows) - {"rgb", "residual", "joint"} and len(result.floors) == 5
    made = []
    for part in videos:
        clips = [np.concatenate(list(item.features.values()), 1) for item in encode(encoder, part, 3)]
        made.append((np.concatenate(clips), [i.label for i in part for _ in range(3)]))
    (gallery, gallery_labels), (query, query_labels) = made
    for k in protocol.ks:
        wanted = slow_recall(query, gallery, query_labels, gallery_labels, k)
        assert result.rows["joint"][f"R@{k}"] == pytest.approx(wanted)
    assert "each clip is a query" in result.caption and len(query) == 15


def test_three_crops_stand_beside_each_other(videos: Lists, encoder: Encoder) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 9, *encoder.spec.views.resize_hw, 3), dtype=np.uint8)
    one = encoder.extract_layers(torch.from_numpy(frames), ("pooled",))["pooled"]["rgb"]
    three = encoder.extract_layers(torch.from_numpy(frames), ("pooled",), 3)["pooled"]["rgb"]
    assert len(three) == 6
    torch.testing.assert_close(three[1::3], one)  # the middle one is the centre
    left = encoder.extract_layers(torch.from_numpy(np.ascontiguousarray(frames[:, :, :, :32])), ("pooled",))
    torch.testing.assert_close(three[0::3], left["pooled"]["rgb"])
    right = encoder.extract_layers(torch.from_numpy(np.ascontiguousarray(frames[:, :, :, -32:])), ("pooled",))
    torch.testing.assert_close(three[2::3], right["pooled"]["rgb"])
    result = retrieve(encoder, *videos, RetrievalProtocol(num_clips=2, num_crops=3, ks=(1,), unit="clip"))
    assert "3 crops" in result.caption and "left, centre and right" in result.protocol["crop"]


def test_intervals_hold_the_figure_and_know_groups(videos: Lists, encoder: Encoder) -> None:
    train, test = videos
    grouped = [dataclasses.replace(i, group=f"g{n % 2}") for n, i in enumerate(test)]
    result = retrieve(encoder, train, grouped, PROTOCOL)
    for name, cells in result.intervals.items():
        for column, (low, high) in cells.items():
            assert low - 1e-9 <= result.rows[name][column] <= high + 1e-9
            low_g, high_g = result.extras["intervals_over_groups"][name][column]
            assert low_g - 1e-9 <= result.rows[name][column] <= high_g + 1e-9
    again = retrieve(encoder, train, grouped, PROTOCOL)
    assert again.to_json() == result.to_json()
