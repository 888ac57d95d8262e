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
    text = markdown([claim], {"section V": "ours"}, {"fig1": "what it shows"})
    row = next(line for line in text.splitlines() if "0.00125" in line)
    assert row.replace(r"\|", "").count("|") == 8  # seven cells
    assert "**holds**" in text
    assert "ours" in text
    assert "- `fig1`: what it shows" in text
    loaded = json.loads(to_json([claim], {"section V": "ours"}, {"fig1": "what it shows"}))
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
    "beyond the paper: modified inertia": "holds",
    "beyond the paper: shadow energy": "holds",
    "beyond the paper: friction": "needs the correction given",
    "beyond the paper: rotations": "holds",
    "beyond the paper: rescaling": "holds",
    "beyond the paper: diagonal network": "holds",
    "beyond the paper: stationary state": "holds",
    "beyond the paper: energy-preserving step": "holds",
    "beyond the paper: backwards": "holds",
}


NETWORK, BEYOND = "a real network", "beyond the paper"  # their time is spent with the longer checks
LONGER = {NETWORK: "fig7_network", BEYOND: "fig8_beyond"}


def belongs_to(part, where):
    return (NETWORK in where, where.startswith(BEYOND)) == (part == NETWORK, part == BEYOND)


@pytest.fixture(scope="module")
def findings():
    """Every part of the paper but the longer ones, measured once, in its quick form."""
    return {name: measure(True) for name, measure in PARTS.items() if name not in LONGER}


def verdicts(parts):
    return {claim.where: str(claim.verdict) for part in parts for claim in part.claims}


def test_the_measured_verdicts_are_those_of_the_checked_science(findings):
    assert verdicts(findings.values()) == {k: v for k, v in EXPECTED.items() if belongs_to("", k)}


def spoiled(claim):
    which = "corrected" if claim.corrected else "literal"
    wrong = [dataclasses.replace(c, measured=c.predicted + 2 * c.tolerance + 1.0) for c in getattr(claim, which)]
    return dataclasses.replace(claim, **{which: tuple(wrong)})


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_the_measured_verdicts_of_the_longer_parts(name):
    part = PARTS[name](True)
    assert verdicts([part]) == {k: v for k, v in EXPECTED.items() if belongs_to(name, k)}
    assert part.name == LONGER[name]
    for claim in part.claims:
        assert spoiled(claim).verdict == "fails", claim.where


def test_every_claim_can_fail(findings):
    """Spoiling the measured numbers of what should pass turns each verdict to "fails"."""
    for part in findings.values():
        for claim in part.claims:
            assert spoiled(claim).verdict == "fails", claim.where


def test_the_five_figures_of_the_paper_and_one_on_noise_are_drawn(findings):
    drawn = [part for part in findings.values() if part.figure is not None]
    assert all(len(part.caption) > 80 for part in drawn)
    names = {part.name for part in drawn}
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
