"""What a program has to do to videos before an exported encoder sees them, as plain JSON beside the model."""

import dataclasses
from typing import Any

import unreel
from unreel.embedding import VideoEncoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.pooling import count_features

INPUT, OUTPUTS = "frames", ("features", "embedding")


def describe_model(encoder: VideoEncoder) -> dict[str, Any]:
    """The clips that the model takes, what happens to them inside it, and what comes out."""
    spec, num_features = encoder.spec, count_features(encoder.backbone)
    height, width = spec.views.resize_hw
    clip = dataclasses.asdict(spec.clip)
    return {
        "made_by": f"unreel {unreel.__version__}",
        "backbone": spec.backbone,
        "options": spec.options,
        "method": spec.method,
        "input": {
            "name": INPUT,
            "type": "uint8",
            "layout": "batch, frames, height, width, RGB",
            "shape": ["any", spec.clip.total_frames, height, width, 3],
        },
        "clip": {**clip, "total_frames": spec.clip.total_frames, "rate": describe_rate(spec)},
        "resize": {"height": height, "width": width, "keeps_aspect": False, "interpolation": "bilinear (swscale)"},
        "inside_the_model": describe_views(spec),
        "outputs": {
            OUTPUTS[0]: "pooled features of all views, side by side",
            OUTPUTS[1]: "each view at unit length, side by side, of unit length: compare by inner products",
        },
        "parts": [{"name": name, "width": num_features} for name in spec.part_names],
    }


def describe_as_timm(encoder: VideoEncoder, licence: str) -> dict[str, Any]:
    """The keys under which timm's repositories describe a network; sizes are channels, frames, height, width."""
    views, num_features = encoder.spec.views, count_features(encoder.backbone)
    height, _ = views.resize_hw
    return {
        "architecture": encoder.spec.backbone,
        "num_classes": 0,
        "num_features": num_features,
        "global_pool": "avg",
        "pretrained_cfg": {
            "input_size": [3, encoder.spec.clip.num_frames, views.size, views.size],
            "mean": list(views.mean) if views.standardize else [0.0] * 3,
            "std": list(views.std) if views.standardize else [1.0] * 3,
            "interpolation": "bilinear",
            "crop_pct": round(views.size / height, 4),
            "crop_mode": "center",
            "license": licence,
        },
    }


def describe_rate(spec: EncoderSpec) -> str:
    """The rate of a clip in words."""
    if spec.clip.fps:
        return f"{spec.clip.fps:g} frames a second: at each tick the frame that is on screen"
    return "consecutive frames" if spec.clip.stride_frames == 1 else f"one frame of {spec.clip.stride_frames}"


def describe_views(spec: EncoderSpec) -> dict[str, Any]:
    """What the model does to frames itself, in order."""
    views = spec.views
    scaled: dict[str, Any] = {"mean": list(views.mean), "std": list(views.std)} if views.standardize else {}
    looks_back = "residual" in views.names
    return {
        "crop": {"size": views.size, "place": "centre"},
        "divided_by": 255,
        **scaled,
        "views": list(dict.fromkeys(views.names)),
        **({"residual": dataclasses.asdict(views.residual)} if looks_back else {}),
    }
