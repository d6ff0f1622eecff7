"""A batch of two clips through code of one's own before a run is made: every mistake is a sentence with its line."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from own import METHOD, write_files, write_method

from unreel.errors import InputError, OwnCodeError
from unreel.methods.registry import load_method_module
from unreel.models.encoder.encoder import Encoder
from unreel.training.dry_run import dry_run
from unreel.training.job import TrainingJob, build_encoder_spec
from unreel.training.method_contract import explain_own_errors, try_own_code
from unreel.training.run_folder.config import build_run_config
from unreel.types import Instance

SMALL = {"size": 16, "num_frames": 4, "batch_size": 4, "device": "cpu"}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    yield write_files(tmp_path / "elsewhere")
    for name in ("strength", "net", "edges"):
        sys.modules.pop(name, None)


def build_job(own: Path, method: str, backbone: str = "net.py:Small", **options: Any) -> TrainingJob:
    """A job of two instances, without videos."""
    config = build_run_config(method, SMALL | {"backbone": str(own / backbone)} | options)
    encoder = Encoder(build_encoder_spec(config, None))
    instances = [Instance("a.mp4", 0, 0, 2), Instance("b.mp4", 1, 0, 2)]
    torch.manual_seed(0)
    method_class = load_method_module(config.method).Method
    return TrainingJob(
        own,
        config,
        encoder,
        method_class(encoder.backbone, instances, config.options, 0),
        config.options.recipe(encoder.spec.views, 0),
        instances,
        [],
        2,
    )


def test_a_method_that_keeps_the_contract_is_left_as_it_was(own: Path) -> None:
    counting = "def after_step(self):\n        self.backbone.steps = 1 + getattr(self.backbone, 'steps', 0)\n        "
    job = build_job(own, write_method(own, "def after_step(self):\n        ", counting))
    before, state = {n: t.clone() for n, t in job.method.state_dict().items()}, torch.random.get_rng_state()
    dry_run(job)
    assert all(torch.equal(before[n], t) for n, t in job.method.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state()) and not hasattr(job.method.backbone, "steps")
    assert all(weight.grad is None for weight in job.method.parameters())


RETURN = "return StepOutput(force_of(self.config) * (a - b).square().mean(), {})"
MISTAKES = {
    "a tensor": (
        RETURN,
        "return (a - b).square().mean()",
        r"pull\.py:\d+: forward returns a Tensor; it must return StepOutput",
    ),
    "nothing": (RETURN, "pass", "forward returns nothing; it must return StepOutput"),
    "a loss for each clip": (RETURN, "return StepOutput((a - b).square())", r"the loss is a tensor of shape \(2, 4\)"),
    "a detached loss": (RETURN, "return StepOutput((a - b).mean().detach())", "the loss depends on no weight"),
    "figures that are no tensors": (
        "{})",
        '{"top1": 0.5})',
        "the figure 'top1' for the log is a float, not a scalar tensor",
    ),
    "a network that is lost": ("self.backbone, self.config", "self.net, self.config", "write self.backbone = backbone"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_a_method_returns_is_checked(own: Path, mistake: str) -> None:
    old, new, says = MISTAKES[mistake]
    name = write_method(own, old, new)
    if mistake == "a network that is lost":
        text = (own / "pull.py").read_text().replace("self.backbone(views", "self.net(views")
        (own / "pull.py").write_text(text)
    job = build_job(own, name)
    with pytest.raises(OwnCodeError, match=says):
        try_own_code(job)


RECIPE = '''

class Halves:
    """Clips at half the size, without a word about it."""

    num_clips = 1
    SHAPES

    def __init__(self, spec, interval):
        self.spec, self.interval = spec, interval

    def __call__(self, clips):
        frames = clips.frames[:, 0].permute(0, 4, 1, 2, 3).float()[..., :8, :8]
        tensors = {"view1": frames, "view2": frames.flip(2)}
        return Views(tensors, clips.index_B, clips.video_B, clips.start_s_B, clips.epoch)
'''


def test_crops_of_another_size_are_refused_unless_the_recipe_says_so(own: Path) -> None:
    text = METHOD.replace("import StepOutput", "import StepOutput, Views").replace(
        "    def check(self",
        "    def recipe(self, spec, seed):\n        return Halves(spec, self.interval())\n\n    def check(self",
    )
    for shapes, says in (
        ("", r"pull\.py:\d+: the view 'view1' of two clips is torch.float32 \(2, 3, 4, 8, 8\); clips of"),
        ('view_shapes = {"view1": (4, 8, 8), "view2": (4, 8, 8)}', ""),
    ):
        (own / "pull.py").write_text(text + RECIPE.replace("SHAPES", shapes))
        job = build_job(own, f"{own / 'pull.py'}:near")
        if says:
            with pytest.raises(OwnCodeError, match=says):
                dry_run(job)
        else:
            dry_run(job)


def test_an_error_in_own_code_is_a_sentence_with_its_own_line(own: Path) -> None:
    name = write_method(
        own, "def after_step(self):\n        pass", "def after_step(self):\n        self.absent.clear()"
    )
    job = build_job(own, name)
    line = (own / "pull.py").read_text().splitlines().index("        self.absent.clear()") + 1
    says = rf"method 'pull.py:near' and backbone 'net.py:Small' failed: AttributeError: .*pull\.py:{line}: `self.absent"
    with pytest.raises(OwnCodeError, match=says), explain_own_errors(job.run_config):
        try_own_code(job)
    with pytest.raises(ZeroDivisionError), explain_own_errors(job.run_config):
        1 / 0  # noqa: B018  # of unreel, so not to be hidden


def test_an_error_in_what_the_method_imports_is_found_there(own: Path) -> None:
    (own / "strength.py").write_text("def force_of(config):\n    return 1 / 0\n")
    job = build_job(own, f"{own / 'pull.py'}:near")
    with (
        pytest.raises(OwnCodeError, match=r"ZeroDivisionError: .*strength\.py:2: `return 1 / 0`"),
        explain_own_errors(job.run_config),
    ):
        try_own_code(job)


NETWORKS = {
    "a map of four axes": (
        "return self.conv(clips).relu()",
        "return self.conv(clips).mean(dim=2)",
        r"returns \(1, 4, 8, 8\); it must",
    ),
    "an error": (
        "return self.conv(clips).relu()",
        "return self.conf(clips)",
        r"fails on a clip .*'conf' \(.*net\.py:\d+: `return self.c",
    ),
    "a number of features that is wrong": (
        "super().__init__()\n        self.conv",
        "super().__init__()\n        self.num_features = 5\n        self.conv",
        "says num_features = 5 but returns 4",
    ),
}


@pytest.mark.parametrize("mistake", NETWORKS)
def test_what_a_network_returns_is_checked(own: Path, mistake: str) -> None:
    old, new, says = NETWORKS[mistake]
    name, path = write_method(own), own / "net.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=says):
        dry_run(build_job(own, name))


def test_a_network_gets_its_options(own: Path) -> None:
    job = build_job(own, write_method(own), "net.py:Small", backbone_options={"width": 7})
    assert job.encoder.spec.options == {"size": 16, "num_frames": 4, "options": {"width": 7}}
    assert job.encoder.backbone.num_features == 7


def test_a_method_of_unreel_is_not_tried(own: Path) -> None:
    config = build_run_config("simclr", SMALL | {"backbone": "tiny"})
    encoder = Encoder(build_encoder_spec(config, None))
    try_own_code(TrainingJob(own, config, encoder, None, None, [], [], 0))  # type: ignore[arg-type]
