"""Workers of a Ray cluster: each batch is a task, which Ray gives to another worker when one is lost."""

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import unreel
from unreel.engines.worker_batches import WorkerLostError
from unreel.errors import InputError, UnreelError

ANSWER_S = 10.0  # seconds in which a cluster answers
MAX_RETRIES = 3  # of a batch whose worker was lost
SETTINGS_FRAME = b"\x04"
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS_FRAME + b"\0" * 5
START = "`ray start --head` starts a cluster; without RAY_ADDRESS one is started here"
SAME_EVERYWHERE = "install the same version on every machine of the cluster"
OWN_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_task_oom_retries": str(MAX_RETRIES),  # without end otherwise
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its warning
}


@contextlib.contextmanager
def open_ray() -> Iterator["RayEngine"]:
    """The cluster that RAY_ADDRESS names, or one of this machine that ends with the block. Raises InputError.

    A program that is connected to a cluster already stays so.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("--engine ray needs Ray", "pip install 'unreel[ray]' here and on every machine of the cluster")
    for name, value in OWN_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield RayEngine()
        return
    connect(os.environ.get("RAY_ADDRESS", "local"))
    try:
        yield RayEngine()
    finally:
        ray.shutdown()


def connect(address: str) -> None:
    """Raises InputError for a cluster that does not answer."""
    import ray

    if address not in ("local", "auto"):
        require_answer(address)
    own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        with keep_signal_handler():
            keep_standard_output()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (Exception, SystemExit) as error:  # Ray leaves the program where a cluster does not answer
        reason = str(error).splitlines()[0] if isinstance(error, Exception) and str(error) else "no answer"
        raise InputError(f"the Ray cluster {address} can't be used ({reason})", START) from error


def keep_standard_output() -> None:
    """What Ray says of its machines goes to standard error: a command's rows or JSON are on standard output.

    `ray.init(log_to_driver=False)` is about the output of workers alone, and there is no other switch.
    """
    from ray._private import worker

    say = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, ignore_prefix: say({**data, "is_err": True}, ignore_prefix)


@contextlib.contextmanager
def keep_signal_handler() -> Iterator[None]:
    """What a program does on SIGTERM stays: Ray has a way of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def require_answer(address: str) -> None:
    """Raise InputError where no cluster listens: Ray would wait for minutes and end the program.

    What is asked is a frame of HTTP/2, which gRPC and so Ray speak.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.sendall(HTTP2_PREFACE)
            if (connection.recv(4) or b"????")[3:4] != SETTINGS_FRAME:
                raise OSError("what listens there is something else")
            return
    except ValueError:
        raise InputError(f"RAY_ADDRESS is {address}", "give HOST:PORT, as `ray start --head` prints it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"no Ray cluster answers at RAY_ADDRESS {address} ({reason})", START) from error


class RayEngine:
    """Tasks of one processor core, or of one GPU where the cluster has any."""

    def __init__(self) -> None:
        import ray

        self.ray = ray
        num_gpus = min(self.num_gpus, 1)
        self.call = ray.remote(num_cpus=self.num_cores, num_gpus=num_gpus, max_retries=MAX_RETRIES)(call_work)

    @property
    def num_gpus(self) -> int:
        return int(self.ray.cluster_resources().get("GPU", 0))

    @property
    def num_workers(self) -> int:
        return self.num_gpus or int(self.ray.cluster_resources().get("CPU", 0))

    @property
    def num_cores(self) -> int:
        """For each GPU an equal share of its machine's cores, the smallest of all machines."""
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        shares = [int(has.get("CPU", 0) // has["GPU"]) for has in machines if has.get("GPU")]
        return max(1, min(shares, default=1))

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self.call.remote(unreel.__version__, os.getcwd(), work, *arguments)

    def wait(self, tasks: Collection[Any]) -> Collection[Any]:
        return self.ray.wait(list(tasks), num_returns=1)[0]

    def get_result(self, task: Any) -> Any:
        errors = self.ray.exceptions
        lost = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.ObjectLostError)
        try:
            return self.ray.get(task)
        except lost as error:
            raise WorkerLostError from error
        except errors.RayTaskError as error:
            if isinstance(error.cause, UnreelError):
                raise error.cause from error
            if "No module named 'unreel'" in str(error):
                raise InputError("a worker has no unreel", SAME_EVERYWHERE) from error
            raise

    def cancel(self, tasks: Collection[Any]) -> None:
        for task in tasks:
            self.ray.cancel(task, force=True)


def call_work(version: str, folder: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """What a worker calls, in the folder that relative paths begin at. Raises InputError for another unreel."""
    if version != unreel.__version__:
        raise InputError(
            f"{socket.gethostname()} has unreel {unreel.__version__}, and the command is of {version}",
            SAME_EVERYWHERE,
        )
    with contextlib.suppress(OSError):
        os.chdir(folder)
    return work(*arguments)
