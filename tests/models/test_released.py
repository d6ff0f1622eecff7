"""Weights of others: each network maps onto ours and computes the same; what does not fit is refused, nothing runs."""

import argparse
import dataclasses
import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import refused, succeeds
from released import CLIP, R3D, RELEASES, S3D, SHRINK, SLOW_DEPTHS, as_moco, flatten, run_table, s3d, with_block_names
from torch import Tensor

import unreel
from unreel.embedding import load_encoder
from unreel.errors import InputError
from unreel.models.backbones.c3d import LAYER_PLAN
from unreel.models.backbones.cvrl_release.tensorflow_layers import TENSORFLOW_STYLE
from unreel.models.backbones.r3d import ResNet3D, build_conv3d
from unreel.models.backbones.r3d18 import STRIDES, build_mixed_block
from unreel.models.backbones.r3d50 import PYTORCH_STYLE, SLOW_STYLE, SlowPathway
from unreel.models.backbones.r21d import build_factorised_conv
from unreel.models.backbones.r21d18 import build_factorised_block, build_stem_or_shortcut
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.registry import build_backbone
from unreel.models.released.layouts import LAYOUTS, ReleasedNetwork
from unreel.models.released.matching import find_candidates, match_tensors, read_shapes
from unreel.models.released.names import to_cvrl_name
from unreel.models.released.weights_file import read_weights_file

SAME_NETWORKS = ("iic-v2 s3d", "dualvar r21d", "dualvar c3d", "pytorchvideo")  # under other names; shapes are compared


