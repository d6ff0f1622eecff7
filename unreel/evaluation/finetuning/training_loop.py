"""Supervised training, on one screen: a backbone and a linear layer, classes from labelled videos.

Decoded clips -> augmentation -> a view -> backbone, average, linear layer -> cross-entropy -> finite? -> optimiser.
After each epoch the validation videos are classified by evenly spread clips. On a CPU two runs give the same digits,
whatever the number of loader processes: all chance is f(seed, epoch, index).
"""

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.errors import InputError, NonFiniteError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.finetuning.recipes import FINETUNE_AUGMENTATIONS, Recipe, compute_lr
from unreel.evaluation.probes.grid_search import encode_labels
from unreel.models.encoder.spec import EncoderSpec
from unreel.seeding import draw_uniforms
from unreel.training.lr_schedule import set_lr
from unreel.types import Clips, FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_resilient_loader, build_sequential_loader, default_num_workers
from unreel.video.sampling.batch_sampler import ResumableBatchSampler, steps_per_epoch
from unreel.views.augmentation import augment_clips
from unreel.views.geometric import uniform_crops
from unreel.views.inference_views import make_view, to_float_clips

VALIDATION_CLIPS = 3
MAX_SINGLE_WORKER_VIDEOS = (
    64  # up to so many validation videos are decoded by one process: more would take longer to begin
)
EpochMetrics = dict[str, float]


class VideoClassifier(nn.Module):
    """A backbone, the average of its last map over time and place, and a linear layer to the classes."""

    def __init__(self, backbone: nn.Module, num_classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = backbone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.linear = nn.Linear(int(backbone.num_features), num_classes)  # type: ignore[arg-type]
            if recipe.head_std:
                nn.init.normal_(self.linear.weight, std=recipe.head_std)
                nn.init.zeros_(self.linear.bias)

    def forward(self, clips: Tensor, scale_BD: Tensor | None = None) -> Tensor:
        """Logits float32 (B, C) of one view (B, 3, T, H, W); `scale_BD` is what dropout does to the features."""
        h_BD = self.backbone(clips).mean(dim=(2, 3, 4))
        return self.linear(h_BD if scale_BD is None else h_BD * scale_BD).float()


@dataclass
class FinetuneJob:
    """Everything that a fine-tuning works with."""

    recipe: Recipe
    spec: EncoderSpec
    network: VideoClassifier
    train: list[Instance]
    validation: list[Instance]
    classes: list[str]
    failures: dict[tuple[str, str], FileFailure] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        return self.network.linear.weight.device

    @property
    def view(self) -> str:
        return self.recipe.view or self.spec.views.names[0]

    @property
    def workers(self) -> int:
        return default_num_workers() if self.recipe.workers < 0 else self.recipe.workers

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.train), self.recipe.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.recipe.count_epochs(len(self.train))

    def encode_labels(self, instances: Iterable[Instance]) -> np.ndarray:
        """Numbers of the classes, int64 (N,); -1 for one that training has not."""
        return encode_labels([i.label for i in instances], self.classes)

    @cached_property
    def validation_clips(self) -> ClipDataset:
        """Clips of the validation videos, which stay in memory where they fit: every epoch looks at them again."""
        spec, cache_mb = self.spec, self.recipe.cache_mb // 4
        return ClipDataset(self.validation, spec.clip, spec.views.resize_hw, VALIDATION_CLIPS, cache_mb=cache_mb)

    def record_failures(self, split: str, failures: Iterable[FileFailure]) -> None:
        """Remember files of a list that can't be read."""
        self.failures |= {(split, failure.path): failure for failure in failures}

    def describe_first_failure(self, split: str) -> str:
        """Path and reason of the first file of a list that could not be read."""
        return next(f"{path}: {failure}" for (name, path), failure in self.failures.items() if name == split)


