"""What the style-based families share: the chain z → w → w+ → s, and how a net begins.

Paper    Karras, Laine, Aila, A Style-Based Generator Architecture for Generative Adversarial Networks, CVPR 2019 (arXiv:1812.04948)
Matches  a mapping of z (and a label), one row of w+ for each styled layer, an affine map from the row to the layer's style
Differs  s, the styles of all layers side by side, is a space of its own
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..artifact import fingerprint
from ..errors import SettingError, SpaceError
from ..generator import Mark
from ..layer import Layer
from ..space import Latents, Space
from .halved import Halved


class Styled(Halved):
    """A generator whose net has `mapping`, `w_avg`, and under each styled layer's name a module with an `affine` map."""

    def __init__(
        self,
        name: str,
        net: nn.Module,
        layers: Sequence[Layer],
        z_dim: int,
        w_dim: int,
        c_dim: int = 0,
        mark: Mark | None = None,
        inputs: Mapping[str, tuple[int, ...]] | None = None,
    ):
        """Rows of w+, columns of s and maps of noise are those that the layers have; `inputs` are what else they read."""
        spaces = (
            Space("z", (z_dim,)),
            Space("w", (w_dim,)),
            Space("w+", (1 + max(layer.row or 0 for layer in layers), w_dim), affine=True),
            Space("s", (max(layer.style.stop for layer in layers),), affine=True),
        )
        label = {"label": (c_dim,)} if c_dim else {}
        noise = {r: (1, *layer.size) for layer in layers for r in layer.reads if r.startswith("noise.")}
        super().__init__(
            name,
            net,
            spaces=spaces,
            layers=layers,
            inputs=label | noise | dict(inputs or {}),
            fingerprint=mark or fingerprint(net.state_dict()),
        )

    def _step(self, latents: Latents) -> Latents:
        v, net = latents.values, self.net
        match latents.space.name:
            case "z":
                if "label" in self.inputs and "label" not in latents.inputs:
                    raise SettingError(
                        f"{self.name} needs an input 'label' [n {self.inputs['label'][0]}] to go from z to w"
                    )
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

    def _center(self) -> Float[Tensor, " d"]:
        """What the file says; without that, the mean of this generator's own codes."""
        return super()._center() if self.net.w_avg is None else self.net.w_avg

    def _part(self, layer: Layer) -> Any:
        return self.net.get_submodule(layer.name)

    def _styled(self) -> list[Layer]:
        return [layer for layer in self.layers if layer.style.stop > layer.style.start]


@torch.no_grad()
def begun(net: Any, classes: int, source: torch.Generator) -> None:
    """For random nets: the mapping's weights, drawn with unit variance, divided by its learning rate; w_avg the mean w of 1,000 codes."""
    for layer in net.mapping.layers:
        layer.weight.div_(layer.lr)
        layer.bias.div_(layer.lr)
    z = torch.randn(1000, net.config.z_dim, generator=source)
    label = torch.eye(classes)[torch.arange(1000) % classes] if classes else None
    net.w_avg.copy_(net.mapping(z, label).mean(0))
