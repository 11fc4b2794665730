"""Losses as parts: each is made for one target and tells a number for every picture.

pixels, absolute   mean square, mean absolute difference
lpips              Zhang et al., CVPR 2018
features           mean square of raw features (Abdal et al., Image2StyleGAN, ICCV 2019, equation 2; Zhu et al., iGAN, ECCV 2016)
style              difference of Gram matrices (Abdal et al., Image2StyleGAN++, CVPR 2020, section 3.3)
identity           1 − cosine of SFace embeddings, at the place of the face in the target
critic             mean square of the features of the generator's critic (feature matching)
manifold           squared Mahalanobis distance of the codes from the generator's own, over their number
prior              −log p(u) of the coordinates over their number: their mean square, halved
near               mean square of the way from the start
cross              squared angles between the rows of w+ (Menon et al., PULSE, CVPR 2020: GEOCROSS)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from ..generator import Generator
from ..method import param
from ..nn.perceptual import ALEX, LPIPS, SMALLEST, VGG
from ..nn.sface import SFace
from ..renderer import fitted
from ..score import landmarks
from ..score.crop import similarity, warp
from ..score.identity import TEMPLATE
from . import charts
from .inverter import Inverter


@dataclass(frozen=True)
class Seen:
    """What a part may look at: observed pictures, codes, and their coordinates."""

    images: Float[Tensor, "n 3 h w"]
    codes: Float[Tensor, "n *shape"]
    u: Float[Tensor, "n *shape"]


Part = Callable[[Seen], Float[Tensor, "n"]]


@dataclass(frozen=True, kw_only=True)
class Weights(Inverter):
    """The settings that say which parts count, and how much."""

    space: str = param("w+", "space that is searched: z, w, w+, s")
    floor: float = param(1e-2, "least variance of whitened coordinates, as a share of the largest", ge=1e-9, le=1)
    pixels: float = param(1.0, "weight of the mean square difference", ge=0)
    absolute: float = param(0.0, "weight of the mean absolute difference", ge=0)
    lpips: float = param(0.8, "weight of LPIPS", ge=0)
    lpips_net: str = param("vgg", "whose features LPIPS takes", choices=("vgg", "alex"))
    look: int = param(128, "size (px) at which nets look, if pictures are larger", ge=16)
    features: float = param(0.0, "weight of raw features", ge=0)
    feature_layers: str = param("vgg:conv1_1,conv1_2,conv3_2,conv4_2", "which features")
    style: float = param(0.0, "weight of Gram matrices", ge=0)
    identity: float = param(0.0, "weight of 1 - cosine of SFace embeddings", ge=0)
    critic: float = param(0.0, "weight of the features of the generator's critic", ge=0)
    manifold: float = param(0.0, "weight of the distance of codes from the generator's own", ge=0)
    prior: float = param(0.0, "weight of -log p of the coordinates, over their number", ge=0)
    near: float = param(0.0, "weight of the way from the start", ge=0)
    cross: float = param(0.0, "weight of the angles between rows of w+", ge=0)


@dataclass(frozen=True)
class Losses:
    """A weighted sum of parts."""

    parts: dict[str, tuple[float, Part]]

    def __call__(self, seen: Seen) -> Float[Tensor, "n"]:
        return sum((weight * part(seen) for weight, part in self.parts.values()), seen.u.new_zeros(len(seen.u)))


def losses(
    told: Weights, generator: Generator, target: Float[Tensor, "n 3 h w"], start: Float[Tensor, "n *shape"]
) -> Losses:
    """The parts with a weight, for pictures like `target` and codes that began at `start`. Raises SettingError for what cannot be had."""
    makers: dict[str, Callable[[], Part]] = {
        "pixels": lambda: lambda seen: (seen.images - target).square().flatten(1).mean(1),
        "absolute": lambda: lambda seen: (seen.images - target).abs().flatten(1).mean(1),
        "lpips": lambda: lpips(target, told.lpips_net, told.look),
        "features": lambda: features(target, told.feature_layers, told.look),
        "style": lambda: style(target, told.look),
        "identity": lambda: identity(target),
        "critic": lambda: critic(generator, target),
        "manifold": lambda: _of_codes(charts.manifold(generator, told.space, told.floor)),
        "prior": lambda: lambda seen: seen.u.square().flatten(1).mean(1) / 2,
        "near": lambda: lambda seen: (seen.codes - start).square().flatten(1).mean(1),
        "cross": lambda: cross,
    }
    weights = {name: float(getattr(told, name)) for name in makers}
    if not any(weights[name] for name in ("pixels", "absolute", "lpips", "features", "style", "identity", "critic")):
        raise SettingError("no loss compares pictures; give a weight to pixels, lpips, features, identity or critic")
    return Losses({name: (weights[name], make()) for name, make in makers.items() if weights[name]})


def _of_codes(distance: charts.Distance) -> Part:
    return lambda seen: distance(seen.codes)


# -- by nets ------------------------------------------------------------------------------------------------------------------------


@cache
def perceptual(net: Literal["alex", "vgg"]) -> LPIPS:
    """The one LPIPS net of that kind in this process."""
    return LPIPS(net)


@cache
def _sface() -> SFace:
    return SFace()


def lpips(target: Float[Tensor, "n 3 h w"], kind: str, look: int) -> Part:
    """LPIPS on pictures of at most `look` px (area means)."""
    net = perceptual(kind).to(target.device, target.dtype)  # type: ignore[arg-type]
    with torch.no_grad():
        wanted = net.features(fitted(target, look))
    return lambda seen: net.between(wanted, net.features(fitted(seen.images, look)))


def features(target: Float[Tensor, "n 3 h w"], layers: str, look: int) -> Part:
    """Σ over layers of the mean square difference of features after their ReLU. `layers` is "vgg:conv1_1,conv3_2" or "alex:conv4"."""
    kind, places = _places(layers)
    net = perceptual(kind).to(target.device, target.dtype)
    with torch.no_grad():
        wanted = list(_read(net, fitted(target, look), places))

    def part(seen: Seen) -> Tensor:
        made = _read(net, fitted(seen.images, look), places)
        return sum((a - b).square().flatten(1).mean(1) for a, b in zip(made, wanted, strict=True))  # type: ignore[return-value]

    return part


def style(target: Float[Tensor, "n 3 h w"], look: int) -> Part:
    """The mean square difference of the Gram matrices of VGG's conv3_3."""
    net = perceptual("vgg").to(target.device, target.dtype)
    with torch.no_grad():
        wanted = _gram(*_read(net, fitted(target, look), (6,)))
    return lambda seen: (_gram(*_read(net, fitted(seen.images, look), (6,))) - wanted).square().flatten(1).mean(1)


