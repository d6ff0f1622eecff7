"""Foreign networks: whatever they return becomes a map, and their checkpoints need neither luck nor trust."""

import json
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.models.backbones.external import ExternalBackbone, to_feature_map
from unreel.models.backbones.huggingface import TRANSFORMER_KINDS
from unreel.models.encoder.checkpoint_files import SPEC_FILE, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import build_backbone
from unreel.views.view_spec import ViewSpec

OWN = """
import torch
from torch import nn


class Vectors(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.linear = nn.Linear(3, 5)
        self.dropout = nn.Dropout(0.9).eval()

    def forward(self, clips):
        return self.linear(self.norm(clips.mean(dim=(2, 3, 4))))


class Tied(nn.Module):
    num_features = 3

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("part", self.first.bias.detach()[1:])

    def forward(self, clips):
        return self.second(self.first(clips.movedim(1, -1))).movedim(-1, 1)


def tokens():
    return Tied()


number = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's own, importable as `own_networks`, gone afterwards."""
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_networks", None)


class Returning(nn.Module):
    """Gives back what it is told to, whatever the clip."""

    def __init__(self, output: Any, **attributes: Any) -> None:
        super().__init__()
        self.output = output
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, clips: Tensor) -> Any:
        return self.output


def test_vectors_tokens_maps_and_outputs_become_maps() -> None:
    vectors, tokens, maps = torch.rand(2, 5), torch.rand(2, 7, 5), torch.rand(2, 5, 1, 2, 3)
    assert torch.equal(to_feature_map(vectors, 0, "x").mean(dim=(2, 3, 4)), vectors)
    assert torch.equal(to_feature_map(maps, 1, "x"), maps)
    for output in (tokens, SimpleNamespace(last_hidden_state=tokens)):
        got = to_feature_map(output, 0, "x")
        assert got.shape == (2, 5, 7, 1, 1)
        assert torch.equal(got[:, :, 3, 0, 0], tokens[:, 3])
        assert torch.equal(to_feature_map(output, 2, "x"), got[:, :, 2:])
    for output, what in ((torch.rand(2, 3, 4, 5), r"\(2, 3, 4, 5\)"), ([1], "list")):
        with pytest.raises(InputError, match=f"backbone 'x' returns {what}"):
            to_feature_map(output, 0, "x")


def test_prefix_tokens_and_features_are_the_modules_own() -> None:
    network = ExternalBackbone(Returning(torch.rand(1, 7, 5), num_prefix_tokens=1), "x", 8, 2)
    assert network.num_features == 5 and network(torch.zeros(1, 3, 2, 8, 8)).shape == (1, 5, 6, 1, 1)
    wrong = ExternalBackbone(Returning(torch.rand(1, 5), num_features=4), "x", 8, 2)
    with pytest.raises(InputError, match="num_features = 4 but returns 5"):
        wrong(torch.zeros(1, 3, 2, 8, 8))


@pytest.mark.parametrize("name", ["own_networks.Vectors", "own_networks:Vectors"])
def test_own_module_is_measured_and_left_as_it_was(own: None, name: str) -> None:
    network = build_backbone(name, size=8, num_frames=2)
    assert network.num_features == 5
    assert network.network.norm.num_batches_tracked == 0
    assert network.network.norm.training and not network.network.dropout.training
    clips = torch.rand(4, 3, 2, 8, 8)
    assert torch.equal(network.eval()(clips)[..., 0, 0, 0], network.network(clips))


def test_own_function_may_make_the_module(own: None) -> None:
    assert build_backbone("own_networks:tokens")(torch.rand(1, 3, 2, 4, 4)).shape == (1, 3, 2, 4, 4)


def test_own_names_that_lead_nowhere(own: None) -> None:
    for name in ("no_such.module", "own_networks.Absent", "own_networks:", ":Vectors", ".Vectors"):
        with pytest.raises(InputError, match=f"backbone '{name}' can't be imported"):
            build_backbone(name)
    for name in ("own_networks.number", "own_networks:torch", "collections.OrderedDict"):
        with pytest.raises(InputError, match=f"'{name}' is not a class or function that makes a torch.nn.Module"):
            build_backbone(name)
    with pytest.raises(InputError, match="no option width; its options: size, num_frames"):
        build_backbone("own_networks.Vectors", width=2)


def test_own_module_that_fails_says_on_what() -> None:
    class Flat(nn.Conv2d):
        pass

    with pytest.raises(InputError, match=r"'flat' fails on a clip \(1, 3, 2, 8, 8\)"):
        ExternalBackbone(Flat(3, 4, 3), "flat", 8, 2)


@pytest.mark.parametrize("name", ["own_networks.Vectors", "own_networks.Tied"])
def test_checkpoint_of_an_own_module(own: None, tmp_path: Path, name: str) -> None:
    encoder = Encoder(EncoderSpec(name, options={"size": 8, "num_frames": 2}))
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path, allow_import=True)
    states = encoder.backbone.state_dict(), loaded.backbone.state_dict()
    assert states[0].keys() == states[1].keys() and all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    if name.endswith("Tied"):
        assert loaded.backbone.network.first.weight is loaded.backbone.network.second.weight


def test_a_checkpoints_code_is_not_imported_unasked(own: None, tmp_path: Path) -> None:
    save_encoder(Encoder(EncoderSpec("own_networks.Vectors", options={"size": 8, "num_frames": 2})), tmp_path)
    del sys.modules["own_networks"]
    with pytest.raises(
        CheckpointError, match=r"'own_networks.Vectors' is code outside .* --allow-import .*allow_import="
    ):
        load_encoder(tmp_path)
    assert "own_networks" not in sys.modules
    load_encoder(tmp_path, allow_import=True)
    assert "own_networks" in sys.modules


def test_options_travel_with_the_checkpoint(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec("tiny", views=ViewSpec(size=32), options={"in_channels": 2}))
    save_encoder(encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    assert loaded.spec == encoder.spec and loaded.backbone.stem[0].in_channels == 2
    assert hash(loaded.spec) == hash(encoder.spec)


def test_a_description_without_options_is_read(tmp_path: Path) -> None:
    save_encoder(Encoder(EncoderSpec("tiny")), tmp_path)
    description = json.loads((tmp_path / SPEC_FILE).read_text())
    del description["options"]
    (tmp_path / SPEC_FILE).write_text(json.dumps(description))
    assert load_encoder(tmp_path).spec.options == {}


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
    own = (model.encoder if kind == "vjepa2" else model).state_dict()
    assert all(torch.equal(own[n], t) for n, t in encoder.backbone.network.state_dict().items())

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
