"""PyTorch's file formats: the zip archive (torch >= 1.6), the sequence of pickles before it, the tar archive before that,
and the tensors of a TorchScript archive. Sources: torch/serialization.py, torch/csrc/jit/docs/serialization.md.

A storage is read as CPU memory whatever device it was saved from; a tensor is a view of its storage, with its own offset
and strides, and must lie inside it.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steerable.errors import ArtifactError

from .archives import Zip
from .inert import Allowance, Global, Object, inspect, listed, shown
from .machine import VALUES, Machine, instead_of, named, nothing, refusal
from .pickles import walk
from .statedict import tensors

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
RANK = 32
DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
Keep = Callable[[Global], bool]

for word, dtype in DTYPES.items():
    for place in ("torch", "torch.cuda", "torch.storage"):
        VALUES[Global(place, f"{word}Storage")] = VALUES[Global(place, f"{word}Tensor")] = dtype
    VALUES[Global("torch", str(dtype).removeprefix("torch."))] = dtype
for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"):
    VALUES[Global("torch", name)] = getattr(torch, name)
VALUES[named("torch.storage.UntypedStorage")] = VALUES[named("torch.UntypedStorage")] = torch.uint8


class Storage:
    """The memory that tensors are views of; `filled` says whether its bytes are there yet."""

    def __init__(self, memory: Tensor, dtype: torch.dtype, filled: bool = True):
        self.memory, self.dtype, self.filled = memory, dtype, filled
        self.typed: dict[torch.dtype, Tensor] = {}

    def flat(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self.typed:
            whole = self.memory[: len(self.memory) // dtype.itemsize * dtype.itemsize]
            aligned = whole.data_ptr() % dtype.itemsize == 0
            if not aligned and not self.filled:
                raise ArtifactError("is damaged: a part of a storage begins in the middle of a number")
            self.typed[dtype] = (whole if aligned else whole.clone()).view(dtype)
        return self.typed[dtype]


def memory(data: memoryview) -> Tensor:
    return torch.frombuffer(data, dtype=torch.uint8) if len(data) else torch.empty(0, dtype=torch.uint8)


def count_of(shape: Iterable[Any]) -> int:
    """How many numbers an array of this shape holds, if it is a shape."""
    shape = tuple(shape)
    if len(shape) > RANK or any(type(n) is not int or not 0 <= n < 1 << 62 for n in shape):
        raise ArtifactError(f"is damaged: a shape of {len(shape)} numbers, or of such as are no sizes")
    return math.prod(shape)


def whole(data: memoryview, dtype: torch.dtype, shape: tuple[int, ...], name: str) -> Tensor:
    """A tensor over all of these bytes, which are copied only if they are not aligned."""
    if count_of(shape) * dtype.itemsize != len(data):
        raise ArtifactError(f"is damaged: {len(data):,} bytes for {shown(name)}, {dtype} of shape {shown(shape)}")
    return Storage(memory(data), dtype).flat(dtype).view(shape)


# tensors in pickles


def strided(allowance: Allowance, storage: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    """A view of a storage, if it lies inside."""
    if type(storage) is not Storage or type(dtype) is not torch.dtype:
        raise ArtifactError("is damaged: a tensor without a storage")
    if type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
        raise ArtifactError("is damaged: a tensor whose strides do not belong to its shape")
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in (offset, *stride[:RANK])):
        raise ArtifactError("is damaged: a tensor whose offset or strides are no sizes")
    flat, count = storage.flat(dtype), count_of(size)
    allowance.memory(count * dtype.itemsize)
    if count and offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) >= len(flat):
        raise ArtifactError(
            f"is damaged: a tensor of shape {shown(size)} reaches outside its storage of {len(flat):,} numbers"
        )
    return flat.as_strided(size, stride, flat.storage_offset() + (offset if count else 0))


@instead_of("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
def _(m: Machine, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    return strided(m.allowance, storage, getattr(storage, "dtype", None), offset, size, stride)


@instead_of("torch._utils._rebuild_tensor_v3")
def _(
    m: Machine, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Tensor:
    return strided(m.allowance, storage, dtype, offset, size, stride)


@instead_of(
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter"
)
def _(m: Machine, data: Any, *rest: Any) -> Tensor:
    if type(data) is not Tensor:
        raise ArtifactError("is damaged: a parameter without a tensor")
    return data


@instead_of("torch._tensor._rebuild_from_type_v2")
def _(m: Machine, function: Any, kind: Any, args: Any, state: Any) -> Tensor:
    if kind not in (named("torch.Tensor"), named("torch.nn.parameter.Parameter")):
        raise refusal(kind if type(kind) is Global else function)
    return m.call(function, args)


@instead_of("torch.Tensor", "torch._tensor.Tensor")
def _(m: Machine, *args: Any) -> Tensor:
    raise ArtifactError("is damaged: its pickle makes a tensor out of nothing")


@instead_of("torch.Size")
def _(m: Machine, size: Any = ()) -> tuple:
    if type(size) is not tuple or count_of(size) < 0:
        raise ArtifactError("is damaged: a size that is not a tuple")
    return size


@instead_of("torch.device")
def _(m: Machine, kind: Any, index: Any = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise ArtifactError("is damaged: a device that is not text and a number")
    return kind if index is None else f"{kind}:{index}"


@instead_of("torch.storage._load_from_bytes")
def _(m: Machine, data: Any) -> Any:
    """A storage inside an ordinary pickle: a whole torch file in bytes."""
    if type(data) not in (bytes, bytearray, memoryview):
        raise ArtifactError("is damaged: a torch file inside it that is not bytes")
    if m.allowance.nested == 0:
        raise ArtifactError("nests torch files inside one another")
    m.allowance.nested -= 1
    m.allowance.memory(len(data))
    view = memoryview(data if type(data) is not bytes else bytearray(data))
    if view[:2] == b"PK":
        value = zipped(Zip(view, m.allowance), m.allowance, m.keep)
    else:
        value = legacy(view, m.allowance, m.keep)
    m.allowance.nested += 1
    return value


@instead_of(*(f"torch.jit._pickle.build_{kind}list" for kind in ("int", "tensor", "double", "bool")))
def _(m: Machine, items: Any) -> Any:
    return items


@instead_of("torch.jit._pickle.restore_type_tag")
def _(m: Machine, items: Any, kind: Any) -> Any:
    return items


# zip archives


def zipped(archive: Zip, allowance: Allowance, keep: Keep, name: str = "data") -> Any:
    """What `<root>/<name>.pkl` of a torch archive holds, its storages from `<root>/<name>/`."""
    root = root_of(archive)
    order = bytes(archive.read(f"{root}byteorder")[:16]) if f"{root}byteorder" in archive.members else b"little"
    if order != b"little":
        raise ArtifactError("was written on a big-endian machine, which is not read")
    storages: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        match identity:
            case ("storage", torch.dtype() as dtype, str() as key, str(), int() as count, *_):
                if key not in storages:
                    member = archive.members.get(f"{root}{name}/{key}")
                    if member is None or member.size != count * dtype.itemsize:
                        raise ArtifactError(f"is damaged: the storage {shown(key)} is missing or has another size")
                    storages[key] = Storage(memory(archive.read(f"{root}{name}/{key}")), dtype)
                return storages[key]
        raise ArtifactError("is damaged: a persistent id that is not a storage")

    return walk(archive.read(f"{root}{name}.pkl"), allowance, keep=keep, persistent=persistent)[0]


def root_of(archive: Zip) -> str:
    found = [name for name in archive.members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ArtifactError(f"is a torch archive with {len(found)} files data.pkl; one is expected")
    return found[0].removesuffix("data.pkl")


def scripted(archive: Zip, allowance: Allowance) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by dotted name, those of its constants as `constants.0` and so on."""

    def script(name: Global) -> bool:
        return name.module.split(".")[0] == "__torch__"

    constants = inspect(zipped(archive, allowance, script, "constants"), keep=True)
    data = inspect(zipped(archive, allowance, script), keep=True)
    if type(constants) is not tuple or type(data) is not Object:
        raise ArtifactError("is damaged: a TorchScript archive without a module")
    return tensors({"": data, "constants": constants})


