"""Noise inputs as variables: where they begin, what keeps them from drawing the picture, and their scale.

Paper  Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, appendix D
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from ..generator import Generator

SMALLEST = 8  # px: a map of this side or smaller is not averaged further


def maps(generator: Generator, n: int, layers: str | None, source: torch.Generator) -> dict[str, Tensor]:
    """Standard normal maps for the noise inputs of the layers named (all of them for None). Raises SettingError where there are none."""
    chosen = generator.layers if layers is None else [generator.layers[i] for i in generator.pick(layers)]
    names = [name for layer in chosen for name in layer.reads if name.startswith("noise.")]
    if not names:
        raise SettingError(
            f"{generator.name} has no noise inputs in these layers, so noise cannot be searched; set noise=no (of pivotal: pivot=optimize)"
        )
    drawn = {name: torch.randn(n, *generator.inputs[name], generator=source) for name in names}
    return {name: v.to(generator.device, generator.dtype) for name, v in drawn.items()}


def penalty(noise: dict[str, Float[Tensor, "n 1 h w"]]) -> Float[Tensor, "n"]:
    """Squared correlations of each map with itself one pixel on, both ways, at all sizes of a pyramid of means down to 8 px."""
    total = torch.zeros(())
    for x in noise.values():
        while True:
            for dim in (2, 3):
                total = total + (x * x.roll(1, dim)).flatten(1).mean(1).square()
            if min(x.shape[2:]) <= SMALLEST:
                break
            x = F.avg_pool2d(x, 2)
    return total


def normalize(noise: dict[str, Float[Tensor, "n 1 h w"]]) -> None:
    """Each map to mean 0 and variance 1, in place."""
    with torch.no_grad():
        for x in noise.values():
            x -= x.mean((1, 2, 3), keepdim=True)
            x *= x.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).rsqrt()
