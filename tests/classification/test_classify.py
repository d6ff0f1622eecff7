"""`unreel classify`: a folder that suffices, a CSV that goes on, a sentence for every mistake, and its page."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import call, refused, succeeds
from videos import encode

import unreel
from unreel.classification import classifier_folder
from unreel.classification.classifier import Classifier
from unreel.classification.classifier_folder import load_classifier
from unreel.classification.clip_features import join_features, read_log_probabilities
from unreel.classification.prediction_store import ScoredClips
from unreel.classification.predictions import Predictions
from unreel.classification.training import ClassifierOptions
from unreel.classification.training_labels import load_training_labels
from unreel.embedding import list_whole_videos, load_encoder
from unreel.errors import InputError, UnreelError
from unreel.indexing.store import part_writer
from unreel.indexing.store.clip_sampling import EvenSampling
from unreel.io.checksums import write_checksums
from unreel.report.pages.classifier_page import write_classifier_page
from unreel.views.inference_views import make_inference_views

FAST = ("--num-clips", 2)
FINETUNED = ("--kind", "finetuned", "--epochs", 1, "--min-steps", 2, "--batch-size", 4)
CLASSES = ["drift_left", "drift_up", "loom_in", "spin_clockwise"]


@pytest.fixture(scope="module")
def classifier(small_run: Path, motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear one of the four classes. Who writes into it takes a copy."""
    out = tmp_path_factory.mktemp("classifiers") / "linear"
    said = succeeds("classify", "train", small_run, motion_set, "--out", out, *FAST)
    assert "test, by video" in said.out and "4 classes (linear)" in said.out and f"report: {out}" in said.out
    return out


@pytest.fixture
def copied(classifier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(classifier, tmp_path / "classifier"))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def list_file(path: Path, videos: list[tuple[Path, str]]) -> Path:
    path.write_text("path,label\n" + "".join(f"{video},{label}\n" for video, label in videos))
    return path


