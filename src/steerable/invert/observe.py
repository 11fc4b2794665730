"""What was observed of a picture: y = A(x). Restoration is inversion through such an operator.

    identity    mask (inpainting)    downsample:k (super-resolution)    gray (colorization)    blur:sigma    any function

Linear ones have an adjoint, ⟨Ax, y⟩ = ⟨x, Aᵀy⟩, and a pseudo-inverse, so that a picture can be made consistent with what was observed:
x + A⁺(y − Ax) (the range–null-space decomposition; Wang et al., DDNM, ICLR 2023, section 3).
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, UnknownName
from ..images import read_images

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
KNOWN = ("identity", "mask:FILE", "box:LEFT,TOP,RIGHT,BOTTOM", "downsample:K", "gray", "blur:SIGMA")


class Operator(ABC):
    """A map from pictures [n 3 h w] to observations [n 3 h' w'], both nominally in [-1, 1]. `spec` is its text, and its key in caches."""

    spec: str
    linear: bool = True

    @abstractmethod
    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        """A(x). Gradients pass."""

    def adjoint(self, y: Float[Tensor, "n 3 h2 w2"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        """Aᵀy, for pictures of `size`. Raises SettingError where the operator is not linear."""
        self._linear()
        zero = torch.zeros(len(y), 3, *size, dtype=y.dtype, device=y.device)
        return torch.func.vjp(self, zero)[1](y)[0]

    def pinv(self, y: Float[Tensor, "n 3 h2 w2"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        """A⁺y, the smallest picture of `size` with this observation (in least squares). Raises SettingError where A is not linear."""
        self._linear()
        return self.adjoint(_conjugate(lambda v: self(self.adjoint(v, size)), y), size)

    def consistent(self, images: Float[Tensor, "n 3 h w"], y: Float[Tensor, "n 3 h2 w2"]) -> Float[Tensor, "n 3 h w"]:
        """x + A⁺(y − Ax): the picture nearest to x that is observed as y."""
        return images + self.pinv(y - self(images), (images.shape[-2], images.shape[-1]))

    def coarse(self, k: int) -> "tuple[Operator, Callable[[Tensor], Tensor]] | None":
        """The operator for pictures k times smaller (area means), and what it makes of an observation; None where there is none."""
        return None

    def _linear(self) -> None:
        if not self.linear:
            raise SettingError(
                f"{self.spec} is not known to be linear, so it has no adjoint; pass Function(f, linear=True)"
            )

    def __repr__(self) -> str:
        return f"<observe {self.spec}>"


class Identity(Operator):
    spec = "identity"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        return images

    def adjoint(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return y

    def pinv(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return y

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]]:
        return self, lambda y: F.avg_pool2d(y, k)


class Mask(Operator):
    """Only where `mask` [1 1 h w] is 1 the picture was seen; elsewhere the observation is 0 (middle gray)."""

    def __init__(self, mask: Float[Tensor, "1 1 h w"], spec: str | None = None):
        """Raises SettingError for a mask that has other values than 0 and 1, or nothing but 0."""
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise SettingError("a mask of what was observed has the values 0 (not seen) and 1 (seen), nothing between")
        if not bool(mask.any()):
            raise SettingError("the mask is empty: nothing of the picture was observed, so there is nothing to invert")
        self.mask, self.spec = mask, spec or f"mask({int(mask.sum())} of {mask.numel()} px)"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        if images.shape[-2:] != self.mask.shape[-2:]:
            have, want = tuple(self.mask.shape[-2:]), tuple(images.shape[-2:])
            raise SettingError(
                f"the mask has {have[0]}x{have[1]} px, the pictures have {want[0]}x{want[1]}; bring it to their size"
            )
        return images * self.mask.to(images)

    def adjoint(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return self(y)

    def pinv(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return self(y)

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]] | None:
        seen = (F.avg_pool2d(self.mask, k) == 1).to(self.mask)
        if not bool(seen.any()):
            return None
        smaller = Mask(seen, f"{self.spec}/{k}")
        return smaller, lambda y: smaller(F.avg_pool2d(y, k))


class Downsample(Operator):
    """Area means of k × k pixels."""

    def __init__(self, k: int):
        if k < 1:
            raise SettingError(f"downsample:K takes a whole number of pixels, 1 or more; got {k}")
        self.k, self.spec = k, f"downsample:{k}"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        if images.shape[-2] % self.k or images.shape[-1] % self.k:
            raise SettingError(
                f"{self.spec}: {images.shape[-2]}x{images.shape[-1]} px cannot be divided by {self.k}; use a divisor of the size"
            )
        return F.avg_pool2d(images, self.k)

    def adjoint(self, y: Float[Tensor, "n 3 h2 w2"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return self.pinv(y, size) / self.k**2

    def pinv(self, y: Float[Tensor, "n 3 h2 w2"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return y.repeat_interleave(self.k, 2).repeat_interleave(self.k, 3)

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]] | None:
        if self.k % k and k % self.k:
            return None
        return Downsample(max(1, self.k // k)), lambda y: F.avg_pool2d(y, max(1, k // self.k))


class Gray(Operator):
    """The luma of a picture, in all three channels."""

    spec = "gray"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        return (images * self._luma(images)).sum(1, keepdim=True).expand(-1, 3, -1, -1)

    def adjoint(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return y.sum(1, keepdim=True) * self._luma(y)

    def pinv(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        luma = self._luma(y)
        return y.mean(1, keepdim=True) * luma / luma.square().sum()

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]]:
        return self, lambda y: F.avg_pool2d(y, k)

    def _luma(self, like: Tensor) -> Tensor:
        return torch.tensor(LUMA, dtype=like.dtype, device=like.device).view(3, 1, 1)


class Blur(Operator):
    """A Gaussian blur of standard deviation sigma (px), with the edges mirrored.

    It is separable, Ax = K_h x K_wᵀ, so its pseudo-inverse is that of two small matrices. What it makes smaller than `cutoff` is not
    brought back.
    """

    def __init__(self, sigma: float, cutoff: float = 1e-3):
        if not (math.isfinite(sigma) and sigma > 0):
            raise SettingError(f"blur:SIGMA takes a positive number of pixels; got {sigma}")
        self.sigma, self.cutoff, self.spec = sigma, cutoff, f"blur:{sigma:g}"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        return self._both(images, lambda side: _kernel(side, self.sigma))

    def adjoint(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return self._both(y, lambda side: _kernel(side, self.sigma).T)

    def pinv(self, y: Float[Tensor, "n 3 h w"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        return self._both(y, lambda side: _inverse(side, self.sigma, self.cutoff))

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]]:
        return Blur(self.sigma / k, self.cutoff), lambda y: F.avg_pool2d(y, k)

    def _both(self, x: Tensor, matrix: Callable[[int], Tensor]) -> Tensor:
        return matrix(x.shape[-2]).to(x) @ x @ matrix(x.shape[-1]).to(x).T


class Then(Operator):
    """One operator after another: gray+downsample:8."""

    def __init__(self, first: Operator, second: Operator):
        self.first, self.second = first, second
        self.spec, self.linear = f"{first.spec}+{second.spec}", first.linear and second.linear

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        return self.second(self.first(images))

    def coarse(self, k: int) -> tuple[Operator, Callable[[Tensor], Tensor]] | None:
        first, second = self.first.coarse(k), self.second.coarse(k)
        return None if first is None or second is None else (Then(first[0], second[0]), second[1])


class Function(Operator):
    """Any differentiable function of pictures. If it is said to be linear, its adjoint and pseudo-inverse are derived from it."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, linear: bool = False):
        self.function, self.linear = function, linear
        self.spec = f"function {getattr(function, '__name__', type(function).__name__)}"

    def __call__(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        return self.function(images)


def observation(what: str | Operator | Callable[[Tensor], Tensor] | None, size: tuple[int, int]) -> Operator:
    """An operator for pictures of `size` from its text: "downsample:8", "gray", "mask:seen.png" (white was seen), "gray+blur:2" …

    "box:0.25,0.5,0.75,1" hides a box (fractions of width and height). Raises UnknownName or SettingError.
    """
    if what is None:
        return Identity()
    if isinstance(what, Operator):
        return what
    if not isinstance(what, str):
        return Function(what)
    parts = [_one(part.strip(), size) for part in what.split("+")]
    whole = parts[0]
    for part in parts[1:]:
        whole = Then(whole, part)
    return whole


def _one(text: str, size: tuple[int, int]) -> Operator:
    name, _, rest = text.partition(":")
    match name, rest:
        case "identity", "":
            return Identity()
        case "gray", "":
            return Gray()
        case "downsample", rest if rest.isdigit():
            return Downsample(int(rest))
        case "blur", rest if re.fullmatch(r"\d*\.?\d+", rest):
            return Blur(float(rest))
        case "box", rest:
            return Mask(_box(rest, size), text)
        case "mask", rest if rest:
            return Mask((read_images(Path(rest), size)[:1].mean(1, keepdim=True) > 0).float(), text)
    raise UnknownName("observation", text, KNOWN)


def _box(text: str, size: tuple[int, int]) -> Tensor:
    numbers = [float(v) for v in text.split(",")] if re.fullmatch(r"[\d.]+(,[\d.]+){3}", text) else []
    if len(numbers) != 4 or not (0 <= numbers[0] < numbers[2] <= 1 and 0 <= numbers[1] < numbers[3] <= 1):
        raise SettingError(f"box:LEFT,TOP,RIGHT,BOTTOM takes fractions of the picture, from 0 to 1; got {text!r}")
    left, top, right, bottom = (round(v * size[(i + 1) % 2]) for i, v in enumerate(numbers))
    mask = torch.ones(1, 1, *size)
    mask[:, :, top:bottom, left:right] = 0
    return mask


@lru_cache(maxsize=8)
def _kernel(side: int, sigma: float) -> Tensor:
    """[side side], float64; what falls beyond an edge is mirrored back."""
    reach = min(math.ceil(4 * sigma), 4 * side)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma).square())
    where = (torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)) % (2 * side)
    where = torch.minimum(where, 2 * side - 1 - where)
    return torch.zeros(side, side, dtype=torch.float64).scatter_add_(1, where, (taps / taps.sum()).expand(side, -1))


