"""How the processes of a run learn of each other's end, so that none waits for ever and the reason is said once.

Each beats into the store that they met in, and listens to the one after it. One that fails leaves word there and the
others end without saying it again. One that is killed can't: where its connections close, that is seen at once; where
they do not (a machine without power, a cut cable, a process that is stopped), the silence tells it.
Beats are counted and no clock is looked at, so a laptop that slept, or a clock that was set, is no death.
"""

import atexit
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from unreel.errors import PeerStoppedError, RunError
from unreel.io.timeout import call_with_timeout

BEAT_INTERVAL_S, MAX_EXIT_BEATS = 1.0, 10
FAILURE_KEY = "ended"
CONNECTION_LOST_PATTERN = re.compile(
    r"Connection (closed|reset) by peer|\[\S*gloo/\S+\.(cc|h):\d+\]"
)  # the last: any word of gloo's own


class Heartbeat:
    """The beats of process `rank` of `size` in a store of this run alone; two threads, started at once."""

    def __init__(self, rank: int, world_size: int, store: Any, timeout_s: float, resume_hint: str) -> None:
        self.rank, self.world_size, self.store, self.silence_limit_s = rank, world_size, store, timeout_s
        self.resume_hint = f"What is saved is whole; {resume_hint}"
        self.next_rank = (rank + 1) % world_size
        self.next_beats = self.store_rounds = 0  # beats of the next one, and rounds in which the store answered
        self.failure_seen = threading.Event()  # somebody left word, which this process has read
        self.stop_event = threading.Event()
        self.report_lock, self.has_reported = threading.RLock(), False  # this process has asked to say why
        self.dead_ranks: list[int] = []  # who was found to have been killed
        store.set(f"where/{rank}", platform.node())
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._send_beats, self._monitor_next)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """The end of working together."""
        self.stop_event.set()

    def _send_beats(self) -> None:
        """Beat, take in the next one's beats and whether somebody left word; ends with the store."""
        with suppress(RuntimeError):  # the store has gone with its process: the listener will know
            while not self.stop_event.wait(BEAT_INTERVAL_S):
                self.store.add(f"beat/{self.rank}", 1)
                self.next_beats = self.store.add(f"beat/{self.next_rank}", 0)
                if self.store.check([FAILURE_KEY]) and not self.failure_seen.is_set():
                    self.failure_seen.set()
                    if not self.has_reported:  # who speaks is done at its exit
                        self.store.set(f"knows/{self.rank}", "")
                self.store_rounds += 1

    def _monitor_next(self) -> None:
        """End this process when the next one is silent, or when it has not ended itself after somebody left word."""
        before, silent, answered, deaf, late = -1, 0, -1, 0, 0
        while not self.stop_event.wait(BEAT_INTERVAL_S):
            before, silent = self.next_beats, silent + 1 if self.next_beats == before else 0
            answered, deaf = self.store_rounds, deaf + 1 if self.store_rounds == answered else 0
            late += self.failure_seen.is_set() or self.has_reported
            if late > MAX_EXIT_BEATS:
                os._exit(2)
            if silent * BEAT_INTERVAL_S >= self.silence_limit_s and not self.failure_seen.is_set():
                self._abort(deaf * BEAT_INTERVAL_S >= self.silence_limit_s / 2)

    def _abort(self, store_unreachable: bool) -> None:
        """End this process for want of the next one, or of the store where it was `deaf`; unless it speaks already."""
        who, it = f"process {self.next_rank}", "it, its machine"
        if store_unreachable:
            who, it = "the first process's machine, where all meet,", "it"
        text = f"nothing was heard of {who} for {self.silence_limit_s:g} s: {it} or the network to it is down. {self.resume_hint}"
        with self.report_lock:  # the main thread must not end the process before this is said
            if self.has_reported:
                return
            if self.claim_failure_report():
                print(f"unreel: {text}", file=sys.stderr, flush=True)
            os._exit(2)  # the main thread may wait within a collective, which nothing can interrupt

    def claim_failure_report(self) -> bool:
        """This process fails; whether it is the first and will say why. False where another did, or itself before.

        Where the store does not answer, better twice than not at all.
        """
        with self.report_lock:
            if self.has_reported:
                return False
            self.has_reported = True
            own = str(self.rank)
            try:
                first = call_with_timeout(lambda: self.store.compare_set(FAILURE_KEY, "", own), 3 * BEAT_INTERVAL_S)
            except (TimeoutError, RuntimeError):
                return True
            return bool(first == own.encode())

    def wait_for_peers(self) -> None:
        """At exit, when all is said: wait until the others know, a few beats at most, for the store may go with us."""
        others = [f"knows/{n}" for n in range(self.world_size) if n not in self.dead_ranks]
        with suppress(RuntimeError):
            self.store.set(f"knows/{self.rank}", "")
            for _ in range(30):
                if self.store.check(others) or self.stop_event.wait(0.1 * BEAT_INTERVAL_S):
                    return

    def build_loss_error(self, detail: str = "") -> Exception:
        """A connection has closed: StoppedElsewhere when its process left word, else an error that names it."""
        try:
            before = self._read_beats()
            if self.failure_seen.wait(3 * BEAT_INTERVAL_S) or not self.claim_failure_report():
                return PeerStoppedError()
            self.dead_ranks = [
                n for n, (old, new) in enumerate(zip(before, self._read_beats(), strict=True)) if old == new
            ]
            where = [f"{n} on {self.store.get(f'where/{n}').decode()}" for n in self.dead_ranks]
            who = f"process {', '.join(where)} has" if where else "a process has"
        except RuntimeError:  # the store lives with the first process, or in its launcher
            who = "the first process has"
            self.has_reported = True
        gone = f"{who} gone without a word: killed, for memory perhaps, or its machine is down{detail}"
        return RunError(f"{gone}. {self.resume_hint}")

    def _read_beats(self) -> list[int]:
        return [self.store.add(f"beat/{n}", 0) for n in range(self.world_size)]


def start_heartbeat(rank: int, world_size: int, run_id: str, timeout_s: float, resume_hint: str) -> Heartbeat:
    """A pulse in the store where torch brought the processes together; `word` is this run's own.

    `go_on` tells a person how to go on after a process was lost.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False)
    return Heartbeat(rank, world_size, dist.PrefixStore(f"unreel/{run_id}", store), timeout_s, resume_hint)


@contextmanager
def report_failure_once(heartbeat: Heartbeat | None) -> Iterator[None]:
    """What ends this process ends the others, and is said once."""
    try:
        yield
    except BaseException as error:
        if heartbeat is None:
            raise
        atexit.register(
            heartbeat.wait_for_peers
        )  # after the reason was printed: who ends may draw a launcher's SIGTERM
        if isinstance(error, PeerStoppedError):
            raise
        if is_connection_loss(error):
            raise heartbeat.build_loss_error(describe_torch_error(error)) from error
        if not heartbeat.claim_failure_report():
            raise PeerStoppedError(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise


def is_connection_loss(error: BaseException) -> bool:
    """Whether an error is the connection's to a process that has gone."""
    lost = isinstance(error, RuntimeError) and CONNECTION_LOST_PATTERN.search(str(error)) is not None
    return lost or isinstance(error, dist.DistError)


def describe_torch_error(error: BaseException) -> str:
    """What torch says of a failure that may be another than a lost process, to be added to ours."""
    return f" (torch: {str(error).splitlines()[0]})" if isinstance(error, dist.DistError) and str(error) else ""