def _gram(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c c"]:
    x = x.flatten(2)
    return x @ x.transpose(1, 2) / x.shape[2]


def _places(layers: str) -> tuple[Literal["alex", "vgg"], tuple[int, ...]]:
    names: dict[str, list[str]] = {"alex": [f"conv{i}" for i in range(1, 6)], "vgg": []}
    block, at = 1, 1
    for step in VGG:
        names["vgg"] += [] if step == "M" else [f"conv{block}_{at}"]
        block, at = (block + 1, 1) if step == "M" else (block, at + 1)
    kind, _, rest = layers.partition(":")
    chosen = rest.split(",")
    if kind not in names or not set(chosen) <= set(names[kind]):
        raise SettingError(
            f"feature_layers={layers!r}: write vgg:conv1_1,conv3_2 (conv1_1 to conv5_3) or alex:conv4 (conv1 to conv5)"
        )
    return kind, tuple(sorted(names[kind].index(name) for name in chosen))  # type: ignore[return-value]


def _read(net: LPIPS, x: Float[Tensor, "n 3 h w"], places: tuple[int, ...]) -> Iterator[Tensor]:
    """The features after the convolutions numbered, and their ReLU; nothing behind the last is computed."""
    if min(x.shape[2:]) < SMALLEST[net.net]:
        raise SettingError(
            f"features of {net.net} need pictures of {SMALLEST[net.net]} px or more; got {x.shape[2]} × {x.shape[3]}"
        )
    x, i = (x - net.shift) / net.scale, 0
    for step in VGG if net.net == "vgg" else ALEX:
        if step == "M":
            x = F.max_pool2d(x, 2) if net.net == "vgg" else F.max_pool2d(x, 3, 2)
            continue
        x = F.relu(net.convs[i](x))
        if i in places:
            yield x
        if i == places[-1]:
            return
        i += 1


def identity(target: Float[Tensor, "n 3 h w"]) -> Part:
    """1 − cosine, both faces taken where the target has its face. Raises SettingError where there is none."""
    mesh = landmarks.net()(target)
    if not bool(mesh.found.all()):
        raise SettingError("identity: no face was found in the picture; align it as FFHQ is, or leave identity out")
    points = torch.stack([mesh.points[:, list(of), :2].mean(1) for of in TEMPLATE.of], 1)
    where, net = similarity(points, TEMPLATE.points.double()), _sface().to(target.device, torch.float32)

    def who(images: Tensor) -> Tensor:
        crops = warp(images.float(), where, TEMPLATE.size)
        return F.normalize(net((crops.clamp(-1, 1) + 1) * 127.5))

    with torch.no_grad():
        wanted = who(target)
    return lambda seen: (1 - (who(seen.images) * wanted).sum(1)).to(seen.images.dtype)


def critic(generator: Generator, target: Float[Tensor, "n 3 h w"]) -> Part:
    """Feature matching: the mean square difference of what the generator's critic sees, over its layers."""
    net: Any = generator.critic
    if net is None or not hasattr(net, "features"):
        raise SettingError(f"{generator.name} has no critic whose features could be compared; set critic=0")
    with torch.no_grad():
        wanted = net.features(target)

    def part(seen: Seen) -> Tensor:
        pairs = list(zip(net.features(seen.images), wanted, strict=True))
        return sum((a - b).square().flatten(1).mean(1) for a, b in pairs) / len(pairs)  # type: ignore[return-value]

    return part


# -- of codes -----------------------------------------------------------------------------------------------------------------------


def cross(seen: Seen) -> Float[Tensor, "n"]:
    """The mean over pairs of rows of their squared angle, times d/8."""
    u = seen.u
    if u.ndim != 3:
        raise SettingError("cross compares the rows of w+; search in w+, or set cross=0")
    a, b = u[:, :, None], u[:, None]
    apart, together = (a - b).square().sum(-1), (a + b).square().sum(-1)
    angle = 2 * torch.atan2((apart + 1e-9).sqrt(), (together + 1e-9).sqrt())
    return angle.square().mean((1, 2)) * u.shape[-1] / 8


__all__ = ["Losses", "Part", "Seen", "Weights", "losses", "perceptual"]