# what came before zip


class Stream:
    """Pickles and raw bytes one after another."""

    def __init__(self, data: memoryview, allowance: Allowance):
        self.data, self.allowance, self.at = data, allowance, 0

    def pickle(self, keep: Keep = nothing, persistent: Callable[[Any], Any] | None = None) -> Any:
        value, self.at = walk(self.data, self.allowance, self.at, keep, persistent)
        return value

    def take(self, count: int) -> memoryview:
        part = self.data[self.at : self.at + count]
        if count < 0 or len(part) != count:
            raise ArtifactError("is damaged: it ends in the middle of a storage")
        self.at += count
        return part

    def numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}q", self.take(8 * count))


def label(key: Any) -> str:
    if type(key) not in (int, str):
        raise ArtifactError("is damaged: a storage whose key is neither a number nor text")
    return str(key)


def part_of(storage: Storage, offset: Any, count: Any) -> Storage:
    start, size = offset * storage.dtype.itemsize, count * storage.dtype.itemsize
    if start < 0 or size < 0 or start + size > len(storage.memory):
        raise ArtifactError("is damaged: a part of a storage reaches outside it")
    return Storage(storage.memory[start : start + size], storage.dtype, storage.filled)


def legacy(data: memoryview, allowance: Allowance, keep: Keep = nothing) -> Any:
    """A torch file from before zip: magic number, version, system, object, storage keys, and the storages' bytes at the end."""
    stream = Stream(data, allowance)
    if stream.pickle() != MAGIC or stream.pickle() != PROTOCOL:
        raise ArtifactError("is damaged: a torch file of an unknown version")
    system = stream.pickle()
    if type(system) is dict and system.get("little_endian") is False:
        raise ArtifactError("was written on a big-endian machine, which is not read")
    storages: dict[str, Storage] = {}
    claimed = 0

    def persistent(identity: Any) -> Any:
        nonlocal claimed
        match identity:
            case ("module", Global() as cls, *_):
                return cls  # its source text follows, and is not looked at
            case ("storage", torch.dtype() as dtype, str() | int() as key, str(), int() as count, view):
                if label(key) not in storages:
                    claimed += count * dtype.itemsize
                    if count < 0 or claimed > len(data):
                        raise ArtifactError(f"claims storages of {claimed:,} bytes, more than it holds")
                    space = np.empty(count * dtype.itemsize, np.uint8).data
                    storages[label(key)] = Storage(memory(space), dtype, filled=False)
                return storages[label(key)] if view is None else part_of(storages[label(key)], view[1], view[2])
        raise ArtifactError("is damaged: a persistent id that is not a storage")

    value = stream.pickle(keep=keep, persistent=persistent)
    keys = [label(key) for key in stream.pickle()]
    if len(keys) != len(storages) or set(keys) != set(storages):
        raise ArtifactError("is damaged: its list of storages is not that of its tensors")
    for key in keys:
        storage = storages[key]
        if stream.numbers(1)[0] * storage.dtype.itemsize != len(storage.memory):
            raise ArtifactError(f"is damaged: the storage {shown(key)} has another size")
        storage.memory.copy_(memory(stream.take(len(storage.memory))))
    return value


