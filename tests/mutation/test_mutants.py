"""The tests are tested: one sign or factor of the package is changed in a copy, and some test there must fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
LIMIT = 900  # seconds; a mutant needs ten or twenty, and all the tests as they stand a few minutes


def run(copy: Path, tests) -> subprocess.CompletedProcess:
    """The tests on the package in this copy."""
    names = [f"tests/{name}" for name in tests]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *names]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode not in (0, 1):
        pytest.fail(f"pytest could not run {names}: update the table\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def is_noticed(copy: Path, mutant: Mutant) -> bool:
    """Whether a test fails where this mutant is in the copy; the copy is left as it was."""
    path = copy / "jaxinertia" / mutant.file
    right = path.read_text()
    path.write_text(right.replace(mutant.text, mutant.wrong))
    try:
        return run(copy, mutant.tests).returncode == 1
    finally:
        path.write_text(right)


def test_every_mutant_has_its_text():
    """Once, and not what it would become."""
    gone = {}
    for name, mutant in MUTANTS.items():
        count = (ROOT / "jaxinertia" / mutant.file).read_text().count(mutant.text)
        if count != 1 or mutant.text == mutant.wrong:
            gone[name] = f"{mutant.text!r} occurs {count} times in {mutant.file}: update the table"
    assert gone == {}


@pytest.fixture
def copy(tmp_path):
    """The package and its tests, which pass there: what fails by itself notices nothing."""
    for name in ("jaxinertia", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = run(tmp_path, sorted({name for mutant in MUTANTS.values() for name in mutant.tests}))
    assert done.returncode == 0, done.stdout[-4000:]
    return tmp_path


@pytest.mark.slow
def test_every_mutant_is_noticed(copy):
    survivors = [name for name, mutant in MUTANTS.items() if not is_noticed(copy, mutant)]
    assert survivors == []
