"""Errors in code of one's own, each in one sentence with the line where it happened."""

import ast
import contextlib
import traceback
from collections.abc import Iterator

from unreel.errors import OwnCodeError, UnreelError
from unreel.io.text import format_path
from unreel.own_code.source_files import SourceFiles

TRACEBACK_HINT = "UNREEL_TRACEBACK=1 shows the whole traceback"
MEMORY_TEXTS = ("out of memory", "allocate memory", "enough memory")


def describe_error(error: BaseException, *sources: SourceFiles) -> str:
    """Kind, text and line of an error: the innermost line of these files, else of where it was raised."""
    text = " ".join(str(error).split())[:300]
    line = find_line(error, *sources)
    return f"{type(error).__name__}{f': {text}' if text else ''}{f' ({line})' if line else ''}"


def find_line(error: BaseException, *sources: SourceFiles) -> str:
    """`FILE:LINE: source text` of the innermost frame of an error in these files; "" where none is there."""
    paths = {f"{s.root}/{name}" for s in sources for name in s.files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    if not frames:
        return ""
    text = f": `{frames[-1].line}`" if frames[-1].line else ""
    return f"{format_path(frames[-1].filename)}:{frames[-1].lineno}{text}"


def find_member_line(sources: SourceFiles, *names: str) -> str:
    """`FILE:LINE` of a member, e.g. ("Method", "forward"); of as much of it as the main file defines."""
    main = sources.main
    if not sources.files:
        return "its definition"
    nodes: list[ast.stmt] = ast.parse(next(iter(sources.files.values()))).body
    line = 1
    for name in names:
        found = next((node for node in nodes if name in list_names(node)), None)
        if found is None:
            break
        line, nodes = found.lineno, getattr(found, "body", [])
    return f"{main}:{line}"


def list_names(node: ast.stmt) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@contextlib.contextmanager
def explain_errors(activity: str, *sources: SourceFiles) -> Iterator[None]:
    """Raise OwnCodeError, with the line, for an error that came out of these files; any other passes as it is."""
    try:
        yield
    except (UnreelError, OSError, MemoryError):
        raise
    except Exception as error:
        if not find_line(error, *sources) or any(text in str(error).lower() for text in MEMORY_TEXTS):
            raise
        raise OwnCodeError(f"{activity}: {describe_error(error, *sources)}; {TRACEBACK_HINT}") from error
