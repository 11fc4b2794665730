"""Filters and nonlinearities without aliasing.

Paper    Karras et al., Alias-Free Generative Adversarial Networks, NeurIPS 2021, arXiv:2106.12423 (section 3, appendices B and C)
Matches  zeros between the samples, a filter, the nonlinearity, a filter, some of the samples: the same numbers to rounding
Differs  zeros are never multiplied and what would be left out is never made; a separable filter runs along one axis, then the other.
         Without gradients the work goes in blocks, so that the enlarged map stays in the processor's cache
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CHANNELS = 32  # channels and …
NUMBERS = 1 << 20  # … numbers of the enlarged map that are worked on at once


def lowpass(
    taps: int, cutoff: float, width: float, rate: float, radial: bool = False
) -> Float[Tensor, " taps"] | Float[Tensor, "taps taps"]:
    """A lowpass filter of unit sum (float64): Kaiser's window on a sinc or, in two dimensions, on a `radial` jinc (appendix C).

    `cutoff` and `width`, that of the transition band, are in the units of `rate`, the sampling rate.
    """
    at = (np.arange(taps) - (taps - 1) / 2) / rate
    window = np.kaiser(taps, _beta(2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95))
    if not radial:
        f = torch.from_numpy(np.sinc(2 * cutoff * at) * window)
        return f / f.sum()
    r = torch.from_numpy(np.hypot(at, at[:, None])).clamp_min(1e-9 / rate)
    f = torch.special.bessel_j1(2 * cutoff * math.pi * r) / r * torch.from_numpy(np.outer(window, window))
    return f / f.sum()


def _beta(attenuation: float) -> float:
    """Kaiser's parameter for an attenuation in dB."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation > 21 else 0.0


@dataclass(frozen=True)
class Rates:
    """How a map of `size` samples a side becomes one of `out`: enlarged `up` times, `before` zeros put in front, shrunk `down` times."""

    size: int
    out: int
    up: int
    down: int
    before: int

    @classmethod
    def centered(cls, size: int, out: int, up: int, down: int, taps: int) -> "Rates":
        """The rates that keep the center in its place, for two filters of `taps` altogether (appendix B)."""
        total = (out - 1) * down + 1 - size * up + taps - 2
        return cls(size, out, up, down, (total + up) // 2)


def filtered_lrelu(
    x: Float[Tensor, "n c h w"],
    rates: Rates,
    enlarging: Float[Tensor, " u"],
    shrinking: Float[Tensor, "d *d"],
    *,
    slope: float,
    gain: float,
    clamp: float | None,
    grad: bool,
) -> Float[Tensor, "n c h2 w2"]:
    """shrink(clamp(gain · leaky_relu(enlarge(x)))). With `grad` differentiable in every mode; x is not written to in any case.

    `enlarging` and `shrinking` are filters of unit sum; each may be [1], which is none.
    """
    up, shrinking = enlarging.to(x.dtype), shrinking.to(x.dtype)
    strong = up * (rates.up**2 * gain)  # leaky_relu(gain · x) is gain · leaky_relu(x)
    first = len(up) - 1 - rates.before
    count = (rates.out - 1) * rates.down + len(shrinking)
    spare = rates.down - 1  # samples at the end that shrinking would leave out
    if grad or x.device.type != "cpu":
        y = _enlarged(_enlarged(x, strong, rates.up, first, count, spare, 2), up, rates.up, first, count, spare, 3)
        y = F.leaky_relu(y, slope)
        return _shrunk(y if clamp is None else y.clamp(-clamp, clamp), shrinking, rates)
    if clamp is not None and _bound(x, strong, up, rates.up) <= clamp:
        clamp = None
    out = x.new_empty(len(x), rates.out, rates.out, x.shape[1]).permute(0, 3, 1, 2)
    for n, c, rows in _blocks(x, count, rates, len(shrinking)):
        at = rows.start * rates.down + first  # the first sample wanted of the whole response
        tall = (rows.stop - rows.start - 1) * rates.down + len(shrinking)
        # Rows a … b of x are what these are made of.
        a = min(max(-((len(up) - 1 - at) // rates.up), 0), rates.size - 1)
        b = max(min((at + tall - 1) // rates.up + 1, rates.size), a + 1)
        y = _enlarged(x[n, c, a:b], strong, rates.up, at - a * rates.up, tall, 0, 2)
        y = F.leaky_relu_(_enlarged(y, up, rates.up, first, count, spare, 3), slope)
        out[n, c, rows] = _shrunk(y if clamp is None else y.clamp_(-clamp, clamp), shrinking, rates)
    return out


def _blocks(x: Tensor, count: int, rates: Rates, taps: int) -> Iterator[tuple[slice, slice, slice]]:
    """Samples, channels and rows of the output that are worked on at once."""
    channels = min(CHANNELS, x.shape[1])
    height = max((NUMBERS // (count * channels) - taps) // rates.down + 1, taps)
    cuts = range(0, rates.out, -(-rates.out // -(-rates.out // height)))
    for n in range(len(x)):
        for c in range(0, x.shape[1], channels):
            for row in cuts:
                yield slice(n, n + 1), slice(c, c + channels), slice(row, min(row + cuts.step, rates.out))


def _enlarged(x: Tensor, f: Tensor, up: int, first: int, count: int, spare: int, dim: int) -> Tensor:
    """`count` samples, from `first` on, of the response to x with up - 1 zeros after each sample, along one axis; perhaps some to spare."""
    behind = (x.shape[dim] - 1) * up + len(f) - first - count
    cut = max(min(first, behind), 0)
    along = lambda t, rest: (t, rest) if dim == 2 else (rest, t)
    kernel = f.view(1, 1, *along(-1, 1)).expand(x.shape[1], 1, -1, -1)
    y = F.conv_transpose2d(x, kernel, stride=along(up, 1), padding=along(cut, 0), groups=x.shape[1])
    if first == cut and 0 <= behind - cut <= spare:
        return y
    front, back = max(cut - first, 0), max(cut - behind, 0)  # zeros where nothing responds
    y = F.pad(y, (front, back) if dim == 3 else (0, 0, front, back)) if front or back else y
    return y.narrow(dim, max(first - cut, 0), count)


def _shrunk(x: Tensor, f: Tensor, rates: Rates) -> Tensor:
    """Filtered by f in both dimensions, every `down`-th sample."""
    c, f = x.shape[1], f.flip(tuple(range(f.ndim)))
    if f.ndim == 2:
        return F.conv2d(x, f.expand(c, 1, -1, -1), stride=rates.down, groups=c)
    x = F.conv2d(x, f.view(1, -1).expand(c, 1, 1, -1), stride=(1, rates.down), groups=c)
    return F.conv2d(x, f.view(-1, 1).expand(c, 1, -1, 1), stride=(rates.down, 1), groups=c)


def _bound(x: Tensor, strong: Tensor, up: Tensor, every: int) -> float:
    """A number that no sample of the enlarged map exceeds."""
    most = lambda f: float(F.pad(f.abs(), (0, -len(f) % every)).view(-1, every).sum(0).max())
    low, high = torch.aminmax(x.permute(0, 2, 3, 1))  # channels last, as it lies in memory
    return max(-float(low), float(high)) * most(strong) * most(up)
