"""The command line: parse, call the library, print. One short function per command."""

import errno
import sys
from collections.abc import Callable, Sequence

from unreel.cli.data.inspect import data_command, inspect_command, synth_command
from unreel.cli.data.pack import pack_command
from unreel.cli.evaluation.evaluate import compare_command, evaluate_command
from unreel.cli.indexing.concept import apply_command, cluster_command, concept_command
from unreel.cli.indexing.embed import embed_command, index_command, inflate_command
from unreel.cli.indexing.export import export_command
from unreel.cli.indexing.search import search_command
from unreel.cli.indexing.serve import serve_command
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.cli.training.bench import bench_command
from unreel.cli.training.methods import methods_command
from unreel.cli.training.pretrain import pretrain_command, report_command
from unreel.errors import PeerStoppedError, UnreelError, unknown_name_error

HELP_TEXT = """unreel turns a folder of unlabelled video into an encoder, and the encoder into figures and embeddings.

  unreel inspect FOLDER                        what is in a folder of videos, and what can't be used
  unreel pack FOLDER OUT                       rewrite videos once into pieces that are cheap to train from
  unreel pretrain FOLDER --out RUN             train an encoder; RUN/report.html shows how it went
  unreel pretrain --resume RUN                 go on with a run that was stopped
  unreel methods                               what --method can be: idea, source, defaults
  unreel evaluate WHAT RUN DATA                figures on labelled videos: retrieval, knn, linear, motion, all ...
  unreel compare EVAL EVAL ...                 what `evaluate all` found of several encoders, side by side
  unreel data check DATA                       what a labelled data set has and lacks
  unreel embed RUN FOLDER --out FILE.parquet   one vector per video or per clip, with times
  unreel embed RUN FOLDER --out STORE          the same in a folder that is kept up to date, by many processes
  unreel index RUN FOLDER --out INDEX          vectors of clips that slide over every video, kept up to date
  unreel search INDEX VIDEO --from 12 --to 15  moments like this one, with their seconds
  unreel serve INDEX                           the same in a browser, with a map of the corpus, marks and export
  unreel cluster INDEX                         groups, with moving previews; what is odd, what is doubled; tables
  unreel concept INDEX NAME --yes 12 --no 40   a concept from a few marks, everything ranked by it, what to mark next
  unreel apply CONCEPT FOLDER                  moments of a concept in new footage, with their seconds
  unreel export INDEX --to KIND:PLACE          rows for FiftyOne, Lightly, Parquet, NumPy, LanceDB, Qdrant, pgvector
  unreel bench [FOLDER]                        where the time of training goes on this machine, and what to change
  unreel report RUN                            write RUN/report.html again
  unreel inflate FILE --out ENCODER            make a video encoder of an image network's weights
  unreel synth OUT                             make a set of videos that differ by motion alone

unreel COMMAND --help tells a command's options."""


REPORTED_DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
}
REPORTED_DISK_ERRORS |= {errno.EISDIR, errno.ELOOP, errno.ENOENT}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `unreel`: errors of a person's making become one line and exit code 2."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(run_command(args))
    except PeerStoppedError as stop:
        sys.exit(stop.exit_code)
    except UnreelError as error:
        stderr_console.print(f"[bold red]unreel:[/] {escape_markup(str(error))}")
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        sys.stdout = None
        sys.exit(141)
    except OSError as error:
        if error.errno not in REPORTED_DISK_ERRORS:
            raise
        where = error.filename or "disk"
        stderr_console.print(f"[bold red]unreel:[/] {escape_markup(f'{where}: {error.strerror}')}")
    except KeyboardInterrupt as stop:
        stderr_console.print(f"unreel: {escape_markup(str(stop) or 'stopped')}")
        sys.exit(130)
    sys.exit(2)


def run_command(args: list[str]) -> int:
    """Find the command and run it; returns the exit code."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP_TEXT)
        return 0
    if args[0] == "--version":
        from unreel import __version__

        print(__version__)
        return 0
    if args[0] not in COMMANDS:
        raise unknown_name_error("command", args[0], COMMANDS)
    return COMMANDS[args[0]](args[1:])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "inspect": inspect_command,
    "pack": pack_command,
    "pretrain": pretrain_command,
    "methods": methods_command,
    "evaluate": evaluate_command,
    "compare": compare_command,
    "data": data_command,
    "embed": embed_command,
    "index": index_command,
    "search": search_command,
    "serve": serve_command,
    "cluster": cluster_command,
    "concept": concept_command,
    "apply": apply_command,
    "export": export_command,
    "bench": bench_command,
    "report": report_command,
    "inflate": inflate_command,
    "synth": synth_command,
}
