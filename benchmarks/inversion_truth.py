"""Inversion held against the truth: `make results-truth` writes docs/results-truth.md (needs the extra "render").

Heads that heads-64 was not trained on are rendered, inverted and edited; the truly edited render is the truth. Beside them the generator's
own pictures of the same factors, of which exact codes are known.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import steerable as st
from benchmarks.heads64 import of, pictures
from benchmarks.inversion_results import told_settings
from benchmarks.timing import table
from steerable.artifact import replacing
from steerable.cli.comparing import cell
from steerable.cli.report import Bars
from steerable.data import heads as rendered
from steerable.data.heads import NAMES
from steerable.edit import Images, Inversion
from steerable.generators import heads
from steerable.images import from_bytes, grid, write
from steerable.invert import Inverter
from steerable.measure.directions import Figure
from steerable.measure.fidelity import fidelity, psnr

DOCS = Path(__file__).parents[1] / "docs"
QUICK: dict[str, Any] = {"steps": 100, "coarse": "", "look": 64}  # LPIPS looks at 64 px, as the pictures are
W = st.Optimize(space="w", **QUICK)
METHODS: dict[str, Inverter] = {
    "optimize z": st.Optimize(space="z", **QUICK),
    "optimize w": W,
    "optimize w+": st.Optimize(space="w+", **QUICK),
    "pivotal": st.Pivotal(pivot=W, steps=60, enough=0.002),
}
EDITS = ("smile", "age", "yaw", "glasses", "hair_length", "light")
FAR = 0.85  # edited to this, with the sign that is farther away
CONTROL = "true codes"


@dataclass(frozen=True)
class Heads:
    """Heads of known factors: their pictures, and those of the same heads with one factor changed."""

    factors: np.ndarray
    images: Images
    edited: dict[str, Images]


def steps(shown: Heads, name: str) -> list[float]:
    """By how much that factor of each head is changed."""
    k = NAMES.index(name)
    return (wanted(shown.factors, name) - shown.factors)[:, k].tolist()


def wanted(factors: np.ndarray, name: str) -> np.ndarray:
    """The same factors, that one taken to the other side."""
    changed, k = factors.copy(), NAMES.index(name)
    changed[:, k] = np.where(factors[:, k] < 0, FAR, -FAR)
    return changed


def heads_of(factors: np.ndarray, draw: Callable[[np.ndarray], Tensor]) -> Heads:
    return Heads(factors, draw(factors), {name: draw(wanted(factors, name)) for name in EDITS})


def sought(g: heads.Heads, shown: Heads, bars: Bars) -> dict[str, tuple[list[Inversion], float]]:
    """What each method finds, picture by picture, and CPU seconds for one."""
    found = {}
    for name, method in METHODS.items():
        begun = time.process_time()
        each = [method.invert(g, image[None]) for image in bars.over(shown.images, name, len(shown.images))]
        found[name] = each, (time.process_time() - begun) / len(each)
    return found | {CONTROL: ([Inversion(of(g, f[None])) for f in shown.factors], 0.0)}


def changed(g: heads.Heads, inversion: Inversion, name: str, by: float) -> Inversion:
    """That factor of the head raised: each row of w+ takes the true step."""
    rows = g.lift(inversion.latents, "w+")
    return replace(inversion, latents=rows.at(rows.values + by * g.directions()[NAMES.index(name)]))


def judged(g: heads.Heads, shown: Heads, each: Sequence[Inversion]) -> dict[str, Tensor]:
    """A value for each head [n]: likeness, error of the factors read from the codes, and how true the edits are."""
    told: dict[str, list[float]] = {}
    by = {name: steps(shown, name) for name in EDITS}
    for i, (inversion, image) in enumerate(zip(each, shown.images, strict=True)):
        plain = st.render(g, inversion)
        near = fidelity(plain, image[None], ["psnr", "lpips-alex"], look=64)
        read = g.row_factors(inversion.latents).mean(1)[0].double()
        true = torch.from_numpy(shown.factors[i]).double()
        values = {**{k: float(v) for k, v in near.items()}, "error": float((read - true).square().mean().sqrt())}
        agreed, after = [], []
        for name in EDITS:
            made = st.render(g, changed(g, inversion, name, by[name][i]))
            truth = shown.edited[name][i : i + 1]
            changes = torch.stack([(made - plain).flatten(), (truth - image[None]).flatten()])
            agreed.append(float(torch.corrcoef(changes)[0, 1]))
            after.append(float(psnr(made, truth)))
        values |= {"agreement": sum(agreed) / len(agreed), "psnr after": sum(after) / len(after)}
        for key, value in values.items():
            told.setdefault(key, []).append(value)
    return {key: torch.tensor(v, dtype=torch.float64) for key, v in told.items()}


def figures(g: heads.Heads, shown: Heads, found: dict[str, tuple[list[Inversion], float]]) -> str:
    columns, rows = {"psnr": 1, "lpips-alex": 3, "error": 3, "agreement": 3, "psnr after": 1}, []
    for name, (each, seconds) in found.items():
        values = judged(g, shown, each)
        cells = [cell(Figure.of(values[key]), digits) for key, digits in columns.items()]
        rows.append([f"*{name}*" if name == CONTROL else name, *cells, f"{seconds:.0f}" if seconds else "–"])
    titles = ["method", "PSNR", "LPIPS alex", "error of factors", "agreement of edits", "PSNR after", "CPU s"]
    return table(titles, rows)


def drawn(
    g: heads.Heads, shown: Heads, found: dict[str, tuple[list[Inversion], float]], name: str, n: int = 3
) -> Images:
    """For some heads two rows: what is given and what each method makes of it; the true edit and theirs."""
    rows = []
    for i in range(n):
        by = steps(shown, name)[i]
        rows += [shown.images[i : i + 1], *(st.render(g, e[i]) for e, _ in found.values())]
        rows += [shown.edited[name][i : i + 1], *(st.render(g, changed(g, e[i], name, by)) for e, _ in found.values())]
    return torch.cat(rows)


PAGE = """# Inversion against the truth

