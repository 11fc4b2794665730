"""A generator that is told its factors: regression of StyleGAN2 onto pictures of which every factor is known.

Paper    none; the net is that of Karras et al., CVPR 2020 (arXiv:1912.04958); the adversarial term that of Goodfellow et al., NeurIPS
         2014, with the penalty R1 of Mescheder et al., ICML 2018 (arXiv:1801.04406), every 16 steps
Differs  w is not mapped from noise but holds the factors themselves: w = f M, with orthogonal rows of M. So every factor is a linear
         function of w, of any w

First by regression alone: L1 on four scales and on gradients, weighted to the face's center, where eyes and mouth are few pixels. Then
with a weak adversarial term, which brings back the sharpness that L1 averages away.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from .. import workers
from ..errors import SettingError, need
from ..generators.stylegan2 import Config, Net
from ..method import Progress, quiet
from ..space import Latents
from . import loop
from .beginning import fresh, training_form
from .discriminator import Discriminator, r1
from .loop import Report


@dataclass(frozen=True)
class Planted:
    """The recipe. `channels` and `critic` are widths for 4, 8, … px; images are counts shown to the net."""

    channels: tuple[int, ...] = (96, 96, 96, 64, 32)
    critic: tuple[int, ...] = (64, 64, 64, 48, 24)
    d: int = 128
    batch: int = 8
    images: int = 300_000
    rate: float = 7e-3
    adversarial_images: int = 60_000
    adversarial: float = 0.1
    adversarial_rate: tuple[float, float] = (3e-3, 1e-3)  # from, to
    critic_rate: float = 2e-3
    gamma: float = 1.0  # of R1
    lazy: int = 16  # steps between two penalties
    center: float = 5.0  # how much more eyes and mouth count
    gradients: float = 0.7
    half_life: float = 5_000
    held_out: int = 1_000
    precision: str = "bf16-mixed"
    seed: int = 0
    every: int = 10_000

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides the result, as a training file holds it."""
        told = {k: v for k, v in vars(self).items() if k != "every"}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in told.items()}

    @property
    def config(self) -> Config:
        return Config(self.channels, z_dim=self.d, w_dim=self.d, depth=1, noise=False)


def embedding(factors: int, d: int) -> Float[Tensor, "f d"]:
    """M: orthogonal rows, as long as makes the entries of f M have variance 1 for uniform f. Fixed."""
    source = torch.Generator().manual_seed(3)
    return torch.linalg.qr(torch.randn(d, factors, generator=source))[0].T * math.sqrt(3 * d / factors)


