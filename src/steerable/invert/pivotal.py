"""Pivotal tuning: codes first, by any other inverter; then the generator's weights, so that these codes show the picture.

Paper    Roich, Mokady, Bermano, Cohen-Or, Pivotal Tuning for Latent-based Editing of Real Images, ACM TOG 2022 (arXiv:2106.05744)
Matches  the pivot is fixed and weights move, by LPIPS (AlexNet) and mean square difference with weight 1 each (equation 2); Adam at 3e-4,
         at most 350 steps, stopped at LPIPS .06; the locality term at codes 30 from the pivot towards samples (equations 3-5)
Differs  the pivot may come from any inverter. Of the weights, those of layers that draw are tuned (not the mapping net, whose outputs are
         fixed) and steps are relative to the size of each tensor, which is the paper's where weights have unit size (StyleGAN2's) and
         what other nets need. Their change is kept alone, in half precision, and what is rendered uses exactly what is stored. The best
         is kept, not the last
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from ..edit import Inversion, WeightEdit
from ..errors import MethodFailed, SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, param, quiet
from ..render import Branch
from ..space import Latents
from .inverter import Inverter, Observed, Watching, target
from .losses import Seen, lpips
from .observe import Operator


@dataclass(frozen=True)
class Tuned(WeightEdit):
    """Weights moved by what is stored: dotted name → change, in the precision in which it is kept, times `scale`."""

    change: Mapping[str, Tensor]
    scale: Mapping[str, float]

    def weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = {}
        for name, change in self.change.items():
            if name not in weights or weights[name].shape != change.shape:
                raise SettingError(
                    f"the generator has no weight {name[:80]!r} of shape {tuple(change.shape)}; this edit belongs to another one"
                )
            moved[name] = weights[name] + change.to(weights[name]) * self.scale[name]
        return moved

    @classmethod
    def of_weights(cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor], half: bool) -> "Tuned":
        """What leads from some weights to others. In half precision each change is scaled to 1, so that small ones keep their digits."""
        change = {name: (after[name] - before[name]).detach() for name in after}
        scale = {name: float(v.abs().max()) or 1.0 if half else 1.0 for name, v in change.items()}
        return cls({name: (v / scale[name]).half() if half else v for name, v in change.items()}, scale)


@final
@dataclass(frozen=True, kw_only=True)
class Pivotal(Inverter):
    """Inverts with another method, then tunes the generator's weights around the codes found. One picture at a time."""

    name: ClassVar = "pivotal"
    paper: ClassVar = "roich2022pivotal"
    tags: ClassVar = frozenset({"optimization", "weights"})

    pivot: str | Inverter = param("projector", "the inverter (or preset) that finds the codes")  # noqa: RUF009
    space: str | None = param(None, "space of the pivot; that of the inverter by default")
    pivot_steps: int | None = param(None, "steps of the pivot; those of the inverter by default", ge=1)
    label: int | None = param(None, "class of the picture, for generators with classes", ge=0)
    seed: int = param(0, "of everything that is drawn", ge=0)

    layers: str = param("all", "layers whose weights are tuned: 4-7, 32-1024px, fine …")
    steps: int = param(350, "steps at most", ge=1)
    rate: float = param(3e-4, "length of a step (Adam), in root mean squares of each tensor", ge=0)
    pixels: float = param(1.0, "weight of the mean square difference", ge=0)
    lpips: float = param(1.0, "weight of LPIPS", ge=0)
    lpips_net: str = param("alex", "whose features LPIPS takes", choices=("alex", "vgg"))
    look: int = param(256, "size (px) at which LPIPS looks, if pictures are larger", ge=16)
    enough: float = param(0.06, "stop when LPIPS (without LPIPS: the mean square difference) is at most this", ge=0)

    locality: float = param(0.0, "weight of what keeps other pictures as they were; the paper's ablation has 0.1", ge=0)
    radius: float = param(30.0, "how far from the pivot those pictures lie", ge=0)
    psi: float = param(0.5, "truncation of the samples towards which they lie")
    every: int = param(1, "steps from one look at another picture to the next", ge=1)
    half: bool = param(True, "keep the change of weights in half precision")

    def invert(
        self,
        generator: Generator,
        images: Float[Tensor, "n 3 h w"],
        *,
        observe: Observed = None,
        progress: Progress = quiet,
    ) -> Inversion:
        wanted, operator = target(generator, images, observe)
        if len(wanted) != 1:
            raise SettingError(
                f"pivotal tunes weights for one picture, which are {len(wanted)}; invert them one by one"
            )
        names = self._names(generator)
        pivot = self._pivot(generator, images, observe, progress)
        if "interrupted" in pivot.notes:
            return pivot
        tuning = Tuning(self, generator, pivot, wanted, operator, names)
        told = {
            "pivot": self.pivot if isinstance(self.pivot, str) else self.pivot.name,
            "pivot loss": pivot.notes.get("loss"),
            "inverter": self.name,
        }
        change, more = tuning.run(progress)
        return replace(pivot, edits=(*pivot.edits, change), notes={**pivot.notes, **told, **more})

    def _pivot(self, generator: Generator, images: Tensor, observe: Observed, progress: Progress) -> Inversion:
        from . import KNOWN, invert  # the table that this method stands in

        if isinstance(self.pivot, Inverter):
            return self.pivot.invert(generator, images, observe=observe, progress=progress)
        others = {name: method for name, method in KNOWN.items() if name != self.name}
        if self.pivot not in others:
            raise UnknownName("inverter that pivotal can take codes from", self.pivot, others)
        known = others[self.pivot].schema()
        mine = {"space": self.space, "steps": self.pivot_steps, "label": self.label, "seed": self.seed}
        told = {k: v for k, v in mine.items() if v is not None and k in known}
        return invert(self.pivot, generator, images, observe=observe, progress=progress, **told)

    def _names(self, generator: Generator) -> list[str]:
        """The weights that are tuned: those of the layers named, found by whether the layer's output depends on them."""
        wanted = None if self.layers == "all" else set(generator.pick(self.layers, heads=True))
        latents = generator.lift(next(generator.blocks(1, seed=self.seed))[1], generator.spaces[-1].name)
        noise = {
            k: latents.values.new_zeros(1, *shape) for k, shape in generator.inputs.items() if k.startswith("noise.")
        }
        latents = replace(latents, inputs={**latents.inputs, **noise})  # so that constant noise is no weight
        floats = {k: p for k, p in generator.net.named_parameters() if p.is_floating_point()}
        lent = {k: p.detach().clone().requires_grad_() for k, p in floats.items()}
        twin = generator.lent(lent)
        with torch.enable_grad():
            state, found = twin.start(latents), set()
            for i in range(len(twin.layers)):
                after = twin.layer(i, state, latents, True)
                told = after.x.sum() + (after.rgb.sum() if after.rgb is not None else 0.0)
                found |= _reached(told, lent) if wanted is None or i in wanted else set()
                state = replace(after, x=after.x.detach(), rgb=None if after.rgb is None else after.rgb.detach())
        if not found:
            raise SettingError(f"pivotal: layers={self.layers!r} have no weights that draw; name other layers")
        return [name for name in lent if name in found]


