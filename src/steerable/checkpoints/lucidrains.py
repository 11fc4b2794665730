"""lucidrains' `.pt` (github.com/lucidrains/stylegan2-pytorch): the `state_dict` of its GAN, with S and G, and their averages SE and GE.

Format   GAN, version. Depth, widths and size are in the shapes. The learning rate of the mapping is in a separate .config.json
Differs  the constant goes through its convolution once, here. Nets with attention, with transparency, and those that begin with w in
         place of a constant are refused
"""

import math
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from .. import foreign
from ..errors import ArtifactError
from ..generators.opening import counted
from ..generators.stylegan2_bilinear import Config
from .checkpoint import Checkpoint
from .reading import NO_MEAN, TOLD, Taken, chosen, last, listing, named, number, prefixes, reading, under

LAYOUT = "lucidrains"
OPTIONS = ("lr_mlp",)
LR = 0.1  # of the mapping, relative
STYLES = {"G": "S", "GE": "SE"}  # the mapping that belongs to a generator
REFUSED = {
    "attns.": "attention layers",
    "to_initial_block.": "no constant, but a first layer that w goes into",
}


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    state = named(tree)
    found = [p for p in prefixes(state, "initial_conv.weight") if f"{p}blocks.0.to_style1.weight" in state]
    if not found:
        return None
    prefix = chosen(found, options.get("part"))
    own = under(state, prefix)
    for leaf, what in REFUSED.items():
        if any(key.startswith(leaf) for key in own):
            raise ArtifactError(f"is a StyleGAN2 of lucidrains' with {what}, which is not known here")
    head, _, name = prefix.rstrip(".").rpartition(".")
    styles = under(state, f"{head}.{STYLES.get(name, 'S')}.net." if head else f"{STYLES.get(name, 'S')}.net.")
    notes = [NO_MEAN] + ([] if "lr_mlp" in options else [TOLD.format("lr_mlp", LR, "lr_mlp")])
    tensors: dict[str, Tensor] = {}
    with reading("a StyleGAN2 of lucidrains'"):
        _mapping(styles, tensors, number(options.get("lr_mlp", LR), "lr_mlp"))
        taken = Taken(own)
        _synthesis(taken, tensors)
        taken.done(r".*\.(kernel|f)")
        config = Config.of(tensors)
    source = own | {f"{STYLES.get(name, 'S')}.{key}": tensor for key, tensor in styles.items()}
    return Checkpoint(LAYOUT, "stylegan2_bilinear", config, tensors, source, listing(tree), notes)


def _mapping(styles: Mapping[str, Tensor], tensors: dict[str, Tensor], lr: float) -> None:
    """Theirs begins with a vector of length 1 and has no gains: y = lrelu(lr W x + lr b). Ours has √2 after each and 1/√d in front."""
    for i in range(counted(styles, lambda i: f"{2 * i}.weight")):
        weight, bias = styles[f"{2 * i}.weight"].float(), styles[f"{2 * i}.bias"].float()
        tensors[f"mapping.layers.{i}.weight"] = weight * (lr * math.sqrt((weight.shape[1] if i else 1) / 2))
        tensors[f"mapping.layers.{i}.bias"] = bias * (lr / math.sqrt(2))


def _synthesis(own: Mapping[str, Tensor], tensors: dict[str, Tensor]) -> None:
    const = last(own["initial_block"], 3).float()
    tensors["const"] = F.conv2d(
        const[None], own["initial_conv.weight"].float(), own["initial_conv.bias"].float(), padding=1
    )[0]
    for b in range(counted(own, lambda b: f"blocks.{b}.conv1.weight")):
        theirs, ours = f"blocks.{b}", f"b{4 << b}"
        for j in (1, 2):
            part = f"{ours}.conv{j - 1}"
            tensors[f"{part}.weight"] = own[f"{theirs}.conv{j}.weight"]
            _style(own, tensors, f"{theirs}.to_style{j}", part)
            # Their noise is uniform in [0, 1]; ours has the mean 0 and the variance 1.
            weight = own[f"{theirs}.to_noise{j}.weight"][:, 0].float()
            tensors[f"{part}.strength"] = weight / math.sqrt(12)
            tensors[f"{part}.bias"] = own[f"{theirs}.to_noise{j}.bias"].float() + weight / 2
        head = own[f"{theirs}.to_rgb.conv.weight"]
        if len(head) != 3:
            raise ArtifactError(
                f"is a StyleGAN2 of lucidrains' that makes {len(head)} channels; pictures of 3 are known here"
            )
        tensors[f"{ours}.torgb.weight"] = head
        _style(own, tensors, f"{theirs}.to_rgb.to_style", f"{ours}.torgb")


def _style(own: Mapping[str, Tensor], tensors: dict[str, Tensor], theirs: str, ours: str) -> None:
    tensors[f"{ours}.affine.weight"] = own[f"{theirs}.weight"]
    tensors[f"{ours}.affine.bias"] = own[f"{theirs}.bias"].float() + 1
