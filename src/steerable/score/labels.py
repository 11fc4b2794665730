"""Labeled sets: codes, and what a scorer says of their pictures. Rendered once, remembered in blocks, shared by all who ask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .. import cache, workers
from ..artifact import fingerprint
from ..edit import Edit, Truncate
from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..method import Progress, quiet
from ..nn.bfloat16 import native
from ..record import Record
from ..render import codes
from ..renderer import Renderer
from ..space import Latents
from ..threads import each
from .scorer import Scorer
from .table import Table
from .truth import Truth

BLOCK = 32  # pictures whose scores are remembered together: no more are lost by an interruption
UNREAD = 0.5  # share of pictures without a score from which a labeled set is of no use


@dataclass(frozen=True)
class Labels(Record):
    """n pictures as codes of the first space, and their scores; NaN where a score could not be read.

    The pictures are those of `seeds`, truncated by `psi`, read by `scorer` at `size` px (None: full pictures, or a table).
    """

    latents: Latents
    scores: Float[Tensor, "n a"]
    names: tuple[str, ...]
    units: tuple[str, ...]
    seeds: Int[Tensor, " n"]
    psi: float
    scorer: str
    size: int | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def known(self, name: str) -> tuple[Bool[Tensor, " n"], Float[Tensor, " m"]]:
        """Which pictures have this score, and these scores. Raises MethodFailed if half of them or more have none."""
        column = self.scores[:, self.names.index(name)].double()
        rows = column.isfinite()
        if int(rows.sum()) <= UNREAD * len(rows):
            raise MethodFailed(
                f"{int((~rows).sum())} of {len(rows)} pictures have no score {name!r} (no face found?); "
                "lower psi, or use a scorer made for such pictures"
            )
        return rows, column[rows]

    def codes(self, generator: Generator, space: str) -> Float[Tensor, "n d"]:
        """The codes of the pictures in a space, flat; truncated, as they were rendered, where the space comes after truncation."""
        late = self.psi != 1 and not generator.before(space, "w")
        parts = []
        for rows in slices(len(self), 4096):
            part = self.latents[rows]
            to = lambda t: t.to(generator.device, generator.dtype)
            part = replace(part, values=to(part.values), inputs={k: to(v) for k, v in part.inputs.items()})
            part = generator.lift(generator.truncate(part, self.psi) if late else part, space)
            parts.append(part.values.flatten(1).float().cpu())
        return torch.cat(parts)

    def spread(self) -> dict[str, float]:
        """Name → standard deviation, see `spreads`."""
        return spreads(self.scores, self.names)

    def summary(self) -> dict[str, Any]:
        """How the set was made, for the notes of what is learned from it."""
        return {
            "scorer": self.scorer,
            "n": len(self),
            "first seed": int(self.seeds.min()),
            "last seed": int(self.seeds.max()),
            "psi": self.psi,
            "size": self.size,
        }


@dataclass(frozen=True)
class ScoreBlock(Record):
    """The scores of one block, as they are kept in the cache."""

    scores: Float[Tensor, "n a"]


def label(
    generator: Generator,
    scorer: Scorer | Table,
    n: int,
    *,
    seed: int = 0,
    psi: float = 1.0,
    size: int | None = None,
    progress: Progress = quiet,
) -> Labels:
    """Render the pictures of seed … seed + n - 1 and score them.

    Each block of 32 is remembered in the cache, so an interrupted run goes on where it stopped, and a second call costs nothing; with
    several processes each renders its share. `size`: read previews of that height, if the scorer vouches for it (see `reading_size`).
    A table labels its own seeds, the first n of them, without a picture; `psi` then says how its pictures were made.
    Raises SettingError for n < 1 or a psi that the generator cannot take.
    """
    if n < 1:
        raise SettingError(f"a labeled set has at least one picture; got n={n}")
    if isinstance(scorer, Truth):
        scorer = scorer.of(generator, range(seed, seed + n), psi)
    if isinstance(scorer, Table):
        seeds, size = scorer.seeds[:n], None
        if len(seeds) < n:
            progress.note(f"{scorer.path.name} labels {len(seeds)} samples, fewer than n={n}")
        scores = scorer.rows(seeds)
    else:
        size = reading_size(generator, scorer, size, progress)
        seeds = tuple(range(seed, seed + n))
        scores = _scored(generator, scorer, seeds, psi, size, progress)
    latents = generator.sample(seeds=seeds)
    numbers = torch.tensor(seeds, dtype=torch.int64)
    return Labels(
        latents, scores.float(), tuple(scorer.names), tuple(scorer.units), numbers, float(psi), scorer.name, size
    )


def _scored(
    generator: Generator, scorer: Scorer, seeds: Sequence[int], psi: float, size: int | None, progress: Progress
) -> Float[Tensor, "n a"]:
    edits = truncation(psi)
    codes(generator, generator.sample(seeds=seeds[:1]), edits)  # all processes take part in the mean code, or none

    drawn = drawing(generator, size)

    def made(block: Sequence[int]) -> ScoreBlock:
        latents = generator.sample(seeds=block)

        def read(rows: slice) -> Tensor:
            return scorer(Renderer(drawn, memory_mb=0)(latents[rows], edits, size=size)).float().cpu()

        return ScoreBlock(torch.cat(each(read, list(batches(generator, len(block), size)))))

    weights = fingerprint(generator.net.state_dict())  # a generator with lent weights bears the lender's own
    maker = (
        f"{generator.fingerprint} {weights} {scorer.key} psi {psi:g} size {size}{' half' * (drawn is not generator)}"
    )
    mine = list(workers.mine(enumerate(slices(len(seeds), BLOCK))))
    done: dict[int, Tensor] = {}
    for b, rows in progress.over(mine, f"Labeling pictures, {BLOCK} at a time", len(mine)):
        block = seeds[rows]
        key = f"{maker} seeds {block[0]}-{block[-1]}"
        done[b] = cache.remembered(ScoreBlock, "scores", key, lambda block=block: made(block)).scores
    return torch.cat(workers.gathered(done))


def reading_size(generator: Generator, scorer: Scorer, size: int | None, progress: Progress = quiet) -> int | None:
    """The preview height to read scores at, None for full pictures.

    A preview is read only by scorers whose attribute `preview` gives the least height (px) at which they were shown to agree with the full
    picture, and never a smaller one; `progress` is told when that is not what was asked for.
    """
    if size is None or size >= generator.resolution:
        return None
    least = scorer.preview
    if least is None:
        progress.note(f"{scorer.name} was not shown to read previews, so full pictures are scored")
        return None
    if size < least:
        progress.note(f"{scorer.name} reads previews from {least} px, not {size}")
        size = int(least)
    return size if size < generator.resolution else None


def drawing(generator: Generator, size: int | None) -> Generator:
    """What draws pictures that are read at this size: previews are drawn by the bfloat16 twin, where the processor is made for that.

    Scores of a face change by .015 standard deviations at most (docs/performance.md), a tenth of what any preview changes them by.
    """
    return generator.half() if size is not None and native(generator.device) else generator


def spreads(scores: Float[Tensor, "n a"], names: Sequence[str]) -> dict[str, float]:
    """The standard deviation of each score over the pictures that have it; names without two of them are left out."""
    found = {name: column[column.isfinite()] for name, column in zip(names, scores.double().T, strict=True)}
    return {name: float(values.std()) for name, values in found.items() if len(values) > 1}


def truncation(psi: float) -> list[Edit]:
    """The edits that truncate pictures by psi: none for 1."""
    return [] if psi == 1 else [Truncate(psi)]


def slices(n: int, size: int) -> Iterator[slice]:
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


def batches(generator: Generator, n: int, size: int | None = None) -> Iterator[slice]:
    """Slices of n samples, each as many pictures as are worth rendering at once."""
    yield from slices(n, generator.at_once(size))
