"""OpenVINO IR, versions 10 and 11: the constants of a network (`.xml`, which names them, and `.bin`, which holds them).

The XML is read as a stream: no document type, no entities, no deep nesting.
"""

from collections.abc import Callable
from xml.parsers import expat

import torch
from torch import Tensor

from steerable.errors import ArtifactError

from .inert import Allowance, Node, shown
from .torchfiles import whole

DTYPES = {
    "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64, "boolean": torch.bool,
    "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8,
}  # fmt: skip
DEPTH = 16


def openvino(
    xml: memoryview, beside: Callable[[], memoryview], allowance: Allowance
) -> tuple[dict[str, Tensor], tuple[Node, ...]]:
    """The constants by the name of their layer, and all layers in the file's order, each with the layers that feed it."""
    layers, edges = _parse(xml, allowance)
    blob = beside()
    names = {layer["id"]: layer["name"] for layer, _ in layers}
    if len(set(names.values())) != len(layers):
        raise ArtifactError("is damaged: two of its layers have one name")
    feeds: dict[str, dict[int, str]] = {}
    for edge in edges:
        feeds.setdefault(edge["to-layer"], {})[int(edge["to-port"])] = names[edge["from-layer"]]
    tensors = {
        layer["name"]: _constant(layer["name"], data, blob, allowance)
        for layer, data in layers
        if layer["type"] == "Const"
    }
    nodes = (
        Node(
            layer["name"],
            layer["type"],
            tuple(name for _, name in sorted(feeds.get(layer["id"], {}).items())),
            (),
            data,
        )
        for layer, data in layers
    )
    return tensors, tuple(nodes)


def _constant(name: str, data: dict[str, str], blob: memoryview, allowance: Allowance) -> Tensor:
    shape = tuple(int(n) for n in data.get("shape", "").split(",") if n.strip())
    offset, size = int(data["offset"]), int(data["size"])
    allowance.memory(size)
    if data["element_type"] not in DTYPES:
        raise ArtifactError(f"holds {shown(name)} of type {shown(data['element_type'])}, which is not read")
    if offset < 0 or offset + size > len(blob):
        raise ArtifactError(f"is damaged: its constant {shown(name)} lies outside its .bin file")
    return whole(blob[offset : offset + size], DTYPES[data["element_type"]], shape, name)


def _parse(
    xml: memoryview, allowance: Allowance
) -> tuple[list[tuple[dict[str, str], dict[str, str]]], list[dict[str, str]]]:
    layers: list[tuple[dict[str, str], dict[str, str]]] = []
    edges: list[dict[str, str]] = []
    path: list[str] = []

    def start(tag: str, values: dict[str, str]) -> None:
        allowance.work(5 + len(values))
        path.append(tag)
        if len(path) > DEPTH:
            raise ArtifactError(f"nests its XML more than {DEPTH} deep")
        match path:
            case ["net"] if values.get("version") not in ("10", "11"):
                raise ArtifactError(f"is OpenVINO IR of version {shown(values.get('version'))}; 10 and 11 are read")
            case ["net", "layers", "layer"]:
                layers.append((values, {}))
            case ["net", "layers", "layer", "data"]:
                layers[-1][1].update(values)
            case ["net", "edges", "edge"]:
                edges.append(values)
            case [root] if root != "net":
                raise ArtifactError(f"is XML, but not of OpenVINO: it holds {shown(root)}")

    def refuse(*_: object) -> int:
        raise ArtifactError("declares a document type or an entity; steerable reads plain XML only")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, lambda _: path.pop()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(bytes(xml), True)
    except expat.ExpatError as error:
        raise ArtifactError(f"is damaged: its XML breaks off at line {error.lineno}") from error
    return layers, edges
