"""The command line: `jaxinertia paper`."""

from pathlib import Path
from typing import Annotated

import jax
import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Learning trajectories as mechanical systems.")


@app.callback()
def main() -> None:
    """Learning trajectories as mechanical systems, with every change of energy booked."""


@app.command()
def paper(
    out: Annotated[Path, typer.Option(help="Folder for figures and the table of claims.")] = Path("paper"),
    quick: Annotated[bool, typer.Option(help="Fewer runs and images: a look in under a minute.")] = False,
) -> None:
    """Reproduce arXiv 2505.19171: seven figures, and a verdict on every claim from measured numbers."""
    from .paper.run import run  # noqa: PLC0415  matplotlib loads only when a figure is wanted

    try:
        with jax.enable_x64(True):
            claims, written, left_out = run(out, quick)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    width = max(len(claim.where) for claim in claims)
    for claim in claims:
        typer.echo(f"{claim.where:<{width}}  {claim.verdict}")
    for reason in left_out:
        typer.echo(f"left out: {reason}", err=True)
    typer.echo(f"{len(written)} files in {out}/; the numbers are in {out / 'claims.md'}")
    if any(claim.verdict == "fails" for claim in claims):
        raise typer.Exit(1)