@lru_cache(maxsize=8)
def _inverse(side: int, sigma: float, cutoff: float) -> Tensor:
    return torch.linalg.pinv(_kernel(side, sigma), rtol=cutoff)


def _conjugate(A: Callable[[Tensor], Tensor], y: Tensor, steps: int = 200, precision: float = 1e-10) -> Tensor:
    """Solves A u = y for a symmetric positive A by conjugate gradients (Hestenes & Stiefel 1952), each row for itself."""
    dot = lambda a, b: (a * b).flatten(1).sum(1)[:, None, None, None]
    u, r = torch.zeros_like(y), y.clone()
    p, old = r, dot(r, r)
    first = old.clamp_min(torch.finfo(y.dtype).tiny)
    for _ in range(steps):
        if bool((old <= first * precision**2).all()):
            break
        Ap = A(p)
        curved = dot(p, Ap)
        a = torch.where(curved > 0, old / curved.clamp_min(torch.finfo(y.dtype).tiny), torch.zeros_like(old))
        u, r = u + a * p, r - a * Ap
        new = dot(r, r)
        p, old = r + new / old.clamp_min(torch.finfo(y.dtype).tiny) * p, new
    return u


__all__ = ["Blur", "Downsample", "Function", "Gray", "Identity", "Mask", "Operator", "Then", "observation"]
