"""Heartbeats: how the processes of a run notice that one has ended, so that none waits for ever.

Each process counts up a key in torch's TCP store and watches the key of the next rank. A process that fails sets a
failure key; the others end without repeating the reason. A process that is killed sets nothing: closed connections are
noticed at once, and silence reveals the rest (power cut, broken cable, stopped process). Beats are counted, not timed,
so a laptop that slept or a clock that was set is not taken for a death.
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
# Torch has no error class for a lost peer; the last alternative is any message of gloo's own.
CONNECTION_LOST_PATTERN = re.compile(r"Connection (closed|reset) by peer|\[\S*gloo/\S+\.(cc|h):\d+\]")


class Heartbeat:
    """The beats of process `rank` of `world_size` in a store of this run alone; starts two threads at once."""

    def __init__(self, rank: int, world_size: int, store: Any, timeout_s: float, resume_hint: str) -> None:
        self.rank, self.world_size, self.store, self.silence_limit_s = rank, world_size, store, timeout_s
        self.resume_hint = f"What is saved is whole; {resume_hint}"
        self.next_rank = (rank + 1) % world_size
        self.next_beats = self.store_rounds = 0  # beats of the next rank, and rounds in which the store answered
        self.failure_seen = threading.Event()  # the failure key is set, and this process has read it
        self.stop_event = threading.Event()
        self.report_lock, self.has_reported = threading.RLock(), False  # this process has claimed the report
        self.dead_ranks: list[int] = []  # processes that were killed
        store.set(f"where/{rank}", platform.node())
        self.threads = [threading.Thread(target=loop, daemon=True) for loop in (self._send_beats, self._monitor_next)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Stop beating and watching."""
        self.stop_event.set()

    def _send_beats(self) -> None:
        """Beat, read the next rank's beats and the failure key; ends with the store."""
        with suppress(RuntimeError):  # the store has gone with its process: `_monitor_next` notices
            while not self.stop_event.wait(BEAT_INTERVAL_S):
                self.store.add(f"beat/{self.rank}", 1)
                self.next_beats = self.store.add(f"beat/{self.next_rank}", 0)
                if self.store.check([FAILURE_KEY]) and not self.failure_seen.is_set():
                    self.failure_seen.set()
                    if not self.has_reported:  # a process that reports says so at its exit
                        self.store.set(f"knows/{self.rank}", "")
                self.store_rounds += 1

    def _monitor_next(self) -> None:
        """End this process when the next rank is silent, or when it goes on after a failure elsewhere."""
        last_beats, num_silent, last_rounds, num_unanswered, num_exit_beats = -1, 0, -1, 0, 0
        while not self.stop_event.wait(BEAT_INTERVAL_S):
            last_beats, num_silent = self.next_beats, num_silent + 1 if self.next_beats == last_beats else 0
            last_rounds, num_unanswered = (
                self.store_rounds,
                num_unanswered + 1 if self.store_rounds == last_rounds else 0,
            )
            num_exit_beats += self.failure_seen.is_set() or self.has_reported
            if num_exit_beats > MAX_EXIT_BEATS:
                os._exit(2)
            if num_silent * BEAT_INTERVAL_S >= self.silence_limit_s and not self.failure_seen.is_set():
                self._abort(num_unanswered * BEAT_INTERVAL_S >= self.silence_limit_s / 2)

    def _abort(self, store_unreachable: bool) -> None:
        """End this process because the next rank, or the store, is lost; unless it already reports another failure."""
        peer, cause = f"process {self.next_rank}", "it, its machine"
        if store_unreachable:
            peer, cause = "the first process's machine, which all processes connect to,", "it"
        text = (
            f"nothing was heard of {peer} for {self.silence_limit_s:g} s: {cause} or the network to it is down. "
            f"{self.resume_hint}"
        )
        with self.report_lock:  # the main thread must not end the process before this is printed
            if self.has_reported:
                return
            if self.claim_failure_report():
                print(f"unreel: {text}", file=sys.stderr, flush=True)
            os._exit(2)  # the main thread may wait within a collective, which nothing can interrupt

    def claim_failure_report(self) -> bool:
        """This process fails: True when it is the first to claim the report. False when a report was claimed before.

        True also when the store does not answer: the reason is better printed twice than not at all.
        """
        with self.report_lock:
            if self.has_reported:
                return False
            self.has_reported = True
            rank = str(self.rank)
            try:
                first = call_with_timeout(lambda: self.store.compare_set(FAILURE_KEY, "", rank), 3 * BEAT_INTERVAL_S)
            except (TimeoutError, RuntimeError):
                return True
            return bool(first == rank.encode())

    def wait_for_peers(self) -> None:
        """At exit: wait, a few beats at most, until the others know; the store may end with this process."""
        others = [f"knows/{n}" for n in range(self.world_size) if n not in self.dead_ranks]
        with suppress(RuntimeError):
            self.store.set(f"knows/{self.rank}", "")
            for _ in range(30):
                if self.store.check(others) or self.stop_event.wait(0.1 * BEAT_INTERVAL_S):
                    return

    def build_loss_error(self, detail: str = "") -> Exception:
        """The error for a closed connection: PeerStoppedError when the peer reported, else a RunError that names it."""
        if self.failure_seen.is_set():  # the store, too, may have ended by now
            return PeerStoppedError()
        try:
            before = self._read_beats()
            if self.failure_seen.wait(3 * BEAT_INTERVAL_S) or not self.claim_failure_report():
                return PeerStoppedError()
            self.dead_ranks = [
                n for n, (old, new) in enumerate(zip(before, self._read_beats(), strict=True)) if old == new
            ]
            places = [f"{n} on {self.store.get(f'where/{n}').decode()}" for n in self.dead_ranks]
            peer = f"process {', '.join(places)} has" if places else "a process has"
        except RuntimeError:  # the store lives in the first process, or in its launcher
            peer = "the first process has"
            self.has_reported = True
        reason = f"{peer} ended without a message: killed, perhaps for memory, or its machine is down{detail}"
        return RunError(f"{reason}. {self.resume_hint}")

    def _read_beats(self) -> list[int]:
        return [self.store.add(f"beat/{n}", 0) for n in range(self.world_size)]


