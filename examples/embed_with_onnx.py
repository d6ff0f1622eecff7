"""Embed a video with ONNX Runtime and PyAV alone: python embed_with_onnx.py MODEL.onnx VIDEO

The model is what `unreel export-model RUN --to onnx:MODEL.onnx` wrote; MODEL.json beside it says what it needs.
"""

import json
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnxruntime


def read_frames(video: str, about: dict[str, Any]) -> np.ndarray:
    """The frames of a video at the rate of the model's clips, uint8 (N, H, W, 3)."""
    size = {"width": about["resize"]["width"], "height": about["resize"]["height"]}
    with av.open(video) as container:
        shown = [
            (f.time, f.to_ndarray(format="rgb24", interpolation="BILINEAR", **size)) for f in container.decode(video=0)
        ]
    times_s, frames, fps = np.array([t for t, _ in shown]), np.stack([f for _, f in shown]), about["clip"]["fps"]
    if not fps:
        return frames[:: about["clip"]["stride_frames"]]
    length_s = times_s[-1] - times_s[0] + np.median(np.diff(times_s))
    ticks_s = times_s[0] + np.arange(max(1, round(length_s * fps))) / fps
    return frames[np.clip(np.searchsorted(times_s, ticks_s + 1e-3, side="right") - 1, 0, len(frames) - 1)]


def embed(model: str, video: str, num_clips: int = 10) -> np.ndarray:
    """A unit vector for a video, as `unreel.load_encoder(run).embed(video)` makes it."""
    about = json.loads(Path(model).with_suffix(".json").read_text())
    frames, length = read_frames(video, about), about["clip"]["total_frames"]
    starts = np.linspace(0, max(0, len(frames) - length), num_clips).astype(int)
    clips = np.stack([frames[(start + np.arange(length)) % len(frames)] for start in starts])
    features = onnxruntime.InferenceSession(model).run(["features"], {"frames": clips})[0].mean(axis=0)
    parts = np.split(features, np.cumsum([part["width"] for part in about["parts"]])[:-1])
    return np.concatenate([part / np.linalg.norm(part) for part in parts]) / len(parts) ** 0.5


if __name__ == "__main__":
    print(*embed(sys.argv[1], sys.argv[2]))
