"""StyleGAN2 of mmgeneration and mmagic, `.pth` (github.com/open-mmlab/mmgeneration).

Format   meta, state_dict with "generator." and "generator_ema." (in mmagic "generator_ema.module."); weights are called
         "weight_orig". Nets trained there make blue, green, red; converted ones red, green, blue; no file says which it is
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators import stylegan2
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

LAYOUT = "mmgeneration and mmagic"
OPTIONS = ("mapping_lr", "channels", "conv_clamp")
GENERATOR = "constant_input.input"
LR = 0.01


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state = named(tree)
    found = prefixes(state, GENERATOR)
    if not found:
        return None
    own = under(state, chosen(found, options.get("part")))
    order = options.get("channels", "rgb")
    if order not in ("rgb", "bgr"):
        raise ArtifactError(f"has pictures of channels rgb or bgr; got {str(order)[:80]!r}")
    told = (("mapping_lr", LR), ("channels", "rgb"), ("conv_clamp", None))
    notes = [TOLD.format(key, value, key) for key, value in told if key not in options] + [NO_MEAN]
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN2 of mmgeneration's"):
        taken = Taken(own)
        _fill(taken, tensors, order == "bgr", notes)
        taken.done(r".*\.kernel|steps")
        clamp = options.get("conv_clamp")
        lr = number(options.get("mapping_lr", LR), "mapping_lr")
        config = stylegan2.Config.of(tensors, lr, None if clamp is None else number(clamp, "conv_clamp"))
    return Checkpoint(LAYOUT, "stylegan2", config, tensors, own, listing(tree), notes)


def _fill(own: Mapping[str, Tensor], tensors: dict[str, Tensor], turned: bool, notes: list[str]) -> None:
    tensors["const"] = last(own[GENERATOR], 3)
    height, width = tensors["const"].shape[1:]
    blocks = 1 + counted(own, lambda i: f"convs.{2 * i}.conv.weight_orig")
    for i in range(2 * blocks - 1):
        b = (i + 1) // 2
        theirs, ours = f"convs.{i - 1}" if i else "conv1", f"b{height << b}.{'conv0' if i % 2 else 'conv1'}"
        _styled(own, tensors, f"{theirs}.conv", ours)
        tensors[f"{ours}.bias"] = vector(own[f"{theirs}.activate.bias"])
        tensors[f"{ours}.strength"] = own[f"{theirs}.noise_injector.weight"].reshape(())
        noise = own.get(f"injected_noise_{i}")
        tensors[f"{ours}.noise"] = torch.zeros(height << b, width << b) if noise is None else last(noise, 2)
        if i % 2 == 0:
            head, part = f"to_rgbs.{b - 1}" if i else "to_rgb1", f"b{height << b}.torgb"
            _styled(own, tensors, f"{head}.conv", part)
            tensors[f"{part}.bias"] = vector(own[f"{head}.bias"])
            if turned:
                tensors |= {key: tensors[key].flip(0) for key in (f"{part}.weight", f"{part}.bias")}
    if "injected_noise_0" not in own:
        notes.append(NO_NOISE)
    # The first of the mapping's modules normalizes and has no weights.
    for i in range(counted(own, lambda i: f"style_mapping.{i + 1}.bias")):
        tensors[f"mapping.layers.{i}.weight"] = own[f"style_mapping.{i + 1}.linear.weight_orig"]
        tensors[f"mapping.layers.{i}.bias"] = own[f"style_mapping.{i + 1}.bias"]


def _styled(own: Mapping[str, Tensor], tensors: dict[str, Tensor], theirs: str, ours: str) -> None:
    tensors[f"{ours}.weight"] = last(own[f"{theirs}.weight_orig"], 4)
    tensors[f"{ours}.affine.weight"] = own[f"{theirs}.style_modulation.linear.weight_orig"]
    tensors[f"{ours}.affine.bias"] = own[f"{theirs}.style_modulation.bias"]
