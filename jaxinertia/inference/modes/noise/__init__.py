"""Modes of a motion that noise drives."""

from ..found import Found
from ..record import Record


def search(record: Record, count: int | None, band: tuple[float, float] | None) -> Found:
    """The modes."""
    raise ValueError("driven = 'noise' is not supported yet: pass a free decay")
