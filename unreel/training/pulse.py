"""How the processes of a run learn of each other's end, so that none waits for ever and the reason is said once.

Each beats into the store that they met in, and listens to the one after it. One that fails leaves word there and the
others end without saying it again. One that is killed can't: where its connections close, that is seen at once; where
they do not (a machine without power, a cut cable, a process that is stopped), the silence tells it.
Beats are counted and no clock is looked at, so a laptop that slept, or a clock that was set, is no death.
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from unreel.errors import RunError, StoppedElsewhere

BEAT_S, GRACE_BEATS = 1.0, 10
ENDED = "ended"
LEFT = ("Connection closed by peer", "Connection reset by peer", "gloo")


class Pulse:
    """The beats of process `rank` of `size` in a store of this run alone; two threads, started at once."""

    def __init__(self, rank: int, size: int, store: Any, silence_limit_s: float, go_on: str) -> None:
        self.rank, self.size, self.store, self.limit_s = rank, size, store, silence_limit_s
        self.go_on = f"What is saved is whole; {go_on}"
        self.next, self.heard = (rank + 1) % size, 0
        self.ended = threading.Event()  # somebody left word, which this process has read
        self.stopped = threading.Event()
        store.set(f"where/{rank}", platform.node())
        for work in (self._talk, self._listen):
            threading.Thread(target=work, daemon=True).start()

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
                    self.store.add("read", 1)

    def _listen(self) -> None:
        """End this process when the next one is silent, or when it has not ended itself after somebody left word."""
        before, silent, late = -1, 0, 0
        while not self.stopped.wait(BEAT_S):
            before, silent = self.heard, silent + 1 if self.heard == before else 0
            late += self.ended.is_set()
            if late > GRACE_BEATS:
                os._exit(2)
            if silent * BEAT_S >= self.limit_s:
                text = f"nothing was heard of process {self.next} for {self.limit_s:g} s: "
                text += f"it, its machine or the network to it is down. {self.go_on}"
                if self._first_to_say():
                    print(f"unreel: {text}", file=sys.stderr, flush=True)
                os._exit(2)  # the main thread may wait within a collective, which nothing can interrupt

    def _first_to_say(self) -> bool:
        """Leave word; False where another did. Where the store does not answer, better twice than not at all."""
        answer: list[bytes] = []

        def ask() -> None:
            with suppress(RuntimeError):
                answer.append(self.store.compare_set(ENDED, "", str(self.rank)))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(3 * BEAT_S)
        return not answer or answer[0] == str(self.rank).encode()

    def leave_word(self) -> None:
        """This process fails and will say why; wait until the others know, a few beats at most."""
        with suppress(RuntimeError):
            if not self._first_to_say():
                return
            for _ in range(round(3 / 0.1)):
                if self.store.add("read", 0) >= self.size - self.ended.is_set():
                    return
                time.sleep(0.1 * BEAT_S)

    def lost(self) -> Exception:
        """A connection has closed: StoppedElsewhere when its process left word, else an error that names it."""
        try:
            before = self._beats()
            if self.ended.wait(3 * BEAT_S) or not self._first_to_say():
                return StoppedElsewhere()
            still = [n for n, (old, new) in enumerate(zip(before, self._beats(), strict=True)) if old == new]
            where = [f"{n} on {self.store.get(f'where/{n}').decode()}" for n in still]
            who = f"process {', '.join(where)} has" if still else "a process has"
        except RuntimeError:  # the store lives with the first process, or in its launcher
            who = "the first process has"
        return RunError(f"{who} gone without a word: killed, for memory perhaps, or its machine is down. {self.go_on}")

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
    except StoppedElsewhere:
        raise
    except BaseException as error:
        if pulse is None:
            raise
        if is_loss(error):
            raise pulse.lost() from error
        pulse.leave_word()
        raise


def is_loss(error: BaseException) -> bool:
    """Whether an error is the connection's to a process that has gone."""
    lost = isinstance(error, RuntimeError) and any(words in str(error) for words in LEFT)
    return lost or isinstance(error, dist.DistError)