def train(
    images: UInt8[Tensor, "n 3 s s"],
    factors: Float[Tensor, "n f"],
    folder: str | Path,
    recipe: Planted | None = None,
    *,
    devices: int = 1,
    accelerator: str = "auto",
    report: Callable[[Report], None] | None = None,
    progress: Progress = quiet,
) -> Net:
    """The averaged net after both phases; files to go on from are kept in `folder`/regression and `folder`/adversarial.

    Starts where an earlier call with the same recipe was killed, and then gives the same bits on one machine. The last `held_out`
    pictures are only looked at. Raises SettingError, ArtifactError (files of another recipe), MethodFailed (it blew up), MissingExtra
    (the extra "train").
    """
    recipe = recipe or Planted()
    fabric = need("lightning_fabric", "train", "training").Fabric(
        accelerator=accelerator, devices=devices, precision=recipe.precision
    )
    size = 4 << (len(recipe.channels) - 1)
    if tuple(images.shape[1:]) != (3, size, size) or len(images) != len(factors):
        raise SettingError(
            f"these widths make pictures [n, 3, {size}, {size}]; got {tuple(images.shape)} and {len(factors)} rows"
        )
    if not recipe.batch <= len(images) - recipe.held_out or recipe.batch % devices:
        raise SettingError(
            f"batch {recipe.batch} needs as many pictures beside the {recipe.held_out} held out, and must divide by {devices}"
        )
    places = [Path(folder) / "regression", Path(folder) / "adversarial"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    fabric.launch()
    course = Course(fabric, images, factors, recipe)
    course.regression(places[0], report, progress)
    if recipe.adversarial_images:
        course.adversarial(places[1], report, progress)
    return course.average.net.cpu()


class Course:
    """Both phases on one set of pictures."""

    def __init__(self, fabric: Any, images: Tensor, factors: Tensor, recipe: Planted):
        self.fabric, self.recipe, self.device = fabric, recipe, fabric.device
        self.images, self.codes = images, factors.float() @ embedding(factors.shape[1], recipe.d)
        self.known = len(images) - recipe.held_out
        self.net = fresh(Net(recipe.config), recipe.seed)
        self.critic = fresh(Discriminator(recipe.critic), recipe.seed + 1)
        for module in (self.net, self.critic):
            module.to(self.device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average: loop.Average[Net] = loop.Average(self.net, recipe.half_life)
        self.weight = center_weight(images.shape[-1], recipe.center).to(self.device)

    def regression(self, folder: Path, report: Any, progress: Progress) -> None:
        recipe = self.recipe
        optimizer = torch.optim.Adam(self.net.parameters(), recipe.rate, (0.9, 0.99))
        parts = {"net": self.net, "average": self.average.net, "optimizer": optimizer}

        def step(shown: int) -> dict[str, Tensor]:
            loop.set_rate(optimizer, recipe.rate * loop.cosine(shown, recipe.images, 200 * recipe.batch))
            codes, real = self.batch(shown)
            optimizer.zero_grad(set_to_none=True)
            loss = self.distance(self.made(self.net, codes), real)
            self.fabric.backward(loss)
            loop.average_gradients(self.net.parameters())
            optimizer.step()
            self.average.update(self.net, shown + recipe.batch, recipe.batch)
            return {"regression": loss}

        self.run(folder, parts, step, recipe.images, report, progress, "regression")

    def adversarial(self, folder: Path, report: Any, progress: Progress) -> None:
        recipe, total = self.recipe, self.recipe.adversarial_images
        self.net.load_state_dict(self.average.net.state_dict())
        optimizer = torch.optim.Adam(self.net.parameters(), recipe.adversarial_rate[0], (0.0, 0.99))
        critics = torch.optim.Adam(self.critic.parameters(), recipe.critic_rate, (0.0, 0.99))
        parts = {
            "net": self.net,
            "average": self.average.net,
            "critic": self.critic,
            "optimizer": optimizer,
            "critics": critics,
        }

        def step(shown: int) -> dict[str, Tensor]:
            first, last = recipe.adversarial_rate
            loop.set_rate(optimizer, first + (last - first) * shown / total)
            codes, real = self.batch(recipe.images + shown)
            self.critic.requires_grad_(False)
            optimizer.zero_grad(set_to_none=True)
            made = self.made(self.net, codes)
            with self.fabric.autocast():
                doubt = F.softplus(-self.critic(made)).mean()
            regression = self.distance(made, real)
            self.fabric.backward(regression + recipe.adversarial * doubt)
            loop.average_gradients(self.net.parameters())
            optimizer.step()
            self.critic.requires_grad_(True)
            loss = self.criticize(critics, made.detach(), real)
            if shown // recipe.batch % recipe.lazy == 0:
                self.penalize(critics, real)
            self.average.update(self.net, recipe.images + shown + recipe.batch, recipe.batch)
            return {"regression": regression, "doubt": doubt, "critic": loss}

        self.run(folder, parts, step, total, report, progress, "adversarial")

    def criticize(self, critics: torch.optim.Optimizer, made: Tensor, real: Tensor) -> Tensor:
        critics.zero_grad(set_to_none=True)
        with self.fabric.autocast():
            loss = F.softplus(self.critic(made)).mean() + F.softplus(-self.critic(real)).mean()
        self.fabric.backward(loss)
        loop.average_gradients(self.critic.parameters())
        critics.step()
        return loss

    def penalize(self, critics: torch.optim.Optimizer, real: Tensor) -> None:
        critics.zero_grad(set_to_none=True)
        self.fabric.backward(r1(self.critic, real, self.recipe.gamma) * self.recipe.lazy)
        loop.average_gradients(self.critic.parameters())
        critics.step()

    def run(
        self,
        folder: Path,
        parts: dict[str, Any],
        step: Callable[[int], dict[str, Tensor]],
        total: int,
        report: Any,
        progress: Progress,
        title: str,
    ) -> None:
        recipe, settings = self.recipe, self.recipe.settings | {"pictures": len(self.images)}
        loop.loop(
            first=loop.take_up(folder, parts, settings),
            total=total,
            batch=recipe.batch,
            every=recipe.every,
            step=step,
            save=lambda shown: loop.keep(folder, shown, parts, settings),
            look=self.look,
            report=report,
            progress=progress,
            title=title,
        )

    def made(self, net: Net, codes: Float[Tensor, "n d"]) -> Float[Tensor, "n 3 s s"]:
        """The pictures of w codes, through the family's own differentiable form; features in bfloat16 where the recipe says so."""
        g = training_form(net, self.recipe.precision)
        return g.synthesize(Latents(codes, g.space("w")), grad=torch.is_grad_enabled())

    def batch(self, shown: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n 3 s s"]]:
        """This process's rows of the batch after `shown` images: each epoch goes once through all, in an order of its own."""
        chosen = []
        for i in range(shown, shown + self.recipe.batch):
            chosen.append(self.order(i // self.known)[i % self.known])
        rows = loop.share(torch.stack(chosen))
        return self.codes[rows].to(self.device), pictures(self.images[rows]).to(self.device)

    def order(self, epoch: int) -> Tensor:
        if getattr(self, "_order", (None, None))[0] != epoch:
            source = workers.generator(self.recipe.seed, epoch)
            self._order = epoch, torch.randperm(self.known, generator=source)
        return self._order[1]

    def distance(self, made: Float[Tensor, "n 3 s s"], real: Float[Tensor, "n 3 s s"]) -> Tensor:
        """Weighted L1 of pictures on four scales, and of their gradients on the two finest."""
        error, weight, total = made.float() - real, self.weight, made.new_zeros(())
        for scale in range(4):
            total = total + (error.abs() * weight).mean()
            if scale < 2:
                across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
                steep = (across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()
                total = total + self.recipe.gradients * steep
            error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
        return total

    @torch.no_grad()
    def look(self) -> tuple[dict[str, float], Tensor]:
        """Quality on the pictures held out, and the first of them above what the net makes of their factors."""
        real = pictures(self.images[self.known :])
        codes = self.codes[self.known :].split(50)
        made = torch.cat([self.made(self.average.net, c.to(self.device)).cpu() for c in codes]).clamp(-1, 1)
        numbers = {"psnr": psnr(made, real), "sharpness": sharpness(made) / sharpness(real)}
        return numbers, torch.cat([real[:10], made[:10], real[10:20], made[10:20]])


def pictures(bytes_: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
    return bytes_.float() / 127.5 - 1


def psnr(made: Float[Tensor, "n 3 s s"], real: Float[Tensor, "n 3 s s"]) -> float:
    """The mean over pictures, in dB, of pictures in [-1, 1]."""
    return float((-10 * ((made - real) / 2).square().mean((1, 2, 3)).log10()).mean())


def sharpness(images: Float[Tensor, "n 3 s s"]) -> float:
    """The standard deviation of what a 3x3 mean takes away."""
    return float((images - F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "reflect"), 3, 1)).std())


def center_weight(size: int, more: float) -> Float[Tensor, "1 1 s s"]:
    """1 + more · a Gaussian on eyes and mouth."""
    at = (torch.arange(float(size)) + 0.5) / size
    y, x = torch.meshgrid(at, at, indexing="ij")
    return (1 + more * torch.exp(-(((x - 0.5) / 0.20) ** 2) - ((y - 0.50) / 0.23) ** 2))[None, None]
