"""Finding paths: a generator in, `Paths` out. One file for each method; the table is what every face lists."""

from typing import Any

from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, quiet, table
from ..path import Paths
from .boundary import Boundary
from .discoverer import Discoverer, Supervision, acts, counted
from .ganspace import GANSpace, Reach
from .geometry import Geometry
from .higan import HiGAN
from .interfacegan import InterFaceGAN
from .lowrankgan import LowRankGAN
from .random import Random
from .resefa import ReSeFa
from .sefa import SeFa
from .spingarn import Spingarn
from .stylespace import StyleSpace

DISCOVERERS: dict[str, type[Discoverer]] = table(
    SeFa, GANSpace, Boundary, InterFaceGAN, HiGAN, StyleSpace, LowRankGAN, ReSeFa, Geometry, Spingarn, Random
)


def discover(
    name: str,
    generator: Generator,
    *,
    supervision: Supervision | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> Paths:
    """Run a method by its name, with its own settings: `discover("sefa", g, layers="0-3", k=8)`.

    Raises UnknownName for a method or a setting that does not exist, SpaceError where the generator lacks a space that it needs.
    """
    if name not in DISCOVERERS:
        raise UnknownName("discovery method", name, DISCOVERERS)
    method = DISCOVERERS[name]
    for space in method.needs:
        generator.space(space)
    found = method.with_settings(settings)
    if not isinstance(found, Discoverer):
        raise SettingError(f"{name!r} does not find paths")
    return found.discover(generator, supervision=supervision, progress=progress)


__all__ = [
    "DISCOVERERS",
    "Boundary",
    "Discoverer",
    "GANSpace",
    "Geometry",
    "HiGAN",
    "InterFaceGAN",
    "LowRankGAN",
    "Random",
    "ReSeFa",
    "Reach",
    "SeFa",
    "Spingarn",
    "StyleSpace",
    "Supervision",
    "acts",
    "counted",
    "discover",
]
