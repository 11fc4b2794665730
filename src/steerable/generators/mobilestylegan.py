"""MobileStyleGAN: StyleGAN2's faces from depthwise convolutions and wavelets.

Paper    Belousov, MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis, 2021, arXiv:2104.04767
Matches  the networks that the package random-face distributes in OpenVINO's format, as 16 layers with a row of w+ and a slice of s each;
         pictures agree to 1e-4 (psi 0.7)
Differs  no demodulation by style: the exported network has constants in its place. Constant gains are part of the weights here, the last
         Haar transform too; channels in front of a Haar transform are sorted by band (so s is sorted, too); each noise map is split
         into a map of unit size and a strength, so that other maps can take its place (checkpoints/openvino.py reads them so)

Layer 0 is constant·s → 3x3. An "up" layer is x·s → inverse Haar transform → ·s → depthwise 3x3 → 1x1, a "conv" layer x·s → depthwise
3x3 → 1x1, each + noise + bias → leaky ReLU. The last layer is x·s → 1x1 to the colors of four pixels.
"""

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .. import artifact, cache
from ..errors import ArtifactError
from ..generator import Mark
from ..layer import Layer, State
from ..lending import check
from ..method import Progress, quiet
from ..nn.convolution import coarsened, conv1x1, styled
from ..nn.equalized import Linear, normalized
from ..nn.stylegan_ops import NHWC, SLOPE
from ..nn.wavelets import depthwise, haar_up, haar_up_, interleaved, pixels, pointwise
from ..record import Record
from ..space import Latents
from .opening import filled, made
from .styled import Styled

T = TypeVar("T")
BATCHED = 32  # px up to which a batch is faster at once than picture by picture
WHOLE = 128  # px up to which a layer is run at once
ROWS = 64  # of a strip, at most
FAINT = 1e-3  # noise that the bfloat16 twin leaves out
GRID = 128  # pixels along an edge that preview heads are fitted to


@dataclass(frozen=True)
class Config:
    """Sizes of a net: `widths` are the channels at 4, 8, 16 … px; the picture is twice as large as the last of these."""

    d: int = 512
    depth: int = 8
    widths: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64)


