"""What every discovery method is, and two things that many of them need."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from ..generator import Generator
from ..layer import rows
from ..method import Method, Progress, quiet
from ..path import Direction, Paths
from ..score import Scorer, Table

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


def counted(paths: Paths) -> Paths:
    """The same straight paths, with the published number 1 set to a move of length 1, as papers count that normalize directions."""
    unit = lambda p: p.unit if isinstance(p, Direction) else None
    return replace(paths, items=tuple(replace(p, published=1 / u) if (u := unit(p)) else p for p in paths))
