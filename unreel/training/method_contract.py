"""A batch of two clips of noise through code of one's own, before a run is made: views, loss, gradients, after_step.

So a mistake against the contract is a sentence with its line, and not an AttributeError deep in the loop.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from unreel.errors import OwnCodeError
from unreel.own_code.copies import list_own
from unreel.own_code.error_lines import explain_errors
from unreel.own_code.loading import get_loaded
from unreel.own_code.method_contract import describe_value
from unreel.own_code.source_files import SourceFiles
from unreel.training.job import TrainingJob
from unreel.training.run_folder.config import RunConfig
from unreel.types import Clips, StepOutput, Views

NUM_CLIPS = 2
STEP_OUTPUT = 'it must return StepOutput(loss, {"name": figure})'


def list_own_sources(run_config: RunConfig) -> list[SourceFiles]:
    """The sources of what a run takes from code of one's own."""
    return [get_loaded(name, kind).sources for kind, name in list_own(run_config.code_names)]


@contextlib.contextmanager
def explain_own_errors(run_config: RunConfig) -> Iterator[None]:
    """Raise OwnCodeError, one sentence with the line, for an error out of the code of one's own that a run takes."""
    names = " and ".join(f"{kind} '{name}'" for kind, name in list_own(run_config.code_names))
    with explain_errors(f"{names} failed", *list_own_sources(run_config)):
        yield


def try_own_code(job: TrainingJob) -> None:
    """One step on two clips of noise, on a copy of the method; nothing of it is left. Raises OwnCodeError.

    Does nothing where a run takes only what unreel has.
    """
    sources = list_own_sources(job.run_config)
    if not sources:
        return
    with torch.random.fork_rng(devices=[]):
        method, clips = copy.deepcopy(job.method).train(), make_noise(job)
        check_backbone(job, sources)
        views = job.recipe(clips)
        check_views(job, views, sources)
        output = method(views)
        check_output(output, find_place(type(method).forward, sources))
        output.loss.backward()
        if all(weight.grad is None for weight in method.parameters()):
            raise OwnCodeError(
                f"{find_place(type(method), sources)}: no weight of the method gets a gradient from its loss"
            )
        method.after_step()  # type: ignore[operator]


def make_noise(job: TrainingJob) -> Clips:
    """Two clips of noise of the first instances, as the loader would give them; always the same."""
    spec = job.encoder.spec
    shape = (NUM_CLIPS, job.recipe.num_clips, spec.clip.total_frames, *spec.views.resize_hw, 3)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    index_B = torch.arange(NUM_CLIPS) % len(job.instances)
    video_B = torch.tensor([job.instances[i].video for i in index_B.tolist()])
    return Clips(frames, index_B, video_B, torch.zeros(NUM_CLIPS, dtype=torch.float64), epoch=0)


def find_place(member: Any, sources: list[SourceFiles]) -> str:
    """`FILE:LINE` of a class or function where it is code of one's own, else the file that was named."""
    with contextlib.suppress(TypeError, OSError):
        file, line = inspect.getsourcefile(member), inspect.getsourcelines(member)[1]
        if any(file == f"{source.root}/{name}" for source in sources for name in source.files):
            return f"{file}:{line}"
    return str(sources[0].main)


def check_backbone(job: TrainingJob, sources: list[SourceFiles]) -> None:
    """The method keeps its network where checkpoints look for it."""
    if getattr(job.method, "backbone", None) is not job.encoder.backbone:
        place = find_place(type(job.method), sources)
        raise OwnCodeError(f"{place}: the method keeps no network; write self.backbone = backbone, so that it is saved")


def check_views(job: TrainingJob, views: Any, sources: list[SourceFiles]) -> None:
    """The recipe makes named float clips of the run's length and size.

    A recipe that crops otherwise on purpose says so: view_shapes = {"local": (8, 32, 32)}, of frames, height, width.
    """
    place = find_place(type(job.recipe), sources)
    if not isinstance(views, Views) or not isinstance(views.tensors, dict) or not views.tensors:
        raise OwnCodeError(
            f"{place}: the recipe returns {describe_value(views)}; it must return Views with named tensors"
        )
    spec, own_shapes = job.encoder.spec, getattr(job.recipe, "view_shapes", {})
    for name, view in views.tensors.items():
        thw = own_shapes.get(name, (spec.clip.num_frames, spec.views.size, spec.views.size))
        expected = (NUM_CLIPS, 3, *thw)
        if not isinstance(view, Tensor) or not view.is_floating_point() or tuple(view.shape) != expected:
            found = f"{view.dtype} {tuple(view.shape)}" if isinstance(view, Tensor) else describe_value(view)
            advice = f'If it is to differ, give the recipe view_shapes = {{"{name}": (frames, height, width)}}'
            problem = f"the view '{name}' of two clips is {found}; clips of this run are float {expected}"
            raise OwnCodeError(f"{place}: {problem}. {advice}")


def check_output(output: Any, place: str) -> None:
    """The method returns a StepOutput with a scalar loss that has its graph, and scalars for the log."""
    if not isinstance(output, StepOutput):
        raise OwnCodeError(f"{place}: forward returns {describe_value(output)}; {STEP_OUTPUT}")
    loss = output.loss
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.is_floating_point():
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else describe_value(loss)
        raise OwnCodeError(f"{place}: the loss is {found}; it must be one float, e.g. the mean over the batch")
    if not loss.requires_grad:
        raise OwnCodeError(f"{place}: the loss depends on no weight; was it detached, or computed under no_grad?")
    for name, figure in output.logs.items():
        if not isinstance(figure, Tensor) or figure.numel() != 1:
            raise OwnCodeError(
                f"{place}: the figure '{name}' for the log is {describe_value(figure)}, not a scalar tensor"
            )