def start_heartbeat(rank: int, world_size: int, run_id: str, timeout_s: float, resume_hint: str) -> Heartbeat:
    """Start the heartbeat in torch's own store, under keys of this `run_id`.

    `resume_hint` tells how to go on after a process was lost.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False)
    return Heartbeat(rank, world_size, dist.PrefixStore(f"unreel/{run_id}", store), timeout_s, resume_hint)


@contextmanager
def report_failure_once(heartbeat: Heartbeat | None) -> Iterator[None]:
    """What ends this process ends the others, and one of them prints it."""
    try:
        yield
    except BaseException as error:
        if heartbeat is None:
            raise
        # At exit, after the reason was printed: the first process to end may make a launcher send SIGTERM to the rest.
        atexit.register(heartbeat.wait_for_peers)
        if isinstance(error, PeerStoppedError):
            raise
        if is_connection_loss(error):
            raise heartbeat.build_loss_error(describe_torch_error(error)) from error
        if not heartbeat.claim_failure_report():
            raise PeerStoppedError(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise


def is_connection_loss(error: BaseException) -> bool:
    """Whether an error comes from a lost connection to another process."""
    is_gloo_loss = isinstance(error, RuntimeError) and CONNECTION_LOST_PATTERN.search(str(error)) is not None
    return is_gloo_loss or isinstance(error, dist.DistError)


def describe_torch_error(error: BaseException) -> str:
    """The first line of torch's own message, since the cause may be other than a lost process; else ""."""
    return f" (torch: {str(error).splitlines()[0]})" if isinstance(error, dist.DistError) and str(error) else ""
