"""Rendered heads, whose every factor is known exactly.

Paper: none; the assets are MakeHuman's (Bastioni, Re, Misra, Ideas and methods for modeling 3D human figures, Compute 2008).
Matches: vertices as a sum of targets, proxies bound to three vertices each.
Differs: our own rasterizer, skins mixed as textures, glasses of our own, hair that can be of any length.
"""

from .dataset import Heads, factors, heads, read, write
from .picture import render
from .world import FACTORS, NAMES, labels

__all__ = ["FACTORS", "NAMES", "Heads", "factors", "heads", "labels", "read", "render", "write"]
