"""What every discovery method is, and a few things that many of them need."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from ..errors import SettingError
from ..generator import Generator
from ..layer import rows
from ..method import Method, Progress, quiet
from ..path import Direction, Paths
from ..score import Scorer, Table
from ..space import Space

Supervision = Scorer | Table


@dataclass(frozen=True, kw_only=True)
class Discoverer(Method):
    """A way of finding paths. `needs` names the spaces without which it cannot work, `tags` what kind of a method it is."""

    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        """The paths found. Raises SpaceError for a space that the generator lacks, SettingError for a setting that does not fit it."""


def acts(generator: Generator, layers: str) -> str | None:
    """Where the paths of a method with this `layers` act: None for all layers. Raises SettingError or UnknownName."""
    if layers == "all":
        return None
    rows(generator.layers, layers)
    return layers


def fits(method: str, k: int, space: Space) -> None:
    """Raises SettingError where k paths are more than the space has directions."""
    if k > (d := prod(space.shape)):
        raise SettingError(f"{method}: k={k}, but {space.name!r} has only {d} directions")


def counting(path: Direction, length: float) -> Direction:
    """The same straight path, with the published number 1 set to a move of this length; as it is where codes do not vary along it."""
    return replace(path, published=length / path.unit) if path.unit else path


def counted(paths: Paths) -> Paths:
    """The same straight paths, with the published number 1 set to a move of length 1, as papers count that normalize directions."""
    return replace(paths, items=tuple(counting(p, 1.0) if isinstance(p, Direction) else p for p in paths))
