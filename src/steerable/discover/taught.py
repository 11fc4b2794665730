"""What methods share whose moves are taught by whoever reads scores from the changed pictures."""

from dataclasses import dataclass

from ..generator import Generator
from ..method import Progress, param
from .discoverer import Discoverer, Supervision
from .labeled import LEARN, REGRESSOR, Knowledge, Known, knowledge, known


@dataclass(frozen=True, kw_only=True)
class Taught(Discoverer):
    n: int = param(2000, "labeled pictures, for the spread of scores and for the net that may read them", ge=20)
    psi: float = param(1.0, "truncation of all pictures")
    seed: int = param(0, "of the first labeled picture, and of training", ge=0)
    size: int | None = param(None, "label previews of this height (px) if the scorer vouches for them", ge=1)
    learn: str = param("all", LEARN)
    regressor: str = param("auto", REGRESSOR, choices=("auto", "scorer", "net"))
    reading: int = param(2000, "steps in which that net is fitted", ge=1)

    def taught(
        self, generator: Generator, supervision: Supervision | None, space: str, progress: Progress
    ) -> tuple[Known, Knowledge]:
        """The labeled pictures with their codes in `space`, and who reads the standardized scores of others, so that gradients pass."""
        data = known(self, generator, supervision, space, progress)
        return data, knowledge(self, generator, supervision, data, self.regressor, self.reading, progress)
