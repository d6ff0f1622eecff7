"""One IIC step against the same step in the style of IIC's release, in alternation: end to end and the step alone.

    python benchmarks/released_style.py [DATA] [--backbone tiny] [--rounds 5]
    python benchmarks/released_style.py DATA --device cuda --backbone r3d --size 112 --num-frames 16 --workers 8

DATA is a folder of videos; without it, synthetic videos are made. The twin below is written for this measurement, in
the style of IIC's release. Frames are JPEG files (short side at most 256) that PIL opens one by one; each is resized
and cropped alone. Every view has its own forward pass, also the intra-negative, whose graph is built and never used.
Intra-negatives are made by loops over samples and frames. K + 1 rows of memory, drawn by the alias method, are gathered
for each anchor. All is float32, and the loss is read at every step. Network, clip, batch, K and loader processes are
the same on both sides. unreel decodes the videos and caches no frames.
"""

import dataclasses
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from timing import measure_seconds
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from unreel.corpus.inspection import inspect
from unreel.corpus.motion_set.make_set import make_set
from unreel.models.registry import build_backbone
from unreel.profiling.measure import time_decoding, time_loop
from unreel.training.batches import move_clips
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.metrics import MetricLogger
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.train_step import TrainingSetup, setup_training, train_step
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.probe import probe

WARM_UP = 2


@dataclasses.dataclass
class Args:
    """What to time."""

    data: tyro.conf.Positional[Path | None] = None
    method: str = "iic-paper"
    """iic-paper has the same arithmetic; iic also trains on the intra-negatives."""
    backbone: str = "tiny"
    size: int = 64
    num_frames: int = 8
    batch_size: int = 16
    num_negatives: int = 1024
    workers: int = 1
    rounds: int = 5
    steps: int = 10
    videos: int = 64
    device: str = "cpu"
    frames: Path | None = None
    """Folder to keep the JPEG files in; a temporary one by default."""


# The twin.


class JpegClips(Dataset[tuple[Tensor, int]]):
    """A random clip of each folder of JPEG files, frame by frame: open, resize, crop, to float; (3, T, size, size)."""

    def __init__(self, folders: list[Path], num_frames: int, size: int) -> None:
        self.folders, self.num_frames, self.size = folders, num_frames, size
        self.height, self.width = round(size * 8 / 7), round(size * 8 / 7 * 4 / 3)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        paths = sorted(os.listdir(self.folders[index]))
        rng = random.Random(time.perf_counter_ns())
        start = rng.randint(0, max(0, len(paths) - 1 - self.num_frames))
        seed = rng.random()
        frames = []
        for k in range(self.num_frames):
            image = Image.open(self.folders[index] / paths[min(start + k, len(paths) - 1)]).convert("RGB")
            frames.append(self.transform(image, random.Random(seed)))  # the same draw, frame after frame
        return torch.stack(frames, dim=1), index

    def transform(self, image: Image.Image, rng: random.Random) -> Tensor:
        image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        top, left = rng.randint(0, self.height - self.size), rng.randint(0, self.width - self.size)
        image = image.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


class Alias:
    """Draws rows in constant time from two tables (here with equal probabilities). Source: Walker 1977."""

    def __init__(self, num_rows: int, device: str) -> None:
        self.chance_N = torch.ones(num_rows, device=device)
        self.other_N = torch.zeros(num_rows, dtype=torch.int64, device=device)

    def draw(self, count: int) -> Tensor:
        row = torch.randint(0, len(self.chance_N), (count,), device=self.chance_N.device)
        own = torch.bernoulli(self.chance_N[row])
        return (row * own.long()) + (self.other_N[row] * (1 - own).long())


