"""Other people's files are opened in processes of their own: a crash or a hang costs one answer, never the server."""

import contextlib
import multiprocessing
import queue
import resource
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from unreel.errors import InputError, UnreelError

MAX_MEMORY_BYTES = 4 * 2**30
Result = TypeVar("Result")


class WorkerPool:
    """`count` processes that each do one call at a time; `prepare(*arguments)` is called when one begins.

    They are spawned, not forked: the server has threads, whose locks a fork would copy as they are.
    """

    def __init__(self, num_workers: int, initializer: Callable[..., None], *arguments: Any) -> None:
        self.workers = [Worker(initializer, arguments) for _ in range(num_workers)]
        self.idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # the one used last is warm
        for worker in self.workers:
            self.idle.put(worker)

    def call(self, timeout_s: float, function: Callable[..., Result], *arguments: Any) -> Result:
        """`work(*arguments)` within `limit_s`. Raises what it raises, InputError when it crashes or does not end."""
        try:
            worker = self.idle.get(timeout=timeout_s)
        except queue.Empty:
            raise InputError("too many videos are being read at once; try again in a moment") from None
        try:
            return worker.call(timeout_s, function, arguments)
        finally:
            self.idle.put(worker)

    def close(self) -> None:
        """End the processes, busy ones too: who waits for one gets an InputError."""
        for worker in self.workers:
            worker.close()


class Worker:
    """A process and the pipe to it, begun when it is first needed and again after it was lost."""

    def __init__(self, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.initializer, self.arguments = initializer, arguments
        self.process: Any = None
        self.pipe: Connection | None = None
        self.lock, self.closed = threading.Lock(), False

    def call(self, timeout_s: float, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        try:
            pipe = self.ensure_started()
            pipe.send((function, arguments))
            if not pipe.poll(timeout_s):
                self.kill_process()
                raise InputError(
                    f"reading it took more than {timeout_s:g} s and was given up; try a shorter piece of it"
                )
            value, error, trace = pipe.recv()
        except (EOFError, OSError) as lost:
            self.kill_process()
            raise InputError("reading it crashed the reader; the file is damaged, use another") from lost
        if error is not None:
            raise error
        if trace:
            raise RuntimeError(f"in a process apart:\n{trace}")
        return value

    def ensure_started(self) -> Connection:
        if self.pipe is not None and self.process.is_alive():
            return self.pipe
        self.kill_process()
        context = multiprocessing.get_context("spawn")
        with self.lock:
            if self.closed:
                raise InputError("the server is ending")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(
                target=_serve_calls, args=(theirs, self.initializer, self.arguments), daemon=True
            )
            self.process.start()
            theirs.close()
            return self.pipe

    def kill_process(self) -> None:
        """Only for the thread that calls."""
        with self.lock:
            if self.process is not None:
                self.process.kill()
                self.process.join()
                self.process.close()
            if self.pipe is not None:
                self.pipe.close()
            self.process = self.pipe = None

    def close(self) -> None:
        """From any thread: the process is killed for good, and who waits for it hears that its pipe has ended."""
        with self.lock:
            self.closed = True
            if self.process is not None:
                self.process.kill()
                self.process.join()


def _serve_calls(pipe: Connection, initializer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Do what is asked until nobody asks any more: the pipe ends with the process that began this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError):
        initializer(*arguments)
        while True:
            try:
                work, given = pipe.recv()  # which imports what it names
                answer: tuple[Any, Exception | None, str] = (work(*given), None, "")
            except (EOFError, BrokenPipeError):
                raise
            except UnreelError as error:
                answer = (None, error, "")
            except MemoryError:
                answer = (None, InputError("reading it takes too much memory; use a smaller video"), "")
            except Exception:
                answer = (None, None, traceback.format_exc())
            pipe.send(answer)


def limit_memory() -> None:
    """What a process that decodes may take of its own; libraries that are mapped, as torch's of CUDA, do not count."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
