"""TensorFlow.js: a `model.json` and the shards that its weights manifest names (github.com/tensorflow/tfjs, io/types.ts)."""

import json
from collections.abc import Callable

import torch
from torch import Tensor

from steerable.errors import ArtifactError

from .inert import Allowance, Node, shown
from .torchfiles import count_of, whole

DTYPES = {
    "float32": torch.float32, "int32": torch.int32, "bool": torch.bool, "uint8": torch.uint8,
    "uint16": torch.uint16, "float16": torch.float16, "complex64": torch.complex64,
}  # fmt: skip


def tfjs(
    model: memoryview, beside: Callable[[str], memoryview], allowance: Allowance
) -> tuple[dict[str, Tensor], tuple[Node, ...]]:
    """The weights by name, quantized ones as float32, and the nodes of the graph where the file has one."""
    parsed = json.loads(bytes(model))
    if not isinstance(parsed, dict) or not isinstance(parsed.get("weightsManifest"), list):
        raise ArtifactError("is JSON, but not a TensorFlow.js model: it has no weightsManifest")
    tensors: dict[str, Tensor] = {}
    for group in parsed["weightsManifest"]:
        blob = bytearray()
        for path in group["paths"]:
            allowance.work(100)
            if type(path) is not str or set(path) & set("/\\:\0") or path in (".", "..", ""):
                raise ArtifactError(f"names a shard outside its own folder: {shown(path)}")
            shard = beside(path)
            allowance.memory(len(shard))
            blob += shard
        data, at = memoryview(blob), 0
        for weight in group["weights"]:
            allowance.work(10)
            if weight["name"] in tensors:
                raise ArtifactError(f"names two weights {shown(weight['name'])!r}")
            size, tensors[str(weight["name"])] = _tensor(data[at:], weight, allowance)
            at += size
        if at != len(data):
            raise ArtifactError(f"is damaged: its shards hold {len(data):,} bytes, its weights {at:,}")
    graph = parsed.get("modelTopology")
    nodes = graph.get("node", []) if isinstance(graph, dict) else []
    return tensors, tuple(Node(n["name"], n["op"], tuple(n.get("input", ())), (), n.get("attr", {})) for n in nodes)


def _tensor(data: memoryview, weight: dict, allowance: Allowance) -> tuple[int, Tensor]:
    name, shape, packing = str(weight["name"]), tuple(weight["shape"]), weight.get("quantization") or {}
    stored = packing.get("dtype", weight["dtype"])
    if stored not in DTYPES or weight["dtype"] not in DTYPES:
        raise ArtifactError(f"holds {shown(name)} of type {shown(stored)}, which is not read")
    dtype = DTYPES[stored]
    size = count_of(shape) * dtype.itemsize
    tensor = whole(data[:size], dtype, shape, name)
    if packing:
        allowance.memory(4 * tensor.numel())
        tensor = tensor.to(DTYPES[weight["dtype"]])
        if "scale" in packing:
            tensor = tensor * float(packing["scale"]) + float(packing.get("min", 0))
    return size, tensor
