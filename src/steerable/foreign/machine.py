"""The stack machine that a pickle drives, and what it may be made to do. Nothing that a pickle names is imported or run.

A name in a pickle is looked up in two tables and nowhere else: VALUES (a dtype, say) and CALLS (our own function that
stands in for the named one). Any other name is refused. Where the caller keeps unknown classes, an instance of one
becomes an `Object`; even then nothing but CALLS is ever called.
"""

import sys
from collections.abc import Callable
from typing import Any

from steerable.errors import ArtifactError

from .inert import CALL, Allowance, Global, Object, Record

CALLS: dict[Global, Callable[..., Any]] = {}  # name -> our function(machine, *args)
VALUES: dict[Global, Any] = {}  # name -> the value that it stands for
RENAMED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "pathlib._local": "pathlib",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
}
INT_KEYS = 1 << 60  # larger integers can be chosen to share one hash
TUPLE_KEYS = 10_000  # and so can tuples


def named(dotted: str) -> Global:
    module, _, name = dotted.rpartition(".")
    return Global(module, name)


def instead_of(*names: str) -> Callable:
    """Register the function that is run where a pickle asks for one of these names."""

    def register(function: Callable) -> Callable:
        CALLS.update((named(name), function) for name in names)
        return function

    return register


def nothing(name: Global) -> bool:
    return False


def strangers(name: Global) -> bool:
    """Classes to keep: those of packages other than Python's own, which has nothing to look for in a checkpoint."""
    words = [*name.module.split("."), name.name]
    return words[0] not in sys.stdlib_module_names and all(word.isidentifier() for word in words)


def refusal(name: Global) -> ArtifactError:
    return ArtifactError(f"asks to run {name}; steerable reads data only")


class Pending:
    """A value that BUILD completes; from then on the memo hands out the completed one."""

    __slots__ = ("finish", "value")

    def __init__(self, finish: Callable[[Any], Any]):
        self.finish, self.value = finish, self


class Machine:
    """The stack, the marks and the memo of one pickle, which starts at byte `start` of `data`.

    `persistent` turns a persistent id into a value; `keep` says of an unknown class whether its instances become Objects.
    """

    def __init__(
        self,
        data: memoryview,
        allowance: Allowance,
        start: int = 0,
        keep: Callable[[Global], bool] = nothing,
        persistent: Callable[[Any], Any] | None = None,
    ):
        self.data, self.allowance, self.position = data, allowance, start
        self.keep, self.persistent = keep, persistent
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.tuple_keys = 0

    # reading

    def byte(self) -> int:
        self.position += 1
        return self.data[self.position - 1]

    def take(self, count: int) -> memoryview:
        start = self.position
        self.position = end = start + count
        if end > len(self.data):
            raise ArtifactError("is damaged: it ends in the middle of a pickle")
        return self.data[start:end]

    def number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "little", signed=signed)

    def sized(self, width: int) -> memoryview:
        return self.take(self.number(width))

    def line(self, limit: int = 1000) -> bytes:
        start, width = self.position, 128
        while True:
            part = bytes(self.data[start : start + min(width, limit)])
            if (end := part.find(b"\n")) >= 0:
                self.position = start + end + 1
                return part[:end]
            if len(part) < width:
                raise ArtifactError("is damaged: a line of its pickle has no end")
            width *= 4

    # the stack and the memo

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def recall(self, index: int) -> Any:
        value = self.memo[index]
        return value.value if type(value) is Pending else value

    # names

    def find(self, module: Any, name: Any) -> Any:
        if type(module) is not str or type(name) is not str:
            raise ArtifactError("is damaged: its pickle names something by what is not a name")
        self.allowance.work(CALL)
        found = Global(RENAMED.get(module, module), name)
        if found in VALUES:
            return VALUES[found]
        if found in CALLS or self.keep(found):
            return found
        raise refusal(found)

    def call(self, function: Any, args: Any, kwargs: Any = None) -> Any:
        self.allowance.work(CALL)
        kwargs = {} if kwargs is None else kwargs
        if type(function) is not Global:
            raise ArtifactError("is damaged: its pickle calls what is not a name")
        if function not in CALLS:
            raise refusal(function)
        if type(args) is not tuple or type(kwargs) is not dict or len(args) + len(kwargs) > 16:
            raise ArtifactError(f"is damaged: its pickle calls {function} with what are not its arguments")
        return CALLS[function](self, *args, **kwargs)

    def new(self, cls: Any, args: Any, kwargs: Any = None) -> Any:
        if type(cls) is not Global or cls in CALLS or not self.keep(cls):
            return self.call(cls, args, kwargs)
        self.allowance.work(CALL)
        if type(args) is not tuple or type(kwargs) not in (dict, type(None)):
            raise ArtifactError(f"is damaged: its pickle makes {cls} from what are not arguments")
        return Object(cls.module, cls.name, args, kwargs or {})

    def build(self, target: Any, state: Any) -> Any:
        match target:
            case Pending():
                self.allowance.work(CALL)
                target.value = target.finish(state)
                return target.value
            case Object():
                target.state = state
            case Record():
                for part in attributes(state):
                    self.allowance.work(len(part))
                    target.update(part)
            case dict():
                attributes(state)  # what else a dictionary carries (torch's `_metadata`) is of no use here
            case _:
                raise ArtifactError(f"is damaged: its pickle sets the state of a {type(target).__name__}")
        return target

    def resolve(self, identity: Any) -> Any:
        if self.persistent is None:
            raise ArtifactError("holds a persistent id, which only a torch archive may")
        return self.persistent(identity)

    # containers

    def fill(self, target: Any, items: list[Any]) -> Any:
        mapping = target.entries if type(target) is Object else target
        if not isinstance(mapping, dict) or len(items) % 2:
            raise ArtifactError(f"is damaged: its pickle sets items of a {type(target).__name__}")
        for i in range(0, len(items), 2):
            mapping[self.key(items[i])] = items[i + 1]
        return target

    def extend(self, target: Any, items: list[Any]) -> None:
        sequence = target.elements if type(target) is Object else target
        if type(sequence) is not list:
            raise ArtifactError(f"is damaged: its pickle appends to a {type(target).__name__}")
        sequence.extend(items)

    def key(self, value: Any) -> Any:
        """A name in a dictionary or a member of a set: only what hashes at once and cannot be made to collide."""
        kind = type(value)
        if kind is str or kind is bytes or kind is float or kind is bool or value is None:
            return value
        if kind is int and -INT_KEYS < value < INT_KEYS:
            return value
        if kind is tuple and len(value) <= 8 and tuple not in map(type, value) and self.tuple_keys < TUPLE_KEYS:
            self.tuple_keys += 1
            return tuple(self.key(part) for part in value)
        raise ArtifactError(f"uses a {kind.__name__} as a name in a dictionary")


def attributes(state: Any) -> list[dict[Any, Any]]:
    """The attributes in an object's state: a dict, or (dict or None, dict of slots or None)."""
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    dicts = [part for part in parts if isinstance(part, dict)]
    if any(part is not None and not isinstance(part, dict) for part in parts):
        raise ArtifactError(f"is damaged: its pickle sets attributes from a {type(state).__name__}")
    return dicts
