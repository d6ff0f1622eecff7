"""The source files of code of one's own: the file that was named, and what it imports beside itself.

Imports are read from the text, so nothing is run. Libraries, and unreel itself, are not followed: their versions say
what they are (provenance.py).
"""

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from unreel.errors import OwnCodeError
from unreel.io.checksums import hash_bytes, new_digest

LIBRARY_FOLDERS = {"site-packages", "dist-packages"}
COMPUTING_ROOMS = {"seeding.py", "views", "models", "losses", "methods"}


@dataclass(frozen=True)
class SourceFiles:
    """Files by their path below `root`, the one that was named first."""

    root: str = ""
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def main(self) -> Path:
        """The file that was named."""
        return Path(self.root, next(iter(self.files), ""))

    @property
    def hash(self) -> str:
        """Of names and contents, 32 hexadecimal digits; "" where the source is not known.

        >>> SourceFiles("/a", {"net.py": b"x = 1"}).hash == SourceFiles("/b", {"net.py": b"x = 1"}).hash
        True
        """
        digest = new_digest()
        for name in sorted(self.files):
            digest.update(f"{name}\0{len(self.files[name])}\0".encode())
            digest.update(self.files[name])
        return digest.hexdigest() if self.files else ""

    def hash_files(self) -> dict[str, str]:
        """The hash of each file."""
        return {name: hash_bytes(content) for name, content in self.files.items()}


def collect_sources(path: Path, root: Path, is_followed: Callable[[Path], bool] = lambda _: True) -> SourceFiles:
    """A file and everything that it imports from below `root`, by reading; files that are not followed are left out.

    Raises OwnCodeError for a syntax error.
    """
    name = path.relative_to(root)
    top = name.parts[0].removesuffix(".py")
    waiting, files = [name], dict[str, bytes]()
    while waiting:
        current = waiting.pop()
        if current.as_posix() in files:
            continue
        content = (root / current).read_bytes()
        files[current.as_posix()] = content
        package = current.parts[:-1]
        for parts in list_imports(parse(content, root / current), package):
            if may_follow(root, parts[0], top):
                waiting.extend(filter(is_followed, find_module_files(root, parts)))
    return SourceFiles(str(root), files)


def parse(content: bytes, path: Path) -> ast.Module:
    """The syntax tree of a file. Raises OwnCodeError that says in which line the syntax is wrong."""
    try:
        return ast.parse(content, str(path))
    except (SyntaxError, ValueError) as error:
        line, message = getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))
        text = (getattr(error, "text", None) or "").strip()
        shown = f": `{text}`" if text else ""
        raise OwnCodeError(f"{path}:{line}: a syntax error, {message}{shown}") from error


def list_imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The parts of every module name that a file of `package` imports, or may import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from (parts for alias in node.names if (parts := (*base, alias.name)))


def may_follow(root: Path, name: str, own_top: str) -> bool:
    """Whether an imported module is part of the same code: never of the standard library, or of another library."""
    if name == own_top:
        return True
    is_library = bool(LIBRARY_FOLDERS & set(root.parts))
    return not is_library and name not in sys.stdlib_module_names and name != "unreel"


def find_module_files(root: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """The files below `root` that importing a module runs: those of its packages, and its own."""
    for end in range(1, len(parts) + 1):
        module = Path(*parts[:end])
        for candidate in (module / "__init__.py", module.with_suffix(".py")):
            if (root / candidate).is_file():
                yield candidate


def collect_parts_of_unreel(sources: SourceFiles) -> SourceFiles:
    """The files of unreel that say what code of one's own computes: the losses, views and layers that it imports."""
    root = Path(__file__).parents[2]
    trees = [parse(content, Path(sources.root, name)) for name, content in sources.files.items()]
    imported = {parts for tree in trees for parts in list_imports(tree, ()) if parts[:1] == ("unreel",)}
    files = {file for parts in imported for file in find_module_files(root, parts) if is_computing(file)}
    found: dict[str, bytes] = {}
    for file in files:
        found |= collect_package_sources(".".join(file.with_suffix("").parts)).files
    return SourceFiles(str(root), found)


@functools.cache
def collect_package_sources(module: str) -> SourceFiles:
    """The files of unreel that say what one of its methods or networks computes: its losses, views, layers."""
    root = Path(__file__).parents[2]
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    return collect_sources(path, root, is_computing)


def is_computing(file: Path) -> bool:
    """Whether a file of unreel says what a method or network computes."""
    return file.parts[1] in COMPUTING_ROOMS
