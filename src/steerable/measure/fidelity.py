"""How near a picture is to another one, with the protocol of every number declared.

mse         mean square difference of values in [-1, 1]
psnr        10 log10(2² / mse) in dB: the peak is 2, for values span [-1, 1]
ssim        Wang, Bovik, Sheikh, Simoncelli, TIP 2004: Gaussian window of 11 px with sigma 1.5, K = (.01, .03), range 2, on R, G and B,
            over the places where the whole window fits
ms-ssim     Wang, Simoncelli, Bovik, Asilomar 2003: five sizes with the published exponents, halved by area means
lpips-alex, lpips-vgg   Zhang et al., CVPR 2018, version 0.1, at the size of the pictures or at most `look` px (area means)
identity    cosine of SFace embeddings; NaN where a face was not found

Pictures are cut off at [-1, 1] first, as they are when they are written to a file.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, UnknownName
from ..nn.perceptual import LPIPS
from ..renderer import fitted
from ..score.identity import kept

WINDOW, SIGMA, K1, K2, RANGE = 11, 1.5, 0.01, 0.03, 2.0
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
PLAIN = ("mse", "psnr", "ssim", "ms-ssim")
ALL = (*PLAIN, "lpips-alex", "lpips-vgg", "identity")


def fidelity(
    images: Float[Tensor, "n 3 h w"],
    target: Float[Tensor, "m 3 h2 w2"],
    which: Sequence[str] = ALL,
    *,
    look: int = 256,
) -> dict[str, Float[Tensor, "n"]]:
    """Name → a number for each picture. Those by nets fetch their weights.

    Raises UnknownName, or SettingError for pictures of two sizes.
    """
    if images.shape != target.shape:
        raise SettingError(f"pictures of one shape are compared; got {tuple(images.shape)} and {tuple(target.shape)}")
    a, b = images.clamp(-1, 1), target.clamp(-1, 1)
    measures: dict[str, Callable[[], Tensor]] = {
        "mse": lambda: mse(a, b),
        "psnr": lambda: psnr(a, b),
        "ssim": lambda: ssim(a, b),
        "ms-ssim": lambda: ms_ssim(a, b),
        "lpips-alex": lambda: _lpips("alex").to(a)(fitted(a, look), fitted(b, look)),
        "lpips-vgg": lambda: _lpips("vgg").to(a)(fitted(a, look), fitted(b, look)),
        "identity": lambda: kept(b, a),
    }
    for name in which:
        if name not in measures:
            raise UnknownName("measure of fidelity", name, measures)
    with torch.no_grad():
        return {name: measures[name]() for name in which}


@cache
def _lpips(kind: Literal["alex", "vgg"]) -> LPIPS:
    return LPIPS(kind)


def mse(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    return (a - b).square().flatten(1).mean(1)


def psnr(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """In dB; infinite for equal pictures."""
    return 10 * torch.log10(RANGE**2 / mse(a, b))


def ssim(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """Raises SettingError for pictures smaller than the window."""
    return torch.stack(_ssim(a, b)).prod(0).flatten(1).mean(1)


def ms_ssim(a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """Negative terms count as 0. Raises SettingError below 176 px, where the smallest of five sizes has no place for the window."""
    if min(a.shape[2:]) < WINDOW << 4:
        raise SettingError(f"ms-ssim needs pictures of {WINDOW << 4} px or more; got {a.shape[2]}x{a.shape[3]}")
    told = a.new_ones(len(a), a.shape[1])
    for i, power in enumerate(EXPONENTS):
        light, structure = _ssim(a, b)
        last = i + 1 == len(EXPONENTS)
        value = light * structure if last else structure
        told = told * value.flatten(2).mean(2).clamp_min(0) ** power
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return told.mean(1)


def _ssim(a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
    """The terms of luminance, and of contrast and structure, at every place."""
    if min(a.shape[2:]) < WINDOW:
        raise SettingError(f"ssim needs pictures of {WINDOW} px or more; got {a.shape[2]}x{a.shape[3]}")
    taps = torch.exp(-0.5 * ((torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2) / SIGMA).square())
    taps = (taps / taps.sum()).expand(a.shape[1], 1, WINDOW)
    mean = lambda x: F.conv2d(F.conv2d(x, taps[..., None], groups=x.shape[1]), taps[:, :, None], groups=x.shape[1])
    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    return (2 * ma * mb + c1) / (ma * ma + mb * mb + c1), (2 * both + c2) / (va + vb + c2)


__all__ = ["ALL", "PLAIN", "fidelity", "ms_ssim", "mse", "psnr", "ssim"]