Made by `make results-truth` from {n} heads that [heads-64](systems/heads.md) was not trained on. PSNR and LPIPS are those of the
reconstruction; the error of factors, which go from -1 to 1, is the root mean square over all {factors}, read from the codes (of w+ from the
mean row). Edits are {edits}, each taken to ±{far} along its true direction: their agreement is the
correlation of the picture's change with the true change, PSNR after is that of the edited picture against the truly edited one, both means
over these edits. ± is half of the 95 % interval over heads.

## Renders

The generator has no exact codes for these: what it cannot draw is missing in each row, in that of the true codes too.

{renders}

![Given, then {names}; every second row: {shown} taken to the other side](images/results-truth.png)

*Columns: the render, then {names}. Every second row: {shown} taken to the other side; the first picture of it is the truly edited render.*

## The generator's own pictures

The same factors, drawn by the generator: here the true codes are exact, and all that is left is the search's.

{own}

## Settings

{settings}
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=8, help="heads")
    options.add_argument("--shown", default="age", choices=EDITS, help="the edit in the picture")
    told = options.parse_args()
    torch.set_num_threads(1)
    g, bars, factors = heads.load("heads-64"), Bars(), rendered.factors(told.n, seed=303)
    renders = heads_of(factors, lambda f: from_bytes(rendered.render(f)))
    own = heads_of(factors, lambda f: pictures(g, of(g, f)))
    made = [(shown, sought(g, shown, bars)) for shown in (renders, own)]
    sheet = grid(drawn(g, *made[0], told.shown), columns=2 + len(METHODS))
    write(sheet.resize((2 * sheet.width, 2 * sheet.height)), DOCS / "images" / "results-truth.png")
    text = PAGE.format(
        n=told.n,
        factors=len(NAMES),
        edits=", ".join(EDITS),
        far=FAR,
        renders=figures(g, *made[0]),
        own=figures(g, own, {name: found for name, found in made[1][1].items() if name != CONTROL}),
        names=", ".join([*METHODS, CONTROL]),
        shown=told.shown,
        settings="\n".join(f"- {name}: `{m.name}`, {told_settings(m)}" for name, m in METHODS.items()),
    )
    with replacing(DOCS / "results-truth.md") as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
