"""The command line as a user meets it."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jaxinertia.report import cli
from jaxinertia.report.paper import practice, run

RUNNER = CliRunner()


@pytest.fixture
def one_part(monkeypatch):
    monkeypatch.setattr(run, "PARTS", {"practice": practice.measure})


def test_paper_writes_claims_and_prints_verdicts(one_part, tmp_path):
    result = RUNNER.invoke(cli.app, ["paper", "--out", str(tmp_path / "a" / "b"), "--quick"])
    assert result.exit_code == 0, result.output
    assert "V-C" in result.output
    assert (tmp_path / "a" / "b" / "claims.md").exists()
    assert (tmp_path / "a" / "b" / "claims.json").exists()


def test_an_unusable_folder_is_a_clear_error(one_part, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    result = RUNNER.invoke(cli.app, ["paper", "--out", str(blocker / "paper")])
    assert result.exit_code == 2
    assert "out =" in result.output
    assert "Traceback" not in result.output


def test_a_failed_claim_is_a_failed_command(monkeypatch, tmp_path):
    from jaxinertia.report.paper.claims import Check, Claim
    from jaxinertia.report.paper.findings import Findings

    bad = Findings([Claim("Eq. (0)", "1 = 2", (Check("1", 2.0, 1.0, 0.1),))])
    monkeypatch.setattr(run, "PARTS", {"bad": lambda quick: bad})
    result = RUNNER.invoke(cli.app, ["paper", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "fails" in result.output


def test_help_names_the_commands():
    result = RUNNER.invoke(cli.app, ["--help"])
    assert "paper" in result.output


def test_examples_in_the_help_are_commands_that_it_takes(tmp_path, monkeypatch):
    """Parsed, and not run: in a folder with files of these names, unknown options and values are errors."""
    monkeypatch.chdir(tmp_path)
    commands = typer.main.get_command(cli.app).commands
    for name in ("fit", "modes", "sweep"):
        lines = [line.strip() for line in commands[name].help.splitlines()]
        examples = [line.split()[1:] for line in lines if line.startswith(f"jaxinertia {name}")]
        assert len(examples) >= 2
        for _, file, *options in examples:
            Path(file).touch()
            commands[name].make_context(name, [file, *options])


def test_the_version_is_said():
    import jaxinertia

    result = RUNNER.invoke(cli.app, ["--version"])
    assert result.output.split() == ["jaxinertia", jaxinertia.__version__]
    assert result.exit_code == 0


def test_the_doctor_says_what_a_report_needs(tmp_path, monkeypatch):
    import jax

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cli, "cache", lambda: None)
    monkeypatch.setattr("jaxinertia.report.doctor.cache", lambda: tmp_path)
    (tmp_path / "program").write_bytes(b"x" * 2_000_000)
    lines = RUNNER.invoke(cli.app, ["doctor"]).output.splitlines()
    told = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in lines}
    assert told["jax"] == jax.__version__
    assert told["devices"].count("cpu") >= 1
    assert told["x64"].startswith("on;")  # as the tests have it
    assert told["cache"] == f"{tmp_path}, 1 files, 2.0 MB"


def test_a_missing_package_and_a_cache_that_cannot_be_written_are_said(monkeypatch):
    from jaxinertia.report import doctor

    def refuse():
        raise ValueError("folder = '/' cannot be written")

    monkeypatch.setattr(doctor, "cache", refuse)
    monkeypatch.setattr(doctor, "OPTIONAL", ("no-such-package",))
    said = "\n".join(doctor.report())
    assert "no-such-package  not installed" in said
    assert "NONE, so that every start compiles anew: folder = '/' cannot be written" in said
