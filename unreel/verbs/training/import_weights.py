"""Make an encoder of weights that others have released."""

import dataclasses
from pathlib import Path

from safetensors import SafetensorError

from unreel.embedding import VideoEncoder
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_folder, disk_errors
from unreel.io.checksums import write_checksums
from unreel.io.output_path import require_new_path
from unreel.models.encoder.checkpoint_files import SPEC_FILE, WEIGHTS_FILE, save_encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.released.import_report import ImportReport
from unreel.models.released.layouts import LAYOUTS, Pretraining
from unreel.models.released.matching import match_tensors
from unreel.models.released.weights_file import read_weights_file


def import_weights(
    file: str | Path,
    out: str | Path,
    layout: str = "",
    part: str = "",
    num_frames: int = 0,
    size: int = 0,
    views: tuple[str, ...] = (),
) -> ImportReport:
    """Make an encoder of a checkpoint that others have released; no code of the file is run.

    The network must fit whole. The encoder has the clips, views and normalisation of its release, and `out` is accepted
    wherever a run is.

    Args:
        file: a checkpoint of PyTorch or safetensors, or the .index of one of TensorFlow 2.
        out: folder of the encoder; must not exist yet.
        layout: whose file it is: "iic", "iic-v2", "dualvar", "coclr", "cvrl", "torchvision" or "slowfast"; by default
            its names tell.
        part: where in the file the network is, e.g. "encoder_k.0"; by default the network that the release uses.
        num_frames: frames of a clip; 0 means as released.
        size: side of a clip in pixels; 0 means as released.
        views: "rgb", "residual", "flow-u", "flow-v"; by default those of the release.

    Returns:
        Which network of which release it is, what was left out, and what is known of its training. `out` keeps it as
        pretraining.json.

    Raises:
        InputError: the file can't be read, holds code, or is no whole network of these releases.
        DiskError: the encoder can't be written.

    >>> try:
    ...     unreel.import_weights("r3d_18.pth", out)
    ... except unreel.UnreelError as error:
    ...     print(error)
    r3d_18.pth: no such file; name a file of weights
    """
    out, file = require_new_path(Path(out)), Path(file)
    refuse_own_encoder(file)
    content = read_weights_file(file)
    try:
        match = match_tensors(content.tensors, layout, part)
    except InputError as error:
        raise InputError(f"{file}: {error.problem}", error.advice) from error
    found = match.candidate
    about = LAYOUTS[found.layout].describe(found.network, content.values)
    spec = make_spec(found.layout, found.network.backbone, dict(found.network.options), about)
    spec = change_clips(spec, num_frames, size, views)
    report = ImportReport.make(content, match, about)
    write_encoder(VideoEncoder(spec, match.build()), report, out)
    return report


def refuse_own_encoder(file: Path) -> None:
    """Raise InputError for the weights of an encoder of unreel, which needs no import."""
    if file.name == WEIGHTS_FILE and file.with_name(SPEC_FILE).is_file():
        raise InputError(f"{file}: the weights of an encoder of unreel", f"name its folder, {file.parent}, as the run")


def make_spec(layout: str, backbone: str, options: dict[str, float | bool], about: Pretraining) -> EncoderSpec:
    """The description of an encoder of a release; clips begin earlier where a view looks back."""
    clip = dataclasses.replace(about.clip, lead_in=about.views.lead_in)
    return EncoderSpec(backbone, f"imported:{layout}", clip, about.views, options)


def change_clips(spec: EncoderSpec, num_frames: int, size: int, views: tuple[str, ...]) -> EncoderSpec:
    """The description with other clips and views than its release; 0 and () change nothing. Raises InputError."""
    if num_frames < 0 or size < 0:
        raise InputError(f"num_frames and size can't be negative, got {num_frames} and {size}")
    old = spec.views
    residual = dataclasses.replace(old.residual, rescale=old.residual.rescale and not old.standardize)
    changed = dataclasses.replace(old, names=views or old.names, size=size or old.size, residual=residual)
    clip = dataclasses.replace(spec.clip, num_frames=num_frames or spec.clip.num_frames, lead_in=changed.lead_in)
    return dataclasses.replace(spec, clip=clip, views=changed)


def write_encoder(encoder: VideoEncoder, report: ImportReport, out: Path) -> None:
    """The encoder and its report in a new folder. Raises DiskError."""
    with (
        disk_errors(out, "the encoder can't be written", errors=(OSError, SafetensorError)),
        atomic_folder(out) as temporary,
    ):
        save_encoder(encoder, temporary)
        write_checksums(temporary, (WEIGHTS_FILE, SPEC_FILE))
        report.save(temporary)
