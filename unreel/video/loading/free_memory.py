"""Memory that this process may still use: of the machine, or of its container."""

from pathlib import Path

MB = 2**20
UNKNOWN_FREE_MB = 1024.0
CGROUP_FILES = (  # folder, limit, usage of cgroup v2 and v1
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def read_free_mb(root: Path = Path("/")) -> float:
    """Free megabytes of the machine, or of the container where it has less; 1024 where the system does not say."""
    free_mb = []
    for line in _read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            free_mb.append(int(line.split()[1]) / 1024)
    for folder, limit, usage in CGROUP_FILES:
        limit_bytes, used_bytes = (_read_text(root / folder / name).strip() for name in (limit, usage))
        if limit_bytes.isdigit() and used_bytes.isdigit():
            free_mb.append((int(limit_bytes) - int(used_bytes)) / MB)
    return max(0.0, min(free_mb)) if free_mb else UNKNOWN_FREE_MB


def _read_text(path: Path) -> str:
    """The text of a file, "" when it can't be read."""
    try:
        return path.read_text()
    except OSError:
        return ""
