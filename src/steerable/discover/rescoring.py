"""Re-scoring: what moves do to scores, on pictures that nothing was learned from (HiGAN's protocol, with both signs)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import Edit
from ..errors import MethodFailed
from ..generator import Generator
from ..method import Progress
from ..path import Effect, Path
from ..render import codes
from ..renderer import Renderer
from ..score import Scorer
from ..score.labels import batches, drawing, reading_size
from ..space import Latents

NORMAL = 1.96  # half the width of an interval of 95 %, in standard errors


@dataclass(frozen=True)
class Move:
    """A path, and the layers it is held to (None: its own)."""

    path: Path
    layers: str | None = None


@dataclass(frozen=True)
class Change:
    """What moves did per standard deviation: (score at +step − score at −step) / 2·step for each picture, and the plain scores."""

    per_sd: Float[Tensor, "m n a"]
    plain: Float[Tensor, "n a"]

    @cached_property
    def mean(self) -> Float[Tensor, "m a"]:
        return self.per_sd.nanmean(1)

    @cached_property
    def error(self) -> Float[Tensor, "m a"]:
        """Standard errors of the means; infinite where fewer than two pictures could be read."""
        n = (~self.per_sd.isnan()).sum(1)
        variance = (self.per_sd - self.mean[:, None]).square().nansum(1) / (n - 1).clamp_min(1)
        return torch.where(n > 1, (variance / n.clamp_min(1)).sqrt(), torch.inf)

    @cached_property
    def spread(self) -> Float[Tensor, " a"]:
        """The standard deviation of each score over the plain pictures."""
        known = ~self.plain.isnan()
        centered = torch.where(known, self.plain - self.plain.nanmean(0), 0.0)
        return (centered.square().sum(0) / (known.sum(0) - 1).clamp_min(1)).sqrt()

    def effects(self, move: int, scorer: Scorer, psi: float) -> tuple[Effect, ...]:
        """As a path keeps them; a score that could not be read is left out."""
        found = []
        for a, (name, unit) in enumerate(zip(scorer.names, scorer.units, strict=True)):
            mean, error = float(self.mean[move, a]), float(self.error[move, a])
            if error < float("inf"):
                half, n = NORMAL * error, int((~self.per_sd[move, :, a].isnan()).sum())
                found.append(Effect(name, mean, mean - half, mean + half, float(self.spread[a]), unit, psi, n))
        return tuple(found)


def rescore(
    generator: Generator,
    latents: Latents,
    moves: Sequence[Move],
    scorer: Scorer,
    *,
    step: float,
    edits: Sequence[Edit] = (),
    size: int | None = None,
    progress: Progress,
) -> Change:
    """Render each sample moved by ±step, and score it. Raises MethodFailed if no picture could be scored.

    The plain picture comes first and moves of late layers before those of early ones, so that what lies before the first layer that a move
    changes is not rendered again.
    """
    size = reading_size(generator, scorer, size, progress)
    renderer, parts = Renderer(drawing(generator, size)), list(batches(generator, len(latents), size))
    plain, found = [], []
    reach = [_first(generator, latents[:1], edits, m.path.at(step, layers=m.layers)) for m in moves]
    order = sorted(range(len(moves)), key=lambda i: -reach[i])
    read = lambda samples, more: scorer(renderer(samples, [*edits, *more], size=size)).float().cpu()
    for rows in progress.over(parts, f"Re-scoring {len(latents)} pictures, {2 * len(moves)} moves each", len(parts)):
        samples = latents[rows]
        plain.append(read(samples, []))
        changed: dict[int, Tensor] = {}
        for i in order:
            up, down = (read(samples, [moves[i].path.at(sign * step, layers=moves[i].layers)]) for sign in (1, -1))
            changed[i] = (up - down) / (2 * step)
        found.append(torch.stack([changed[i] for i in range(len(moves))]))
    change = Change(torch.cat(found, 1), torch.cat(plain))
    if change.per_sd.isnan().all():
        raise MethodFailed(f"{scorer.name} could read none of the {len(latents)} pictures (no face found?); lower psi")
    return change


def _first(generator: Generator, latents: Latents, before: Sequence[Edit], edit: Edit) -> int:
    """The first layer whose styles the edit changes."""
    last = generator.spaces[-1].name
    plain, moved = (generator.lift(codes(generator, latents, e), last).values[0] for e in (before, [*before, edit]))
    differs = plain != moved
    return next((i for i, layer in enumerate(generator.layers) if differs[layer.style].any()), len(generator.layers))
