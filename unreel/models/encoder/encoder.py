"""An encoder: a trained backbone together with everything needed to use it on a file.

`load_encoder(path)` needs the folder of a run or of a checkpoint and nothing else. A query, an index and an
evaluation all go through the same `encode`.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.corpus.inspection import inspect
from unreel.corpus.lists import LIST_SUFFIXES
from unreel.errors import CheckpointError, InputError
from unreel.io.checksums import verify_checksums
from unreel.models.heads import HeadDict, HeadSpec
from unreel.models.registry import build_backbone, is_import_path
from unreel.types import Embeddings, FileFailure, Instance
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample, build_sequential_loader
from unreel.video.sampling.timeline import ClipSpec
from unreel.views.residual_frames import ResidualSpec
from unreel.views.inference_views import make_inference_views
from unreel.views.view_spec import ViewSpec

WEIGHTS_FILE, HEADS_FILE, SPEC_FILE = "encoder.safetensors", "heads.safetensors", "encoder.json"
FEATURE_LAYERS = ("pooled", "conv5", "map")


@dataclass(frozen=True)
class EncoderSpec:
    """What suffices to rebuild an encoder, kept as readable JSON beside the weights."""

    backbone: str
    method: str = "untrained"
    clip: ClipSpec = field(default_factory=ClipSpec)
    views: ViewSpec = field(default_factory=ViewSpec)
    options: dict[str, Any] = field(default_factory=dict, hash=False)  # the backbone's own, e.g. {"width": 2}
    heads: tuple[HeadSpec, ...] = ()  # by which an index can be made, most have none

    @property
    def part_names(self) -> tuple[str, ...]:
        """What a row of an index is made of, side by side: the heads where there are some, else the views."""
        return tuple(head.name for head in self.heads) or tuple(dict.fromkeys(self.views.names))

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "heads" or value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EncoderSpec":
        views = dict(data["views"])
        views["names"] = tuple(views["names"])
        views["residual"] = ResidualSpec(**views["residual"])
        options = dict(data.get("options", {}))  # descriptions of 0.1 have none
        heads = tuple(HeadSpec(**head) for head in data.get("heads", ()))
        return cls(data["backbone"], data["method"], ClipSpec(**data["clip"]), ViewSpec(**views), options, heads)


class Encoder(nn.Module):
    """A backbone with its clip length, rate and views."""

    def __init__(self, spec: EncoderSpec, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = backbone if backbone is not None else build_backbone(spec.backbone, **spec.options)
        known = getattr(self.backbone, "rebuild_options", {})  # a foreign network's, so that a checkpoint suffices
        self.spec = dataclasses.replace(spec, options=spec.options | known)
        self.heads = HeadDict(spec.heads) if spec.heads else None

    def extract_features(self, frames: Tensor, layer: str = "pooled") -> dict[str, Tensor]:
        """Features (B, D) of each view of uint8 clips (B, lead_in + T, H, W, C); batch norm as at the end of training.

        `pooled` is the global average of the last map, `conv5` the map max-pooled by (1, 2, 2) and flattened
        (9216 numbers for the paper's networks), `map` the whole of it. Source: BestJuly/IIC, retrieval script.
        """
        return self.extract_layers(frames, (layer,))[layer]

    @torch.inference_mode()
    def extract_layers(self, frames: Tensor, layers: Sequence[str], num_crops: int = 1) -> dict[str, dict[str, Tensor]]:
        """Several layers of one call of the network: layer to view to features (B * num_crops, D).

        The crops of a clip, evenly spread along the longer side of the frame, stand beside each other.
        """
        device = next(self.backbone.parameters()).device
        self.backbone.eval()
        views = make_inference_views(frames.to(device), self.spec.views, num_crops)
        maps = {name: self.backbone(view) for name, view in views.items()}
        return {layer: {name: pool_layer(m, layer) for name, m in maps.items()} for layer in layers}

    @torch.inference_mode()
    def extract_parts(self, frames: Tensor) -> dict[str, Tensor]:
        """What a row of an index is made of: pooled features of each view, or what each head makes of them, the mean
        over views; `EncoderSpec.parts` names them."""
        views = self.extract_features(frames)
        if self.heads is None:
            return views
        by_view = [self.heads(features_BD) for features_BD in views.values()]
        return {name: torch.stack([found[name] for found in by_view]).mean(dim=0) for name in self.heads}

    def embed(self, source: str | Path | Sequence[str | Path], num_clips: int = 10, per: str = "video") -> Embeddings:
        """Embed a video, a folder, a list file or several videos: one unit-length row per video, or per clip.

        The views are joined, each with equal weight. Raises VideoError for a single file that can't be used;
        files of a folder that can't be used are left out (see `unreel inspect`).
        """
        sources = [source] if isinstance(source, str | Path) else source
        found: list[Instance] = []
        for s in sources:
            usable, failed = list_whole_videos(Path(s))
            if failed and not usable and Path(s).suffix.lower() not in LIST_SUFFIXES and Path(s).is_file():
                raise failed[0].to_error()
            found += usable
        return embed_instances(self, found, num_clips, per)


def pool_layer(map_BDTHW: Tensor, layer: str) -> Tensor:
    """The last feature map as vectors (B, D); see `Encoder.features`."""
    if layer == "pooled":
        return map_BDTHW.mean(dim=(2, 3, 4))
    if layer == "conv5":
        height, width = map_BDTHW.shape[3:]
        return F.max_pool3d(map_BDTHW, (1, min(2, height), min(2, width))).flatten(1)
    if layer == "map":
        return map_BDTHW.flatten(1)
    raise InputError(f"unknown layer '{layer}'. Known: {', '.join(FEATURE_LAYERS)}")


@dataclass
class InstanceFeatures:
    """Features of one instance: view name to float32 (V, D), and the seconds of each clip, (V, 2)."""

    index: int
    features: dict[str, np.ndarray]
    spans_s: np.ndarray


def list_whole_videos(source: Path) -> tuple[list[Instance], list[FileFailure]]:
    """Every usable video of a file, folder or list as one instance each, and the others."""
    manifest = inspect(source, check="fast", shots=False)
    who = [Instance(v.path, n, 0.0, float("inf"), v.label, v.group) for n, v in enumerate(manifest.videos)]
    return who, list(manifest.quarantine)


def encode(
    encoder: Encoder,
    instances: Sequence[Instance],
    num_clips: int = 10,
    layer: str = "pooled",
    workers: int = 1,
    on_failure: Callable[[FileFailure], None] | None = None,
) -> Iterator[InstanceFeatures]:
    """Features of `num_clips` evenly spread clips of each instance, in order, one instance at a time.

    Instances that can't be decoded are handed to `on_failure` and left out; so is one whose decoding ends
    a process. 0 workers decode in this process, which it then ends: for tests.
    """
    clips = ClipDataset(instances, encoder.spec.clip, encoder.spec.views.resize_hw, num_clips)
    return encode_clips(encoder, clips, layer, workers, on_failure)


def encode_clips(
    encoder: Encoder,
    clips: ClipDataset,
    layer: str = "pooled",
    workers: int = 0,
    on_failure: Callable[[FileFailure], None] | None = None,
) -> Iterator[InstanceFeatures]:
    """`encode` for clips that are chosen in another way."""
    sample: ClipSample
    for sample in build_sequential_loader(clips, workers):
        if sample.frames is None or sample.spans_s is None:
            if on_failure is not None and sample.failure is not None:
                on_failure(sample.failure)
            continue
        frames = torch.as_tensor(sample.frames)
        views = encoder.extract_parts(frames) if layer == "pooled" else encoder.extract_features(frames, layer)
        yield InstanceFeatures(
            sample.index, {n: v.float().cpu().numpy() for n, v in views.items()}, np.asarray(sample.spans_s)
        )


def join_views(views: dict[str, np.ndarray]) -> np.ndarray:
    """One unit-length row (V, D1 + D2 + ...) from each view's rows, all views with equal weight."""
    parts = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in views.values()]
    return np.concatenate(parts, axis=1) / np.sqrt(len(parts), dtype=np.float32)


