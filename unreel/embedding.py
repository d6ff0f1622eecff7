"""From videos to vectors: clips of files through an encoder, one row per video or per clip.

A query, an index and an evaluation all use the same `encode`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from unreel.corpus.inspection import inspect
from unreel.corpus.lists import LIST_SUFFIXES
from unreel.engines.file_jobs import require_seen_by_workers
from unreel.engines.worker_batches import Engine, map_batches
from unreel.errors import InputError
from unreel.io.limits import Limits, WorkerFailure, get_limits, use_limits
from unreel.models.encoder.checkpoint_files import read_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.types import Embeddings, FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader

ClipWorkers: TypeAlias = "int | EngineWorkers"
"""What decodes and encodes: this process with so many loader processes, or workers on other machines."""


class VideoEncoder(Encoder):
    """An encoder that opens videos by itself; what `unreel.load_encoder` returns.

    Args:
        spec: the network's name and options, and the clips and views that it was trained for.
        backbone: the network; by default a new one by the spec, with random weights.

    Raises:
        InputError: the spec names an unknown network or view.

    >>> encoder = unreel.load_encoder(run)
    >>> encoder.embed(videos / "test.txt", num_clips=1).vectors.shape[0]
    8
    """

    def embed(self, source: str | Path | Sequence[str | Path], num_clips: int = 10, per: str = "video") -> Embeddings:
        """Embed videos: one unit-length row per video, or per clip; the views are joined with equal weight.

        Args:
            source: a video, a folder, a list file or several of them. Files of a folder that can't be used are left out
                (see `unreel inspect`).
            num_clips: evenly spread clips per video.
            per: one row for each "video" (the mean of its clips) or for each "clip".

        Returns:
            Vectors float32 (N, D) with the path and the seconds of each row.

        Raises:
            InputError: there is no video, or an option can't be used.
            VideoError: a single file can't be used.

        >>> embeddings = unreel.load_encoder(run).embed(videos / "test.txt", num_clips=2, per="clip")
        >>> len(embeddings), bool(np.allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-5))
        (16, True)
        """
        paths = [Path(source)] if isinstance(source, str | Path) else [Path(s) for s in source]
        instances: list[Instance] = []
        for path in paths:
            usable, failures = list_whole_videos(path)
            if failures and not usable and path.suffix.lower() not in LIST_SUFFIXES and path.is_file():
                raise failures[0].to_error()
            instances += usable
        return embed_instances(self, instances, num_clips, per)


def load_encoder(path: str | Path, allow_import: bool = False) -> VideoEncoder:
    """Load the encoder in a run folder (its best checkpoint, else the last) or in a checkpoint folder, or "base".

    Args:
        path: the folder; nothing else is needed. Or the name of an encoder that comes with the package: "base" was
            trained on synthetic clips alone.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.

    Returns:
        The encoder on the CPU, in evaluation mode.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged.
        NeedsImportError: the network is code outside unreel, and `allow_import` is not set.

    >>> encoder = unreel.load_encoder(run)
    >>> encoder.embed(videos / "test.txt").vectors.shape[0]
    8
    """
    return read_encoder(path, VideoEncoder, allow_import)


def list_whole_videos(source: Path) -> tuple[list[Instance], list[FileFailure]]:
    """Every usable video of a file, folder or list as one instance, and the files that can't be used."""
    manifest = inspect(source, check="fast", shots=False)
    instances = [Instance(v.path, n, 0.0, float("inf"), v.label, v.group) for n, v in enumerate(manifest.videos)]
    return instances, list(manifest.quarantine)


@dataclass
class InstanceFeatures:
    """Features of one instance: view name to float32 (V, D), and start and end of each clip in seconds, (V, 2)."""

    index: int
    features: dict[str, np.ndarray]
    spans_s: np.ndarray


class EncoderRecipe(Protocol):
    """How a worker of an engine makes the encoder; hashable, and small."""

    def load(self) -> Encoder: ...

    def __hash__(self) -> int: ...


def encode(
    encoder: Encoder,
    instances: Sequence[Instance],
    num_clips: int = 10,
    layer: str = "pooled",
    workers: ClipWorkers = 1,
    on_failure: Callable[[FileFailure], None] | None = None,
) -> Iterator[InstanceFeatures]:
    """Features of `num_clips` evenly spread clips of each instance, in order, one instance at a time.

    Instances that can't be decoded, or that crash the decoder, go to `on_failure` and are left out. With 0 workers this
    process decodes, and a crash ends it: for tests.
    """
    clips = ClipDataset(instances, encoder.spec.clip, encoder.spec.views.resize_hw, num_clips)
    return encode_clips(encoder, clips, layer, workers, on_failure)


