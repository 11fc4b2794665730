"""rosinality's StyleGAN2 `.pt` (github.com/rosinality/stylegan2-pytorch), and all with its names: pSp, e4e, HyperStyle, PTI, StyleCLIP.

Format   g_ema, perhaps g, d and latent_avg; or the generator behind "decoder." in a larger model; or alone. `written` makes such a file
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import foreign
from ..errors import SettingError
from ..generators import stylegan2, stylegan2_critic
from ..generators.opening import counted
from .checkpoint import Checkpoint
from .reading import (
    NO_MEAN,
    NO_NOISE,
    TOLD,
    Taken,
    chosen,
    last,
    listing,
    named,
    number,
    prefixes,
    reading,
    under,
    vector,
)

LAYOUT = "rosinality"
OPTIONS = ("mapping_lr",)
GENERATOR, CRITIC = "to_rgb1.conv.modulation.weight", "final_linear.1.weight"
LR = 0.01  # of the mapping, relative


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state = named(tree)
    found = [prefix for prefix in prefixes(state, GENERATOR) if f"{prefix}input.input" in state]
    if not found:
        return None
    prefix = chosen(found, options.get("part"))
    own = under(state, prefix)
    # Some keep the mean inside the generator, some beside the averaged one.
    beside = ("latent_avg",) if prefix == chosen(found, None) else ()
    mean = next((state[key] for key in (f"{prefix}latent_avg", *beside) if key in state), None)
    own.pop("latent_avg", None)
    notes = [] if "mapping_lr" in options else [TOLD.format("mapping_lr", LR, "mapping_lr")]
    tensors, source = {}, dict(own)
    with reading("a StyleGAN2 of rosinality's"):
        taken = Taken(own)
        synthesis(taken, tensors, notes, NAMES)
        _mapping(taken, tensors)
        taken.done(r".*\.kernel|.*optim.*")
        if mean is not None:
            _mean(mean, tensors, source, notes)
        if "w_avg" not in tensors:
            notes.append(NO_MEAN)
        config = stylegan2.Config.of(tensors, number(options.get("mapping_lr", LR), "mapping_lr"))
    critic = next((p for p in prefixes(state, CRITIC) if f"{p}convs.0.0.weight" in state), None)
    held = listing(tree)
    make = None if critic is None else lambda: _critic(under(state, critic))
    return Checkpoint(LAYOUT, "stylegan2", config, tensors, source, held, notes, make)


@dataclass(frozen=True)
class Names:
    """What a code that lists convolutions one after another calls their tensors: constant, noise maps, and what each convolution has."""

    const: str
    noise: str  # of layer {}
    strength: str
    weight: str
    style: str
    style_bias: str


NAMES = Names("input.input", "noises.noise_{}", "noise.weight", "weight", "modulation.weight", "modulation.bias")


def synthesis(own: Mapping[str, Tensor], tensors: dict[str, Tensor], notes: list[str], names: Names) -> None:
    """Constant, convolutions and image heads, from "conv1", "to_rgb1", "convs.0", "convs.1", "to_rgbs.0" …"""
    tensors["const"] = last(own[names.const], 3)
    height, width = tensors["const"].shape[1:]

    def styled(theirs: str, ours: str) -> None:
        tensors[f"{ours}.weight"] = last(own[f"{theirs}.conv.{names.weight}"], 4)
        tensors[f"{ours}.affine.weight"] = own[f"{theirs}.conv.{names.style}"]
        tensors[f"{ours}.affine.bias"] = own[f"{theirs}.conv.{names.style_bias}"]

    blocks = 1 + counted(own, lambda i: f"convs.{2 * i}.conv.{names.weight}")
    for i, (theirs, ours, head, torgb) in enumerate(_chain(blocks, height)):
        b = (i + 1) // 2
        styled(theirs, ours)
        tensors[f"{ours}.bias"] = vector(own[f"{theirs}.activate.bias"])
        tensors[f"{ours}.strength"] = own[f"{theirs}.{names.strength}"].reshape(())
        noise = own.get(names.noise.format(i))
        tensors[f"{ours}.noise"] = torch.zeros(height << b, width << b) if noise is None else last(noise, 2)
        if head:
            styled(head, torgb)
            tensors[f"{torgb}.bias"] = vector(own[f"{head}.bias"])
    if names.noise.format(0) not in own:
        notes.append(NO_NOISE)


def _chain(blocks: int, height: int) -> Iterator[tuple[str, str, str, str]]:
    """The convolutions, by their names there and here, each with the image head behind it ("" where there is none), likewise."""
    for i in range(2 * blocks - 1):
        block = f"b{height << (i + 1) // 2}"
        head = "" if i % 2 else f"to_rgbs.{i // 2 - 1}" if i else "to_rgb1"
        yield f"convs.{i - 1}" if i else "conv1", f"{block}.conv{1 - i % 2}", head, f"{block}.torgb"


def _mapping(own: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> None:
    dense = sorted(int(m[1]) for m in (re.fullmatch(r"style\.(\d+)\.weight", key) for key in own) if m)
    for i, j in enumerate(dense):
        for leaf in ("weight", "bias"):
            tensors[f"mapping.layers.{i}.{leaf}"] = own[f"style.{j}.{leaf}"]


def _mean(mean: Tensor, tensors: dict[str, Tensor], source: dict[str, Tensor], notes: list[str]) -> None:
    """The mean w: [d], or a row for each layer, which are one and the same unless someone has trained them."""
    rows = mean.reshape(-1, mean.shape[-1])
    source["latent_avg"] = mean
    if torch.equal(rows, rows[:1].expand_as(rows)):
        tensors["w_avg"] = rows[0]
    else:
        notes.append("its latent_avg differs from layer to layer, so it is no mean w and was left aside")


def _critic(own: Mapping[str, Tensor]) -> stylegan2_critic.Critic:
    """The discriminator: the same net as NVIDIA's, residual, under other names."""
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN2 of rosinality's with a discriminator"):
        blocks = counted(own, lambda i: f"convs.{i + 1}.conv1.0.weight")
        top = f"b{4 << blocks}"
        tensors[f"{top}.fromrgb.weight"], tensors[f"{top}.fromrgb.bias"] = (
            own["convs.0.0.weight"],
            own["convs.0.1.bias"],
        )
        for i in range(blocks):
            ours, theirs = f"b{4 << blocks - i}", f"convs.{i + 1}"
            # In front of the convolution that halves the size there is a filter, which counts as a layer.
            for part, at in (("conv0", f"{theirs}.conv1.{{}}"), ("conv1", f"{theirs}.conv2.{{}}")):
                weight = 0 if part == "conv0" else 1
                tensors[f"{ours}.{part}.weight"] = own[at.format(weight) + ".weight"]
                tensors[f"{ours}.{part}.bias"] = vector(own[at.format(weight + 1) + ".bias"])
            tensors[f"{ours}.skip.weight"] = own[f"{theirs}.skip.1.weight"]
        tensors["b4.conv.weight"], tensors["b4.conv.bias"] = (
            own["final_conv.0.weight"],
            vector(own["final_conv.1.bias"]),
        )
        for ours, theirs in (("b4.fc", "final_linear.0"), ("b4.out", "final_linear.1")):
            tensors[f"{ours}.weight"], tensors[f"{ours}.bias"] = own[f"{theirs}.weight"], own[f"{theirs}.bias"]
        config = stylegan2_critic.Config.of(tensors)
    return stylegan2_critic.build(config, tensors)


