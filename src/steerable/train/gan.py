"""A StyleGAN2 from pictures alone.

Paper    Karras, Laine, Aittala, Hellsten, Lehtinen, Aila, Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020
         (arXiv:1912.04958); the loss is Goodfellow et al.'s (NeurIPS 2014), the penalty Mescheder et al.'s (ICML 2018)
Matches  non-saturating loss, lazy R1 (section 3.1), averaged weights, minibatch standard deviation, equalized learning rate, noise inputs;
         augmentation when the critic learns by heart (train/augment.py)
Differs  no path-length penalty and no style mixing; begins at a smaller size, as Karras et al. (ICLR 2018, arXiv:1710.10196) do, but grows
         at once: image skips make fading in unnecessary
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from .augment import Augment
from .beginning import fresh, training_form
from .discriminator import Discriminator, r1
from .loop import Report
from .planted import pictures


@dataclass(frozen=True)
class Natural:
    """The recipe. `start` and `start_images`: the smaller size and how long training stays there; 0 images for no such start."""

    config: Config = field(
        default_factory=lambda: Config((64, 64, 64, 48, 24), z_dim=64, w_dim=128, depth=4, noise=False)
    )
    critic: tuple[int, ...] = (64, 64, 64, 48, 24)
    batch: int = 16
    images: int = 2_000_000
    start: int = 32
    start_images: int = 500_000
    rate: float = 2.5e-3
    gamma: float = 0.1
    lazy: int = 16  # critic's steps between two penalties
    half_life: float = 10_000
    adaptive: bool = True
    flip: bool = False  # mirrored pictures count as pictures
    precision: str = "bf16-mixed"
    seed: int = 0
    every: int = 20_000

    @property
    def settings(self) -> dict[str, Any]:
        return {k: repr(v) if isinstance(v, (Config, tuple)) else v for k, v in vars(self).items() if k != "every"}

    def at(self, size: int, images: int) -> "Natural":
        """The recipe of the smaller size."""
        blocks = size.bit_length() - 2
        config = replace(self.config, widths=self.config.widths[:blocks])
        return replace(self, config=config, critic=self.critic[:blocks], images=images, start_images=0)


def train(
    images: UInt8[Tensor, "n 3 s s"],
    folder: str | Path,
    recipe: Natural | None = None,
    *,
    devices: int = 1,
    accelerator: str = "auto",
    report: Callable[[Report], None] | None = None,
    progress: Progress = quiet,
) -> Net:
    """The averaged net; files to go on from are kept in folders of `folder` named by size (32px, 64px).

    Starts where an earlier call with the same recipe was killed, and then gives the same bits on one machine. Raises SettingError,
    ArtifactError (files of another recipe), MethodFailed (it blew up), MissingExtra (the extra "train").
    """
    recipe = recipe or Natural()
    size = recipe.config.sizes[-1][0]
    if tuple(images.shape[1:]) != (3, size, size):
        raise SettingError(f"these widths make pictures [n, 3, {size}, {size}]; got {tuple(images.shape)}")
    if len(recipe.critic) != len(recipe.config.widths) or recipe.batch % devices:
        raise SettingError("the critic has one width for each of the generator's, and the batch divides by the devices")
    fabric = need("lightning_fabric", "train", "training").Fabric(
        accelerator=accelerator, devices=devices, precision=recipe.precision
    )
    fabric.launch()
    small = None
    if recipe.start_images:
        if not 4 <= recipe.start < size or recipe.start & (recipe.start - 1):
            raise SettingError(f"start is a power of two from 4 to {size // 2} px; got {recipe.start}")
        small = Duel(fabric, shrunk(images, recipe.start), recipe.at(recipe.start, recipe.start_images))
        small.run(Path(folder) / f"{recipe.start}px", report, progress)
    duel = Duel(fabric, images, recipe)
    if small is not None:
        duel.grow(small)
    duel.run(Path(folder) / f"{size}px", report, progress)
    return duel.finished()


class Duel:
    """Generator and critic at one size."""

    def __init__(self, fabric: Any, images: Tensor, recipe: Natural):
        self.fabric, self.images, self.recipe, device = fabric, images, recipe, fabric.device
        self.net = fresh(Net(recipe.config), recipe.seed).to(device)
        self.critic = fresh(Discriminator(recipe.critic), recipe.seed + 1).to(device)
        for module in (self.net, self.critic):
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.average: loop.Average[Net] = loop.Average(self.net, recipe.half_life)
        self.augment = Augment().to(device)
        lazily = recipe.lazy / (recipe.lazy + 1)  # paper, appendix B: the penalty is a step of its own
        self.optimizer = torch.optim.Adam(self.net.parameters(), recipe.rate, (0.0, 0.99))
        self.critics = torch.optim.Adam(self.critic.parameters(), recipe.rate * lazily, (0.0, 0.99**lazily))

    def grow(self, small: "Duel") -> None:
        """Take over what a smaller pair has learned; the new image head begins quietly."""
        for mine, theirs in ((self.net, small.net), (self.critic, small.critic), (self.average.net, small.average.net)):
            own = mine.state_dict()
            own.update({k: t for k, t in theirs.state_dict().items() if k in own and t.shape == own[k].shape})
            mine.load_state_dict(own)
        self.augment.load_state_dict(small.augment.state_dict())
        with torch.no_grad():
            for net in (self.net, self.average.net):
                net.get_parameter(f"b{self.recipe.config.sizes[-1][0]}.torgb.weight").mul_(0.1)

    def run(self, folder: Path, report: Any, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        recipe, settings = self.recipe, self.recipe.settings | {"pictures": len(self.images)}
        parts = {
            "net": self.net,
            "average": self.average.net,
            "critic": self.critic,
            "optimizer": self.optimizer,
            "critics": self.critics,
            "augment": self.augment,
        }
        loop.loop(
            first=loop.take_up(folder, parts, settings),
            total=recipe.images,
            batch=recipe.batch,
            every=recipe.every,
            step=self.step,
            save=lambda shown: loop.keep(folder, shown, parts, settings),
            look=self.look,
            report=report,
            progress=progress,
            title=f"{recipe.config.sizes[-1][0]} px",
        )

    def step(self, shown: int) -> dict[str, Tensor]:
        recipe, source = self.recipe, workers.generator(self.recipe.seed, shown)
        self.critic.requires_grad_(False)
        self.optimizer.zero_grad(set_to_none=True)
        doubt = F.softplus(-self.judged(self.made(self.net, source), source)).mean()
        self.fabric.backward(doubt)
        loop.average_gradients(self.net.parameters())
        self.optimizer.step()

        self.critic.requires_grad_(True)
        self.critics.zero_grad(set_to_none=True)
        real = self.real(source)
        with torch.no_grad():
            made = self.made(self.net, source)
        scores = self.judged(real, source)
        loss = F.softplus(self.judged(made, source)).mean() + F.softplus(-scores).mean()
        self.fabric.backward(loss)
        loop.average_gradients(self.critic.parameters())
        self.critics.step()

        if shown // recipe.batch % recipe.lazy == 0:
            self.penalize(self.augment(self.real(source), source))
        if recipe.adaptive:
            self.augment.adapt(scores, recipe.batch)
        self.average.update(self.net, shown + recipe.batch, recipe.batch)
        return {"doubt": doubt, "critic": loss, "sign": scores.sign().mean(), "p": self.augment.p}

    def penalize(self, real: Tensor) -> None:
        self.critics.zero_grad(set_to_none=True)
        self.fabric.backward(r1(self.critic, real, self.recipe.gamma) * self.recipe.lazy)
        loop.average_gradients(self.critic.parameters())
        self.critics.step()

    def judged(self, images: Float[Tensor, "n 3 s s"], source: torch.Generator) -> Float[Tensor, " n"]:
        with self.fabric.autocast():
            return self.critic(self.augment(images, source)).float()

    def made(self, net: Net, source: torch.Generator) -> Float[Tensor, "n 3 s s"]:
        """This process's part of a batch from fresh codes, with fresh noise."""
        g, n = training_form(net, self.recipe.precision), self.recipe.batch
        inputs = {k: loop.share(torch.randn(n, *shape, generator=source)) for k, shape in g.inputs.items()}
        z = loop.share(torch.randn(n, self.recipe.config.z_dim, generator=source))
        inputs = {k: v.to(self.fabric.device) for k, v in inputs.items()}
        latents = Latents(z.to(self.fabric.device), g.space("z"), inputs)
        return g.synthesize(latents, grad=torch.is_grad_enabled()).float()

    def real(self, source: torch.Generator) -> Float[Tensor, "n 3 s s"]:
        rows = loop.share(torch.randint(len(self.images), (self.recipe.batch,), generator=source))
        mirrored = loop.share(torch.rand(self.recipe.batch, generator=source) < 0.5)
        x = pictures(self.images[rows])
        if self.recipe.flip:
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
        return x.to(self.fabric.device)

    @torch.no_grad()
    def look(self) -> tuple[dict[str, float], Tensor]:
        g = training_form(self.average.net, "32-true")
        z = torch.randn(40, self.recipe.config.z_dim, generator=workers.generator(self.recipe.seed + 1))
        return {}, g.synthesize(Latents(z.to(self.fabric.device), g.space("z")), grad=False).cpu()

    @torch.no_grad()
    def finished(self) -> Net:
        """The averaged net on the processor, with its mean w."""
        net = self.average.net.cpu()
        z = torch.randn(10_000, self.recipe.config.z_dim, generator=workers.generator(self.recipe.seed + 2))
        net.get_buffer("w_avg").copy_(net.mapping(z).mean(0))
        return net


def shrunk(images: UInt8[Tensor, "n 3 s s"], size: int) -> UInt8[Tensor, "n 3 t t"]:
    by = images.shape[-1] // size
    return torch.cat([F.avg_pool2d(part.float(), by).round().to(torch.uint8) for part in images.split(2000)])
