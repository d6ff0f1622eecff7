"""Frozen baselines: tiny random models of transformers on disk, against calling them by hand; nothing is fetched."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unreel.errors import InputError
from unreel.evaluation.baselines.external_baselines import build_frozen_extractor, load_external_model
from unreel.evaluation.feature_extraction import FeatureExtractor
from unreel.evaluation.video_features import FeatureKey
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.frozen.frozen_model import sample_frame_indices
from unreel.models.frozen.image_preprocessing import (
    HALF_STATISTICS,
    ImagePreprocessor,
    center_crop,
    read_preprocessor,
    resize_images,
)
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.perturb import PERTURBATIONS
from unreel.views.photometric import IMAGENET_MEAN, IMAGENET_STD
from unreel.views.view_spec import ViewSpec

transformers = pytest.importorskip("transformers")

SPEC = EncoderSpec("tiny", clip=ClipSpec(num_frames=8, lead_in=1), views=ViewSpec(size=32))
HW = SPEC.views.resize_hw
TOKENS = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
PLACES = TOKENS | {"image_size": 32, "patch_size": 8}
TEXT = TOKENS | {
    "vocab_size": 30,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 8,
}
CLIP = TOKENS | {"image_size": 32, "num_frames": 8}
VIDEO = CLIP | {"patch_size": 8}


def model_of(kind: str) -> Any:
    """A tiny model with random weights, in eval mode."""
    t = transformers
    make = {
        "vit": lambda: t.ViTForImageClassification(t.ViTConfig(**PLACES)),
        "clip": lambda: t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=PLACES, projection_dim=8)),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=PLACES)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**PLACES)),
        "resnet": lambda: t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
        "videomae": lambda: t.VideoMAEModel(t.VideoMAEConfig(**VIDEO, tubelet_size=2)),
        "timesformer": lambda: t.TimesformerModel(t.TimesformerConfig(**VIDEO)),
        "vivit": lambda: t.VivitModel(t.VivitConfig(**CLIP, tubelet_size=[2, 8, 8])),
        "vjepa2": lambda: t.VJEPA2Model(t.VJEPA2Config(
            patch_size=8, crop_size=32, frames_per_clip=8, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
            mlp_ratio=2, pred_hidden_size=12, pred_num_attention_heads=2, pred_num_hidden_layers=1,
        )),
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make[kind]().eval()
        for parameter in model.parameters():  # no zeros and ones, so that every weight matters
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def features_by_hand(model: Any, kind: str, pictures_VTCHW: torch.Tensor) -> torch.Tensor:
    """What each model's feature is, spelt out."""
    if kind in ("videomae", "timesformer", "vivit"):
        tokens = model(pixel_values=pictures_VTCHW).last_hidden_state
        return tokens.mean(1) if kind == "videomae" else tokens[:, 0]
    if kind == "vjepa2":
        return model(pixel_values_videos=pictures_VTCHW, skip_predictor=True).last_hidden_state.mean(1)
    found = []
    for clip in pictures_VTCHW:
        for picture in clip:
            if kind == "vit":
                found.append(model.vit(picture[None]).last_hidden_state[0, 0])
            elif kind in ("clip", "siglip"):
                found.append(model.vision_model(picture[None]).pooler_output[0])
            elif kind == "dinov2":
                found.append(model(picture[None]).last_hidden_state[0, 0])
            elif kind == "resnet":
                found.append(model(picture[None]).last_hidden_state[0].mean((1, 2)))
            else:
                found.append(model(picture[None]).pooler_output[0])
    return torch.stack(found).reshape(len(pictures_VTCHW), -1, len(found[0])).mean(1)


