"""One pass over labelled videos that feeds every row of a table: each video is decoded once, whoever looks at it.

A *source* turns the evenly spread clips of one video into named features, e.g. an encoder into one for each of its
views. Kept is the mean over clips, float32, in one array per source, so memory is N x D once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from unreel.errors import NonFiniteError
from unreel.models.encoder import Encoder, EncoderSpec
from unreel.types import Instance
from unreel.video.dataset import InstanceClips, Sample, sequential_loader

Source = Callable[[np.ndarray], dict[str, np.ndarray]]
"""uint8 clips (V, lead_in + T, H, W, C) of one video to named features, each (V, D)."""
Progress = Callable[[int, int], None]
"""Called after each video with the videos done and the videos in all."""


@dataclass
class VideoFeatures:
    """Features of the videos that could be read: source name to float32 (N, D), its views side by side in `columns`."""

    instances: list[Instance]
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    columns: dict[str, dict[str, slice]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def view(self, source: str, name: str) -> np.ndarray:
        """One view (N, D) of a source; no copy."""
        return self.vectors[source][:, self.columns[source][name]]


def encoder_source(encoder: Encoder, layer: str) -> Source:
    """Raw features of each view of an encoder, as `models.encoder.encode` makes them."""

    def source(frames: np.ndarray) -> dict[str, np.ndarray]:
        views = encoder.features(torch.as_tensor(frames), layer)
        return {name: view.float().cpu().numpy() for name, view in views.items()}

    return source


def video_features(
    instances: Sequence[Instance],
    spec: EncoderSpec,
    sources: Mapping[str, Source],
    num_clips: int = 10,
    workers: int = 0,
    progress: Progress | None = None,
) -> VideoFeatures:
    """Mean over `num_clips` evenly spread clips of each instance, for all sources, in the order of the instances.

    Files that can't be decoded are named in `left_out`. Raises NonFiniteError when a feature is not finite.
    """
    clips = InstanceClips(instances, spec.clip, spec.views.resize_hw, num_clips)
    found = VideoFeatures([])
    sample: Sample
    for done, sample in enumerate(sequential_loader(clips, workers), start=1):
        if sample.frames is None:
            found.left_out.append(sample.failed or (instances[sample.index].path, "unreadable"))
        else:
            _add(found, instances[sample.index], np.asarray(sample.frames), sources, len(instances))
        if progress is not None:
            progress(done, len(instances))
    found.vectors = {name: rows[: len(found.instances)] for name, rows in found.vectors.items()}
    return found


def _add(found: VideoFeatures, who: Instance, frames: np.ndarray, sources: Mapping[str, Source], room: int) -> None:
    """Append the features of one video; the arrays are made when the first video tells their width."""
    for name, source in sources.items():
        views = {view: clips_VD.mean(axis=0) for view, clips_VD in source(frames).items()}
        if not all(np.isfinite(mean).all() for mean in views.values()):
            raise NonFiniteError(f"{who.path}: the features from '{name}' are not finite; use another checkpoint")
        if name not in found.vectors:
            found.columns[name] = _columns({view: len(mean) for view, mean in views.items()})
            found.vectors[name] = np.empty((room, sum(map(len, views.values()))), np.float32)
        found.vectors[name][len(found.instances)] = np.concatenate(list(views.values()))
    found.instances.append(who)


def _columns(widths: dict[str, int]) -> dict[str, slice]:
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
