"""Several processes at one sweep, as `jax.distributed` starts them: they wait for each other, but not for the dead.

Each tells the others every second, through the key-value store of `jax.distributed`, that it lives and how many points
it has done; and, if it fails, why. A process that hears of a failure, or nothing of another for SILENCE, ends with that
reason. One process alone does none of this.
"""

import atexit
import functools
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import jax

BEAT = 1.0  # seconds between signs of life
SILENCE = 10.0  # seconds without one, after which a process counts as dead
GRACE = 5.0  # seconds that a failed process waits for the others to end with it
_numbers = itertools.count()  # of the sweeps, the same in all processes


class OtherFailed(RuntimeError):
    """Another process of the sweep has failed; the text says why."""


class Processes:
    """The processes at this sweep; a context, inside which a failure is told to the others.

    index, count: which of them this is, and how many there are.
    """

    def __init__(self) -> None:
        self.index, self.count = jax.process_index(), jax.process_count()
        self.trouble: str | None = None  # why another one has failed
        self._some_dead = False
        self._done = [0] * self.count  # points, by process
        if self.count > 1:
            self._store = _store()
            number = next(_numbers)
            self._place = f"jaxinertia/sweep/{number}/"
            if self.index == 0:  # whoever is here has left the last but one
                self._store.key_value_delete(f"jaxinertia/sweep/{number - 2}/")
            self._heard: dict[int, tuple[str, float]] = {}  # the last sign of life of each, and when it came
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> "Processes":
        if self.count > 1:
            self._thread.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self.count == 1:
            return
        if error is not None:
            _end().some_dead |= self._some_dead
            if not isinstance(error, OtherFailed):
                self._say("failed", f"{type(error).__name__}: {error}"[:2000])
        self._over.set()
        self._thread.join(BEAT)

    def check(self) -> None:
        """Raise OtherFailed if another process has failed, or died."""
        if self.trouble is not None:
            raise OtherFailed(
                f"this sweep ends because {self.trouble}; what is finished is kept: start the same call again, on any "
                "number of processes, which goes on from there"
            )

    def wait(self, what: str, told: int = 0, meanwhile: Callable[[], Any] = lambda: None) -> list[int]:
        """Wait until all processes have come to this place; returns what each has told, in their order."""
        if self.count == 1:
            return [told]
        self._say(f"at/{what}", str(told))
        for pause in _pauses(0.2):
            here = self._read(f"at/{what}")
            if len(here) == self.count:
                return [int(here[i]) for i in range(self.count)]
            self.check()
            meanwhile()
            time.sleep(pause)
        raise AssertionError

    def until(self, ready: Callable[[], bool]) -> None:
        """Wait for what is being computed here, unless another process fails."""
        if self.count == 1:
            return
        for pause in _pauses(0.05):
            if ready():
                return
            self.check()
            time.sleep(pause)

    def note_done(self, points: int) -> int:
        """Tell how many points are done here; returns how many are in all processes."""
        self._done[self.index] = points
        return sum(self._done)

    def _say(self, what: str, text: str) -> None:
        self._store.key_value_set(f"{self._place}{what}/{self.index}", text, allow_overwrite=True)

    def _read(self, what: str) -> dict[int, str]:
        """What processes have said, by process."""
        return {int(key.rpartition("/")[2]): text for key, text in self._store.key_value_dir_get(self._place + what)}

    def _live(self) -> None:
        """Tell and listen, in a thread of its own."""
        reached = time.monotonic()
        for beat in itertools.count():
            try:
                self._say("lives", f"{beat} {self._done[self.index]}")
                self._listen(time.monotonic())
                reached = time.monotonic()
            except Exception as error:  # the store is in the first process, and out of reach
                if time.monotonic() - reached > SILENCE:
                    self.trouble = f"process 0 of {self.count} cannot be reached ({error})"
            if self._over.wait(BEAT):
                return

    def _listen(self, now: float) -> None:
        for index, text in self._read("lives").items():
            if text != self._heard.get(index, ("", now))[0]:
                self._heard[index] = text, now
                if index != self.index:
                    self._done[index] = int(text.split()[1])
        failed = self._read("failed")
        silent = [index for index, (_, when) in self._heard.items() if now - when > SILENCE and index not in failed]
        self._some_dead = bool(silent)
        for index in sorted(failed):
            self.trouble = self.trouble or f"process {index} of {self.count} failed: {failed[index]}"
        for index in silent:
            self.trouble = self.trouble or (
                f"process {index} of {self.count} died: nothing was heard of it for {SILENCE:g} s"
            )


def _store() -> Any:
    """The key-value store that `jax.distributed` has for its own use; JAX gives it no public name."""
    from jax._src import distributed  # noqa: PLC0415  so that an internal name is asked for only where it is needed

    return distributed.global_state.client


def _pauses(longest: float):
    """Short ones first."""
    pause = 0.001
    while True:
        yield pause
        pause = min(1.3 * pause, longest)


class _End:
    """How Python ends after a failure: without waiting, as JAX does, minutes for processes that will not come.

    It waits GRACE for those that have heard of the failure, if one is dead, or if the failure ends this process too.
    Where the user has caught it all go on, and wait for each other as JAX has it.
    """

    def __init__(self) -> None:
        self.some_dead = False
        self._ending = threading.Event()
        threading.Thread(target=self._leave, daemon=True).start()  # now: Python starts none while it ends
        atexit.register(self._begin)  # runs before JAX's own, which is older and waits

    def _begin(self) -> None:
        if self.some_dead or getattr(sys, "last_value", None) is not None:  # what nobody has caught
            self._ending.set()

    def _leave(self) -> None:
        self._ending.wait()
        time.sleep(GRACE)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


_end = functools.cache(_End)
