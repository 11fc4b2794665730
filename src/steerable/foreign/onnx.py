"""ONNX: the initializers of a model, and which node uses which (onnx/onnx.proto), by a reader of the protobuf wire format.

Only what is needed is decoded: nothing is run, and no other file is opened.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from steerable.errors import ArtifactError

from .inert import Allowance, Node, shown
from .torchfiles import whole

DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 4: torch.uint16, 5: torch.int16, 6: torch.int32, 7: torch.int64,
    9: torch.bool, 10: torch.float16, 11: torch.float64, 12: torch.uint32, 13: torch.uint64, 16: torch.bfloat16,
}  # fmt: skip


def onnx(data: memoryview, allowance: Allowance) -> tuple[dict[str, Tensor], tuple[Node, ...]]:
    """The initializers and constants of a model by name, and its nodes in order."""
    graphs = [part for field, part in fields(data, allowance) if field == 7]
    if len(graphs) != 1 or type(graphs[0]) is not memoryview:
        raise ArtifactError("is not a file of a kind that is read (nor an ONNX model: it holds no graph)")
    tensors: dict[str, Tensor] = {}
    nodes = []
    for field, part in fields(graphs[0], allowance):
        if field == 1:
            allowance.work(20)
            node, constant = _node(part, allowance)
            nodes.append(node)
            named = [(node.outputs[0], constant)] if constant is not None and node.outputs else []
        elif field == 5:
            named = [_tensor(part, allowance)]
        elif field == 15:
            raise ArtifactError("holds sparse initializers, which are not read")
        else:
            continue
        for name, tensor in named:
            if name in tensors or not name:
                raise ArtifactError(f"names two initializers {shown(name)!r}")
            tensors[name] = tensor
    return tensors, tuple(nodes)


def _node(data: memoryview, allowance: Allowance) -> tuple[Node, Tensor | None]:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""]}
    constant = None
    for field, part in fields(data, allowance):
        if field in texts:
            texts[field].append(str(part, "utf-8"))
        elif field == 5:
            value = [inner for number, inner in fields(part, allowance) if number == 5]
            constant = _tensor(value[0], allowance)[1] if value else constant
    op = texts[4][-1]
    node = Node(texts[3][-1], op, tuple(texts[1]), tuple(texts[2]))
    return node, constant if op == "Constant" else None


def _tensor(data: memoryview, allowance: Allowance) -> tuple[str, Tensor]:
    name, kind, shape, raw, numbers = "", 0, [], None, []
    packed = bytearray()
    for field, part in fields(data, allowance):
        match field:
            case 1:
                shape += integers(part, allowance)
            case 2:
                kind = part
            case 4 | 10:  # float_data, double_data
                packed += part
            case 5 | 7 | 11:  # int32_data, int64_data, uint64_data
                numbers += integers(part, allowance)
            case 8:
                name = str(part, "utf-8")
            case 9:
                raw = part
            case 3 | 6:
                raise ArtifactError("holds a tensor of text or in segments, which is not read")
            case 13 | 14 if part != 0:
                raise ArtifactError("keeps a tensor in another file (external data), which is not opened")
    if kind not in DTYPES:
        raise ArtifactError(f"holds {shown(name)}, a tensor of a type that is not read ({shown(kind)})")
    dtype = DTYPES[kind]
    if raw is None and numbers:
        width = dtype.itemsize
        packed += b"".join((n % (1 << 8 * width)).to_bytes(width, "little") for n in numbers)
    return name, whole(memoryview(packed) if raw is None else raw, dtype, tuple(shape), name)


# the wire format of protobuf


def fields(data: Any, allowance: Allowance) -> Iterator[tuple[int, Any]]:
    """The fields of a message: their numbers, and an integer or the bytes of each."""
    if type(data) is not memoryview:
        raise ArtifactError("is damaged: a message that is a number")
    at = 0
    while at < len(data):
        allowance.work(2)
        tag, at = varint(data, at)
        match tag & 7:
            case 0:
                value, at = varint(data, at)
            case 1 | 5 | 2 as wire:
                size, at = varint(data, at) if wire == 2 else (8 if wire == 1 else 4, at)
                value = data[at : at + size]
                at += size
                if at > len(data):
                    raise ArtifactError("is damaged: it ends in the middle of a field")
            case wire:
                raise ArtifactError(f"is damaged: a field of wire type {wire}")
        yield tag >> 3, value


def varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ArtifactError("is damaged: it ends in the middle of a number")
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ArtifactError("is damaged: a number of more than ten bytes")


def integers(part: Any, allowance: Allowance) -> list[int]:
    """A repeated integer field: one number, or many packed into bytes; two's complement in 64 bits."""
    numbers, at = [part] if type(part) is int else [], 0
    while type(part) is memoryview and at < len(part):
        allowance.work(1)
        value, at = varint(part, at)
        numbers.append(value)
    return [n - (1 << 64) if n >= 1 << 63 else n for n in numbers]
