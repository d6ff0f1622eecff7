"""Make a video encoder of an image network's weights."""

import dataclasses
from pathlib import Path

from safetensors import SafetensorError

from unreel.embedding import VideoEncoder
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_folder, disk_errors
from unreel.io.output_path import require_new_path
from unreel.models.encoder.checkpoint_files import find_checkpoint, read_spec, save_encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.inflate import build_inflated
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec


def inflate(source: str | Path, out: str | Path, backbone: str = "", num_frames: int = 0) -> VideoEncoder:
    """Make an encoder of 2D weights, each kernel repeated along time and divided by its length; saved in `out`.

    `source` is a checkpoint file, or a run with a network X-2d. By default the backbone is the run's own X (r3d50 for a
    file) and clips have 16 frames (8 for tiny). Raises UnreelError.
    """
    source, out = Path(source), require_new_path(Path(out))
    image_spec = read_image_spec(source)
    name = backbone or image_spec.backbone.removesuffix(TWIN_2D_SUFFIX)
    clip = dataclasses.replace(image_spec.clip, num_frames=num_frames or (8 if name == "tiny" else 16))
    spec = dataclasses.replace(image_spec, backbone=name, clip=clip)
    encoder = VideoEncoder(spec, build_inflated(source, name, **spec.options))
    with (
        disk_errors(out, "the encoder can't be written", errors=(OSError, SafetensorError)),
        atomic_folder(out) as temporary,
    ):
        save_encoder(encoder, temporary)
    return encoder


def read_image_spec(source: Path) -> EncoderSpec:
    """The spec that 2D weights were trained with: that of a run, or the usual one of ImageNet checkpoints."""
    if not source.is_dir():
        clip, views = ClipSpec(fps=12.5, stride_frames=0), ViewSpec(("rgb",), 112, standardize=True)
        return EncoderSpec("r3d50", "inflated", clip, views)
    spec = read_spec(find_checkpoint(source))
    if not spec.backbone.endswith(TWIN_2D_SUFFIX):
        raise InputError(
            f"{source}: its network {spec.backbone} spans frames already; only a run of a network X-2d can be inflated "
            "(e.g. `unreel pretrain --method simclr-frames --backbone tiny-2d`)"
        )
    return spec
