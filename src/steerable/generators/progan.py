"""ProGAN: convolutions from z to a picture, grown from 4x4 px.

Paper    Karras, Aila, Laine, Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and Variation, ICLR 2018
         (arXiv:1710.10196), table 2
Matches  normalized z (with the label behind it), equalized learning rate, pixelwise normalization after every activation, nearest-neighbor
         up-sampling, the image head of the last size
Differs  image heads of smaller sizes, which only training uses, are left out. Up-sampling and the 3x3 convolution after it are one
         transposed 4x4 convolution, other large ones take fewer multiplications (nn/winograd.py)

Modules bear the names of their layers: b4.dense, b4.conv, then b8.conv0 (which doubles the size), b8.conv1 …, torgb. Weights are stored
with unit variance and multiplied by their gains at run time.
"""

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .. import foreign
from ..artifact import fingerprint
from ..catalogue import Entry
from ..errors import ArtifactError, SettingError, SpaceError
from ..generator import Generator
from ..layer import Layer, State
from ..nn import winograd
from ..nn.convolution import conv1x1
from ..nn.stylegan_ops import EPSILON, NHWC, SLOPE, Tabled, fixed
from ..space import Latents, Space

N = TypeVar("N", bound=nn.Module)
C = TypeVar("C")
DAMAGED = (KeyError, IndexError, TypeError, ValueError, RuntimeError)  # what tensors of unexpected shapes lead to


@dataclass(frozen=True)
class Config:
    """The shape of a net: `widths` are its channels at 4, 8, 16 … px."""

    widths: tuple[int, ...]
    z_dim: int = 512
    c_dim: int = 0  # classes; 0 for none
    colors: int = 3  # or 1

    def __post_init__(self) -> None:
        if not self.widths or min(*self.widths, self.z_dim) < 1 or self.colors not in (1, 3):
            raise SettingError(f"widths and z_dim are numbers from 1 up, colors 3 or 1; got {self}")

    @classmethod
    def square(cls, resolution: int = 1024, base: int = 16 << 10, most: int = 512, **rest: Any) -> "Config":
        """To resolution px, with base / size channels at each size, at most `most` (the paper's widths by default)."""
        return cls(widths(resolution, base, most), **rest)

    @classmethod
    def tiny(cls, **rest: Any) -> "Config":
        """16 px and odd widths, for tests."""
        return cls(**({"widths": (9, 7, 5), "z_dim": 12} | rest))


