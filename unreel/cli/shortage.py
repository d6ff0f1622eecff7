"""What to say when the system has no more memory, open files or processes for a command."""

import errno
import resource

from unreel.errors import InputError

LEAST_ADDRESSES_BYTES = 1_400 * 2**20  # what the libraries of `index` take when they are loaded, one thread
_MEMORY_TEXTS = (  # of libraries that have no error of their own for it
    *("not enough memory", "can't allocate memory", "out of memory", "cannot allocate memory", "bad_alloc"),
    *("could not create a primitive", "failed to map segment", "unable to mmap"),
)


def check_address_limit() -> None:
    """Refuse to load libraries that would crash instead of saying what they lack (FAISS). Raises InputError."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < LEAST_ADDRESSES_BYTES:
        needed = f"loading PyTorch, PyAV and FAISS takes {LEAST_ADDRESSES_BYTES // 1024}"
        raise InputError(f"{_format_limit('v', resource.RLIMIT_AS, 1024)}{needed}; raise it, or remove it")


def describe_shortage(error: BaseException) -> str | None:
    """One line on what there is too little of, and what to do; None for an error of another kind."""
    number, reason = getattr(error, "errno", None), (str(error) or type(error).__name__).partition("\n")[0]
    if isinstance(error, MemoryError) or number == errno.ENOMEM or _names(reason, _MEMORY_TEXTS):
        advice = "give the machine or container more, or lower --batch-size, --size, --workers or --cache-mb"
        return f"there is not enough memory ({reason}); {_format_limit('v', resource.RLIMIT_AS, 1024)}{advice}"
    if number in (errno.EMFILE, errno.ENFILE) or _names(reason, ("too many open files",)):
        limit = _format_limit("n", resource.RLIMIT_NOFILE, 1)
        return f"too many files are open ({reason}); {limit}raise it, or lower --workers"
    if number == errno.EAGAIN or _names(reason, ("can't start new thread",)):
        limit = _format_limit("u", resource.RLIMIT_NPROC, 1)
        return f"no more processes or threads may be started ({reason}); {limit}raise it, or lower --workers"
    return None


def _names(reason: str, texts: tuple[str, ...]) -> bool:
    return any(text in reason.lower() for text in texts)


def _format_limit(letter: str, limit: int, unit_bytes: int) -> str:
    """`ulimit -n` is 64; "" where there is no limit."""
    soft, _ = resource.getrlimit(limit)
    return "" if soft == resource.RLIM_INFINITY else f"`ulimit -{letter}` is {soft // unit_bytes}; "
