"""Rendered heads at 64 px, with the truth about every code: the generator that comes with the package.

Paper    the net is that of Karras et al., CVPR 2020 (arXiv:1912.04958); the truth is planted by `train/planted.py`, so no paper
Matches  StyleGAN2's form in every part: mapping of leaky-ReLU layers, w+, styles, skips. It is a StyleGAN2
Differs  mapping and w are not trained but attached: style maps are linear, so that they absorb any linear embedding of the factors.
         One synthesis net therefore serves a family of benchmarks, and the factors are an exactly known function of any w

heads-64                factors along nearly separate axes of w, each as long as it matters for the picture
heads-64-rotated        factors mixed by a strong rotation, all axes of the same length: no principal component is to be preferred
heads-64-steep          the same, and axes of very different lengths: principal components are well defined, and each is a mixture
heads-64-correlated     codes in which gray hair and glasses come with age, and short hair with masculine faces
heads-64-bent           factors are a curved function of w (w+ is straight): no straight path is right everywhere

Factors, in [-1, 1] for the generator's own codes, are listed in `data/heads/world.py`.
"""

import math
from collections.abc import Mapping as Map
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..artifact import fingerprint, replacing
from ..data.heads.world import NAMES
from ..errors import ArtifactError, SettingError, SpaceError, UnknownName
from ..generator import Mark
from ..nn.stylegan_ops import SLOPE
from ..path import Direction, Paths
from ..space import Latents, Space
from .stylegan2 import Config, Net, StyleGAN2

WEIGHTS = Path(__file__).with_name("heads64.safetensors")
D, AXES, DEPTH = 128, 64, 3  # of w; of the embedding, each axis of which is two of w; of the mapping
KNOTS = 6  # of the curve from a normal number to a uniform one, for each factor
COUNT = len(NAMES)


@dataclass(frozen=True)
class Variant:
    """How the factors lie in w. `mixing` is the size of a random rotation's generator; `spectrum` says how long the axes are."""

    mixing: float
    spectrum: str  # "visible", "flat" or "steep"
    correlations: tuple[tuple[str, str, float], ...] = ()  # (factor, the factor it follows, correlation)
    bend: float = 0.0


VARIANTS: Map[str, Variant] = {
    "heads-64": Variant(0.22, "visible"),
    "heads-64-rotated": Variant(2.0, "flat"),
    "heads-64-steep": Variant(2.0, "steep"),
    "heads-64-correlated": Variant(
        0.22, "visible", (("hair_warm", "age", -0.6), ("glasses", "age", 0.5), ("hair_length", "gender", -0.6))
    ),
    "heads-64-bent": Variant(0.22, "visible", bend=0.3),
}