def build_narrow(name: str, **options: Any) -> torch.nn.Module:
    """Our networks with an eighth of their width, and Slow-R50 with fewer blocks; S3D as it is."""
    wide = {"widths": [64 // SHRINK * 2**n for n in range(4)]}
    if name in ("r3d", "r21d"):
        return ResNet3D(conv=build_factorised_conv if name == "r21d" else build_conv3d, **wide)
    if name == "r3d18" and options.get("mixed"):
        flat = partial(build_mixed_block, num_wide=64 // SHRINK)
        return ResNet3D((2, 2, 2, 2), strides=STRIDES[True], block=flat, **wide)
    if name == "r3d18":
        return ResNet3D((2, 2, 2, 2), **wide)
    if name == "r21d18":
        return ResNet3D((2, 2, 2, 2), conv=build_stem_or_shortcut, block=build_factorised_block, **wide)
    if name == "r3d50tf":
        return SlowPathway(SLOW_DEPTHS, style=TENSORFLOW_STYLE)
    if name == "r3d50":
        return SlowPathway(SLOW_DEPTHS, style=SLOW_STYLE if options.get("slow_stem") else PYTORCH_STYLE)
    return build_backbone(name, **options)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plan = tuple(step if isinstance(step, tuple) else step // SHRINK for step in LAYER_PLAN)
    monkeypatch.setattr("unreel.models.backbones.c3d.LAYER_PLAN", plan)
    monkeypatch.setattr("unreel.models.released.matching.build_backbone", build_narrow)
    shallow = ReleasedNetwork("r3d50tf", partial(to_cvrl_name, depths=SLOW_DEPTHS))
    monkeypatch.setitem(LAYOUTS, "cvrl", dataclasses.replace(LAYOUTS["cvrl"], networks=(shallow,)))
    read_shapes.cache_clear()
    yield
    read_shapes.cache_clear()


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in SAME_NETWORKS else []) for case in RELEASES]
)
def test_a_mapped_network_computes_what_its_layer_table_says(case: str) -> None:
    layout, backbone, table, options, eps, wrap = RELEASES[case]
    depths = {"depths": SLOW_DEPTHS} if backbone.startswith("r3d50") else {}
    state, expected = run_table(table, CLIP, eps, SHRINK, **options, **depths)
    match = match_tensors(flatten(wrap(state)))
    assert (match.candidate.layout, match.candidate.network.backbone) == (layout, backbone)
    with torch.no_grad():
        got = match.build().double()(CLIP.double())
    assert got.shape == expected.shape and expected.std() > 0.01
    assert torch.allclose(got, expected, rtol=1e-6, atol=1e-6), (got - expected).abs().max()


@pytest.mark.parametrize("case", RELEASES)
def test_the_whole_network_has_the_shapes_of_its_layer_table(case: str) -> None:
    layout, backbone, table, options, eps, wrap = RELEASES[case]
    state, _ = run_table(table, CLIP.to("meta"), eps, **options)
    candidates = find_candidates(flatten(wrap(state)), layout, LAYOUTS[layout])
    fits = [found for found in candidates if found.is_whole and not found.num_misshapen]
    assert fits and {found.network.backbone for found in fits} == {backbone}


def test_every_release_is_tried() -> None:
    assert {layout for layout, *_ in RELEASES.values()} == set(LAYOUTS)


@pytest.fixture(scope="module")
def r3d_state() -> dict[str, Tensor]:
    return run_table(R3D, CLIP)[0]


def options(**values: object) -> argparse.Namespace:
    return argparse.Namespace(**values)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors", "half"])
def test_files_of_each_kind(kind: str, r3d_state: dict[str, Tensor], tmp_path: Path) -> None:
    file = tmp_path / "ckpt_epoch_240.pth.tar"
    content = {"opt": options(modality="u", dataset="ucf101", neg="repeat"), "model": r3d_state, "epoch": 240}
    if kind == "safetensors":
        safetensors.torch.save_file(r3d_state, file)
    elif kind == "half":
        torch.save({n: t.half() if t.is_floating_point() else t for n, t in r3d_state.items()}, file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    report = unreel.import_weights(file, tmp_path / "out")
    encoder = load_encoder(tmp_path / "out")
    weight = encoder.backbone.state_dict()["stages.3.0.shortcut.0.weight"]
    theirs = r3d_state["conv5.block1.downsampleconv.temporal_spatial_conv.weight"]
    assert torch.equal(weight, theirs.half().float() if kind == "half" else theirs)
    assert encoder.spec.method == "imported:iic"
    knows = kind in ("zip", "old")
    assert encoder.spec.views.names == ("rgb", "flow-u" if knows else "residual")
    assert any("ucf101" in text for text in report.known) == knows
    assert ("the videos of pre-training" in report.unknown) == (not knows)


def test_the_report_says_what_was_left_out_and_is_kept(tmp_path: Path) -> None:
    state, _ = run_table(S3D, CLIP, prefix="encoder_q.0.")
    sampler = {n.replace("encoder_q.", "sampler."): t for n, t in state.items()}
    torch.save({"state_dict": as_moco(state) | sampler, "epoch": 3}, tmp_path / "epoch3.pth.tar")
    said = succeeds("import", tmp_path / "epoch3.pth.tar", "--out", tmp_path / "out", "--as", "coclr").out
    kept = json.loads((tmp_path / "out" / "pretraining.json").read_text())
    assert kept["layout"] == "coclr" and kept["part"] == "encoder_q.0" and kept["file"] == "epoch3.pth.tar"
    assert kept["num_tensors"] == len([name for name in state if not name.endswith("tracked")])
    assert set(kept["left_out"]) == {"encoder_k.0", "encoder_q", "queue", "queue_ptr", "sampler.0"}
    assert "momentum copy" in kept["left_out"]["encoder_k.0"] and "other stream" in kept["left_out"]["sampler.0"]
    for words in (
        "left out: queue, 1 tensor",
        "known: 32 consecutive frames",
        "not known: whether this is the network",
    ):
        assert words in said
    spec = load_encoder(tmp_path / "out").spec
    assert (spec.clip.num_frames, spec.views.size, spec.options) == (32, 128, {"norm_eps": 1e-5})


def test_another_part_and_other_clips_can_be_named(tmp_path: Path) -> None:
    state, _ = run_table(S3D, CLIP, prefix="encoder_q.0.")
    torch.save({"state_dict": as_moco(state)}, tmp_path / "file.pth")
    unreel.import_weights(
        tmp_path / "file.pth", tmp_path / "k", part="encoder_k.0", num_frames=8, size=32, views=("residual",)
    )
    encoder = load_encoder(tmp_path / "k")
    ours = encoder.backbone.state_dict()["layers.2.0.weight"]
    assert torch.equal(ours, state["encoder_q.0.Conv_2b.conv.weight"] + 1)
    assert (encoder.spec.clip.num_frames, encoder.spec.clip.lead_in) == (8, 1)
    assert encoder.spec.views.names == ("residual",)


def test_an_imported_encoder_is_used_like_a_run(motion_set: Path, tmp_path: Path) -> None:
    state, _ = run_table(partial(s3d, torchvision=True), CLIP, 1e-3)
    torch.save(state, tmp_path / "s3d.pth")
    small = ("--num-frames", 8, "--size", 32)
    succeeds("import", tmp_path / "s3d.pth", "--out", tmp_path / "encoder", *small)
    spec = load_encoder(tmp_path / "encoder").spec
    assert spec.views.mean == (0.43216, 0.394666, 0.37645) and spec.clip.fps == 15 and spec.views.standardize
    succeeds("index", tmp_path / "encoder", motion_set / "test.txt", "--out", tmp_path / "index")
    assert len(unreel.open_index(tmp_path / "index").rows)
    said = succeeds("evaluate", "retrieval", tmp_path / "encoder", motion_set, "--num-clips", 1).out
    assert "rgb" in said
    refused("import", tmp_path / "s3d.pth", "--out", tmp_path / "encoder", says=("exists already",))


class Malice:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle", "new pickle", "beside", "named"])
def test_a_file_that_would_run_code_is_refused_and_nothing_runs(kind: str, tmp_path: Path) -> None:
    marker, file = tmp_path / "ran", tmp_path / "model.pth"
    bad = Malice(marker)
    if "pickle" in kind:
        file.write_bytes(pickle.dumps({"model": bad}, protocol=2 if kind == "pickle" else 4))
    elif kind == "named":
        torch.save(options(model={"a": torch.zeros(1)}, opt=bad), file)
    else:
        content = {"model": {"conv1.weight": torch.zeros(2)}, "opt": bad} if kind == "beside" else bad
        torch.save(content, file, _use_new_zipfile_serialization=kind != "old")
    says = (
        "no file of weights that can be read"
        if kind == "new pickle"
        else "it holds posix.mkdir, which is code and was not run"
    )
    with pytest.raises(InputError, match=f"model.pth: {says}") as caught:
        unreel.import_weights(file, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not marker.exists() and not (tmp_path / "out").exists()
    if "pickle" in kind:
        pickle.loads(file.read_bytes())
    else:
        torch.load(file, weights_only=False)
    assert marker.exists()  # the file does run code where it is let


@pytest.mark.parametrize("is_zip", [True, False])
def test_numpys_values_and_paths_beside_the_weights_are_dropped_unbuilt(is_zip: bool, tmp_path: Path) -> None:
    """As whole training states hold them; what they are built of is still looked at."""
    beside = {"best": np.float64(0.5), "curve": np.arange(3.0), "opt": options(out=Path("x"), seed=np.int64(1), lr=0.1)}
    file, marker = tmp_path / "model.pth", tmp_path / "ran"
    torch.save({"net": {"a": torch.ones(2)}} | beside, file, _use_new_zipfile_serialization=is_zip)
    read = read_weights_file(file)
    assert list(read.tensors) == ["net.a"] and read.values == {"opt.lr": 0.1}
    hidden = np.array([Malice(marker)], dtype=object)
    torch.save({"net": {"a": torch.ones(2)}, "curve": hidden}, file, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError, match=r"it holds posix\.mkdir, which is code and was not run"):
        read_weights_file(file)
    assert not marker.exists()


def pack_zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def pack_tar(content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        about = tarfile.TarInfo("net.pth")
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
    return made.getvalue()


def test_damaged_and_foreign_files_are_a_sentence_each(r3d_state: dict[str, Tensor], tmp_path: Path) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(r3d_state, whole)
    data = whole.read_bytes()
    nested: Any = torch.zeros(1)
    for _ in range(50):
        nested = {"a": nested}
    files: dict[str, tuple[Any, str]] = {
        "empty": (b"", "an empty file"),
        "text": (b"<html>Quota exceeded</html>" * 9, "a text that begins '<html>Quota exceeded"),
        "letters": (("ä" * 400).encode(), "a text that begins 'äää"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
        "zeros": (bytes(9000), "begins with zeros"),
        "gzip": (gzip.compress(data[:500]), "a packed file; unpack it"),
        "tar": (pack_tar(data), "a packed file; unpack it"),
        "packed": (pack_zip({"readme.txt": b"", "a/net.pth": data[:9]}), "name the file of weights in it, a/net.pth"),
        "arrays": (pack_zip({"a.npy": b"", "b.npy": b""}), "an archive without a file of weights"),
        "program": (pack_zip({"net/data.pkl": b"", "net/constants.pkl": b""}), "a TorchScript program"),
        "exported": (pack_zip({"net/archive_format": b"pt2", "net/models/a.json": b""}), "a program of torch.export"),
        "alone": (torch.zeros(3), "no tensors there"),
        "cut": (data[: len(data) // 2], "no file of weights that can be read"),
        "short": (data[:100], "no file of weights that can be read"),
        "header": ((99).to_bytes(8, "little") + b"{" + b"x" * 120, "no file of weights that can be read"),
        "nested": (nested, "no tensors there"),
        "numbers": ({"epoch": 3, "loss": [1.0]}, "no tensors there"),
        "image": (
            {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(9, 9)},
            "2 tensors (conv1.weight",
        ),
    }
    for name, (content, says) in files.items():
        file = tmp_path / f"{name}.pth"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file)
        refused("import", file, "--out", tmp_path / "out", says=(f"{name}.pth", says))
    refused("import", tmp_path / "gone.pth", "--out", tmp_path / "out", says=("no such file",))
    refused("import", tmp_path, "--out", tmp_path / "out", says=("a folder",))
    refused("import", "https://a.org/b.pth", "--out", tmp_path / "out", says=("an address; download the file",))
    own = BASE_ENCODERS / "base" / "encoder.safetensors"
    refused("import", own, "--out", tmp_path / "out", says=("an encoder of unreel; name its folder", str(own.parent)))
    assert not (tmp_path / "out").exists()


def spoil(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    """A state dict in which one thing is wrong."""
    name = "conv4.block1.conv1.temporal_spatial_conv.weight"
    if how == "misshapen":
        return state | {name: state[name][:, :, :, :, :1]}
    if how == "half missing":
        return {n: t for n, t in state.items() if not n.startswith(("conv4", "conv5"))}
    if how == "deeper":
        return state | {n.replace("block1", "blocks.0"): t for n, t in state.items() if n.startswith("conv5")}
    if how == "nan":
        return state | {name: state[name] * float("nan")}
    if how == "integers":
        return state | {name: state[name].int()}
    if how == "sparse":
        return state | {name: state[name].to_sparse()}
    return {f"teacher.{n}": t for n, t in state.items()}


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (
            "misshapen",
            "'conv4.block1.conv1.temporal_spatial_conv.weight' has the shape (256, 128, 3, 3, 1), iic's r3d has",
        ),
        (
            "half missing",
            "nearest to iic's r3d, but it lacks 30 tensors, first conv4.block1.conv1.temporal_spatial_conv",
        ),
        ("deeper", "nearest to iic's r3d, but it has 15 tensors too many, first conv5.blocks.0.conv1"),
        ("nan", "holds values that are no finite numbers"),
        ("integers", "holds values that are no finite numbers"),
        ("sparse", "holds values that are no finite numbers"),
        ("elsewhere", "under 'teacher', where that release has none; choose with --part"),
    ],
)
def test_networks_that_fit_in_part_are_refused(
    how: str, says: str, r3d_state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(spoil(r3d_state, how), tmp_path / "file.pth")
    refused("import", tmp_path / "file.pth", "--out", tmp_path / "out", says=("file.pth: ", says))
    assert not (tmp_path / "out").exists()


def test_a_part_that_no_release_has_can_be_named(r3d_state: dict[str, Tensor]) -> None:
    state = {f"net.teacher.{n}": t for n, t in r3d_state.items()}
    assert match_tensors(state, part="teacher").candidate.prefix == "net.teacher."


def test_another_release_than_the_files_is_refused(r3d_state: dict[str, Tensor]) -> None:
    says = "it holds a r3d of iic, and no network of torchvision; leave out --as"
    with pytest.raises(InputError, match=says):
        match_tensors(r3d_state, "torchvision")
    says = "it holds a r3d of iic under 'model', and no network under 'encoder_k'; leave out --part"
    with pytest.raises(InputError, match=says):
        match_tensors({f"model.{name}": tensor for name, tensor in r3d_state.items()}, part="encoder_k")
    with pytest.raises(InputError, match=r"unknown release 'torchvison'. Did you mean 'torchvision'\?"):
        match_tensors(r3d_state, "torchvison")


def test_dualvars_s3d_is_told_from_coclrs_by_its_head_or_by_name() -> None:
    state, _ = run_table(S3D, CLIP.to("meta"), prefix="encoder_q.0.")
    state = {name: torch.zeros(tensor.shape) for name, tensor in state.items()}
    head = {"series_proj_head.0.weight": torch.zeros(2, 2)}
    assert match_tensors(state).candidate.layout == "coclr"
    assert match_tensors(state, "dualvar").candidate.layout == "dualvar"
    assert match_tensors(state | head).candidate.layout == "dualvar"


def test_two_names_of_a_tensor_that_differ_are_refused() -> None:
    state = with_block_names(run_table(S3D, CLIP, prefix="backbone.")[0], "backbone.")
    state["backbone.block2.1.bn.bias"] = state["backbone.block2.1.bn.bias"] + 1
    with pytest.raises(InputError, match=r"'backbone.block2.1.bn.bias' and 'backbone.Conv_2b.bn.bias' are one tensor"):
        match_tensors(state)
