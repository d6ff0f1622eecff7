"""The encoders that come with the package, each a checkpoint; found without importing torch."""

from pathlib import Path

BASE_ENCODERS = Path(__file__).parents[1] / "base_encoders"


def list_base_encoders() -> list[str]:
    """Their names."""
    return sorted(folder.name for folder in BASE_ENCODERS.iterdir() if folder.is_dir())


def is_base_encoder(path: Path) -> bool:
    """Whether a path is the name of an encoder that comes with the package; a file or folder of this name goes before.

    >>> is_base_encoder(Path("base")), is_base_encoder(Path("runs/base"))
    (True, False)
    """
    return str(path) in list_base_encoders() and not path.exists()
