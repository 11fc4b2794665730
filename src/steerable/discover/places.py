"""Where in the picture: masks of a region that was asked for, and the points at which methods take derivatives."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import MethodFailed, UnknownName
from ..generator import Generator
from ..method import Progress
from ..render import resized
from ..renderer import Renderer
from ..request import Box, Mask, Named
from ..score import SEGMENTERS, Segmenter, segment
from ..space import Latents


def points(generator: Generator, space: str, n: int, *, seed: int, psi: float) -> Latents:
    """n samples in a space; truncated by psi where the generator has a w and the space does not come before it."""
    latents = generator.sample(n, seed=seed)
    late = any(s.name == "w" for s in generator.spaces) and not generator.before(space, "w")
    if psi != 1 and late:
        latents = generator.truncate(latents, psi)
    return generator.lift(latents, space)


def segmenter(names: tuple[str, ...]) -> Segmenter:
    """The segmenter that knows these regions. Raises UnknownName."""
    for name in SEGMENTERS:
        found = segment(name)
        if set(names) <= set(found.names):
            return found
    known = [region for name in SEGMENTERS for region in segment(name).names]
    raise UnknownName("region", next((n for n in names if n not in known), "+".join(names)), known)


def regions(
    generator: Generator, latents: Latents, finder: Segmenter, size: tuple[int, int], progress: Progress
) -> Float[Tensor, "n a h w"]:
    """The masks of all regions of a segmenter, at a size; NaN where a picture shows none. Full pictures are rendered for it."""
    renderer, found = Renderer(generator, memory_mb=0), []
    for i in progress.over(range(len(latents)), "Finding regions", len(latents)):
        masks = finder(renderer(latents[i])).float()
        found.append(resized(masks.transpose(0, 1), size).transpose(0, 1))
    return torch.cat(found)


def masks(
    generator: Generator, latents: Latents, place: Box | Mask | Named, size: tuple[int, int], progress: Progress
) -> Float[Tensor, "n 1 h w"]:
    """The region in each picture, from 0 to 1; NaN where it is not seen. Raises MethodFailed if no picture shows it."""
    if not isinstance(place, Named):
        return place.mask(*size).expand(len(latents), 1, *size)
    finder = segmenter(place.names)
    columns = [finder.names.index(name) for name in place.names]
    found = regions(generator, latents, finder, size, progress)[:, columns].amax(1, keepdim=True)
    seen = (found.flatten(1).sum(1) > 0).sum()
    if not seen:
        raise MethodFailed(
            f"{finder.name} sees no {'+'.join(place.names)} in any of {len(latents)} pictures; give a box, or lower psi"
        )
    if seen < len(latents):
        progress.note(f"{len(latents) - int(seen)} of {len(latents)} pictures show no {'+'.join(place.names)}")
    return found
