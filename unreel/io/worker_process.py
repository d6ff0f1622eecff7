"""A process that does one job at a time for its parent, within limits, and never outlives it."""

import contextlib
import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from unreel.io.limits import Limits, WorkerFailure, enforce_limits

POLL_S = 0.5
NO_LIMITS = Limits()  # for the text of a failure


class WorkerProcess:
    """`work(job, *arguments)` in a process of its own, for any number of jobs, one after the other.

    `start_method` "fork" begins within milliseconds and needs no pickling of `work` and `arguments`; "spawn" is for a
    parent with threads, whose locks a fork would copy as they are. `initialize` runs first in the process.
    """

    def __init__(
        self,
        start_method: str,
        work: Callable[..., Any],
        arguments: tuple[Any, ...] = (),
        initialize: Callable[[], None] | None = None,
    ) -> None:
        context: Any = multiprocessing.get_context(start_method)
        self.pipe, child_pipe = context.Pipe()
        self.process = context.Process(
            target=_run_jobs, args=(child_pipe, work, arguments, initialize, os.getpid(), start_method), daemon=True
        )
        allow_children()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: ours hold no locks
            self.process.start()
        child_pipe.close()
        self.lock, self.is_closed = threading.Lock(), False
        self.limits = NO_LIMITS

    @property
    def is_alive(self) -> bool:
        with self.lock:
            return not self.is_closed and self.process.is_alive()

    def send(self, job: Any, limits: Limits | None) -> None:
        """Give the process its next job. A process that has died is noticed by `receive`."""
        self.limits = limits or NO_LIMITS
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((job, limits))

    def wait(self, timeout_s: float) -> bool:
        """Whether the process answers or dies within the timeout."""
        return self.pipe.poll(timeout_s)

    def receive(self) -> Any:
        """The result of the job, or a WorkerFailure; raises what `work` raised. A process that died is closed."""
        try:
            result, error = self.pipe.recv()
        except (EOFError, OSError):
            return self._close_dead()
        if error is not None:
            raise error
        return result

    def _close_dead(self) -> WorkerFailure:
        with self.lock:
            self.process.join(POLL_S)
            exit_code = self.process.exitcode
        self.close()
        return self.limits.build_exit_failure(exit_code)

    def kill(self) -> None:
        """End the process, from any thread: a thread that waits for its result gets a WorkerFailure."""
        with self.lock:
            if not self.is_closed:
                self.process.kill()
                self.process.join()

    def close(self) -> None:
        """End the process and free what belongs to it. Only for the thread that calls `send` and `receive`."""
        self.kill()
        with self.lock:
            if not self.is_closed:
                self.process.close()
                self.pipe.close()
                self.is_closed = True


def allow_children() -> None:
    """Let a daemonic process, such as a worker of multiprocessing.Pool, start processes from now on.

    Python forbids it since they might outlive it; ours end with their parent.
    """
    process = multiprocessing.current_process()
    if process.daemon:
        process.daemon = False


def _run_jobs(
    pipe: Connection,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    initialize: Callable[[], None] | None,
    parent_pid: int,
    start_method: str,
) -> None:
    """What the process does, until the pipe ends."""
    initialize_worker(parent_pid)
    if start_method == "fork":
        _initialize_fork()
    if initialize is not None:
        initialize()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            try:
                job, limits = pipe.recv()  # imports the modules that it names
            except (EOFError, OSError):
                raise
            except Exception as error:
                pipe.send((None, _make_picklable(error)))
            else:
                pipe.send(_do_job(work, job, arguments, limits))


def _do_job(
    work: Callable[..., Any], job: Any, arguments: tuple[Any, ...], limits: Limits | None
) -> tuple[Any, Exception | None]:
    """Result and error, one of which is None."""
    try:
        with enforce_limits(limits) if limits else contextlib.nullcontext():
            return work(job, *arguments), None
    except MemoryError:
        return (limits or NO_LIMITS).build_memory_failure(), None
    except Exception as error:
        return None, _make_picklable(error)


def _make_picklable(error: Exception) -> Exception:
    """The error with its traceback as a note, or one of the same text where the parent could not unpickle it."""
    error.add_note(traceback.format_exc())
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))  # as the pipe does
    except Exception:
        return RuntimeError("\n".join([f"{type(error).__name__}: {error}", *error.__notes__]))
    return error


def _initialize_fork() -> None:
    """Undo what a fork took from its parent and must not use."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler raises
    gc.freeze()  # a collection would write to the memory that is shared with the parent, and copy it
    if "torch" in sys.modules:  # its threads do not survive a fork: who wants them would wait forever
        sys.modules["torch"].set_num_threads(1)


def initialize_worker(parent_pid: int) -> None:
    """Prepare a process for `enforce_limits`: it leaves Ctrl-C to its parent, ends with it, and writes no core file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    exit_with_parent(parent_pid)


def exit_with_parent(parent_pid: int) -> None:
    """Start a thread that ends this process when the process that started it has ended."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(POLL_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
