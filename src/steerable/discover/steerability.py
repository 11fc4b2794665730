"""Walks that imitate a prescribed transformation of the picture: camera, color, blur.

Paper    Jahanian, Chai & Isola, On the "Steerability" of Generative Adversarial Networks, ICLR 2020 (equations 1-4)
Matches  w, or a net, minimizes the distance of G(z + αw) to edit(G(z), α) with α drawn anew for each picture; what edit moves in from
         beyond the frame is masked out; w begun at N(0, 0.1), Adam at 0.001, 4 pictures a step, 5,000 steps; zoom drawn half between 1/4
         and 1, half between 1 and 4; the net is a two-layer residual step, one forth and one back, walked 1 to 5 times, with the length
         of z kept; masked squared error, or LPIPS. In w+ every row gets a walk of its own, as the authors' for StyleGAN
Differs  all transformations of one discovery learn from the same codes at once. Codes are counted in their root mean square deviation (1
         in z); steps in w are not pulled to the mean. Blur is ours; rotation in 3D, which needs depth, is left out
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import SettingError
from ..generator import Generator
from ..geometry import view
from ..method import Progress, param, quiet
from ..nn.perceptual import LPIPS
from ..path import Direction, Path, Paths
from ..space import Latents, Space
from .discoverer import Discoverer, Supervision, acts, counting
from .fields import FieldPath, Nets, per_deviation, walked
from .moves import moved, plain, scale
from .nets import still
from .training import PATIENCE, Step, patient, seeded, train
from .transforms import REACH, changed, listed, spaced

STEPS = 5  # of a non-linear walk, from nothing to the largest amount


class Straight(nn.Module):
    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.w = nn.Parameter(0.1 * torch.randn(shape))


class Bent(nn.Module):
    """Two nets, forth and back, that begin as no move at all."""

    def __init__(self, d: int):
        super().__init__()
        self.W1 = nn.Parameter(torch.randn(2, d, d) / math.sqrt(d))
        self.b1, self.b2 = nn.Parameter(torch.zeros(2, d)), nn.Parameter(torch.zeros(2, d))
        self.W2 = nn.Parameter(0.01 * torch.randn(2, d, d) / math.sqrt(d))

    def field(self, center: Tensor, unit: float, keep: bool) -> Nets:
        return Nets(self.W1, self.b1, self.W2, self.b2, center, unit, keep)


@final
@dataclass(frozen=True, kw_only=True)
class Steerability(Discoverer):
    """Zoom, shift, rotation, brightness, colors and blur, learned from pictures that were transformed by hand."""

    name: ClassVar = "steerability"
    paper: ClassVar = "jahanian2020steerability"
    tags: ClassVar = frozenset({"self-supervised", "non-linear"})

    space: str = param("w", "space of the paths: w or z, or w+ for a walk of its own in each row")
    layers: str = param("all", "where the paths act")
    transforms: str = param("zoom,shift-x,shift-y,rotate,brightness,red,green,blue", f"of {', '.join(REACH)}")
    walk: str = param("linear", "one straight walk for all codes, or small nets that step", choices=("linear", "net"))
    loss: str = param("l2", "distance of pictures", choices=("l2", "lpips"))
    reach: float = param(
        1.0, "times the largest amounts: zoom 4, shift 0.5, 45 degrees, colors 0.5, blur 1", ge=0.01, le=2
    )
    size: int | None = param(None, "look at previews of this height (px)", ge=1)
    psi: float = param(1.0, "truncation of the codes")
    steps: int = param(5000, "of training", ge=1)
    batch: int = param(4, "pictures a step, for each transformation", ge=1)
    rate: float = param(1e-3, "of Adam", ge=0.0)
    every: int = param(100, "steps between two looks at the loss", ge=1)
    patience: int = param(0, PATIENCE, ge=0)
    seed: int = param(0, "of training", ge=0)

    def discover(
        self, generator: Generator, *, supervision: Supervision | None = None, progress: Progress = quiet
    ) -> Paths:
        names, where, space = listed(self.transforms), acts(generator, self.layers), generator.space(self.space)
        if self.walk == "net":
            plain(self.name, generator, self.space)
        root = next(s for s in reversed(generator.spaces[: generator.spaces.index(space) + 1]) if not s.affine)
        unit = scale(generator, root.name)
        make = lambda: nn.ModuleList(
            Straight(space.shape) if self.walk == "linear" else Bent(space.shape[0]) for _ in names
        )
        walks = seeded(self.seed, make)
        distance = self._distance(generator)

        def loss(step: Step) -> Float[Tensor, " n"]:
            codes = step.codes(self.space, self.psi)
            before = view(generator, codes, self.size).detach()
            parts = []
            for name, walk in zip(names, walks, strict=True):
                even = step.uniform(-1, 1)
                if self.walk == "net":
                    even = torch.where(even < 0, -1, 1) * (even.abs() * STEPS).ceil() / STEPS
                amount = even * REACH[name] * self.reach if self.walk == "net" else spaced(name, even, self.reach)
                target, known = changed(name, before, amount)
                there = moved(generator, codes, self._values(generator, walk, codes, name, amount, unit), where)
                parts.append(distance(view(generator, there, self.size), target, known))
            return torch.stack(parts).mean(0)

        trained = train(
            self,
            generator,
            walks,
            loss,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            every=self.every,
            stop=patient(self.patience),
            seed=self.seed,
            progress=progress,
        )
        codes = generator.lift(generator.sample(64, seed=self.seed), self.space).values
        paths = (self._path(generator, w, n, space, unit, where, codes) for n, w in zip(names, walks, strict=True))
        return Paths(tuple(paths), {"training": trained.notes()})

    def _values(
        self, generator: Generator, walk: nn.Module, codes: Latents, name: str, amount: Tensor, unit: float
    ) -> Tensor:
        if isinstance(walk, Straight):
            return codes.values + unit * amount.reshape(-1, *(1,) * walk.w.ndim) * walk.w
        assert isinstance(walk, Bent)
        steps = amount / (REACH[name] * self.reach) * STEPS
        return walked(self._field(generator, walk, unit).step, codes.values, steps)

    def _field(self, generator: Generator, walk: Bent, unit: float) -> Nets:
        center = generator.moments(self.space).mean.to(generator.device, generator.dtype)
        return walk.field(center, unit, keep=self.space == generator.spaces[0].name)

    def _path(
        self,
        generator: Generator,
        walk: nn.Module,
        name: str,
        space: Space,
        unit: float,
        where: str | None,
        codes: Tensor,
    ) -> Path:
        """The published number 1 is α = 1, as transforms.py counts it."""
        if isinstance(walk, Straight):
            w = unit * walk.w.detach().double().cpu()
            return counting(Direction.along(name, w, space, generator, layers=where), float(w.norm()))
        assert isinstance(walk, Bent)
        live = self._field(generator, walk, unit)
        W1, b1, W2, b2, center = (still(t) for t in (live.W1, live.b1, live.W2, live.b2, live.center))
        field = Nets(W1, b1, W2, b2, center, live.scale, live.keep)
        per_sd = per_deviation(field, codes, generator.moments(self.space).cov)
        published = STEPS / (REACH[name] * self.reach) / per_sd
        return FieldPath(name=name, layers=where, published=published, field=field, space=space, unit=per_sd)

    def _distance(self, generator: Generator):
        if self.loss == "l2":
            return lambda a, b, known: (
                ((a - b).square() * known).mean((1, 2, 3)) / known.mean((1, 2, 3)).clamp_min(1e-6)
            )
        if (self.size or generator.resolution) < 31:
            raise SettingError("steerability: LPIPS needs pictures of 31 px or more; take loss='l2'")
        lpips = LPIPS("alex").to(generator.device)
        return lambda a, b, known: lpips(a * known, b * known)
