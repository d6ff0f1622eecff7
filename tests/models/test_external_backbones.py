"""Networks of your own as backbones: the protocol, and checkpoints that keep what is needed."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError
from unreel.models.backbones.external import ExternalBackbone, to_feature_map
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
        with pytest.raises(InputError, match=f"'{name}' is not a class or function that returns a torch.nn.Module"):
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
