"""What a foreign file becomes: plain values, two inert records, and the limits that every reader keeps to."""

import codecs
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from steerable.errors import ArtifactError

DEPTH = 100  # containers inside one another
STEPS = 2_000_000  # opcodes, fields, values: about two seconds of work
CALL = 10  # one rebuilt array or tensor costs as much as ten opcodes
FREE = 64 << 20  # bytes that any file may ask for, however small it is
TIMES = 4  # … and a larger one at most this many times its own size
LONG = 1 << 18  # bytes from which a text stays where it is until someone asks for it
CHUNK = 1 << 20


def shown(text: object) -> str:
    """Text from a file, safe for a terminal and for a log: escaped, on one line, at most 80 characters."""
    text = repr(str(text)[:200])[1:-1]
    return text if len(text) <= 80 else text[:77] + "..."


def listed(names: Collection[str]) -> str:
    """The first few names from a file."""
    return ", ".join(shown(name) for name in list(names)[:4]) + (" ..." if len(names) > 4 else "") or "nothing"


@dataclass(frozen=True, slots=True)
class Global:
    """A name from a file: an importable thing that is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return shown(f"{self.module}.{self.name}")


@dataclass(eq=False, slots=True, repr=False)
class Object:
    """An instance of a class that is never imported: what its file says about it, and nothing else."""

    module: str
    name: str
    args: Any = ()
    kwargs: Any = field(default_factory=dict)
    state: Any = None
    entries: dict = field(default_factory=dict)  # if the class is a kind of dict
    elements: list = field(default_factory=list)  # if the class is a kind of list

    def __repr__(self) -> str:
        return f"<Object {shown(f'{self.module}.{self.name}')}>"


@dataclass(eq=False, slots=True)
class Text:
    """A long text that stays in the file's bytes: arrays were written so before protocol 3. `str(text)` decodes it."""

    window: memoryview
    encoding: str  # utf-8 or latin-1

    def __str__(self) -> str:
        return str(self.window, self.encoding, "surrogatepass" if self.encoding == "utf-8" else "strict")

    def raw(self, allowance: "Allowance") -> bytearray | memoryview:
        """The bytes that it was made of, one for each letter, decoded piece by piece."""
        if self.encoding == "latin-1":
            return self.window
        parts = [self.window[at : at + CHUNK] for at in range(0, len(self.window), CHUNK)]
        count = sum(
            int(np.count_nonzero(np.frombuffer(part, np.int8) >= -64)) for part in parts
        )  # the rest continue a letter
        allowance.memory(count)
        made, at, decoder = bytearray(count), 0, codecs.getincrementaldecoder("utf-8")()
        for part in parts:
            letters = decoder.decode(part, part is parts[-1]).encode("latin-1")
            made[at : at + len(letters)] = letters
            at += len(letters)
        return made


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a stored graph: the names of what goes in and comes out, and its settings as the file spells them."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    data: Any = None


class Record(dict):
    """The attributes of a plain record (argparse.Namespace and the like) as a dict."""


class Allowance:
    """What reading one file may cost. Nested archives share it, so that nothing is gained by nesting."""

    def __init__(self, size: int):
        self.bytes = max(FREE, TIMES * size)
        self.steps = STEPS
        self.nested = 4

    def memory(self, count: int) -> None:
        self.bytes -= count
        if count < 0 or self.bytes < 0:
            raise ArtifactError("claims far more data than it holds")

    def work(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise ArtifactError(f"needs more than {STEPS:,} steps to read")


LEAVES = frozenset(
    (
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        Text,
        bytes,
        bytearray,
        memoryview,
        np.ndarray,
        torch.Tensor,
        torch.dtype,
    )
)


def _children(value: Any, keep: bool) -> Iterable[Any]:
    match value:
        case dict():
            return value.values()  # names in a dictionary were checked when they were set
        case list() | tuple():
            return value
        case set() | frozenset():
            return ()
        case Object() if keep:
            return (value.args, value.kwargs, value.state, value.entries, value.elements)
        case Global():
            if keep:
                return ()
            raise ArtifactError(f"refers to {value} as if it were data; steerable reads data only")
        case np.dtype():
            return ()
    raise ArtifactError(f"is damaged: it leaves an unfinished {type(value).__name__.lower()}")


def inspect(value: Any, keep: bool = False) -> Any:
    """The value itself, if walking through it ends soon: no cycle, no deep nesting, no exponential sharing."""
    if type(value) in LEAVES:
        return value
    sizes: dict[int, int] = {}
    path = {id(value): 1}
    stack = [(id(value), iter(_children(value, keep)))]
    while stack:
        me, rest = stack[-1]
        for child in rest:
            if type(child) in LEAVES:
                path[me] += 1
                continue
            other = id(child)
            if other in path:
                raise ArtifactError(f"holds a {type(child).__name__.lower()} that contains itself")
            if other not in sizes:
                stack.append((other, iter(_children(child, keep))))
                path[other] = 1
                break
            path[me] += sizes[other]
        else:
            stack.pop()
            sizes[me] = path.pop(me)
            if stack:
                path[stack[-1][0]] += sizes[me]
        if len(stack) > DEPTH:
            raise ArtifactError(f"nests containers more than {DEPTH} deep")
        if path.get(me, 0) > STEPS or sizes.get(me, 0) > STEPS:
            raise ArtifactError(f"repeats shared parts into more than {STEPS:,} values")
    return value
