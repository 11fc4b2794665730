"""Measuring: what paths do, how much of a person they keep, how far they go, and what to call them."""

from .effects import effects
from .naming import clear, named, summary

__all__ = ["clear", "effects", "named", "summary"]
