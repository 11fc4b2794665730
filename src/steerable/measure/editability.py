"""Editability: what an edit still does to the codes that an inverter found, and what of it the way to them has cost.

Each target is moved by its path, one standard deviation on: "effect" is the change of the target's score, in its own standard deviations,
"kept" the identity of the pictures before and after, "same" that of the edited picture with the one that was given.
`curve` tells what a person's own photograph gives up of the likeness for it (Tov et al., Designing an Encoder for StyleGAN Image
Manipulation, ACM TOG 2021, section 4: codes edit the better the nearer they are to w).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor

from .. import artifact
from ..edit import Inversion
from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, quiet
from ..path import Path, Paths
from ..record import Record
from ..render import render
from ..score import Scorer
from ..score.labels import label
from .compare import judge
from .effects import Same
from .entrants import defaults
from .fidelity import fidelity

EDITING = ("effect", "kept", "same")


@dataclass(frozen=True)
class Editing:
    """What edits do to an inversion: paths by target, the scorer that reads the targets, standard deviations of its scores."""

    paths: Mapping[str, Path] = field(default_factory=dict)
    scorer: Scorer | None = None
    spread: Mapping[str, float] = field(default_factory=dict)
    identity: Same | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.paths)

    @property
    def key(self) -> str:
        """Of all that the numbers depend on."""
        written = [artifact.fingerprint(p.tensors()) + json.dumps(p.header(), default=str) for p in self.paths.values()]
        scorer = self.scorer.key if self.scorer else ""
        return json.dumps([self.targets, written, scorer, dict(self.spread), self.identity is not None], default=str)

    def __call__(
        self, generator: Generator, base: Inversion, plain: Float[Tensor, "1 3 h w"], wanted: Float[Tensor, "1 3 h w"]
    ) -> dict[str, dict[str, float]]:
        """What "effect", "kept" and "same" of each target are at +1 SD; `plain` is the inversion's picture, `wanted` the one given.

        What could not be read (no face was found) is left out.
        """
        found: dict[str, dict[str, float]] = {name: {} for name in EDITING}
        before = None if self.scorer is None else self.scorer(plain)
        for target, path in self.paths.items():
            edited = render(generator, base, [path.at(1.0)])
            if self.scorer is not None and before is not None:
                column = self.scorer.names.index(target)
                change = (self.scorer(edited) - before)[0, column]
                found["effect"][target] = float(change) / (self.spread.get(target) or 1.0)
            if self.identity is not None:
                found["kept"][target] = float(self.identity(plain, edited))
                found["same"][target] = float(self.identity(wanted, edited))
        return {name: finite(values) for name, values in found.items()}


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Without what is no number, or infinite, such as the PSNR of equal pictures."""
    return {k: v for k, v in values.items() if math.isfinite(v)}


def edited_by(
    generator: Generator,
    scores: str | Scorer | None,
    targets: Sequence[str] | None,
    paths: Paths | None,
    psi: float,
    labels: int | None,
    identity: Same | None,
    progress: Progress = quiet,
) -> Editing:
    """The paths that edit, and who reads what they do."""
    if scores is None:
        chosen = {p.name: p for p in paths or () if targets is None or p.name in targets}
        return Editing(chosen, None, {}, identity)
    scorer, listed = judge(scores, generator)
    given = paths.names if paths is not None else tuple(scorer.names)
    wanted = list(targets or [t for t in listed if t in given])
    for name in wanted:
        for there in (scorer.names, given):
            if name not in there:
                raise UnknownName("target", name, there)
    if not wanted:
        raise SettingError(f"no path has the name of a score ({', '.join(scorer.names)}), so nothing could be judged")
    n = labels or int(defaults(generator)["labels"])
    spread = label(generator, scorer, n, psi=psi, progress=progress).spread()
    chosen = paths
    if chosen is None:
        space = "w" if any(s.name == "w" for s in generator.spaces) else generator.spaces[0].name
        told = {"space": space, "n": n, "psi": psi}
        chosen = import_module("..discover", __package__).discover(
            "boundary", generator, supervision=scorer, progress=progress, **told
        )
    return Editing({t: chosen[t] for t in wanted}, scorer, {t: spread.get(t, 1.0) for t in wanted}, identity)


@dataclass(frozen=True, kw_only=True)
class Point(Record):
    """Where an inversion stands when its rows of w+ are drawn to their mean by `share` (0 as found, 1 a code of w)."""

    share: float
    scores: Mapping[str, float]
    effect: Mapping[str, float]
    kept: Mapping[str, float]
    same: Mapping[str, float]


def curve(
    generator: Generator,
    inversion: Inversion,
    picture: Float[Tensor, "1 3 h w"],
    editing: Editing,
    *,
    shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    which: Sequence[str] = ("mse", "psnr"),
    look: int = 256,
    progress: Progress = quiet,
) -> tuple[Point, ...]:
    """Distortion against editability on one picture: the same inversion with its rows drawn to their mean, step by step.

    Nothing is inverted anew, so it costs a picture for each share and target. Raises SettingError for codes that are not in w+.
    """
    at = inversion.latents
    if at.space.name != "w+" or len(at) != 1:
        raise SettingError(f"the curve is drawn for the rows of one w+ code; this is {len(at)} in {at.space.name}")
    points = []
    for share in progress.over(shares, "points of the curve", len(shares)):
        values = torch.lerp(at.values, at.values.mean(1, keepdim=True), float(share))
        here = replace(inversion, latents=at.at(values))
        image = render(generator, here)
        told = fidelity(image.float().cpu(), picture.float().cpu(), which, look=look)
        scores = finite({name: float(v) for name, v in told.items()})
        points.append(Point(share=float(share), scores=scores, **editing(generator, here, image, picture)))
    return tuple(points)
