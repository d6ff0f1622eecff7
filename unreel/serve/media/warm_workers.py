"""Warm processes that read files of unknown origin for the server: a crash or a hang costs one answer."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from unreel.errors import InputError
from unreel.io.limits import FailureKind, Limits, WorkerFailure
from unreel.io.worker_process import WorkerProcess

MAX_MEMORY_MB, START_TIMEOUT_S = 4096, 180.0
FAILURE_TEXTS = {
    FailureKind.MEMORY: "reading it takes too much memory; use a smaller video",
    FailureKind.CRASH: "reading it crashed the reader; the file is damaged, use another",
    FailureKind.KILLED: "reading it crashed the reader; the file is damaged, use another",
}
Result = TypeVar("Result")


class WarmWorkerPool:
    """`num_workers` processes that each do one call at a time; `initialize` is called when one starts.

    With `max_memory_mb` a call may take that much memory, beside what its process had before. Processes are spawned,
    not forked: the server has threads.
    """

    def __init__(
        self, num_workers: int, initialize: Callable[[], None] | None = None, max_memory_mb: int | None = None
    ) -> None:
        self.workers = [Worker(initialize, max_memory_mb) for _ in range(num_workers)]
        self.idle: queue.LifoQueue[Worker] = queue.LifoQueue()  # the last used process is warm
        for worker in self.workers:
            self.idle.put(worker)

    def call(self, timeout_s: float, function: Callable[..., Result], *arguments: Any) -> Result:
        """`function(*arguments)` within `timeout_s`. Raises what it raises, InputError when it crashes or hangs."""
        try:
            worker = self.idle.get(timeout=timeout_s)
        except queue.Empty:
            raise InputError("too many videos are being read at once; try again in a moment") from None
        try:
            return worker.call(timeout_s, function, arguments)
        finally:
            self.idle.put(worker)

    def close(self) -> None:
        """End the processes, busy ones too: a thread that waits for one gets an InputError."""
        for worker in self.workers:
            worker.close()


class Worker:
    """A process that is started when it is first needed, and again after it was lost."""

    def __init__(self, initialize: Callable[[], None] | None, max_memory_mb: int | None) -> None:
        self.initialize, self.max_memory_mb = initialize, max_memory_mb
        self.process: WorkerProcess | None = None
        self.warm_process: WorkerProcess | None = None
        self.lock, self.is_closed = threading.Lock(), False

    def call(self, timeout_s: float, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        """`function(*arguments)`. Raises what it raises, InputError when it does not answer."""
        process = self._ensure_started()
        if process is not self.warm_process:  # its imports are no part of the job's time
            _ask(process, (_do_nothing, (function,)), None, START_TIMEOUT_S)
            self.warm_process = process
        limits = Limits(timeout_s, self.max_memory_mb) if self.max_memory_mb else None
        result: Result = _ask(process, (function, arguments), limits, timeout_s)
        return result

    def _ensure_started(self) -> WorkerProcess:
        with self.lock:
            if self.is_closed:
                raise InputError("the server is ending")
            if self.process is None or not self.process.is_alive:
                if self.process is not None:
                    self.process.close()
                self.process = WorkerProcess("spawn", _call, initialize=self.initialize)
            return self.process

    def close(self) -> None:
        """From any thread: end the process for good."""
        with self.lock:
            self.is_closed = True
            if self.process is not None:
                self.process.kill()


def _call(job: tuple[Callable[..., Any], tuple[Any, ...]]) -> Any:
    function, arguments = job
    return function(*arguments)


def _ask(process: WorkerProcess, job: tuple[Any, ...], limits: Limits | None, timeout_s: float) -> Any:
    """The result of a job. Raises what it raises, InputError when the process does not answer, which ends it then."""
    process.send(job, limits)
    if not process.wait(timeout_s):
        process.close()
        raise _build_timeout_error(timeout_s)
    result = process.receive()
    if not isinstance(result, WorkerFailure):
        return result
    if result.kind is FailureKind.TIMEOUT:
        raise _build_timeout_error(timeout_s)
    raise InputError(FAILURE_TEXTS[result.kind])


def _do_nothing(_function: Callable[..., Any]) -> None:
    """That the function has arrived means that its module is imported."""


def _build_timeout_error(timeout_s: float) -> InputError:
    return InputError(f"reading it took more than {timeout_s:g} s and was given up; try a shorter piece of it")
