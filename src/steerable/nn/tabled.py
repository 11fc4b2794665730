"""Modules that remember what they derive from their weights."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..lending import tracked
from . import winograd
from .convolution import styled


class Tabled(nn.Module):
    """A module that remembers what it derives from its weights.

    `tables` are never copied, saved or moved with the module; a twin with lent weights begins with empty ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, tuple[object, Tensor, Tensor]] = {}

    def table(self, name: str, weight: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """make(weight), remembered until the weight changes; for one that is not `fixed`, made anew each time."""
        if not fixed(weight):
            return make(weight)
        version = 0 if weight.is_inference() else weight._version
        stamp = (weight.data_ptr(), version, weight.stride(), weight.dtype, weight.device)
        kept = self.tables.get(name)
        if kept is None or kept[0] != stamp:
            with torch.inference_mode(False), torch.no_grad():
                # The second entry keeps the memory in use, so that no other weight can have its address.
                kept = self.tables[name] = (stamp, weight.detach(), make(weight.detach()))
        return kept[2]

    def quick(
        self, x: Float[Tensor, "n i h w"], weight: Float[Tensor, "o i 3 3"], grad: bool, s: Tensor | None = None
    ) -> Float[Tensor, "n o h w"]:
        """conv(s · x), padded with zeros, with a quarter of the multiplications; with `grad` differentiable in every mode."""
        u = self.table("winograd", weight, winograd.transformed)
        if not grad:
            return winograd.convolved(x, s, u)
        back = self.table("winograd back", weight, winograd.turned)
        return winograd.Convolved.apply(x if s is None else styled(x, s), u, back)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self.tables = {}
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "tables": {}}


def fixed(weight: Tensor) -> bool:
    """Does the weight neither ask for a gradient nor carry a tangent?"""
    return not (weight.requires_grad or tracked(weight))
