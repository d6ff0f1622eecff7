"""A fine-tuned network as a classifier: its backbone becomes the encoder, its linear layer the head.

It is trained once. A fifth of the training groups is kept from it and calibrates it; the recipe may hold out more to
choose its epoch. Classes are not left out in turn, as for heads on frozen features: that would be five more trainings.
"""

import dataclasses
from collections.abc import Sequence

from unreel.classification.heads.finetuned import FinetunedHead
from unreel.embedding import VideoEncoder
from unreel.evaluation.finetuning.recipes import Recipe
from unreel.evaluation.finetuning.training_loop import deterministic_mode, train_network
from unreel.evaluation.protocols.finetune import build_job
from unreel.evaluation.validation_split import hold_out_groups
from unreel.models.encoder.encoder import Encoder
from unreel.types import FileFailure, Instance, ProgressCallback


@dataclasses.dataclass(frozen=True)
class FinetunedNetwork:
    """The encoder and the head that were trained, the videos kept from them, and notes on the training."""

    encoder: VideoEncoder
    head: FinetunedHead
    held_out: list[Instance]
    values: dict[str, float]
    failures: list[FileFailure]
    warnings: list[str]


def finetune_network(
    encoder: Encoder, train: Sequence[Instance], recipe: Recipe, on_progress: ProgressCallback
) -> FinetunedNetwork:
    """Train a copy of the encoder with a linear layer. Raises InputError, NonFiniteError."""
    held_N = hold_out_groups(train, 0.2, recipe.seed)
    held_out = [] if held_N is None else [i for i, is_held in zip(train, held_N, strict=True) if is_held]
    kept = {id(instance) for instance in held_out}
    seen = [i for i in train if id(i) not in kept]
    job = build_job(encoder, seen, held_out or seen, recipe, from_scratch=False)
    with deterministic_mode(job):
        _, best_epoch = train_network(job, on_progress)
    network, views = job.network.eval(), dataclasses.replace(job.spec.views, names=(job.view,))
    head = FinetunedHead(network.linear.weight.detach().cpu(), network.linear.bias.detach().cpu(), recipe.normalize)
    values = {"epochs": job.total_steps // job.steps_per_epoch, "steps": job.total_steps, "best_epoch": best_epoch}
    return FinetunedNetwork(
        VideoEncoder(dataclasses.replace(job.spec, views=views), network.backbone).eval(),
        head,
        held_out,
        {name: float(value) for name, value in values.items()},
        list(job.failures.values()),
        job.warnings,
    )
