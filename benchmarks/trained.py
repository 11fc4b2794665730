"""Methods that train, trained to their end on dcgan-faces-64: `make trained` writes docs/results-trained.md.

The end is the number of steps a method has by default (its paper's, where the paper says), or its own criterion, where that stops getting
better before. Every training is resumed where it was interrupted, and what is done is kept in the cache, method by method.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

import steerable as st
from benchmarks.leaderboard import Quiet, sheets
from benchmarks.results import target_table
from benchmarks.timing import table
from steerable.artifact import replacing
from steerable.cli.compare import protocol
from steerable.cli.report import Bars
from steerable.discover import DISCOVERERS
from steerable.measure.compare import Plan, Rules, planned
from steerable.measure.comparison import Comparison
from steerable.nn.allocator import tune

OUT = Path(__file__).parents[1] / "docs" / "results-trained.md"
GENERATOR, SCORES, TARGETS = "dcgan-faces-64", "statistics", ("brightness", "warmth", "saturation", "light-right")
# `patience` looks without a better one end a training; what is not named is the method's default.
METHODS: Mapping[str, Mapping[str, Any]] = {
    "latent2im": {},
    "steerability": {},
    "plumerault": {},
    "styleflow": {},
    "spectral": {},
    "hessian-penalty": {"every": 100, "patience": 3},
    "orojar": {"every": 100, "patience": 3},
    "latentclr": {"k": 20, "every": 100, "patience": 3},
    "voynov": {"net": "lenet", "every": 500, "patience": 3, "n": 640},
    "ganalyze": {"learn": ",".join(TARGETS), "patience": 10},
    "warpedganspace": {"net": "lenet", "k": 32, "every": 500, "patience": 3, "n": 640},
}
ABOUT = {  # what the criterion counts
    "latent2im": "regression, content and realism loss",
    "steerability": "masked squared error of pictures",
    "plumerault": "error of direction and function",
    "styleflow": "negative log-likelihood of a number of the code, and error of attributes",
    "spectral": "closed form, nothing trains",
    "hessian-penalty": "penalty",
    "orojar": "penalty",
    "latentclr": "contrastive loss",
    "voynov": "reconstructor accuracy (chance 1/100)",
    "ganalyze": "squared error of the score asked for",
    "warpedganspace": "reconstructor accuracy (chance 1/32)",
}


def methods(names: Sequence[str]) -> list[Any]:
    return [DISCOVERERS[name].with_settings({"space": "z", **METHODS[name]}) for name in names]


def plan(names: Sequence[str], people: int, bars: Any) -> Plan:
    rules = Rules(seeds=1, people=people)
    return planned("discover", st.load(GENERATOR), methods(names), rules, SCORES, TARGETS, progress=bars)


def one(task: tuple[Sequence[str], int, int]) -> str:
    """In a process of its own: one entrant; what it found is in the cache."""
    torch.set_num_threads(1)
    tune()
    names, people, i = task
    made, begun = plan(names, people, Quiet()), time.time()
    reason = made.contender(made.entrants[i], Quiet()).reason
    return f"{made.entrants[i].name}: {reason or f'{(time.time() - begun) / 60:.1f} minutes'}"


def trainings(made: Plan, names: Sequence[str]) -> str:
    rows = []
    for entrant in made.entrants:
        if entrant.name not in names:
            continue
        found = made.discovered(entrant, 0, Quiet())
        told: Any = found.paths.notes.get("training", {})
        most, history = entrant.method.settings().get("steps"), told.get("history", ())
        if "epochs" in entrant.method.settings():
            most = told["steps"]
        rows.append(
            [
                entrant.name,
                ", ".join(f"{k}={v}" for k, v in {"space": "z", **METHODS[entrant.name]}.items()),
                f"{told['steps']:,} of {most:,}" if told else "–",
                "–" if not told else "its criterion" if told["ended by its criterion"] else "all steps made",
                ABOUT[entrant.name],
                f"{history[0]:.3g} → {history[-1]:.3g}" if history else "–",
                f"{found.seconds / 60:.1f}",
                f"{found.seconds / told['steps'] * most / 3600:.1f}" if told else "–",
            ]
        )
    heads = [
        "method",
        "settings",
        "steps",
        "ended by",
        "criterion",
        "first look → last",
        "CPU minutes",
        "hours for all steps",
    ]
    return table(heads, rows)


def written(found: Comparison, made: Plan, names: Sequence[str]) -> str:
    left = [name for name in METHODS if name not in names]
    lines = [
        f"# Methods that train, to their end, on {GENERATOR}",
        "",
        "Made by `make trained`, one core a method. A training ends after the steps that the method makes by default, or when its own",
        "criterion has not got better for `patience` looks. The net is a DCGAN of 64 px with 100 numbers in z: small enough that a",
        "processor can do it, and far from the nets of the papers. A run that was stopped and resumed counts the minutes since.",
        "",
        "## How they trained",
        "",
        trainings(made, names),
        "",
        *(
            [f"Not run to their end: {', '.join(left)}. [Performance](performance.md) says what they would take.", ""]
            if left
            else []
        ),
        "## What they found",
        "",
        f"{protocol(found)} There is no reader of faces for pictures of this size, so light and color are what is steered.",
        "What the columns mean is in [Measures](guides/measures.md).",
        "",
    ]
    for target in found.targets:
        lines += [f"### {target}", "", target_table(found, target), ""]
    if found.left_out:
        lines += ["## Took no part", "", table(["method", "reason"], [[c.name, c.reason] for c in found.left_out]), ""]
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", help="methods, with commas (default: all that train)")
    options.add_argument("--people", type=int, default=24)
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options.add_argument("--page", type=Path, help="a page with sheets side by side (.html)")
    options.add_argument("-o", "--out", type=Path, default=OUT)
    told = options.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    bars, names = Bars(), tuple(told.only.split(",")) if told.only else tuple(METHODS)
    made = plan(names, told.people, bars)
    tasks = [(names, told.people, i) for i in range(len(made.entrants))]
    with ProcessPoolExecutor(told.jobs, mp_context=get_context("spawn")) as pool:
        for line in bars.over(pool.map(one, tasks), "Methods", len(tasks)):
            bars.note(line)
    found = made.made(made.contender(e) for e in made.entrants)
    with replacing(told.out) as part:
        part.write_text(written(found, made, names), encoding="utf-8")
    if told.page:
        sheets(found, made, told.page, bars)


if __name__ == "__main__":
    main()
