"""Measuring: what paths do, how much of a person they keep, how far they go, what to call them,
and how methods compare."""

from .compare import compare
from .effects import effects
from .naming import clear, named, summary

__all__ = ["clear", "compare", "effects", "named", "summary"]
