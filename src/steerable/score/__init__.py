"""Judging pictures: `score(…)` finds or makes a scorer. Any function from pictures to [n, a] is one."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from ..errors import SettingError, UnknownName
from .attributes import Age, Gender, Glasses
from .face import Face
from .identity import Identity, identity, kept
from .judge import Judge
from .regions import FaceRegions
from .scorer import Area, Called, Joined, Scorer, Segmenter
from .statistics import Statistics
from .table import Table
from .truth import Truth

__all__ = [
    "SCORERS",
    "SEGMENTERS",
    "Age",
    "Area",
    "Face",
    "FaceRegions",
    "Gender",
    "Glasses",
    "Identity",
    "Judge",
    "Scorer",
    "Segmenter",
    "Statistics",
    "Table",
    "Truth",
    "identity",
    "kept",
    "score",
    "segment",
]

SCORERS: Mapping[str, type[Scorer]] = {
    "face": Face,
    "age": Age,
    "gender": Gender,
    "glasses": Glasses,
    "statistics": Statistics,
    "heads-judge": Judge,
}
SEGMENTERS: Mapping[str, type[Segmenter]] = {"face-regions": FaceRegions}


def score(what: str | Path | Scorer | Segmenter | Callable[[Tensor], Tensor]) -> Scorer | Table:
    """The scorer that `what` means.

    A name ("face", "age", "statistics" …), a column of one ("smile", "yaw", "brightness" …), the areas of a segmenter ("face-regions"),
    several joined ("face+age+gender"), a function from pictures [n 3 h w] to [n] or [n a], a CSV of labels by seed (a `Table`), or
    "heads-truth": the factors of a generator that knows them, a table too.
    Nothing is downloaded before the first picture is scored. Raises UnknownName, and SourceError or ArtifactError for a CSV.
    """
    match what:
        case Scorer():
            return what
        case Segmenter():
            return Area(what)
        case Path():
            return Table(what)
        case str() if what == Truth.name:
            return Truth()
        case str() if what.lower().endswith(".csv"):
            return Table(what)
        case str():
            parts = [_named(part.strip()) for part in what.split("+")]
            return parts[0] if len(parts) == 1 else Joined(parts)
        case _ if callable(what):
            return Called(what)
    raise SettingError(f"a scorer is a name, a CSV file or a function of pictures; got {type(what).__name__}")


def segment(name: str) -> Segmenter:
    """The segmenter of that name. Raises UnknownName."""
    if name not in SEGMENTERS:
        raise UnknownName("segmenter", name, SEGMENTERS)
    return SEGMENTERS[name]()


def _named(name: str) -> Scorer:
    if name in SCORERS:
        return SCORERS[name]()
    if name in SEGMENTERS:
        return Area(segment(name))
    for whole in SCORERS.values():
        if name in whole.names:
            return whole()[name]
    raise UnknownName(
        "score",
        name,
        [
            *SCORERS,
            *SEGMENTERS,
            Truth.name,
            *(n for whole in SCORERS.values() for n in whole.names if n not in SCORERS),
        ],
    )
