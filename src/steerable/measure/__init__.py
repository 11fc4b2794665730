"""Measuring: what paths do, how much of a person they keep, how far they go, what to call them,
and how methods compare."""

from .effects import effects
from .kinds import compare
from .naming import clear, named, summary

__all__ = ["clear", "compare", "effects", "named", "summary"]
