"""Modes of a free decay."""

from ..found import Found
from ..record import Record


def search(record: Record, count: int | None, band: tuple[float, float] | None) -> Found:
    """The modes."""
    raise ValueError("driven = 'free' is not supported yet")


def loses_power(record: Record) -> bool:
    """Whether the record decays."""
    raise ValueError("driven = None is not supported yet: pass 'free' or 'noise'")


def is_explained(record: Record, band: tuple[float, float] | None) -> bool:
    """Whether a few free modes leave no more than noise."""
    raise ValueError("driven = None is not supported yet: pass 'free' or 'noise'")
