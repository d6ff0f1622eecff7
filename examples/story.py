"""The whole story in one file: videos in, an encoder out, and its nearest neighbours.

    python examples/story.py OUT

Each hop is a few lines that can be run alone. `unreel pretrain` does the same with checkpoints, monitors and a report.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from unreel.corpus.inspection import inspect
from unreel.corpus.segments import build_instances
from unreel.corpus.synthetic_motion import make_set
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

EPOCHS, BATCH_SIZE, SEED = 2, 8, 0


def look_at_one_video(path: str) -> None:
    """File -> clip times -> decoded window. Which frames to take is arithmetic; only `read` decodes."""
    info = probe(path)
    times_s = index_frames(path).times_s
    spec = ClipSpec(num_frames=8, fps=12.5, stride_frames=0)
    frames = read_frames(path, get_clip_frames(build_timeline(times_s, spec), start=0, spec=spec), size=(48, 64))
    print(f"{Path(path).name}: {info.codec}, {info.num_frames} frames at {info.fps:g} fps; a clip is {frames.shape}")


def build(found: list[Instance]) -> tuple[Encoder, trio.Method, object]:
    """The encoder (what is kept), the method around it (what is dropped), and the recipe that makes its views."""
    config, _ = trio.trio()
    views = config.view_spec(size=48)
    clip = ClipSpec(num_frames=8, fps=12.5, stride_frames=0, lead_in=views.lead_in)
    torch.manual_seed(SEED)
    backbone = build_backbone("tiny")
    encoder = Encoder(EncoderSpec("tiny", "trio", clip, views), backbone)
    return encoder, trio.Method(backbone, found, config, SEED), config.recipe(views, SEED)


def train(encoder: Encoder, method: trio.Method, recipe: object, found: list[Instance]) -> None:
    """Batch on the device -> `recipe(clips)` -> `method(views)` -> step. All chance is f(seed, epoch, index)."""
    spec = encoder.spec
    dataset = ClipDataset(found, spec.clip, spec.views.resize_hw, recipe.num_clips, SEED, recipe.interval)
    steps = EPOCHS * steps_per_epoch(len(found), BATCH_SIZE)
    order = ResumableBatchSampler(len(found), BATCH_SIZE, SEED, start_step=0, stop_step=steps)
    optimizer = torch.optim.AdamW(method.parameters(), lr=2e-3)
    method.train()
    for step, clips in enumerate(build_training_loader(dataset, order, workers=0, pin_memory=False)):
        output = method(recipe(clips))
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step()
        print(f"step {step + 1}/{steps}  loss {output.loss.item():.3f}")


def nearest(encoder: Encoder, found: list[Instance]) -> None:
    """Embeddings are unit-length rows, so that a product is a cosine."""
    embeddings = embed_instances(encoder, found, num_clips=2)
    cosine_NN = embeddings.vectors @ embeddings.vectors.T
    np.fill_diagonal(cosine_NN, -1)
    for n in range(0, len(found), 5):
        hit = int(cosine_NN[n].argmax())
        print(f"{Path(found[n].path).name} is nearest to {Path(found[hit].path).name} ({cosine_NN[n, hit]:.3f})")


def main(out: Path) -> None:
    make_set(out, classes=4, videos=5, frames=24, size=(48, 64))
    found = build_instances(inspect(out))
    look_at_one_video(found[0].path)
    encoder, method, recipe = build(found)
    train(encoder, method, recipe, found)
    nearest(encoder, found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
