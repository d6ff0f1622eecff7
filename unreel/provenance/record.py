"""One record for everything that unreel writes: runs, embeddings, stores, indexes, results.

    {"format": 1, "date": ..., "command": ..., "unreel": {version, commit, modified}, "versions": {...},
     "host": {system, processor, cores, gpu}, ...}

Who writes a record adds what it knows: "code" (own_code/copies.py), "data" with a hash, "settings". The names of keys
never change. A missing record, or a missing part of it, is one of an earlier version.
"""

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from unreel.io.atomic_write import atomic_write_text
from unreel.io.checksums import new_digest
from unreel.io.text import parse_json
from unreel.provenance.command_line import describe_command

PROVENANCE_FILE = "provenance.json"
FORMAT_VERSION = 1
LIBRARIES = ("numpy", "av", "lightning-fabric", "scikit-learn", "faiss-cpu", "transformers", "opencv-python-headless")
GIT_LIMIT_S = 10


def collect_provenance(**parts: Any) -> dict[str, Any]:
    """The record of what is made now; `parts` are added to it."""
    return {
        "format": FORMAT_VERSION,
        "date": describe_now(),
        "command": describe_command(),
        "unreel": dict(describe_package()),
        "versions": collect_library_versions(),
        "host": describe_host(),
    } | parts


def describe_now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def describe_package() -> dict[str, Any]:
    """The version of unreel, its commit where that is known, and whether its files differ from that commit."""
    from unreel import __version__

    about = {"version": __version__, "commit": "", "modified": False}
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        about["commit"] = run_git(root, "rev-parse", "HEAD")
        about["modified"] = bool(run_git(root, "status", "--porcelain", "--", "unreel"))
    else:
        about["commit"] = read_installed_commit()
    return about


def run_git(folder: Path, *args: str) -> str:
    """What git says about a folder; "" where it can't be asked."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(folder), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=True)
        return done.stdout.strip()
    return ""


def read_installed_commit() -> str:
    """The commit that pip has installed unreel from (PEP 610); "" where it was another source."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        text = importlib.metadata.distribution("unreel").read_text("direct_url.json")
        return str(parse_json(text or "{}")["vcs_info"]["commit_id"])
    return ""


@functools.cache
def collect_library_versions() -> dict[str, str]:
    """The versions of Python, torch and what else computes; a library that is not installed is left out."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def describe_host() -> dict[str, Any]:
    """System, processor, cores and GPU of this machine, without its name or its user."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {"system": system, "processor": read_processor(), "cores": os.cpu_count(), "gpu": gpu}


def read_processor() -> str:
    """The name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def hash_contents(content_hashes: Iterable[str]) -> str:
    """A fingerprint of a set of videos by their contents, whatever their paths and order."""
    return hash_sorted_contents(sorted(content_hashes))


def hash_sorted_contents(content_hashes: Iterable[str]) -> str:
    """`hash_contents` of hashes that come in order."""
    digest = new_digest()
    for content_hash in content_hashes:
        digest.update(f"{content_hash}\n".encode())
    return digest.hexdigest()


def write_provenance(folder: Path, record: dict[str, Any]) -> None:
    """Write FOLDER/provenance.json, whole or not at all. Raises OSError."""
    atomic_write_text(folder / PROVENANCE_FILE, json.dumps(record, indent=2) + "\n")


def read_provenance(folder: Path) -> dict[str, Any]:
    """FOLDER/provenance.json; {} where there is none, or none that can be read: nothing depends on it."""
    try:
        return parse_json((folder / PROVENANCE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def add_to_provenance(folder: Path, key: str, record: dict[str, Any], most: int = 100) -> None:
    """Append a record to the list `key` of FOLDER/provenance.json, which keeps the last `most`. Raises OSError."""
    known = read_provenance(folder) or {"format": FORMAT_VERSION}
    listed = known.get(key)
    known[key] = [*(listed if isinstance(listed, list) else []), record][-most:]
    write_provenance(folder, known)
