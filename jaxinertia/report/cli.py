"""The command line: `jaxinertia paper`, `sweep`, `fit`, `modes`, `doctor`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import jax
import typer

from .. import __version__
from .._cache import cache
from .._machine import cores

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Learning trajectories as mechanical systems.")


def _say_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"jaxinertia {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def main(
    asked: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and stop.")
    ] = False,
) -> None:
    """Learning trajectories as mechanical systems, with every change of energy booked."""
    with suppress(ValueError):  # a home that cannot be written only costs the time to compile
        cache()


@app.command()
def doctor() -> None:
    """Say versions, devices, precision and the cache's folder: what a report of a bug needs."""
    from .doctor import report  # noqa: PLC0415  the other commands need none of it

    for line in report():
        typer.echo(line)


@app.command()
def paper(
    out: Annotated[Path, typer.Option(help="Folder for figures and the table of claims.")] = Path("paper"),
    quick: Annotated[bool, typer.Option(help="Fewer runs and images: a look in under a minute.")] = False,
) -> None:
    """Reproduce arXiv 2505.19171: eight figures, and a verdict on every claim from measured numbers."""
    from .paper.run import run  # noqa: PLC0415  matplotlib loads only when a figure is wanted

    with _errors_in_one_line(), jax.enable_x64(True):
        claims, written, left_out = run(out, quick)
    width = max(len(claim.where) for claim in claims)
    for claim in claims:
        typer.echo(f"{claim.where:<{width}}  {claim.verdict}")
    for reason in left_out:
        typer.echo(f"left out: {reason}", err=True)
    typer.echo(f"{len(written)} files in {out}/; the numbers are in {out / 'claims.md'}")
    if any(claim.verdict == "fails" for claim in claims):
        raise typer.Exit(1)


@app.command()
def sweep(
    config: Annotated[Path, typer.Argument(help="A TOML file: potential, system, run, axes, keep, store.")],
    figure: Annotated[Path | None, typer.Option(help="Draw the result there: a curve or a heat map.")] = None,
    save: Annotated[Path | None, typer.Option(help="Save the result there, as .npz.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="CPU devices; as many as cores, if not given.")] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="3/16: compute only the part 3 of 16, counted from 0, into the store. In a job array Slurm tells it, "
            "and PBS with /16. 0/1: the whole, also what other parts left."
        ),
    ] = None,
) -> None:
    """Map a system over the product of axes, on all cores; with a store, go on where a killed run was.

    Examples:

    \b
    jaxinertia sweep duffing.toml --figure basins.png
    jaxinertia sweep duffing.toml --shard 3/16
    """
    from .entries import check_writable  # noqa: PLC0415
    from .job_array import shard as read_shard  # noqa: PLC0415
    from .sweep_file import read  # noqa: PLC0415  the other commands need none of it

    _one_device_per_core(devices)
    with _errors_in_one_line():
        plan = read(config)
        # Without a store there are no parts: each job of an array may well have a file of its own.
        told = None if plan.store is None and shard is None else read_shard(shard, os.environ)
        part = None if told is None or told[0][1] == 1 else told[0]
        for name, path in (("save", save), ("figure", figure)):
            if path is not None and part is not None:
                raise ValueError(
                    f"--{name} needs the whole sweep, and this is a part of it: run it after with --shard 0/1"
                )
            if path is not None:
                check_writable(name, path)  # before the sweep, which would be lost
        runs = plan.run(progress=True, shard=part)
        if told is not None and part is not None:
            typer.echo(f"part {part[0]} of {part[1]}, by {told[1]}: {runs.computed:,} points in {runs.seconds:.3g} s")
            typer.echo("when all parts are there, the same command with --shard 0/1 shows the whole")
            return
        typer.echo(runs.summary())
        if save is not None:
            typer.echo(f"saved in {runs.save(save)}")
        if figure is not None:
            from .maps import overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            typer.echo(f"drawn in {overview(runs, figure)}")