class Heads(StyleGAN2):
    """A StyleGAN2 that knows the factors of its codes.

    The readout R [d f] is a buffer of the net: f = w R, or, where the variant is bent, f = unbent(w R).
    """

    factor_names: tuple[str, ...] = NAMES

    def __init__(self, name: str, net: Net, variant: Variant, mark: Mark | None = None):
        super().__init__(name, net, mark)
        self.variant = variant
        if variant.bend:  # the step from w to w+ unbends, so it is not affine
            self.spaces = tuple(Space(s.name, s.shape, s.affine and s.name != "w+") for s in self.spaces)

    @property
    def readout(self) -> Float[Tensor, "d f"]:
        return self.net.get_buffer("readout")

    def factors(self, latents: Latents) -> Float[Tensor, "n f"]:
        """The truth: the factors of codes in z, w, or w+ (with the same w in all rows), edited or not. Columns as `factor_names`.

        Raises SpaceError for codes of s, and for w+ with different rows: see `row_factors`.
        """
        rows = self.row_factors(latents)
        if not torch.allclose(rows, rows[:, :1].expand_as(rows), atol=1e-5):
            raise SpaceError("the rows of these w+ codes differ, so they have no one set of factors; see row_factors()")
        return rows[:, 0]

    def row_factors(self, latents: Latents) -> Float[Tensor, "n rows f"]:
        """The factors that each row of w+ stands for. Raises SpaceError for codes of s."""
        if latents.space.name == "s":
            raise SpaceError("styles of 's' need not belong to any factors; ask for those of the w they were made from")
        return self.lift(latents, "w+").values @ self.readout

    def directions(self) -> Float[Tensor, "f d"]:
        """For each factor the shortest step in w that raises it by 1 and leaves the others as they are.

        Where the variant is bent, that holds at the codes where bent and straight factors agree, and nearby elsewhere.
        """
        return torch.linalg.pinv(self.readout.double()).to(self.dtype)

    def truth(self) -> Paths:
        """The directions as paths in w, named after their factors; t counts standard deviations as on any path."""
        where = self.space("w")
        named = zip(NAMES, self.directions(), strict=True)
        return Paths(tuple(Direction.along(name, step, where, self) for name, step in named))

    def to_factors(self, latents: Latents, wanted: Map[str, float]) -> Latents:
        """The same samples in w with some factors set. Raises UnknownName."""
        if unknown := [name for name in wanted if name not in NAMES]:
            raise UnknownName("factor", unknown[0], NAMES)
        here = self.lift(latents, "w")
        now = self.factors(here)
        then = now.clone()
        for name, value in wanted.items():
            then[:, NAMES.index(name)] = value
        return here.moved((self._bent(then) - self._bent(now)) @ self.directions())

    def _step(self, latents: Latents) -> Latents:
        if not self.variant.bend or latents.space.name == "w+":
            return super()._step(latents)
        w = super()._step(latents).values if latents.space.name == "z" else latents.values
        factors = w @ self.readout
        if latents.space.name == "z":
            return latents.at(w + (self._bent(factors) - factors) @ self.directions(), self.space("w"))
        straight = w + (self._unbent(factors) - factors) @ self.directions()
        return latents.at(straight[:, None].expand(-1, *self.space("w+").shape).clone(), self.space("w+"))

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if self.variant.bend and space == "w":
            raise SpaceError(f"{self.name} is curved between 'w' and the styles; its affine maps are out of 'w+'")
        return super().affines(space)

    def _bent(self, f: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        """Additive couplings: one half of the factors shifts the other by sines of it, then the other way round."""
        a, b = f[:, 0::2], f[:, 1::2]
        a = a + self._shift(b)
        return torch.stack([a, b + self._shift(a)], 2).flatten(1)

    def _unbent(self, f: Float[Tensor, "n f"]) -> Float[Tensor, "n f"]:
        a, b = f[:, 0::2], f[:, 1::2]
        b = b - self._shift(a)
        return torch.stack([a - self._shift(b), b], 2).flatten(1)

    def _shift(self, half: Float[Tensor, "n g"]) -> Float[Tensor, "n g"]:
        return self.variant.bend * torch.sin(2.5 * half.roll(1, 1) + 0.5)


def load(name: str = "heads-64") -> Heads:
    """The generator of that name. Raises UnknownName, and ArtifactError where the package's own file is missing or damaged."""
    if name not in VARIANTS:
        raise UnknownName("generator of heads", name, VARIANTS)
    return attached(name, kept(WEIGHTS), VARIANTS[name])


def kept(file: Path) -> dict[str, Tensor]:
    """The trained tensors: a StyleGAN2's synthesis, its style maps as functions of the factors. Raises ArtifactError."""
    try:
        found = {key: t.float() for key, t in load_file(file).items()}
    except Exception as error:
        raise ArtifactError(f"{file} cannot be read ({str(error)[:100]}); install the package again") from error
    if "const" not in found or found["b4.conv1.affine.weight"].shape[1] != COUNT:
        raise ArtifactError(f"{file} is not the generator of heads with {COUNT} factors; install the package again")
    return found


def keep(net: Net, matrix: Float[Tensor, "f d"], file: str | Path, notes: Map[str, str] | None = None) -> Path:
    """Write a net that was trained on w = f · matrix as `kept` reads it: style maps of the factors, in half precision.

    `notes` go into the file's header: how it was trained. Raises ArtifactError if it cannot be written.
    """
    file, tensors = Path(file), {}
    for name, t in net.state_dict().items():
        if name.startswith("mapping.") or name == "w_avg":
            continue
        if name.endswith("affine.weight"):
            t = t.double() / math.sqrt(t.shape[1]) @ matrix.double().T
        tensors[name] = t.detach().half().contiguous()
    with replacing(file) as part:
        save_file(tensors, part, dict(notes or {}))
    return file


def attached(name: str, synthesis: Map[str, Tensor], variant: Variant) -> Heads:
    """A generator around a synthesis net of the factors: with a w that holds them, and a mapping that fills it."""
    if variant.spectrum not in SPECTRA:
        raise SettingError(f"spectrum is one of {', '.join(SPECTRA)}; got {variant.spectrum!r}")
    widths = tuple(synthesis[f"b{4 << b}.conv1.weight"].shape[0] for b in range(5))
    net = Net(Config(widths, z_dim=COUNT, w_dim=D, depth=DEPTH, mapping_lr=1.0, noise=False))
    embedding = embedded(variant)
    readout = read_out(embedding)
    net.register_buffer("readout", readout.float())
    state: dict[str, Tensor] = {"w_avg": torch.zeros(D), "readout": readout.float()}
    for key, t in synthesis.items():
        # style = a f = a Rᵀ w; the layer divides by the square root of w's width
        state[key] = (t.double() @ readout.T * math.sqrt(D)).float() if key.endswith("affine.weight") else t
    for i, (weight, bias) in enumerate(mapped(embedding, variant)):
        state[f"mapping.layers.{i}.weight"] = (weight * math.sqrt(weight.shape[1])).float()
        state[f"mapping.layers.{i}.bias"] = bias.float()
    net.load_state_dict(state)
    made = Heads(name, net, variant, mark=fingerprint(state | {"bend": torch.tensor(variant.bend)}))
    z = made._latents(torch.randn(8192, COUNT, generator=torch.Generator().manual_seed(1)), torch.zeros(8192), None)
    net.get_buffer("w_avg").copy_(made.lift(z, "w").values.mean(0))
    return made


# -- how factors lie in w ---------------------------------------------------------------------------------------------------------

# How much each factor changes a picture: the root mean square over pixels of its least-squares effect on 6,000 renders, the largest being 1
VISIBLE: Map[str, float] = {
    "yaw": 0.40, "pitch": 0.24, "smile": 0.04, "brow": 0.06, "age": 0.13, "gender": 0.17, "tone": 1.0, "hair_light": 0.79,
    "hair_warm": 0.26, "hair_length": 0.47, "hair_curl": 0.66, "glasses": 0.16, "light": 0.65, "background": 0.87, "width": 0.19,
    "nose": 0.02, "eyes": 0.03, "eye_color": 0.04, "brow_color": 0.04, "collar": 0.34,
}  # fmt: skip
SPECTRA = ("visible", "flat", "steep")


def embedded(variant: Variant) -> Float[Tensor, "f axes"]:
    """M in x = f M: a rotation of the factors, the lengths of the axes, and an orthonormal frame. Entries of x have variance near 1."""
    source = torch.Generator().manual_seed(4)
    skew = torch.randn(COUNT, COUNT, generator=source, dtype=torch.float64) * variant.mixing / math.sqrt(2)
    rotation = torch.linalg.matrix_exp(skew - skew.T)
    frame = torch.linalg.qr(torch.randn(AXES, COUNT, generator=source, dtype=torch.float64))[0].T
    match variant.spectrum:
        case "visible":
            lengths = torch.tensor([min(max(math.sqrt(VISIBLE[n]), 0.3), 1.0) for n in NAMES], dtype=torch.float64)
        case "flat":
            lengths = torch.ones(COUNT, dtype=torch.float64)
        case _:
            lengths = torch.logspace(0, -1.3, COUNT, dtype=torch.float64)
    scale = math.sqrt(3 * AXES / COUNT) / lengths.square().mean().sqrt()
    return rotation * lengths @ frame * scale


def read_out(embedding: Float[Tensor, "f axes"]) -> Float[Tensor, "d f"]:
    """R in f = w R: each axis is the difference of its two leaky halves, √2 (lrelu(x), lrelu(-x))."""
    back = torch.linalg.pinv(embedding) / ((1 + SLOPE) * math.sqrt(2))
    return torch.cat([back, -back])


def mapped(embedding: Float[Tensor, "f axes"], variant: Variant) -> list[tuple[Tensor, Tensor]]:
    """Weights and biases of the mapping: z, on the sphere, is turned; a curve with knots makes each coordinate uniform; then embedded."""
    source = torch.Generator().manual_seed(7)
    turn = torch.linalg.qr(torch.randn(COUNT, COUNT, generator=source, dtype=torch.float64))[0]
    turn = turn @ following(variant).T
    at, height, level = curve()
    pair = torch.cat([torch.eye(COUNT), -torch.eye(COUNT)]).double()  # f to (f, -f)
    unpair = pair.T / ((1 + SLOPE) * math.sqrt(2))  # back from their leaky halves
    first, second, third = torch.zeros(D, COUNT).double(), torch.zeros(D, D).double(), torch.zeros(D, D).double()
    used = COUNT * KNOTS
    first[:used] = turn.T.repeat_interleave(KNOTS, 0)
    offsets = torch.zeros(D).double()
    offsets[:used] = -at.repeat(COUNT)
    curves = torch.zeros(COUNT, D).double()
    for k in range(COUNT):
        curves[k, k * KNOTS : (k + 1) * KNOTS] = height
    second[: 2 * COUNT] = pair @ curves
    levels = torch.zeros(D).double()
    levels[: 2 * COUNT] = pair @ torch.full((COUNT,), level, dtype=torch.float64)
    third[:, : 2 * COUNT] = torch.cat([embedding.T, -embedding.T]) @ unpair
    return [(first, offsets), (second, levels), (third, torch.zeros(D).double())]


def following(variant: Variant) -> Float[Tensor, "f f"]:
    """Rows: how each factor's normal number is made of independent ones. Unit rows, so that every factor stays uniform."""
    made = torch.eye(COUNT, dtype=torch.float64)
    for name, leader, rho in variant.correlations:
        row, column = NAMES.index(name), NAMES.index(leader)
        made[row, column], made[row, row] = rho, math.sqrt(1 - rho * rho)
    return made


def curve() -> tuple[Float[Tensor, " knots"], Float[Tensor, " knots"], float]:
    """Knots t, heights c and level l with Σ c_j √2 lrelu(u - t_j) + l ≈ the distribution function of u, scaled to [-1, 1].

    u is a coordinate of a point on the sphere of radius √f in f dimensions: u²/f has a beta distribution.
    """
    u = torch.linspace(-3.6, 3.6, 4001, dtype=torch.float64)
    density = (1 - u.square() / COUNT).clamp_min(0) ** ((COUNT - 3) / 2)
    wanted = density.cumsum(0) - density / 2
    wanted = wanted / density.sum() * 2 - 1
    at = torch.linspace(-2.0, 2.0, KNOTS, dtype=torch.float64)
    columns = torch.cat(
        [torch.nn.functional.leaky_relu(u[:, None] - at, SLOPE) * math.sqrt(2), torch.ones(len(u), 1).double()], 1
    )
    weight = density.sqrt()[:, None]
    found = torch.linalg.lstsq(columns * weight, wanted[:, None] * weight).solution[:, 0]
    return at, found[:KNOTS], float(found[KNOTS])
