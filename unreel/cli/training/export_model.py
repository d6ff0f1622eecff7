"""`unreel export-model`: an encoder for other programs."""

import dataclasses
import inspect
from pathlib import Path

from unreel.cli.arguments import RunArgument, parse_args
from unreel.io.text import format_count


@dataclasses.dataclass
class ExportModelArgs:
    """Write an encoder for other programs, after measuring that it computes the same.

    {kinds}

    A model of ONNX or torch.export takes decoded frames and gives embeddings; crop, residual frames and normalisation
    are inside. `unreel export` writes the rows of an index.
    """

    run: RunArgument
    """A run, a checkpoint, an imported encoder, or base."""
    to: str
    """KIND:PLACE, see above."""
    videos: Path | None = None
    """Whose clips the model is compared on; by default those of the training, else drawn ones."""
    push: str = ""
    """USER/NAME: upload the hub folder there, as a private repository."""
    licence: str = ""
    """Of the weights in a hub folder: a file, or a name such as mit."""
    allow_import: bool = False
    """Import, and so run, the code of your own that the checkpoint names as its network."""


def export_model_command(args: list[str]) -> int:
    from unreel.model_export.destination import format_kinds

    ExportModelArgs.__doc__ = inspect.cleandoc(ExportModelArgs.__doc__ or "").replace("{kinds}", format_kinds())
    options = parse_args(ExportModelArgs, args, "export-model")
    from unreel.verbs.training.export_model import export_model

    done = export_model(**vars(options))
    if done.num_clips:
        print(
            f"{done.place}: differs by {done.difference:.2g} at most on {format_count(done.num_clips, 'clip')} "
            f"({done.clips})"
        )
    else:
        print(f"{done.place}: loads equal to the bit")
    if done.address:
        print(f"pushed to {done.address}, which only you can see until you change that there")
    return 0
