"""One sign or one factor wrong, and the tests that must notice: `text` of a file becomes `wrong`."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """`text` occurs once in `file`; `tests` are pytest's names, in a few seconds each."""

    file: str
    text: str
    wrong: str
    tests: tuple[str, ...]


POTENTIALS = ("physics/test_potentials.py::test_values_and_gradients_are_those_by_hand",)
COLORED = ("dynamics/test_colored.py::test_the_map_is_exact_in_mean_covariance_and_friction",)
DRIVEN = ("dynamics/test_order.py::test_order_with_a_time_dependent_force[OBABO]",)
FORMS = ("energy/test_modified.py::test_the_coefficients_to_h4_are_those_of_the_table[BA]",)
WORN = ("energy/test_modified.py::test_the_coefficients_with_friction_are_those_of_the_table[OBA]",)
SHADOW = ("dynamics/test_shadow.py::test_verlet_on_duffing_wobbles_below_1e_12",)
LAWS = ("energy/test_moments.py::test_linear_sde_takes_a_spread_start",)
WEIGHTS = ("dynamics/test_words.py::test_composition_weights_satisfy_the_order_conditions",)
WORK = ("energy/test_balance.py::test_work_of_a_constant_force_in_verlet_telescopes",)
ORACLE = ("inference/test_likelihood.py::test_the_filter_is_the_joint_normal_density[gaps]",)
SCORE = ("inference/test_likelihood.py::test_score_and_information_are_the_costs_derivatives",)
LAW = "dynamics/test_laws.py::test_each_law_has_its_order_and_only_takes"
MAPS, STOPS = ("physics/test_friction_maps.py",), ("dynamics/test_stick_and_turn.py",)
POWER, FIELD = (LAW + "[power law]",), (LAW + "[gyroscopic, flying]",)
FIELD_WITH_MASS = (LAW + "[masses]",)
CRITERIA = ("inference/test_doubts.py::test_information_criteria_are_those_of_the_normal_density",)
DERIVED = ("inference/test_saved.py::test_derived_numbers_of_other_systems",)
ERRORS = ("inference/test_errors.py",)
LENGTHS = "inference/test_lengths.py::test_a_ring_down_of_any_length_has_its_own_start[60]"
DRIVEN_FIT = "inference/test_lengths.py::test_a_driven_record_of_any_length_has_its_own_start_and_residuals[90]"
SMOOTH = "inference/test_lengths.py::test_a_smooth_input_leaves_the_start_alone"

