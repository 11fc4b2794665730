"""Names of Python itself that a data file may use, and the inert value that each becomes."""

from typing import Any

from steerable.errors import ArtifactError

from .inert import Global, Object, Record, Text
from .machine import Machine, instead_of, named, refusal


def _listed(m: Machine, items: Any) -> Any:
    if type(items) not in (list, tuple, set, frozenset):
        raise ArtifactError(f"is damaged: its pickle makes a collection from a {type(items).__name__}")
    m.allowance.work(len(items))
    return items


@instead_of("builtins.list")
def _(m: Machine, items: Any = ()) -> list:
    return list(_listed(m, items))


@instead_of("builtins.tuple")
def _(m: Machine, items: Any = ()) -> tuple:
    return tuple(_listed(m, items))


@instead_of("builtins.set")
def _(m: Machine, items: Any = ()) -> set:
    return set(map(m.key, _listed(m, items)))


@instead_of("builtins.frozenset")
def _(m: Machine, items: Any = ()) -> frozenset:
    return frozenset(map(m.key, _listed(m, items)))


@instead_of("builtins.dict", "collections.OrderedDict", "collections.Counter")
def _(m: Machine, items: Any = ()) -> dict:
    if isinstance(items, dict):
        m.allowance.work(len(items))
        return dict(items)
    pairs = _listed(m, items)
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise ArtifactError("is damaged: its pickle makes a dictionary from what are not pairs")
    return m.fill({}, [part for pair in pairs for part in pair])


@instead_of("collections.defaultdict")
def _(m: Machine, factory: Any = None) -> dict:
    return {}


@instead_of("builtins.complex")
def _(m: Machine, real: Any, imag: Any) -> complex:
    if type(real) is not float or type(imag) is not float:
        raise TypeError
    return complex(real, imag)


@instead_of(
    "argparse.Namespace", "types.SimpleNamespace", "dnnlib.util.EasyDict", "dnnlib.EasyDict", "easydict.EasyDict"
)
def _(m: Machine) -> Record:
    return Record()


@instead_of(*(f"pathlib.{kind}Path" for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")))
def _(m: Machine, *parts: Any) -> str:
    if any(type(part) is not str for part in parts):
        raise ArtifactError("is damaged: a path whose parts are not text")
    m.allowance.memory(sum(map(len, parts)))
    return "/".join(parts)


@instead_of("builtins.bytes", "builtins.bytearray", "_codecs.encode")
def _(m: Machine, value: Any = b"", encoding: Any = "latin-1") -> bytes | bytearray | memoryview:
    """Before protocol 3 bytes were written as text."""
    if isinstance(value, Text):
        if encoding not in ("latin-1", "latin1"):
            raise TypeError
        return value.raw(m.allowance)
    m.allowance.memory(len(value))
    if isinstance(value, str) and encoding in ("latin-1", "latin1"):
        return value.encode("latin-1") if len(value) < 256 else bytearray(value, "latin-1")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError
    return memoryview(value)


OBJECT = named("builtins.object")


@instead_of("builtins.object")
def _(m: Machine, *args: Any) -> Any:
    raise refusal(OBJECT)


@instead_of("copyreg._reconstructor")
def _(m: Machine, cls: Any, base: Any, state: Any) -> Any:
    """Protocols 0 and 1 make their instances with this."""
    if base != OBJECT or state is not None:
        raise ArtifactError(f"asks to make a {cls if type(cls) is Global else 'thing'} of another type's content")
    return m.new(cls, ())


@instead_of("torch_utils.persistence._reconstruct_persistent_obj")
def _(m: Machine, meta: Any) -> Object:
    """A class that carries its source text (NVIDIA's `persistence`): the text is dropped unread."""
    if type(meta) is not dict or type(meta.get("class_name")) is not str:
        raise ArtifactError("is damaged: a persistent object without a class")
    kept = Global("torch_utils.persistence", meta["class_name"])
    if not m.keep(kept):
        raise ArtifactError(f"asks to run source text that it carries, as {kept}; steerable reads data only")
    state = meta.get("state")
    if not isinstance(state, dict):
        raise ArtifactError("is damaged: a persistent object without a state")
    return Object(kept.module, kept.name, state.get("_init_args", ()), state.get("_init_kwargs", {}), state)
