"""What a file is in which no weights could be read, as far as its first bytes and its table of contents tell."""

import zipfile
from pathlib import Path, PurePosixPath

from unreel.errors import InputError

WEIGHTS_SUFFIXES = {".pth", ".pt", ".tar", ".ckpt", ".pyth", ".safetensors", ".index"}
HEAD_BYTES = 512
TAR_MARK = slice(257, 262)  # where a tar says "ustar"
GZIP = b"\x1f\x8b"


def explain_foreign_file(path: Path) -> InputError | None:
    """A sentence that says what the file is and what to do; None where that can't be told."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head[TAR_MARK] == b"ustar" or head.startswith(GZIP):
        return InputError(f"{path}: a packed file", "unpack it, and name the file of weights that is in it")
    if zipfile.is_zipfile(path):
        return explain_zip(path)
    if not head.strip(b"\0"):
        return InputError(f"{path}: it begins with zeros, as a download does that was broken off", "get it again")
    return explain_text(path, head)


def explain_zip(path: Path) -> InputError | None:
    """`torch.save` writes a zip with data.pkl, TorchScript one with constants beside it; others are archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    files = {PurePosixPath(name).name for name in names}
    if "constants.pkl" in files:
        advice = "save its weights alone: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        return InputError(f"{path}: a TorchScript program, which is code and was not run", advice)
    if "archive_format" in files:
        advice = "save its weights alone: torch.save(torch.export.load(FILE).state_dict, NEW)"
        return InputError(f"{path}: a program of torch.export, which is code and was not run", advice)
    if "data.pkl" in files:
        return None
    inside = [name for name in names if PurePosixPath(name).suffix in WEIGHTS_SUFFIXES]
    if inside:
        return InputError(f"{path}: an archive", f"unpack it, and name the file of weights in it, {inside[0]}")
    return InputError(f"{path}: an archive without a file of weights", "name a checkpoint")


def explain_text(path: Path, head: bytes) -> InputError | None:
    """A page that says why there is no download, or a pointer to a file elsewhere; None for what is no text."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if error.start > HEAD_BYTES - 4 else "\0"  # a letter cut in two is none
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    is_pointer = text.startswith("version https://git-lfs")
    advice = "fetch the file that it stands for: git lfs pull" if is_pointer else "get the file of weights itself"
    return InputError(f"{path}: a text that begins {' '.join(text.split())[:40]!r}", advice)
