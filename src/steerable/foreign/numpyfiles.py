"""NumPy arrays: `.npy` and `.npz` files, and arrays inside pickles (numpy.lib.format versions 1-3; ndarray.__reduce__).

Numbers become arrays, which share the bytes of an `.npy` file where alignment and byte order allow. Arrays of text or of objects become
nested lists, a 0-d one the object itself.
"""

import math
import re
from typing import Any

import numpy as np

from steerable.errors import ArtifactError

from .archives import Zip
from .inert import Allowance, Text, shown
from .machine import Machine, Pending, instead_of, named
from .pickles import walk

NUMBERS = frozenset(["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"])
HEADER = re.compile(
    rb"\{'descr': '(?P<descr>[^']{1,20})', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>[0-9L, ]{0,400})\),? ?\}\s*"
)


def dtype_of(code: Any) -> np.dtype:
    """The dtype that a file names: a number, text, or objects. Records, dates and the like are refused."""
    code = code if type(code) is str else "?"
    name = code.lstrip("<>|=")
    if name in NUMBERS or re.fullmatch("[US][1-9][0-9]{0,4}", name):
        return np.dtype(code)
    if name in ("O", "O4", "O8"):
        return np.dtype("O")
    raise ArtifactError(f"holds an array of type {shown(code)}; numbers, text and objects are read")


def shape_of(shape: Any) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ArtifactError("is damaged: an array's shape is not a tuple of sizes")
    return shape


def array(allowance: Allowance, raw: Any, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> Any:
    """An array over `raw`, writable and in native byte order; the bytes are copied only where they must be."""
    count = math.prod(shape)
    if len(raw) != count * dtype.itemsize:
        raise ArtifactError(f"is damaged: {len(raw):,} bytes for an array of {count:,} times {dtype.itemsize} bytes")
    flat = np.frombuffer(raw, dtype) if len(raw) else np.zeros(count, dtype)
    if dtype.kind in "US":
        allowance.work(count)
        return nested(flat.tolist(), shape)
    if not (dtype.isnative and flat.flags.aligned and flat.flags.writeable):
        flat = flat.astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


def nested(items: list[Any], shape: tuple[int, ...]) -> Any:
    """Nested lists of this shape; for the shape () the one item itself."""
    if len(items) != math.prod(shape):
        raise ArtifactError(f"is damaged: {len(items):,} objects for an array of {math.prod(shape):,}")
    if not items and shape:
        return []
    for width in reversed(shape[1:]):
        items = [items[i : i + width] for i in range(0, len(items), width)]
    return items if shape else items[0]


# arrays in pickles


@instead_of("numpy.dtype")
def _(m: Machine, code: Any, align: Any = False, copy: Any = True) -> Pending:
    dtype = dtype_of(code)

    def finish(state: Any) -> np.dtype:
        if type(state) is not tuple or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise ArtifactError("holds an array of records; numbers and text are read")
        return dtype.newbyteorder(state[1]) if state[1] in ("<", ">") else dtype

    return Pending(finish)


def _built(m: Machine, raw: Any, dtype: Any, shape: Any, fortran: bool) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind == "O":
        raise ArtifactError("is damaged: an array without a type")
    if type(raw) in (str, Text):  # Python 2 wrote bytes and text alike
        raw = bytearray(raw, "latin-1") if type(raw) is str else raw.raw(m.allowance)
    if type(raw) not in (bytes, bytearray, memoryview):
        raise ArtifactError("is damaged: an array without its bytes")
    m.allowance.memory(len(raw))
    if type(raw) is memoryview:
        raw = bytearray(
            raw
        )  # hardly any lies where its numbers are aligned, and one that does would keep the whole file in memory
    return array(m.allowance, raw, dtype, shape_of(shape), fortran)


@instead_of("numpy._core.multiarray._reconstruct")
def _(m: Machine, cls: Any, shape: Any, kind: Any) -> Pending:
    if cls != NDARRAY:
        raise ArtifactError("is damaged: its pickle makes an array that is not an array")

    def finish(state: Any) -> Any:
        shape, dtype, fortran, raw = state[-4:]
        if isinstance(dtype, np.dtype) and dtype.kind == "O" and type(raw) is list:
            m.allowance.work(len(raw))
            return nested(raw, shape_of(shape))
        return _built(m, raw, dtype, shape, fortran is True)

    return Pending(finish)


@instead_of("numpy._core.numeric._frombuffer")
def _(m: Machine, raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return _built(m, raw, dtype, shape, type(order) is str and order == "F")


@instead_of("numpy._core.multiarray.scalar")
def _(m: Machine, dtype: Any, raw: Any = b"") -> Any:
    value = _built(m, raw, dtype, (), False)
    return value.item() if isinstance(value, np.ndarray) else value


@instead_of("numpy.ndarray")
def _(m: Machine, *args: Any) -> Any:
    raise ArtifactError("is damaged: its pickle makes an array out of nothing")


NDARRAY = named("numpy.ndarray")


# files


def npy(data: memoryview, allowance: Allowance) -> Any:
    """The array of a `.npy` file; if it holds objects, what its pickle holds."""
    width = 2 if data[6] == 1 else 4
    start = 8 + width
    end = start + int.from_bytes(data[8:start], "little")
    if end - start > 10_000 or end > len(data) or data[6] not in (1, 2, 3):
        raise ArtifactError("is damaged: an array without a readable header")
    header = HEADER.fullmatch(bytes(data[start:end]))
    if header is None:
        raise ArtifactError("holds an array of records, or its header is damaged; numbers, text and objects are read")
    dtype = dtype_of(header["descr"].decode())
    shape = tuple(int(n.strip().rstrip(b"L")) for n in header["shape"].split(b",") if n.strip())
    if dtype.kind == "O":
        return walk(data, allowance, end)[0]
    return array(allowance, data[end:], dtype, shape_of(shape), header["fortran"] == b"True")


def npz(archive: Zip, allowance: Allowance) -> dict[str, Any]:
    """The arrays of a `.npz` file by name."""
    arrays = {}
    for name in archive.members:
        member = archive.read(name)
        if not name.endswith(".npy") or member[:6] != b"\x93NUMPY":
            raise ArtifactError(f"holds {shown(name)}, which is not an array")
        arrays[name[:-4]] = npy(member, allowance)
    return arrays
