"""What every inverter is, and what pictures it takes."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import Inversion
from ..errors import SettingError
from ..generator import Generator
from ..method import Method, Progress, quiet
from ..space import Latents
from .observe import Operator, observation

Observed = str | Operator | Callable[[Tensor], Tensor] | None


@runtime_checkable
class Watching(Progress, Protocol):
    """Progress that is also handed what a search has found so far."""

    def best(self, base: Latents | Inversion, /) -> None:
        """The best so far, after every step: codes, or codes with edits. It costs nothing unless it is rendered."""


@dataclass(frozen=True, kw_only=True)
class Inverter(Method):
    """A way of finding codes (and edits) whose picture is the one given. `needs` names the spaces without which it cannot work.

    Searches that go on for long hand a `Watching` progress the best so far.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def invert(
        self,
        generator: Generator,
        images: Float[Tensor, "n 3 h w"],
        *,
        observe: Observed = None,
        progress: Progress = quiet,
    ) -> Inversion:
        """What the generator makes of pictures in [-1, 1]; with `observe`, of what was observed of them.

        Ctrl-C ends the search and keeps the best so far; notes["interrupted"] then says where.
        Raises SpaceError, SettingError, MethodFailed.
        """


def target(
    generator: Generator, images: Float[Tensor, "n 3 h w"], observe: Observed
) -> tuple[Float[Tensor, "n 3 h w"], Operator]:
    """The pictures on the generator's device, and the operator they were seen through. Raises SettingError where the two do not fit."""
    operator = observation(observe, (generator.size[0], generator.size[1]))
    images = images.to(generator.device, generator.dtype)
    if not len(images):
        raise SettingError("there is no picture to invert")
    if not bool(torch.isfinite(images).all()):
        raise SettingError("a picture to invert holds values that are no numbers (NaN or infinite)")
    with torch.no_grad():
        want = tuple(operator(images.new_zeros(1, 3, *generator.size)).shape[1:])
    if tuple(images.shape[1:]) != want:
        have, size = "x".join(map(str, images.shape[1:])), "x".join(map(str, want))
        through = "" if operator.spec == "identity" else f", seen through {operator.spec}"
        raise SettingError(
            f"{generator.name} makes pictures of {generator.size[0]}x{generator.size[1]} px{through}: {size} is expected; got {have}"
        )
    return images, operator


def labeled(generator: Generator, n: int, label: int | None) -> dict[str, Tensor]:
    """The inputs of n samples of a class. Raises SettingError where a class is needed and not given, or the other way round."""
    if "label" not in generator.inputs:
        if label is not None:
            raise SettingError(f"{generator.name} has no classes; leave label out")
        return {}
    (classes,) = generator.inputs["label"]
    if label is None or not 0 <= label < classes:
        raise SettingError(f"{generator.name} has {classes} classes: give label=0 to {classes - 1}; got {label}")
    hot = torch.nn.functional.one_hot(torch.full((n,), label), classes)
    return {"label": hot.to(generator.device, generator.dtype)}
