"""The command line in this process, or in one forked from a server that has imported torch: importing it is slow."""

import atexit
import faulthandler
import importlib.util
import io
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from pathlib import Path
from threading import Thread
from typing import Any

import unreel
from unreel.cli.entry_point import main
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance


@dataclass
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def call(*args: object) -> Done:
    """`unreel ARGS`; anything but a clean exit is raised here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as ended:
            return Done(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main returned")


def succeeds(*args: object) -> Done:
    done = call(*args)
    assert done.code == 0, done
    return done


def refused(*args: object, says: tuple[str, ...]) -> None:
    """The command fails with exit code 2 and one readable line on standard error."""
    done = call(*args)
    assert done.code == 2, done
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("unreel:"), done.err
    for part in says:
        assert part in lines[0], (part, lines[0])


class Command:
    """`unreel ARGS` in a process of its own, with the face of `subprocess.Popen`.

    It is forked from a process that has imported torch and unreel already, which saves two seconds of processor time a
    command. `before` is called in it first, to stand in for something; it must be importable. Environment variables
    that the interpreter or OpenMP read when they start (PYTHONUTF8, OMP_NUM_THREADS) need a true process instead.
    """

    def __init__(
        self, *args: object, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> None:
        preload_server()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        ends = (DupFd(out_end), DupFd(err_end))
        words = [str(arg) for arg in args]
        environment = dict(os.environ if env is None else env)
        self.process = multiprocessing.get_context("forkserver").Process(
            target=_run_command, args=(words, environment, os.getcwd(), ends, before)
        )
        self.process.start()
        os.close(out_end)
        os.close(err_end)
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, timeout_s: float = 240) -> int:
        self.process.join(timeout_s)
        assert self.process.exitcode is not None, f"still running after {timeout_s} s"
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def communicate(self, timeout_s: float = 240) -> tuple[str, str]:
        """What it still says on both streams, read at the same time, until it ends; closes them.

        One that does not end is aborted and shows where it was; one that leaves its streams to others is a failure too.
        """
        said: dict[int, str] = {}
        streams = self.stdout, self.stderr
        readers = [Thread(target=lambda n=n: said.update({n: streams[n].read()}), daemon=True) for n in range(2)]
        for reader in readers:
            reader.start()
        self.process.join(timeout_s)
        is_late = self.process.exitcode is None
        if is_late:
            self.send_signal(signal.SIGABRT)  # faulthandler prints the stacks
        for reader in readers:
            reader.join(20)
        assert not is_late, f"still running after {timeout_s} s: {said}"
        assert len(said) == 2, "it has ended, but something that it started holds its streams"
        for stream in streams:
            stream.close()
        return said[0], said[1]

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.stdout.close()
        self.stderr.close()


def in_process(*args: object, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None) -> Done:
    """`unreel ARGS` in a process of its own, to its end."""
    with Command(*args, env=env, before=before) as command:
        out, err = command.communicate()
        return Done(command.wait(), out, err)


def skip_report() -> None:
    """For `before`: training ends without the report, which takes most of the time of a short run."""
    from unreel.verbs.training import pretrain

    pretrain.report = lambda run: Path(run)  # type: ignore[assignment]


def monitor_few_videos() -> None:
    """Monitor six of a run's videos, with the label-free tests on two: on all they take half of a short run's time."""
    from unreel.training import job
    from unreel.training.label_free.moments import MomentReader

    def read_few(instances: Sequence[Instance], spec: EncoderSpec) -> MomentReader:
        return MomentReader(instances[:: max(1, len(instances) // 6)][:6], spec, max_tested=2)

    job.MomentReader = read_few  # type: ignore[assignment,misc]


def preload_server() -> None:
    """What the server of forked processes imports, once; without effect after its start. Importing torch._dynamo takes
    three seconds, and whatever builds an optimiser does."""
    multiprocessing.set_forkserver_preload(
        ["torch", "torch.distributed", "torch._dynamo", "unreel.verbs.training.pretrain", "unreel.cli.entry_point"]
    )


def _run_command(
    args: list[str], env: dict[str, str], cwd: str, ends: tuple[Any, Any], before: Callable[[], None] | None
) -> None:
    for number, end in zip((1, 2), ends, strict=True):
        os.dup2(end.detach(), number)
    sys.stdout, sys.stderr = (open(n, "w", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    faulthandler.enable(sys.stderr)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    multiprocessing.set_start_method(None, force=True)  # loader processes are forked, as in a true process
    sys.argv = [str(Path(unreel.__file__).with_name("__main__.py")), *args]
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("unreel.__main__")  # so that launchers start it again
    monitor_few_videos()
    if before is not None:
        before()
    try:
        main(args)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
        sys.stdout.flush()
        sys.stderr.flush()
