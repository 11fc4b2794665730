"""Files as other programs write them, small and from a seed: for each format the bytes, and what they should be read as."""

import io
import json
import pickle
import struct
import sys
import tarfile
import types
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def bundle():
    """A principal component bundle, as encoder4editing and others keep it."""
    return {"mean": numbers(1, 16), "std": numbers(4, seed=1), "comp": numbers(4, 1, 16, seed=2)}


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def zipped(value):
    return saved(value)


def legacy(value):
    return saved(value, _use_new_zipfile_serialization=False)


def npy(value):
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def npz(compressed=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def tar(tensors, pickled=None, storages=None):
    """torch.save of 2016: three pickle-and-bytes streams in a tar archive; persistent ids are memory addresses."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return next((10_000 + i for i, t in enumerate(tensors.values()) if t is obj), None)

    main = io.BytesIO()
    Pickler(main, protocol=2).dump(tensors)
    one = b"\x80\x02K" + bytes([len(tensors)]) + b"."
    data, meta = one, one
    for i, tensor in enumerate(tensors.values()):
        flat = tensor.contiguous().view(-1)
        kind = b"ctorch\nFloatStorage\n"
        data += b"\x80\x02M" + struct.pack("<H", 1000 + i) + b"X\x03\0\0\0cpu" + kind + b"\x87."
        data += struct.pack("<q", flat.numel()) + flat.numpy().tobytes()
        meta += b"\x80\x02M" + struct.pack("<H", 10_000 + i) + b"M" + struct.pack("<H", 1000 + i)
        meta += b"ctorch\nFloatTensor\n\x87." + struct.pack("<q", tensor.dim())
        meta += struct.pack(f"<{2 * tensor.dim() + 1}q", *tensor.shape, *tensor.contiguous().stride(), 0)
    parts = {"sys_info": pickle.dumps({}), "pickle": pickled or main.getvalue(), "tensors": meta}
    return tarred(parts | {"storages": storages or data + b"\x80\x02]."})


def tarred(parts):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def module(seed=0):
    torch.manual_seed(seed)  # initial weights have no generator argument
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


def script(net, freeze=False):
    file, made = io.BytesIO(), torch.jit.script(net)
    torch.jit.save(torch.jit.freeze(made) if freeze else made, file)
    return file.getvalue()


# pickles of classes that the reader does not have


@contextmanager
def stranger(path, **content):
    """A module that exists only while a look-alike is written."""
    parents = [path.rsplit(".", n)[0] for n in range(1, path.count(".") + 1)]
    made = types.ModuleType(path)
    for name, thing in content.items():
        thing.__module__, thing.__qualname__ = path, name
        setattr(made, name, thing)
    sys.modules |= {path: made} | {parent: types.ModuleType(parent) for parent in parents}
    try:
        yield made
    finally:
        for name in (path, *parents):
            del sys.modules[name]


def nvidia(source="raise SystemExit('the source was run')", protocol=4):
    """A snapshot of StyleGAN2-ADA's kind: modules that pickle themselves with their source text and constructor arguments."""

    def rebuild(meta):
        raise SystemExit("it was rebuilt")

    class Persistent(nn.Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            self._init_args, self._init_kwargs = args, Easy(kwargs)

        def __reduce__(self):
            meta = {"type": "class", "version": 6, "module_src": source, "class_name": type(self).__name__}
            return rebuild, (meta | {"state": dict(self.__dict__)},)

    class Layer(Persistent):
        def __init__(self, d, seed):
            super().__init__(d, seed=seed)
            self.weight = nn.Parameter(numbers(d, d, seed=seed))
            self.register_buffer("filter", numbers(4, seed=seed + 9))
            self.register_buffer("scratch", numbers(2), persistent=False)

    class Generator(Persistent):
        def __init__(self, d):
            super().__init__(z_dim=d)
            self.z_dim = d
            self.b4, self.b8 = Layer(d, 1), Layer(d, seed=2)

    class Easy(dict):
        pass

    with (
        stranger("torch_utils.persistence", _reconstruct_persistent_obj=rebuild),
        stranger("dnnlib.util", EasyDict=Easy),
    ):
        net = Generator(4)
        data = pickle.dumps({"G": None, "G_ema": net, "training_set_kwargs": Easy(path="x")}, protocol=protocol)
    return data, net.state_dict()


def tensorflow(protocol=4):
    """A network of StyleGAN's TensorFlow code: a tuple of objects whose state names their variables."""

    class Network:
        def __init__(self, name, variables, components=()):
            self.content = name, variables, dict(components)

        def __getstate__(self):
            name, variables, components = self.content
            return {
                "version": 4,
                "name": name,
                "static_kwargs": {"resolution": 8},
                "components": components,
                "build_module_src": "raise SystemExit",
                "build_func_name": "G_style",
                "variables": [(key, value.numpy()) for key, value in variables.items()],
            }

    with stranger("dnnlib.tflib.network", Network=Network):
        synthesis = Network("G_synthesis", {"4x4/Const/const": numbers(1, 4, 4, 4), "4x4/bias": numbers(4)})
        whole = Network("Gs", {"lod": numbers(), "dlatent_avg": numbers(8)}, {"synthesis": synthesis})
        return pickle.dumps((None, None, whole), protocol=protocol)


def whole_module(protocol=2, **options):
    """torch.save(module): the classes by name, everything else by state."""
    return saved(module(), pickle_protocol=protocol, **options), module().state_dict()


# models with a graph


def field(number, value):
    """One field of a protobuf message: an integer, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % (1 << 64))
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    head = bytearray()
    while value > 127:
        head.append(value & 127 | 128)
        value >>= 7
    return bytes(head + bytes([value]))


def initializer(name, tensor, kind, raw=True, more=b""):
    body = b"".join(field(1, n) for n in tensor.shape) + field(2, kind) + field(8, name)
    if raw:
        return body + field(9, tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()) + more
    packed = {1: 4, 7: 7, 10: 5, 16: 5}[kind]
    if kind == 1:
        return body + field(packed, tensor.numpy().tobytes()) + more
    bits = tensor if kind == 7 else tensor.view(torch.int16).int() & 0xFFFF
    return body + field(packed, b"".join(varint(int(n) % (1 << 64)) for n in bits.reshape(-1))) + more


def onnx(*tensors, constant=None):
    node = field(1, "x") + field(1, "weight") + field(2, "y") + field(3, "first") + field(4, "Conv")
    graph = b"".join(field(5, t) for t in tensors) + field(1, node) + field(2, "g")
    if constant is not None:
        attribute = field(1, "value") + field(5, constant) + field(20, 4)
        graph += field(1, field(2, "c") + field(4, "Constant") + field(5, attribute))
    return field(1, 8) + field(2, "someone") + field(7, graph) + field(8, field(2, 17))


def ir(tensors, edges=((0, "first", 1),), version=11, layers=""):
    """OpenVINO IR: the xml and the bin."""
    blob, xml = b"", ""
    for i, (name, tensor) in enumerate(tensors.items()):
        content = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        kind = {torch.float32: "f32", torch.float16: "f16", torch.int64: "i64"}[tensor.dtype]
        shape = ",".join(map(str, tensor.shape))
        xml += (
            f'<layer id="{i}" name="{name}" type="Const" version="opset1"><data element_type="{kind}" shape="{shape}" '
            f'offset="{len(blob)}" size="{len(content)}"/><output><port id="0" precision="FP32"/></output></layer>'
        )
        blob += content
    xml += '<layer id="99" name="first" type="MatMul" version="opset1"><data transpose_b="true"/></layer>' + layers
    lines = "".join(f'<edge from-layer="{a}" from-port="0" to-layer="99" to-port="{p}"/>' for a, _, p in edges)
    whole = (
        f'<?xml version="1.0"?>\n<net name="g" version="{version}"><layers>{xml}</layers><edges>{lines}</edges></net>'
    )
    return whole.encode(), blob


def tfjs(tensors, shards=("group1-shard1of2", "group1-shard2of2")):
    """A TensorFlow.js model: model.json, and its shards by name."""
    blob = b"".join(t.numpy().tobytes() for t in tensors.values())
    kinds = {torch.float32: "float32", torch.int32: "int32"}
    weights = [{"name": n, "shape": list(t.shape), "dtype": kinds[t.dtype]} for n, t in tensors.items()]
    nodes = [{"name": "first", "op": "MatMul", "input": ["x", "weight"], "attr": {"transpose_b": {"b": True}}}]
    model = {"modelTopology": {"node": nodes}, "weightsManifest": [{"paths": list(shards), "weights": weights}]}
    half = len(blob) // 2 + 1
    return json.dumps(model).encode(), {shards[0]: blob[:half], shards[1]: blob[half:]}
