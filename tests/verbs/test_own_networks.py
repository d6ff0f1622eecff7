"""Networks and methods from everywhere, through the API and the command line: trained, resumed, evaluated, inflated."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from commands import call, refused, succeeds
from runs import assert_equal_runs, stop_after, tensors
from safetensors.torch import load_file
from torch import Tensor, nn

import unreel
from unreel.corpus.inspection import inspect as inspect_videos
from unreel.corpus.manifest import Manifest
from unreel.embedding import load_encoder
from unreel.errors import InputError, RunError, VideoError
from unreel.evaluation.contamination import list_seen_videos
from unreel.io.checksums import write_checksums
from unreel.methods.registry import find_methods, load_preset
from unreel.models.backbones import r3d50
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.models.registry import build_backbone
from unreel.settings import Settings
from unreel.training.dry_run import dry_run
from unreel.training.job import build_training_job, select_backbone_options
from unreel.training.run_folder.checkpoint import CHECKSUMMED_FILES
from unreel.training.run_folder.config import RunConfig, build_run_config
from unreel.training.runtime.auto_settings import resolve_auto
from unreel.verbs.training.inflate import inflate
from unreel.video.loading import clip_dataset

RUN = "--size 32 --batch-size 4 --workers 0 --threads 1 --device cpu --quiet".split()
TINY = [*RUN, "--backbone", "tiny", "--num-frames", 8]

METHOD = '''
"""Pull: the two views of an instance are pulled together."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from unreel.errors import InputError
from unreel.settings import make_single_machine_settings
from unreel.types import StepOutput
from unreel.views.two_views import TwoViewOptions

Path(__file__).with_name("imported").touch()


@dataclass(frozen=True)
class Config(TwoViewOptions):
    """Options of pull."""

    force: float = 1.0
    """How hard."""

    def check(self, settings, num_instances):
        if self.force <= 0:
            raise InputError(f"force must be above 0, got {self.force}")


def near():
    """Views of one moment."""
    return Config(pairs="same-moment"), make_single_machine_settings()


def far():
    """Views of two moments."""
    return Config(force=3.5), make_single_machine_settings(lr=0.001)


PRESETS = {"near": near, "far": far}


class Method(nn.Module):
    def __init__(self, backbone, instances, config, seed):
        super().__init__()
        self.backbone, self.config = backbone, config
        self.register_buffer("steps", torch.tensor(0))

    def forward(self, views):
        a, b = (self.backbone(views.tensors[n]).mean(dim=(2, 3, 4)) for n in ("view1", "view2"))
        return StepOutput(self.config.force * (a - b).square().mean(), {})

    def after_step(self):
        self.steps += 1
