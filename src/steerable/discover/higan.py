"""HiGAN: which layers carry which attribute, by moving one layer after another and scoring the pictures again.

Paper    Yang, Shen & Zhou, Semantic Hierarchy Emerges in Deep Generative Representations for Scene Synthesis, IJCV 2021
Matches  boundaries as in InterFaceGAN, re-scoring after a fixed step (equation 2) on all layers and on each alone, and manipulation held to
         the layers that matter
Differs  both signs count: the mean of (f(+) − f(−))/2 where the paper takes max(0, f(+) − f) and so calls noise an effect. The layers are
         chosen by rule: the shortest run with `share` of the effect of all single layers; and the effect of that run is measured on
         pictures that did not choose it. Paths may come from any method, a step counts standard deviations
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar, final

from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..layer import rows
from ..method import Progress, param, quiet
from ..path import Path, Paths
from ..score import Scorer
from ..score.labels import truncation
from .discoverer import Discoverer, Supervision
from .rescoring import Move, rescore

SEEN = 2.0  # standard errors from which an effect is taken for one


@final
@dataclass(frozen=True, kw_only=True)
class HiGAN(Discoverer):
    """Finds paths as another method does, and tells each the layers in which its attribute lives."""

    name: ClassVar = "higan"
    paper: ClassVar = "yang2021higan"
    tags: ClassVar = frozenset({"supervised", "layer-wise"})
    needs: ClassVar = ("w+",)

    method: str = param("interfacegan", "who finds the paths: any other method")
    space: str = param("w", "space of the paths")
    k: int = param(10, "paths, for methods that are asked for a number", ge=1)
    n: int = param(10_000, "pictures that the method labels, or samples that it takes", ge=20)
    psi: float = param(0.7, "truncation of labeled and of re-scored pictures")
    seed: int = param(0, "of the first labeled picture", ge=0)
    size: int | None = param(None, "score previews of this height (px) if the scorer vouches for them", ge=1)
    names: str = param("all", "scores to find paths for, such as smile,age")
    step: float = param(2.0, "how far paths are walked, to both sides, in standard deviations", ge=0.01)
    rescored: int = param(48, "pictures re-scored; half choose the layers, half measure the choice", ge=4)
    group: int = param(1, "rows of w+ that are moved together", ge=1)
    share: float = param(0.8, "share of the effect that the chosen layers are to have", ge=0, le=1)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        if not isinstance(supervision, Scorer):
            raise SettingError(
                "higan scores pictures that it changes; pass supervision=, such as score('face'); a CSV will not do"
            )
        from . import DISCOVERERS, discover  # the table that this method stands in

        others = {name: method for name, method in DISCOVERERS.items() if name != self.name}
        if self.method not in others:
            raise UnknownName("method that higan can take paths from", self.method, others)
        known = {f.name for f in fields(others[self.method])}
        told = {name: getattr(self, name) for name in ("space", "k", "n", "psi", "seed", "size") if name in known}
        if "learn" in known:
            told["learn"] = self.names
        found = discover(self.method, generator, supervision=supervision, progress=progress, **told)
        return self.rescored_by(supervision, generator, found, progress)

    def rescored_by(self, scorer: Scorer, generator: Generator, paths: Paths, progress: Progress = quiet) -> Paths:
        """Paths that are at hand, whoever found them, each with its layers, its effects, and in the notes those of every layer.

        A path with the name of a score is judged by it, another by the score that it changes most for how much that score varies.
        """
        groups = self.groups(generator)
        samples = generator.sample(self.rescored, seed=self.seed + self.n)
        first, second = samples[slice(0, self.rescored // 2)], samples[slice(self.rescored // 2, None)]
        measured = lambda latents, moves: rescore(
            generator, latents, moves, scorer,
            step=self.step, edits=truncation(self.psi), size=self.size, progress=progress,
        )  # fmt: skip
        moves = [Move(p, layers) for p in paths for layers in ("all", *groups)]
        change = measured(first, moves)
        chosen, table = [], {}
        for i, path in enumerate(paths):
            each = slice(i * (len(groups) + 1), (i + 1) * (len(groups) + 1))
            mean, error = change.mean[each], change.error[each]  # all layers, then groups from the first
            a = self._judge(path, scorer, mean[0] / change.spread)
            run = (
                shortest(mean[1:, a] * mean[0, a].sign(), self.share) if abs(mean[0, a]) > SEEN * error[0, a] else None
            )
            if run is None:
                progress.note(
                    f"higan: {path.name!r} was not seen to change {scorer.names[a]!r}, so it keeps all layers"
                )
            layers = None if run is None else ",".join(groups[run[0] : run[1]])
            chosen.append(replace(path, layers=layers and spanned(generator, layers), about=f"by {scorer.names[a]}"))
            table[path.name] = {
                "score": scorer.names[a],
                "all layers": (float(mean[0, a]), float(error[0, a])),
                "layers": {g: (float(m), float(e)) for g, m, e in zip(groups, mean[1:, a], error[1:, a], strict=True)},
            }
        held = measured(second, [m for p in chosen for m in (Move(p), Move(p, "all"))])
        done = []
        for i, path in enumerate(chosen):
            a = scorer.names.index(table[path.name]["score"])
            table[path.name]["share kept"] = float(held.mean[2 * i, a] / held.mean[2 * i + 1, a])
            done.append(replace(path, effects=held.effects(2 * i, scorer, self.psi)))
        return Paths(tuple(done), {**paths.notes, "layer-wise effect per SD, with its standard error": table})

    def groups(self, generator: Generator) -> list[str]:
        last = max(rows(generator.layers, "all"))
        starts = range(0, last + 1, self.group)
        return [str(a) if (b := min(a + self.group - 1, last)) == a else f"{a}-{b}" for a in starts]

    def _judge(self, path: Path, scorer: Scorer, standardized: Float[Tensor, " a"]) -> int:
        if path.name in scorer.names:
            return scorer.names.index(path.name)
        return int(standardized.abs().nan_to_num(0, 0, 0).argmax())


def shortest(effects: Float[Tensor, " g"], share: float) -> tuple[int, int]:
    """The shortest run [a, b) with at least `share` of all positive effects; of several, the one with most."""
    effects = effects.nan_to_num().clamp_min(0).double()
    total, sums = effects.sum(), [0.0, *effects.cumsum(0).tolist()]
    for length in range(1, len(effects)):
        best = max(range(len(effects) - length + 1), key=lambda a: sums[a + length] - sums[a])
        if sums[best + length] - sums[best] >= share * total:
            return best, best + length
    return 0, len(effects)


def spanned(generator: Generator, layers: str) -> str | None:
    """A run of groups as one range of rows; None where it is all of them."""
    named = rows(generator.layers, layers)
    if named == rows(generator.layers, "all"):
        return None
    return str(named[0]) if len(named) == 1 else f"{named[0]}-{named[-1]}"