class Memory(nn.Module):
    """Three banks; scores of both views against K + 1 gathered rows of the other view and of the intra-negatives."""

    def __init__(self, num_rows: int, width: int, num_negatives: int, device: str) -> None:
        super().__init__()
        self.k, self.temperature, self.momentum = num_negatives, 0.07, 0.5
        self.alias = Alias(num_rows, device)
        bound = (3 / width) ** 0.5
        self.one: Tensor
        self.two: Tensor
        self.intra: Tensor
        for name in ("one", "two", "intra"):
            self.register_buffer(name, torch.rand(num_rows, width, device=device) * 2 * bound - bound)

    def forward(self, a_BD: Tensor, b_BD: Tensor, n_BD: Tensor, y_B: Tensor) -> tuple[Tensor, Tensor]:
        count = len(y_B)
        row_BK = self.alias.draw(count * (self.k + 1)).view(count, -1)
        row_BK[:, 0] = y_B
        logits = []
        for anchor_BD, other in ((a_BD, self.two), (b_BD, self.one)):
            parts = []
            for bank in (other, self.intra):
                gathered_BKD = torch.index_select(bank, 0, row_BK.view(-1)).detach().view(count, self.k + 1, -1)
                parts.append(torch.bmm(gathered_BKD, anchor_BD.view(count, -1, 1)).squeeze(2) / self.temperature)
            logits.append(torch.cat(parts, dim=1))
        with torch.no_grad():
            for bank, new_BD in ((self.one, a_BD), (self.two, b_BD), (self.intra, n_BD)):
                mixed_BD = torch.index_select(bank, 0, y_B) * self.momentum + new_BD * (1 - self.momentum)
                bank.index_copy_(0, y_B, mixed_BD / mixed_BD.pow(2).sum(1, keepdim=True).pow(0.5))
        return logits[0], logits[1]


def repeat_frames(clips: Tensor) -> Tensor:
    """One frame of each clip, repeated, by a loop over samples and one over frames."""
    out = []
    for clip in clips:
        chosen = random.Random(time.perf_counter_ns()).randrange(clip.shape[1])
        copy = clip.clone()
        for t in range(clip.shape[1]):
            copy[:, t] = clip[:, chosen]
        out.append(copy)
    return torch.stack(out)


