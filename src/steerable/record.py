"""Records: frozen dataclasses that can be written as tensors plus a JSON header, and read back.

Every noun that is kept in a file (latents, edits, paths, inversions, measurements) is a `Record`; what it is made of is told by its
dataclass fields, so a new kind of edit or path is saved without writing a line for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from .errors import ArtifactError

R = TypeVar("R", bound="Record")
_KINDS: dict[str, type["Record"]] = {}


class UnknownRecord(ArtifactError):
    """A file holds a kind of record that has not been imported, or that this version does not have."""


@dataclass(frozen=True)
class Record:
    """Base of everything that can be saved. Fields may be tensors, numbers, text, None, records, and tuples or text-keyed maps of these."""

    kind: ClassVar[str] = "record"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        ours = cls.__module__.startswith("steerable.")
        cls.kind = cls.__name__ if ours else f"{cls.__module__}.{cls.__name__}"
        _KINDS[cls.kind] = cls

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name. A tensor that several fields share is listed once."""
        return _pack(self)[1]

    def header(self) -> dict[str, Any]:
        """Everything else, as JSON values; a tensor stands as {"tensor": name}."""
        return _pack(self)[0]

    @classmethod
    def of(cls: type[R], header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> R:
        """Rebuild from `header` and `tensors`. Raises ArtifactError if they describe something else."""
        made = _unpack(header, tensors)
        if not isinstance(made, cls):
            raise ArtifactError(f"expected {cls.__name__}, the file holds {type(made).__name__}")
        return made


def _pack(record: Record) -> tuple[dict[str, Any], dict[str, Tensor]]:
    names: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}

    def walk(value: Any, at: str) -> Any:
        match value:
            case Tensor():
                if id(value) not in names:
                    names[id(value)] = at
                    tensors[at] = value.detach().cpu().contiguous()
                return {"tensor": names[id(value)]}
            case Record():
                inside = {
                    f.name: walk(getattr(value, f.name), f"{at}.{f.name}" if at else f.name) for f in fields(value)
                }
                return {"record": value.kind, **inside}
            case slice():
                return {"slice": [value.start, value.stop, value.step]}
            case Mapping():
                return {"map": {str(k): walk(v, f"{at}.{k}") for k, v in value.items()}}
            case tuple() | list():
                return [walk(v, f"{at}.{i}") for i, v in enumerate(value)]
            case bool() | int() | float() | str() | None:
                return value
        raise TypeError(f"{at}: {type(value).__name__} cannot be saved")

    return walk(record, ""), tensors


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"tensor": str(name)}:
            if name not in tensors:
                raise ArtifactError(f"the header names a tensor {name!r} that is not in the file")
            return tensors[name]
        case {"slice": [start, stop, step]}:
            return slice(start, stop, step)
        case {"map": dict(inside)}:
            return {k: _unpack(v, tensors) for k, v in inside.items()}
        case {"record": str(kind), **inside}:
            if kind not in _KINDS:
                raise UnknownRecord(
                    f"the file holds a {kind[:80]!r}, which this version does not know: {', '.join(sorted(_KINDS))}"
                )
            cls = _KINDS[kind]
            known = {f.name for f in fields(cls)}
            if unknown := set(inside) - known:
                raise ArtifactError(f"the file's {kind} has unknown fields: {', '.join(sorted(unknown))[:80]}")
            try:
                return cls(**{k: _unpack(v, tensors) for k, v in inside.items()})
            except TypeError as error:
                raise ArtifactError(f"the file's {kind} is incomplete: {error}") from error
        case list():
            return tuple(_unpack(v, tensors) for v in value)
        case bool() | int() | float() | str() | None:
            return value
    raise ArtifactError("the header holds a value of an unknown kind")


def tree_equal(a: Any, b: Any) -> bool:
    """Are two records (or tensors, maps, tuples of them) the same, tensors compared bit by bit?"""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return (
            isinstance(a, Tensor)
            and isinstance(b, Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(a, b)
        )
    if type(a) is not type(b):
        return False
    if isinstance(a, Record):
        return all(tree_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(tree_equal(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(tree_equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b
