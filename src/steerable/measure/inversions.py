"""Inverters held against each other on the same pictures: how near they come, what an edit still does to what they found, what it costs.

Distortion is told by `fidelity`, editability by `editability`. Where the pictures are the generator's own, their true codes stand beside
as a control: no distortion, and what edits should do.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from importlib.metadata import version
from inspect import getfile
from pathlib import Path as File
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .. import artifact, cache
from ..edit import Inversion
from ..errors import SettingError, SteerableError, UnknownName
from ..generator import Generator
from ..method import Method, Progress, quiet
from ..path import Paths
from ..record import Record
from ..render import codes, render
from ..score import Scorer
from ..score.labels import truncation
from ..space import Latents
from . import fidelity as near
from .compare import HELD_OUT, Methods
from .comparison import _lists, _plain
from .directions import Figure
from .editability import EDITING, Editing, edited_by, finite
from .effects import Same
from .entrants import TRUTH

FIGURES = (*near.ALL, *EDITING)


@dataclass(frozen=True)
class Picture:
    """What is to be inverted [1 3 h w], of the generator's size; `codes` are its true ones, where it is the generator's own."""

    name: str
    image: Float[Tensor, "1 3 h w"]
    codes: Latents | None = None


@dataclass(frozen=True)
class Sought(Record):
    """What an inverter found, and in how long."""

    inversion: Inversion
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Attempt(Record):
    """One inverter on one picture. `effect` (SD of the score), `kept` and `same` (cosines) are of each target at +1 SD."""

    picture: str
    scores: Mapping[str, float]
    effect: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, float] = field(default_factory=dict)
    same: Mapping[str, float] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None

    def value(self, name: str) -> float | None:
        """A score of fidelity, or the mean over targets of "effect", "kept" or "same"."""
        if name not in EDITING:
            return self.scores.get(name)
        known = [v for v in getattr(self, name).values() if v == v]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Rival(Record):
    """One inverter with its settings and what it made of each picture. `reason` says why it took no part."""

    name: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    control: bool = False
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()

    def figure(self, name: str) -> Figure | None:
        """The mean over pictures of a value of FIGURES, of "steps" or of "seconds", with its interval."""
        told = [getattr(a, name) if name in ("steps", "seconds") else a.value(name) for a in self.attempts]
        return Figure.of(torch.tensor([float(v) for v in told if v is not None], dtype=torch.float64))

    def summary(self) -> dict[str, Any]:
        """JSON values."""
        figures = {name: _plain(self.figure(name)) for name in (*FIGURES, "steps", "seconds")}
        own = {"name": self.name, "method": self.method, "control": self.control, "reason": self.reason}
        rows = [
            {"picture": a.picture, **{k: dict(getattr(a, k)) for k in ("scores", *EDITING)}, "steps": a.steps, "seconds": a.seconds}
            for a in self.attempts
        ]  # fmt: skip
        return {**own, **figures, "settings": _lists(self.settings), "pictures": rows}


@dataclass(frozen=True, kw_only=True)
class Inversions(Record):
    """Inverters on one generator and the same pictures. `how` is the protocol."""

    generator: str
    fingerprint: str
    pictures: tuple[str, ...]
    targets: tuple[str, ...]
    how: Mapping[str, Any]
    rivals: tuple[Rival, ...]

    def __getitem__(self, name: str) -> Rival:
        return next(r for r in self.rivals if r.name == name)

    @property
    def taking_part(self) -> tuple[Rival, ...]:
        """Those that made something of the pictures, the control last."""
        return tuple(sorted((r for r in self.rivals if r.attempts), key=lambda r: r.control))

    @property
    def left_out(self) -> tuple[Rival, ...]:
        return tuple(r for r in self.rivals if not r.attempts)

    def json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "generator": self.generator,
            "fingerprint": self.fingerprint,
            "pictures": list(self.pictures),
            "targets": list(self.targets),
            "how": _lists(self.how),
            "methods": [r.summary() for r in self.rivals],
        }


@dataclass(frozen=True)
class Entry:
    """Who takes part: an inverter (none: the true codes), or why it cannot."""

    name: str
    method: Any
    reason: str = ""


@dataclass(frozen=True)
class Contest:
    """A comparison before it is made: `rival` tries one inverter on all pictures, and what it finds is kept, picture by picture."""

    generator: Generator
    entries: tuple[Entry, ...]
    pictures: tuple[Picture, ...]
    editing: Editing
    which: tuple[str, ...]
    look: int
    how: Mapping[str, Any]

    def made(self, rivals: Iterable[Rival]) -> Inversions:
        return Inversions(
            generator=self.generator.name,
            fingerprint=self.generator.fingerprint,
            pictures=tuple(p.name for p in self.pictures),
            targets=self.editing.targets,
            how=self.how,
            rivals=tuple(rivals),
        )

    def rival(self, entry: Entry, progress: Progress = quiet) -> Rival:
        """What one inverter achieves. One that cannot take part says why. KeyboardInterrupt leaves what was finished in the cache."""
        m = entry.method
        settings = m.settings() if isinstance(m, Method) else {}
        empty = Rival(name=entry.name, method=m.name if m else TRUTH, settings=settings, control=m is None)
        if entry.reason:
            return replace(empty, reason=entry.reason)
        try:
            of = progress.over(self.pictures, f"{entry.name}: pictures", len(self.pictures))
            return replace(empty, attempts=tuple(self.attempt(entry, p, progress) for p in of))
        except SteerableError as error:
            progress.note(f"{entry.name}: {error}")
            return replace(empty, reason=str(error))

    def sought(self, entry: Entry, picture: Picture, progress: Progress = quiet) -> Sought:
        """The inversion, made once."""
        if entry.method is None:
            assert picture.codes is not None
            return Sought(Inversion(picture.codes), 0.0)
        for space in entry.method.needs:
            self.generator.space(space)

        def make() -> Sought:
            begun = self._clock()
            found = entry.method.invert(self.generator, picture.image, progress=progress)
            if "interrupted" in found.notes:
                raise KeyboardInterrupt  # what is kept is what was finished
            return Sought(found, self._clock() - begun)

        return cache.remembered(Sought, "inverted", self._key(entry, picture), make)

    def attempt(self, entry: Entry, picture: Picture, progress: Progress = quiet) -> Attempt:
        """The inversion's numbers, taken once."""
        found = self.sought(entry, picture, progress)
        own = [getfile(import_module(f".{name}", __package__)) for name in ("inversions", "editability", "fidelity")]
        told = [self._key(entry, picture), self.which, self.look, self.editing.key, _code(*own)]
        return cache.remembered(
            Attempt, "attempted", json.dumps(told, default=str), lambda: self._judged(entry, picture, found)
        )

    def _judged(self, entry: Entry, picture: Picture, found: Sought) -> Attempt:
        image = render(self.generator, found.inversion)
        told = near.fidelity(image.float().cpu(), picture.image.float().cpu(), self.which, look=self.look)
        notes, steps = found.inversion.notes, ("steps", "steps of weights")
        taken = sum(int(n) for k in steps if isinstance(n := notes.get(k), (int, float)))
        return Attempt(
            picture=picture.name,
            scores=finite({name: float(v) for name, v in told.items()}),
            **self.editing(self.generator, found.inversion, image, picture.image),
            steps=taken if entry.method is not None else None,
            seconds=found.seconds if entry.method is not None else None,
        )

    def _key(self, entry: Entry, picture: Picture) -> str:
        m = entry.method
        seen = hashlib.sha256(picture.image.float().cpu().contiguous().numpy().tobytes()).hexdigest()
        if m is None:
            return json.dumps([self._weights, TRUTH, seen])
        written = _code(*File(getfile(type(m))).parent.glob("*.py"))
        return json.dumps([self._weights, m.name, m.settings(), seen, written], default=str)

    @property
    def _clock(self) -> Any:
        return time.process_time if self.generator.device.type == "cpu" else time.perf_counter

    @cached_property
    def _weights(self) -> str:
        return f"{self.generator.fingerprint} {artifact.fingerprint(self.generator.net.state_dict())}"