def widths(resolution: int, base: int, most: int) -> tuple[int, ...]:
    """Channels at 4, 8 … resolution px: base / size, at most `most`."""
    count = int(resolution).bit_length() - 2
    if resolution < 4 or resolution != 2 << count:
        raise SettingError(f"resolution is a power of two from 4 px up; got {resolution}")
    return tuple(min(base // (4 << b), most) for b in range(count))


class Dense(nn.Module):
    """z to maps of 4x4 px."""

    def __init__(self, into: int, out: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(out, into, 4, 4)), nn.Parameter(torch.empty(out))
        self.gain = math.sqrt(2 / (16 * into))

    def forward(self, z: Float[Tensor, "n z"], grad: bool) -> Float[Tensor, "n c 4 4"]:
        return torch.einsum("ni,oihw->nohw", z * self.gain, self.weight) + self.bias[:, None, None]


class Conv(Tabled):
    """A 3x3 (or 1x1) convolution with equalized learning rate; `up`: of the map at twice its size."""

    def __init__(
        self, into: int, out: int, kernel: int = 3, up: bool = False, gain: float = math.sqrt(2), biased: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out)) if biased else None
        self.up, self.gain = up, gain / math.sqrt(into * kernel * kernel)

    def forward(
        self, x: Float[Tensor, "n i h w"], grad: bool, bias: Float[Tensor, " o"] | None = None
    ) -> Float[Tensor, "n o y x"]:
        """`bias` takes the place of one of its own, where it has none. With `grad` differentiable in every mode."""
        weight, bias = self.weight, bias if self.bias is None else self.bias
        bias, k = None if bias is None else bias.to(x.dtype), weight.shape[-1]
        if x.device.type == "cpu" and k == 3 and not self.up and fixed(weight) and winograd.suits(x, weight):
            u, x = self.table("winograd", weight, winograd.transformed), x * self.gain
            if grad:
                y = winograd.Convolved.apply(x, u, self.table("winograd back", weight, winograd.turned))
                return y if bias is None else y + bias[:, None, None]
            y = winograd.convolved(x, None, u)
            return y if bias is None else y.add_(bias[:, None, None])
        weight = self.table("spread", weight, spread) if self.up else weight
        if x.numel() < weight.numel():
            x = x * self.gain
        else:
            weight = weight * self.gain
        weight = weight.to(x.dtype)
        if self.up:
            return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
        return conv1x1(x, weight, bias) if k == 1 else F.conv2d(x, weight, bias, padding=1)

    def coarse(self, x: Float[Tensor, "n i h w"], scale: float) -> Float[Tensor, "n o h w"]:
        """The convolution on a map `scale` < 1 times as large, in its own pixels.

        A kernel keeps its zeroth and second moments: a tap one fine pixel away puts scale² on the coarse neighbor.
        """
        k = scale**2
        m = torch.tensor([[k, 0, 0], [1 - k, 1, 1 - k], [0, 0, k]], dtype=self.weight.dtype, device=x.device)
        return F.conv2d(x, (m @ self.weight @ m.T * self.gain).to(x.dtype), self.bias, padding=1)


def spread(weight: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "i o 4 4"]:
    """The kernel whose transposed convolution with stride 2 is nearest-neighbor up-sampling and then a convolution with `weight`."""
    w = F.pad(weight.flip(2, 3), (1, 1, 1, 1))
    w = w[:, :, 1:] + w[:, :, :-1]
    return (w[..., 1:] + w[..., :-1]).transpose(0, 1).contiguous(memory_format=NHWC)


def normalized(x: Tensor, grad: bool = True) -> Tensor:
    """Pixelwise feature vector normalization (section 4.2), of unit mean square over channels."""
    if grad:
        return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    square = torch.linalg.vector_norm(
        x, dim=1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)
    ).square_()
    return x.mul_(square.div_(x.shape[1]).add_(EPSILON).rsqrt_())


class Net(nn.Module):
    """All weights: the blocks b4, b8 … and torgb."""

    def __init__(self, config: Config):
        super().__init__()
        self.config, c = config, config.widths
        self.b4 = nn.ModuleDict({"dense": Dense(config.z_dim + config.c_dim, c[0]), "conv": Conv(c[0], c[0])})
        for b in range(1, len(c)):
            self.add_module(
                f"b{4 << b}", nn.ModuleDict({"conv0": Conv(c[b - 1], c[b], up=True), "conv1": Conv(c[b], c[b])})
            )
        self.torgb = Conv(c[-1], config.colors, 1, gain=1.0)


def chain(config: Config) -> tuple[Layer, ...]:
    """The layers. All of z goes into the first."""
    first = Layer(
        "b4.dense", (4, 4), config.widths[0], style=slice(0, config.z_dim), reads=("label",) if config.c_dim else ()
    )
    layers = [first, Layer("b4.conv", (4, 4), config.widths[0])]
    for b, width in enumerate(config.widths[1:], 1):
        layers += [Layer(f"b{4 << b}.{part}", (4 << b, 4 << b), width) for part in ("conv0", "conv1")]
    return (*layers, Layer("torgb", layers[-1].size, config.widths[-1], head=True))


