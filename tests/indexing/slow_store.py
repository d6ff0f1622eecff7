"""Stand-ins for a command that fills a store: slow, in small parts, with a list of what it embeds."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from unreel.cli.entry_point import main
from unreel.errors import NonFiniteError
from unreel.indexing.store import part_writer
from unreel.indexing.store.part_writer import PartWriter


def slow_down() -> None:
    """Parts of two videos; each video is listed in the file SEEN, fails where FAIL names it, and takes SLOW seconds."""
    add = PartWriter.add

    def add_slowly(writer: PartWriter, content: Any, *rows: Any) -> None:
        name = Path(content.files[0][0]).name
        add(writer, content, *rows)
        with open(os.environ["SEEN"], "a") as file:
            file.write(f"{name}\n")
        if os.environ.get("FAIL") == name:
            raise NonFiniteError("made to fail")
        time.sleep(float(os.environ.get("SLOW", "0")))

    torch.set_num_threads(1)
    PartWriter.add, part_writer.MAX_PART_VIDEOS = add_slowly, 2  # type: ignore[method-assign]


if __name__ == "__main__":  # as a process that starts a second one in the same way
    slow_down()
    main(sys.argv[1:])
