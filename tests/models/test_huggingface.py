"""The video models of transformers as backbones."""

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from unreel.embedding import load_encoder
from unreel.errors import InputError
from unreel.models.backbones.huggingface import TRANSFORMER_KINDS
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import build_backbone
from unreel.views.view_spec import ViewSpec


def test_without_transformers_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'unreel\[transformers\]'"):
        build_backbone("transformers:videomae")


SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


CLIP = {"size": 32, "num_frames": 4}


TOKENS = {"videomae": 2 * 2 * 2, "vjepa2": 2 * 2 * 2, "timesformer": 4 * 2 * 2, "vivit": 2 * 2 * 2}


def small_config(kind: str) -> dict[str, Any]:
    more = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    return SMALL | (more if kind == "vjepa2" else {"intermediate_size": 32})


def small(kind: str) -> nn.Module:
    torch.manual_seed(1)
    return build_backbone(f"transformers:{kind}", **CLIP, config=small_config(kind))


@pytest.fixture
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", TRANSFORMER_KINDS)
def test_a_video_transformer_obeys_the_protocol(transformers: Any, kind: str) -> None:
    network = small(kind)
    map_BDTHW = network(torch.rand(2, 3, 4, 32, 32))
    assert map_BDTHW.shape == (2, 24, TOKENS[kind], 1, 1) and network.num_features == 24
    assert map_BDTHW.dtype == torch.float32 and torch.isfinite(map_BDTHW).all()
    (map_BDTHW * torch.randn_like(map_BDTHW)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    copy = deepcopy(network).eval()  # a momentum teacher is one
    assert torch.equal(copy(torch.ones(1, 3, 4, 32, 32)), network.eval()(torch.ones(1, 3, 4, 32, 32)))
    with pytest.raises(InputError, match="built for clips of 4 frames of 32x32, not for 8 x 32 x 32"):
        network(torch.rand(1, 3, 8, 32, 32))


@pytest.mark.parametrize("kind", TRANSFORMER_KINDS)
def test_tokens_are_the_librarys_own_without_cls(transformers: Any, kind: str) -> None:
    """Frames and channels in the right order: against the library's model, called as its documentation says."""
    network, clips = small(kind).eval(), torch.rand(1, 3, 4, 32, 32)
    whole = transformers.AutoModel.from_config(network.network.config).eval()
    part = whole.encoder if kind == "vjepa2" else whole
    left = part.load_state_dict(network.network.state_dict(), strict=False)
    assert not left.unexpected_keys and all(n.startswith("pooler") for n in left.missing_keys)
    with torch.no_grad():
        frames = clips.permute(0, 2, 1, 3, 4)
        output = whole(frames, skip_predictor=True) if kind == "vjepa2" else whole(pixel_values=frames)
        tokens = output.last_hidden_state[:, TRANSFORMER_KINDS[kind].num_prefix_tokens :]
        assert torch.allclose(network(clips)[..., 0, 0].transpose(1, 2), tokens, atol=1e-6)
    assert tokens.shape[1] == TOKENS[kind]


def test_defaults_are_the_librarys_at_the_given_size(transformers: Any) -> None:
    with torch.device("meta"):
        network = build_backbone("transformers:videomae", size=112, num_frames=8)
    assert network.num_features == 768 and len(network.network.encoder.layer) == 12
    config = network.rebuild_options["config"]
    assert (config["image_size"], config["num_frames"]) == (112, 8)


def write_folder(transformers: Any, kind: str, folder: Path) -> Any:
    """A model as transformers saves it, for clips of `CLIP`."""
    spec = TRANSFORMER_KINDS[kind]
    size = {spec.size_field: 32, spec.frames_field: 4}
    torch.manual_seed(2)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **small_config(kind), **size))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", TRANSFORMER_KINDS)
def test_weights_of_a_local_folder_and_a_checkpoint_without_it(transformers: Any, tmp_path: Path, kind: str) -> None:
    folder, checkpoint = tmp_path / "weights", tmp_path / "checkpoint"
    model = write_folder(transformers, kind, folder)
    encoder = Encoder(EncoderSpec(f"transformers:{folder}", views=ViewSpec(size=32), options=CLIP)).eval()
    weights = (model.encoder if kind == "vjepa2" else model).state_dict()
    assert all(torch.equal(weights[n], t) for n, t in encoder.backbone.network.state_dict().items())

    checkpoint.mkdir()
    save_encoder(encoder, checkpoint)
    folder.rename(tmp_path / "elsewhere")
    loaded = load_encoder(checkpoint)
    assert loaded.spec == encoder.spec
    clips = torch.rand(1, 3, 4, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.backbone(clips), encoder.backbone(clips))


@pytest.mark.parametrize("kind", TRANSFORMER_KINDS)
def test_weights_with_learned_places_keep_their_size_of_clip(transformers: Any, tmp_path: Path, kind: str) -> None:
    write_folder(transformers, kind, tmp_path)
    build: Callable[[], nn.Module] = lambda: build_backbone(f"transformers:{tmp_path}", size=48, num_frames=4)  # noqa: E731
    if TRANSFORMER_KINDS[kind].has_learned_positions:
        with pytest.raises(InputError, match="are for clips of 4 frames of 32x32, not 4 of 48x48"):
            build()
    else:
        assert build()(torch.rand(1, 3, 4, 48, 48)).shape == (1, 24, 2 * 3 * 3, 1, 1)


def test_a_folder_with_missing_weights_is_refused(transformers: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_folder(transformers, "videomae", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(n for n in weights if "attention" in n))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="1 weights are missing"):
        build_backbone(f"transformers:{tmp_path}", **CLIP)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="weights can't be read"):
        build_backbone(f"transformers:{tmp_path}", **CLIP)


def test_what_transformers_can_not_make_is_readable(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a model of transformers that unreel knows .* downloads no weights"):
        build_backbone("transformers:MCG-NJU/videomae-base")
    with pytest.raises(InputError, match="16x16: 4 frames of 40x40 do not divide"):
        build_backbone("transformers:videomae", size=40, num_frames=4)
    with pytest.raises(InputError, match="does not take the configuration"):
        build_backbone("transformers:videomae", config={"hidden_size": "many"})
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="unknown model of transformers 'bert'"):
        build_backbone(f"transformers:{tmp_path}")


@pytest.mark.parametrize("name", ["auto_map", "attn_implementation", "_attn_implementation", "quantization_config"])
def test_a_configuration_can_not_name_code(transformers: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"has no '{name}' in its configuration"):
        build_backbone("transformers:videomae", **CLIP, config=small_config("videomae") | {name: "someone/code"})
