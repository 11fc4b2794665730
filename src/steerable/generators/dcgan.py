"""DCGAN: transposed convolutions from z to a picture, of any depth.

Paper    Radford, Metz, Chintala, Unsupervised Representation Learning with Deep Convolutional GANs, ICLR 2016
Matches  state dicts of `nn.Sequential` generators (ConvTranspose2d, BatchNorm2d, ReLU …, Tanh): widths, depth, size and label are read off
         the shapes
Differs  batch normalization uses the stored statistics, so a picture does not depend on its neighbors
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import foreign
from ..artifact import fingerprint
from ..catalogue import Entry, Files
from ..errors import ArtifactError, SpaceError
from ..generator import Generator
from ..layer import Layer, State
from ..space import Latents, Space


@dataclass(frozen=True)
class Stage:
    """Kernel size, stride and padding of one transposed convolution, and its widths."""

    into: int
    out: int
    kernel: int
    stride: int
    padding: int
    normed: bool


class Block(nn.Module):
    def __init__(self, stage: Stage):
        super().__init__()
        self.conv = nn.ConvTranspose2d(stage.into, stage.out, stage.kernel, stage.stride, stage.padding, bias=True)
        self.norm = nn.BatchNorm2d(stage.out) if stage.normed else nn.Identity()


class Net(nn.Module):
    def __init__(self, stages: list[Stage]):
        super().__init__()
        self.blocks = nn.ModuleList(Block(s) for s in stages)


@final
class DCGAN(Generator):
    """A plain chain: z, with `classes` > 0 a one-hot label appended to it, and nothing else to steer."""

    def __init__(self, name: str, net: Net, stages: list[Stage], mark: str, classes: int = 0):
        d = stages[0].into - classes
        side, layers = 1, []
        for i, s in enumerate(stages):
            side = (side - 1) * s.stride - 2 * s.padding + s.kernel
            style, reads = (slice(0, d), ("label",) if classes else ()) if i == 0 else (slice(0, 0), ())
            layers.append(Layer(f"blocks.{i}", (side, side), s.out, style=style, reads=reads))
        super().__init__(
            name,
            net,
            spaces=(Space("z", (d,)),),
            layers=layers,
            inputs={"label": (classes,)} if classes else {},
            fingerprint=mark,
        )

    def _step(self, latents: Latents) -> Latents:
        raise SpaceError(f"{self.name} has no space after {latents.space.name!r}")

    def start(self, latents: Latents) -> State:
        return State(latents.values.new_empty(len(latents), 0, 1, 1))

    def layer(self, i: int, state: State, latents: Latents, grad: bool) -> State:
        x, block = state.x, self.net.blocks[i]
        if i == 0:
            z = latents.values
            if "label" in self.inputs:
                z = torch.cat([z, latents.inputs["label"].to(z)], 1)
            x = z[:, :, None, None]
        x = block.norm(block.conv(x))
        return State(x if i == len(self.layers) - 1 else F.relu(x))

    def finish(self, state: State, latents: Latents) -> Tensor:
        return state.x.tanh()

    def affines(self, space: str) -> dict[str, Tensor]:
        if space != "z":
            raise SpaceError(f"{self.name} has only the space 'z', not {space!r}")
        weight = self.net.blocks[0].conv.weight  # [d c 4 4]
        return {"blocks.0": weight[: self.spaces[0].shape[0]].flatten(1).T}


def from_state(name: str, found: Mapping[str, Tensor], classes: int = 0) -> DCGAN:
    """A generator from the tensors of such a net, whatever its modules are called.

    A label cannot be told from z by shapes: say how many `classes` there are. Raises ArtifactError where the tensors are something else.
    """
    convs = sorted((k for k, v in found.items() if v.ndim == 4), key=_position)
    norms = sorted((k.removesuffix(".running_mean") for k in found if k.endswith(".running_mean")), key=_position)
    shapes = [tuple(found[k].shape) for k in convs]
    chained = all(a[1] == b[0] for a, b in pairwise(shapes))
    if len(convs) < 2 or not chained or shapes[-1][1] != 3 or classes >= shapes[0][0] or len(norms) >= len(convs):
        raise ArtifactError(
            f"{name}: these tensors are not a chain of transposed convolutions from z to RGB, so this is no DCGAN"
        )
    stages, state = [], {}
    for i, (key, (into, out, kernel, _)) in enumerate(zip(convs, shapes, strict=True)):
        stages.append(Stage(into, out, kernel, *((1, 0) if i == 0 else (2, kernel // 2 - 1)), normed=i < len(norms)))
        state[f"blocks.{i}.conv.weight"] = found[key]
        state[f"blocks.{i}.conv.bias"] = found.get(key.removesuffix("weight") + "bias", torch.zeros(out))
        if i < len(norms):
            for leaf in ("weight", "bias", "running_mean", "running_var"):
                state[f"blocks.{i}.norm.{leaf}"] = found.get(f"{norms[i]}.{leaf}", torch.zeros(0))
            state[f"blocks.{i}.norm.num_batches_tracked"] = torch.tensor(0)
    net = Net(stages)
    try:
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        raise ArtifactError(f"{name}: the tensors do not fit a DCGAN: {str(error).splitlines()[-1].strip()}") from error
    return DCGAN(name, net, stages, fingerprint(found), classes)


def _position(name: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def from_catalogue(entry: Entry, files: Files) -> DCGAN:
    """The generator of a catalogue entry."""
    (member,) = files
    classes = len(entry.more.get("classes", ()))  # type: ignore[arg-type]
    return from_state(entry.name, foreign.state_dict(foreign.read(files[member])), classes)