def pictures_by_pillow(clips: np.ndarray, frames: list[int], resample: int, mean: Any, std: Any) -> torch.Tensor:
    """Shorter side to 32, the centre 32 x 32, by Pillow."""
    clips_made = []
    for clip in clips[:, frames]:
        pictures = []
        for frame in clip:
            width = int(32 * HW[1] / HW[0])
            small = np.asarray(Image.fromarray(frame).resize((width, 32), resample))[:, (width - 32) // 2 :][:, :32]
            pictures.append(((small / 255 - np.array(mean)) / np.array(std)).transpose(2, 0, 1))
        clips_made.append(np.stack(pictures))
    return torch.from_numpy(np.stack(clips_made)).float()


def load_external_extractor(*args: Any, **options: Any) -> tuple[str, FeatureExtractor]:
    """The row name of a model and its extractor."""
    model = load_external_model(*args, **options)
    return model.name, build_frozen_extractor(model, model.name)


def random_clips(clips: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth enough that rounding does not decide."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (clips * 9, 6, 8, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(p).resize((HW[1], HW[0]), 3)) for p in small]
    return np.stack(large).reshape(clips, 9, *HW, 3)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the network fails."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the network was asked for")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def saved(model: Any, folder: Path, **settings: Any) -> Path:
    model.save_pretrained(folder)
    if settings:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
SETTINGS = {"image_mean": MEAN, "image_std": STD, "resample": 2, "size": {"shortest_edge": 32}, "crop_size": 32}


@pytest.mark.parametrize("kind", ["vit", "clip", "siglip", "dinov2", "resnet", "convnext"])
def test_image_models_are_the_mean_over_frames(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, clips = model_of(kind), random_clips()
    settings = SETTINGS | ({"crop_pct": 1.0} if kind in ("resnet", "convnext") else {})
    folder = saved(model, tmp_path / "a model", **settings)
    capfd.readouterr()
    name, source = load_external_extractor(folder, SPEC)
    assert name == f"frozen a model ({kind})" and capfd.readouterr() == ("", "")
    ((block, views),) = source(clips, 0).items()
    assert block == FeatureKey(name, "pooled") and list(views) == ["rgb"] and views["rgb"].dtype == np.float32
    with torch.no_grad():
        pictures = pictures_by_pillow(clips, [2, 4, 6, 8], Image.Resampling.BILINEAR, MEAN, STD)
        expected = features_by_hand(model, kind, pictures).numpy()
    assert views["rgb"].shape == expected.shape and expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(views["rgb"], expected, atol=0.02 * np.abs(expected).max())  # one level in places
    np.testing.assert_array_equal(views["rgb"], source(clips, 0)[block]["rgb"])


@pytest.mark.parametrize("kind", ["videomae", "timesformer", "vivit", "vjepa2"])
def test_video_models_see_the_clip(kind: str, tmp_path: Path) -> None:
    model, clips = model_of(kind), random_clips()
    name, source = load_external_extractor(saved(model, tmp_path / "m", **SETTINGS), SPEC)
    views = source(clips, 0)[FeatureKey(name, "pooled")]
    with torch.no_grad():
        pictures = pictures_by_pillow(clips, list(range(1, 9)), Image.Resampling.BILINEAR, MEAN, STD)
        expected = features_by_hand(model, kind, pictures).numpy()
    np.testing.assert_allclose(views["rgb"], expected, atol=0.02 * np.abs(expected).max())
    reverse = source(PERTURBATIONS["reversed"](clips, 1, 0, 0), 0)[FeatureKey(name, "pooled")]["rgb"]
    assert np.abs(reverse - views["rgb"]).max() > 1e-4


def test_image_models_know_no_order(tmp_path: Path) -> None:
    name, source = load_external_extractor(saved(model_of("vit"), tmp_path / "m", **SETTINGS), SPEC, num_frames=8)
    clips = random_clips()
    intact, shuffled = (
        source(c, 0)[FeatureKey(name, "pooled")]["rgb"] for c in (clips, PERTURBATIONS["shuffled"](clips, 1, 0, 0))
    )
    np.testing.assert_allclose(intact, shuffled, atol=1e-5)


def test_clips_are_taken_in_parts_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, source = load_external_extractor(saved(model_of("dinov2"), tmp_path / "m", **SETTINGS), SPEC)
    whole = source(random_clips(), 0)[FeatureKey(name, "pooled")]["rgb"]
    monkeypatch.setattr("unreel.models.frozen.frozen_model.IMAGES_PER_BATCH_ON_CPU", 8)
    np.testing.assert_allclose(source(random_clips(), 0)[FeatureKey(name, "pooled")]["rgb"], whole, atol=1e-5)


def test_video_models_take_shorter_clips_if_they_can_else_repeat_frames(tmp_path: Path) -> None:
    spec = EncoderSpec("tiny", clip=ClipSpec(num_frames=5, lead_in=1), views=ViewSpec(size=32))
    clips = random_clips()[:, :6]
    for kind, frames in (("videomae", [1, 2, 4, 5]), ("timesformer", [1, 1, 2, 3, 3, 4, 5, 5])):
        model = model_of(kind)
        folder = saved(model, tmp_path / kind, **SETTINGS)
        name, source = load_external_extractor(folder, spec)
        found = source(clips, 0)[FeatureKey(name, "pooled")]["rgb"]
        if kind == "videomae":  # the same network, built for four frames
            model = transformers.VideoMAEModel.from_pretrained(folder, num_frames=4).eval()
        with torch.no_grad():
            pictures = pictures_by_pillow(clips, frames, Image.Resampling.BILINEAR, MEAN, STD)
            expected = features_by_hand(model, kind, pictures).numpy()
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_spread_is_even_and_stays_inside() -> None:
    assert sample_frame_indices(16, 4).tolist() == [2, 6, 10, 14] and sample_frame_indices(16, 16).tolist() == list(
        range(16)
    )
    assert sample_frame_indices(1, 4).tolist() == [0] * 4 and sample_frame_indices(3, 1).tolist() == [1]


# What becomes of a picture


@pytest.mark.parametrize("mode,resample", [("bilinear", 2), ("bicubic", 3)])
@pytest.mark.parametrize("size", [(20, 31), (80, 64), 17, 90])
def test_resizing_is_pillows_within_a_level(mode: str, resample: int, size: Any) -> None:
    picture = random_clips(1)[0, 0]
    got = (
        resize_images(torch.from_numpy(picture).permute(2, 0, 1)[None].float(), size, mode)[0].permute(1, 2, 0).numpy()
    )
    hw = size if isinstance(size, tuple) else (size, int(size * HW[1] / HW[0]))
    expected = np.asarray(Image.fromarray(picture).resize((hw[1], hw[0]), resample)).astype(float)
    assert got.shape == expected.shape and np.abs(got - expected).max() <= 1
    assert np.abs(got - expected).mean() < 0.3  # Pillow rounds between the two directions
    nearest = Image.fromarray(picture).resize((hw[1], hw[0]), 0)
    assert np.abs(np.asarray(nearest).astype(float) - expected).max() > 3  # the twin can fail


def test_cropping_takes_the_centre() -> None:
    pictures = torch.arange(5.0)[:, None] * 10 + torch.arange(7.0)
    assert center_crop(pictures[None, None], (3, 3))[0, 0].tolist() == [[12, 13, 14], [22, 23, 24], [32, 33, 34]]
    with pytest.raises(InputError, match=r"5 x 7 can't be cropped to 6 x 7"):
        center_crop(pictures[None, None], (6, 7))


def preparation_of(folder: Path, kind: str, file: str = "preprocessor_config.json", **said: Any) -> ImagePreprocessor:
    (folder / file).write_text(json.dumps(said))
    return read_preprocessor(folder, kind, 30)


def test_settings_of_published_models(tmp_path: Path) -> None:
    """The shapes that these files have: numbers in old ones, names of sides in new ones."""
    old_clip = preparation_of(tmp_path, "clip_vision_model", size=224, crop_size=224, do_center_crop=True, resample=3)
    new_clip = preparation_of(
        tmp_path, "clip_vision_model", size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, resample=3
    )
    assert old_clip == new_clip and (old_clip.resize_to, old_clip.crop_size, old_clip.interpolation) == (
        224,
        (224, 224),
        "bicubic",
    )
    old_vit = preparation_of(tmp_path, "vit", size=224, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    new_vit = preparation_of(tmp_path, "vit", size={"height": 224, "width": 224}, resample=2)
    assert old_vit == new_vit and (old_vit.resize_to, old_vit.crop_size, old_vit.interpolation) == (
        (224, 224),
        None,
        "bilinear",
    )
    dino = preparation_of(tmp_path, "dinov2", size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224})
    assert (dino.resize_to, dino.crop_size, dino.mean) == (256, (224, 224), IMAGENET_MEAN)
    resnet = preparation_of(tmp_path, "resnet", size={"shortest_edge": 224}, crop_pct=0.875)
    assert (resnet.resize_to, resnet.crop_size) == (256, (224, 224))
    assert preparation_of(tmp_path, "convnext", size=384).resize_to == (384, 384)
    vivit = preparation_of(tmp_path, "vivit", rescale_factor=1 / 127.5, offset=True, size={"shortest_edge": 256})
    white = vivit(torch.full((1, 1, 30, 30, 3), 255, dtype=torch.uint8))
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    assert torch.allclose(white[0, 0, :, 0, 0], (1.0 - mean) / std, atol=1e-5)


def test_defaults_and_switches(tmp_path: Path) -> None:
    bare = read_preprocessor(tmp_path, "dinov2", 30)
    assert bare == ImagePreprocessor(30, (30, 30), 1 / 255, 0.0, IMAGENET_MEAN, IMAGENET_STD, "bicubic")
    assert read_preprocessor(tmp_path, "siglip_vision_model", 30) == ImagePreprocessor(
        (30, 30), None, 1 / 255, 0.0, *HALF_STATISTICS, "bicubic"
    )
    off = preparation_of(
        tmp_path, "dinov2", do_resize=False, do_center_crop=False, do_rescale=False, do_normalize=False
    )
    clips = torch.randint(0, 256, (2, 3, 8, 9, 3), dtype=torch.uint8)
    assert torch.equal(off(clips), clips.permute(0, 1, 4, 2, 3).float())


def test_newer_files_keep_the_settings_deeper(tmp_path: Path) -> None:
    nested = {"size": {"shortest_edge": 40}, "crop_size": {"height": 36, "width": 36}, "image_mean": None}
    found = preparation_of(tmp_path, "dinov2", "processor_config.json", image_processor=nested, processor_class="X")
    assert (found.resize_to, found.crop_size, found.mean) == (40, (36, 36), IMAGENET_MEAN)


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    for said in ({"resample": 9}, {"image_mean": "grey"}, {"size": {"longest_edge": 3}}, {"image_std": [1.0]}):
        with pytest.raises(InputError, match=r"preprocessor_config.json: not a valid"):
            preparation_of(tmp_path, "dinov2", **said)
    for text in ("{", "[1]"):
        (tmp_path / "preprocessor_config.json").write_text(text)
        with pytest.raises(InputError, match=r"preprocessor_config.json: can't be read"):
            read_preprocessor(tmp_path, "dinov2", 30)


# Folders that can't be a baseline, or nearly


@pytest.mark.parametrize("kind", ["vit", "videomae"])
def test_fields_of_the_library_and_of_older_versions_are_left_alone(kind: str, tmp_path: Path) -> None:
    """Published configurations carry much that has nothing to do with the network; some could name code to fetch."""
    folder = saved(model_of(kind), tmp_path / "m", **SETTINGS)
    name, source = load_external_extractor(folder, SPEC)
    before = source(random_clips(), 0)[FeatureKey(name, "pooled")]["rgb"]
    said = json.loads((folder / "config.json").read_text())
    said |= {"top_k": 50, "torchscript": False, "video_size": [1], "auto_map": {"AutoModel": "evil--code.Model"}}
    (folder / "config.json").write_text(json.dumps(said))
    name, source = load_external_extractor(folder, SPEC)
    np.testing.assert_array_equal(source(random_clips(), 0)[FeatureKey(name, "pooled")]["rgb"], before)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no config.json there"):
        load_external_extractor(tmp_path, SPEC)
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(
            InputError, match=r"neither a folder with a model.*by name \(efficientnet-lite2, efficientnet-lite0\)"
        ):
            load_external_extractor(path, SPEC)
    for text in ("{", "[]", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match=r"config.json: not the configuration of a model"):
            load_external_extractor(tmp_path, SPEC)
    (tmp_path / "config.json").write_text('{"model_type": "vit", "hidden_size": "wide"}')
    with pytest.raises(InputError, match=r"config.json: not the configuration of a vit"):
        load_external_extractor(tmp_path, SPEC)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="'bert' is not a vision or video model that unreel knows. Known: clip, "):
        load_external_extractor(tmp_path, SPEC)


def test_weights_that_are_missing_pickled_or_of_another_size(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(model_of("dinov2"), tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    kept = {n: w for n, w in weights.items() if n not in ("layernorm.weight", "embeddings.mask_token")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 weights are missing, the first is layernorm.weight"):
        load_external_extractor(folder, SPEC)
    save_file(weights | {"layernorm.weight": torch.zeros(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="the weights can't be read"):
        load_external_extractor(folder, SPEC)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="they must be safetensors"):
        load_external_extractor(folder, SPEC)


def test_pictures_that_do_not_fit_the_network(tmp_path: Path) -> None:
    folder = saved(model_of("vit"), tmp_path / "m", **SETTINGS | {"crop_size": 24})
    with pytest.raises(
        InputError, match="the model fails on a clip prepared as ImagePreprocessor.*crop_size=\\(24, 24\\)"
    ):
        load_external_extractor(folder, SPEC)
    with pytest.raises(InputError, match="at least 1 frame of each clip, got num_frames=0"):
        load_external_extractor(folder, SPEC, num_frames=0)


def test_without_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(model_of("vit"), tmp_path / "m")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install 'unreel\\[transformers\\]'"):
        load_external_extractor(folder, SPEC)


def test_the_librarys_logging_is_left_as_it_was(tmp_path: Path) -> None:
    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_external_extractor(saved(model_of("vit"), tmp_path / "m", **SETTINGS), SPEC)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
