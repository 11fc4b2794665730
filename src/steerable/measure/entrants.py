"""Who takes part in a comparison, with which settings: those given, the quick ones of quick.toml, and what all share."""

import hashlib
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from importlib.metadata import version
from inspect import getfile
from pathlib import Path
from typing import Any, TypeVar

from ..errors import MethodFailed, SettingError, UnknownName
from ..generator import Generator
from ..method import Method, Progress
from .comparison import Contender

T = TypeVar("T")
TABLES = {"discover": "DISCOVERERS"}  # verbs whose methods can be compared, and their tables
QUICK = Path(__file__).with_name("quick.toml")
SMALL = 256  # px: up to here the settings of [small] are taken, beyond those of [large]
SEED_STEP = 100_000  # between seeds of a method, so that labeled pictures of two seeds are not the same ones
TRUTH = "truth"


@dataclass(frozen=True)
class Entrant:
    """Who takes part: a method (none: the known truth), its seeds, and the CPU seconds that one discovery may take."""

    name: str
    method: Any
    seeds: tuple[int, ...]
    budget: float | None = None
    reason: str = ""  # why it cannot take part

    @property
    def control(self) -> bool:
        return self.method is None or "control" in self.method.tags

    def seeded(self, seed: int) -> Any:
        return (
            replace(self.method, seed=self.method.seed + seed * SEED_STEP) if _has(self.method, "seed") else self.method
        )


def entrants(
    kind: str,
    methods: Sequence[str | Method],
    seeds: int,
    told: Mapping[str, Any],
    shared: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    controls: bool,
    truth: bool,
    spaces: Sequence[str],
) -> tuple[Entrant, ...]:
    if kind not in TABLES:
        raise UnknownName("verb with methods to compare", kind, TABLES)
    table: Mapping[str, type[Method]] = getattr(import_module(f"..{kind}", __package__), TABLES[kind])
    wanted: list[str | Method] = list(methods)
    if controls:
        named = {w if isinstance(w, str) else w.name for w in wanted}
        beside = [name for name, m in table.items() if "control" in m.tags and name not in named]
        wanted += beside
    for name in settings:
        if name not in table:
            raise UnknownName(f"method to {kind} with", name, table)
    entered: list[Entrant] = []
    for which in wanted:
        base = which if isinstance(which, str) else which.name
        if isinstance(which, str) and which not in table:
            raise UnknownName(f"method to {kind} with", which, table)
        taken = [e.name for e in entered]
        name = next(n for n in (base, *(f"{base}-{i}" for i in range(2, 1000))) if n not in taken)
        own = dict(told.get(base, {})) if isinstance(which, str) else {}
        budget, most = own.pop("seconds", None), int(own.pop("seeds", seeds))
        reason, made = "", which
        if isinstance(which, str):
            made, reason = _configured(table[which], own, shared, settings.get(which, {}), spaces)
        count = min(seeds, most) if _has(made, "seed") else 1
        entered.append(Entrant(name, made, tuple(range(count)), budget, reason))
    if truth and controls:
        entered.append(Entrant(TRUTH, None, (0,)))
    return tuple(entered)


def _configured(
    method: type[Method],
    quick: Mapping[str, Any],
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
    spaces: Sequence[str],
) -> tuple[Any, str]:
    """The method with quick settings; those that learn from labeled pictures get as many as all others, and all the same psi.

    So what would search in z goes to w where pictures are truncated: there is no way back from a truncated w.
    """
    schema = method.schema()
    usual = schema.get("space", {}).get("default")
    here = {} if usual in (*spaces, None) else {"space": spaces[0]}
    if usual == "z" and "w" in spaces and "psi" in schema and shared["psi"] != 1:
        here = {"space": "w"}
    teaches = shared if {"supervised", "control"} & method.tags else {"psi": shared["psi"]}
    told = {k: v for k, v in {**teaches, **here, **quick}.items() if k in schema}
    try:
        return method.with_settings({**told, **own}), ""
    except SettingError as error:
        return method, str(error)


def defaults(generator: Generator) -> Mapping[str, Any]:
    tables = tomllib.loads(QUICK.read_text(encoding="utf-8"))
    return tables["small" if generator.resolution <= SMALL else "large"]


def blank(entrant: Entrant) -> Contender:
    m = entrant.method
    return Contender(
        name=entrant.name,
        method=TRUTH if m is None else m.name,
        settings=m.settings() if isinstance(m, Method) else {},
        tags=("control",) if m is None else tuple(sorted(m.tags)),
        control=entrant.control,
        seeds=entrant.seeds,
    )


def _has(method: Any, setting: str) -> bool:
    return isinstance(method, Method) and any(f.name == setting for f in fields(method))


def code(method: Any) -> str:
    """Of the package's version and the file that the method is written in: what was found by other code is found anew."""
    text = b"" if method is None else Path(getfile(type(method))).read_bytes()
    return f"{version('steerable')} {hashlib.sha256(text).hexdigest()[:16]}"


class Limited:
    """Progress that ends a work which takes more CPU time than it may."""

    def __init__(self, progress: Progress, seconds: float | None, name: str):
        self.progress, self.seconds, self.name, self.begun = progress, seconds, name, time.process_time()

    def over(self, items: Iterable[T], /, title: str, total: int | None = None) -> Iterator[T]:
        for item in self.progress.over(items, title, total):
            if self.seconds is not None and time.process_time() - self.begun > self.seconds:
                raise MethodFailed(
                    f"{self.name} was stopped after {self.seconds:g} CPU seconds; give it more, or less to do"
                )
            yield item

    def note(self, text: str, /) -> None:
        self.progress.note(text)