# -- writing ----------------------------------------------------------------------------------------------------------------------------


def lost(found: Checkpoint) -> list[str]:
    """What such a file does not say of a net, so that other tools would not know it."""
    c = found.config
    usual = [
        tuple(min(512, (16 << 10) * m // (4 << b)) if b > 3 else 512 for b in range(len(c.widths))) for m in (1, 2)
    ]
    what = {
        f"features are not held to ±{c.clamp}, which changes few pictures": c.clamp is not None,
        "its widths are of no channel_multiplier 1 or 2": tuple(c.widths) not in usual,
    }
    return [reason for reason, holds in what.items() if holds]


def fits(found: Checkpoint) -> None:
    """Raises SettingError where the net is none that the layout can hold."""
    c = found.config
    if found.family != "stylegan2":
        raise SettingError(f"rosinality's files hold a StyleGAN2; this is {found.family}")
    wrong = {
        "it has classes": c.c_dim > 0,
        f"its architecture is {c.architecture}, theirs skip": c.architecture != "skip",
        "it has no noise": not c.noise,
        f"it has {c.colors} color, theirs 3": c.colors != 3,
        "z and w differ in width": c.z_dim != c.w_dim,
        f"its first size is {c.const}, theirs (4, 4)": tuple(c.const) != (4, 4),
    }
    if reasons := [reason for reason, holds in wrong.items() if holds]:
        raise SettingError(f"rosinality's files cannot hold this StyleGAN2: {'; '.join(reasons)}")


def written(found: Checkpoint, mean: Tensor) -> dict[str, Any]:
    """What such a file holds, from a StyleGAN2 of another layout that `fits`. `mean` is the mean w.

    The learning rate of the mapping, which the layout does not hold, is multiplied into its weights.
    """
    c, own = found.config, found.tensors
    state: dict[str, Tensor] = {"input.input": own["const"][None]}
    for i in range(c.depth):
        for leaf in ("weight", "bias"):
            state[f"style.{i + 1}.{leaf}"] = own[f"mapping.layers.{i}.{leaf}"].float() * (c.mapping_lr / LR)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    filters = torch.outer(taps, taps) / 16  # of sum 4, since three of four pixels are zeros
    for i, (theirs, ours, head, torgb) in enumerate(_chain(len(c.widths), c.const[0])):
        _write(own, state, ours, f"{theirs}.conv")
        state[f"{theirs}.noise.weight"] = own[f"{ours}.strength"].reshape(1)
        state[f"{theirs}.activate.bias"] = own[f"{ours}.bias"]
        state[f"noises.noise_{i}"] = own[f"{ours}.noise"][None, None]
        if not head:
            state[f"{theirs}.conv.blur.kernel"] = filters
            continue
        _write(own, state, torgb, f"{head}.conv")
        state[f"{head}.bias"] = own[f"{torgb}.bias"][None, :, None, None]
        if i:
            state[f"{head}.upsample.kernel"] = filters
    return {
        "g_ema": {key: tensor.detach().float().contiguous().clone() for key, tensor in state.items()},
        "latent_avg": mean.detach().float().clone(),
    }


def _write(own: Mapping[str, Tensor], state: dict[str, Tensor], ours: str, theirs: str) -> None:
    state[f"{theirs}.weight"] = own[f"{ours}.weight"][None]
    for leaf in ("weight", "bias"):
        state[f"{theirs}.modulation.{leaf}"] = own[f"{ours}.affine.{leaf}"]
