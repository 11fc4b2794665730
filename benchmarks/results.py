"""What each discoverer finds on ffhq-1024: `make results` writes docs/results.md.

For age, smile, yaw and gender the best path of each method, judged on 24 held-out faces at three strengths; what is done is kept in the
cache, method by method, so an interrupted run goes on. `--full` judges every seed, on twice as many faces, in full pictures and not in
previews of 256 px. Where STEERABLE_TEST_DATA holds published directions for StyleGAN2-FFHQ, what was found is held against them.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cosine_similarity

import steerable as st
from benchmarks.leaderboard import Setup, _kind, run, sheets
from benchmarks.timing import table
from steerable.artifact import replacing
from steerable.cli.compare import COLUMNS, cell, everyone, leaks_most, protocol, strength
from steerable.cli.report import Bars
from steerable.measure.compare import CHOSEN_ON, Plan, Rules
from steerable.measure.comparison import Comparison, Contender, Judged
from steerable.measure.directions import rescoring
from steerable.path import Direction
from steerable.path import Path as Curve

OUT = Path(__file__).parents[1] / "docs" / "results.md"
GENERATOR, SCORES = "ffhq-1024", "age,smile,yaw,gender"
PUBLISHED = (  # file, space, target, sign: which way the file's direction changes the target
    ("e4e_ffhq_smile.pt", "w", "smile", 1),
    ("lowrankgan_stylegan2_ffhq1024_expression.npy", "w", "smile", 1),
    ("interfaceganpp_stylegan2_ffhq_z_Smiling.npy", "z", "smile", 1),
    ("interfaceganpp_stylegan2_ffhq_z_Young.npy", "z", "age", -1),
)
FIGURES = ("effect", "leakage", "identity", "rising", "linear")
SECONDS = 230  # CPU seconds for one method, two discoveries and judging, a mean over quick and slow ones: reckoned


def target_table(found: Comparison, target: str) -> str:
    heads = ["method", "kind", "path", "t", *(COLUMNS[f][0] for f in FIGURES), "leaks most", "stable"]
    rows = []
    order = lambda c: (c.control, not c[target].reached, c[target].leakage.mean if c[target].leakage else 9.0)
    for c in sorted(found.taking_part, key=order):
        j = c[target]
        rows.append(
            [
                f"*{c.name}*" if c.control else c.name,
                _kind(c),
                j.path.name.replace("|", "\\|"),
                strength(c, target),
                *(cell(getattr(j, f), COLUMNS[f][2]) for f in FIGURES),
                leaks_most(j),
                "–" if j.stability is None else f"{j.stability:.2f}",
            ]
        )
    return table(heads, rows)


def published(plan: Plan, found: Comparison, folder: Path, bars: Bars) -> str | None:
    """Cosine with each published direction (in w, where both are straight there), and of what the two change."""
    files = [(folder / name, space, target, sign) for name, space, target, sign in PUBLISHED]
    files = [f for f in files if f[0].is_file()]
    if not files:
        return None
    g, rows = plan.generator, []
    for file, space, target, sign in bars.over(files, "Published directions", len(files)):
        theirs: Curve = st.read(file, generator=g, space=space)[0]
        slopes = sign * rescoring(plan.reader, g.sample(plan.rules.chosen_on, seed=CHOSEN_ON), [theirs])[0][0]
        own = float(slopes[plan.reader.names.index(target)])
        for c in found.taking_part:
            if c.control or not c[target].reached:
                continue
            rows.append(
                [
                    file.name,
                    target,
                    f"{own:+.2f}",
                    c.name,
                    _cosine(theirs, c[target].path, sign, c[target].t),
                    _alike(slopes, c[target], plan),
                ]
            )
    return table(["file", "target", "its own effect, SD a SD", "method", "cosine", "agreement of effects"], rows)


def _cosine(a: Curve, b: Curve, sign: int, t: float) -> str:
    if isinstance(a, Direction) and isinstance(b, Direction) and a.space.name == b.space.name == "w":
        return f"{sign * (1 if t > 0 else -1) * float(cosine_similarity(a.vector, b.vector, dim=0)):+.2f}"
    return "–"


def _alike(slopes: torch.Tensor, j: Judged, plan: Plan) -> str:
    ours = torch.tensor([j.changes.get(name, 0.0) for name in plan.reader.names], dtype=slopes.dtype)
    return f"{float(cosine_similarity(slopes, ours, dim=0)):+.2f}"


def written(found: Comparison, agreement: str | None) -> str:
    lines = [
        "# Results on ffhq-1024",
        "",
        f"{_share(found)} on one generator of faces; made by `make results`. What the columns mean is in",
        "[Measures](guides/measures.md).",
        "",
        protocol(found),
        "",
        "**All faces come from one net**, MobileStyleGAN distilled from StyleGAN2-FFHQ, and all scores from automatic readers of",
        "pictures, which also taught the supervised methods: there is no second reader of these scores here. What such",
        "readers call age or gender is their guess from a picture. Methods that train were cut to five minutes of one core",
        "at most, on small previews; their papers train for hours on a GPU. Settings are those of `[large]`",
        "in `src/steerable/measure/quick.toml`.",
        "",
        "The effect is in SD of the target (1 is aimed at), leakage the mean |change| of the other scores in SD for each SD of effect,",
        "intervals are of 95 % over people. Least leakage first; controls, in italics, last.",
        "",
    ]
    for target in found.targets:
        lines += [f"## {target}", "", target_table(found, target), ""]
    lines += [
        "## CPU time of discovery",
        "",
        table(["method", "seconds a seed", "seeds", "paths"], [_spent(c) for c in found.taking_part]),
        "",
    ]
    if agreement:
        lines += [
            "## Agreement with published directions",
            "",
            "Directions that others published for StyleGAN2-FFHQ, whose mapping this net kept. The cosine is taken where both are straight",
            "in w; directions of z cannot be compared so. Agreement of effects: cosine between what the two change, over all scores.",
            "",
            agreement,
            "",
        ]
    if found.left_out:
        rows = [[c.name, c.reason.replace("|", "\\|")] for c in found.left_out]
        lines += ["## Took no part", "", table(["method", "reason"], rows), ""]
    return "\n".join(lines) + "\n"


def _share(found: Comparison) -> str:
    """Which discoverers the page is about."""
    run = {c.name for c in found.contenders}
    missing = [name for name in everyone("discover") if name not in run]
    if not missing:
        return "Every discoverer in the table"
    return f"{len(run)} discoverers (not run: {', '.join(missing)})"


def _spent(c: Contender) -> list[Any]:
    return [c.name, "–" if c.seconds is None else f"{c.seconds:.0f}", len(c.seeds), c.paths]


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", help="methods, with commas (default: every discoverer)")
    options.add_argument("--people", type=int, help="held-out faces (default 24, with --full 48)")
    options.add_argument("--labels", type=int)
    options.add_argument(
        "--full", action="store_true", help="judge every seed, on twice as many faces, in full pictures"
    )
    options.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    options.add_argument("--page", type=Path, help="a page with sheets side by side (.html)")
    options.add_argument("-o", "--out", type=Path, default=OUT)
    told = options.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    bars, begun = Bars(), time.time()
    methods = tuple(told.only.split(",")) if told.only else tuple(everyone("discover"))
    methods = (*methods, "random", "permuted")
    people = told.people or (48 if told.full else 24)
    judged, size = (None, None) if told.full else (1, 256)
    rules = Rules(
        people=people, chosen_on=4, seeds=2, labels=told.labels, size=size, judged_seeds=judged, controls=False
    )
    bars.note(
        f"{len(methods)} methods, at most about {len(methods) * SECONDS * (3 if told.full else 1) / told.jobs / 60:.0f} minutes"
    )
    ((found, plan),) = run([Setup(GENERATOR, methods, rules, scores=SCORES)], told.jobs, bars)
    data = os.environ.get("STEERABLE_TEST_DATA")
    agreement = published(plan, found, Path(data) / "directions", bars) if data else None
    with replacing(told.out) as part:
        part.write_text(written(found, agreement), encoding="utf-8")
    if told.page:
        sheets(found, plan, told.page, bars)
    bars.note(f"{told.out} after {(time.time() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