@final
class ProGAN(Generator):
    """z and a chain of convolutions; see the top of this file."""

    def __init__(self, name: str, net: Net, mark: str | None = None):
        config = net.config
        net.to(memory_format=NHWC)  # pyright: ignore[reportCallIssue]
        super().__init__(
            name,
            net,
            spaces=(Space("z", (config.z_dim,)),),
            layers=chain(config),
            inputs={"label": (config.c_dim,)} if config.c_dim else {},
            fingerprint=mark or fingerprint(net.state_dict()),
        )
        self.precision: torch.dtype | None = None  # of features; None for that of the weights

    def _step(self, latents: Latents) -> Latents:
        raise SpaceError(f"{self.name} has no space after {latents.space.name!r}")

    def affines(self, space: str) -> dict[str, Float[Tensor, "c d"]]:
        if space != "z":
            raise SpaceError(f"{self.name} has only the space 'z', not {space!r}")
        dense = self.net.b4["dense"]
        weight = dense.weight[:, : self.net.config.z_dim] * dense.gain
        return {"b4.dense": weight.permute(0, 2, 3, 1).flatten(0, 2)}

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        here, x = self.layers[i], state.x
        part: Any = self.net.get_submodule(here.name)
        if here.head:
            return State(x, part(x.to(self.dtype), grad).expand(-1, 3, -1, -1))
        if i == 0:
            z = latents.values
            if "label" in self.inputs:
                if "label" not in latents.inputs:
                    raise SettingError(f"{self.name} needs an input 'label' [n {self.net.config.c_dim}]")
                z = torch.cat([z, latents.inputs["label"].to(z)], 1)
            x = normalized(z)
        y = part(x, grad)
        y = normalized(F.leaky_relu(y, SLOPE) if grad else F.leaky_relu_(y, SLOPE), grad)
        return State(y.to(self.precision or self.dtype))

    def finish(self, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"]:
        assert state.rgb is not None
        return state.rgb.contiguous()

    def coarse(self, i: int, state: State, latents: Latents) -> Float[Tensor, "n 3 h w"] | None:
        """A preview: the remaining layers at the size of `state`."""
        if i == 0:
            return None
        x, side = state.x, state.x.shape[-1]
        for layer in self.layers[i:-1]:
            part: Any = self.net.get_submodule(layer.name)
            x = normalized(F.leaky_relu(part.coarse(x, side / layer.size[1]), SLOPE))
        return self.finish(self.layer(len(self.layers) - 1, State(x), latents, grad=True), latents)

    def half(self) -> "ProGAN":
        """A twin for previews: the same weights, features in bfloat16."""
        twin = copy.copy(self)
        twin.precision = torch.bfloat16
        return twin


def random(config: Config, seed: int = 0) -> ProGAN:
    """A net as it is before training, but with biases, so that every part counts. The same seed gives the same weights."""
    source, net = torch.Generator().manual_seed(seed), Net(config)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=source) * (1.0 if p.ndim > 1 else 0.1))
    return ProGAN(f"progan-random{4 << len(config.widths) - 1}", net)


# -- reading ----------------------------------------------------------------------------------------------------------------------------


def filled(name: str, net: N, state: Mapping[str, Tensor]) -> N:
    """The net with `state` for its weights, not copied.

    Raises ArtifactError that names the first tensor that is missing, left over, or of another shape.
    """
    wanted = net.state_dict()
    for key, tensor in wanted.items():
        if key not in state:
            raise ArtifactError(f"{name}: {key} is missing, of the shape {tuple(tensor.shape)}")
        if state[key].shape != tensor.shape:
            raise ArtifactError(
                f"{name}: {key} should have the shape {tuple(tensor.shape)}; it has {tuple(state[key].shape)}"
            )
    if over := sorted(state.keys() - wanted.keys()):
        raise ArtifactError(f"{name}: {len(over)} tensors belong to nothing, the first is {over[0][:80]!r}")
    net.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    return net