@app.command()
def fit(
    data: Annotated[
        list[Path],
        typer.Argument(
            help="Tables: text, .lvm, .npz, Excel or Parquet; - for standard input. Each is fitted by itself."
        ),
    ],
    time: Annotated[str | None, typer.Option(help="Column of times, by name or number from 0.")] = None,
    position: Annotated[str | None, typer.Option(help="Column of positions, by name or number from 0.")] = None,
    momentum: Annotated[str | None, typer.Option(help="Column of velocities that were read beside positions.")] = None,
    drive: Annotated[str | None, typer.Option("--input", help="Column of the external force, up to a gain.")] = None,
    segment: Annotated[str | None, typer.Option(help="Column that tells runs apart.")] = None,
    error: Annotated[
        str | None, typer.Option(help="Standard deviation of a reading, or its column; estimated if not given.")
    ] = None,
    read: Annotated[
        str, typer.Option(help="What --position is a column of: position, velocity or acceleration.")
    ] = "position",
    together: Annotated[
        bool, typer.Option("--together", help="All files are of one motion's law: fit its numbers to all at once.")
    ] = False,
    each: Annotated[
        str | None, typer.Option(help="With --together or --segment: what each has of its own, as stiffness.")
    ] = None,
    start: Annotated[float | None, typer.Option("--from", help="The first time that counts.")] = None,
    stop: Annotated[float | None, typer.Option("--to", help="The last time that counts.")] = None,
    rate: Annotated[float | None, typer.Option(help="Readings per unit of time, for a file without times.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="Unit of the file's times, as ms: they become s.")] = None,
    angle: Annotated[str, typer.Option(help="deg if positions are in degrees: they become radians.")] = "rad",
    missing: Annotated[list[str] | None, typer.Option(help="A word for no reading, as OVER; may be repeated.")] = None,
    potential: Annotated[str, typer.Option(help="quadratic, duffing, asymmetric or pendulum.")] = "quadratic",
    drag: Annotated[
        str, typer.Option(help="linear, quadratic or dry, or some as dry,quadratic: added to linear drag.")
    ] = "linear",
    noise: Annotated[bool, typer.Option("--noise", help="The motion is driven by white noise.")] = False,
    method: Annotated[
        str | None, typer.Option(help="least squares, kalman, unscented kalman, extended kalman or whittle.")
    ] = None,
    band: Annotated[str | None, typer.Option(help="With --noise only these frequencies count, as 10,40.")] = None,
    loss: Annotated[str, typer.Option(help="squares; for records with spikes student or soft_l1.")] = "squares",
    compare: Annotated[
        bool, typer.Option(help="Fit other laws too, where the residuals say that this one does not do.")
    ] = True,
    offset: Annotated[bool, typer.Option(help="Fit the reading at rest; else it is 0.")] = True,
    trend: Annotated[bool, typer.Option("--trend", help="Fit a drift of the reading at rest.")] = False,
    input_delay: Annotated[
        str, typer.Option(help="How much later than its samples the input acts: a time, or fit.")
    ] = "0",
    time_error: Annotated[float, typer.Option(help="Standard deviation of the error of a time.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Where to write: OUT.fit.json and OUT.fit.png.")] = None,
    figure: Annotated[bool, typer.Option(help="Draw data, fit, residuals and energy.")] = True,
) -> None:
    """Fit damping and stiffness of x'' + gamma x' + k x = F to a recorded motion, with errors.

    \b
    gamma is in one over the time of the file, and k in one over its square;
    the natural frequency is in cycles per time, the decay time the amplitude's.

    Examples:

    \b
    jaxinertia fit ringdown.csv
    jaxinertia fit ringdown.csv --time t_s --position y_V --error 0.0003
    jaxinertia fit swing.csv --angle deg --potential pendulum --drag quadratic
    jaxinertia fit trace.txt --position 1 --rate 1000 --from 0.5 --to 12 --out first
    jaxinertia fit spikes.csv --loss student
    jaxinertia fit phone.csv --read acceleration --trend
    jaxinertia fit monday.csv tuesday.csv --together --each stiffness
    jaxinertia fit driven.csv --input force
    jaxinertia fit thermal.npz --noise
    """
    from ..inference.candidates import Law  # noqa: PLC0415  the other commands need none of it
    from .entries import number_or_name  # noqa: PLC0415
    from .fit_file import Choices, check_files, run  # noqa: PLC0415

    columns: dict[str, Any] = dict(time=time, position=position, momentum=momentum, input=drive, segment=segment)
    columns |= dict(position_error=number_or_name(error))
    columns |= dict(rate=rate, time_unit=time_unit, angle=angle, missing=missing)
    columns |= dict(trend=trend, input_delay=None if input_delay == "fit" else input_delay, time_error=time_error)
    choices = Choices(Law(potential, drag), noise, loss, method, band, offset, compare, read, each)
    asked: dict[str, Any] = dict(window=(start, stop), out=out, figure=figure, tell=typer.echo)
    asked |= dict(progress=sys.stderr.isatty())
    with _errors_in_one_line():
        check_files(data, together, out)
    codes = []
    for paths in [data] if together else [[path] for path in data]:
        try:
            with _errors_in_one_line(str(paths[0]) if len(data) > len(paths) else ""):
                result, _, written = run(paths, columns, choices, **asked)
            typer.echo("written: " + ", ".join(str(path) for path in written) + "\n" * (len(data) > len(paths)))
            codes.append(0 if result.diagnostics.converged else 1)
        except typer.Exit as stopped:  # the others are fitted all the same
            codes.append(stopped.exit_code)
    if any(codes):
        raise typer.Exit(max(codes))


@app.command()
def modes(
    data: Annotated[Path, typer.Argument(help="A table: text, .lvm, .npz, Excel or Parquet; - for standard input.")],
    time: Annotated[str | None, typer.Option(help="Column of times, by name or number from 0.")] = None,
    position: Annotated[
        str | None, typer.Option(help="Columns of the channels, by name or number from 0, with commas, as a,b,c.")
    ] = None,
    segment: Annotated[str | None, typer.Option(help="Column that tells runs apart.")] = None,
    error: Annotated[
        float | None, typer.Option(help="Standard deviation of a reading; estimated if not given.")
    ] = None,
    start: Annotated[float | None, typer.Option("--from", help="The first time that counts.")] = None,
    stop: Annotated[float | None, typer.Option("--to", help="The last time that counts.")] = None,
    rate: Annotated[float | None, typer.Option(help="Readings per unit of time, for a file without times.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="Unit of the file's times, as ms: they become s.")] = None,
    angle: Annotated[str, typer.Option(help="deg if positions are in degrees: they become radians.")] = "rad",
    missing: Annotated[list[str] | None, typer.Option(help="A word for no reading, as OVER; may be repeated.")] = None,
    count: Annotated[int | None, typer.Option(help="How many modes; by the evidence if not given.")] = None,
    band: Annotated[str | None, typer.Option(help="Only modes of these frequencies, as 10,40.")] = None,
    driven: Annotated[str | None, typer.Option(help="free or noise; by the record if not given.")] = None,
    kind: Annotated[
        str, typer.Option(help="displacement, velocity or acceleration, or one for each channel, with commas.")
    ] = "displacement",
    trend: Annotated[bool, typer.Option("--trend", help="Fit a drift of each channel's zero.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write: OUT.modes.json and OUT.modes.png.")] = None,
    figure: Annotated[bool, typer.Option(help="Draw record, spectrum, dampings and shapes.")] = True,
) -> None:
    """Find the modes of a recorded motion: frequency and damping of each, with errors.

    Frequencies are in cycles per time of the file, gammas in one over it: an energy falls as e^{-gamma t}.

    Examples:

    \b
    jaxinertia modes bell.csv
    jaxinertia modes bell.csv --time t --position a,b,c --band 10,40
    jaxinertia modes floor.csv --driven noise --kind acceleration
    """
    from .modes_file import run  # noqa: PLC0415  the other commands need none of it

    columns: dict[str, Any] = dict(time=time, position=position, segment=segment, position_error=error)
    columns |= dict(rate=rate, time_unit=time_unit, angle=angle, missing=missing, trend=trend)
    asked = dict(count=count, band=band, driven=driven, kind=kind)
    with _errors_in_one_line():
        found, written = run(data, columns, asked, window=(start, stop), out=out, figure=figure, tell=typer.echo)
    typer.echo(found.summary())
    typer.echo("written: " + ", ".join(str(path) for path in written))
    if not found.count:
        raise typer.Exit(1)


def _one_device_per_core(devices: int | None) -> None:
    """JAX sees one CPU device by default; a device for each core lets a sweep use them all."""
    with suppress(RuntimeError):  # JAX has started: it keeps the devices that it has
        jax.config.update("jax_num_cpu_devices", devices or cores())


@contextmanager
def _errors_in_one_line(of: str = "") -> Iterator[None]:
    """`of`: what they are of, where they may not say it."""
    try:
        yield
    except ValueError as error:
        text = " ".join(str(error).split())
        typer.echo(f"error: {text if of in text else f'{of}: {text}'}", err=True)
        raise typer.Exit(2) from error
