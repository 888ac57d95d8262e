"""Verdicts follow from numbers, and a wrong number turns them."""

import dataclasses
import json

import numpy as np
import pytest

from jaxinertia.report.paper import conservation, noise
from jaxinertia.report.paper.claims import Check, Claim, Verdict, markdown, to_json
from jaxinertia.report.paper.run import PARTS

GOOD = Check("x", 1.0, 1.05, 0.1)
BAD = Check("x", 1.0, 2.0, 0.1)


def test_literal_checks_alone_decide_a_plain_claim():
    assert Claim("w", "p", (GOOD,)).verdict == "holds"
    assert Claim("w", "p", (GOOD, BAD)).verdict == "fails"


@pytest.mark.parametrize("qualification", [Verdict.ON_AVERAGE, Verdict.IN_THE_LIMIT, Verdict.NEEDS_CORRECTION])
def test_a_corrected_claim_gets_its_qualification_only_if_the_correction_passes(qualification):
    assert Claim("w", "p", (BAD,), "c", (GOOD,), qualification).verdict == qualification
    assert Claim("w", "p", (BAD,), "c", (BAD,), qualification).verdict == "fails"
    assert Claim("w", "p", (GOOD,), "c", (BAD,), qualification).verdict == "fails"


def test_a_nan_never_passes():
    assert not Check("x", 0.0, float("nan"), float("inf")).passes


def test_tables_carry_every_number_and_escape_bars():
    claim = Claim("Eq. (4)", "dI/dt = -gamma |v|^2", (Check("max |I|", 0.0, 1.25e-3, 1e-2, "because"),))
    text = markdown([claim], {"section V": "ours"})
    row = next(line for line in text.splitlines() if "0.00125" in line)
    assert row.replace(r"\|", "").count("|") == 8  # seven cells
    assert "**holds**" in text
    assert "ours" in text
    loaded = json.loads(to_json([claim], {"section V": "ours"}))
    assert loaded["claims"][0]["literal"][0]["measured"] == 1.25e-3
    assert loaded["claims"][0]["verdict"] == "holds"


EXPECTED = {
    "Eq. (1)-(2)": "holds",
    "Theorem 1, Eq. (3)": "holds",
    "Eq. (4)": "holds",
    "Eq. (4), remark": "needs the correction given",
    "section III": "needs the correction given",
    "Eq. (12)-(15)": "holds",
    "Eq. (16)": "holds on average",
    "section V, phase plane": "holds",
    "appendix B": "needs the correction given",
    "appendix C": "needs the correction given",
    "Eq. (9)-(10)": "holds",
    "Eq. (11), appendix D": "holds as h -> 0",
    "Eq. (5)-(6)": "needs the correction given",
    "Eq. (7)": "needs the correction given",
    "Eq. (7), coloured noise": "needs the correction given",
    "Eq. (7), sigma -> 0": "needs the correction given",
    "IV-A": "needs the correction given",
    "IV-A, decoupled": "needs the correction given",
    "V-C": "needs the correction given",
    "Theorem 1 on a real network": "needs the correction given",
    "Eq. (4) on a real network": "holds",
}


NETWORK = "a real network"  # its half of the time is spent with the longer checks


@pytest.fixture(scope="module")
def findings():
    """Every part of the paper but the network, measured once, in its quick form."""
    return {name: measure(True) for name, measure in PARTS.items() if name != NETWORK}


def verdicts(parts):
    return {claim.where: str(claim.verdict) for part in parts for claim in part.claims}


def test_the_measured_verdicts_are_those_of_the_checked_science(findings):
    assert verdicts(findings.values()) == {k: v for k, v in EXPECTED.items() if "network" not in k}


@pytest.mark.slow
def test_the_measured_verdicts_on_a_network():
    part = PARTS[NETWORK](True)
    assert verdicts([part]) == {k: v for k, v in EXPECTED.items() if "network" in k}
    assert part.name == "fig7_network"


def test_every_claim_can_fail(findings):
    """Spoiling the measured numbers of what should pass turns each verdict to "fails"."""

    def spoil(checks):
        return tuple(
            dataclasses.replace(check, measured=check.predicted + 2 * check.tolerance + 1.0) for check in checks
        )

    for part in findings.values():
        for claim in part.claims:
            which = "corrected" if claim.corrected else "literal"
            spoiled = dataclasses.replace(claim, **{which: spoil(getattr(claim, which))})
            assert spoiled.verdict == "fails", claim.where


def test_the_five_figures_of_the_paper_and_one_on_noise_are_drawn(findings):
    names = {part.name for part in findings.values() if part.figure is not None}
    assert names == {
        "fig1_energy",
        "fig2_phase_portrait",
        "fig3_decay_rates",
        "fig4_landscape",
        "fig5_discrete",
        "fig6_noise",
    }


def test_wrong_friction_is_noticed():
    """A run whose friction is 1 % off does not pass as Eq. (4)."""
    ts = conservation.times(conservation.STOP, conservation.EVERY)
    damped = conservation._run(0.202, ts)
    assert conservation._rate(damped, ts, 0.2).verdict == "fails"


def test_missing_noise_is_noticed():
    """Means without noise pass neither as the paper's Eq. (7) nor as the corrected one."""
    ts = noise.times(noise.STOP, 0.25)

    def mean(sigma):
        return np.asarray(noise.analytic.mean_inertia(ts, noise.START, 0.0, noise.STIFFNESS, noise.GAMMA, sigma))

    error, given = 1e-3 + 0 * ts, noise.SIGMA**2 * ts / 2
    curves = noise.Curves(ts, mean(0.0), error, 0 * ts, error, mean(noise.SIGMA), given)
    assert noise._in_the_mean(curves).verdict == "fails"
    right = curves._replace(mean=mean(noise.SIGMA), booked=given)
    assert noise._in_the_mean(right).verdict == "needs the correction given"