def made(name: str, net: Callable[[C], N], config: C) -> N:
    """The net of a configuration that a file describes. Raises ArtifactError if it does not fit this computer."""
    try:
        return net(config)
    except (RuntimeError, MemoryError) as error:
        raise ArtifactError(
            f"{name}: it describes a net that is too large for this computer: {config}"[:300]
        ) from error


def published(name: str, options: Mapping[str, object], usual: Mapping[str, object]) -> None:
    """Raises ArtifactError for an option that is not as usual: the net would be computed in another way than is done here."""
    for key, value in usual.items():
        given = options.get(key, value)
        given = list(given) if isinstance(given, tuple) else given
        if type(given) is not type(value) or given != value:
            raise ArtifactError(f"{name}: it was made with {key}={options[key]!r}; only {key}={value!r} is known here")


def grown(name: str, state: Mapping[str, Tensor]) -> None:
    """Raises ArtifactError if `lod`, the sizes that have not been added yet, is not 0."""
    if "lod" in state and (state["lod"].numel() != 1 or float(state["lod"]) != 0):
        raise ArtifactError(f"{name}: it is still growing (lod is not 0); take a later checkpoint")


def from_tf(name: str, state: Mapping[str, Tensor], options: Mapping[str, object] | None = None) -> ProGAN:
    """A generator from the variables of the authors' TensorFlow code ("4x4/Dense/weight" …) and its static keyword arguments.

    Raises ArtifactError for other tensors, and for a net that is still growing.
    """
    options = options or {}
    usual = {"use_wscale": True, "use_pixelnorm": True, "use_leakyrelu": True, "normalize_latents": True}
    published(name, options, usual | {"pixelnorm_epsilon": EPSILON})
    grown(name, state)
    count = sum(bool(re.fullmatch(r"(\d+)x\1/Conv1?/weight", key)) for key in state)
    found, sizes = {}, [4 << b for b in range(count)]
    try:
        found["b4.dense.weight"] = _rows(state["4x4/Dense/weight"])
        found["b4.dense.bias"] = state["4x4/Dense/bias"]
        for part, theirs in (
            ("b4.conv", "4x4/Conv"),
            ("torgb", "ToRGB_lod0"),
            *((f"b{s}.conv1", f"{s}x{s}/Conv1") for s in sizes[1:]),
        ):
            found[f"{part}.weight"] = state[f"{theirs}/weight"].permute(3, 2, 0, 1)
            found[f"{part}.bias"] = state[f"{theirs}/bias"]
        for s in sizes[1:]:
            fused = f"{s}x{s}/Conv0_up/weight" in state  # a transposed convolution: [h w out in], and turned around
            theirs = f"{s}x{s}/Conv0{'_up' if fused else ''}"
            weight = state[f"{theirs}/weight"]
            found[f"b{s}.conv0.weight"] = weight.permute(2, 3, 0, 1).flip(2, 3) if fused else weight.permute(3, 2, 0, 1)
            found[f"b{s}.conv0.bias"] = state[f"{theirs}/bias"]
        return _assembled(name, found, int(options.get("label_size") or 0), fingerprint(state))  # type: ignore[call-overload]
    except ArtifactError:
        raise
    except DAMAGED as error:
        raise ArtifactError(f"{name}: these are not the variables of a ProGAN: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _rows(weight: Float[Tensor, "z o16"]) -> Float[Tensor, "o z 4 4"]:
    return weight.unflatten(1, (-1, 4, 4)).transpose(0, 1)


def from_genforce(name: str, state: Mapping[str, Tensor], options: Mapping[str, object] | None = None) -> ProGAN:
    """A generator from the tensors of genforce's PGGAN ("layer0.weight" …) and its keyword arguments. Raises ArtifactError."""
    options = options or {}
    # With labels that code normalizes z twice.
    published(name, options, {"use_wscale": True, "final_tanh": False, "label_size": 0})
    grown(name, state)
    found, b = {}, 0
    try:
        while f"layer{2 * b}.weight" in state:
            for j, part in ((2 * b, "conv0" if b else "dense"), (2 * b + 1, "conv1" if b else "conv")):
                weight = state[f"layer{j}.weight"]
                if part == "dense":
                    weight = weight.flip(2, 3)
                elif part == "conv0" and options.get("fused_scale", False):
                    weight = weight.transpose(0, 1).flip(2, 3)
                found[f"b{4 << b}.{part}.weight"], found[f"b{4 << b}.{part}.bias"] = weight, state[f"layer{j}.bias"]
            b += 1
        found["torgb.weight"], found["torgb.bias"] = (state[f"output{b - 1}.{leaf}"] for leaf in ("weight", "bias"))
        return _assembled(name, found, 0, fingerprint(state))
    except ArtifactError:
        raise
    except DAMAGED as error:
        raise ArtifactError(f"{name}: these are not the tensors of genforce's PGGAN: {first_line(error)}") from error


def _assembled(name: str, found: dict[str, Tensor], c_dim: int, mark: str) -> ProGAN:
    """The generator of tensors under our own names; its configuration is in their shapes, but for the label."""
    dense, widths = found["b4.dense.weight"], []
    while (key := f"b{4 << len(widths)}.conv{1 if widths else ''}.weight") in found:
        widths.append(len(found[key]))
    if not widths or not 0 <= c_dim < dense.shape[1]:
        raise ArtifactError(f"{name}: {dense.shape[1]} inputs cannot have {c_dim} classes among them")
    try:
        config = Config(tuple(widths), dense.shape[1] - c_dim, c_dim, len(found["torgb.weight"]))
    except SettingError as error:
        raise ArtifactError(f"{name}: {error}") from error
    return ProGAN(name, filled(name, made(name, Net, config), found), mark)


def from_catalogue(entry: Entry, files: Mapping[str, Path]) -> ProGAN:
    """The generator in a TensorFlow.js conversion of a TensorFlow Hub module: model.json and its shards. Raises ArtifactError."""
    model = next((key for key in files if key.endswith("model.json")), None)
    if model is None:
        raise ArtifactError(f"{entry.name}: there is no model.json among {', '.join(files)}")
    shards = {key.rpartition("/")[2]: path.read_bytes() for key, path in files.items() if key != model}
    tree = foreign.read(files[model], beside=shards)
    return from_graph(entry.name, tree.value, tree.graph)


def from_graph(name: str, tensors: Mapping[str, Tensor], graph: Iterable[foreign.Node]) -> ProGAN:
    """A generator from the constants of its graph, whose gains are part of the weights. Raises ArtifactError."""
    nodes = tuple(graph)
    convs = [node for node in nodes if node.op == "Conv2D"]
    added = {node.inputs[0]: node.inputs[1] for node in nodes if node.op == "Add"}
    found: dict[str, Tensor] = {}
    try:
        for i, node in enumerate(convs):
            weight, bias = tensors[node.inputs[1]].permute(3, 2, 0, 1), tensors[added[node.name]]
            gain = math.sqrt(2 / weight[0].numel())
            part = f"b{4 << i // 2}.conv{i % 2}"
            if i == 0:
                part, weight = "b4.dense", weight.flip(2, 3)
            elif i == 1:
                part = "b4.conv"
            elif i == len(convs) - 1:
                # The conversion merged x/2 + 1/2 into the last layer, but forgot the half of its weight.
                part, gain, bias = "torgb", 1 / math.sqrt(weight.shape[1]), 2 * bias - 1
            found[f"{part}.weight"], found[f"{part}.bias"] = weight / gain, bias
        if "torgb.weight" not in found:
            raise ArtifactError(f"{name}: this is not the graph of a ProGAN: it has {len(convs)} convolutions")
        return _assembled(name, found, 0, fingerprint(tensors))
    except ArtifactError:
        raise
    except DAMAGED as error:
        raise ArtifactError(f"{name}: this is not the graph of a ProGAN: {first_line(error)}") from error
