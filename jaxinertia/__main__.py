"""`python -m jaxinertia` is `jaxinertia`."""

from .report.cli import app

if __name__ == "__main__":
    app()
