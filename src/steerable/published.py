"""Reading files: our own, and the direction files that other projects published, as they are.

Files of others rarely say what they hold. What can be told from the content is told (a W vector tiled to W+ is reduced, a principal
component bundle is recognized by its keys); what cannot (Z or W, and for which generator) is asked for, never guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import artifact, foreign
from .errors import ArtifactError, SettingError, SpaceError
from .generator import Generator
from .path import Direction, Paths


@dataclass(frozen=True)
class Found:
    """Rows of a file: one vector each, its length being the published unit, times `scale` where the file keeps that apart."""

    vectors: Tensor
    space: str | None = None  # None: the file does not say
    layers: str | None = None
    scale: Tensor | None = None
    names: tuple[str, ...] = ()
    about: str = ""


def read(
    file: str | Path, *, generator: Generator | None = None, space: str | None = None, allow_mismatch: bool = False
) -> Any:
    """A record of ours (paths, an inversion, latents …), or the Paths of a published direction file.

    Files of others need `generator`, and `space` where the file does not say; nothing in them is executed. Their unit is kept:
    path.at(5, unit="published") counts as their authors did. Raises ArtifactError for what cannot be read, SettingError for what must be
    said, SpaceError for directions that do not fit the generator, MismatchError for a file of ours made with other weights.
    """
    file = Path(file)
    if not file.is_file():
        raise ArtifactError(f"there is no file {file}")
    if ours(file):
        return artifact.load(file, generator=generator, allow_mismatch=allow_mismatch)
    found = recognized(foreign.read(file).value, file)
    if generator is None:
        raise SettingError(f"{file.name} does not say which generator its directions belong to; pass generator=")
    return placed(found, file, generator, space)


def ours(file: Path) -> bool:
    """Is it a safetensors file (whatever it is called)? Such files are read by their own header."""
    with file.open("rb") as f:
        head = f.read(9)
    return len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000


def recognized(value: Any, file: Path) -> Found:
    """What a file holds, by its keys and shapes. Raises ArtifactError if that is no direction we know."""
    match value:
        case Mapping() if {
            "lat_comp",
            "lat_stdev",
        } <= value.keys() and "component_index" in value:  # GANSpace, a named edit
            layers = (
                f"{value['edit_start']}-{value['edit_end'] - 1}"
                if value.get("edit_end", 0) > value.get("edit_start", 0)
                else None
            )
            names = (str(value.get("name") or file.stem),)
            where = {"W": "w", "Z": "z"}.get(str(value.get("latent_space")))
            return Found(
                tensor(value["lat_comp"]),
                where,
                layers,
                tensor(value["lat_stdev"]).reshape(-1),
                names,
                "a named edit of GANSpace",
            )
        case Mapping() if {"lat_comp", "lat_stdev"} <= value.keys():  # GANSpace, components
            stdev = tensor(value["lat_stdev"]).reshape(-1)
            return Found(
                tensor(value["lat_comp"]),
                "z" if bool((stdev == 1).all()) else "w",
                scale=stdev,
                about="components of GANSpace",
            )
        case Mapping() if {"mean", "std", "comp"} <= value.keys():  # bundles of e4e, PTI, HyperStyle …
            return Found(
                tensor(value["comp"]), "w", scale=tensor(value["std"]).reshape(-1), about="principal components of w"
            )
        case Mapping() if "eigvec" in value or "eigen_vector" in value:  # rosinality, mmgeneration: columns
            return Found(
                tensor(value["eigvec"] if "eigvec" in value else value["eigen_vector"]).T,
                "w",
                about="closed-form factors, the columns",
            )
        case Mapping() if "boundary" in value:  # HiGAN
            layers = (value.get("meta_data") or {}).get("manipulate_layers")
            return Found(tensor(value["boundary"]), "w", str(layers) if layers else None, about="a boundary of HiGAN")
        case Tensor() | np.ndarray():
            return Found(tensor(value))
        case Mapping() if len(value) == 1 and isinstance(next(iter(value.values())), Tensor | np.ndarray):
            return Found(tensor(next(iter(value.values()))), names=(str(next(iter(value))),))
    held = (
        f"keys {', '.join(map(repr, list(value)[:5]))}" if isinstance(value, Mapping) else f"a {type(value).__name__}"
    )
    raise ArtifactError(
        f"{file.name} holds no direction in a layout that is known ({held}); docs/guides/files.md lists the layouts"
    )


def tensor(value: Any) -> Tensor:
    found = torch.as_tensor(np.asarray(value) if not isinstance(value, Tensor) else value)
    if not found.is_floating_point() or not torch.isfinite(found).all():
        raise ArtifactError("the file's numbers are not finite floating-point numbers, so they are no direction")
    return found.float()


def placed(found: Found, file: Path, generator: Generator, space: str | None) -> Paths:
    """The rows as paths of a generator."""
    known = {s.name: tuple(s.shape) for s in generator.spaces}
    if space is not None:
        generator.space(space)
    if space and found.space and space != found.space and not (space == "w+" and found.space == "w"):
        raise SettingError(f"{file.name} holds directions of {found.space!r}, so space={space!r} cannot be meant")
    rows, space, tiled = fit(found.vectors, space or found.space, known, file, generator)
    names = found.names or (file.stem,)
    if len(names) < len(rows):
        names = tuple(f"{names[0]}-{i}" for i in range(len(rows)))
    scale = torch.ones(len(rows)) if found.scale is None else found.scale[: len(rows)]
    about = "; ".join(part for part in (found.about, "one w vector, tiled in the file" if tiled else "") if part)
    paths = []
    for name, row, factor in zip(names, rows, scale, strict=False):
        path = Direction.along(name, row, generator.space(space), generator, layers=found.layers, about=about)
        unit = path.unit or 1.0
        paths.append(
            Direction.along(
                name,
                row,
                path.space,
                generator,
                layers=found.layers,
                about=about,
                published=float(row.norm() * factor) / unit,
            )
        )
    return Paths(tuple(paths), {"file": file.name})


def fit(
    vectors: Tensor, space: str | None, known: Mapping[str, tuple[int, ...]], file: Path, generator: Generator
) -> tuple[Tensor, str, bool]:
    """Rows [k *shape], their space, and whether they were tiled. Raises SettingError or SpaceError for what does not fit."""
    shape, d = tuple(vectors.shape), vectors.shape[-1] if vectors.ndim else 0
    tiled = vectors.ndim >= 2 and vectors.shape[-2] > 1 and bool((vectors == vectors[..., :1, :]).all())
    if tiled and space in (None, "w", "w+") and known.get("w") == (d,):  # one W vector in all rows of W+
        return vectors[..., 0, :].reshape(-1, d), "w", True
    options = [name for name, want in known.items() if vectors.numel() and _rows(vectors, want) is not None]
    if vectors.ndim > 2 and shape[-2:] == known.get("w+"):
        options = ["w+"]
    if space is None:
        if not options:
            raise SpaceError(
                f"{file.name} holds {shape}, which fits no space of {generator.name}: {', '.join(f'{k} {v}' for k, v in known.items())}"
            )
        if len(options) > 1:
            hint = (
                "; its name suggests 'w'"
                if "_w" in file.stem
                else "; its name suggests 'z'"
                if "_z" in file.stem
                else ""
            )
            raise SettingError(
                f"{file.name} does not say in which space its directions lie: pass space= {' or '.join(map(repr, options))}{hint}"
            )
        space = options[0]
    rows = _rows(vectors, known[space]) if space in known else None
    if rows is None:
        want = known.get(space)
        raise SpaceError(f"{file.name} holds {shape}, but {space!r} codes of {generator.name} have the shape {want}")
    return rows, space, False


def _rows(vectors: Tensor, want: tuple[int, ...]) -> Tensor | None:
    """The vectors as rows of codes of shape `want`, if they can be that."""
    if tuple(vectors.shape[-len(want) :]) == want:
        return vectors.reshape(-1, *want)
    flat = int(np.prod(want))
    return vectors.reshape(-1, *want) if len(want) > 1 and vectors.ndim <= 2 and vectors.shape[-1] == flat else None


__all__ = ["read"]
