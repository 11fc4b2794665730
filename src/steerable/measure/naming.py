"""Names for paths, from what they were measured to do."""

from dataclasses import replace
from typing import Any

from ..errors import SettingError
from ..path import Direction, Effect, Path, Paths
from .effects import student

LEAST = 0.2  # of a score's standard deviation: what changes less does not give a path its name


def clear(path: Path) -> tuple[Effect, ...]:
    """The effects of a path that are no accident, the largest first (in standard deviations of their scores).

    An effect counts if 0 lies outside its interval after that was widened for the number of scores looked at (Bonferroni), so that
    a path which does nothing gets a name once in twenty times, however many scores there are.
    """
    count = len(path.effects)
    sure = [e for e in path.effects if e.n > 1 and abs(e.per_sd) > _half(e) * student(e.n, 0.05 / count) / student(e.n)]
    return tuple(sorted((e for e in sure if e.sd > 0), key=lambda e: -abs(e.standardized)))


def _half(effect: Effect) -> float:
    return (effect.high - effect.low) / 2


def named(paths: Paths, *, least: float = LEAST) -> Paths:
    """The paths under the name of the score that each changes most, in standard deviations, turned so that the score grows.

    "age", a second such path "age-2"; `about` holds the three largest clear effects and the old name. A path without a clear effect of
    `least` or more keeps its name, its `about` beginning with "unclear". Raises SettingError for paths that were not measured.
    """
    for path in paths:
        if not path.effects:
            raise SettingError(f"{path.name!r} was not measured; run effects() first")
    found = [next((e for e in clear(path) if abs(e.standardized) >= least), None) for path in paths]
    used = {path.name for path, main in zip(paths, found, strict=True) if main is None}
    items, names = [], {}
    for path, main in zip(paths, found, strict=True):
        if main is None:
            items.append(replace(path, about=f"unclear: {told(path.effects)}"))
            continue
        name, turned = main.score, path
        if main.standardized < 0:
            name, turned = (name, path.flipped()) if isinstance(path, Direction) else (f"less-{name}", path)
        unique = next(n for n in (name, *(f"{name}-{i}" for i in range(2, len(paths) + 2))) if n not in used)
        used.add(unique)
        names[path.name] = unique
        before = "" if unique == path.name else f" (was {path.name})"
        items.append(replace(turned, name=unique, about=told(clear(turned)) + before))
    notes = dict(paths.notes)
    for kept in ("identity", "fits"):
        if kept in notes:
            notes[kept] = {names.get(name, name): value for name, value in notes[kept].items()}
    return Paths(tuple(items), notes)


def told(effects: tuple[Effect, ...]) -> str:
    """Up to three effects in words, the largest first: "age +0.81, glasses +0.30" (standard deviations of the score a step)."""
    largest = sorted(effects, key=lambda e: -abs(e.standardized))[:3]
    return ", ".join(f"{e.score} {e.standardized:+.2f}" for e in largest)


def summary(paths: Paths) -> list[dict[str, Any]]:
    """One row for each path, of JSON values, for tables: name, about, range, identity kept, and every effect with its interval."""
    rows = []
    for path in paths:
        sure = {e.score for e in clear(path)}
        rows.append(
            {
                "name": path.name,
                "about": path.about,
                "space": path.space.name if isinstance(path, Direction) else None,
                "layers": path.layers or "all",
                "range": list(path.range) if path.range else None,
                "identity": list(kept) if (kept := paths.notes.get("identity", {}).get(path.name)) else None,
                "psi": path.effects[0].psi if path.effects else None,
                "n": max((e.n for e in path.effects), default=0),
                "effects": [
                    {
                        "score": e.score,
                        "unit": e.unit,
                        "per_sd": e.per_sd,
                        "low": e.low,
                        "high": e.high,
                        "sd": e.sd,
                        "standardized": e.standardized,
                        "clear": e.score in sure,
                    }
                    for e in path.effects
                ],
            }
        )
    return rows
