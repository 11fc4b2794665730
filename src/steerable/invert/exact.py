"""Exact inversion of plain chains, where it is provable: layer by layer with linear programs, or by descent from a part of the pixels.

Paper    Lei, Jalal, Dhillon, Dimakis, Inverting Deep Generative Models, One Layer at a Time, NeurIPS 2019 (`lp`);
         Ma, Ayaz, Karaman, Invertibility of Convolutional Generative Networks from Partial Measurements, NeurIPS 2018 (`descent`)
Matches  lp: section 4, the linear program of a ReLU layer with an ℓ∞ bound on the noise, solved from the last layer down; leaky layers are
         undone and solved as least squares. descent: the squared difference of observed pixels, on expansive ReLU nets
Differs  lp: the bound on the residual is minimized; what passes between layers is held to be ≥ 0 where a ReLU made it; a noiseless solution
         is polished by least squares on the active rows. descent: Adam, and the other sign is tried, because the landscape's one other
         critical region is near a negative multiple of the code. The chain is read off the generator by derivatives, and checked
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..edit import Inversion
from ..errors import MethodFailed, SettingError
from ..generator import Generator
from ..method import Progress, param, quiet
from ..space import Latents
from .chain import Chain, Step, chain
from .inverter import Inverter, Observed, labeled, target
from .observe import Mask, Operator

NOISELESS = 1e-6  # root mean square difference at which a descent has come down
ROUNDED = 16.0  # roundings (of the largest value) that a rendering may be off without any noise
SOLVED = 10.0  # residual, in errors, up to which least squares on the active rows may replace the program's solution


@final
@dataclass(frozen=True, kw_only=True)
class Exact(Inverter):
    """Recovers the code itself, for generators that are plain expansive chains of ReLU layers."""

    name: ClassVar = "exact"
    paper: ClassVar = "lei2019inverting"
    tags: ClassVar = frozenset({"provable", "plain chains"})

    solver: str = param("lp", "linear programs from the last layer down, or descent", choices=("lp", "descent"))
    label: int | None = param(None, "class of the pictures, for generators with classes", ge=0)
    noise: float = param(0.0, "lp: bound on what was added to the last layer's outputs", ge=0)
    steps: int = param(1500, "descent: steps from each start", ge=1)
    rate: float = param(0.1, "descent: length of a step (Adam)", ge=0)
    restarts: int = param(3, "descent: starts, until one comes down to nothing", ge=1)
    seed: int = param(0, "descent: of the first start", ge=0)

    def invert(
        self,
        generator: Generator,
        images: Float[Tensor, "n 3 h w"],
        *,
        observe: Observed = None,
        progress: Progress = quiet,
    ) -> Inversion:
        wanted, operator = target(generator, images, observe)
        inputs = labeled(generator, len(wanted), self.label)
        seen = self._seen(generator, operator)
        steps = chain(generator, inputs)
        self._expansive(generator, steps, seen)
        solve = self._programs if self.solver == "lp" else self._descents
        values, residual = solve(generator, steps, wanted, seen, inputs, progress)
        found = Latents(values.to(generator.device, generator.dtype), generator.spaces[0], inputs)
        return Inversion(found, notes={"inverter": self.name, "solver": self.solver, "loss": residual})

    def _seen(self, generator: Generator, operator: Operator) -> Tensor:
        """Which numbers of a picture were observed: bool [3 h w], flat."""
        if operator.spec == "identity":
            return torch.ones(3 * generator.size[0] * generator.size[1], dtype=torch.bool)
        if not isinstance(operator, Mask):
            raise SettingError(
                f"exact sees pictures whole or through a mask, not through {operator.spec}; use optimize"
            )
        return (operator.mask[0] > 0).expand(3, -1, -1).flatten().cpu()

    def _expansive(self, generator: Generator, steps: Chain, seen: Tensor) -> None:
        """Of a ReLU layer about half of the outputs are zero and tell little, so it must have at least twice as many as inputs."""
        for i, step in enumerate(steps.steps):
            outputs = int(seen.sum()) if i == len(steps.steps) - 1 else len(step.W)
            need = 2 if step.slope == 0 else 1
            if self.solver == "lp" and outputs < need * step.W.shape[1]:
                raise SettingError(
                    f"exact: layer {step.name} of {generator.name} has {outputs} outputs for {step.W.shape[1]} inputs; "
                    f"{need} times as many are needed to undo it; use solver=descent, or optimize"
                )
        if int(seen.sum()) < 2 * steps.steps[0].W.shape[1]:
            raise SettingError(
                f"exact: {int(seen.sum())} numbers were observed for a code of {steps.steps[0].W.shape[1]}; twice as many are needed"
            )

    # -- one linear program for each layer (Lei et al.) ------------------------------------------------------------------------------

    def _programs(
        self, g: Generator, steps: Chain, wanted: Tensor, seen: Tensor, inputs: dict[str, Tensor], progress: Progress
    ) -> tuple[Tensor, Tensor]:
        shown = torch.where(seen.to(wanted.device), wanted.flatten(1), 0).view_as(wanted)
        rows, errors = steps.last(shown).cpu(), steps.errors(shown, max(self.noise, ROUNDED * torch.finfo(g.dtype).eps))
        codes, residuals = [], []
        for x, error in progress.over(list(zip(rows, errors.cpu(), strict=True)), "pictures"):
            known, worst = seen, 0.0
            for i in reversed(range(len(steps.steps))):
                positive = i > 0 and steps.steps[i - 1].slope == 0
                x, off, error = undone(steps.steps[i], x, known, error, positive, polish=self.noise == 0)
                known, worst = torch.ones(len(x), dtype=torch.bool), max(worst, off)
            codes.append(x)
            residuals.append(worst)
        return torch.stack(codes), torch.tensor(residuals)

    # -- descent (Ma et al.) ----------------------------------------------------------------------------------------------------------

    def _descents(
        self, g: Generator, steps: Chain, wanted: Tensor, seen: Tensor, inputs: dict[str, Tensor], progress: Progress
    ) -> tuple[Tensor, Tensor]:
        twin = g.to(dtype=torch.float64)
        given = {k: v.double() for k, v in inputs.items()}
        mask = seen.to(g.device).view(1, *wanted.shape[1:])
        goal, space = wanted.double(), g.spaces[0]

        def apart(z: Tensor) -> Tensor:
            images = twin.synthesize(Latents(z, space, given), grad=True)
            return ((images - goal) * mask).square().flatten(1).sum(1)

        best = torch.full((len(goal),), torch.inf, dtype=torch.float64, device=g.device)
        codes = torch.zeros(len(goal), *space.shape, dtype=torch.float64, device=g.device)
        enough = NOISELESS**2 * int(seen.sum())
        for start in progress.over(range(self.restarts), "descents"):
            source = torch.Generator().manual_seed(self.seed + start)
            z = torch.randn(codes.shape, generator=source, dtype=torch.float64).to(g.device)
            z, loss = self._down(apart, z)
            wins = loss < best
            best, codes = torch.where(wins, loss, best), torch.where(wins[:, None], z, codes)
            if bool((best <= enough).all()):
                break
        return codes, best.cpu()

    def _down(self, apart: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
        for share in (0.25, 0.75):
            with torch.no_grad():  # the other critical region lies at a negative multiple
                z = torch.where((apart(-z) < apart(z))[:, None], -z, z)
            z = z.clone().requires_grad_()
            count = max(1, round(self.steps * share))
            optimizer = torch.optim.Adam([z], self.rate)
            rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count, self.rate * 1e-4)
            for _ in range(count):
                optimizer.zero_grad(set_to_none=True)
                apart(z).sum().backward()
                optimizer.step()
                rates.step()
            z = z.detach()
        with torch.no_grad():
            return z, apart(z)


def undone(
    step: Step,
    x: Float[Tensor, "o"],
    seen: Bool[Tensor, "o"],
    error: Float[Tensor, "o"],
    positive: bool,
    polish: bool = True,
) -> tuple[Float[Tensor, "i"], float, Float[Tensor, "i"]]:
    """The input of a layer from those of its outputs that were seen, each known up to its `error`; the residual; the input's errors.

    Raises MethodFailed where the outputs do not determine it.
    """
    rows = (seen & step.known).cpu()
    W, b, x, error = step.W.cpu()[rows], step.b.cpu()[rows], x[rows], error[rows]
    if step.slope > 0:
        active, v = torch.ones(len(x), dtype=torch.bool), torch.where(x > 0, x, x / step.slope) - b
    else:
        active, v = x > error, x - b
    A, w = W[active] / error[active, None], v[active] / error[active]
    if int(active.sum()) < W.shape[1] or float(torch.linalg.matrix_rank(A)) < W.shape[1]:
        raise MethodFailed(
            f"exact: {int(active.sum())} active outputs of layer {step.name} do not determine its {W.shape[1]} inputs; use optimize"
        )
    inverse = torch.linalg.pinv(A)
    z = inverse @ w if step.slope > 0 else _program(W, v, error, active, positive)
    if step.slope == 0 and polish and float((A @ (inverse @ w) - w).abs().max()) < SOLVED:
        z = inverse @ w  # the program found who is active; what is active is solved to rounding
    z = z.clamp_min(0) if positive else z
    return z, float((W[active] @ z - v[active]).abs().max()), inverse.abs().sum(1)


def _program(
    W: Float[Tensor, "o i"], v: Float[Tensor, "o"], error: Float[Tensor, "o"], active: Tensor, positive: bool
) -> Float[Tensor, "i"]:
    """min e such that |Wz − v| ≤ e · error where the layer is active, and Wz ≤ v + e · error where it is not."""
    from scipy.optimize import linprog  # a second to import, and only this needs it

    scale = error / error.max()
    A = torch.cat([torch.cat([W, -scale[:, None]], 1), torch.cat([-W, -scale[:, None]], 1)[active]])
    limits = torch.cat([v, -v[active]])
    cost = [0.0] * W.shape[1] + [1.0]
    bounds = [(0.0 if positive else None, None)] * W.shape[1] + [(0.0, None)]
    told = linprog(cost, A_ub=A.numpy(), b_ub=limits.numpy(), bounds=bounds, method="highs")
    if not told.success:
        raise MethodFailed(f"exact: the linear program of a layer could not be solved ({told.message})")
    return torch.from_numpy(told.x[:-1]).to(W)


__all__ = ["Exact", "undone"]
