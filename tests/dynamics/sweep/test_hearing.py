"""What processes of a sweep hear of each other, with a dict for the store of `jax.distributed`."""

import threading
import time
import types

import pytest

from jaxinertia.dynamics.sweep import processes
from jaxinertia.dynamics.sweep.processes import OtherFailed, Processes


class Shared:
    """The part of the key-value store that is used."""

    def __init__(self):
        self.told = {}

    def key_value_set(self, key, value, allow_overwrite=False):
        assert allow_overwrite or key not in self.told
        self.told[key] = value

    def key_value_dir_get(self, key):
        return [(name, text) for name, text in self.told.copy().items() if name.startswith(f"{key}/")]

    def key_value_delete(self, key):
        self.told = {name: text for name, text in self.told.items() if not name.startswith(key)}


@pytest.fixture
def three(monkeypatch):
    """Makes the three processes of a sweep, whose hearts beat fast; this process does not end with them."""
    shared, index = Shared(), [0]
    monkeypatch.setattr(processes, "_store", lambda: shared)
    monkeypatch.setattr(processes, "BEAT", 0.02)
    monkeypatch.setattr(processes, "SILENCE", 1.0)
    monkeypatch.setattr(processes, "_end", lambda: types.SimpleNamespace(some_dead=False))
    monkeypatch.setattr(processes.jax, "process_count", lambda: 3)
    monkeypatch.setattr(processes.jax, "process_index", lambda: index[0])
    sweeps = iter(range(100))

    def make():
        number, found = next(sweeps), []
        for index[0] in range(3):
            monkeypatch.setattr(processes, "_numbers", iter([number]))
            found.append(Processes())
        return found

    return make


def together(*works):
    """Run each in a thread; their results, or errors."""
    found = [None] * len(works)

    def run(i, work):
        try:
            found[i] = work()
        except Exception as error:
            found[i] = error

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_all_wait_for_the_last_and_know_what_each_has_done(three):
    def work(one, pause):
        with one:
            one.note_done(10 * one.index)
            time.sleep(pause)
            told = one.wait("here", one.index + 5)
            return told, one.note_done(10 * one.index)

    for _ in range(2):  # the next sweep begins anew
        found = together(*(lambda one=one: work(one, 0.3 * (one.index == 2)) for one in three()))
        assert [told for told, _ in found] == [[5, 6, 7]] * 3
        assert found[0][1] == found[1][1] == 30  # heard while waiting


def test_the_reason_of_a_failure_is_heard_also_by_those_that_compute(three):
    def fail(one):
        with one:
            one.wait("start")
            raise ValueError("no space left")

    def wait(one):
        with one:
            one.wait("start")
            one.wait("end")

    def compute(one):
        with one:
            one.wait("start")
            one.until(lambda: False)

    first, second, third = three()
    found = together(lambda: wait(first), lambda: compute(second), lambda: fail(third))
    assert isinstance(found[2], ValueError)
    for error in found[:2]:
        assert isinstance(error, OtherFailed)
        assert "process 2 of 3 failed: ValueError: no space left" in str(error)


def test_a_dead_process_is_missed_and_a_slow_one_waited_for(three):
    def die(one):
        one.__enter__()
        one.wait("start")
        one._over.set()  # its heart stops, and it says nothing

    def wait(one):
        with one:
            one.wait("start")
            began = time.monotonic()
            try:
                one.wait("end")
            finally:
                waited.append(time.monotonic() - began)

    waited = []
    first, second, third = three()
    found = together(lambda: wait(first), lambda: wait(second), lambda: die(third))
    assert all("process 2 of 3 died" in str(error) for error in found[:2])
    assert min(waited) > 0.5

    def slow(one):
        with one:
            one.wait("start")
            time.sleep(2 * processes.SILENCE)
            one.wait("end")

    first, second, third = three()
    assert together(lambda: wait(first), lambda: wait(second), lambda: slow(third)) == [None] * 3


def test_a_store_out_of_reach_is_told(three, monkeypatch):
    first, *_ = three()

    def lost(*_args, **_kwargs):
        raise RuntimeError("UNAVAILABLE")

    monkeypatch.setattr(first, "_store", type("Lost", (), {"key_value_set": lost, "key_value_dir_get": lost})())
    with first, pytest.raises(OtherFailed, match=r"process 0 of 3 cannot be reached \(UNAVAILABLE\)"):
        first.until(lambda: False)


def test_one_process_waits_for_nobody():
    with Processes() as alone:
        assert alone.wait("here", 3) == [3]
        assert alone.note_done(7) == 7
        alone.until(lambda: False)
        alone.check()
