"""What every checkpoint becomes, whoever wrote it, before any net is built: a family, its configuration, and tensors under our names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from ..artifact import fingerprint
from ..generator import Generator


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A generator as a file holds it.

    `layout` says who writes such files; `family` is a module of `generators`, which has `build(name, config, tensors, mark)`; `config` is
    that family's own. `tensors` bear the names of the family's net, and share the memory of `source`, the tensors as they were read.
    `held` lists what else was in the file, `notes` what a person should know (such as a setting that the file does not tell and that was
    taken to be the published one). `critic` makes the discriminator that came along.
    """

    layout: str
    family: str
    config: Any
    tensors: Mapping[str, Tensor]
    source: Mapping[str, Tensor]
    held: Sequence[str] = ()
    notes: Sequence[str] = ()
    critic: Any = None
    mark: str | None = field(default=None, repr=False)  # the fingerprint, if the file says what it was converted from

    @cached_property
    def fingerprint(self) -> str:
        """Of the tensors as they were read, whatever was done with them since."""
        return self.mark or fingerprint(self.source)

    def generator(self, name: str) -> Generator:
        """Build the net. Raises ArtifactError where tensors and configuration do not fit each other."""
        family = import_module(f"..generators.{self.family}", __package__)
        made = family.build(name, self.config, self.tensors, self.mark or partial(fingerprint, self.source))
        critic: Any = self.critic
        made.critic = critic if critic is None or isinstance(critic, nn.Module) else critic()
        return made
