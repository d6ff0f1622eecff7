"""A store of embeddings: a folder that many runs, processes and machines fill, and that survives a kill.

    STORE/store.json       the encoder, and how clips are sampled: the same for all rows
          parts/*.parquet  the rows, as embeddings_file.py writes them, with a column content_hash; whole videos only
          files.parquet    the files, each with the hash of its content and the source that named it (file_tracker.py)
          chunks/          chunks of long videos, until an update has ended (kept_chunks.py)
          left_out.csv     contents that could not be embedded, and why; not tried again before they change
          lock             held by the command that writes

A content is embedded once. It lies in one part, which has rows for each of its files. So changes among the files are
applied part by part (parts.py), without a second copy, and applied again after an interruption. A part is replaced
whole, never changed. A content of `files.parquet` that lies in no part is still to be embedded.
"""

import contextlib
import json
import stat
from pathlib import Path
from typing import Any

from unreel.errors import InputError
from unreel.indexing.store.file_names import ENCODER_FOLDER, PARTS_FOLDER, STORE_ENTRIES, STORE_JSON
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import parse_json

FORMAT_VERSION = 1


def open_store(folder: Path, metadata: dict[str, Any]) -> None:
    """Make a store, or check that the one there has this encoder and clip sampling. Raises InputError."""
    require_store_folder(folder)
    if not (folder / STORE_JSON).exists():
        (folder / PARTS_FOLDER).mkdir(exist_ok=True)
        atomic_write_text(folder / STORE_JSON, json.dumps(metadata, indent=2) + "\n")
        return
    stored = read_store_json(folder)
    require_same_appearance(folder, stored, metadata)
    if stored["encoder_hash"] != metadata["encoder_hash"]:
        copy = folder / ENCODER_FOLDER  # an index has one
        place = f" ({copy} is a copy of it)" if copy.exists() else ""
        raise InputError(
            f"{folder} holds vectors of another encoder ({stored['encoder_hash'][:12]}, this one is "
            f"{metadata['encoder_hash'][:12]}). Name the checkpoint that made them{place}, or choose another --out"
        )
    if stored["clips"] != metadata["clips"]:
        raise InputError(
            f"{folder} was made by `{format_clip_sampling(stored['clips'])}`, and this command asks for "
            f"`{format_clip_sampling(metadata['clips'])}`; give the same options, or choose another --out"
        )


def get_appearance(metadata: dict[str, Any]) -> dict[str, Any]:
    """What a store.json says of the image model beside the encoder (`AppearanceSpec` as JSON); {} for none."""
    return dict(metadata.get("encoder", {}).get("appearance") or {})


def require_same_appearance(folder: Path, stored: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Raise InputError for rows that were made beside another image model, other weights of it, or none."""
    own, asked = get_appearance(stored), get_appearance(metadata)
    if own == asked:
        return
    made = f"with the image model {own['model']}" if own else "without an image model"
    if own.get("model") == asked.get("model"):
        wanted = (
            f"with other weights of it ({own['weights_hash'][:12]}, now {asked['weights_hash'][:12]}). Put those back"
        )
    else:
        wanted = f"with {asked['model'] if asked else 'none'}. Give the same --appearance"
    raise InputError(f"{folder} holds rows made {made}; this command would make them {wanted}, or choose another --out")


def require_store_folder(folder: Path) -> None:
    """Raise InputError unless the folder is missing, empty or a whole store."""
    if (folder / STORE_JSON).exists() or not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file. Give a new folder, or a name that ends in .parquet")
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    if names - STORE_ENTRIES:
        raise InputError(
            f"{folder} holds other files ({min(names - STORE_ENTRIES)}) and is not a store; choose another --out"
        )
    if (folder / PARTS_FOLDER).exists() and any((folder / PARTS_FOLDER).iterdir()):
        raise InputError(f"{folder}: half a store, its {STORE_JSON} is missing. Put it back, or choose another --out")


def require_regular_files(folder: Path) -> None:
    """Raise InputError where a pipe, a socket or a device lies in a store: reading one may wait for ever."""
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise InputError(f"{path}: a pipe, a socket or a device, not a file; remove it and put the file back")


def read_store_json(folder: Path) -> dict[str, Any]:
    """store.json. Raises InputError when it is missing, damaged, or of another version, and where the folder has
    entries that are no files."""
    require_regular_files(folder)
    try:
        metadata: dict[str, Any] = parse_json((folder / STORE_JSON).read_text())
        version, clips, encoder = metadata["format"], metadata["clips"], metadata.get("encoder", {})
        if not (isinstance(clips, dict) and isinstance(encoder, dict) and isinstance(metadata["encoder_hash"], str)):
            raise ValueError("its clips, encoder or encoder_hash are of another kind")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / STORE_JSON}: not what unreel wrote ({error}); put back a copy of it") from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{folder}: a store of format {version}, this unreel reads format {FORMAT_VERSION}; "
            "make it again in another --out"
        )
    return metadata


def format_clip_sampling(clip_sampling: dict[str, Any]) -> str:
    """The command and the options that such clips come from, as they are typed.

    >>> format_clip_sampling({"per": "clip", "num_clips": 10}), format_clip_sampling({"length_s": 0.0, "hop_s": 0.5})
    ('unreel embed --per clip --num-clips 10', 'unreel index --length-s 0 --hop-s 0.5')
    >>> format_clip_sampling({"length_s": 0.0, "hop_s": 0.5, "classifier": "1f"})
    'unreel classify apply --hop-s 0.5'
    """
    command, unnamed = "index" if "hop_s" in clip_sampling else "embed", set[str]()
    if "classifier" in clip_sampling:  # of which the hash is no option, and clips have its own length
        command, unnamed = "classify apply", {"classifier", "length_s"}
    options = [
        f"--{name.replace('_', '-')} {value:g}" if isinstance(value, float) else f"--{name.replace('_', '-')} {value}"
        for name, value in clip_sampling.items()
        if name not in unnamed
    ]
    return " ".join([f"unreel {command}", *options])