def _reached(told: Tensor, lent: dict[str, Tensor]) -> set[str]:
    grads = (
        torch.autograd.grad(told, list(lent.values()), allow_unused=True) if told.requires_grad else [None] * len(lent)
    )
    return {name for name, grad in zip(lent, grads, strict=True) if grad is not None}


LEAST = 1e-4  # of the size of the largest tensor: the size that smaller ones count as, such as biases that are all 0


class Tuning:
    """Weights on their way, seen at the pivot and around it."""

    def __init__(
        self,
        told: Pivotal,
        generator: Generator,
        pivot: Inversion,
        wanted: Tensor,
        operator: Operator,
        names: list[str],
    ):
        self.told, self.generator, self.pivot, self.wanted, self.operator = told, generator, pivot, wanted, operator
        before = Branch.of(generator, pivot, ())
        if before.features:
            raise SettingError("pivotal tunes weights around codes; this pivot has edits of features too")
        self.codes = before.latents
        self.base = dict(before.generator.net.named_parameters())
        self.base = {name: self.base[name].detach() for name in names}
        self.weights = {name: v.clone().requires_grad_() for name, v in self.base.items()}
        self.before, self.twin = before.generator, before.generator.lent(self.weights)
        sizes = {name: float(v.square().mean().sqrt()) for name, v in self.base.items()}
        least = LEAST * max(sizes.values())
        groups = [{"params": [v], "lr": told.rate * max(sizes[name], least)} for name, v in self.weights.items()]
        self.optimizer = torch.optim.Adam(groups)
        self.look = lpips(wanted, told.lpips_net, told.look) if told.lpips else None
        self.source = torch.Generator().manual_seed(told.seed)

    def run(self, progress: Progress) -> tuple[Tuned, dict[str, Any]]:
        """The change of weights, and what to remember of it."""
        best, kept, done, more = math.inf, self._change(), 0, {}
        try:
            for done in progress.over(range(self.told.steps), "steps of weights"):
                self.optimizer.zero_grad(set_to_none=True)
                images = self.operator(self.twin.synthesize(self.codes, grad=True))
                near, far = self._apart(images)
                loss = self.told.pixels * near + self.told.lpips * far
                if not bool(torch.isfinite(loss)):
                    raise MethodFailed(f"the loss is no number after {done} steps of weights; a smaller rate may help")
                if loss.item() < best:
                    best, kept = loss.item(), self._change()
                    if isinstance(progress, Watching):
                        progress.best(replace(self.pivot, edits=(*self.pivot.edits, kept)))
                if (far if self.look else near).item() <= self.told.enough:
                    break
                if self.told.locality and done % self.told.every == 0:
                    loss = loss + self.told.locality * self._elsewhere()
                loss.backward()
                self.optimizer.step()
        except KeyboardInterrupt:
            more["interrupted"] = f"after {done} of {self.told.steps} steps of weights"
        with torch.no_grad():  # of what is stored
            stored = self.before.lent(kept.weights(self.base))
            near, far = self._apart(self.operator(stored.synthesize(self.codes, grad=False)))
        return kept, {
            "steps of weights": done,
            "loss": (self.told.pixels * near + self.told.lpips * far).reshape(1),
            **more,
        }

    def _change(self) -> Tuned:
        return Tuned.of_weights(self.base, self.weights, self.told.half)

    def _apart(self, images: Float[Tensor, "1 3 h w"]) -> tuple[Tensor, Tensor]:
        near = (images - self.wanted).square().mean()
        far = self.look(Seen(images, self.codes.values, self.codes.values)).sum() if self.look else near.new_zeros(())
        return near, far

    def _elsewhere(self) -> Float[Tensor, ""]:
        """How much the picture at another code, `radius` from the pivot towards a sample, has changed."""
        g, at = self.generator, self.pivot.latents
        z = torch.randn(1, *g.spaces[0].shape, generator=self.source)
        given = {k: v for k, v in at.inputs.items() if k == "label"}
        sample: Latents = Latents(z.to(g.device, g.dtype), g.spaces[0], given)
        if any(s.name == "w" for s in g.spaces):
            sample = g.truncate(sample, self.told.psi)
        way = g.lift(sample, at.space.name).values - at.values
        length = way.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        there = at.at(at.values + self.told.radius * way / length)
        with torch.no_grad():
            plain = self.before.synthesize(there, grad=False)
        tuned = self.twin.synthesize(there, grad=True)
        apart = (tuned - plain).square().mean()
        if self.told.lpips:
            apart = (
                apart + lpips(plain, self.told.lpips_net, self.told.look)(Seen(tuned, there.values, there.values)).sum()
            )
        return apart


__all__ = ["Pivotal", "Tuned"]
