"""Every discoverer on heads-64 and its variants, against the known truth: `make leaderboard` writes docs/leaderboard.md.

What is done is kept in the cache, method by method, so an interrupted run goes on; `--only` and `--variants` do a part of it.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import steerable as st
from benchmarks.timing import table
from steerable.artifact import replacing
from steerable.cli.compare import COLUMNS, SETS, cell, everyone, html, pictured, prepared, protocol
from steerable.cli.report import Bars
from steerable.generators.heads import VARIANTS
from steerable.measure.compare import Plan, Rules
from steerable.measure.comparison import Comparison, Contender
from steerable.measure.entrants import blank
from steerable.nn.allocator import tune

OUT = Path(__file__).parents[1] / "docs" / "leaderboard.md"
ABOUT = {
    "heads-64": "factors along nearly separate axes of w",
    "heads-64-rotated": "factors mixed by a strong rotation, all axes of one length",
    "heads-64-steep": "mixed, and axes of very different lengths",
    "heads-64-correlated": "gray hair and glasses come with age, short hair with masculine faces",
    "heads-64-bent": "factors are a curved function of w",
}
EXACT = (
    "boundary",
    "interfacegan",
    "arithmetic",
    "interfacegan-nonlinear",
    "styleflow",
)  # they learn from labels alone
SECONDS = (
    22  # CPU seconds that one method takes on one variant, judging included: reckoned, a mean over quick and slow ones
)


@dataclass(frozen=True)
class Setup:
    """One comparison as arguments, so that another process can make the same plan."""

    generator: str
    methods: tuple[str, ...]
    rules: Rules
    psi: float | None = None
    scores: str | None = None
    targets: str | None = None
    supervision: str | None = None

    def plan(self, bars: Any) -> Plan:
        g = st.load(self.generator)
        return prepared(
            "discover", g, self.methods, self.rules, self.scores, self.targets, self.supervision, self.psi, bars
        )


_PLANS: dict[Setup, Plan] = {}


def prepare(setup: Setup) -> None:
    """In a process of its own: labels and moments, which all methods share."""
    torch.set_num_threads(1)
    tune()
    _PLANS[setup] = setup.plan(Quiet())


def judge(task: tuple[Setup, int]) -> tuple[str, str]:
    """In a process of its own: one method on one generator; what it made is in the cache. The reason, if it made nothing."""
    setup, i = task
    if setup not in _PLANS:
        prepare(setup)
    plan = _PLANS[setup]
    begun = time.time()
    try:
        reason = plan.contender(plan.entrants[i], Quiet()).reason
    except Exception as error:  # one broken method must not cost the others their work; the page says so
        reason = f"broke with {type(error).__name__}: {str(error)[:200]}"
    return f"{setup.generator}: {plan.entrants[i].name}: {reason or f'{time.time() - begun:.0f} s'}", reason


class Quiet(Bars):
    """Several processes would write over each other."""

    def over(self, items: Any, /, title: str, total: int | None = None) -> Any:
        return iter(items)

    def note(self, text: str, /) -> None:
        pass


def run(setups: Sequence[Setup], jobs: int, bars: Bars) -> list[tuple[Comparison, Plan]]:
    """All methods of all setups, shared out over processes."""
    reasons: dict[tuple[Setup, int], str] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        one_each = list({s.generator: s for s in setups}.values())
        for _ in bars.over(pool.map(prepare, one_each), "Labels", len(one_each)):
            pass
        plans = [setup.plan(bars) for setup in setups]
        tasks = [(setup, i) for setup, plan in zip(setups, plans, strict=True) for i in range(len(plan.entrants))]
        for task, (line, reason) in bars.over(zip(tasks, pool.map(judge, tasks), strict=True), "Methods", len(tasks)):
            bars.note(line)
            reasons[task] = reason
    made = []
    for setup, plan in zip(setups, plans, strict=True):
        found: list[Contender] = []
        for i, e in enumerate(plan.entrants):
            reason = reasons[setup, i]
            found.append(replace(blank(e), reason=reason) if reason else plan.contender(e))
        made.append((plan.made(found), plan))
    return made


# -- the page -----------------------------------------------------------------------------------------------------------------------


def across(comparisons: Sequence[Comparison], figure: str) -> str:
    """One figure: rows are methods, columns generators."""
    digits = COLUMNS[figure][2]
    names = list(dict.fromkeys(c.name for found in comparisons for c in found.taking_part))
    tags = {c.name: c for found in comparisons for c in found.taking_part}
    rows = []
    for name in sorted(names, key=lambda n: (tags[n].control, -_order(comparisons[0], n))):
        cells = [cell(by[name].figure(figure), digits) if name in (by := _by(found)) else "–" for found in comparisons]
        rows.append([f"*{name}*" if tags[name].control else name, _kind(tags[name]), *cells])
    return table(["method", "kind", *(found.generator.removeprefix("heads-64-") for found in comparisons)], rows)


def _by(found: Comparison) -> Mapping[str, Contender]:
    return {c.name: c for c in found.taking_part}


def _order(found: Comparison, name: str) -> float:
    figure = _by(found)[name].figure("correlation") if name in _by(found) else None
    return figure.mean if figure else -1.0


def _kind(c: Contender) -> str:
    kinds = ("control", "supervised", "self-supervised", "unsupervised", "interactive", "text")
    return next((k for k in kinds if k in c.tags), "–")


def whole(found: Comparison) -> str:
    """One generator: rows are methods, columns figures."""
    figures = ("leakage", "rising", "linear", "angle", "correlation", "psnr", "perceptual")
    heads = ["method", "reached", *(COLUMNS[f][0] for f in figures), "stable", *SETS, "paths", "seeds", "CPU s"]
    rows = []
    for c in sorted(found.taking_part, key=lambda c: (c.control, -_order(found, c.name))):
        steady = c.mean("stability")
        rows.append(
            [
                f"*{c.name}*" if c.control else c.name,
                f"{c.reached}/{len(c.judged)}",
                *(cell(c.figure(f), COLUMNS[f][2]) for f in figures),
                "–" if steady is None else f"{steady:.2f}",
                *(f"{c.sets[s]:.2f}" if s in c.sets else "–" for s in SETS),
                c.paths,
                len(c.seeds),
                "–" if c.seconds is None else f"{c.seconds:.0f}",
            ]
        )
    return table(heads, rows)


def factors(found: Comparison, methods: int = 6) -> str:
    """Agreement factor by factor, for the methods that agree most in the mean."""
    best = sorted((c for c in found.taking_part if not c.control), key=lambda c: -_order(found, c.name))[:methods]
    chance = [c for c in found.taking_part if c.name == "random"]
    rows = [[t, *(cell(c[t].correlation, 2) for c in (*best, *chance))] for t in found.targets]
    return table(["factor", *(c.name for c in (*best, *chance))], rows)


def ceiling(comparisons: Sequence[Comparison]) -> list[str]:
    """How far the best supervised method is from the truth, on each generator."""
    lines = []
    for found in comparisons:
        learned = [c for c in found.taking_part if "supervised" in c.tags and not c.control]
        if learned:
            best = max(learned, key=lambda c: _order(found, c.name))
            whole = sum(
                all(j.correlation is not None and j.correlation.mean > 0.9995 for j in c.judged) for c in learned
            )
            told = f"the best supervised method ({best.name}) agrees to {_order(found, best.name):.3f}"
            lines.append(f"- `{found.generator}`: {told}; {whole} of {len(learned)} reach 1.000 on every factor.")
    return lines


def taught_exactly(exact: Sequence[Comparison]) -> list[str]:
    """What is left when labels are exact: what the method, not the reader of pictures, gets wrong."""
    if not exact:
        return []
    return [
        "With exact labels (`heads-truth`) instead of the judge's: agreement, and below it leakage. These methods learn from labels alone.",
        "",
        across(exact, "correlation"),
        "",
        across(exact, "leakage"),
        "",
        *ceiling(exact),
        "",
    ]


def written(comparisons: Sequence[Comparison], exact: Sequence[Comparison], minutes: float) -> str:
    first = comparisons[0]
    left = {c.name: c.reason for found in comparisons for c in found.left_out}
    lines = [
        "# Leaderboard",
        "",
        "Every discoverer in the table, on generators whose truth is exactly known (see [heads-64](systems/heads.md)). Made by",
        "`make leaderboard`; what each column means, and from where, is in [Measures](guides/measures.md).",
        "",
        f"{protocol(first)} Figures are means over {len(first.targets)} factors with their intervals over factors.",
        "",
        "Supervised methods learn from `heads-judge`, which reads pictures and errs as such readers do; everything is judged by the truth,",
        "but for paths that act in styles or in some layers only, whose effect is read by the judge. Settings are the quick ones of",
        "`src/steerable/measure/quick.toml`: methods that train are cut to about a minute, far below their papers. This says what a method",
        "does here in that time, on rendered heads with 20 independent factors; it does not rank papers.",
        "",
        *(f"- `{found.generator}`: {ABOUT.get(found.generator, '')}" for found in comparisons),
        "",
        "## Agreement with the true edit",
        "",
        "Correlation of the change of the picture with the change of the truly edited picture; 1 is the truth. Controls are in italics.",
        "",
        across(comparisons, "correlation"),
        "",
        "**Do the hard ones separate methods?**",
        "",
        *ceiling(comparisons),
        "",
        *taught_exactly(exact),
        "## Leakage",
        "",
        COLUMNS["leakage"][1] + " Read by the truth.",
        "",
        across(comparisons, "leakage"),
        "",
        "## Factor by factor",
        "",
        f"Agreement on `{first.generator}`, of the methods that agree most in the mean, and of random directions.",
        "",
        factors(first),
        "",
    ]
    for found in comparisons:
        lines += [f"## {found.generator} in full", "", whole(found), ""]
    if left:
        rows = [[name, reason.replace("|", "\\|")] for name, reason in left.items()]
        lines += ["## Took no part", "", table(["method", "reason"], rows), ""]
    lines.append(f"Made in {minutes:.0f} minutes of wall time (less if parts were in the cache).")
    return "\n".join(lines) + "\n"


def sheets(found: Comparison, plan: Plan, file: Path, bars: Bars) -> None:
    """A page with everything, pictures of the first held-out person too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        part.write_text(html(found, pictured(found, plan, [0], bars)), encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", help="methods, with commas (default: every discoverer)")
    options.add_argument("--variants", default=",".join(VARIANTS), help="generators, with commas")
    options.add_argument("--targets", help="factors, with commas (default: all)")
    options.add_argument("--seeds", type=int, default=2)
    options.add_argument("--people", type=int, default=24)
    options.add_argument("--labels", type=int)
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options.add_argument("--pages", type=Path, help="a folder for one page and one .json per generator")
    options.add_argument("-o", "--out", type=Path, default=OUT)
    told = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    bars, begun = Bars(), time.time()
    methods = tuple(told.only.split(",")) if told.only else tuple(everyone("discover"))
    rules = Rules(seeds=told.seeds, people=told.people, labels=told.labels)
    setups = [Setup(name, methods, rules, targets=told.targets) for name in told.variants.split(",")]
    taught, alone = tuple(name for name in EXACT if name in methods), replace(rules, controls=False)
    exactly = [Setup(s.generator, taught, alone, targets=told.targets, supervision="heads-truth") for s in setups]
    both = setups + (exactly if taught else [])
    count = (len(methods) + len(taught) + 4) * len(setups)
    bars.note(
        f"{count} parts, at most about {count * SECONDS / told.jobs / 60:.0f} minutes; interrupt and go on as you like"
    )
    made = run(both, told.jobs, bars)
    made, exact = made[: len(setups)], [found for found, _ in made[len(setups) :]]
    with replacing(told.out) as part:
        part.write_text(written([found for found, _ in made], exact, (time.time() - begun) / 60), encoding="utf-8")
    if told.pages:
        for found, plan in made:
            sheets(found, plan, told.pages / f"{found.generator}.html", bars)
            st.save(found, told.pages / f"{found.generator}.safetensors", generator=plan.generator)
    bars.note(f"{told.out} after {(time.time() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
