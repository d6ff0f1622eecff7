"""Inflation: on a clip of one repeated frame, three dimensions answer as two."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from networks import PROBED, resnet_state, with_statistics
from torch import nn

from unreel.errors import InputError
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.inflate import build_inflated, inflate, read_2d_weights
from unreel.models.registry import build_backbone
from unreel.models.twin_2d import make_2d_twin


@pytest.mark.parametrize("name", PROBED)
def test_inflated_network_on_a_repeated_frame_is_the_2d_network(name: str) -> None:
    flat = with_statistics(f"{name}-2d")
    network = build_backbone(name).double().eval()
    inflate(flat.state_dict(), network)
    frame = torch.rand(1, 3, 1, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = flat(frame)[:, :, 0]
        got = network(frame.expand(-1, -1, PROBED[name], -1, -1))
    assert torch.allclose(got[:, :, got.shape[2] // 2], expected, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 1e-3


def test_an_inflated_kernel_is_repeated_and_divided() -> None:
    conv, weight = nn.Conv3d(2, 3, (5, 3, 3)), torch.randn(3, 2, 3, 3)
    inflate({"weight": weight, "bias": torch.arange(3.0)}, conv)
    for t in range(5):
        assert torch.equal(conv.weight[:, :, t], weight / 5)
    assert torch.equal(conv.bias, torch.arange(3.0))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_resnet50_fits_r3d50(suffix: str, tmp_path: Path) -> None:
    state, file = resnet_state(), tmp_path / f"resnet50{suffix}"
    assert sum(t.numel() for n, t in state.items() if "running" not in n and "tracked" not in n) == 25_557_032
    half = {n: t.half() for n, t in state.items()}
    if suffix == ".pth":
        torch.save(half, file)
    else:
        safetensors.torch.save_file(half, file)
        assert next(iter(read_2d_weights(file))) == "bn1.bias"  # alphabetical
    network = build_inflated(file, "r3d50")
    assert network.stem[0].weight.dtype == torch.float32
    for ours, theirs in {
        "stem.0.weight": "conv1.weight",
        "stem.1.running_var": "bn1.running_var",
        "stages.0.0.conv3.weight": "layer1.0.conv3.weight",
        "stages.0.0.shortcut.0.weight": "layer1.0.downsample.0.weight",
        "stages.2.0.shortcut.1.bias": "layer3.0.downsample.1.bias",
        "stages.2.5.conv1.weight": "layer3.5.conv1.weight",
        "stages.3.2.bn3.running_mean": "layer4.2.bn3.running_mean",
    }.items():
        got = network.state_dict()[ours]
        length = got.shape[2] if got.ndim == 5 else 1
        assert (got == state[theirs].flatten()[0] / length).all(), ours
    assert network.stem[1].num_batches_tracked == 0


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_files_of_2d_weights(tmp_path: Path, wrap: str, suffix: str) -> None:
    twin = build_backbone("tiny-2d").state_dict()
    path = tmp_path / f"weights{suffix}"
    wrapped = {f"module.backbone.{n}": t for n, t in twin.items()} | {"module.fc.weight": torch.zeros(9, 128)}
    if suffix == ".safetensors":
        safetensors.torch.save_file(wrapped, path)
    else:
        torch.save(wrapped if wrap == "plain" else {wrap: wrapped, "epoch": 3}, path)
    assert read_2d_weights(path).keys() == wrapped.keys()
    got = make_2d_twin(build_inflated(path, "tiny")).state_dict()
    assert all(torch.allclose(got[n], twin[n], atol=1e-6) for n in twin)


def test_a_checkpoint_of_a_twin_is_inflated(tmp_path: Path) -> None:
    encoder = Encoder(EncoderSpec("c3d-2d"))
    save_encoder(encoder, tmp_path)
    network = build_inflated(tmp_path, "c3d")
    kernels = network.layers[4].weight.sum(2, keepdim=True), encoder.backbone.layers[4].weight
    assert torch.allclose(*kernels, atol=1e-7)


class Unsafe:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_files_that_are_none_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Unsafe()}, tmp_path / "code.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    (tmp_path / "weights.txt").write_text("")
    for name, why in {
        "code.pth": "can't be read",
        "empty.pt": "no named tensors",
        "damaged.safetensors": "can't be read",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{why}"):
            read_2d_weights(tmp_path / name)
    with pytest.raises(InputError, match="ends in .safetensors, .pt or .pth"):
        read_2d_weights(tmp_path / "weights.txt")
    with pytest.raises(InputError, match="can't be read"):
        read_2d_weights(tmp_path / "missing.pt")
    assert capsys.readouterr().out == ""