MUTANTS = {
    # physics
    "Duffing's quartic": Mutant("physics/potentials.py", "x * (cubic / 4)", "x * (cubic / 3)", POTENTIALS),
    "Duffing's force": Mutant(
        "physics/potentials.py", "(quadratic + x * cubic)", "(quadratic - x * cubic)", POTENTIALS
    ),
    "the well's width": Mutant("physics/potentials.py", "/ self.width**2 - 1", "/ self.width - 1", POTENTIALS),
    "the pendulum's force": Mutant("physics/potentials.py", "sin(x) * dx", "sin(x / 2) * dx", POTENTIALS),
    "Rosenbrock's valley": Mutant("physics/potentials.py", "(y - x * x)", "(y + x * x)", POTENTIALS),
    "thermal noise": Mutant(
        "physics/noise/white.py",
        "return jnp.sqrt(2 * temperature * gamma)",
        "return jnp.sqrt(temperature * gamma)",
        ("energy/test_fluctuations.py::test_the_variance_of_the_inertia_measures_the_temperature",),
    ),
    "a sample late": Mutant(
        "physics/force.py",
        "u = self.u[left] + part * (self.u[left + 1] - self.u[left])",
        "u = self.u[left]",
        ("physics/test_drag.py::test_a_sampled_force_is_the_line_through_its_samples",),
    ),
    "a flow's covariance doubled": Mutant(
        "physics/linear_flow.py", "c + e @ c @ _transpose(e)", "c + e @ c @ e", ("energy/test_moments.py", *COLORED)
    ),
    "a flow's integral doubled": Mutant("physics/linear_flow.py", "d + time * c + e", "d + e", COLORED),
    "a coloured force's size": Mutant(
        "physics/noise/colored.py",
        "phi(2 * h / tau))  # its",
        "phi(h / tau))  # its",
        COLORED,
    ),
    # energy
    "the balance's rest": Mutant(
        "energy/balance.py",
        "change - friction - noise - work)",
        "change - friction - noise + work)",
        ("energy/test_balance.py::test_what_no_account_holds_is_discretization",),
    ),
    "the inertia's sum": Mutant(
        "energy/inertia.py",
        "return kinetic + potential",
        "return kinetic - potential",
        ("physics/test_potentials.py::test_the_inertia_is_kinetic_plus_potential",),
    ),
    "a letter's exponential": Mutant(
        "energy/lie_series.py", "np.kron(terms[-1], x) / n)", "np.kron(terms[-1], x))", FORMS
    ),
    "a step's logarithm": Mutant("energy/lie_series.py", "(-1) ** k / k * x", "(-1) ** k * x", FORMS),
    "a bracket's sign": Mutant(
        "energy/elementary.py", 'sign = 1 if left[0] == "L" else -1', 'sign = -1 if left[0] == "L" else 1', FORMS
    ),
    "friction's bracket": Mutant(
        "energy/modified.py", "(1 - momentum_degree(tree))", "(2 - momentum_degree(tree))", WORN
    ),
    "friction's turn": Mutant("energy/modified.py", "{tree: -c for", "{tree: c for", WORN),
    "a kick's share of beta": Mutant(
        "dynamics/shadow.py", "growth += 2 * system.level", "growth += system.level", SHADOW
    ),
    "a difference's weight": Mutant("dynamics/shadow.py", "Fraction(1, 2 * j)", "Fraction(1, j)", SHADOW),
    "the charge under friction": Mutant(
        "energy/symmetry.py",
        "parts.loss - parts.friction",
        "parts.loss + parts.friction",
        ("energy/test_noether.py::test_the_law_says_what_it_is_and_the_rate_is_that_of_the_motion[drag]",),
    ),
    "the edge in the variances": Mutant(
        "energy/bias.py",
        "2 * (1 + beta) - eta * stiffness",
        "2 * (1 + beta) + eta * stiffness",
        ("energy/test_bias.py::test_the_stationary_variances_solve_the_discrete_lyapunov_equation",),
    ),
    "the implicit bias": Mutant(
        "energy/bias.py",
        "/ (4 * (1 - beta) ** 2)",
        "/ (2 * (1 - beta) ** 2)",
        ("energy/test_bias.py::test_heavy_ball_follows_the_modified_loss_to_second_order",),
    ),
    "the spring of the closed form": Mutant(
        "energy/analytic.py",
        "p0 * c_minus - stiffness * q0 * s",
        "p0 * c_minus + stiffness * q0 * s",
        ("energy/test_analytic.py::test_quadratic_is_mpmath_to_1e_13",),
    ),
    "the damped invariant": Mutant(
        "energy/analytic.py",
        "+ gamma * x * p) / 2",
        "- gamma * x * p) / 2",
        ("energy/test_analytic.py::test_damped_invariant_decays_exactly",),
    ),
    "the overdamped rate": Mutant(
        "energy/analytic.py",
        "excess > 0, gamma + root, 1.0",
        "excess > 0, gamma - root, 1.0",
        ("energy/test_analytic.py::test_decay_rate_is_the_exact_formula",),
    ),
    "the measured rate": Mutant(
        "energy/rates.py",
        "return -jnp.sum(x * jnp.log",
        "return jnp.sum(x * jnp.log",
        ("energy/test_analytic.py::test_measured_rate_of_an_exponential_is_exact",),
    ),
    "the inertia's variance": Mutant(
        "energy/moments.py",
        "spread / 2 + around",
        "spread + around",
        ("energy/test_moments.py::test_inertia_moments_are_those_of_gaussian_samples",),
    ),
    "a spread start": Mutant("energy/moments.py", "@ start @ flow.T + grown", "@ start + grown", LAWS),
    "a prediction's scatter": Mutant(
        "energy/fluctuations.py",
        " * np.sqrt(1 + 1 / reference))",
        ")",
        ("energy/test_fluctuations.py::test_scores_without_a_change_follow_students_law",),
    ),
    "degrees of freedom": Mutant(
        "energy/fluctuations.py",
        "(window - g) / degrees)",
        "(window - g) * degrees)",
        ("energy/test_fluctuations.py::test_the_temperature_of_several_degrees_of_freedom",),
    ),
    # dynamics
    "the time of the force in a kick": Mutant(
        "dynamics/letters.py", "scene.t + (stage.drifted + part", "scene.t + (part", DRIVEN
    ),
    "the time of the force in two kicks joined": Mutant(
        "dynamics/fusion.py", "drifted=before.drifted", "drifted=0.0", DRIVEN
    ),
    "a drive's work": Mutant(
        "dynamics/letters.py", "work=h * _tree.dot(force, velocity)", "work=2 * h * _tree.dot(force, velocity)", WORK
    ),
    "a drag's stop": Mutant("physics/damping/drag.py", "a * r / 2 - force, 1.0)", "a * r - force, 1.0)", STOPS),
    "a drag's growth": Mutant("physics/damping/drag.py", "a * a / 4 + force * c", "a * a / 2 + force * c", MAPS),
    "a power's exponent": Mutant("physics/power_flow.py", "m = 1 - exponent", "m = 2 - exponent", POWER),
    "a field's side": Mutant("physics/damping/linear.py", "else gyroscopic - gamma", "else -gyroscopic - gamma", FIELD),
    "a mass in the loss": Mutant(
        "physics/damping/linear.py", "jnp.expm1(-2 * x) * w", "jnp.expm1(-2 * x)", FIELD_WITH_MASS
    ),
    "a place's rate": Mutant(
        "physics/damping/place.py",
        "jnp.expm1(-g * h), rates.value",
        "jnp.expm1(-2 * g * h), rates.value",
        (LAW + "[place]",),
    ),
    "a curvature along v": Mutant(
        "physics/damping/curvature.py", "return 2 * self.ratio", "return self.ratio", (LAW + "[curvature]",)
    ),
    "a momentum's rate": Mutant(
        "physics/damping/momentum.py",
        "jnp.expm1(-g * h), rates, momentum",
        "jnp.expm1(g * h), rates, momentum",
        (LAW + "[momentum, relativistic]",),
    ),
    "a metric's push": Mutant(
        "physics/kinetic/riemannian.py",
        "_tree.add_scaled(momentum, -h, push)",
        "_tree.add_scaled(momentum, h, push)",
        (LAW + "[Riemannian]",),
    ),
    "a speed limit": Mutant("physics/kinetic/relativistic.py", "u + rise - turn", "u + rise + turn", MAPS),
    "Kahan and Li's middle": Mutant(
        "dynamics/compositions.py", "1 - 2 * sum(_KAHAN_LI_HALF)", "1 - sum(_KAHAN_LI_HALF)", WEIGHTS
    ),
    "a flight's half": Mutant(
        "dynamics/compositions.py",
        "0.5 - sum(weights)",
        "1.0 - sum(weights)",
        ("dynamics/test_words.py::test_nystrom_splittings_are_symmetric_cover_the_step_and_share_the_end_kicks",),
    ),
    "steps rounded up": Mutant(
        "dynamics/grid.py",
        "np.maximum(1e-6 * intervals,",
        "np.maximum(0.0 * intervals,",
        ("dynamics/test_grid.py::test_the_number_of_steps_on_equal_spacing",),
    ),
    "a mean's error": Mutant(
        "dynamics/ensemble.py",
        "np.sqrt(v / np.maximum(c, 1))",
        "np.sqrt(v)",
        ("dynamics/test_ensemble.py::test_statistics_are_those_of_the_single_runs",),
    ),
    "a bridge's spread": Mutant(
        "dynamics/path.py",
        "span / 2 ** (level + 2)",
        "span / 2 ** (level + 1)",
        ("dynamics/test_path.py",),
    ),
    # inference
    "BIC's log n": Mutant("inference/compare.py", "fit.numbers * np.log(readings)", "fit.numbers", CRITERIA),
    "AIC's 2 k": Mutant(
        "inference/side_by_side.py", "deviance + 2 * found.numbers", "deviance + found.numbers", CRITERIA
    ),
    "the deviance's sign": Mutant(
        "inference/least_squares.py", "deviance - scales, error", "deviance + scales, error", CRITERIA
    ),
    "the deviance of unknown errors": Mutant(
        "inference/least_squares.py", "deviance = n * float(np.log(", "deviance = float(np.log(", CRITERIA
    ),
    "clipped readings": Mutant(
        "inference/doubts.py",
        "if counts[-1] > usual",
        "if counts[-1] < usual",
        ("inference/test_doubts.py::test_clipped_readings_are_counted",),
    ),
    "one end's clipped readings": Mutant(
        "inference/doubts.py",
        "_at_the_end(y) + _at_the_end(-y)",
        "_at_the_end(y)",
        ("inference/test_doubts.py::test_clipped_readings_are_counted",),
    ),
    "the residuals' peak": Mutant(
        "inference/doubts.py",
        "fft.rfftfreq(4 * len(r), step), np.abs",
        "fft.rfftfreq(2 * len(r), step), np.abs",
        ("inference/test_doubts.py::test_the_residuals_peak_has_their_frequency",),
    ),
    "Newey and West's weights": Mutant(
        "inference/evidence.py", "stretches.T @ stretches / (lags + 1)", "stretches.T @ stretches / lags", ERRORS
    ),
    "Newey and West's stretches": Mutant("inference/evidence.py", "first + lags + 1,", "first + lags,", ERRORS),
    "Ljung and Box's n": Mutant(
        "inference/evidence.py", "n[..., 0] * (n[..., 0] + 2)", "n[..., 0] * n[..., 0]", ERRORS
    ),
    "Bonferroni's channels": Mutant("inference/evidence.py", "len(sums) * min(", "min(", ERRORS),
    "the halves' information": Mutant("inference/evidence.py", "(-bread @ score)", "(bread @ score)", ERRORS),
    "the states eliminated": Mutant(
        "inference/normal.py",
        "solve(a - across[:, :-1]",
        "solve(a + across[:, :-1]",
        ("inference/test_normal.py",),
    ),
    "the filter's log S": Mutant("inference/kalman.py", "known, log_s + e * e", "known, e * e", ORACLE),
    "the filter's update": Mutant("inference/kalman.py", "covariance - across.T @ across", "covariance", ORACLE),
    "sigma's unit": Mutant(
        "inference/linear.py", "units.time**1.5 / units.length", "units.time / units.length", ORACLE
    ),
    "the score": Mutant("inference/kalman.py", "(1 - z * z) * dlog / 2", "(1 - z * z) * dlog", SCORE),
    "a damping ratio": Mutant("inference/derived.py", "decay(s) / (2 * jnp", "decay(s) / (jnp", DERIVED),
    "a frequency": Mutant(
        "inference/derived.py", "jnp.sqrt(curvature(s)) / (2 * math.pi)", "curvature(s) / (2 * math.pi)", DERIVED
    ),
    "the start's momentum": Mutant("inference/conclude.py", "* (length / time)", "* length", (LENGTHS,)),
    "the rows of a finer grid": Mutant(
        "inference/between.py",
        "row[:, :, ::FINER] = records.row",
        "row[:, :, ::FINER][:, :, :-1] = records.row[:, :, 1:]",
        (DRIVEN_FIT,),
    ),
    "the ramp of an input": Mutant(
        "inference/linear.py", "jnp.sum(ramp * slope", "0.5 * jnp.sum(ramp * slope", (DRIVEN_FIT,)
    ),
    "an input's ends": Mutant(
        "inference/between.py", "[rest, -rest[:, -2:0:-1]]", "[rest, rest[:, -2:0:-1]]", (SMOOTH,)
    ),
    "a zone's own clock": Mutant(
        "inference/times.py",
        "value.astimezone(UTC)",
        "value",
        ("inference/test_times.py::test_pythons_dates_go_by_one_clock",),
    ),
}
