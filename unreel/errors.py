"""All exceptions that unreel raises on purpose.

UnreelError              one readable line: what, which value, where, what to do; the CLI prints it alone
  InputError             a folder, list or option that can't be used
    OwnCodeError         code of one's own that can't be loaded, breaks its contract, or fails; says the line
  VideoError             one file that can't be used, with a `reason` from VIDEO_ERROR_REASONS; it is quarantined
  RunError               a run folder that exists, is missing or belongs to something else
  CheckpointError        weights or their description that do not fit, or are damaged
    NeedsImportError     a network that is code outside unreel, loaded without --allow-import
  NonFiniteError         a loss or gradient that is not finite; raised before the optimiser steps
  PeerStoppedError       another process of the run has failed and has printed why
  DiskError              a disk that is full or can't be written; nothing half-written is left behind
"""

import difflib
import re
from collections.abc import Collection, Iterable

MAX_LISTED, MAX_COMPARED = 200, 10_000  # names that an error says, and compares with a wrong one
VIDEO_ERROR_REASONS = (
    "missing",
    "unreadable",
    "empty file",
    "not a video",
    "no video stream",
    "no frames",
    "truncated",
    "damaged",
    "too short",
)


class UnreelError(Exception):
    """Base of all errors that the user can fix.

    Raises:
        UnreelError: every public function raises a subclass of it, with one readable line.

    >>> try:
    ...     unreel.open_index("nowhere")
    ... except unreel.UnreelError as error:
    ...     print(error)
    nowhere: no index there; make one with `unreel index RUN FOLDER --out nowhere`
    """


class InputError(UnreelError):
    """Text: `problem; advice`, where `advice` (what to do) may be empty."""

    def __init__(self, problem: str = "", advice: str = "") -> None:
        super().__init__(f"{problem}; {advice}" if advice else problem)
        self.problem, self.advice = problem, advice


class OwnCodeError(InputError):
    """Code of one's own that can't be loaded, does not keep to its contract, or fails; the text has its line."""


class VideoError(UnreelError):
    """A file that can't be used. `reason` is one of VIDEO_ERROR_REASONS, `detail` the message of the decoder."""

    def __init__(self, path: str, reason: str, detail: str = "") -> None:
        assert reason in VIDEO_ERROR_REASONS, reason
        super().__init__(f"{path}: {reason}" + (f" ({detail})" if detail else ""))
        self.path, self.reason, self.detail = str(path), reason, detail

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return VideoError, (self.path, self.reason, self.detail)


class RunError(UnreelError):
    pass


class CheckpointError(UnreelError):
    pass


class NeedsImportError(CheckpointError):
    """A checkpoint whose network is code outside unreel, which is imported only with --allow-import."""


class NonFiniteError(UnreelError):
    pass


class PeerStoppedError(UnreelError):
    """Another process of the run has stopped and printed why; this one ends silently, with the same exit code."""

    def __init__(self, exit_code: int = 2) -> None:
        super().__init__("another process of the run has stopped and has printed why")
        self.exit_code = exit_code


class DiskError(UnreelError):
    pass


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An InputError that lists the known names and suggests the nearest one; of very many it lists the first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names[:MAX_COMPARED], n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return InputError(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names[:MAX_LISTED])}{more}")


def require_known(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise `unknown_name_error` for the first name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise unknown_name_error(kind, name, known)


def no_encoder_error(path: object, known: Collection[str]) -> CheckpointError:
    """For a place without an encoder; `known` are those that come with the package."""
    if str(path) in known:
        return CheckpointError(
            f"{path}: a file or folder of this name lies here and goes before the encoder that comes with unreel, but "
            "is neither a run nor a checkpoint; rename it, or work in another folder"
        )
    return CheckpointError(
        f"{path}: neither a run nor a checkpoint of unreel (no encoder.json, no index.json there), nor the name "
        f"of an encoder that comes with it ({', '.join(sorted(known))})"
    )


def no_run_error(folder: object) -> RunError:
    return RunError(f"{folder} is not a run of unreel (no config.json there)")


def no_index_error(folder: object) -> InputError:
    if re.match("[A-Za-z][A-Za-z0-9]*:", str(folder)):
        known = "lancedb:PLACE, qdrant:URL and postgres:URL"
        return InputError(f"{folder}: no index there, and no address of one in a database", f"those are {known}")
    return InputError(f"{folder}: no index there", f"make one with `unreel index RUN FOLDER --out {folder}`")


def no_videos_error(source: object, kind: str = "no such folder or list") -> InputError:
    return InputError(f"{source}: {kind}. Give a folder of videos, or a list (.txt, .csv)")


def no_dataset_error(folder: object, content: str = "the videos") -> InputError:
    return InputError(f"{folder}: no such folder. Give the folder of {content}")


def no_classifier_error(folder: object) -> InputError:
    return InputError(f"{folder}: no classifier there (no classifier.json); `unreel classify train` makes one")


def no_concept_error(path: object) -> InputError:
    return InputError(f"{path}: no concept there; `unreel concept INDEX NAME` makes INDEX/concepts/NAME.json")


def no_evaluation_error(folder: object) -> RunError:
    make = f"make one: unreel evaluate all RUN DATA --out {folder}"
    return RunError(f"{folder}: there is no evaluation here (no results.json); {make}")


def no_weights_error(path: object, kind: str = "no such file") -> InputError:
    if str(path).startswith(("http:/", "https:/")):
        return InputError(f"{path}: an address; download the file, and name it")
    return InputError(f"{path}: {kind}; name a file of weights")


def no_sweep_error(path: object) -> InputError:
    return InputError(
        f"{path}: no such file; give the file or the folder of a sweep, or with --data a folder of videos"
    )
