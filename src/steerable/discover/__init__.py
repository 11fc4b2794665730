"""Finding paths: a generator in, `Paths` out. One file for each method; the table is what every face lists."""

from typing import Any

from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, quiet, table
from ..path import Paths
from . import presets
from .arithmetic import Arithmetic
from .boundary import Boundary
from .controls import Duplicated, Permuted
from .dfi import DFI
from .discoverer import Discoverer, Supervision, acts, counted
from .ganalyze import GANalyze
from .ganspace import GANSpace, Reach
from .geometry import Geometry
from .guidedstyle import GuidedStyle
from .higan import HiGAN
from .interfacegan import InterFaceGAN
from .latent2im import Latent2im
from .latentclr import LatentCLR
from .lowrankgan import LowRankGAN
from .nonlinear import NonLinear
from .penalties import HessianPenalty, OroJaR
from .plumerault import Plumerault
from .random import Random
from .resefa import ReSeFa
from .sefa import SeFa
from .spectral import Spectral
from .spingarn import Spingarn
from .steerability import Steerability
from .styleclip import StyleCLIP
from .styleflow import StyleFlow
from .stylespace import StyleSpace
from .subspace import Search, SubspaceSearch
from .voynov import Voynov
from .warpedganspace import WarpedGANSpace

DISCOVERERS: dict[str, type[Discoverer]] = table(
    SeFa,
    GANSpace,
    Boundary,
    InterFaceGAN,
    HiGAN,
    StyleSpace,
    LowRankGAN,
    ReSeFa,
    Geometry,
    Spingarn,
    Steerability,
    Plumerault,
    GANalyze,
    Voynov,
    WarpedGANSpace,
    LatentCLR,
    HessianPenalty,
    OroJaR,
    Spectral,
    Random,
    Arithmetic,
    DFI,
    NonLinear,
    StyleFlow,
    Latent2im,
    GuidedStyle,
    SubspaceSearch,
    StyleCLIP,
    Permuted,
    Duplicated,
)


def discover(
    name: str,
    generator: Generator,
    *,
    supervision: Supervision | None = None,
    preset: bool = False,
    progress: Progress = quiet,
    **settings: Any,
) -> Paths:
    """Run a method by its name, with its own settings: `discover("sefa", g, layers="0-3", k=8)`.

    With `preset`, settings that are not given are those that suit the generator (presets.toml), where there are such.

    Raises UnknownName for a method or a setting that does not exist, SpaceError where the generator lacks a space that it needs.
    """
    if name not in DISCOVERERS:
        raise UnknownName("discovery method", name, DISCOVERERS)
    method = DISCOVERERS[name]
    for space in method.needs:
        generator.space(space)
    suited = presets.preset(name, generator) if preset else {}
    found = method.with_settings({**suited, **settings})
    if not isinstance(found, Discoverer):
        raise SettingError(f"{name!r} does not find paths")
    return found.discover(generator, supervision=supervision, progress=progress)


__all__ = [
    "DFI",
    "DISCOVERERS",
    "Arithmetic",
    "Boundary",
    "Discoverer",
    "Duplicated",
    "GANSpace",
    "GANalyze",
    "Geometry",
    "GuidedStyle",
    "HessianPenalty",
    "HiGAN",
    "InterFaceGAN",
    "Latent2im",
    "LatentCLR",
    "LowRankGAN",
    "NonLinear",
    "OroJaR",
    "Permuted",
    "Plumerault",
    "Random",
    "ReSeFa",
    "Reach",
    "SeFa",
    "Search",
    "Spectral",
    "Spingarn",
    "Steerability",
    "StyleCLIP",
    "StyleFlow",
    "StyleSpace",
    "SubspaceSearch",
    "Supervision",
    "Voynov",
    "WarpedGANSpace",
    "acts",
    "counted",
    "discover",
]