'''

NETWORK = """
from pathlib import Path

from torch import nn

Path(__file__).with_name("imported").touch()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(3, 6, 3, stride=2), nn.BatchNorm3d(6)

    def forward(self, clips):
        return self.norm(self.conv(clips)).relu().mean(dim=(2, 3, 4))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of one's own, `own_code`, with a method and a network; `imported` appears when either has run."""
    folder = tmp_path / "elsewhere" / "own_code"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "pull.py").write_text(METHOD)
    (folder / "networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    forget()


def forget() -> None:
    """As if this process had never imported the package."""
    for name in [n for n in sys.modules if n.partition(".")[0] == "own_code"]:
        del sys.modules[name]


def manifest_of(folder: Path) -> Manifest:
    return inspect_videos(folder, check="fast", shots=False)


def spec_of(folder: Path) -> Any:
    return load_encoder(folder).spec


def changed_config(run: Path, **changes: Any) -> None:
    """Write a run's config.json again, with other settings or options (None takes one out)."""
    saved = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        part = saved["settings"] if name in saved["settings"] else saved["options"]
        part.pop(name, None)
        if value is not None:
            part[name] = value
    (run / "config.json").write_text(json.dumps(saved))


# --- methods from elsewhere


def test_a_method_of_ones_own_from_help_to_resume(
    own: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    told = succeeds("pretrain", "--help", "--method", "own_code.pull:far").out
    assert "--force" in told and "3.5" in told and "--queue-size" not in told
    assert "Pull: the two views" in (said := succeeds("methods", "own_code.pull:far").out)
    assert "Views of two moments" in said and "--force 3.5" in said
    assert "Views of one moment" in succeeds("methods", "own_code.pull").out
    options = ["--method", "own_code.pull:far", *TINY, "--force", 2, "--steps", 3, "--log-steps", 1]
    succeeds("pretrain", motion_set, "--out", whole, *options)
    stop_after(monkeypatch, 1, save=True)
    stopped = call("pretrain", motion_set, "--out", out, *options)
    assert stopped.code == 130 and f"--resume {out}" in stopped.err and "step 2" in stopped.err
    monkeypatch.undo()  # takes the path away as well
    monkeypatch.syspath_prepend(own.parent)
    forget()
    (own / "imported").unlink()
    refused("pretrain", "--resume", out, says=("method 'own_code.pull:far'", "--allow-import"))
    with pytest.raises(RunError, match="allow_import=True"):
        unreel.resume(out)
    assert not (own / "imported").exists() and "own_code.pull" not in sys.modules
    succeeds("pretrain", "--resume", out, "--allow-import", "--quiet")
    assert (own / "imported").exists()
    assert_equal_runs(whole, out)
    assert tensors(out)["method.steps"] == 3
    assert spec_of(out).method == "own_code.pull:far"  # the encoder alone needs no method


def test_a_method_that_needs_no_others_trains_on_a_single_video(own: Path, motion_set: Path, tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "run"
    videos.mkdir()
    shutil.copy(next(motion_set.glob("*/*.mp4")), videos)
    succeeds("pretrain", videos, "--out", out, "--method", "own_code.pull:near", *TINY, "--steps", 2, "--log-steps", 1)
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 2


def test_names_of_methods_that_lead_nowhere(own: Path, motion_set: Path, tmp_path: Path) -> None:
    for name, says in (
        ("own_code.absent", "method 'own_code.absent' can't be imported"),
        ("own_code.pull:fra", "unknown preset 'fra'. Did you mean 'far'"),
    ):
        refused("pretrain", motion_set, "--out", tmp_path / "run", "--method", name, says=(says,))
    options = ("--method", "own_code.pull:near", *TINY, "--force", 0)
    refused("pretrain", motion_set, "--out", tmp_path / "run", *options, says=("force must be above 0, got 0",))
    assert not (tmp_path / "run").exists()


# --- networks from elsewhere


def test_a_network_of_ones_own_from_training_to_embedding(own: Path, motion_set: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--backbone", "own_code.networks.Small", "--num-frames", 4, *RUN, "--steps", 2]
    succeeds("pretrain", motion_set / "train.txt", "--out", run, *options)
    forget()
    (own / "imported").unlink()
    commands: dict[tuple[object, ...], str] = {
        ("pretrain", "--resume", run): "backbone 'own_code.networks.Small'",
        ("evaluate", "retrieval", run, motion_set, "--num-clips", 1): "backbone 'own_code.networks.Small'",
        ("embed", run, motion_set / "test.txt", "--out", tmp_path / "e.parquet", "--num-clips", 1): "'own_code.net",
    }
    for command, says in commands.items():
        refused(*command, says=(says, "--allow-import"))
    assert not (own / "imported").exists() and not (tmp_path / "e.parquet").exists()
    for command in commands:
        forget()
        succeeds(*command, "--allow-import")
    assert (own / "imported").exists() and pq.read_table(tmp_path / "e.parquet").num_rows == 8
    encoder = unreel.load_encoder(run, allow_import=True)
    assert encoder.spec.options == {"size": 32, "num_frames": 4} and encoder.backbone.num_features == 6


def test_a_folder_of_transformers_is_needed_only_at_the_start(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    folder, whole, cut = tmp_path / "weights", tmp_path / "whole", tmp_path / "cut"
    config = {"image_size": 32, "num_frames": 8, "hidden_size": 16, "intermediate_size": 32}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.VideoMAEModel(transformers.VideoMAEConfig(**config)).save_pretrained(folder)
    options = small | {"backbone": f"transformers:{folder}", "steps": 3, "log_steps": 1, "method": "simclr"}
    unreel.pretrain(motion_set, out=whole, quiet=True, **options)  # type: ignore[arg-type]
    stop_after(monkeypatch, 1, save=True)
    assert unreel.pretrain(motion_set, out=cut, quiet=True, **options)["step"] == 2  # type: ignore[arg-type]
    monkeypatch.undo()
    shutil.rmtree(folder)
    unreel.resume(cut, quiet=True)
    assert_equal_runs(whole, cut)
    encoder = unreel.load_encoder(cut)
    assert encoder.spec.options["config"]["hidden_size"] == 16
    assert encoder.embed(motion_set / "test.txt", num_clips=1).vectors.shape == (8, 16)
    with pytest.raises(InputError, match="neither a model of transformers"):
        unreel.pretrain(motion_set, out=tmp_path / "again", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="do not divide"):
        odd = options | {"backbone": "transformers:videomae", "size": 40}
        unreel.pretrain(motion_set, out=tmp_path / "again", **odd)  # type: ignore[arg-type]
    assert not (tmp_path / "again").exists()


def test_a_plain_name_of_transformers_is_built_for_the_runs_clips(motion_set: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    settings = resolve_auto(Settings(backbone="transformers:videomae", size=32, num_frames=8, device="cpu"))
    assert select_backbone_options(settings) == {"size": 32, "num_frames": 8}
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    options = select_backbone_options(settings) | {"config": small}
    config = RunConfig("simclr", load_preset("simclr")[0], settings)
    job = build_training_job(tmp_path, manifest_of(motion_set), config, options)
    dry_run(job)
    saved = json.loads(json.dumps(job.encoder.spec.to_json()))["options"]
    assert (saved["config"]["image_size"], saved["config"]["num_frames"]) == (32, 8)
    again = build_backbone(settings.backbone, **saved)
    assert {n: t.shape for n, t in again.state_dict().items()} == {
        n: t.shape for n, t in job.encoder.backbone.state_dict().items()
    }


class Wide(nn.Module):
    """Stands in for r3d50, whose width costs a gigabyte."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = 4 * width
        self.conv = nn.Conv3d(3, self.num_features, 3, stride=4, padding=1)

    def forward(self, clips: Tensor) -> Tensor:
        return self.conv(clips)


def test_width_reaches_the_network_its_checkpoint_and_what_is_inflated_of_it(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r3d50, "build", lambda in_channels=3, width=1: Wide(width))
    run, flat = tmp_path / "run", tmp_path / "flat"
    common = [*RUN, "--steps", 1, "--width", 3]
    succeeds("pretrain", motion_set, "--out", run, *common, "--backbone", "r3d50", "--num-frames", 8)
    assert spec_of(run).options == {"width": 3} and load_encoder(run).backbone.num_features == 12
    succeeds("pretrain", "--resume", run)
    succeeds("pretrain", motion_set, "--out", flat, *common, "--backbone", "r3d50-2d", "--method", "simclr-frames")
    succeeds("inflate", flat, "--out", tmp_path / "inflated")
    assert spec_of(tmp_path / "inflated").options == {"width": 3}
    none = tmp_path / "none"
    refused("pretrain", motion_set, "--out", none, *TINY, "--width", 2, says=("backbone 'tiny' has no option width",))
    assert not none.exists()


# --- from frames to clips


def test_simclr_on_frames_is_inflated_evaluated_and_trained_on(motion_set: Path, tmp_path: Path) -> None:
    flat, encoder, run = tmp_path / "flat", tmp_path / "encoder", tmp_path / "run"
    succeeds("pretrain", motion_set, "--out", flat, "--method", "simclr-frames", *RUN, "--steps", 2)
    two_d = load_encoder(flat)
    assert two_d.spec.backbone == "tiny-2d" and two_d.spec.clip.num_frames == 1  # auto-2d on a CPU
    assert "tiny, clips of 8 frames" in succeeds("inflate", flat, "--out", encoder).out
    three_d = load_encoder(encoder)
    assert three_d.spec.views == two_d.spec.views
    assert three_d.spec.clip == dataclasses.replace(two_d.spec.clip, num_frames=8)
    result = json.loads(succeeds("evaluate", "retrieval", encoder, motion_set, "--num-clips", 1, "--json").out)
    assert result["protocol"]["queries"] == 8
    succeeds("pretrain", motion_set, "--out", run, *TINY, "--steps", 1, "--init", flat)
    shutil.rmtree(flat)  # what a run began with is not needed to go on
    succeeds("pretrain", "--resume", run)


def test_init_begins_with_the_inflated_weights(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    flat, file = build_backbone("tiny-2d"), tmp_path / "flat.pth"
    torch.save(flat.state_dict(), file)
    config = build_run_config("trio", {"backbone": "tiny", "size": 32, "num_frames": 8, "init": str(file)})
    backbone = build_training_job(tmp_path, manifest_of(motion_set), config).encoder.backbone
    inflated = inflate(file, tmp_path / "encoder", "tiny").backbone
    ours, theirs = backbone.state_dict(), inflated.state_dict()
    assert [n for n in ours if not torch.equal(ours[n], theirs[n])] == []
    first, wanted = next(iter(backbone.parameters())), next(iter(flat.parameters()))
    assert torch.allclose(first.sum(dim=2, keepdim=True), wanted, atol=1e-6)
    out = ("--out", tmp_path / "run")
    for init, says in (
        (tmp_path / "no.pth", "no such file or run"),
        (".", "neither a"),
    ):
        refused("pretrain", motion_set, *out, *TINY, "--init", init, says=(says,))
    for init in (file, small_run):
        refused("pretrain", motion_set, *out, *RUN, "--backbone", "c3d", "--init", init, says=("not the same network",))
    assert not (tmp_path / "run").exists()


def test_a_warm_start_has_the_weights_of_another_method(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    config = build_run_config("motion", {"size": 32, "num_frames": 8, "backbone": "tiny", "init": str(small_run)})
    begun = build_training_job(tmp_path, manifest_of(motion_set), config).encoder.backbone.state_dict()
    other = load_encoder(small_run)
    assert other.spec.method != "motion"
    assert [n for n, tensor in other.backbone.state_dict().items() if not torch.equal(tensor, begun[n])] == []
    run = tmp_path / "run"
    succeeds("pretrain", motion_set, "--out", run, "--method", "motion", *RUN, "--steps", 1, "--init", small_run)


def torchvision_like(network: nn.Module) -> dict[str, Tensor]:
    """A 2D state dict as image libraries write it: other names, four dimensions, a classifier."""
    state = {f"layer{i}.{n.rpartition('.')[2]}": t for i, (n, t) in enumerate(network.state_dict().items())}
    flat = {n: t.squeeze(2) if t.ndim == 5 else t for n, t in state.items()}
    return flat | {"fc.weight": torch.rand(10, 128), "fc.bias": torch.rand(10)}


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_an_image_networks_file_becomes_an_encoder(suffix: str, motion_set: Path, tmp_path: Path) -> None:
    flat, file, out = build_backbone("tiny-2d"), tmp_path / f"flat{suffix}", tmp_path / "encoder"
    torch.save({"state_dict": {f"module.{n}": t for n, t in torchvision_like(flat).items()}, "epoch": 3}, file)
    done = succeeds("inflate", file, "--out", out, "--backbone", "tiny", "--num-frames", 4)
    assert "tiny, clips of 4 frames" in done.out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder", file.name]
    encoder = load_encoder(out)
    assert encoder.spec.clip.num_frames == 4
    assert encoder.spec.views.standardize and encoder.spec.views.names == ("rgb",)
    first, wanted = next(iter(encoder.backbone.parameters())), next(iter(flat.parameters()))
    assert torch.allclose(first.sum(dim=2, keepdim=True), wanted, atol=1e-6)
    embedded = succeeds("embed", out, motion_set / "test.txt", "--out", tmp_path / "e.parquet", "--num-clips", 1)
    assert "8 rows" in embedded.out


def test_what_can_not_be_inflated_leaves_nothing_behind(small_run: Path, tmp_path: Path) -> None:
    flat, deep, out = tmp_path / "flat.pth", tmp_path / "deep.pth", tmp_path / "encoder"
    torch.save(build_backbone("tiny-2d").state_dict(), flat)
    torch.save(build_backbone("tiny").state_dict(), deep)
    for source in (small_run, out.parent / "gone.pth", tmp_path / "flat.ckpt", tmp_path, deep):
        says = {small_run: "spans frames already", deep: "spans frames already", tmp_path: "neither a run nor"}
        says |= {tmp_path / "flat.ckpt": "no such file", out.parent / "gone.pth": "no such file"}
        refused("inflate", source, "--out", out, "--backbone", "tiny", says=(says[source],))
    refused("inflate", flat, "--out", out, says=("not the same network", "lack 'stages.0.0.conv1.weight'"))  # r3d50
    refused("inflate", flat, "--out", out, "--backbone", "tinny", says=("Did you mean 'tiny'",))
    refused("inflate", flat, "--out", out, "--backbone", "tiny", "--num-frames", -1, says=("at least 1 frame",))
    assert {p.name for p in tmp_path.iterdir()} == {"flat.pth", "deep.pth"}
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    refused("inflate", flat, "--out", out, "--backbone", "tiny", says=("exists already", "--out"))
    assert [p.name for p in out.iterdir()] == ["mine.txt"]


# --- going on


@pytest.mark.parametrize(
    ("method", "options"),
    [("moco", {"queue_size": 8}), ("moco-v3", {}), ("trio", {}), ("dual-moco", {"queue_size": 8})],
)
def test_teachers_queues_and_rankings_go_on_to_the_same_bits(
    method: str,
    options: dict[str, Any],
    motion_set: Path,
    tmp_path: Path,
    small: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = small | options | {"steps": 4, "log_steps": 1, "method": method}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    unreel.pretrain(motion_set, out=whole, quiet=True, **options)
    stop_after(monkeypatch, 2, save=True)
    assert unreel.pretrain(motion_set, out=cut, quiet=True, **options)["step"] == 3  # of 5 steps an epoch
    monkeypatch.undo()
    at_stop = tensors(cut)
    unreel.resume(cut, quiet=True)
    assert_equal_runs(whole, cut)
    moved = {n for n, t in tensors(cut).items() if not torch.equal(t, at_stop[n])}
    assert any("weight" in n for n in moved)
    for part in ("teacher.", "queue.") if "queue_size" in options else ():
        assert any(part in n for n in moved), part


def test_memory_for_frames_changes_no_bit(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, reads = clip_dataset.read_frames, {"0": 0, "1024": 0}
    for cache_mb in (0, 1024):

        def counted(*args: Any, key: str = str(cache_mb)) -> Any:
            reads[key] += 1
            return real(*args)

        monkeypatch.setattr(clip_dataset, "read_frames", counted)
        options = small | {"steps": 11, "cache_mb": cache_mb, "monitor_epochs": 5}
        unreel.pretrain(motion_set, out=tmp_path / str(cache_mb), quiet=True, **options)
    assert_equal_runs(tmp_path / "0", tmp_path / "1024")
    assert reads["1024"] < reads["0"] - 10  # the third epoch's clips come from memory


@pytest.mark.parametrize("method", ["byol", "trio"])
def test_a_batch_of_which_one_clip_is_left_is_passed_over(
    method: str, motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = clip_dataset.read_frames, sorted(motion_set.glob("*/*.mp4"))[3]

    def failing(path: str, *args: Any) -> Any:
        if Path(path) == broken:
            raise VideoError(path, "damaged")
        return real(path, *args)

    monkeypatch.setattr(clip_dataset, "read_frames", failing)
    options = small | {"batch_size": 2, "held_out": 0.0, "log_steps": 1, "method": method, "steps": 12}
    assert unreel.pretrain(motion_set, out=tmp_path / "run", quiet=True, **options)["step"] == 12  # all 24 videos
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") == 1 + 11
    assert broken.name in (tmp_path / "run" / "quarantine.csv").read_text()


NEW_SETTINGS = ("width", "init", "drops", "drop_factor", "decay_all", "cache_mb", "sync_batch_norm")
NEW_SETTINGS += ("channels_last", "compile", "fused", "read_back", "draws_per_video", "batches_ahead")


def test_a_run_from_before_a_setting_existed_goes_on_as_it_began(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small | {"steps": 3, "log_steps": 1, "method": "iic"}
    whole, old = tmp_path / "whole", tmp_path / "old"
    unreel.pretrain(motion_set, out=whole, quiet=True, **options)
    stop_after(monkeypatch, 1, save=True)
    unreel.pretrain(motion_set, out=old, quiet=True, **options)
    monkeypatch.undo()
    changed_config(old, **dict.fromkeys(NEW_SETTINGS))
    for description in old.rglob("encoder.json"):
        written = json.loads(description.read_text())
        del written["options"]
        description.write_text(json.dumps(written))
        write_checksums(description.parent, CHECKSUMMED_FILES)  # without the description, as earlier versions
    assert not set(NEW_SETTINGS) & json.loads((old / "config.json").read_text())["settings"].keys()
    unreel.resume(old, quiet=True)
    assert_equal_runs(whole, old)


def test_a_run_with_an_option_that_is_gone_or_a_damaged_config_is_one_line(
    small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(small_run, old)
    changed_config(old, two_clips=True)
    refused("pretrain", "--resume", old, says=("two_clips", "another version", "start a new run"))
    assert len(unreel.load_encoder(old).embed(motion_set / "test.txt", num_clips=1)) == 8
    saved = json.loads((small_run / "config.json").read_text())
    for wrong in ({}, [], {"method": "trio"}, saved | {"options": None}, saved | {"settings": {"backbone": "tiny"}}):
        (old / "config.json").write_text(json.dumps(wrong))
        refused("pretrain", "--resume", old, says=("unreel",))
    (old / "config.json").write_text(json.dumps(saved))
    for description in old.rglob("encoder.json"):
        description.write_text('{"backbone"')
        write_checksums(description.parent, CHECKSUMMED_FILES)
    refused("pretrain", "--resume", old, says=("encoder.json", "can't be read"))


@pytest.mark.parametrize("method", ["json.decoder", "transformers:own.pull", "own:near", "own.py:near"])
def test_a_run_can_not_name_code_as_its_method(method: str, small_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    saved = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(saved | {"method": method}))
    is_network = method.startswith("transformers:")  # the name of networks alone: nothing is imported for it
    refused("pretrain", "--resume", run, says=(f"method '{method}'", "unknown" if is_network else "--allow-import"))


# --- what can't work is refused before anything is written

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("trio", {"segments": 3, "rank-weight": 0.5}, "--segments 3 does not divide a clip of 8 frames"),
    ("trio", {"temperature": 0}, "temperature must lie between"),
    ("trio", {"theta": 0}, "theta must lie between"),
    ("trio", {"rank-weight": -1}, "rank_weight must lie between"),
    ("trio", {"exclude-neighbours-s": -1}, "exclude_neighbours_s must lie between"),
    ("trio", {"batch-size": 1}, "--batch-size must be at least 2"),
    ("trio", {"time-reversal": 2}, "time_reversal must lie between 0 and 1, got 2"),
    ("trio", {"held-out": 1}, "held_out must be below 1"),
    ("trio", {"interval-power": 0}, "interval_power must be above 0"),
    ("trio", {"num-frames": 1, "rank-weight": 0}, "clips of 1 frame have no time"),
    ("motion", {"pairs": "one-clip"}, "both views are residual of one clip"),
    ("motion", {"temperature": 0}, "temperature must lie between"),
    ("iic", {"memory-momentum": 2}, "memory_momentum must lie between"),
    ("iic-paper", {"num-negatives": 0}, "num_negatives must lie between"),
    ("iic-paper", {"second-view": "rgb"}, "--pairs independent"),
    ("iic-v2", {"rescale": True}, "standardised residual frames are the raw difference"),
    ("cmc", {"temperature": -1}, "temperature must lie between"),
    ("cvrl", {"head-layers": 11}, "head_layers must lie between"),
    ("cvrl-paper", {"pairs": "one-clip"}, "both views are rgb of one clip"),
    ("cvrl-paper-200", {"interval-power": 0}, "interval_power must be above 0"),
    ("vicreg", {"batch-size": 1}, "--batch-size must be at least 2"),
    ("dual", {"segments": 3}, "--segments 3 does not divide"),
    ("dual", {"max-exponent": -1}, "max_exponent must lie between"),
    ("dual-moco", {"queue-size": 6}, "--queue-size 6 is not a whole number of batches of 4; 4 would be"),
    ("dual-moco-paper", {"queue-size": 6}, "--queue-size 6 is not a whole number of batches of 4; 4 would be"),
    ("dual-paper", {"segment-width": 0}, "segment_width must lie between"),
    ("simclr", {"temperature": 0}, "temperature must lie between"),
    ("simclr-frames", {"exclude-neighbours-s": -1}, "exclude_neighbours_s must lie between"),
    ("moco", {"queue-size": 6}, "--queue-size 6 is not a whole number of batches of 4; 4 would be"),
    ("moco-v3", {"teacher-momentum": 2}, "teacher_momentum must lie between"),
    ("byol", {"intra-negatives": "shuffle"}, "--intra-negatives shuffle would have no effect"),
    ("byol", {"teacher-momentum": -1}, "teacher_momentum must lie between"),
    ("vicreg", {"intra-negatives": "repeat"}, "--intra-negatives repeat would have no effect"),
]


@pytest.fixture(scope="module")
def inspected(motion_set: Path) -> Manifest:
    return manifest_of(motion_set)


@pytest.mark.parametrize(("method", "options", "says"), REFUSED, ids=lambda v: v if isinstance(v, str) else None)
def test_every_refusal_is_one_line_before_a_run_is_made(
    method: str,
    options: dict[str, Any],
    says: str,
    motion_set: Path,
    inspected: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unreel.corpus.inspection.inspect", lambda *_args, **_more: inspected)
    given = [word for n, v in options.items() for word in ([f"--{n}"] if v is True else [f"--{n}", v])]
    refused("pretrain", motion_set, "--out", tmp_path / "run", "--method", method, *TINY, *given, says=(says,))
    assert list(tmp_path.iterdir()) == []


def test_every_preset_has_a_refusal_above() -> None:
    assert {method for method, _, _ in REFUSED} == set(find_methods())


@pytest.mark.parametrize("method", sorted(set(find_methods())))
def test_every_method_fits_the_job_and_refuses_a_single_video(
    method: str, motion_set: Path, inspected: Manifest, tmp_path: Path
) -> None:
    config = build_run_config(method, {"backbone": "tiny", "size": 32, "num_frames": 8, "batch_size": 4})
    if getattr(config.options, "queue_size", 0):
        config = config.replace(queue_size=8)
    job = build_training_job(tmp_path, inspected, config)
    dry_run(job)
    assert job.encoder.backbone is job.method.backbone
    one = dataclasses.replace(inspected, videos=inspected.videos[:1])
    with pytest.raises(InputError, match="at least 2"):
        build_training_job(tmp_path, one, config)


def test_words_of_init_are_no_folders(motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    config = build_run_config("trio", {"backbone": "tiny", "size": 32, "num_frames": 8, "init": "base"})
    begun = build_training_job(tmp_path, manifest_of(motion_set), config).encoder.backbone.state_dict()
    weights = load_file(BASE_ENCODERS / "base" / "encoder.safetensors")
    assert all(tensor.equal(begun[name]) for name, tensor in weights.items())
    assert build_run_config("trio", {"init": ""}).settings.init == "none"
    assert resolve_auto(build_run_config("trio", {"init": "a/run"}).settings).init == str(tmp_path / "a" / "run")


def test_a_run_has_seen_the_videos_of_the_run_it_began_with(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    run, few = tmp_path / "run", tmp_path / "few.txt"
    few.write_text("".join(f"{motion_set / line}\n" for line in (motion_set / "test.txt").read_text().split()[:4]))
    succeeds("pretrain", few, "--out", run, "--method", "motion", *RUN, "--steps", 1, "--init", small_run)
    assert len(list_seen_videos(run)) == 4 + len(list_seen_videos(small_run))
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["init"] == str(small_run)
    config["settings"]["init"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="gone, which names no videos"):
        list_seen_videos(run)


def test_auto_is_base_where_it_fits(motion_set: Path, tmp_path: Path) -> None:
    for options, init in (
        ({"backbone": "tiny"}, "base"),
        ({"backbone": "r3d"}, "none"),
        ({"backbone": "r3d50", "width": 2}, "none"),
    ):
        settings = build_run_config("trio", options | {"init": "auto", "device": "cpu"}).settings
        assert resolve_auto(settings).init == init
    loud = [option for option in TINY if option != "--quiet"]
    done = succeeds("pretrain", motion_set, "--out", tmp_path / "run", *loud, "--steps", 1, "--init", "auto")
    assert "begins with base, an encoder that was trained on synthetic clips" in " ".join((done.out + done.err).split())
