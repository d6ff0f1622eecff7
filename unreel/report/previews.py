"""Moments as moving pictures: a contact sheet and a short looping preview of several, and the frames of one."""

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from unreel.errors import VideoError
from unreel.io.atomic_write import atomic_write_bytes, disk_errors
from unreel.io.limits import get_limits
from unreel.io.worker_pool import map_jobs
from unreel.types import Moment
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe
from unreel.video.decoding.writer import write_video

HEIGHT, WIDTH = 108, 144
PREVIEWS_PER_ROW, SHEET_FRAMES = 3, 6  # previews side by side; frames of each moment on a contact sheet
NUM_FRAMES, PREVIEW_FPS = 20, 10  # of a preview, whatever the length of its moments
GAP, BACKGROUND_GREY = 2, 128


def read_moment(moment: Moment) -> np.ndarray | None:
    """Frames evenly spread over a moment, whole pictures with grey beside them, uint8 (NUM_FRAMES, HEIGHT, WIDTH, 3).

    None when the file can't be read any more.
    """
    try:
        times_s = index_frames(moment.path).times_s
        inside = np.flatnonzero((times_s >= moment.start_s - 1e-6) & (times_s < moment.end_s - 1e-6))
        if not len(inside):
            return None
        spread = inside[np.linspace(0, len(inside) - 1, NUM_FRAMES).round().astype(int)]
        frame_numbers, position = np.unique(spread, return_inverse=True)
        info = probe(moment.path)
        pictures = read_frames(moment.path, frame_numbers, fit_size(info.height, info.width))
    except (VideoError, OSError):
        return None
    framed = np.full((len(pictures), HEIGHT, WIDTH, 3), BACKGROUND_GREY, np.uint8)
    top, left = (HEIGHT - pictures.shape[1]) // 2, (WIDTH - pictures.shape[2]) // 2
    framed[:, top : top + pictures.shape[1], left : left + pictures.shape[2]] = pictures
    return framed[position]


def fit_size(height: int, width: int) -> tuple[int, int]:
    """The largest size of this shape within HEIGHT x WIDTH."""
    scale = min(HEIGHT / height, WIDTH / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def build_contact_sheet(clips: Sequence[np.ndarray]) -> np.ndarray:
    """A row of frames from left to right for each moment, uint8 (H, W, 3)."""
    at = np.linspace(0, NUM_FRAMES - 1, SHEET_FRAMES).round().astype(int)
    return tile_images([frames[k] for frames in clips for k in at], SHEET_FRAMES)


def build_preview(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Moments side by side at the same time, once through; NUM_FRAMES pictures uint8 (H, W, 3)."""
    return [tile_images([frames[k] for frames in clips], min(PREVIEWS_PER_ROW, len(clips))) for k in range(NUM_FRAMES)]


def tile_images(images: Sequence[np.ndarray], num_columns: int) -> np.ndarray:
    """Pictures of one size in rows of `num_columns`, with a gap between them."""
    down = -(-len(images) // num_columns)
    canvas = np.full((down * (HEIGHT + GAP) - GAP, num_columns * (WIDTH + GAP) - GAP, 3), BACKGROUND_GREY, np.uint8)
    for n, picture in enumerate(images):
        top, left = n // num_columns * (HEIGHT + GAP), n % num_columns * (WIDTH + GAP)
        canvas[top : top + HEIGHT, left : left + WIDTH] = picture
    return canvas


def write_previews(moments: Sequence[Moment], stem: Path) -> int:
    """STEM.jpg, the contact sheet, and STEM.mp4, the preview, of those that can be read; how many. Raises DiskError."""
    results = map_jobs(read_moment, moments, (), 1, lambda moment: get_limits(moment.path))
    clips = [frames for _, frames in results if isinstance(frames, np.ndarray)]
    if clips:
        is_encoded, data = cv2.imencode(".jpg", build_contact_sheet(clips)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
        assert is_encoded
        sheet = stem.with_suffix(".jpg")
        with disk_errors(sheet):
            atomic_write_bytes(sheet, data.tobytes(), sync=False)
        write_video(stem.with_suffix(".mp4"), build_preview(clips), PREVIEW_FPS, crf=30, gop=NUM_FRAMES)
    return len(clips)


def encode_data_uri(path: Path) -> str:
    """A picture or a video as a data URI; empty when there is none."""
    if not path.is_file():
        return ""
    kind = {".jpg": "image/jpeg", ".mp4": "video/mp4"}[path.suffix]
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode()
