"""MobileStyleGAN in OpenVINO's format, as the package random-face distributes it: a mapping and a synthesis network.

Format   {Mapping,Synthesis}Network.{xml,bin}; constants are found by the operations that read them. Constant gains become part of the
         weights, the last Haar transform too; channels in front of a Haar transform are sorted by band; each noise map is split into a
         map of unit size and a strength
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .. import foreign
from ..catalogue import Entry
from ..errors import ArtifactError
from ..generators.mobilestylegan import Config
from .checkpoint import Checkpoint

LAYOUT = "OpenVINO (MobileStyleGAN)"


def catalogued(entry: Entry, files: Mapping[str, Path]) -> Checkpoint:
    """The generator in the four files of a catalogue entry. Raises ArtifactError for other networks."""
    read = Reader({}, {})
    for part in ("Mapping", "Synthesis"):
        paths = [p for end in ("xml", "bin") for k, p in files.items() if k.endswith(f"{part}Network.{end}")]
        if len(paths) != 2:
            raise ArtifactError(
                f"{entry.name}: {part}Network.xml and its .bin are needed; there is: {', '.join(files) or 'nothing'}"
            )
        found = foreign.read(paths[0], beside={"bin": paths[1].read_bytes()})
        read.tensors.update({f"{part}:{name}": tensor for name, tensor in found.value.items()})
        read.graph.update({f"{part}:{node.name}": node for node in found.graph})
    try:
        tensors = assembled(read)
    except (KeyError, IndexError, RuntimeError) as error:
        raise ArtifactError(f"{entry.name}: these are not the networks of MobileStyleGAN ({error})") from error
    return Checkpoint(LAYOUT, "mobilestylegan", Config(), tensors, read.tensors)


@dataclass(frozen=True)
class Reader:
    """The constants of both networks, addressed by the operation that reads them."""

    tensors: dict[str, Tensor]
    graph: dict[str, foreign.Node]

    def __call__(self, operation: str, port: int = 1, part: str = "Synthesis") -> Tensor:
        # Copied, because in the file they lie at any address.
        return self.tensors[f"{part}:{self.graph[f'{part}:{operation}'].inputs[port]}"].clone()


def assembled(read: Reader) -> dict[str, Tensor]:
    """Our tensors from their constants. The numbers in the names of operations rise by 100 from one size to the next."""
    state: dict[str, Tensor] = {"const": read("Expand_9", 0)}
    for i in range(8):
        state[f"mapping.{i}.weight"] = read(f"MatMul_{8 + 11 * i}", 1, "Mapping")
        state[f"mapping.{i}.bias"] = read(f"Reshape_{14 + 11 * i}", 0, "Mapping")

    def layer(i: int, affines: Iterable[int], gain: Tensor, conv: int, spatial: int | None = None) -> None:
        own = {"affine.weight": torch.cat([read(f"Gemm_{k}/WithoutBiases") for k in affines])}
        own["affine.bias"] = torch.cat([read(f"Gemm_{k}")[0] for k in affines])
        own["weight"] = read(f"Conv_{conv}") * gain
        if spatial is not None:
            own["depthwise"] = read(f"Conv_{spatial}").flatten(0, 1)
        if i < 15:
            noise, own["bias"] = read(f"Add_{conv + 19}"), read(f"Add_{conv + 20}").flatten()
            own["strength"] = noise.square().mean().sqrt()
            own["noise"] = noise / own["strength"].clamp_min(1e-12)
        state.update({f"layers.{i}.{name}": tensor for name, tensor in own.items()})

    layer(0, [11], read("Mul_19"), 21)
    for b in range(7):
        o = 100 * b
        layer(
            2 * b + 1, [52 + o, 77 + o], read(f"Mul_{85 + o}") / 2, 88 + o, 87 + o
        )  # haar_up is twice their transform
        layer(2 * b + 2, [110 + o], read(f"Mul_{118 + o}"), 121 + o, 120 + o)
    layer(15, [743], read("Mul_751"), 753)

    order = bands(12)
    haar = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2  # pixels from ll, h, v, d
    weight, bias = state["layers.15.weight"][order].view(4, 3, -1), read("Add_754").flatten()[order].view(4, 3)
    state["layers.15.weight"] = torch.einsum("pb,bck->pck", haar, weight).reshape(12, -1, 1, 1)
    state["layers.15.bias"] = (haar @ bias).flatten()
    for i in range(1, 15, 2):
        order = bands(len(state[f"layers.{i - 1}.bias"]))
        for name in ("weight", "bias"):  # what makes the channels, and what scales them
            made, scales = state[f"layers.{i - 1}.{name}"], state[f"layers.{i}.affine.{name}"]
            state[f"layers.{i - 1}.{name}"] = made[order]
            state[f"layers.{i}.affine.{name}"] = torch.cat([scales[: len(order)][order], scales[len(order) :]])
    return state


def bands(c: int) -> Tensor:
    """Where ll | h | v | d lie among c channels of the file: there all ll come first, then (v, h, d) for one after another."""
    v = c // 4 + 3 * torch.arange(c // 4)
    return torch.cat([torch.arange(c // 4), v + 1, v, v + 2])