def tarred(members: Mapping[str, memoryview], allowance: Allowance, keep: Keep = nothing) -> Any:
    """A torch file from before 2017: a tar archive of `storages`, `tensors` and `pickle`."""
    if not {"storages", "tensors", "pickle"} <= set(members):
        raise ArtifactError(f"is a tar archive, but not of torch: it holds {listed(members)}")
    made: dict[str, Any] = {}
    stream = Stream(members["storages"], allowance)
    for _ in range(stream.pickle()):
        key, _place, dtype = stream.pickle()
        made[label(key)] = Storage(memory(stream.take(stream.numbers(1)[0] * dtype.itemsize)), dtype)
    for key, root, offset, count in stream.pickle():
        made[label(key)] = part_of(made[label(root)], offset, count)

    stream = Stream(members["tensors"], allowance)
    for _ in range(stream.pickle()):
        key, root, _kind = stream.pickle()
        rank = stream.numbers(1)[0] & 0xFFFFFFFF
        size, stride, (offset,) = stream.numbers(rank), stream.numbers(rank), stream.numbers(1)
        storage = made[label(root)]
        made[label(key)] = strided(allowance, storage, storage.dtype, offset, size, stride)

    def persistent(identity: Any) -> Any:
        if type(identity) is tuple and identity and type(identity[0]) is Global:
            return identity[0]
        return made[label(identity)]

    return Stream(members["pickle"], allowance).pickle(keep=keep, persistent=persistent)