class StyledLayer(nn.Module):
    """One layer, of kind "first", "up", "conv" or "rgb"; `size` px is where its convolution works, s[:split] scales before "up"."""

    depthwise: Tensor
    noise: Tensor
    strength: Tensor

    def __init__(self, kind: str, into: int, out: int, size: int, d: int):
        super().__init__()
        self.kind, self.size, self.split = kind, size, into if kind == "up" else 0
        inner, k = into // 4 if kind == "up" else into, 3 if kind == "first" else 1
        empty = lambda wanted, *shape: nn.Parameter(torch.empty(shape)) if wanted else None
        self.affine = Linear(d, self.split + inner, gain=1.0)
        self.weight, self.bias = nn.Parameter(torch.empty(out, inner, k, k)), nn.Parameter(torch.empty(out))
        self.register_parameter("depthwise", empty(kind in ("up", "conv"), inner, 1, 3, 3))
        self.register_parameter("noise", empty(kind != "rgb", 1, 1, size, size))
        self.register_parameter("strength", empty(kind != "rgb"))

    def forward(self, x: Tensor, s: Tensor, noise: Tensor | None = None) -> Tensor:
        """The layer as a plain formula: any batch, differentiable in every mode, nothing in place."""
        x = x.to(self.weight.dtype)
        if self.kind == "up":
            x, s = haar_up(styled(x, s[:, : self.split])), s[:, self.split :]
        y = self._convolved(x, s)
        if self.kind == "rgb":
            return interleaved(y)
        return F.leaky_relu(y + (self._noise(noise) * self.strength).to(y.dtype), SLOPE)

    def rows(self, x: Tensor, s: Tensor, noise: Tensor | None, a: int, b: int) -> Tensor:
        """Rows a … b of the output (of "rgb": before pixels are put in place) from the rows `reads(a, b)` of the input.

        One sample, channels last, no gradients. The numbers do not depend on where rows are cut; x is not written to.
        """
        x, first = x.to(self.weight.dtype), self.reads(a, b)[0]
        low, high = max(a - 1, 0), min(b + 1, self.size)
        if self.kind == "rgb":
            return self._convolved(x, s)
        if self.kind == "up":
            x, s = haar_up_(x, s[:, : self.split])[:, :, low - 2 * first : high - 2 * first], s[:, self.split :]
        if self.kind == "first":
            y = self._convolved(x, s)[:, :, a - low : b - low]
        else:
            y = conv1x1(depthwise(x, self.depthwise, s)[:, :, a - low : b - low], self.weight, self.bias)
        if strength := self.strength.item():
            y.add_(self._noise(noise)[:, :, a:b].to(y.dtype), alpha=strength)
        return F.leaky_relu_(y, SLOPE)

    def reads(self, a: int, b: int) -> tuple[int, int]:
        """The rows of the input that rows a … b of the output are made of."""
        if self.kind == "rgb":
            return a, b
        a, b = max(a - 1, 0), min(b + 1, self.size)
        return (a // 2, (b + 1) // 2) if self.kind == "up" else (a, b)

    def coarse(self, x: Tensor, s: Tensor, noise: Tensor | None) -> Tensor:
        """The layer at the lower resolution of x: about the area mean of what it is.

        Only the ll band goes up, which is that mean exactly. Kernels keep their zeroth and second moments. Noise is averaged.
        """
        side, x = x.shape[-1], x.to(self.weight.dtype)
        if self.kind == "up":
            ll = self.split // 4
            x, s = x[:, :ll], s[:, :ll] * s[:, self.split :]
        y = conv1x1(depthwise(x, coarsened(self.depthwise, side / self.size), s), self.weight, self.bias)
        if torch.is_grad_enabled():
            return F.leaky_relu(y + self._grain(noise, side).to(y.dtype), SLOPE)
        if self.strength.item():
            y.add_(self._grain(noise, side).to(y.dtype))
        return F.leaky_relu_(y, SLOPE)

    def _grain(self, noise: Tensor | None, side: int) -> Tensor:
        return F.adaptive_avg_pool2d(self._noise(noise)[:, 0], side)[:, None] * self.strength

    def _convolved(self, x: Tensor, s: Tensor) -> Tensor:
        if self.kind == "first":
            return F.conv2d(styled(x, s), self.weight, self.bias, padding=1)
        if self.kind == "rgb":
            return pointwise(x, self.weight, self.bias, s)
        return conv1x1(depthwise(x, self.depthwise, s), self.weight, self.bias)

    def _noise(self, given: Tensor | None) -> Tensor:
        return self.noise if given is None else given


def spread(do: Callable[..., T], work: Sequence[tuple[int, int, int]]) -> list[T]:
    """do(*each) for each, on as many Python threads as torch may use, each with one of torch's own: they never wait for each other."""
    threads = torch.get_num_threads()
    if threads == 1:
        return [do(*each) for each in work]
    try:
        with ThreadPoolExecutor(min(threads, len(work)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(lambda each: do(*each), work))
    finally:
        torch.set_num_threads(threads)  # new threads take over the number that was set last


class Mapping(nn.ModuleList):
    """z, normalized to unit mean square, then `depth` linear layers with leaky ReLU."""

    def __init__(self, config: Config):
        super().__init__(Linear(config.d, config.d, gain=1.0) for _ in range(config.depth))

    def forward(self, z: Float[Tensor, "n d"], label: None = None) -> Float[Tensor, "n d"]:
        x = normalized(z)
        for linear in self:
            x = F.leaky_relu(linear(x), SLOPE) * math.sqrt(2)
        return x


class Net(nn.Module):
    """All weights: mapping, const, layers."""

    w_avg = None  # such files hold no mean w

    def __init__(self, config: Config):
        super().__init__()
        d, widths = config.d, config.widths
        self.config, self.mapping = config, Mapping(config)
        self.const = nn.Parameter(torch.empty(1, widths[0], 4, 4))
        layers = [StyledLayer("first", widths[0], widths[0], 4, d)]
        for i, (into, out) in enumerate(zip(widths, widths[1:], strict=False)):
            layers += [StyledLayer("up", into, out, 8 << i, d), StyledLayer("conv", out, out, 8 << i, d)]
        self.layers = nn.ModuleList([*layers, StyledLayer("rgb", widths[-1], 12, layers[-1].size, d)])

    @property
    def styled(self) -> list[StyledLayer]:
        return cast(list[StyledLayer], list(self.layers))


@dataclass(frozen=True)
class Heads(Record):
    """Linear maps to RGB for previews, by position in `layers`: from the scaled channels in front of that layer and of the last, and 1."""

    maps: Map[str, Float[Tensor, "3 k"]]


def chain(net: Net) -> tuple[Layer, ...]:
    """The layers, each with a row of its own."""
    layers, at = list[Layer](), 0
    for i, part in enumerate(net.styled):
        size, style = (part.size, part.size), slice(at, at := at + len(part.affine.bias))
        if part.kind == "rgb":
            layers.append(Layer("rgb", (2 * part.size, 2 * part.size), 3, i, style))
        else:
            name = f"{'up' if part.kind == 'up' else 'conv'}{part.size}"
            layers.append(Layer(name, size, len(part.bias), i, style, (f"noise.{name}",)))
    return tuple(layers)


@final
class MobileStyleGAN(Styled):
    """z → w → w+ → s and a trunk of layers without image heads; see the top of this file."""

    net: Net

    def __init__(self, name: str, net: Net, mark: Mark | None = None):
        net, d = net.to(memory_format=NHWC), net.config.d  # pyright: ignore[reportCallIssue]
        super().__init__(name, net, chain(net), d, d, mark=mark)
        self.deep = max(1, len(self.layers) - 5)
        self._kept: dict[str, Heads | None] = {}  # shared with twins

    def _part(self, layer: Layer) -> Any:
        return self.net.styled[self.layers.index(layer)]

    # -- the fold -------------------------------------------------------------------------------------------------------------------

    def start(self, latents: Latents) -> State:
        return State(self.net.const.expand(len(latents), -1, -1, -1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        part, x = self.net.styled[i], state.x
        if grad or x.device.type != "cpu" or (len(x) > 1 and i < self.deep and part.size <= BATCHED):
            with nullcontext() if grad else torch.no_grad():
                return State(part(x, *self._owns(i, latents)))
        return State(self._in_strips(i, i + 1, x, latents))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        return state.x.to(self.dtype)

    def _owns(self, i: int, latents: Latents) -> tuple[Tensor, Tensor | None]:
        """Style and noise of layer i."""
        return latents.values[:, self.layers[i].style], latents.inputs.get(f"noise.{self.layers[i].name}")

    def tail(
        self, i: int, state: State, latents: Latents, stop: Callable[[], bool] | None = None
    ) -> Float[Tensor, "n 3 h w"]:
        """As the fold, but depth first in strips of rows; `stop` is asked before every strip."""
        if i >= len(self.layers) or state.x.device.type != "cpu":
            return super().tail(i, state, latents, stop)
        while i < self.deep:
            check(stop)
            state, i = self.layer(i, state, latents, grad=False), i + 1
        return self._in_strips(i, len(self.layers), state.x, latents, stop)

    def _in_strips(
        self, i: int, until: int, x: Tensor, latents: Latents, stop: Callable[[], bool] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """What comes out of layers i … until - 1: picture by picture, depth first in strips of rows.

        So what runs between operations is small: it stays in the processor's cache, and malloc need not map fresh pages for it.
        """
        x, parts = x.contiguous(memory_format=NHWC), self.net.styled[i:until]
        owned = [self._owns(j, latents) for j in range(i, until)]
        n, size, rgb = len(x), parts[-1].size, parts[-1].kind == "rgb"

        @torch.no_grad()  # each thread has its own mode
        def strip(k: int, a: int, b: int) -> Tensor:
            check(stop)
            spans = [(a, b)]
            for part in reversed(parts):
                spans.insert(0, part.reads(*spans[0]))
            y = x[k : k + 1, :, slice(*spans[0])]
            for part, (s, noise), (u, v) in zip(parts, owned, spans[1:], strict=True):
                y = part.rows(y, s[k : k + 1], None if noise is None else noise[k : k + 1], u, v)
            return y

        least = torch.get_num_threads() if size > BATCHED else 1
        count = least * -(-size // (ROWS * least)) if size > WHOLE else least
        cuts = sorted({size * j // count for j in range(count + 1)})
        work = [(k, a, b) for k in range(n) for a, b in zip(cuts, cuts[1:], strict=False)]
        if len(work) == 1 and not rgb:
            return spread(strip, work)[0]
        shape = (n, size, 2, size, 2, 3) if rgb else (n, size, size, len(parts[-1].bias))
        out = torch.empty(shape, dtype=self.dtype if rgb else parts[-1].weight.dtype)

        def put(k: int, a: int, b: int) -> None:
            y = strip(k, a, b)
            out[k, a:b] = (pixels(y.to(out.dtype)) if rgb else y.permute(0, 2, 3, 1))[0]

        spread(put, work)
        return (out.view(n, 2 * size, 2 * size, 3) if rgb else out).permute(0, 3, 1, 2)

    def half(self) -> "MobileStyleGAN":
        """A twin whose 1x1 convolutions are in bfloat16 from 64 px on, without the noise that nobody sees (81 dB)."""
        lent: dict[str, Tensor] = {}
        for i, part in enumerate(self.net.styled):
            heavy = {"weight": part.weight, "bias": part.bias, "noise": part.noise} if part.size > BATCHED else {}
            lent |= {f"layers.{i}.{k}": v.to(torch.bfloat16) for k, v in heavy.items() if v is not None}
            if part.kind != "rgb" and part.strength.abs() < FAINT:
                lent[f"layers.{i}.strength"] = torch.zeros_like(part.strength)
        return self.lent(lent)

    # -- previews -------------------------------------------------------------------------------------------------------------------

    @property
    def previews(self) -> tuple[int, ...]:
        """The layers in front of which a preview is made: at 64, 128 and 256 of 1024 px."""
        return tuple(i for i in range(len(self.layers) - 7, len(self.layers) - 2, 2) if i > 0)

    def at_once(self, size: int | None = None) -> int:
        """One on a processor: the maps of two faces do not fit its caches."""
        return 1 if self.device.type == "cpu" else super().at_once(size)

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        """A preview at the size of `state`: the layers that are left run at that size, so every style counts. Differentiable.

        At half the picture's size it is exact (the area mean). Below a sixteenth, the preview of that size is made and shrunk. After
        `fit_heads`, a linear map to RGB that was fitted to these weights adds two to three dB.
        """
        side = state.x.shape[-1]
        while i < self.previews[0]:
            state, i = self.layer(i, state, latents, grad=torch.is_grad_enabled()), i + 1
        x, before = self._ahead(i, state, latents)
        rgb, end = self.net.styled[-1], self._owns(len(self.layers) - 1, latents)[0]
        if (heads := self._heads()) is None or str(i) not in heads.maps:
            weight, bias = (t.unflatten(0, (4, 3)).mean(0) for t in (rgb.weight, rgb.bias))
            y = pointwise(x.to(weight.dtype), weight, bias, end)
        else:
            head, c = heads.maps[str(i)].to(x), before.shape[1]
            y = pointwise(x, head[:, c:-1, None, None], head[:, -1], end)
            y = y + pointwise(state.x.to(x.dtype), head[:, :c, None, None], None, before)
        y = y.to(self.dtype)
        return y if y.shape[-1] == side else F.adaptive_avg_pool2d(y, side)

    def _ahead(self, i: int, state: State, latents: Latents) -> tuple[Tensor, Tensor]:
        """What comes to the last layer when those from i on run at the size of `state`; and what i scales `state` by."""
        x, s = state.x, self._owns(i, latents)[0]
        for j in range(i, len(self.layers) - 1):
            x = self.net.styled[j].coarse(x, *self._owns(j, latents))
        return x, s[:, : state.x.shape[1]]

    @property
    def _heads_file(self) -> Path:
        return cache.derived("preview-heads", f"{self.fingerprint}-1")

    def _heads(self) -> Heads | None:
        """Looked for once."""
        if "heads" not in self._kept:
            found = None
            with suppress(ArtifactError):
                found = artifact.load(self._heads_file, generator=self) if self._heads_file.is_file() else None
            self._kept["heads"] = found if isinstance(found, Heads) else None
        return self._kept["heads"]


def fit_heads(generator: MobileStyleGAN, n: int = 96, seed: int = 7, progress: Progress = quiet) -> Heads:
    """Fit the maps that `coarse` ends with, on n random faces of psi 0.4 to 1, and keep them for these weights.

    Least squares from the features at hand to area means of the picture (in bfloat16), on a grid of pixels. About 0.4 s a face.
    """
    g, fast, last = generator, generator.half(), len(generator.layers) - 1
    sums: dict[int, tuple[Tensor, Tensor]] = {}
    psi = torch.rand(n, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.4
    for k in progress.over(range(n), f"preview heads of {g.name}", n):
        latents = g.lift(g.truncate(g.sample(1, seed=seed * 1_000_003 + k), float(psi[k])), "s")
        with torch.no_grad():
            until = g.previews[-1]
            states = {j + 1: state for j, (_, state) in enumerate(g.states(latents, until=until))}
            picture = fast.tail(until, states[until], latents)
            for i in g.previews:
                x, before = g._ahead(i, states[i], latents)
                known = [styled(states[i].x, before), styled(x, g._owns(last, latents)[0]), torch.ones_like(x[:, :1])]
                side, step = x.shape[-1], max(1, x.shape[-1] // GRID)
                wanted = F.adaptive_avg_pool2d(picture, side)
                a, b = (t[0, :, ::step, ::step].flatten(1) for t in (torch.cat(known, 1), wanted))
                aa, ab = sums.get(i, (torch.zeros(()), torch.zeros(())))
                sums[i] = (aa + (a @ a.T).double(), ab + (a @ b.T).double())
    solved = lambda aa, ab: torch.linalg.solve(aa + torch.diag(aa.diagonal() * 1e-6 + 1e-9), ab).T
    heads = Heads({str(i): solved(*both).float().contiguous().cpu() for i, both in sums.items()})
    artifact.save(heads, g._heads_file, generator=g)
    g._kept["heads"] = heads
    return heads


# -- making and reading -----------------------------------------------------------------------------------------------------------------


def build(name: str, config: Config, tensors: Map[str, Tensor], mark: Mark | None = None) -> MobileStyleGAN:
    """A generator from tensors under our own names. Raises ArtifactError where they do not fit the configuration."""
    return MobileStyleGAN(name, filled(name, made(name, Net, config), tensors), mark)


def untrained(config: Config | None = None, seed: int = 0) -> MobileStyleGAN:
    """A net of this architecture with seeded random weights: for tests and measurements without downloads."""
    config, source = config or Config(), torch.Generator().manual_seed(seed)
    empty = made("mobilestylegan-random", Net, config)
    halved = [f"layers.{i}.weight" for i, part in enumerate(empty.styled) if part.kind in ("up", "rgb")]
    spread = {"const": 1.0, "noise": 1.0, "strength": 0.1, "bias": 0.1, "depthwise": 1 / 3}
    state = {}
    for name, tensor in empty.state_dict().items():
        scale = spread.get(name.rpartition(".")[2]) or math.sqrt((1 + ("layers" in name)) / math.prod(tensor.shape[1:]))
        scale *= 0.2 if "affine" in name else 0.5 if name in halved else 1
        state[name] = torch.randn(tensor.shape, generator=source) * scale + name.endswith("affine.bias")
    return build("mobilestylegan-random", config, state)