def check_embed_options(per: str, num_clips: int) -> None:
    """Raise InputError for rows that there are not."""
    if per not in ("video", "clip"):
        raise InputError(f"embeddings are per 'video' or per 'clip', not per '{per}'")
    if num_clips < 1:
        raise InputError(f"num_clips must be at least 1, got {num_clips}")


def pool_clips(features: InstanceFeatures, per: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (K, D) and seconds (K, 2) of one instance: of the mean of its clips, K is 1, or of each clip."""
    if per == "clip":
        return join_views(features.features), features.spans_s
    whole_s = np.array([(features.spans_s[:, 0].min(), features.spans_s[:, 1].max())])
    return join_views({n: v.mean(axis=0, keepdims=True) for n, v in features.features.items()}), whole_s


def embed_instances(
    encoder: Encoder,
    instances: Sequence[Instance],
    num_clips: int = 10,
    per: str = "video",
    workers: int = 1,
    on_failure: Callable[[FileFailure], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embeddings:
    """Embeddings of instances, one row per instance (mean of its clips) or per clip."""
    check_embed_options(per, num_clips)
    rows: list[np.ndarray] = []
    spans: list[Any] = []
    who: list[Instance] = []
    for item in encode(encoder, instances, num_clips, workers=workers, on_failure=on_failure):
        vectors, spans_s = pool_clips(item, per)
        rows.append(vectors)
        spans.extend(spans_s)
        who.extend([instances[item.index]] * len(vectors))
        if on_progress is not None:
            on_progress(item.index + 1, len(instances))
    spans_N2 = np.array(spans, dtype=np.float64).reshape(-1, 2)
    vectors_ND = np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, 0), np.float32)
    return Embeddings(vectors_ND, [i.path for i in who], spans_N2[:, 0], spans_N2[:, 1], [i.label for i in who])


def load_encoder(path: str | Path, allow_import: bool = False) -> Encoder:
    """The encoder in a run folder (its best checkpoint, else the last) or in a checkpoint folder.

    Weights are read from safetensors, so no code can come with them, and must fit wholly. A network of your own is
    imported, and so run as code, only with `allow_import`. Raises CheckpointError.
    """
    folder = find_checkpoint(Path(path))
    try:
        spec = EncoderSpec.from_json(json.loads((folder / SPEC_FILE).read_text()))
        verify_checksums(folder, (WEIGHTS_FILE,))
        weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: the encoder can't be read ({error}); use another checkpoint") from error
    if is_import_path(spec.backbone) and not allow_import:
        raise CheckpointError(
            f"{folder}: its backbone '{spec.backbone}' is code outside unreel; if you trust it, add --allow-import (in "
            "Python allow_import=True)"
        )
    encoder = Encoder(spec)
    try:
        encoder.backbone.load_state_dict(weights)
        if encoder.heads is not None:
            encoder.heads.load_state_dict(safetensors.torch.load_file(folder / HEADS_FILE))
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: the encoder's heads can't be read ({error}); use another") from error
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(f"{folder}: the weights do not fit a {spec.backbone} backbone ({first})") from error
    return encoder.eval()


def read_spec(folder: Path) -> EncoderSpec:
    """What the encoder of a checkpoint is, without its weights. Raises CheckpointError."""
    try:
        return EncoderSpec.from_json(json.loads((folder / SPEC_FILE).read_text()))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder}: the encoder's {SPEC_FILE} can't be read ({error})") from error


def find_checkpoint(path: Path) -> Path:
    """Where the encoder lies: the folder itself, or the best (else last) checkpoint of a run folder."""
    if (path / SPEC_FILE).exists():
        return path
    pointer = path / "checkpoints" / "index.json"
    if not pointer.exists():
        raise CheckpointError(
            f"{path}: neither a run nor a checkpoint of unreel (no {SPEC_FILE}, no {pointer.name} there)"
        )
    try:
        names = json.loads(pointer.read_text())
        return path / "checkpoints" / str(names.get("best") or names["last"])
    except (OSError, KeyError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{pointer}: can't be read ({error}); name one of the checkpoints beside it") from error


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Weights and description into an existing folder; the caller makes it atomic (training/run_folder/checkpoint.py)."""
    state = clone_shared_tensors(encoder.backbone.state_dict())
    (folder / WEIGHTS_FILE).write_bytes(safetensors.torch.save(state))  # save_file would let nobody else read it
    if encoder.heads is not None:
        (folder / HEADS_FILE).write_bytes(safetensors.torch.save(clone_shared_tensors(encoder.heads.state_dict())))
    (folder / SPEC_FILE).write_text(json.dumps(encoder.spec.to_json(), indent=2) + "\n")


def clone_shared_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict on the CPU, each tensor with memory of its own: safetensors takes no shared (tied) ones."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return apart
