"""Encoders for other programs: an exported file computes the same, a hub folder loads equal, a wrong one is refused."""

import base64
import json
import os
import runpy
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import refused, succeeds
from released import CLIP, R3D, RELEASES, run_table

import unreel
from unreel.embedding import VideoEncoder, join_views, load_encoder
from unreel.io.checksums import write_checksums
from unreel.model_export.onnx_file import load_onnx
from unreel.model_export.torch_export_file import load_torch_export
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.encoder.checkpoint_files import SPEC_FILE, WEIGHTS_FILE, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import BACKBONES
from unreel.verbs.training import export_model as verb
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed_with_onnx.py"
CLOSE = 1e-4


def draw_clips(encoder: Encoder, count: int) -> torch.Tensor:
    height, width = encoder.spec.views.resize_hw
    shape = (count, encoder.spec.clip.total_frames, height, width, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


def require_same(encoder: Encoder, run_model: Any, counts: tuple[int, ...] = (1, 3, 5)) -> None:
    """Batches of several sizes come out as the encoder's own features and rows."""
    for count in counts:
        clips = draw_clips(encoder, count)
        parts = {name: part.numpy() for name, part in encoder.extract_parts(clips).items()}
        features, embedding = run_model(clips.numpy())
        expected = np.concatenate(list(parts.values()), axis=1)
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(features - expected).max() < CLOSE * scale
        assert np.abs(embedding - join_views(parts)).max() < CLOSE
        assert np.allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)


