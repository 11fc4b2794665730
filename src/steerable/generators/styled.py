"""What the style-based families share: the chain z → w → w+ → s, and the twin for previews.

Paper    Karras, Laine, Aila, A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019 (arXiv:1812.04948)
Matches  a mapping of z (and a label), one row of w+ for each styled layer, an affine map from the row to the layer's style
Differs  s, the styles of all layers side by side, is a space of its own
"""

import copy
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, SpaceError
from ..generator import Generator
from ..layer import Layer
from ..space import Latents

S = TypeVar("S", bound="Styled")


class Styled(Generator):
    """A generator whose net has `mapping`, `w_avg`, and under each styled layer's name a module with an `affine` map."""

    precision: torch.dtype | None = None  # of features; None for that of the weights

    def _step(self, latents: Latents) -> Latents:
        v, net = latents.values, self.net
        match latents.space.name:
            case "z":
                if "label" in self.inputs and "label" not in latents.inputs:
                    raise SettingError(f"{self.name} needs an input 'label' [n {net.config.c_dim}] to go from z to w")
                return latents.at(net.mapping(v, latents.inputs.get("label")), self.space("w"))
            case "w":
                return latents.at(v[:, None].expand(-1, *self.space("w+").shape).clone(), self.space("w+"))
        affines = [self._part(layer).affine(v[:, layer.row]) for layer in self._styled()]
        return latents.at(torch.cat(affines, 1), self.space("s"))

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if space not in ("w", "w+"):
            raise SpaceError(f"{self.name} has affine maps out of 'w' and 'w+', not out of {space!r}")
        maps = {layer.name: self._part(layer).affine for layer in self._styled()}
        return {name: affine.weight * affine.gain for name, affine in maps.items()}

    def half(self: S) -> S:
        """A twin for previews: the same weights, features in bfloat16.

        Codes keep their type, and so does what must be exact: Fourier features, filters, sums of image heads.
        """
        twin = copy.copy(self)
        twin.precision = torch.bfloat16
        return twin

    def _center(self) -> Float[Tensor, " d"]:
        """What the file says; without that, the mean of this generator's own codes."""
        return super()._center() if self.net.w_avg is None else self.net.w_avg

    def _part(self, layer: Layer) -> Any:
        return self.net.get_submodule(layer.name)

    def _styled(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.style.stop > layer.style.start]
