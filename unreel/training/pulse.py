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

from unreel.errors import RunError, StoppedElsewhere

BEAT_S, GRACE_BEATS = 1.0, 10
ENDED = "ended"
LEFT = re.compile(r"Connection (closed|reset) by peer|\[\S*gloo/\S+\.(cc|h):\d+\]")  # the last: any word of gloo's own


class Pulse:
    """The beats of process `rank` of `size` in a store of this run alone; two threads, started at once."""

    def __init__(self, rank: int, size: int, store: Any, silence_limit_s: float, go_on: str) -> None:
        self.rank, self.size, self.store, self.limit_s = rank, size, store, silence_limit_s
        self.go_on = f"What is saved is whole; {go_on}"
        self.next = (rank + 1) % size
        self.heard = self.answered = 0  # beats of the next one, and rounds in which the store answered
        self.ended = threading.Event()  # somebody left word, which this process has read
        self.stopped = threading.Event()
        self.speaking, self.spoken = threading.RLock(), False  # this process has asked to say why
        self.gone: list[int] = []  # who was found to have been killed
        store.set(f"where/{rank}", platform.node())
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._talk, self._listen)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """The end of working together."""
        self.stopped.set()

    def _talk(self) -> None:
        """Beat, take in the next one's beats and whether somebody left word; ends with the store."""
        with suppress(RuntimeError):  # the store has gone with its process: the listener will know
            while not self.stopped.wait(BEAT_S):
                self.store.add(f"beat/{self.rank}", 1)
                self.heard = self.store.add(f"beat/{self.next}", 0)
                if self.store.check([ENDED]) and not self.ended.is_set():
                    self.ended.set()
                    if not self.spoken:  # who speaks is done at its exit
                        self.store.set(f"knows/{self.rank}", "")
                self.answered += 1

    def _listen(self) -> None:
        """End this process when the next one is silent, or when it has not ended itself after somebody left word."""
        before, silent, answered, deaf, late = -1, 0, -1, 0, 0
        while not self.stopped.wait(BEAT_S):
            before, silent = self.heard, silent + 1 if self.heard == before else 0
            answered, deaf = self.answered, deaf + 1 if self.answered == answered else 0
            late += self.ended.is_set() or self.spoken
            if late > GRACE_BEATS:
                os._exit(2)
            if silent * BEAT_S >= self.limit_s and not self.ended.is_set():
                self._give_up(deaf * BEAT_S >= self.limit_s / 2)

    def _give_up(self, deaf: bool) -> None:
        """End this process for want of the next one, or of the store where it was `deaf`; unless it speaks already."""
        who, it = f"process {self.next}", "it, its machine"
        if deaf:
            who, it = "the first process's machine, where all meet,", "it"
        text = f"nothing was heard of {who} for {self.limit_s:g} s: {it} or the network to it is down. {self.go_on}"
        with self.speaking:  # the main thread must not end the process before this is said
            if self.spoken:
                return
            if self.leave_word():
                print(f"unreel: {text}", file=sys.stderr, flush=True)
            os._exit(2)  # the main thread may wait within a collective, which nothing can interrupt

    def leave_word(self) -> bool:
        """This process fails; whether it is the first and will say why. False where another did, or itself before.

        Where the store does not answer, better twice than not at all.
        """
        with self.speaking:
            if self.spoken:
                return False
            self.spoken = True
            answer: list[bytes] = []

            def ask() -> None:
                with suppress(RuntimeError):
                    answer.append(self.store.compare_set(ENDED, "", str(self.rank)))

            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            asking.join(3 * BEAT_S)
            return not answer or answer[0] == str(self.rank).encode()

    def wait_for_others(self) -> None:
        """At exit, when all is said: wait until the others know, a few beats at most, for the store may go with us."""
        others = [f"knows/{n}" for n in range(self.size) if n not in self.gone]
        with suppress(RuntimeError):
            self.store.set(f"knows/{self.rank}", "")
            for _ in range(30):
                if self.store.check(others) or self.stopped.wait(0.1 * BEAT_S):
                    return

    def lost(self, why: str = "") -> Exception:
        """A connection has closed: StoppedElsewhere when its process left word, else an error that names it."""
        try:
            before = self._beats()
            if self.ended.wait(3 * BEAT_S) or not self.leave_word():
                return StoppedElsewhere()
            self.gone = [n for n, (old, new) in enumerate(zip(before, self._beats(), strict=True)) if old == new]
            where = [f"{n} on {self.store.get(f'where/{n}').decode()}" for n in self.gone]
            who = f"process {', '.join(where)} has" if where else "a process has"
        except RuntimeError:  # the store lives with the first process, or in its launcher
            who = "the first process has"
            self.spoken = True
        gone = f"{who} gone without a word: killed, for memory perhaps, or its machine is down{why}"
        return RunError(f"{gone}. {self.go_on}")

    def _beats(self) -> list[int]:
        return [self.store.add(f"beat/{n}", 0) for n in range(self.size)]


def meet(rank: int, size: int, word: str, silence_limit_s: float, go_on: str) -> Pulse:
    """A pulse in the store where torch brought the processes together; `word` is this run's own.

    `go_on` tells a person how to go on after a process was lost.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(host, port, is_master=False, wait_for_workers=False)
    return Pulse(rank, size, dist.PrefixStore(f"unreel/{word}", store), silence_limit_s, go_on)


@contextmanager
def one_reason(pulse: Pulse | None) -> Iterator[None]:
    """What ends this process ends the others, and is said once."""
    try:
        yield
    except BaseException as error:
        if pulse is None:
            raise
        atexit.register(pulse.wait_for_others)  # after the reason was printed: who ends may draw a launcher's SIGTERM
        if isinstance(error, StoppedElsewhere):
            raise
        if is_loss(error):
            raise pulse.lost(own_words(error)) from error
        if not pulse.leave_word():
            raise StoppedElsewhere(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise


def is_loss(error: BaseException) -> bool:
    """Whether an error is the connection's to a process that has gone."""
    lost = isinstance(error, RuntimeError) and LEFT.search(str(error)) is not None
    return lost or isinstance(error, dist.DistError)


def own_words(error: BaseException) -> str:
    """What torch says of a failure that may be another than a lost process, to be added to ours."""
    return f" (torch: {str(error).splitlines()[0]})" if isinstance(error, dist.DistError) and str(error) else ""
