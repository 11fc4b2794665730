"""The world of rendered heads: what can vary, how far, and what a vector of factors means.

Every factor is a number in [-1, 1], drawn uniformly and independently of the others. Nearly all act continuously and over their whole
range; two fade in over a part of it (glasses, curls), and their label is what the picture shows, not the factor: see `labels`.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...errors import SettingError

FACTORS: dict[str, tuple[str, str]] = {  # what -1 and +1 look like
    "yaw": ("turned to the picture's left", "to its right"),
    "pitch": ("looking down", "looking up"),
    "smile": ("corners of the mouth drawn down", "open smile with teeth"),
    "brow": ("brows lowered", "brows raised"),
    "age": ("twelve", "old"),
    "gender": ("feminine", "masculine"),
    "tone": ("light skin", "dark skin"),
    "hair_light": ("black hair", "bright hair"),
    "hair_warm": ("gray hair", "orange hair"),
    "hair_length": ("cropped", "to the shoulders"),
    "hair_curl": ("straight", "curled"),
    "glasses": ("none", "worn"),
    "light": ("from the picture's left", "from its right"),
    "background": ("orange", "purple, through green and blue"),
    "width": ("narrow face", "wide face"),
    "nose": ("small nose", "big nose"),
    "eyes": ("small eyes", "big eyes"),
    "eye_color": ("brown eyes", "light blue eyes"),
    "brow_color": ("fair brows", "dark brows"),
    "collar": ("red shirt", "blue shirt, through yellow and green"),
}
NAMES = tuple(FACTORS)
RAMPS = {"glasses": (0.20, 0.45), "hair_curl": (-0.25, 0.25)}  # factor below which nothing shows, above which all does

DARK, COOL, WARM = (0.09, 0.07, 0.06), (0.66, 0.65, 0.64), (0.82, 0.40, 0.10)  # hair
BLOND_BROW, DARK_BROW = (0.62, 0.48, 0.34), (0.10, 0.07, 0.05)


@dataclass(frozen=True)
class Head:
    """A head in physical terms: angles in radians, colors as RGB in [0, 1], shares in [0, 1]."""

    yaw: float
    pitch: float
    light: float
    smile: float  # -1 … 1
    brow: float  # -1 … 1
    age: float  # 0 a child, .3 young, 1 old
    gender: float  # 0 feminine, 1 masculine; a little beyond at both ends
    tone: float
    shape: dict[str, float]  # width, nose, eyes: -1 … 1
    hair: tuple[float, ...]
    length: float
    curl: float
    glasses: float
    brows: tuple[float, ...]
    iris: float
    background: tuple[float, ...]
    cloth: tuple[float, ...]


def checked(factors: Float[np.ndarray, "n f"] | Sequence[Sequence[float]]) -> Float[np.ndarray, "n f"]:
    """Factors as an array. Raises SettingError for another shape, or for a value outside [-1, 1]."""
    f = np.asarray(factors, dtype=np.float64)
    if f.ndim != 2 or f.shape[1] != len(NAMES):
        raise SettingError(f"factors are [n, {len(NAMES)}]: {', '.join(NAMES)}; got the shape {f.shape}")
    outside = ~(np.abs(f) <= 1)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise SettingError(f"factors are in [-1, 1]; {NAMES[column]} of row {row} is {f[row, column]:g}")
    return f


def head(factors: Float[np.ndarray, " f"]) -> Head:
    """One row of factors in physical terms."""
    s = dict(zip(NAMES, map(float, factors), strict=True))
    u = {name: (value + 1) / 2 for name, value in s.items()}
    bright = mixed(COOL, WARM, u["hair_warm"])
    return Head(
        yaw=0.32 * s["yaw"],
        pitch=0.03 - 0.11 * s["pitch"],
        light=0.95 * s["light"],
        smile=s["smile"],
        brow=s["brow"],
        age=0.12 + 0.83 * u["age"],
        gender=-0.2 + 1.4 * u["gender"],
        tone=u["tone"],
        shape={name: s[name] for name in ("width", "nose", "eyes")},
        hair=mixed(DARK, bright, u["hair_light"] ** 1.2),
        length=u["hair_length"],
        curl=shown("hair_curl", s["hair_curl"]),
        glasses=shown("glasses", s["glasses"]),
        brows=mixed(BLOND_BROW, DARK_BROW, u["brow_color"]),
        iris=u["eye_color"],
        background=colorsys.hsv_to_rgb(0.02 + 0.70 * u["background"], 0.42, 0.80),
        cloth=colorsys.hsv_to_rgb(0.60 * u["collar"], 0.55, 0.55),
    )


def shown(name: str, factor: float) -> float:
    """How much of a fading factor shows: 0 … 1, smooth at both ends."""
    low, high = RAMPS[name]
    t = min(max((factor - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def labels(factors: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    """What can be seen of the factors: opacity (scaled to [-1, 1]) for those that fade in, themselves for the others."""
    seen = np.array(factors, dtype=np.float32)
    for name in RAMPS:
        column = NAMES.index(name)
        seen[:, column] = [2 * shown(name, float(v)) - 1 for v in seen[:, column]]
    return seen


def mixed(a: Sequence[float], b: Sequence[float], t: float) -> tuple[float, ...]:
    return tuple((1 - t) * x + t * y for x, y in zip(a, b, strict=True))
