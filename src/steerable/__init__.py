"""Find, name, measure and apply directions in the latent spaces of pretrained GANs.

    import steerable as st
    g = st.load("ffhq-1024")
    x = st.render(g, g.sample(4, seed=0), [st.Truncate(0.7)])

Names are imported when they are first used, so that the command line answers at once. docs/reference lists them all.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifact import header, save
    from .discover import (
        DFI,
        Arithmetic,
        Boundary,
        Discoverer,
        Duplicated,
        GANalyze,
        GANSpace,
        Geometry,
        GuidedStyle,
        HessianPenalty,
        HiGAN,
        InterFaceGAN,
        Latent2im,
        LatentCLR,
        LowRankGAN,
        NonLinear,
        OroJaR,
        Permuted,
        Plumerault,
        Random,
        Reach,
        ReSeFa,
        Search,
        SeFa,
        Spectral,
        Spingarn,
        Steerability,
        StyleCLIP,
        StyleFlow,
        StyleSpace,
        SubspaceSearch,
        Voynov,
        WarpedGANSpace,
        discover,
    )
    from .edit import (
        Edit,
        FeatureEdit,
        ImageEdit,
        Inversion,
        LatentEdit,
        Masked,
        Noise,
        OnLayers,
        SetInput,
        Truncate,
        WeightEdit,
    )
    from .errors import (
        ArtifactError,
        MethodFailed,
        MismatchError,
        MissingExtra,
        SettingError,
        SourceError,
        SpaceError,
        SteerableError,
        UnknownName,
    )
    from .generator import Generator
    from .generators import load
    from .generators.wrapped import wrap
    from .images import film, grid, read_images, to_pil, write
    from .invert import Exact, Inverter, Optimize, Pivotal, invert, observation
    from .invert.files import read_codes, write_codes
    from .layer import Layer, State
    from .measure import compare, effects, named, summary
    from .method import Method
    from .path import Direction, Effect, Path, Paths, between, mix
    from .photo import Crop, Portrait, aligned, centered, paste
    from .published import read
    from .record import Record
    from .render import features, render, stream
    from .renderer import Renderer
    from .score import Scorer, Segmenter, score, segment
    from .score.labels import Labels, label
    from .sheet import sheet
    from .space import Latents, Space

_WHERE = {
    "artifact": "header save",
    "discover": (
        "Arithmetic Boundary DFI Discoverer Duplicated GANSpace GANalyze Geometry GuidedStyle "
        "HessianPenalty HiGAN InterFaceGAN Latent2im LatentCLR LowRankGAN NonLinear OroJaR Permuted "
        "Plumerault Random ReSeFa Reach SeFa Search Spectral Spingarn Steerability StyleCLIP StyleFlow "
        "StyleSpace SubspaceSearch Voynov WarpedGANSpace discover"
    ),
    "edit": "Edit FeatureEdit ImageEdit Inversion LatentEdit Masked Noise OnLayers SetInput Truncate WeightEdit",
    "errors": "ArtifactError MethodFailed MismatchError MissingExtra SettingError SourceError SpaceError SteerableError UnknownName",
    "generator": "Generator",
    "generators": "load",
    "generators.wrapped": "wrap",
    "images": "film grid read_images to_pil write",
    "invert": "Exact Inverter Optimize Pivotal invert observation",
    "invert.files": "read_codes write_codes",
    "layer": "Layer State",
    "measure": "compare effects named summary",
    "method": "Method",
    "path": "Direction Effect Path Paths between mix",
    "photo": "Crop Portrait aligned centered paste",
    "published": "read",
    "record": "Record",
    "render": "features render stream",
    "renderer": "Renderer",
    "score": "Scorer Segmenter score segment",
    "score.labels": "Labels label",
    "sheet": "sheet",
    "space": "Latents Space",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


class _Surface(ModuleType):
    """Some verbs are a folder and a function of one name (`discover`, `score`); here the function is meant."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'steerable' has no attribute {name!r}")
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        super().__setattr__(name, value)
        return value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *_HOME]


sys.modules[__name__].__class__ = _Surface
