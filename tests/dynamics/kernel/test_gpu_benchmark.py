"""The benchmark of GPUs, as far as it runs without one."""

import types

import numpy as np
import pytest

from benchmarks import gpu, timing

DEVICE = types.SimpleNamespace(device_kind="a GPU", compute_capability="9.0", core_count=132)


@pytest.mark.slow
@pytest.mark.parametrize("name", gpu.CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_methods_measure_the_same_motion(name, dtype):
    found = {method: call() for method, call in gpu.methods(name, dtype, gpu.SMALL, steps=20).items()}
    assert {"kernel", "plain loop", "ji.sweep"} <= set(found)
    for method, (ms, ends) in found.items():
        assert ms > 0
        assert ends.shape == (gpu.SMALL,)
        if name != "Langevin" or method == "plain loop":
            gpu._check(method, name, dtype, ends, found["kernel"][1])
    with pytest.raises(RuntimeError, match="mean energy"):
        gpu._check("kernel", name, dtype, 1.1 * found["kernel"][1], found["kernel"][1])


def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="JAX finds no GPU here"):
        gpu.main()


@pytest.fixture
def faked(monkeypatch, tmp_path):
    """Timings of a GPU that is not there: a peer that breaks, one that is wrong, one out of memory for large runs."""

    def broken():
        raise OSError("nvcc fatal:\n  no such device")

    def methods(name, dtype, points):
        ends = np.full(4, 2.0)
        found = {"kernel": lambda: (3.0, ends), "plain loop": lambda: (60.0, ends), "CUDA C++": broken}
        found["numba-cuda"] = lambda: (1.0, 1.1 * ends)
        if points > 1000:
            found["plain loop"] = lambda: (_ for _ in ()).throw(MemoryError("out of memory"))
        return found

    monkeypatch.setattr(gpu, "methods", methods)
    monkeypatch.setattr(gpu, "missing", lambda: {"torchdiffeq": "it finds no GPU"})
    monkeypatch.setattr(gpu, "_nvidia", lambda what: "1980 MHz")
    monkeypatch.setattr(gpu, "POINTS", (2**20, 2**9))
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    return tmp_path / "gpu.md"


def test_a_failure_costs_its_cell_alone(faked, monkeypatch):
    monkeypatch.setattr(gpu, "TRIES", 30)
    gpu.measure(DEVICE)
    lines = faked.read_text().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rows = [dict(zip(table[0], row, strict=True)) for row in table[2:]]
    assert [row["points"] for row in rows] == ["512", "1,048,576"] * 10
    for row in rows:
        wrong = "1" if row["potential"] == "Langevin" else "failed"  # that of other random numbers is not compared
        assert (row["kernel"], row["CUDA C++"], row["numba-cuda"], row["diffrax"]) == ("3", "failed", wrong, "-")
        assert (row["plain loop"], row["plain / kernel"]) == (
            ("60", "20") if row["points"] == "512" else ("failed", "-")
        )
        assert float(row["kernel / floor"]) == pytest.approx(3 / float(row["floor"]), rel=0.01)
    text = faked.read_text()
    assert "torchdiffeq (it finds no GPU)" in text
    assert text.count("OSError") == 1  # of all its rows
    assert "CUDA C++: OSError: nvcc fatal: no such device (first in quadratic, float32, 1,048,576 points)" in text
    assert "mean energy 2.2, the kernel's 2.0" in text
    # Duffing's four instructions, of 132 processors with 128 lanes at 1.98 GHz.
    assert gpu.floor_ms("Duffing", "float32", 2**23, DEVICE) == pytest.approx(2**23 * 4e3 / (132 * 128 * 1.98e9) * 1e3)


def test_what_has_failed_often_is_passed_over_and_rows_come_as_they_are_measured(faked, monkeypatch):
    gpu.measure(DEVICE)
    cells = [line.split("|")[7].strip() for line in faked.read_text().splitlines() if line.startswith("| ")]
    assert cells.count("failed") == gpu.TRIES * len(gpu.POINTS)  # of CUDA C++
    faked.unlink()
    rows = []

    def stopped(*row):
        rows.append(row)
        if len(rows) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", lambda *args, **options: stopped(*args))
    with pytest.raises(KeyboardInterrupt):
        gpu.measure(DEVICE)
    assert faked.read_text().count("\n| ") == 3  # the head and two rows


def test_when_the_time_is_up_the_rest_has_dashes(faked, monkeypatch):
    monkeypatch.setattr(gpu, "BUDGET", 0.0)
    gpu.measure(DEVICE)
    assert all(line.split("|")[4].strip() == "-" for line in faked.read_text().splitlines() if "| 512 |" in line)


def test_every_case_has_a_floor():
    assert set(gpu.LEAST) == set(gpu.CASES)
    assert np.all(np.diff(gpu.POINTS) < 0)  # the largest come first: time may run out
