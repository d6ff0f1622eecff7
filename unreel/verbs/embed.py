"""An encoder on new footage, and an encoder made of an image network."""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError

from unreel.embedding import VideoEncoder, embed_instances, list_whole_videos, load_encoder
from unreel.errors import InputError
from unreel.indexing.index.clip_index import refresh_index
from unreel.indexing.store.clip_sampling import EvenSampling, SlidingWindow
from unreel.indexing.store.embeddings_file import describe_encoder as describe_encoder
from unreel.indexing.store.embeddings_file import write_embeddings
from unreel.indexing.store.update import StoreSummary, StoreUpdateOptions, lock_store, update_store
from unreel.io.atomic_write import atomic_folder, disk_errors
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.models.encoder.checkpoint_files import find_checkpoint, read_spec, save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.inflate import build_inflated
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import FileFailure
from unreel.video.loading.loaders import default_num_workers
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


def inflate_encoder(source: str | Path, out: str | Path, backbone: str = "", num_frames: int = 0) -> VideoEncoder:
    """Make an encoder of 2D weights: a checkpoint file, or a run with a network X-2d; saved in the folder `out`.

    By default the backbone is the run's own X and clips have 16 frames (8 for tiny). Raises UnreelError.
    """
    source, out = Path(source), require_new_path(Path(out))
    flat = read_image_spec(source)
    name = backbone or flat.backbone.removesuffix(TWIN_2D_SUFFIX)
    clip = dataclasses.replace(flat.clip, num_frames=num_frames or (8 if name == "tiny" else 16))
    spec = dataclasses.replace(flat, backbone=name, clip=clip)
    encoder = VideoEncoder(spec, build_inflated(source, name, **spec.options))
    with (
        disk_errors(out, "the encoder can't be written", errors=(OSError, SafetensorError)),
        atomic_folder(out) as temporary,
    ):
        save_encoder(encoder, temporary)
    return encoder


def read_image_spec(source: Path) -> EncoderSpec:
    """What 2D weights were trained with: a run's own description, or what is usual for ImageNet's checkpoints."""
    if not source.is_dir():
        clip, views = ClipSpec(fps=12.5, stride_frames=0), ViewSpec(("rgb",), 112, standardize=True)
        return EncoderSpec("r3d50", "inflated", clip, views)
    spec = read_spec(find_checkpoint(source))
    if not spec.backbone.endswith(TWIN_2D_SUFFIX):
        raise InputError(
            f"{source}: its network {spec.backbone} spans frames already; only a run of a network X-2d can be inflated "
            "(--method simclr-frames makes one)"
        )
    return spec


def embed(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    per: Literal["video", "clip"] = "video",
    num_clips: int = 10,
    on_progress: Callable[[int, int], None] | None = None,
    allow_import: bool = False,
) -> tuple[int, list[FileFailure]]:
    """Embed a video, a folder or a list; returns how many rows, and what was left out and why.

    `out` is a Parquet file, written at the end, or else the folder of a store, which is brought up to date and goes on
    where it was stopped (indexing/store/embedding_store.py; `fill_store` does it in several processes).
    """
    if Path(out).suffix != ".parquet":
        labour = StoreUpdateOptions(
            allow_import=allow_import, progress_bar=lambda _: nullcontext(on_progress or (lambda *_: None))
        )
        stored = update_store(run, source, out, EvenSampling(per, num_clips), labour)
        return stored.num_rows, stored.left_out
    encoder = move_encoder(load_encoder(run, allow_import))
    require_writable_path(Path(out))
    found, failed = list_whole_videos(Path(source))
    embeddings = embed_instances(encoder, found, num_clips, per, default_num_workers(), failed.append, on_progress)
    if not len(embeddings):
        raise InputError(f"{source}: no video there could be embedded; the first: {failed[0].path}: {failed[0]}")
    write_embeddings(embeddings, Path(out), describe_encoder(encoder))
    return len(embeddings), failed


def index(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    length_s: float = 0.0,
    hop_s: float = 0.0,
    allow_import: bool = False,
) -> tuple[int, list[FileFailure]]:
    """Make an index of every moment of the videos, or bring it up to date; returns what `embed` with a folder does.

    A clip has `length_s` seconds, by default as many as the encoder was trained with, and one begins every `hop_s`
    seconds, by default half a clip.
    """
    stored, _ = update_index(
        run, source, out, SlidingWindow(length_s, hop_s), StoreUpdateOptions(allow_import=allow_import)
    )
    return stored.num_rows, stored.left_out


def update_index(
    checkpoint: str | Path,
    source: str | Path,
    out: str | Path,
    clip_sampling: SlidingWindow,
    options: StoreUpdateOptions,
) -> tuple[StoreSummary, str]:
    """`fill_store`, and then what a search needs, made by the first process; what that is, in words ("" elsewhere)."""
    stored = update_store(checkpoint, source, out, clip_sampling, options)
    if stored.rank:
        return stored, ""
    with lock_store(Path(out)):
        return stored, refresh_index(Path(out), clip_sampling.load_encoder(checkpoint, options.allow_import))


def move_encoder(encoder: Encoder) -> Encoder:
    return encoder.to(choose_device("auto"))
