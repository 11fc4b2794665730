"""A method is a frozen record of its settings with one verb. Its fields are the CLI's options, the studio's form and the provenance."""

import math
import types
from abc import ABC
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import (
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from .errors import SettingError, UnknownName

T = TypeVar("T")


@runtime_checkable
class Progress(Protocol):
    """Who is told how far a long work has come. The faces have their own; `quiet` says nothing."""

    def over(self, items: Iterable[T], /, title: str, total: int | None = None) -> Iterator[T]:
        """Hand on the items, one after another, counting them under `title`."""
        ...

    def note(self, text: str, /) -> None:
        """Something worth knowing, in one line."""


class Quiet:
    def over(self, items: Iterable[T], /, title: str, total: int | None = None) -> Iterator[T]:
        yield from items

    def note(self, text: str, /) -> None:
        pass


quiet: Progress = Quiet()


def param(
    default: Any, help: str, *, ge: float | None = None, le: float | None = None, choices: Iterable[str] | None = None
) -> Any:
    """A setting of a method, with its help and its limits (inclusive)."""
    return field(
        default=default, metadata={"help": help, "ge": ge, "le": le, "choices": tuple(choices) if choices else None}
    )


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Settings as fields; subclasses are final and add one verb."""

    name: ClassVar[str]
    paper: ClassVar[str]
    tags: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        for f in fields(self):
            value, limits = getattr(self, f.name), f.metadata
            if value is None:
                continue
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{self.name}: {f.name} must be a finite number; got {value}")
            if (low := limits.get("ge")) is not None and value < low:
                raise SettingError(f"{self.name}: {f.name} must be at least {low}; got {value}")
            if (high := limits.get("le")) is not None and value > high:
                raise SettingError(f"{self.name}: {f.name} must be at most {high}; got {value}")
            if (choices := limits.get("choices")) and value not in choices:
                raise SettingError(f"{self.name}: {f.name} is one of {', '.join(choices)}; got {value!r}")

    def settings(self) -> dict[str, Any]:
        """The settings as JSON values; a method inside one is written as its own name and settings."""
        plain = lambda v: (
            {"method": v.name, **v.settings()} if isinstance(v, Method) else list(v) if isinstance(v, tuple) else v
        )
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def schema(cls) -> dict[str, dict[str, Any]]:
        """Setting name → type, optional, default, help, ge, le, choices."""
        hints = get_type_hints(cls)
        return {f.name: {**_kind(hints[f.name]), "default": f.default, **f.metadata} for f in fields(cls)}

    @classmethod
    def with_settings(cls, given: dict[str, Any]) -> "Method":
        """Make one; raises UnknownName for a setting that does not exist."""
        known = [f.name for f in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownName(f"setting of {cls.name}", name, known)
        return cls(**given)


def _kind(hint: Any) -> dict[str, Any]:
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        optional, hint = len(inner) < len(get_args(hint)), inner[0]
    if get_origin(hint) is Literal:
        return {"type": str, "optional": optional}
    return {"type": get_origin(hint) or hint, "optional": optional}


M = TypeVar("M", bound=type[Method])


def table(*methods: M) -> dict[str, M]:
    """Name → method, for a folder's table. Raises ValueError for a name used twice."""
    found = {m.name: m for m in methods}
    if len(found) < len(methods):
        raise ValueError("two methods have the same name")
    return found
