"""The README as a stranger meets it: each block pasted alone into a fresh Python, each link followed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_each_kind_of_user_has_a_block():
    users = ("ji.simulate(", "ji.fit(", "ji.training.monitor(")
    assert [sum(call in block for block in BLOCKS) for call in users] == [1, 1, 1]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block {i}" for i in range(len(BLOCKS))])
def test_a_block_runs_alone_in_a_fresh_process(block, tmp_path, monkeypatch):
    """In an empty folder, with the precision that JAX starts in; a warning is a failure."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)
    code = [sys.executable, "-W", "error::UserWarning", "-W", "error::RuntimeWarning", "-c", block]
    done = subprocess.run(code, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_each_link_into_the_clone_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", TEXT) if "://" not in link]
    assert len(links) >= 10
    assert [link for link in links if not (ROOT / link.split("#")[0]).exists()] == []
