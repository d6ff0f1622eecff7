"""How much faster windows are decoded from a packed corpus than from the original videos, in alternation.

    python benchmarks/packed.py [--seconds 10] [--videos 4] [--short-sides 128 256] [--folder VIDEOS]

Without --folder it makes videos of moving textures, 320x240 and 1280x720, H.264 at crf 23 with a key frame every 250
frames (x264's default). A draw is what a loader does for one clip without caches: find the frames and decode 16 of them
at the size of the piece. Originals and pieces alternate; median, minimum and maximum of all ratios.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tyro

from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.packing.speedup import measure_speedup
from unreel.video.decoding import writer

SIZES = ((240, 320), (720, 1280))


@dataclasses.dataclass
class Args:
    """What to time."""

    seconds: float = 10.0
    videos: int = 4
    short_sides: tuple[int, ...] = (128, 256)
    workers: int = 1
    folder: Path | None = None


def draw_frames(height: int, width: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Frames of a camera that moves over a coarse and fine texture; each uint8 (height, width, 3)."""
    draws, shape = np.random.default_rng(seed), (height + height // 4, width + width // 4)

    def blurred(sigma: float) -> np.ndarray:
        noise = cv2.GaussianBlur(draws.normal(0, 1, shape).astype(np.float32), (0, 0), sigma)
        return noise / noise.std()

    grey = 35 * blurred(height / 30) + 18 * blurred(1.2)
    colour = np.stack([25 * blurred(height / 8) for _ in range(3)], axis=-1)
    scene = (128 + grey[..., None] + colour).clip(0, 255).astype(np.uint8)
    for n in range(count):
        x, y = int(width / 8 * (1 + np.sin(n / 20 + seed))), int(height / 8 * (1 + np.cos(n / 30)))
        yield scene[y : y + height, x : x + width]


def measure_folder(name: str, folder: Path, short_side: int, args: Args) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as out:
        began_s = time.perf_counter()
        corpus = pack(folder, Path(out, "packed"), PackSettings(short_side=short_side), workers=args.workers)
        took_s = time.perf_counter() - began_s
        speedup = measure_speedup(Path(out, "packed"), folder, max_pieces=8)
    assert speedup is not None
    sizes = f"{corpus.bytes_before / 1e6:.1f} | {corpus.bytes_after / 1e6:.1f}"
    factor = f"{speedup.factor:.1f} ({speedup.least:.1f} to {speedup.most:.1f})"
    return f"| {name} | {short_side} | {sizes} | {took_s / corpus.num_videos:.1f} | {factor} | {speedup.windows} |"


def main(args: Args) -> None:
    print("| originals | short side | MB before | MB after | packing, s a video | original / piece | windows |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folders = [args.folder] if args.folder else []
        for height, width in () if args.folder else SIZES:
            folder = Path(temporary, f"{width}x{height}")
            folder.mkdir()
            for n in range(args.videos):
                moving = draw_frames(height, width, round(25 * args.seconds), n)
                writer.write_video(folder / f"{n}.mp4", moving, 25, gop=250)
            folders.append(folder)
        for folder in folders:
            for short_side in args.short_sides:
                print(measure_folder(folder.name, folder, short_side, args), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