def encode_clips(
    encoder: Encoder,
    clips: ClipDataset,
    layer: str = "pooled",
    workers: ClipWorkers = 0,
    on_failure: Callable[[FileFailure], None] | None = None,
) -> Iterator[InstanceFeatures]:
    """`encode` for clips that are sampled in another way."""
    if isinstance(workers, EngineWorkers):
        results = workers.encode(clips, layer)
    else:
        results = encode_here(encoder, clips, layer, workers)
    for result in results:
        if isinstance(result, InstanceFeatures):
            yield result
        elif on_failure is not None:
            on_failure(result)


def encode_here(
    encoder: Encoder, clips: ClipDataset, layer: str, workers: int
) -> Iterator[InstanceFeatures | FileFailure]:
    """The features of each instance, or its failure, in order, from this process and its loader processes."""
    sample: ClipSample
    for sample in build_sequential_loader(clips, workers):
        if sample.failure is not None:
            yield sample.failure
            continue
        assert sample.frames is not None and sample.spans_s is not None
        frames = torch.as_tensor(sample.frames)
        views = encoder.extract_parts(frames) if layer == "pooled" else encoder.extract_features(frames, layer)
        yield InstanceFeatures(
            sample.index, {n: v.float().cpu().numpy() for n, v in views.items()}, np.asarray(sample.spans_s)
        )


@dataclass(frozen=True)
class EngineWorkers:
    """Workers of an engine, each of which loads the encoder by itself."""

    engine: Engine
    recipe: EncoderRecipe

    def encode(self, clips: ClipDataset, layer: str) -> Iterator[InstanceFeatures | FileFailure]:
        """`encode_here`, by the workers. Raises InputError where one of them does not see a file."""
        arguments = (clips.replace_items([]), self.recipe, layer, self.engine.num_cores, get_limits())
        results = map_batches(self.engine, encode_batch, clips.items, arguments, len(clips))
        for index, (_, result) in enumerate(results):
            if isinstance(result, InstanceFeatures):
                yield replace(result, index=index)
            elif isinstance(result, WorkerFailure):
                yield FileFailure(clips.instances[index].path, "unreadable", result.detail)
            else:
                if result.reason == "missing":
                    require_seen_by_workers(result.path)
                yield result


def encode_batch(
    items: Sequence[Any], clips: ClipDataset, recipe: EncoderRecipe, layer: str, num_cores: int, limits: Limits
) -> list[InstanceFeatures | FileFailure]:
    """What a worker does: `encode_here` for some items of a dataset, with an encoder that it loads once."""
    with use_limits(limits):
        return list(encode_here(load_once(recipe), clips.replace_items(items), layer, max(1, min(8, num_cores - 1))))


@lru_cache(maxsize=1)
def load_once(recipe: EncoderRecipe) -> Encoder:
    """The encoder of a recipe, kept for the next batch of this process."""
    return recipe.load()


def join_views(views: dict[str, np.ndarray]) -> np.ndarray:
    """The rows of all views, side by side with equal weight, of unit length: (V, D1 + D2 + ...)."""
    parts = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in views.values()]
    return np.concatenate(parts, axis=1) / np.sqrt(len(parts), dtype=np.float32)


def check_embed_options(per: str, num_clips: int) -> None:
    """Raises InputError for an unknown kind of row or less than one clip."""
    if per not in ("video", "clip"):
        raise InputError(f"embeddings are per 'video' or per 'clip', not per '{per}'")
    if num_clips < 1:
        raise InputError(f"num_clips must be at least 1, got {num_clips}")


def pool_clips(features: InstanceFeatures, per: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (K, D) and seconds (K, 2) of one instance: of each clip, or one of the mean of its clips."""
    if per == "clip":
        return join_views(features.features), features.spans_s
    whole_s = np.array([(features.spans_s[:, 0].min(), features.spans_s[:, 1].max())])
    return join_views({n: v.mean(axis=0, keepdims=True) for n, v in features.features.items()}), whole_s


def embed_instances(
    encoder: Encoder,
    instances: Sequence[Instance],
    num_clips: int = 10,
    per: str = "video",
    workers: ClipWorkers = 1,
    on_failure: Callable[[FileFailure], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embeddings of instances, one row per instance (mean of its clips) or per clip."""
    check_embed_options(per, num_clips)
    rows: list[np.ndarray] = []
    spans: list[Any] = []
    row_instances: list[Instance] = []
    for item in encode(encoder, instances, num_clips, workers=workers, on_failure=on_failure):
        vectors, spans_s = pool_clips(item, per)
        rows.append(vectors)
        spans.extend(spans_s)
        row_instances.extend([instances[item.index]] * len(vectors))
        if on_progress is not None:
            on_progress(item.index + 1, len(instances))
    spans_N2 = np.array(spans, dtype=np.float64).reshape(-1, 2)
    vectors_ND = np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)
    return Embeddings(
        vectors_ND, [i.path for i in row_instances], spans_N2[:, 0], spans_N2[:, 1], [i.label for i in row_instances]
    )
