"""`steerable measure PROTOCOL`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import steerable as st

from ..errors import SettingError
from ..measure.directions import told_apart
from ..measure.ppl import path_length
from ..measure.truth import Truth, set_scores
from ..nn.perceptual import LPIPS
from ..path import Effect, Paths
from ..score import Scorer
from . import report
from .work import bundle, opened, truncation


def effects(
    generator: str,
    file: Path,
    scores: str,
    people: int,
    psi: float | None,
    size: int | None,
    space: str | None,
    out: Path | None,
    json: bool,
    device: str,
) -> None:
    g, scorer = opened(generator, device), st.score(scores)
    paths = bundle(st.read(file, generator=g, space=space))
    if not isinstance(scorer, Scorer):
        raise SettingError(f"{scores!r} knows labels of seeds only; a scorer that looks at pictures is needed")
    measured = st.effects(
        g, paths, scorer, n_people=people, psi=_psi(g, psi), size=size, limit=0, progress=report.Bars()
    )
    if out is not None:
        st.save(measured, out, generator=g)
    if json:
        report.rows(st.summary(measured), True)
        return
    flat = [{"path": p.name, "psi": p.effects[0].psi, **{e.score: cell(e) for e in p.effects}} for p in measured]
    report.rows(flat, False, "SD of each score for one SD along each path")


def ppl(generator: str, space: str, where: str, n: int, psi: float | None, json: bool, device: str) -> None:
    g, distance = opened(generator, device).to(dtype=torch.float64), LPIPS("alex").double()
    found = path_length(g, distance, space=space, where=where, n=n, psi=_psi(g, psi), progress=report.Bars())
    report.facts({"generator": g.name, "distance": "LPIPS (alex)", **asdict(found)}, json)


def disentanglement(generator: str, file: Path, n: int, json: bool, device: str) -> None:
    g = opened(generator, device)
    truth, paths = Truth.of(g), bundle(st.read(file, generator=g))
    if truth is None:
        raise SettingError(f"{g.name} does not know the factors of its codes; take heads-64 or one of its variants")
    found = {"these paths": paths, "random": st.discover("random", g, k=max(len(paths), 2))}
    rows = [
        {"paths": name, "how many": len(p), **_rounded(set_scores(truth, list(p), [], n=n))}
        for name, p in found.items()
    ]
    report.rows(rows, json)


def reconstructor(generator: str, file: Path, n: int, psi: float | None, json: bool, device: str) -> None:
    g = opened(generator, device)
    paths: Paths = bundle(st.read(file, generator=g))
    found = told_apart(g, paths, n=n, first=truncation(g, psi))
    report.facts({"generator": g.name, "paths": len(paths), "chance": 1 / len(paths), **asdict(found)}, json)


def _psi(g: Any, psi: float | None) -> float:
    first = truncation(g, psi)
    return float(first[0].psi) if first else 1.0  # pyright: ignore[reportAttributeAccessIssue]


def cell(e: Effect) -> str:
    """An effect in standard deviations of its score, ± half of its interval."""
    half = (e.high - e.low) / 2 / e.sd if e.sd else 0.0
    return f"{e.standardized:+.2f} ± {half:.2f}"


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in scores.items()}