@contextmanager
def deterministic_mode(job: FinetuneJob) -> Iterator[None]:
    """Same digits every time on a CPU; what torch was told before is restored, its generator too.

    The generator is seeded for networks from elsewhere that draw from it (their own dropout); ours never do.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[job.device] if job.device.type == "cuda" else []):
        torch.manual_seed(job.recipe.seed)
        try:
            torch.use_deterministic_algorithms(job.device.type == "cpu")
            torch.set_num_threads(job.recipe.threads or threads)
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
            torch.set_num_threads(threads)


def train_classifier(job: FinetuneJob, on_progress: Progress | None = None) -> tuple[list[EpochMetrics], int]:
    """Train to the last step; the network ends as it was after the chosen epoch. Returns the history and that epoch."""
    recipe, weights = job.recipe, [p for p in job.network.parameters() if p.requires_grad]
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(weights, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    history: list[EpochMetrics] = []
    losses: list[float] = []
    kept: dict[str, Tensor] = {}
    best_epoch = 0
    for step, clips in enumerate(build_train_loader(job)):
        watched = [row.get("validation_loss", row["train_loss"]) for row in history]
        lr = compute_lr(step, job.total_steps, recipe, watched)
        set_lr(optimizer, lr)
        losses += train_step(job, optimizer, clips, step)
        if on_progress is not None:
            on_progress(step + 1, job.total_steps)
        if (step + 1) % job.steps_per_epoch == 0:
            history.append({"epoch": len(history) + 1, "lr": lr} | summarize_epoch(job, losses))
            losses = []
            if is_best(history, recipe):
                best_epoch, kept = len(history), copy.deepcopy(job.network.state_dict())
    if best_epoch < len(history) and kept:
        job.network.load_state_dict(kept)
    return history, best_epoch or len(history)


def build_train_loader(job: FinetuneJob) -> Iterable[Clips]:
    """All training batches in the order that the seed gives, one clip of each video."""
    spec, recipe = job.spec, job.recipe
    one_clip = {"num_clips": 1, "seed": recipe.seed, "cache_mb": recipe.cache_mb}
    clips = ClipDataset(job.train, spec.clip, spec.views.resize_hw, **one_clip)  # type: ignore[arg-type]
    order = ResumableBatchSampler(len(job.train), recipe.batch_size, recipe.seed, 0, job.total_steps)
    return build_resilient_loader(clips, order, job.workers, pin_memory=job.device.type == "cuda")


def train_step(job: FinetuneJob, optimizer: torch.optim.Optimizer, clips: Clips, step: int) -> list[float]:
    """One optimiser step and its loss; none for a batch of which fewer than 2 videos can be read (batch norm)."""
    job.record_failures("training", clips.failures)
    if len(clips.index_B) < 2:
        return []
    who = [job.train[i] for i in clips.index_B.tolist()]
    job.network.train()
    with build_autocast(job):
        logits_BC = job.network(make_training_view(job, clips), sample_dropout_scale(job, clips))
    loss = F.cross_entropy(logits_BC, torch.from_numpy(job.encode_labels(who)).to(job.device))
    require_finite(loss, "loss", job, step, who)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in job.network.parameters() if p.grad is not None])
    require_finite(norm, "gradient", job, step, who)
    optimizer.step()
    return [float(loss.detach())]


def build_autocast(job: FinetuneJob) -> torch.autocast:
    """bfloat16 on CUDA, nothing elsewhere."""
    return torch.autocast(job.device.type, torch.bfloat16, enabled=job.device.type == "cuda")


@torch.no_grad()
def make_training_view(job: FinetuneJob, clips: Clips) -> Tensor:
    """The augmented view (B, 3, T, size, size) that the network is trained on."""
    recipe, views = job.recipe, job.spec.views
    how = dataclasses.replace(FINETUNE_AUGMENTATIONS[recipe.augment], flip=0.5 if recipe.flip else 0.0)

    def draw(op: str, count: int) -> Tensor:
        return draw_uniforms(recipe.seed, clips.epoch, clips.index_B, f"finetune/{op}", count).to(job.device)

    return make_view(
        job.view, augment_clips(to_float_clips(clips.frames[:, 0].to(job.device)), how, draw, views.size), views
    )


def sample_dropout_scale(job: FinetuneJob, clips: Clips) -> Tensor | None:
    """0 for dropped features and 1 / (1 - p) for the others, (B, D); drawn like all else from (seed, epoch, index)."""
    p, width = job.recipe.dropout, job.network.linear.in_features
    if not p:
        return None
    u_BD = draw_uniforms(job.recipe.seed, clips.epoch, clips.index_B, "finetune/dropout", width)
    return ((u_BD >= p) / (1 - p)).to(job.device)


def require_finite(value: Tensor, name: str, job: FinetuneJob, step: int, instances: Sequence[Instance]) -> None:
    if torch.isfinite(value):
        return
    shown = ", ".join(i.path for i in instances[:4]) + (f" and {len(instances) - 4} more" if len(instances) > 4 else "")
    raise NonFiniteError(
        f"the {name} in epoch {step // job.steps_per_epoch + 1}, step {step + 1} is {float(value.detach())}; stopped "
        f"before the weights changed. The batch was {shown}. A lower learning rate is the usual cure"
    )


def summarize_epoch(job: FinetuneJob, losses: Sequence[float]) -> EpochMetrics:
    """Mean training loss, loss and top-1 of the validation videos. Raises InputError when nothing was trained on."""
    if not losses:
        raise InputError(
            f"no batch of the training list has 2 videos that can be read, the first: {job.describe_first_failure('training')}"
        )
    row: EpochMetrics = {"train_loss": float(np.mean(losses))}
    if not job.validation:
        return row
    workers = min(1, job.workers) if len(job.validation) <= MAX_SINGLE_WORKER_VIDEOS else job.workers
    rows, logits_NVC = predict_logits(job, job.validation_clips, "validation", workers)
    truth_N = job.encode_labels(job.validation[n] for n in rows)
    log_p_NVC = F.log_softmax(torch.from_numpy(logits_NVC), dim=2).numpy()
    right_N = average_clips(logits_NVC, job.recipe.average).argmax(axis=1) == truth_N
    row["validation_loss"] = float(-log_p_NVC[np.arange(len(rows)), :, truth_N].mean())
    return row | {"validation_top1": 100.0 * float(right_N.mean())}


def is_best(history: Sequence[EpochMetrics], recipe: Recipe) -> bool:
    """Whether the last epoch is the one to keep so far: the first of the lowest validation loss."""
    if recipe.select == "last":
        return False
    earlier = [row.get("validation_loss", math.inf) for row in history[:-1]]
    return history[-1].get("validation_loss", math.inf) < min(earlier, default=math.inf)


@torch.no_grad()
def predict_logits(
    job: FinetuneJob, clips: ClipDataset, split: str, workers: int = 0, num_crops: int = 1
) -> tuple[list[int], np.ndarray]:
    """Positions of the videos that can be read, and their logits, float32 (N, clips x crops, C).

    Clips are cropped as everywhere in use. Raises InputError when none can be read, NonFiniteError.
    """
    rows: list[int] = []
    found: list[np.ndarray] = []
    job.network.eval()
    sample: ClipSample
    for sample in build_sequential_loader(clips, workers):
        path = clips.instances[sample.index].path
        if sample.frames is None:
            job.record_failures(split, [sample.failure or FileFailure(path, "unreadable")])
            continue
        frames = to_float_clips(torch.as_tensor(sample.frames).to(job.device))
        view = make_view(job.view, uniform_crops(frames, job.spec.views.size, num_crops), job.spec.views)
        with build_autocast(job):
            found.append(job.network(view).cpu().numpy())
        if not np.isfinite(found[-1]).all():
            raise NonFiniteError(f"{path}: the answer of the network is not finite")
        rows.append(sample.index)
    if not rows:
        raise InputError(f"no video of the {split} list can be read, the first: {job.describe_first_failure(split)}")
    return rows, np.stack(found)


def average_clips(logits_NVC: np.ndarray, averaging: str) -> np.ndarray:
    """One row of probabilities for each video, float64 (N, C): mean of the clips' softmax, or softmax of their mean."""
    values = torch.from_numpy(logits_NVC).double()
    if averaging == "logits":
        return values.mean(dim=1).softmax(dim=1).numpy()
    return values.softmax(dim=2).mean(dim=1).numpy()
