"""The training loop of fine-tuning: a backbone and a linear layer, trained on labelled videos.

Decoded clips -> augmentation -> view -> backbone, average, linear layer -> cross-entropy -> finite? -> optimiser.
After each epoch the validation videos are classified by evenly spread clips. On a CPU two runs give the same digits
for any number of loader processes, since every random draw is a function of (seed, epoch, index).
"""

import copy
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError, NonFiniteError
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.finetuning.job import FinetuneJob
from unreel.evaluation.finetuning.lr_schedule import compute_lr
from unreel.evaluation.finetuning.prediction import average_clips, predict_logits
from unreel.evaluation.finetuning.recipes import FINETUNE_AUGMENTATIONS, Recipe
from unreel.seeding import draw_uniforms
from unreel.training.lr_schedule import set_lr
from unreel.types import Clips, Instance
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_resilient_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.views.augmentation import augment_clips
from unreel.views.inference_views import make_view, to_float_clips

MAX_SINGLE_WORKER_VIDEOS = 64  # validation lists up to this size use one process: starting more would take longer
EpochMetrics = dict[str, float]


@contextmanager
def deterministic_mode(job: FinetuneJob) -> Iterator[None]:
    """Same digits every time on a CPU; torch's settings and its generator are restored afterwards.

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


def train_network(job: FinetuneJob, on_progress: Progress | None = None) -> tuple[list[EpochMetrics], int]:
    """Train all steps, then restore the weights of the best epoch. Returns the history and the number of that epoch."""
    recipe, weights = job.recipe, [p for p in job.network.parameters() if p.requires_grad]
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(weights, recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(weights, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)
    history: list[EpochMetrics] = []
    losses: list[float] = []
    best_weights: dict[str, Tensor] = {}
    best_epoch = 0
    for step, clips in enumerate(build_train_loader(job)):
        epoch_losses = [row.get("validation_loss", row["train_loss"]) for row in history]
        lr = job.lr_scale * compute_lr(step, job.total_steps, recipe, epoch_losses)
        set_lr(optimizer, lr)
        losses += train_step(job, optimizer, clips, step)
        if on_progress is not None:
            on_progress(step + 1, job.total_steps)
        if (step + 1) % job.steps_per_epoch == 0:
            history.append({"epoch": len(history) + 1, "lr": lr} | summarize_epoch(job, losses))
            losses = []
            if is_best(history, recipe):
                best_epoch, best_weights = len(history), copy.deepcopy(job.network.state_dict())
    if best_epoch < len(history) and best_weights:
        job.network.load_state_dict(best_weights)
    return history, best_epoch or len(history)


def build_train_loader(job: FinetuneJob) -> Iterable[Clips]:
    """All training batches in the order of the seed, one clip of each video."""
    spec, recipe = job.spec, job.recipe
    one_clip = {"num_clips": 1, "seed": recipe.seed, "cache_mb": recipe.cache_mb}
    clips = ClipDataset(job.train, spec.clip, spec.views.resize_hw, **one_clip)  # type: ignore[arg-type]
    order = ResumableBatchSampler(len(job.train), recipe.batch_size, recipe.seed, 0, job.total_steps)
    return build_resilient_loader(clips, order, job.workers, pin_memory=job.device.type == "cuda")


def train_step(job: FinetuneJob, optimizer: torch.optim.Optimizer, clips: Clips, step: int) -> list[float]:
    """One optimiser step and its loss; no loss for a batch with fewer than 2 readable videos (batch norm needs 2)."""
    job.record_failures("training", clips.failures)
    if len(clips.index_B) < 2:
        return []
    instances = [job.train[i] for i in clips.index_B.tolist()]
    job.network.train()
    with job.autocast():
        logits_BC = job.network(make_training_view(job, clips), sample_dropout_scale(job, clips))
    loss = F.cross_entropy(logits_BC, torch.from_numpy(job.encode_labels(instances)).to(job.device))
    require_finite(loss, "loss", job, step, instances)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in job.network.parameters() if p.grad is not None])
    require_finite(norm, "gradient", job, step, instances)
    optimizer.step()
    return [float(loss.detach())]


@torch.no_grad()
def make_training_view(job: FinetuneJob, clips: Clips) -> Tensor:
    """The augmented view (B, 3, T, size, size) that the network is trained on."""
    recipe, views = job.recipe, job.spec.views
    augmentation = dataclasses.replace(FINETUNE_AUGMENTATIONS[recipe.augment], flip=0.5 if recipe.flip else 0.0)

    def draw(op: str, count: int) -> Tensor:
        return draw_uniforms(recipe.seed, clips.epoch, clips.index_B, f"finetune/{op}", count).to(job.device)

    return make_view(
        job.view,
        augment_clips(to_float_clips(clips.frames[:, 0].to(job.device)), augmentation, draw, views.size),
        views,
    )


def sample_dropout_scale(job: FinetuneJob, clips: Clips) -> Tensor | None:
    """0 for dropped features and 1 / (1 - p) for the others, (B, D), a function of (seed, epoch, index)."""
    p, width = job.recipe.dropout, job.network.linear.in_features
    if not p:
        return None
    u_BD = draw_uniforms(job.recipe.seed, clips.epoch, clips.index_B, "finetune/dropout", width)
    return ((u_BD >= p) / (1 - p)).to(job.device)


def require_finite(value: Tensor, name: str, job: FinetuneJob, step: int, instances: Sequence[Instance]) -> None:
    if torch.isfinite(value):
        return
    batch = ", ".join(i.path for i in instances[:4]) + (f" and {len(instances) - 4} more" if len(instances) > 4 else "")
    raise NonFiniteError(
        f"the {name} in epoch {step // job.steps_per_epoch + 1}, step {step + 1} is {float(value.detach())}; stopped "
        f"before the weights changed. The batch was {batch}. A lower learning rate is the usual cure"
    )


def summarize_epoch(job: FinetuneJob, losses: Sequence[float]) -> EpochMetrics:
    """Mean training loss, loss and top-1 of the validation videos. Raises InputError when no batch could be used."""
    if not losses:
        failure = job.describe_first_failure("training")
        raise InputError(f"no batch of the training list has 2 readable videos; the first failure: {failure}")
    row: EpochMetrics = {"train_loss": float(np.mean(losses))}
    if not job.validation:
        return row
    workers = min(1, job.workers) if len(job.validation) <= MAX_SINGLE_WORKER_VIDEOS else job.workers
    rows, logits_NVC = predict_logits(job, job.validation_clips, "validation", workers)
    truth_N = job.encode_labels(job.validation[n] for n in rows)
    log_p_NVC = F.log_softmax(torch.from_numpy(logits_NVC), dim=2).numpy()
    is_correct_N = average_clips(logits_NVC, job.recipe.average).argmax(axis=1) == truth_N
    row["validation_loss"] = float(-log_p_NVC[np.arange(len(rows)), :, truth_N].mean())
    return row | {"validation_top1": 100.0 * float(is_correct_N.mean())}


def is_best(history: Sequence[EpochMetrics], recipe: Recipe) -> bool:
    """Whether the last epoch is the best so far: the first one with the lowest validation loss."""
    if recipe.select == "last":
        return False
    earlier = [row.get("validation_loss", math.inf) for row in history[:-1]]
    return history[-1].get("validation_loss", math.inf) < min(earlier, default=math.inf)