class Twin:
    """Network, memory and optimiser of the twin, and its step."""

    def __init__(self, args: Args, num_rows: int) -> None:
        self.device = args.device
        self.network = build_backbone(args.backbone).to(args.device).train()
        width = int(self.network.num_features)  # type: ignore[arg-type]
        self.memory = Memory(num_rows, width, args.num_negatives, args.device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
        self.losses: list[float] = []

    def embed(self, clips: Tensor) -> Tensor:
        return self.network(clips).mean(dim=(2, 3, 4))

    def step(self, clips: Tensor, index_B: Tensor) -> None:
        """One step on clips (B, 3, T, size, size) of the rows index_B."""
        view1, y_B = clips.to(self.device), index_B.to(self.device)
        view2 = (view1 - torch.roll(view1, 1, 2) + 1) / 2
        intra = repeat_frames(view1)
        a_BD, b_BD, n_BD = self.embed(view1), self.embed(view2), self.embed(intra)
        logits = self.memory(a_BD, b_BD, n_BD, y_B)
        target = torch.zeros(len(y_B), dtype=torch.int64, device=self.device)
        loss = F.cross_entropy(logits[0], target) + F.cross_entropy(logits[1], target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())


def extract_jpegs(paths: list[str], out: Path, short_side: int = 256) -> list[Path]:
    """A folder of JPEG files for each video, the short side at most 256."""
    folders = []
    for number, path in enumerate(paths):
        folder = out / f"{number:06d}"
        folders.append(folder)
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        info = probe(path)
        scale = min(1.0, short_side / min(info.height, info.width))
        size = (round(info.height * scale), round(info.width * scale))
        for k, frame in enumerate(read_frames(path, np.arange(info.num_frames), size)):
            Image.fromarray(frame).save(folder / f"image_{k:05d}.jpg", quality=95)
    return folders


# The measurement.


def repeat_forever(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def time_twin_loop(args: Args, twin: Twin, clips: JpegClips) -> float:
    """Mean seconds of a step of the twin with its loader."""
    loader = DataLoader(clips, args.batch_size, shuffle=True, num_workers=args.workers, drop_last=True)
    stream = repeat_forever(loader)
    for _ in range(WARM_UP):
        twin.step(*next(stream))

    def run_steps() -> None:
        for _ in range(args.steps):
            twin.step(*next(stream))

    return measure_seconds(run_steps, args.device) / args.steps


def time_our_steps(args: Args, trainer: TrainingSetup, batch: Any) -> float:
    """Mean seconds of our step on a decoded batch in the host's memory."""
    log = MetricLogger(trainer.job, quiet=True)
    with closing(log):

        def run_steps(count: int) -> None:
            for step in range(count):
                train_step(trainer, move_clips(batch, trainer.fabric), step, log)
            log.read_back()

        run_steps(WARM_UP)
        return measure_seconds(lambda: run_steps(args.steps), args.device) / args.steps


def time_twin_steps(args: Args, twin: Twin, batch: tuple[Tensor, Tensor]) -> float:
    for _ in range(WARM_UP):
        twin.step(*batch)

    def run_steps() -> None:
        for _ in range(args.steps):
            twin.step(*batch)

    return measure_seconds(run_steps, args.device) / args.steps


def build_our_job(args: Args, data: Path, folder: Path) -> TrainingJob:
    config = build_run_config(
        args.method,
        {
            **{name: getattr(args, name) for name in ("backbone", "size", "num_frames", "batch_size", "workers")},
            **{"device": args.device, "num_negatives": args.num_negatives, "cache_mb": 0, "steps": 10**6},
            **{"held_out": 0.0, "log_steps": 10, "fps": 0.0, "stride_frames": 1, "segment_s": 10**6},
        },
    )
    run = folder / "run"
    run.mkdir()
    return build_training_job(run, inspect(data, check="fast", shots=False), resolve_config(config))


def measure(args: Args) -> tuple[int, dict[str, list[tuple[float, float]]]]:
    """The number of videos; and seconds of the twin and of unreel, of every round, the step alone and end to end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = args.data or folder / "videos"
        if args.data is None:
            make_set(data, classes=8, videos=max(1, args.videos // 8))
        job = build_our_job(args, data, folder)
        trainer = setup_training(job)
        folders = extract_jpegs([i.path for i in job.instances], args.frames or folder / "frames")
        clips, twin = JpegClips(folders, args.num_frames, args.size), Twin(args, len(folders))
        batch = next(iter(DataLoader(clips, args.batch_size, shuffle=True)))
        decoded, *_ = time_decoding(job, num_rounds=1)
        pairs: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
            "the step alone": (
                lambda: time_twin_steps(args, twin, batch),
                lambda: time_our_steps(args, trainer, decoded),
            ),
            "end to end": (
                lambda: time_twin_loop(args, twin, clips),
                lambda: time_loop(trainer, args.steps).step_s,
            ),
        }
        return len(folders), {what: alternate(args.rounds, *pair) for what, pair in pairs.items()}


def main(args: Args) -> None:
    print_report(args, *measure(args))


def alternate(rounds: int, time_twin: Callable[[], float], time_ours: Callable[[], float]) -> list[tuple[float, float]]:
    return [(time_twin(), time_ours()) for _ in range(rounds)]


def print_report(args: Args, videos: int, times_s: dict[str, list[tuple[float, float]]]) -> None:
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    what = f"{args.method}, {args.backbone}, {args.num_frames} x {args.size} x {args.size}, batch {args.batch_size}"
    print(f"{what}, K {args.num_negatives}; {videos} videos, {args.workers} loader processes; {where}\n")
    print("| what | released style, ms | unreel, ms | ratio, median (lowest to highest) |\n|---|---|---|---|")
    for name, pairs in times_s.items():
        twin_ms, unreel_ms = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {name} | {twin_ms:.0f} | {unreel_ms:.0f} | {spread} |")


if __name__ == "__main__":
    main(tyro.cli(Args))
