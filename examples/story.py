"""The whole story in one file: from videos to an encoder and its nearest neighbours.

    python examples/story.py OUT

Each hop is a few lines that can be run alone. `unreel pretrain` does the same with checkpoints, monitors and a report.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unreel.corpus.inspection import inspect
from unreel.corpus.motion_set.make_set import make_set
from unreel.corpus.segments import build_instances
from unreel.embedding import embed_instances
from unreel.methods import trio
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.registry import build_backbone
from unreel.types import Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_training_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler, steps_per_epoch
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import build_timeline, get_clip_frames
from unreel.views.two_views import TwoViewRecipe

EPOCHS, BATCH_SIZE, SEED = 2, 8, 0


def decode_one_clip(path: str) -> None:
    """File -> clip times -> decoded window. Which frames to take is arithmetic; only `read_frames` decodes."""
    info = probe(path)
    times_s = index_frames(path).times_s
    spec = ClipSpec(num_frames=8, fps=12.5, stride_frames=0)
    frames = read_frames(path, get_clip_frames(build_timeline(times_s, spec), start=0, spec=spec), size=(48, 64))
    print(f"{Path(path).name}: {info.codec}, {info.num_frames} frames at {info.fps:g} fps; a clip is {frames.shape}")


def build_method(instances: Sequence[Instance]) -> tuple[Encoder, trio.Method, TwoViewRecipe]:
    """The encoder, the method that trains it and is dropped afterwards, and the recipe that makes the views."""
    config, _ = trio.trio()
    views = config.view_spec(size=48)
    clip = ClipSpec(num_frames=8, fps=12.5, stride_frames=0, lead_in=views.lead_in)
    torch.manual_seed(SEED)
    backbone = build_backbone("tiny")
    encoder = Encoder(EncoderSpec("tiny", "trio", clip, views), backbone)
    return encoder, trio.Method(backbone, instances, config, SEED), config.recipe(views, SEED)


def train(encoder: Encoder, method: trio.Method, recipe: TwoViewRecipe, instances: Sequence[Instance]) -> None:
    """Batch on the device -> `recipe(clips)` -> `method(views)` -> step. Every draw is f(seed, epoch, index)."""
    spec = encoder.spec
    dataset = ClipDataset(instances, spec.clip, spec.views.resize_hw, recipe.num_clips, SEED, recipe.interval)
    steps = EPOCHS * steps_per_epoch(len(instances), BATCH_SIZE)
    order = ResumableBatchSampler(len(instances), BATCH_SIZE, SEED, start_step=0, stop_step=steps)
    optimizer = torch.optim.AdamW(method.parameters(), lr=2e-3)
    method.train()
    for step, clips in enumerate(build_training_loader(dataset, order, workers=0, pin_memory=False)):
        output = method(recipe(clips))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step()
        print(f"step {step + 1}/{steps}  loss {output.loss.item():.3f}")


def print_neighbours(encoder: Encoder, instances: Sequence[Instance]) -> None:
    """Embeddings are rows of unit length, so a dot product is a cosine."""
    embeddings = embed_instances(encoder, instances, num_clips=2)
    cosine_NN = embeddings.vectors @ embeddings.vectors.T
    np.fill_diagonal(cosine_NN, -1)
    names = [Path(instance.path).name for instance in instances]
    for n in range(0, len(instances), 5):
        nearest = int(cosine_NN[n].argmax())
        print(f"{names[n]} is nearest to {names[nearest]} ({cosine_NN[n, nearest]:.3f})")


def main(out: Path) -> None:
    make_set(out, classes=4, videos=5, frames=24, size=(48, 64))
    instances = build_instances(inspect(out))
    decode_one_clip(instances[0].path)
    encoder, method, recipe = build_method(instances)
    train(encoder, method, recipe, instances)
    print_neighbours(encoder, instances)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
