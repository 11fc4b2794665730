"""StyleGAN2 of mmgeneration and mmagic, `.pth` (github.com/open-mmlab/mmgeneration).

Format   meta, state_dict with "generator." and "generator_ema." (in mmagic "generator_ema.module."); weights are called
         "weight_orig". Nets trained there make blue, green, red; converted ones red, green, blue; no file says which it is
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators import stylegan2
from ..generators.opening import counted
from .checkpoint import Checkpoint
from .reading import NO_MEAN, TOLD, Taken, chosen, limit, listing, named, number, prefixes, reading, under
from .rosinality import Names, synthesis

LAYOUT = "mmgeneration and mmagic"
OPTIONS = ("mapping_lr", "channels", "conv_clamp")
GENERATOR = "constant_input.input"
NAMES = Names(
    GENERATOR, "injected_noise_{}", "noise_injector.weight", "weight_orig",
    "style_modulation.linear.weight_orig", "style_modulation.bias",
)  # fmt: skip
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
        synthesis(taken, tensors, notes, NAMES)
        if order == "bgr":
            heads = re.compile(r"b\d+\.torgb\.(weight|bias)")
            tensors |= {key: tensor.flip(0) for key, tensor in tensors.items() if heads.fullmatch(key)}
        _mapping(taken, tensors)
        taken.done(r".*\.kernel|steps")
        lr = number(options.get("mapping_lr", LR), "mapping_lr")
        config = stylegan2.Config.of(tensors, lr, limit(options.get("conv_clamp"), "conv_clamp"))
    return Checkpoint(LAYOUT, "stylegan2", config, tensors, own, listing(tree), notes)


def _mapping(own: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """The first of the mapping's modules normalizes and has no weights."""
    for i in range(counted(own, lambda i: f"style_mapping.{i + 1}.bias")):
        tensors[f"mapping.layers.{i}.weight"] = own[f"style_mapping.{i + 1}.linear.weight_orig"]
        tensors[f"mapping.layers.{i}.bias"] = own[f"style_mapping.{i + 1}.bias"]
