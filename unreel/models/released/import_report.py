"""What is known of an imported encoder: where its weights come from, how they were trained, what was left out.

Kept as `pretraining.json` beside the encoder.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreel.io.text import format_count, parse_json
from unreel.models.released.layouts import LAYOUTS, Pretraining
from unreel.models.released.matching import Match
from unreel.models.released.weights_file import WeightsFile

PRETRAINING_FILE = "pretraining.json"


@dataclass(frozen=True)
class ImportReport:
    """Which network of which release a file holds, and in sentences what is known of its pre-training.

    `file` is the name of the file and `checksum` its BLAKE2b of 128 bits; `part` is where in the file the network was;
    `left_out` names the modules that were not used; `differs` says what is done otherwise here than in the release.
    """

    layout: str
    source: str
    file: str
    checksum: str
    backbone: str
    options: dict[str, float | bool]
    part: str
    num_tensors: int
    left_out: dict[str, str]
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    differs: tuple[str, ...]

    @classmethod
    def make(cls, file: WeightsFile, match: Match, about: Pretraining) -> "ImportReport":
        """The report on a file and on what was found there."""
        found, network = match.candidate, match.candidate.network
        return cls(
            layout=found.layout,
            source=LAYOUTS[found.layout].source,
            file=file.path.name,
            checksum=file.checksum,
            backbone=network.backbone,
            options=dict(network.options),
            part=found.part,
            num_tensors=len(found.found),
            left_out=match.left_out,
            known=about.known,
            unknown=about.unknown,
            differs=about.differs,
        )

    def format_lines(self) -> list[str]:
        """The report for people, a line for each thing."""
        where = f" in {self.part}" if self.part else ""
        lines = [f"{self.layout} ({self.source}): {self.backbone}, {format_count(self.num_tensors, 'tensor')}{where}"]
        lines += [f"left out: {module}, {what}" for module, what in self.left_out.items()]
        lines += [f"known: {text}" for text in self.known]
        lines += [f"not known: {text}" for text in self.unknown]
        return lines + [f"otherwise here: {text}" for text in self.differs]

    def save(self, folder: Path) -> None:
        """Raises OSError."""
        (folder / PRETRAINING_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def read_pretraining(folder: Path) -> dict[str, Any]:
    """What `ImportReport.save` wrote; {} where there is nothing that can be read."""
    try:
        return parse_json((folder / PRETRAINING_FILE).read_text())
    except (OSError, ValueError):
        return {}
