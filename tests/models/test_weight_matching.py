"""Which tensor of a file belongs to which weight, whatever the names."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from networks import resnet_state
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.backbones.r3d import ResNet3D
from unreel.models.inflate import inflate, read_2d_weights
from unreel.models.registry import build_backbone
from unreel.models.twin_2d import make_2d_twin
from unreel.models.weight_matching import match_names, select_trunk


@pytest.mark.parametrize(
    "name, depths",
    [("r3d18", (2, 2, 2, 2)), ("r3d50", (3, 4, 6, 3)), ("r3d101", (3, 4, 23, 3)), ("r3d152", (3, 8, 36, 3))],
)
def test_torchvisions_resnets_fit_by_name_in_any_order(name: str, depths: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network, state = build_backbone(name), resnet_state(depths, basic=name == "r3d18")
    wanted = {n: t for n, t in network.state_dict().items() if not n.endswith("tracked")}
    ordered = {n: t for n, t in state.items() if not n.endswith("tracked")}
    alphabetical = dict(sorted(ordered.items()))
    by_name = match_names(select_trunk(alphabetical, wanted), wanted)
    assert by_name == dict(zip(wanted, ordered, strict=False)) and len(ordered) == len(wanted) + 2
    inflate(alphabetical, network)  # all shapes fit


def test_a_deeper_resnet_is_refused_by_name() -> None:
    with torch.device("meta"):
        network, state = build_backbone("r3d50"), resnet_state((3, 4, 23, 3))
    with pytest.raises(InputError, match=r"they have 'layer3.6.conv1.weight' and 254 more too many"):
        inflate(state, network)
    with torch.device("meta"):
        network, state = build_backbone("r3d101"), resnet_state()
    with pytest.raises(InputError, match=r"they lack 'stages.2.6.conv1.weight' and 254 more$"):
        inflate(state, network)


def build_small(blocks: tuple[int, ...] = (1, 1, 1, 1)) -> nn.Module:
    """A narrow ResNet of basic blocks."""
    return ResNet3D(blocks, widths=(4, 8, 8, 12))


def torchvisions(network: nn.Module) -> dict[str, Tensor]:
    """The twin's weights of a ResNet, four-dimensional, by torchvision's names."""
    state: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        name = name.replace("stem.0.", "conv1.").replace("stem.1.", "bn1.").replace("shortcut", "downsample")
        if name.startswith("stages."):
            name = f"layer{int(name[7]) + 1}{name[8:]}"
        state[name] = tensor.squeeze(2) if tensor.ndim == 5 else tensor
    return state


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + n: t.clone() for n, t in state.items()}


MLP = {"0.weight": torch.ones(6, 12), "1.weight": torch.ones(6), "1.running_mean": torch.ones(6)}


LINEAR = {"weight": torch.ones(9, 12), "bias": torch.ones(9)}


FILES = {
    "plain": lambda net, old: net,
    "fc": lambda net, old: net | under("fc.", LINEAR),
    "head": lambda net, old: net | under("head.fc.", LINEAR),
    "classifier": lambda net, old: net | under("classifier.", MLP),
    "unknown name": lambda net, old: net | under("to_classes.", LINEAR),
    "two layers": lambda net, old: net | under("out.0.", LINEAR) | under("out.2.", LINEAR),
    "wrapped": lambda net, old: under("module.model.resnet.", net) | under("module.model.fc.", LINEAR),
    "moco": lambda net, old: under(
        "module.",
        under("encoder_q.", net | under("fc.", MLP))
        | under("encoder_k.", old | under("fc.", MLP))
        | {"queue": torch.ones(6, 20), "queue_ptr": torch.zeros(1)},
    ),
    "moco-v3": lambda net, old: under(
        "module.",
        under("momentum_encoder.", old | under("fc.", MLP))
        | under("base_encoder.", net | under("fc.", MLP))
        | under("predictor.", MLP),
    ),
    "byol": lambda net, old: (
        under("online_encoder.net.", net)
        | under("online_encoder.projector.", MLP)
        | under("target_encoder.net.", old)
        | under("online_predictor.", MLP)
    ),
    "dino": lambda net, old: (
        under("teacher.backbone.", old)
        | under("teacher.head.mlp.", MLP)
        | under("student.backbone.", net)
        | under("student.head.mlp.", MLP)
    ),
    "dino nested": lambda net, old: {
        "teacher": under("module.backbone.", old),
        "student": under("module.backbone.", net) | under("module.head.", MLP),
    },
    "simsiam": lambda net, old: under("encoder.", net | under("fc.", MLP)) | under("predictor.", MLP),
    "lightly": lambda net, old: (
        under("backbone_momentum.", old) | under("projection_head_momentum.", MLP) | under("backbone.", net)
    ),
}


@pytest.mark.parametrize("layout", FILES)
@pytest.mark.parametrize("naming", ["torchvision", "own"])
def test_the_online_encoder_is_taken_out_of_a_file(layout: str, naming: str, tmp_path: Path) -> None:
    twin, old = make_2d_twin(build_small()), build_small()
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight)
            nn.init.uniform_(module.running_mean)
    names = torchvisions if naming == "torchvision" else nn.Module.state_dict
    held = FILES[layout](names(twin), torchvisions(make_2d_twin(old)))
    file = tmp_path / "weights.safetensors"
    if layout == "dino nested":
        file = file.with_suffix(".pth")
        torch.save(held, file)
    else:
        safetensors.torch.save_file({n: t.contiguous() for n, t in held.items()}, file)
    network = build_small()
    inflate(read_2d_weights(file), network)
    flat = make_2d_twin(network).state_dict()
    assert all(torch.allclose(flat[n], t, atol=1e-6) for n, t in twin.state_dict().items())


def test_a_wrapper_of_the_network_itself_does_not_hide_its_names() -> None:
    def net() -> nn.Module:
        layers = nn.Sequential(*(nn.Conv3d(3, 3, 3) for _ in range(11)))
        return nn.ModuleDict({"layers": layers})

    twin, network = make_2d_twin(net()), net()
    for names in (sorted(twin.state_dict()), sorted(twin.state_dict(), reverse=True)):
        inflate({f"module.{n}": twin.state_dict()[n] for n in names}, network)
        tenth = network["layers"][10].weight
        assert torch.allclose(tenth.sum(2, keepdim=True), twin["layers"][10].weight, atol=1e-6)


def test_by_place_the_last_parts_of_names_must_agree() -> None:
    network = nn.Sequential(nn.BatchNorm3d(4), nn.BatchNorm3d(4))
    parts = ("weight", "bias", "running_mean", "running_var")
    foreign = {f"norm{i}.{p}": torch.full((4,), float(10 * i + k)) for i in range(2) for k, p in enumerate(parts)}
    inflate(foreign, network)
    assert [float(t[0]) for n, t in network.state_dict().items() if "tracked" not in n] == [0, 1, 2, 3, 10, 11, 12, 13]
    before = {n: t.clone() for n, t in network.state_dict().items()}
    with pytest.raises(InputError, match=r"'norm0.bias' stands where the network has '0.weight'"):
        inflate(dict(sorted(foreign.items())), network)
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())


def test_a_blocks_own_linear_layers_are_no_head() -> None:
    state = torchvisions(make_2d_twin(build_small()))
    with pytest.raises(InputError, match=r"they have 'layer1.0.se.fc.0.weight' too many"):
        inflate(state | {"layer1.0.se.fc.0.weight": torch.ones(2, 4)}, build_small())


def test_a_head_that_the_network_has_is_loaded() -> None:
    def net() -> nn.Module:
        return nn.ModuleDict({"body": nn.Conv3d(3, 4, 3), "head": nn.Linear(4, 2)})

    twin, network = make_2d_twin(net()), net()
    inflate({f"module.{n}": t for n, t in twin.state_dict().items()}, network)
    assert torch.equal(network["head"].weight, twin["head"].weight)


def test_weights_that_do_not_fit_are_refused() -> None:
    twin, network = build_backbone("tiny-2d").state_dict(), build_backbone("tiny")
    before = {n: t.clone() for n, t in network.state_dict().items()}
    lacks = r"same network: they lack 'stages.0.0.conv1.0.weight' .* and have 'stages.0.0.conv1.weight' .* too many"
    with pytest.raises(InputError, match=lacks):
        inflate(build_backbone("r3d-2d").state_dict(), network)
    with pytest.raises(
        InputError, match=r"same network: they are 48 tensors \('0.weight' and 47 more\), the network has"
    ):
        inflate(build_backbone("c3d-2d").state_dict(), network)
    with pytest.raises(InputError, match=r"'stem.0.weight' \(8, 3, 1, 7, 7\) does not fit"):
        inflate(twin | {"stem.0.weight": torch.zeros(8, 3, 1, 7, 7)}, network)
    with pytest.raises(InputError, match=r"'stem.0.weight' .* spans frames already"):
        inflate(network.state_dict(), network)
    renamed = {f"x.{n}": t for n, t in twin.items()}
    inflate(dict(reversed(renamed.items())), build_backbone("tiny"))  # their own names, whatever the order
    renamed = {f"{i}.{n.rpartition('.')[2]}": t for i, (n, t) in enumerate(twin.items())}
    with pytest.raises(InputError, match="neither names nor order agree"):
        inflate(dict(reversed(renamed.items())), network)
    with pytest.raises(InputError, match=r"'3.running_mean' \(17,\) does not fit 'stem.1.running_mean' \(16,\)"):
        inflate(renamed | {"3.running_mean": torch.zeros(17)}, network)
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
