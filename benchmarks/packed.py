"""How much faster the same windows come out of a packed corpus than out of the originals, in alternation.

    python benchmarks/packed.py [--seconds 10] [--videos 4] [--short-sides 128 256] [--folder VIDEOS]

Without --folder it makes its own: textures that move and shine, 320x240 and 1280x720, H.264 at crf 23 with a key frame
every 250 frames (x264's default). A draw is what a loader does for one clip: find the frames, decode 16 of them at the
piece's size, nothing remembered from before. Original and piece take turns; median, least and most of all ratios.
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


def frames(height: int, width: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """A textured picture, coarse and fine, over which the camera wanders; uint8 (height, width, 3)."""
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


def one_folder(name: str, folder: Path, short_side: int, args: Args) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as out:
        began_s = time.perf_counter()
        done = pack(folder, Path(out, "packed"), PackSettings(short_side=short_side), workers=args.workers)
        took_s = time.perf_counter() - began_s
        gain = measure_speedup(Path(out, "packed"), folder, max_pieces=8)
    assert gain is not None
    sizes = f"{done.bytes_before / 1e6:.1f} | {done.bytes_after / 1e6:.1f}"
    factor = f"{gain.factor:.1f} ({gain.least:.1f} to {gain.most:.1f})"
    return f"| {name} | {short_side} | {sizes} | {took_s / done.num_videos:.1f} | {factor} | {gain.windows} |"


def main(args: Args) -> None:
    print("| originals | short side | MB before | MB after | packing, s a video | original / piece | windows |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folders = [args.folder] if args.folder else []
        for height, width in () if args.folder else SIZES:
            folder = Path(made, f"{width}x{height}")
            folder.mkdir()
            for n in range(args.videos):
                moving = frames(height, width, round(25 * args.seconds), n)
                writer.write_video(folder / f"{n}.mp4", moving, 25, gop=250)
            folders.append(folder)
        for folder in folders:
            for short_side in args.short_sides:
                print(one_folder(folder.name, folder, short_side, args), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