# Training.


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--kind", "knn"), ("--kind", "attentive"), FINETUNED], ids=str)
def test_every_kind_scores_alike_before_and_after_it_was_saved(
    options: tuple[object, ...], small_run: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Classifier] = []
    real = classifier_folder.save_classifier

    def save(made: Classifier, folder: Path) -> None:
        kept.append(made)
        real(made, folder)

    monkeypatch.setattr("unreel.verbs.classification.train_classifier.save_classifier", save)
    succeeds("classify", "train", small_run, motion_set, "--out", tmp_path / "c", *FAST, *options)
    again, (made,) = load_classifier(tmp_path / "c"), kept
    height, width = made.encoder.spec.views.resize_hw
    shape = (3, made.encoder.spec.clip.total_frames, height, width, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    roots = [one.scorer.extract_parts(frames)["classes"] for one in (made, again)]
    assert torch.equal(*roots) and roots[0].square().sum(dim=1).numpy() == pytest.approx(1.0)
    assert again.calibrations == made.calibrations and again.classes == CLASSES
    assert (tmp_path / "c/report.html").read_text().count("<svg") == 4, "clips and videos, held out and test"


def test_a_fine_tuned_classifier_computes_what_its_network_does(
    small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    made = unreel.train_classifier(
        small_run, motion_set, tmp_path / "c", "finetuned", num_clips=1, epochs=1, min_steps=3, batch_size=4
    )
    assert made.encoder.spec.views.names == load_encoder(small_run).spec.views.names[:1]
    start, trained = load_encoder(small_run).backbone.state_dict(), made.encoder.backbone.state_dict()
    assert any(not torch.equal(start[name], trained[name]) for name in start)
    frames = torch.randint(0, 256, (2, 9, *made.encoder.spec.views.resize_hw, 3), dtype=torch.uint8)
    (view,) = make_inference_views(frames, made.encoder.spec.views, 1).values()
    with torch.no_grad():
        pooled = made.encoder.backbone.eval()(view).mean(dim=(2, 3, 4))
        logits = pooled @ made.head.weight_CD.T + made.head.bias_C  # type: ignore[attr-defined]
    found = read_log_probabilities(made.scorer.extract_parts(frames)["classes"].numpy())
    assert found == pytest.approx(logits.log_softmax(dim=1).double().numpy(), abs=1e-4)
    assert made.about["training"]["values"]["steps"] >= 3


def test_test_videos_change_nothing_but_the_figures_of_the_test(
    small_run: Path, motion_set: Path, classifier: Path, tmp_path: Path
) -> None:
    lines = [line for line in (motion_set / "test.txt").read_text().splitlines() if line]
    wrong = [(motion_set / line, CLASSES[n % 4]) for n, line in enumerate(lines)]
    (tmp_path / "train.txt").write_text(
        "\n".join(str(motion_set / line) for line in (motion_set / "train.txt").read_text().split())
    )
    rows = [(Path(line), Path(line).parent.name) for line in (tmp_path / "train.txt").read_text().split()]
    labels, test = list_file(tmp_path / "train.csv", rows), list_file(tmp_path / "test.csv", wrong)
    succeeds("classify", "train", small_run, labels, "--test", test, "--out", tmp_path / "c", *FAST)
    before, after = (json.loads((folder / "classifier.json").read_text()) for folder in (classifier, tmp_path / "c"))
    assert after["calibration"] == before["calibration"]
    assert after["measured"]["held_out"] == before["measured"]["held_out"]
    assert after["measured"]["test"] != before["measured"]["test"]
    tensors = [safetensors.torch.load_file(f / "classifier.safetensors") for f in (classifier, tmp_path / "c")]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.slow
def test_final_trains_on_everything_with_the_encoder_of_the_package(motion_set: Path, tmp_path: Path) -> None:
    made = unreel.train_classifier("base", motion_set, tmp_path / "c", "knn", num_clips=1, final=True)
    assert len(made.head.class_N) == 24 and set(made.about["measured"]) == {"held_out", "confusion", "threshold"}  # type: ignore[attr-defined]
    assert made.about["measured"]["held_out"]["video"]["videos"] == 24
    assert "there were no test videos" in (tmp_path / "c/report.html").read_text()


def test_marks_of_an_index_become_classes(motion_index: Path, small_run: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(motion_index, tmp_path / "index"))
    opened = unreel.open_index(index)
    by_label: dict[str, list[int]] = {}
    for row in range(len(opened.rows)):
        by_label.setdefault(opened.rows.get_label(row), []).append(row)
    for name in ("drift_left", "drift_up"):
        no = unreel.MarkedMoments(tuple(by_label["loom_in"][:4]))
        unreel.concept(index, name, unreel.MarkedMoments(tuple(by_label[name])), no)
    said = succeeds("classify", "train", small_run, index, "--out", tmp_path / "c").out
    made = load_classifier(tmp_path / "c")
    assert made.classes == ["drift_left", "drift_up", "none of these"]
    assert "calibrated, by mark" in said and "by video" not in said and "by clip" not in said
    page = (tmp_path / "c/report.html").read_text()
    assert "marked moments, each scored by a classifier without the marks of its video" in page
    assert "hole videos" not in page and "arked moments of" not in page
    marked = [*by_label["drift_left"], *by_label["drift_up"], *by_label["loom_in"][:4]]
    num_videos = len({opened.rows.get_path(row) for row in marked})
    assert f"of {num_videos} training videos were in pre-training" in " ".join(made.about["warnings"])
    assert made.about["training"]["num_clips"] == 1, "a mark is as long as a clip"
    assert made.about["training"]["per_class"]["none of these"] == 4
    one = load_training_labels(index, concepts=("drift_up",))
    assert one.classes == ["drift_up", "none of these"] and one.has_moments and not one.test
    assert [n for n in one.notes if n.startswith("none of these (4): fewer than 5 marks of a class")], one.notes
    refused("classify", "train", small_run, index, "--out", tmp_path / "x", "--concepts", "spin", says=("spin",))
    unreel.concept(index, "drift_up", unreel.MarkedMoments((by_label["drift_left"][0],)))
    refused("classify", "train", small_run, index, "--out", tmp_path / "x", says=("is marked yes for",))
    said = made.predict(index)
    assert len(said) == len(opened.rows), "rows of an index by the same encoder need no decoding"


@pytest.mark.slow
def test_appearance_stands_beside_the_rows(
    small_run: Path, motion_set: Path, tmp_path: Path, image_model: Path
) -> None:
    looks = ("--appearance", image_model, "--num-clips", 1)
    succeeds("classify", "train", small_run, motion_set, "--out", tmp_path / "c", "--kind", "knn", *looks)
    saved = json.loads((tmp_path / "c/classifier.json").read_text())["parts"]
    assert saved["names"][-1] == "appearance" and len(set(saved["spreads"])) > 1
    said = load_classifier(tmp_path / "c").predict(motion_set / "test.txt", per="video", num_clips=1)
    assert len(said) == 8 and said.probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    refused(
        "classify", "train", small_run, motion_set, "--out", tmp_path / "x", "--kind", "attentive", *looks,
        says=("--kind linear or knn",),
    )  # fmt: skip


@pytest.fixture
def image_model(tmp_path: Path) -> Path:
    from image_models import save_image_model

    return save_image_model(tmp_path / "image model")


def test_a_bad_video_and_a_class_of_one_are_named(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    rows = [(path, path.parent.name) for path in sorted(motion_set.glob("drift_[lu]*/*.mp4"))[::2]]
    rows.append((sorted(motion_set.glob("loom_in/*.mp4"))[0], "loom_in"))
    labels = list_file(tmp_path / "labels.csv", [*rows, (tmp_path / "bad.mp4", "drift_up")])
    said = succeeds("classify", "train", small_run, labels, "--out", tmp_path / "c", "--num-clips", 1)
    assert "left out" in said.err and "bad.mp4: not a video" in said.err
    assert "bad.mp4" in (tmp_path / "c/report.html").read_text()
    assert "loom_in (1): fewer than 5 training videos of a class" in said.err
    assert "note: No video of loom_in was held out" in said.err
    assert load_classifier(tmp_path / "c").classes == ["drift_left", "drift_up", "loom_in"]
    labels = list_file(tmp_path / "labels.csv", [rows[0], rows[-1], (tmp_path / "bad.mp4", "spin")])
    refused("classify", "train", small_run, labels, "--out", tmp_path / "x", says=("no video of spin", "bad.mp4"))


def test_nothing_to_hold_out_is_said(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    first = [sorted(motion_set.glob(f"{name}/*.mp4"))[0] for name in CLASSES[:2]]
    few = list_file(tmp_path / "few.csv", [(path, path.parent.name) for path in first])
    said = succeeds("classify", "train", small_run, few, "--out", tmp_path / "few", "--num-clips", 1)
    assert "not calibrated" in said.err
    assert {c.threshold for c in load_classifier(tmp_path / "few").calibrations.values()} == {0.0}


def test_options_by_their_names(small_run: Path, tmp_path: Path) -> None:
    made = ClassifierOptions.from_named(kind="finetuned", seed=2, concepts=["jump"], recipe="iic", lr=0.1)
    assert (made.kind, made.seed, made.finetuning) == ("finetuned", 2, {"recipe": "iic", "lr": 0.1})
    with pytest.raises(InputError, match=r"unknown option of a classifier 'num_clip'. Did you mean 'num_clips'\?"):
        unreel.train_classifier(small_run, tmp_path, tmp_path / "c", num_clip=2)
    with pytest.raises(InputError, match="lr: options of a fine-tuned network; add --kind finetuned"):
        unreel.train_classifier(small_run, tmp_path, tmp_path / "c", lr=0.1)
    with pytest.raises(InputError, match=r"unknown option of predictions 'hop'. Did you mean 'hop_s'\?"):
        unreel.apply_classifier(small_run, tmp_path, tmp_path / "a.csv", hop=2)
    with pytest.raises(InputError, match="a threshold is a probability between 0 and 1, got 3"):
        unreel.apply_classifier(small_run, tmp_path, tmp_path / "a.csv", threshold=3)
    assert not list(tmp_path.iterdir())


def test_labels_that_cannot_be_used(small_run: Path, motion_set: Path, classifier: Path, tmp_path: Path) -> None:
    train = ("classify", "train", small_run)
    videos, out = sorted(motion_set.glob("*/*.mp4")), ("--out", tmp_path / "c")
    one = list_file(tmp_path / "one.csv", [(videos[0], "a"), (videos[1], "a")])
    refused(*train, one, *out, says=("two classes or more", "there is a"))
    gone = list_file(tmp_path / "gone.csv", [(videos[0], "a"), (tmp_path / "gone.mp4", "b")])
    refused(*train, gone, *out, says=("1 video listed but not found", "gone.mp4"))
    bare = list_file(tmp_path / "bare.csv", [(videos[0], "a"), (videos[7], "")])
    refused(*train, bare, *out, says=("without a class", videos[7].name))
    twice = list_file(tmp_path / "twice.csv", [(videos[0], "a"), (videos[0], "b")])
    refused(*train, twice, *out, says=("two labels",))
    both = list_file(tmp_path / "both.csv", [(videos[0], "a"), (videos[7], "b")])
    refused(*train, both, "--test", both, *out, says=("in both lists",))
    refused(*train, tmp_path / "nothing", *out, says=("nothing",))
    refused(*train, motion_set, "--out", classifier, says=("exists already",))
    refused(*train, motion_set, *out, "--epochs", 3, says=("--kind finetuned",))
    refused(*train, motion_set, *out, "--concepts", "spin", says=("is no index",))
    refused("classify", "trian", says=("classify train",))
    assert not (tmp_path / "c").exists()


# The folder.


def test_other_folders_and_other_versions_are_refused(copied: Path, small_run: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "a.csv")
    apply = ("classify", "apply")
    refused(*apply, small_run, tmp_path, *out, says=("no classifier there", "unreel classify train"))
    (copied / "classifier.json").write_text(
        (copied / "classifier.json").read_text().replace('"unreel_classifier": 1', '"unreel_classifier": 7')
    )
    refused(*apply, copied, tmp_path, *out, says=("format 7", "written by unreel '0.1.0'", "format 1"))
    (copied / "classifier.json").write_text("{")
    refused(*apply, copied, tmp_path, *out, says=("classifier.json: can't be read", "train it again"))


@pytest.mark.parametrize("name", ["classifier.json", "classifier.safetensors", "encoder.json", "encoder.safetensors"])
def test_a_changed_byte_is_found(name: str, copied: Path) -> None:
    data = bytearray((copied / name).read_bytes())
    data[-3] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(UnreelError, match=r"damaged|can't be read"):
        load_classifier(copied)
    (copied / name).unlink()
    with pytest.raises(UnreelError, match=r"is missing|no classifier there"):
        load_classifier(copied)


def test_half_a_classifier_is_refused(copied: Path) -> None:
    (copied / "sums.json").unlink()
    with pytest.raises(UnreelError, match="half a classifier"):
        load_classifier(copied)


def spoil_shape(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    tensors["weight"] = tensors["weight"][:, :-1].contiguous()


def spoil_numbers(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    tensors["mean"][0] = float("nan")


def spoil_classes(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    data["classes"] = data["classes"][:-1]


def spoil_kind(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    data["kind"] = "forest"


def spoil_calibration(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    del data["calibration"]["clip"]


def spoil_tensors(tensors: dict[str, torch.Tensor], data: dict[str, Any]) -> None:
    tensors.clear()


@pytest.mark.parametrize(
    "spoil", [spoil_shape, spoil_numbers, spoil_classes, spoil_kind, spoil_calibration, spoil_tensors]
)
def test_what_does_not_fit_is_a_sentence_even_with_right_checksums(spoil: Any, copied: Path) -> None:
    tensors = safetensors.torch.load_file(copied / "classifier.safetensors")
    data = json.loads((copied / "classifier.json").read_text())
    spoil(tensors, data)
    (copied / "classifier.safetensors").write_bytes(safetensors.torch.save(tensors))
    (copied / "classifier.json").write_text(json.dumps(data))
    write_checksums(copied, ["classifier.json", "classifier.safetensors", "encoder.json", "encoder.safetensors"])
    with pytest.raises(UnreelError, match=str(copied)):
        load_classifier(copied)


def test_the_folder_is_its_encoders_checkpoint_and_says_what_made_it(classifier: Path, small_run: Path) -> None:
    state, own = (load_encoder(path).backbone.state_dict() for path in (small_run, classifier))
    assert all(torch.equal(state[name], own[name]) for name in state)
    record = json.loads((classifier / "provenance.json").read_text())
    assert record["command"].startswith("unreel classify train") and record["data"]["videos"] == 24
    assert record["settings"]["kind"] == "linear" and record["encoder"]["path"] == str(small_run)
    assert "date" not in json.loads((classifier / "classifier.json").read_text())


# Applying.


def test_the_csv_has_seconds_class_and_probability(classifier: Path, motion_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "said.csv"
    said = succeeds("classify", "apply", classifier, motion_set / "test.txt", "--out", out)
    rows = read(out)
    assert list(rows[0]) == ["video", "start_s", "end_s", "class", "probability", "likeliest"]
    assert len({row["video"] for row in rows}) == 8 and f"{len(rows)} rows of 8 videos" in said.out
    threshold = load_classifier(classifier).calibrations["clip"].threshold
    for row in rows:
        assert 0 <= float(row["start_s"]) < float(row["end_s"]) <= 0.97 and row["likeliest"] in CLASSES
        is_sure = float(row["probability"]) >= threshold
        assert (
            row["class"] == (row["likeliest"] if is_sure else "none of these")
            or abs(float(row["probability"]) - threshold) < 1e-4
        )
    assert rows == sorted(rows, key=lambda row: (row["video"], float(row["start_s"])))
    assert [r["class"] for r in read_again(classifier, motion_set, out, "--threshold", 0)] == [
        r["likeliest"] for r in rows
    ]
    assert {r["class"] for r in read_again(classifier, motion_set, out, "--threshold", 1)} == {"none of these"}
    refused("classify", "apply", classifier, motion_set, "--out", out, "--threshold", 2, says=("between 0 and 1",))


def read_again(classifier: Path, motion_set: Path, out: Path, *options: object) -> list[dict[str, str]]:
    succeeds("classify", "apply", classifier, motion_set / "test.txt", "--out", out, *options)
    return read(out)


def test_a_video_is_the_mean_of_its_calibrated_clips(classifier: Path, motion_set: Path) -> None:
    loaded = load_classifier(classifier)
    said = loaded.predict(motion_set / "test.txt", per="video", num_clips=3)
    calibration = loaded.calibrations["video"]
    videos, _ = list_whole_videos(motion_set / "test.txt")
    truth = {}
    for number, root_VC, _ in EvenSampling("clip", 3).embed_videos(loaded.scorer, videos, 1, lambda _f: None):
        clips = [p ** (1 / calibration.clip_temperature) for p in root_VC.astype(np.float64) ** 2]
        mean = np.mean([p / p.sum() for p in clips], axis=0) ** (1 / calibration.temperature)
        truth[videos[number].path] = mean / mean.sum()
    assert len(said) == 8
    for path, p_C in zip(said.paths, said.probabilities, strict=True):
        assert p_C == pytest.approx(truth[path], abs=1e-4)


def test_the_figures_of_the_test_are_those_of_predict(classifier: Path, motion_set: Path) -> None:
    loaded = load_classifier(classifier)
    said = loaded.predict(motion_set / "test.txt", per="video", num_clips=2, threshold=0.0)
    right = np.array([Path(path).parent.name == label for path, label in zip(said.paths, said.labels, strict=True)])
    found = loaded.about["measured"]["test"]["video"]
    assert found["accuracy"] == pytest.approx(100 * right.mean(), abs=0.01)
    assert found["confidence"] == pytest.approx(100 * said.probabilities.max(axis=1).mean(), abs=0.1)
    best = said.probabilities.max(axis=1) >= loaded.calibrations["video"].threshold
    assert found["kept"] == pytest.approx(100 * best.mean(), abs=0.01)


def test_rows_of_an_index_give_what_its_videos_give(classifier: Path, motion_index: Path, motion_set: Path) -> None:
    loaded = load_classifier(classifier)
    indexed, decoded = loaded.predict(motion_index), loaded.predict(motion_set, hop_s=0.2)
    assert indexed.paths == decoded.paths and np.allclose(indexed.start_s, decoded.start_s)
    assert indexed.probabilities == pytest.approx(decoded.probabilities, abs=1e-3)


def test_joined_features_are_rows_or_plain() -> None:
    parts = {"a": np.array([[3.0, 4.0]]), "b": np.array([[0.0, 2.0]])}
    assert join_features("rows", parts)[0] == pytest.approx(np.array([0.6, 0.8, 0.0, 1.0]) / np.sqrt(2))
    assert join_features("map", parts).tolist() == [[3.0, 4.0, 0.0, 2.0]]


@pytest.fixture
def videos(motion_set: Path, tmp_path: Path) -> Path:
    """Five videos of a folder that may change."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for n, path in enumerate(sorted(motion_set.glob("*/*.mp4"))[:5]):
        shutil.copy(path, folder / f"{n}.mp4")
    return folder


def test_it_goes_on_after_a_kill_with_the_same_csv(
    classifier: Path, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = ("classify", "apply", classifier, videos, "--out")
    succeeds(*apply, tmp_path / "whole.csv")
    monkeypatch.setattr(part_writer, "MAX_PART_VIDEOS", 1)
    real, embedded = ScoredClips.embed_videos, list[str]()

    def embed(*args: Any, **options: Any) -> Iterator[Any]:
        for item in real(*args, **options):
            if len(embedded) == 3:
                raise KeyboardInterrupt
            embedded.append(args[2][item.video_index].path)
            yield item

    monkeypatch.setattr(ScoredClips, "embed_videos", embed)
    with pytest.raises(AssertionError, match="code=130"):
        succeeds(*apply, tmp_path / "killed.csv")
    assert not (tmp_path / "killed.csv").exists()
    first, embedded[:] = list(embedded), []
    succeeds(*apply, tmp_path / "killed.csv")
    assert len(first) == 3 and len(embedded) == 2 and not set(first) & set(embedded)
    assert (tmp_path / "killed.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_a_training_that_is_stopped_leaves_nothing_and_says_so(
    small_run: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ("classify", "train", small_run, motion_set, "--out", tmp_path / "moves", *FAST)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("unreel.verbs.classification.train_classifier.fit_classifier", stop)
        stopped = call(*train)
    assert stopped.code == 130 and "moves is written at the end alone, so the same command begins anew" in stopped.err
    assert not list(tmp_path.iterdir())
    succeeds(*train)


def test_the_same_command_takes_new_files_and_drops_those_that_are_gone(
    classifier: Path, videos: Path, motion_set: Path, tmp_path: Path
) -> None:
    apply = ("classify", "apply", classifier, videos, "--out", tmp_path / "said.csv")
    succeeds(*apply)
    shutil.copy(sorted(motion_set.glob("*/*.mp4"))[9], videos / "new.mp4")
    (videos / "0.mp4").unlink()
    (videos / "bad.mp4").write_bytes(b"no video" * 100)
    said = succeeds(*apply)
    assert {Path(row["video"]).name for row in read(tmp_path / "said.csv")} == {
        "new.mp4", "1.mp4", "2.mp4", "3.mp4", "4.mp4"
    }  # fmt: skip
    assert "left out" in said.err and "bad.mp4: not a video" in said.err and "1 file left out" in said.out
    assert "bad.mp4" in (tmp_path / "said.store/left_out.csv").read_text()


def test_a_video_shorter_than_a_clip_is_one_row_to_its_end(classifier: Path, tmp_path: Path) -> None:
    encode(tmp_path / "short.mp4", 5)
    said = load_classifier(classifier).predict(tmp_path / "short.mp4")
    assert len(said) == 1 and said.start_s[0] == 0 and 0 < said.end_s[0] <= 0.2


def test_a_csv_of_something_else_and_a_store_of_another_classifier_are_left_alone(
    classifier: Path, copied: Path, videos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    apply = ("classify", "apply", classifier, videos, "--out")
    refused(*apply, other, says=("holds something else",))
    assert other.read_text() == "a,b\n1,2\n"
    refused(*apply, tmp_path / "said.parquet", says=("ends in .csv",))
    succeeds(*apply, tmp_path / "said.csv")
    refused(*apply, tmp_path / "said.csv", "--per", "video", says=("give the same options",))
    (copied / "sums.json").write_text((copied / "sums.json").read_text() + "\n")  # as if it were another one
    refused("classify", "apply", copied, videos, "--out", tmp_path / "said.csv", says=("choose another --out",))
    shutil.rmtree(tmp_path / "said.store")
    refused(*apply, tmp_path / "said.csv", says=("said.store", "choose another --out"))
    refused("classify", "apply", classifier, tmp_path / "none", "--out", tmp_path / "b.csv", says=("none",))


def test_predictions_are_a_table(classifier: Path, motion_set: Path) -> None:
    p_NC = np.array([[0.9, 0.1]] * 7 + [[0.4, 0.6]], np.float32)
    said = Predictions([f"{n}.mp4" for n in range(8)], np.zeros(8), np.ones(8), p_NC, ["a", "b"], threshold=0.7)
    assert repr(said).startswith("8 predictions, 2 classes") and "... 3 more" in repr(said)
    assert said.labels == ["a"] * 7 + ["none of these"] and said.likeliest[-1] == "b"
    assert said._repr_html_().count("<tr>") == 9 and said.list_rows()[7]["probability"] == pytest.approx(0.6)
    with pytest.raises(InputError, match="unit of predictions"):
        load_classifier(classifier).predict(motion_set, per="frame")  # type: ignore[arg-type]


# The page.


def test_the_page_says_what_was_measured(copied: Path) -> None:
    page = (copied / "report.html").read_text()
    found = json.loads((copied / "classifier.json").read_text())
    test = found["measured"]["test"]["video"]
    assert f"{test['accuracy']:.1f} %" in page and f"ECE {test['ece']:.1f} %" in page
    assert "none of these" in page and "classes held out in turn" in page and "drift_left" in page
    assert f"{100 * found['calibration']['video']['threshold']:.1f} %" in page
    assert "http://" not in page and "https://" not in page, "one file, no network"
    found["classes"][0], found["measured"] = "a <b>class", {"threshold": found["measured"]["threshold"]}
    (copied / "classifier.json").write_text(json.dumps(found))
    page = write_classifier_page(copied).read_text()
    assert "<svg" not in page
    (copied / "classifier.json").write_text("{}")
    with pytest.raises(UnreelError, match="train the classifier again"):
        write_classifier_page(copied)
