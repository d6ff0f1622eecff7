"""An index of motion and looks: how its rows weigh both, against sums by hand; and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commands import refused, succeeds
from image_models import save_image_model, save_video_model

import unreel
from unreel.errors import InputError
from unreel.indexing.index import vectors
from unreel.indexing.index.clip_index import Index, open_index
from unreel.indexing.search.query import SearchQuery
from unreel.indexing.search.results import HitOptions
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.models.encoder.row_parts import MIN_SPREAD, RowParts, compute_motion_share, load_parts, measure_weights
from unreel.models.encoder.spec import AppearanceSpec, EncoderSpec
from unreel.models.encoder.view_weights import find_slider_ends
from unreel.types import Moment
from unreel.verbs.indexing.search import search
from unreel.video.decoding import decoder
from unreel.views.view_spec import ViewSpec

NAMES = ("rgb", "residual", "appearance")


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_image_model(tmp_path_factory.mktemp("models") / "resnet")


@pytest.fixture(scope="module")
def made(small_run: Path, motion_set: Path, image_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("looks") / "index"
    succeeds("index", small_run, motion_set, "--out", out, "--hop-s", 0.3, "--appearance", image_model)
    return out


@pytest.fixture(scope="module")
def index(made: Path) -> Index:
    return open_index(made)


def split(raw_ND: np.ndarray) -> list[list[np.ndarray]]:
    """The three parts of each row, the last one of unit length and without its mean over all rows."""
    looks_ND = raw_ND[:, 256:].astype(np.float64)
    looks_ND /= np.sqrt((looks_ND**2).sum(axis=1))[:, None]
    looks_ND -= looks_ND.mean(axis=0)
    return [[row_D[:128], row_D[128:256], looks_D] for row_D, looks_D in zip(raw_ND, looks_ND, strict=True)]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / np.sqrt(one @ one) / np.sqrt(other @ other))


def test_an_inner_product_is_the_weighted_mean_of_cosines(index: Index, made: Path) -> None:
    raw_ND, weight_P = read_embeddings(made).vectors, index.parts.weight_P
    assert (
        index.views == NAMES and raw_ND.shape[1] == 2 * 128 + 16 and find_slider_ends(NAMES) == ("appearance", "motion")
    )
    assert weight_P.sum() == pytest.approx(1) and weight_P[0] == weight_P[1] > weight_P[2]
    split_N = split(raw_ND)
    for n, m in ((0, 5), (3, 40), (7, 7), (20, 41)):
        parts = zip(split_N[n], split_N[m], strict=True)
        expected = sum(weight * cosine(*pair) for weight, pair in zip(weight_P, parts, strict=True))
        assert float(index.vectors_ND[n] @ index.vectors_ND[m]) == pytest.approx(expected, abs=1e-5)


def test_weights_are_those_of_a_loop(index: Index, made: Path) -> None:
    raw_ND, content_N = read_embeddings(made).vectors, index.rows.content_N
    cosines: list[list[float]] = [[], [], []]
    likeness, split_N = [], split(raw_ND)
    for n in range(len(raw_ND)):
        for m in range(len(raw_ND)):
            if content_N[n] != content_N[m]:
                likeness.append(cosine(raw_ND[n, 256:], raw_ND[m, 256:]))
                for part, pair in zip(cosines, zip(split_N[n], split_N[m], strict=True), strict=True):
                    part.append(cosine(*pair))
    np.testing.assert_allclose(index.parts.spreads, [max(np.std(part), MIN_SPREAD) for part in cosines], rtol=1e-3)
    looks = 5 * (1 - np.mean(likeness)) ** 2
    motion = np.clip(np.mean(likeness) ** 2 / (looks + np.mean(likeness) ** 2), 0.1, 0.9)
    assert index.parts.motion_weight == pytest.approx(motion, abs=6e-3)
    motion = index.parts.motion_weight
    shares = np.array([motion / 2, motion / 2, 1 - motion]) / index.parts.spreads
    np.testing.assert_allclose(index.parts.weight_P, shares / shares.sum(), rtol=1e-6)


def test_looks_count_less_the_more_alike_everything_looks() -> None:
    shares = [compute_motion_share(likeness) for likeness in (-0.2, 0.0, 0.3, 0.46, 0.6, 0.86, 1.0)]
    assert shares == sorted(shares) and shares[0] == 0.1 and shares[-1] == 0.9
    assert compute_motion_share(0.46) == pytest.approx(0.46**2 / (5 * 0.54**2 + 0.46**2), abs=5e-3)


def test_rows_of_an_index_go_back_to_those_of_its_store(index: Index, made: Path) -> None:
    """Exactly: what was subtracted is known, and a row of a store has length 1."""
    raw_ND = read_embeddings(made).vectors
    assert len(index.parts.appearance_mean) == 16
    np.testing.assert_allclose(index.parts.to_store(np.array(index.vectors_ND)), raw_ND, atol=1e-5)
    kept = RowParts(index.parts.names, index.parts.widths, index.parts.spreads, 0.5)  # an index of before
    np.testing.assert_allclose(kept.to_store(kept.set_lengths(raw_ND)), raw_ND, atol=1e-6)


def test_a_picture_that_is_the_mean_keeps_what_it_is() -> None:
    parts = RowParts(("residual", "appearance"), (2, 2), (1.0, 1.0), 0.5, (0.6, 0.8 - 1e-9))
    row_D = parts.set_lengths(np.array([1.0, 0.0, 0.6, 0.8]))
    np.testing.assert_allclose(row_D, np.array([1.0, 0.0, 0.6, 0.8]) / 2**0.5, atol=1e-6)


def test_pictures_that_are_all_alike_lose_no_mean(tmp_path: Path) -> None:
    """The mean of equal unit vectors may be a hair longer than 1, and would leave nothing of them."""
    rng = np.random.default_rng(0)
    spec = EncoderSpec("tiny", views=ViewSpec(("rgb",), 32), appearance=AppearanceSpec("a-model", 37, ""))
    for _ in range(20):
        looks_ND = np.repeat(rng.random((1, 37)), 8, axis=0)
        parts = measure_weights(
            RowParts.make_equal(("rgb", "appearance"), (9, 37)), [rng.normal(size=(8, 9)), looks_ND], np.arange(8)
        )
        assert parts.is_measured and not parts.appearance_mean
        parts.save(tmp_path / "parts.json")
        assert load_parts(tmp_path / "parts.json", spec, 46) == parts


def test_few_contents_measure_nothing() -> None:
    equal = RowParts.make_equal(("residual", "appearance"), (4, 3))
    parts = [np.random.default_rng(0).standard_normal((8, width)) for width in (4, 3)]
    assert measure_weights(equal, parts, np.arange(8) // 2) is equal
    assert measure_weights(equal, parts, np.arange(8)) != equal
    alone = RowParts.make_equal(("rgb", "residual"), (4, 3))
    assert measure_weights(alone, parts, np.arange(8)) is alone


@pytest.mark.parametrize("motion", [0.0, 0.3, 1.0, None])
def test_the_slider_weighs_the_image_model_against_the_encoder(index: Index, made: Path, motion: float | None) -> None:
    raw_ND, spreads = read_embeddings(made).vectors, np.array(index.parts.spreads)
    position = index.parts.motion_weight if motion is None else motion
    weight_P = np.array([position / 2, position / 2, 1 - position]) / spreads
    expected, split_N = [], split(raw_ND)
    for n in range(len(raw_ND)):
        cosines = [cosine(*pair) for pair in zip(split_N[5], split_N[n], strict=True)]
        expected.append(float(weight_P / weight_P.sum() @ cosines))
    options = HitOptions(num_hits=len(raw_ND), gap_s=-1)
    hits = search(index, SearchQuery(positive_rows=(5,), motion_weight=motion, own_video_mode="keep"), options)
    score_by_row = {hit.rows[0]: hit.score for hit in hits}
    assert len(score_by_row) == len(raw_ND)
    np.testing.assert_allclose([score_by_row[n] for n in range(len(raw_ND))], expected, atol=2e-5)


def test_the_moment_of_a_row_finds_the_row(index: Index) -> None:
    for row in (0, 9):
        moment = index.rows.get_moment(row)
        best = search(index, SearchQuery((moment,), own_video_mode="keep"), HitOptions(1, gap_s=-1))[0]
        assert best.rows[0] == row and best.score > 0.999
    mixed = SearchQuery((index.rows.get_moment(0),), positive_rows=(0,), own_video_mode="keep")
    assert search(index, mixed, HitOptions(1, gap_s=-1))[0].score > 0.999


def test_a_concept_says_of_new_footage_what_it_says_in_its_index(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "index"))
    update = unreel.concept(folder, "here", unreel.MarkedMoments(rows=(0, 1)), unreel.MarkedMoments(rows=(40,)))
    rows = open_index(folder).rows
    video = rows.get_path(0)
    inside = [float(update.score_N[n]) for n in range(len(rows)) if rows.get_path(n) == video]
    matches = unreel.apply(folder / "concepts/here.json", video, min_probability=0.0, gap_s=-1.0)
    np.testing.assert_allclose(sorted(hit.score for hit in matches.moments), sorted(inside), atol=1e-4)
    counts: list[int] = []
    to_store = RowParts.to_store
    monkeypatch.setattr(vectors, "BLOCK_ROWS", 7)
    monkeypatch.setattr(RowParts, "to_store", lambda parts, block: counts.append(len(block)) or to_store(parts, block))
    again = unreel.apply(folder / "concepts/here.json", folder, min_probability=0.0, gap_s=-1.0)
    assert sum(counts) == len(rows) and max(counts) == 7  # never all rows in memory
    np.testing.assert_allclose(sorted(h.score for h in again.moments), sorted(map(float, update.score_N)), atol=1e-6)


def test_new_rows_keep_the_weights(
    small_run: Path, motion_set: Path, image_model: Path, made: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "index", ("--hop-s", 0.3, "--appearance", image_model)
    succeeds("index", small_run, motion_set / "test.txt", "--out", out, *options)
    before, kept = open_index(out), (out / "part_weights.json").read_bytes()
    succeeds("index", small_run, motion_set, "--out", out, *options)
    after = open_index(out)
    assert len(after.rows) > len(before.rows) and (out / "part_weights.json").read_bytes() == kept
    assert before.parts == after.parts != open_index(made).parts


def spoil_weights(folder: Path) -> None:
    (folder / "part_weights.json").write_text('{"spreads": [1.0], "motion_weight": 0.5}')


def lose_weights(folder: Path) -> None:
    (folder / "part_weights.json").unlink()


def rename_parts(folder: Path) -> None:
    data = json.loads((folder / "part_weights.json").read_text())
    (folder / "part_weights.json").write_text(json.dumps(data | {"names": ["rgb", "flow", "appearance"]}))


def spoil_mean(folder: Path) -> None:
    data = json.loads((folder / "part_weights.json").read_text())
    (folder / "part_weights.json").write_text(json.dumps(data | {"appearance_mean": [2.0] * 16}))


@pytest.mark.parametrize("spoil", [spoil_weights, lose_weights, rename_parts, spoil_mean])
def test_an_index_without_its_weights_is_half_an_index(
    made: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "index"))
    spoil(folder)
    with pytest.raises(InputError, match=r"part_weights.json: half an index.*run `unreel index` again"):
        open_index(folder)


def test_another_image_model_is_refused(
    small_run: Path, motion_set: Path, motion_index: Path, made: Path, tmp_path: Path
) -> None:
    other = save_image_model(tmp_path / "other", seed=1)
    base = ("index", small_run, motion_set, "--hop-s", 0.3)
    refused(*base, "--out", made, says=("holds rows made with the image model", "with none", "--appearance"))
    refused(*base, "--out", made, "--appearance", other, says=("holds rows made with the image model", str(other)))
    refused(*base[:3], "--hop-s", 0.2, "--out", motion_index, "--appearance", other, says=("without an image model",))
    out = tmp_path / "new"
    refused(
        *base,
        "--out",
        out,
        "--appearance",
        "efficientnet-lite9",
        says=("by name (efficientnet-lite2, efficientnet-lite0)",),
    )
    refused(*base, "--out", out, "--appearance", save_video_model(tmp_path / "video"), says=("a video model",))
    assert not out.exists()


def test_a_model_that_has_gone_or_changed_is_said(
    small_run: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = save_image_model(tmp_path / "model"), tmp_path / "index"
    monkeypatch.chdir(tmp_path)  # a relative path is kept as an absolute one
    succeeds("index", small_run, motion_set / "test.txt", "--out", out, "--appearance", "model")
    assert json.loads((out / "store.json").read_text())["encoder"]["appearance"]["model"] == str(model.resolve())
    video = next(motion_set.rglob("*.mp4"))
    succeeds("index", small_run, motion_set / "test.txt", "--out", out, "--appearance", "./model/")
    monkeypatch.chdir("/")
    succeeds("search", out, video)
    succeeds("index", out / "encoder", motion_set / "test.txt", "--out", out)  # which has its image model
    save_image_model(model, seed=5)
    refused("search", out, video, says=("other weights or features of", str(model), "put it back"))
    again = ("index", small_run, motion_set / "test.txt", "--out", out, "--appearance", model)
    refused(*again, says=("with other weights of it", str(model)))
    shutil.rmtree(model)
    refused("search", out, video, says=("need an image model that can't be loaded", str(model), "put it back"))


def test_embeddings_have_both(small_run: Path, motion_set: Path, image_model: Path, tmp_path: Path) -> None:
    options = ("--num-clips", 2, "--appearance", image_model)
    succeeds("embed", small_run, motion_set / "test.txt", "--out", tmp_path / "one.parquet", *options)
    succeeds("embed", small_run, motion_set / "test.txt", "--out", tmp_path / "store", *options)
    file, store = read_embeddings(tmp_path / "one.parquet"), read_embeddings(tmp_path / "store")
    assert file.vectors.shape == (8, 2 * 128 + 16)
    order, store_order = np.argsort(file.paths), np.argsort(store.paths)
    np.testing.assert_array_equal(file.vectors[order], store.vectors[store_order])
    for part in np.split(file.vectors[0], [128, 256]):
        assert np.linalg.norm(part) == pytest.approx(np.sqrt(1 / 3), abs=1e-5)


def test_a_moment_is_a_moment_without_looks_too(motion_index: Path) -> None:
    """Nothing changes for an index of an encoder alone."""
    opened = open_index(motion_index)
    assert opened.parts == RowParts.make_equal(("rgb", "residual"), (128, 128))
    assert not (motion_index / "part_weights.json").exists() or opened.parts.motion_weight == 0.5
    assert opened.parts.set_lengths(opened.vectors_ND) is opened.vectors_ND
    assert isinstance(opened.rows.get_moment(0), Moment)


def test_the_scale_knows_the_default_weight(index: Index) -> None:
    assert index.scale is not None
    assert sorted(map(float, index.scale.likeness)) == sorted({0, 0.5, 1, index.parts.motion_weight})


def test_an_index_of_few_videos_measures_its_weights_when_it_has_more(
    small_run: Path, motion_set: Path, image_model: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "index", ("--hop-s", 0.3, "--appearance", image_model)
    succeeds("index", small_run, next(motion_set.rglob("*.mp4")), "--out", out, *options)
    few = open_index(out).parts
    assert not few.is_measured and few.motion_weight == 0.5
    succeeds("index", small_run, motion_set / "test.txt", "--out", out, *options)
    assert open_index(out).parts.is_measured


def test_pictures_are_compared_by_looks(made: Path, index: Index, motion_index: Path, tmp_path: Path) -> None:
    moment = index.rows.get_moment(3)
    frame = decoder.read_frames(moment.path, [2], (64, 64))[0]
    picture, strip = tmp_path / "one.png", tmp_path / "strip.png"
    cv2.imwrite(str(picture), frame[..., ::-1])
    cv2.imwrite(str(strip), np.concatenate([frame, 255 - frame], axis=1)[..., ::-1])
    done, looks = (
        succeeds("search", made, picture, "--json"),
        succeeds("search", made, picture, "--json", "--motion", 0),
    )
    assert done.out == looks.out and "one.png: nothing moves in it, so looks alone were compared" in done.err
    assert "--from" not in done.err
    assert "motion was compared, so the hits say little" in succeeds("search", made, picture, "--motion", 0.5).err
    assert "nothing moves" not in succeeds("search", made, strip).err
    mixed = succeeds("search", made, picture, strip, "--json")
    assert mixed.out != succeeds("search", made, picture, strip, "--json", "--motion", 0).out
    assert "nothing moves" in succeeds("search", motion_index, picture).err


def test_heads_have_looks_beside_them_too(
    motion_set: Path, small: dict[str, Any], image_model: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "index"
    unreel.pretrain(motion_set / "train.txt", run, "dual", quiet=True, steps=2, monitor_epochs=0, segments=4, **small)
    succeeds("index", run, motion_set / "test.txt", "--out", out, "--by", "heads", "--appearance", image_model)
    opened = open_index(out)
    assert opened.views == ("clip", "series", "appearance") and sum(opened.parts.widths) == opened.vectors_ND.shape[1]
    best = search(opened, SearchQuery((opened.rows.get_moment(1),), own_video_mode="keep"), HitOptions(1, gap_s=-1))[0]
    assert best.rows[0] == 1 and best.score > 0.999