# -- who, on what -------------------------------------------------------------------------------------------------------------------


def own(generator: Generator, n: int, psi: float | None = None, seed: int = HELD_OUT) -> list[Picture]:
    """n of the generator's own pictures that nothing was learned from, with their codes. Raises SettingError for less than one."""
    if n < 1:
        raise SettingError(f"a comparison of inverters takes a picture or more; got {n}")
    psi = usual(generator) if psi is None else psi
    first = truncation(psi)
    made = [codes(generator, generator.sample(seeds=[seed + i]), first) for i in range(n)]
    return [Picture(f"seed {seed + i}", render(generator, z), z) for i, z in enumerate(made)]


def usual(generator: Generator) -> float:
    """The truncation of own pictures: psi 0.7, where there is a w."""
    return 0.7 if any(s.name == "w" for s in generator.spaces) else 1.0


def planned(
    generator: Generator,
    methods: Methods,
    pictures: Sequence[Picture] | int = 4,
    *,
    scores: str | Scorer | None = None,
    targets: Sequence[str] | None = None,
    paths: Paths | None = None,
    psi: float | None = None,
    labels: int | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    identity: Same | None = None,
    which: Sequence[str] | None = None,
    look: int = 256,
    progress: Progress = quiet,
) -> Contest:
    """A comparison of inverters (names, presets, configured ones, or any of these by a name of their own), ready to be made.

    `pictures` are as many of the generator's own, truncated by `psi`, or such as are given. `scores` judges edits ("smile,yaw"): each
    target is moved by the path of its name among `paths`, else by one learned from `labels` pictures (discoverer "boundary"). `settings`
    maps a name to settings. `identity` compares faces before and after; `which` are names of `measure.fidelity` (else those that the size
    allows, and that no net is needed for), `look` the px at which LPIPS looks. Raises UnknownName and SettingError for what does not fit.
    """
    psi = usual(generator) if psi is None else psi
    seen = tuple(own(generator, pictures, psi) if isinstance(pictures, int) else pictures)
    entries = entered(methods, settings or {})
    if seen and all(p.codes is not None for p in seen):
        entries = (*entries, Entry(TRUTH, None))
    editing = edited_by(generator, scores, targets, paths, psi, labels, identity, progress)
    which = tuple(which or possible(generator.size))
    how = {
        "pictures": "own" if seen and seen[0].codes is not None else "given",
        "psi": psi,
        "look": look,
        "t": 1.0,
        "scorer": editing.scorer.name if editing.scorer else "",
        "paths": "given" if paths is not None else "boundary" if editing.paths else "",
        "identity": identity is not None,
        "clock": "CPU seconds" if generator.device.type == "cpu" else "seconds",
    }
    return Contest(generator, entries, seen, editing, which, look, how)