@pytest.fixture(scope="module")
def onnx_model(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run with two views as ONNX, and what was said."""
    file = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    return file, succeeds("export-model", small_run, "--to", f"onnx:{file}").out


def test_onnx_runtime_computes_what_the_encoder_does(onnx_model: tuple[Path, str], small_run: Path) -> None:
    file, said = onnx_model
    assert "differs by" in said and "on 8 clips (videos of its training)" in said
    require_same(load_encoder(small_run), load_onnx(file))
    assert sorted(path.name for path in file.parent.iterdir()) == ["encoder.json", "encoder.onnx"]


def test_the_file_beside_it_says_what_a_program_has_to_do(onnx_model: tuple[Path, str], small_run: Path) -> None:
    about, spec = json.loads(onnx_model[0].with_suffix(".json").read_text()), load_encoder(small_run).spec
    height, width = spec.views.resize_hw
    assert about["input"]["shape"] == ["any", spec.clip.total_frames, height, width, 3]
    assert about["clip"]["fps"] == spec.clip.fps and about["clip"]["lead_in"] == 1
    assert about["resize"] | {"height": height, "width": width} == about["resize"]
    assert about["inside_the_model"]["views"] == list(spec.views.names)
    assert [part["name"] for part in about["parts"]] == list(spec.part_names)
    assert about["parity"]["clips"] == 8 and about["parity"]["largest_difference"] < CLOSE


def test_the_example_embeds_a_video_without_unreel(
    onnx_model: tuple[Path, str], small_run: Path, motion_set: Path
) -> None:
    text = EXAMPLE.read_text()
    assert "import unreel" not in text and "from unreel" not in text
    embed = runpy.run_path(str(EXAMPLE))["embed"]
    for video in sorted(motion_set.rglob("*.mp4"))[:2]:
        expected = load_encoder(small_run).embed(video, num_clips=3).vectors[0]
        assert np.abs(embed(str(onnx_model[0]), str(video), num_clips=3) - expected).max() < CLOSE


def test_torch_export_computes_what_the_encoder_does(small_run: Path, tmp_path: Path) -> None:
    said = succeeds("export-model", small_run, "--to", f"torch-export:{tmp_path / 'encoder.pt2'}").out
    assert "differs by" in said
    require_same(load_encoder(small_run), load_torch_export(tmp_path / "encoder.pt2"))


def test_released_weights_go_in_and_out_and_are_the_same(motion_set: Path, tmp_path: Path) -> None:
    torch.save({"model": run_table(R3D, CLIP)[0]}, tmp_path / "iic.pth")
    unreel.import_weights(tmp_path / "iic.pth", tmp_path / "encoder", num_frames=8, size=32)
    done = unreel.export_model(tmp_path / "encoder", f"onnx:{tmp_path / 'iic.onnx'}", videos=motion_set)
    assert done.difference < CLOSE and done.num_clips == 8 and done.clips == str(motion_set)
    require_same(load_encoder(tmp_path / "encoder"), load_onnx(tmp_path / "iic.onnx"), (1, 3))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {name for _, name, *_ in RELEASES.values()}))
def test_every_network_without_a_release_goes_out_and_is_the_same(
    backbone: str, motion_set: Path, tmp_path: Path
) -> None:
    made = VideoEncoder(
        EncoderSpec(backbone, clip=ClipSpec(8, fps=12.5, stride_frames=0), views=ViewSpec(("rgb",), 32))
    )
    (tmp_path / "encoder").mkdir()
    save_encoder(made.eval(), tmp_path / "encoder")
    write_checksums(tmp_path / "encoder", (WEIGHTS_FILE, SPEC_FILE))
    unreel.export_model(tmp_path / "encoder", f"onnx:{tmp_path / 'model.onnx'}", videos=motion_set)
    require_same(made, load_onnx(tmp_path / "model.onnx"), (1, 3))


@pytest.mark.slow
@pytest.mark.parametrize("case", RELEASES)
def test_every_network_goes_in_and_out_and_is_the_same(case: str, motion_set: Path, tmp_path: Path) -> None:
    layout, _, table, options, eps, wrap = RELEASES[case]
    torch.save(wrap(run_table(table, CLIP, eps, **options)[0]), tmp_path / "file.pth")
    unreel.import_weights(tmp_path / "file.pth", tmp_path / "encoder", layout, num_frames=8, size=32)
    unreel.export_model(tmp_path / "encoder", f"onnx:{tmp_path / 'model.onnx'}", videos=motion_set)
    require_same(load_encoder(tmp_path / "encoder"), load_onnx(tmp_path / "model.onnx"), (1, 3))


def test_a_model_that_differs_is_refused_and_not_written(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is not made; the encoder stands in for it, with one number of one clip changed."""
    encoder = load_encoder(small_run)

    def load(path: Path) -> Any:
        def run(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            parts = {name: part.numpy() for name, part in encoder.extract_parts(torch.from_numpy(frames)).items()}
            embedding = join_views(parts)
            embedding[-1, -1] += np.float32(error)
            return np.concatenate(list(parts.values()), axis=1), embedding

        return run

    monkeypatch.setitem(verb.WRITERS, "onnx", (lambda graph, clips, path: path.write_bytes(b"graph"), load))
    place = tmp_path / "a.onnx"
    for wrong in (2e-4, float("nan")):
        error = wrong
        refused("export-model", small_run, "--to", f"onnx:{place}", says=("the onnx model differs", "0.0001"))
        assert not list(tmp_path.iterdir())
    error = 5e-5
    assert unreel.export_model(small_run, f"onnx:{place}").difference == pytest.approx(5e-5, rel=0.1)


def test_a_hub_folder_holds_all_and_loads_equal_to_the_bit(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    said = succeeds("export-model", small_run, "--to", f"hub:{tmp_path / 'hub'}", "--licence", "mit").out
    assert "loads equal to the bit" in said
    folder, encoder = tmp_path / "hub", load_encoder(small_run)
    again = unreel.load_encoder(folder)
    state = encoder.backbone.state_dict()
    assert again.spec == encoder.spec
    assert all(torch.equal(state[name], tensor) for name, tensor in again.backbone.state_dict().items())
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n") and "library_name: unreel" in card
    assert "Method `trio`" in card and "steps 8" in card and "64 (" not in card and "128 (rgb)" in card
    config = json.loads((folder / "config.json").read_text())
    assert config["backbone"] == config["architecture"] == "tiny" and config["num_features"] == 128
    as_timm, views = config["pretrained_cfg"], encoder.spec.views
    assert as_timm["input_size"] == [3, encoder.spec.clip.num_frames, views.size, views.size]
    assert as_timm["license"] == "mit" and as_timm["mean"] == [0, 0, 0] and not views.standardize
    for path in folder.glob("*.*"):
        assert path.suffix == ".safetensors" or str(motion_set.parent) not in path.read_text(), path  # no local paths


def test_the_card_tells_what_is_known_of_released_weights(tmp_path: Path) -> None:
    torch.save({"model": run_table(R3D, CLIP)[0]}, tmp_path / "iic.pth")
    unreel.import_weights(tmp_path / "iic.pth", tmp_path / "encoder")
    (tmp_path / "terms.txt").write_text("For research alone.\n")
    unreel.export_model(tmp_path / "encoder", f"hub:{tmp_path / 'hub'}", licence=str(tmp_path / "terms.txt"))
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "license: other" in card and "BestJuly/IIC" in card and "- not known: the videos of pre-training" in card
    assert (tmp_path / "hub" / "LICENSE").read_text() == "For research alone.\n"
    unreel.export_model("base", f"hub:{tmp_path / 'base'}")
    assert "license: apache-2.0" in (tmp_path / "base" / "README.md").read_text()


class HubStandIn(BaseHTTPRequestHandler):
    """The few addresses of a hub that an upload of small files uses."""

    files: dict[str, bytes]
    asked: list[tuple[str, str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        self.asked.append((self.path, self.headers.get("Authorization", ""), lines))
        address = f"http://127.0.0.1:{self.server.server_port}"
        answer: dict[str, Any] = {"url": f"{address}/me/encoder"}
        if "preupload" in self.path:
            answer = {"files": [f | {"uploadMode": "regular", "shouldIgnore": False} for f in lines[0]["files"]]}
        elif "validate-yaml" in self.path:
            answer = {"errors": [], "warnings": []}
        elif "commit" in self.path:
            sent = [line["value"] for line in lines if line["key"] == "file"]
            self.files.update({file["path"]: base64.b64decode(file["content"]) for file in sent})
            answer = {"success": True, "commitOid": "0" * 40, "commitUrl": f"{address}/me/encoder/commit/{'0' * 40}"}
        self.answer(403 if "refused" in self.path else 200, answer)

    def do_GET(self) -> None:
        self.answer(200, {"id": "me/encoder", "sha": "0" * 40, "siblings": [], "private": True})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[HubStandIn]]:
    Handler = type("Handler", (HubStandIn,), {"files": {}, "asked": []})
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield Handler
        server.shutdown()
        thread.join()


def test_a_hub_folder_is_pushed_with_one_flag(hub: type[HubStandIn], tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    said = succeeds("export-model", "base", "--to", f"hub:{folder}", "--push", "me/encoder").out
    assert "pushed to" in said and "me/encoder" in said
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {token for _, token, _ in hub.asked} == {"Bearer hf_of_a_test"}
    made = next(lines[0] for path, _, lines in hub.asked if path.endswith("repos/create"))
    assert made.get("private") or made.get("visibility") == "private", made


def test_a_hub_that_refuses_is_a_sentence_and_the_folder_is_kept(hub: type[HubStandIn], tmp_path: Path) -> None:
    place = f"hub:{tmp_path / 'hub'}"
    refused(
        "export-model", "base", "--to", place, "--push", "me/refused", says=("the hub did not take", "which is kept")
    )
    assert unreel.load_encoder(tmp_path / "hub").spec.backbone == "tiny"


def test_mistakes_are_a_sentence_each(small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: object, says: tuple[str, ...]) -> None:
        refused("export-model", *args, says=says)
        assert sorted(os.listdir(tmp_path)) == ["there.onnx"]

    (tmp_path / "there.onnx").write_text("")
    no(small_run, "--to", "onxx:a.onnx", says=("unknown model format 'onxx'", "Did you mean 'onnx'?"))
    no(small_run, "--to", "onnx", says=("has no place; write onnx:FILE.onnx",))
    no(small_run, "--to", f"onnx:{tmp_path / 'a.pt'}", says=("ends in .onnx",))
    no(small_run, "--to", f"onnx:{tmp_path / 'there.onnx'}", says=("exists already",))
    no(tmp_path, "--to", f"onnx:{tmp_path / 'a.onnx'}", says=("neither a run nor a checkpoint",))
    half = Path(shutil.copytree(BASE_ENCODERS / "base", tmp_path.parent / f"{tmp_path.name}-half"))
    (half / "encoder.safetensors").unlink()
    no(half, "--to", f"onnx:{tmp_path / 'a.onnx'}", says=("encoder.safetensors is missing",))
    no(small_run, "--to", "timm-like", says=("has no place; write hub:FOLDER",))
    no(small_run, "--to", f"onnx:{tmp_path / 'a.onnx'}", "--push", "me/a", says=("only a hub folder is pushed",))
    no(small_run, "--to", f"hub:{tmp_path / 'hub'}", "--licence", "no such!", says=("neither a file nor a name",))
    empty = tmp_path.parent / f"{tmp_path.name}-empty"
    empty.mkdir()
    no(small_run, "--to", f"onnx:{tmp_path / 'a.onnx'}", "--videos", empty, says=("no",))
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not installed
    no(small_run, "--to", f"onnx:{tmp_path / 'a.onnx'}", says=("needs the package onnx", "unreel[export]"))


def test_views_that_no_graph_computes_are_refused() -> None:
    spec = EncoderSpec("tiny", clip=ClipSpec(8), views=ViewSpec(("rgb", "flow-u"), 32))
    with pytest.raises(unreel.UnreelError, match="flow-u can't be exported: its flow is computed by OpenCV"):
        verb.EncoderGraph(unreel.Encoder(spec))
