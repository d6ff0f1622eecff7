"""Where an encoder is exported to: KIND:PLACE, e.g. onnx:encoder.onnx or hub:FOLDER.

A new kind is a line of FORMATS, which the help of `unreel export-model` shows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from unreel.errors import InputError, unknown_name_error
from unreel.io.text import align_lines


class ModelFormat(NamedTuple):
    """What stands at the place of KIND:PLACE, and one line for the help."""

    place: str
    summary: str


HUB = "hub"
FORMATS = {
    "onnx": ModelFormat("FILE.onnx", "one file for ONNX Runtime and others; FILE.json says what it needs"),
    "torch-export": ModelFormat("FILE.pt2", "one file that PyTorch runs without unreel; FILE.json says what it needs"),
    HUB: ModelFormat("FOLDER", "model card, weights (safetensors), descriptions, licence; load_encoder(FOLDER)"),
}


ALIASES = {"safetensors-hub": HUB, "timm-like": HUB}  # what a hub folder is called elsewhere


def format_kinds() -> str:
    """The lines of the help, one for each kind."""
    return align_lines({f"--to {kind}:{about.place}": about.summary for kind, about in FORMATS.items()})


@dataclass(frozen=True)
class ModelDestination:
    """A kind of export, and the file or folder that it makes."""

    kind: str
    place: Path

    @classmethod
    def parse(cls, text: str) -> "ModelDestination":
        """Read KIND:PLACE. Raises InputError."""
        kind, _, place = text.partition(":")
        kind = ALIASES.get(kind, kind)
        if kind not in FORMATS:
            raise unknown_name_error("model format", kind, FORMATS)
        if not place:
            raise InputError(f"'{text}' has no place; write {kind}:{FORMATS[kind].place}")
        path, suffix = Path(place), Path(FORMATS[kind].place).suffix
        if suffix and path.suffix != suffix:
            raise InputError(f"'{text}': the file of this format ends in {suffix}")
        return cls(kind, path)

    @property
    def description(self) -> Path:
        """The file beside a model that says what it needs."""
        return self.place.with_suffix(".json")