def possible(size: tuple[int, int]) -> tuple[str, ...]:
    """The plain measures of fidelity that pictures of this size allow."""
    least = {"ssim": near.WINDOW, "ms-ssim": near.WINDOW << 4}
    return tuple(name for name in near.PLAIN if min(size) >= least.get(name, 1))


def entered(methods: Methods, settings: Mapping[str, Mapping[str, Any]]) -> tuple[Entry, ...]:
    known = import_module("..invert", __package__).KNOWN
    if isinstance(methods, Mapping):
        named = [(n, m) for n, m in methods.items()]
    else:
        named = [(m if isinstance(m, str) else m.name, m) for m in methods]
    if not named:
        raise SettingError(f"say which inverters to compare: {', '.join(known)}")
    for name in settings:
        if name not in dict(named):
            raise UnknownName("method of this comparison", name, dict(named))
    found: list[Entry] = []
    for base, which in named:
        taken = [e.name for e in found]
        name = next(n for n in (base, *(f"{base}-{i}" for i in range(2, 1000))) if n not in taken)
        if isinstance(which, str):
            if which not in known:
                raise UnknownName("inverter", which, known)
            which = known[which].with_settings(dict(settings.get(base, {})))
        found.append(Entry(name, which))
    return tuple(found)


def _code(*files: str | File) -> str:
    """Of the package's version and these files: what other code found is found anew."""
    text = b"".join(File(f).read_bytes() for f in sorted(map(str, files)))
    return f"{version('steerable')} {hashlib.sha256(text).hexdigest()[:16]}"


__all__ = [
    "Attempt",
    "Contest",
    "Entry",
    "Inversions",
    "Picture",
    "Rival",
    "Sought",
    "own",
    "planned",
    "possible",
]
