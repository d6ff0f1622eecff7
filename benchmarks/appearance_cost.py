"""What an image model beside the encoder costs on a CPU: user and system time per clip, freed memory kept or not.

    python benchmarks/appearance_cost.py [--encoder base] [--model efficientnet-lite2] [--rounds 5]

Freed memory is kept from the moment that an image model is loaded, in the whole process, so each measurement has a
process of its own; both kinds in alternation. Pictures pass 4 at a time, as in `unreel index`, and 16 at a time.
"""

import dataclasses
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
import tyro

from unreel.embedding import load_encoder
from unreel.models.encoder.appearance import attach_appearance
from unreel.models.frozen import frozen_model

NUM_CLIPS, REPEATS = 16, 6


@dataclasses.dataclass(frozen=True)
class Args:
    """The encoder, the image model, and how often each is measured."""

    encoder: str = "base"
    model: str = "efficientnet-lite2"
    rounds: int = 5


def measure(args: Args, keep_memory: bool, images_at_once: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of user and system time per clip of the encoder and of the image model, one thread."""
    torch.set_num_threads(1)
    if not keep_memory:
        frozen_model.keep_freed_memory = lambda: False
    frozen_model.IMAGES_PER_BATCH_ON_CPU = images_at_once
    encoder = load_encoder(args.encoder)
    attach_appearance(encoder, args.model)
    shape = (NUM_CLIPS, encoder.spec.clip.total_frames, *encoder.spec.views.resize_hw, 3)
    clips = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert encoder.appearance is not None
    return {
        "encoder": time_call(lambda: encoder.extract_features(clips)),
        "image model": time_call(lambda: encoder.appearance.extract_features(clips)),
    }


def time_call(function: Callable[[], object]) -> tuple[float, float]:
    function()
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(REPEATS):
        function()
    after = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1e3 / REPEATS / NUM_CLIPS
    return (after.ru_utime - before.ru_utime) * scale, (after.ru_stime - before.ru_stime) * scale


def main(args: Args) -> None:
    kinds = [(keep, at_once) for keep in (False, True) for at_once in (4, 16)]
    rounds: dict[tuple[bool, int], list[dict[str, tuple[float, float]]]] = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind in kinds:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                rounds[kind].append(pool.submit(measure, args, *kind).result())
    print("| freed memory | pictures at once | what | user, ms per clip | system, ms per clip |\n|---|---|---|---|---|")
    for (keep, at_once), found in rounds.items():
        for what in found[0]:
            cells = []
            for part in (0, 1):
                values = sorted(row[what][part] for row in found)
                cells.append(f"{np.median(values):.1f} ({values[0]:.1f} to {values[-1]:.1f})")
            print(f"| {'kept' if keep else 'given back'} | {at_once} | {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
