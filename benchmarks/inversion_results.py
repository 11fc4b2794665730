"""What inversion reaches on ffhq-1024: `make results-inversion` writes docs/results-inversion.md.

Inverters on the generator's own held-out samples (4; 16 with `--full`), restoration of the same against plain baselines, and coarse to fine
against the naive way. What is done is kept in the cache, picture by picture, so an interrupted run goes on. `--photos FOLDER` adds real
photographs, which are yours to bring.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import steerable as st
from benchmarks.timing import table
from steerable import cache
from steerable.artifact import fingerprint, replacing
from steerable.cli.compare_invert import CELLS
from steerable.cli.comparing import cell, half
from steerable.cli.report import Bars
from steerable.generator import Generator
from steerable.images import files, to_pil
from steerable.invert.descent import Descent
from steerable.invert.losses import losses
from steerable.invert.observe import Operator, observation
from steerable.measure.directions import Figure
from steerable.measure.editability import curve
from steerable.measure.fidelity import ALL, fidelity
from steerable.measure.inversions import Contest, Inversions, Picture, Sought, own, planned
from steerable.nn.allocator import tune
from steerable.record import Record
from steerable.renderer import fitted
from steerable.score import kept

OUT = Path(__file__).parents[1] / "docs" / "results-inversion.md"
GENERATOR, SCORES, PSI, LABELS, LOOK = "ffhq-1024", "age,smile,yaw", 0.7, 300, 256
QUICK = {"start": "regression", "samples": 300}
W = st.Optimize(space="w", steps=120, coarse="64:0.6,128:0.35", **QUICK)
WPLUS = st.Optimize(space="w+", steps=170, coarse="64:0.59,128:0.35", **QUICK)
METHODS = {"optimize w": W, "optimize w+": WPLUS, "pivotal": st.Pivotal(pivot=W, steps=30, enough=0.01)}
SHOWN = ("lpips-alex", "lpips-vgg", "identity", "psnr", "ms-ssim", "effect", "kept", "same", "steps", "seconds")
RESTORING = st.Optimize(space="w", start="mean", steps=68, coarse="64:0.66,128:0.3")
NAIVE = st.Optimize(space="w+", start="mean", steps=100, coarse="")
BRISK = st.Optimize(space="w+", start="mean", rate=0.1, steps=150, coarse="64:0.6,128:0.25")
WITHIN = 1.05  # of the naive way's last LPIPS
LEVELS = (0.3, 0.2, 0.15, 0.1)


# -- inverters ----------------------------------------------------------------------------------------------------------------------


def prepared(g: Generator, pictures: Sequence[Picture], bars: Bars) -> Contest:
    told = {"scores": SCORES, "psi": PSI, "labels": LABELS, "identity": kept, "which": ALL, "look": LOOK}
    return planned(g, METHODS, pictures, progress=bars, **told)


def judged(plan: Contest, bars: Bars) -> Inversions:
    return plan.made(plan.rival(e, bars) for e in plan.entries)


def comparison(found: Inversions) -> str:
    rows = [
        [f"*{r.name}*" if r.control else r.name, *(cell(r.figure(k), CELLS[k][2]) for k in SHOWN)]
        for r in found.taking_part
    ]
    return table(["method", *(CELLS[k][0] for k in SHOWN)], rows)


CLAIMS = (  # what the literature says: words, value, who, whether less is better, than whom
    ("W+ comes nearer than W (LPIPS, AlexNet)", "lpips-alex", "optimize w+", "<", "optimize w"),
    ("W+ comes nearer than W (identity)", "identity", "optimize w+", ">", "optimize w"),
    ("pivotal tuning comes nearer than W (LPIPS, AlexNet)", "lpips-alex", "pivotal", "<", "optimize w"),
    (
        "pivotal tuning comes nearer than W+ (LPIPS, AlexNet, which it descends)",
        "lpips-alex",
        "pivotal",
        "<",
        "optimize w+",
    ),
    ("pivotal tuning comes nearer than W+ (LPIPS, VGG, which W+ descends)", "lpips-vgg", "pivotal", "<", "optimize w+"),
    ("pivotal tuning comes nearer than W+ (identity)", "identity", "pivotal", ">", "optimize w+"),
    ("W edits more strongly than W+", "effect", "optimize w", ">", "optimize w+"),
    ("pivotal tuning edits more strongly than W+", "effect", "pivotal", ">", "optimize w+"),
)


def ordering(found: Inversions) -> str:
    """Whether it is so here: by means, and in how many pictures."""
    rows = []
    for words, name, this, sign, that in CLAIMS:
        apart = [
            (b - a) if sign == "<" else (a - b)
            for x, y in zip(found[this].attempts, found[that].attempts, strict=True)
            if (a := x.value(name)) is not None and (b := y.value(name)) is not None
        ]
        figure = Figure.of(torch.tensor(apart, dtype=torch.float64))
        if figure is not None:
            so = "yes" if figure.mean > 0 else "**no**"
            rows.append(
                [words, so, f"{sum(v > 0 for v in apart)} of {len(apart)}", f"{figure.mean:+.3f}{half(figure, 3)}"]
            )
    return table(["the literature's ordering", "by means", "pictures", "by how much"], rows)


def photographs(g: Generator, folder: Path) -> list[Picture]:
    made = []
    for file in files(folder):
        photo = st.read_images(file)
        made.append(Picture(file.stem, st.aligned(photo, g.resolution, which=0).cut(photo)))
    return made


def bent(plan: Contest, bars: Bars) -> str:
    """The first picture's likeness and editability as its rows of w+ are drawn to their mean."""
    (entry,), picture = [e for e in plan.entries if e.name == "optimize w+"], plan.pictures[0]
    base, heads = plan.sought(entry, picture, bars).inversion, ("lpips-alex", "identity", "psnr")
    rows = []
    for p in curve(plan.generator, base, picture.image, plan.editing, which=heads, look=LOOK, progress=bars):
        told = [f"{p.scores[h]:.{CELLS[h][2]}f}" for h in heads]
        edits = [sum(v.values()) / max(len(v), 1) for v in (p.effect, p.kept, p.same)]
        rows.append([f"{p.share:.0%}", *told, *(f"{v:.2f}" for v in edits)])
    return table(["drawn to w", *(CELLS[h][0] for h in heads), "effect", "kept", "same"], rows)


# -- restoration --------------------------------------------------------------------------------------------------------------------


def mean_filled(y: Tensor, operator: Operator) -> Tensor:
    """What was not seen is the mean color of what was."""
    seen = operator(torch.ones_like(y))
    return y + (1 - seen) * ((y * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True))


def mirrored(y: Tensor, operator: Operator) -> Tensor:
    seen = operator(torch.ones_like(y))
    return y + (1 - seen) * y.flip(3)


def bicubic(y: Tensor, operator: Operator) -> Tensor:
    k = int(operator.spec.split(":")[1])
    return F.interpolate(y, scale_factor=k, mode="bicubic", align_corners=False).clamp(-1, 1)


def as_is(y: Tensor, operator: Operator) -> Tensor:
    return y


def consistent(x: Tensor, y: Tensor, operator: Operator) -> Tensor:
    """The nearest picture that is observed as y; for gray, the one with x's colors (the nearest one would be green and purple)."""
    return x + (y - operator(x)) if operator.spec == "gray" else operator.consistent(x, y)


Baseline = Callable[[Tensor, Operator], Tensor]
TASKS: dict[str, tuple[str, dict[str, Baseline]]] = {
    "the right half hidden": ("box:0.5,0,1,1", {"mean filling": mean_filled, "mirrored": mirrored}),
    "8 times smaller": ("downsample:8", {"bicubic": bicubic}),
    "16 times smaller": ("downsample:16", {"bicubic": bicubic}),
    "gray": ("gray", {"as it is": as_is}),
}


def restored(g: Generator, picture: Picture, spec: str, bars: Bars) -> Sought:
    operator = observation(spec, (g.size[0], g.size[1]))

    def make() -> Sought:
        begun = time.process_time()
        found = RESTORING.invert(g, operator(picture.image), observe=operator, progress=bars)
        if "interrupted" in found.notes:
            raise KeyboardInterrupt
        return Sought(found, time.process_time() - begun)

    key = [g.fingerprint, RESTORING.settings(), spec, fingerprint({"image": picture.image})]
    return cache.remembered(Sought, "restored", json.dumps(key), make)


def restoration(g: Generator, pictures: Sequence[Picture], bars: Bars) -> tuple[str, Image.Image]:
    """The table, and the sheet of what was seen, what was made of it, and what it was."""
    rows, cells, heads = [], {}, ("psnr", "lpips-alex", "identity")
    for task, (spec, baselines) in TASKS.items():
        operator = observation(spec, (g.size[0], g.size[1]))
        told: dict[str, list[dict[str, Tensor]]] = {}
        seconds = []
        for p in bars.over(pictures, task, len(pictures)):
            found, y = restored(g, p, spec, bars), operator(p.image)
            seconds.append(found.seconds)
            x = st.render(g, found.inversion)
            made = {name: way(y, operator) for name, way in baselines.items()}
            made |= {"inverted": x, "inverted, then made consistent": consistent(x, y, operator)}
            for name, image in made.items():
                told.setdefault(name, []).append(fidelity(image, p.image, heads, look=LOOK))
            first = y if y.shape == p.image.shape else made["bicubic"]
            cells[task, p.name] = torch.cat([first, made["inverted, then made consistent"], p.image])
        for name, values in told.items():
            figures = [Figure.of(torch.cat([v[h] for v in values])) for h in heads]
            spent = f"{sum(seconds) / len(seconds):.0f}" if name == "inverted" else ""
            rows.append([task, name, *(cell(f, CELLS[h][2]) for f, h in zip(figures, heads, strict=True)), spent])
    text = table(["seen", "way", *(CELLS[h][0] for h in heads), "CPU s"], rows)
    return text, sheet(list(TASKS), [p.name for p in pictures][:4], cells)


def sheet(
    tasks: Sequence[str], names: Sequence[str], cells: dict[tuple[str, str], Tensor], side: int = 112
) -> Image.Image:
    font, head = ImageFont.load_default(13), 22
    page = Image.new("RGB", (len(names) * (3 * side + 10), len(tasks) * (side + head)), "white")
    pen = ImageDraw.Draw(page)
    for r, task in enumerate(tasks):
        pen.text((4, r * (side + head) + 3), f"{task}: seen, restored, true", "#18181b", font)
        for c, name in enumerate(names):
            for i, small in enumerate(to_pil(fitted(cells[task, name], side * 2))):
                at = (c * (3 * side + 10) + i * side, r * (side + head) + head)
                page.paste(small.resize((side, side), Image.Resampling.LANCZOS), at)
    return page


# -- coarse to fine -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trace(Record):
    """LPIPS of the full picture after so many CPU seconds of descent; looking is not counted."""

    seconds: tuple[float, ...]
    lpips: tuple[float, ...]

    def reached(self, level: float) -> float | None:
        return next((s for s, v in zip(self.seconds, self.lpips, strict=True) if v <= level), None)


def traced(g: Generator, told: st.Optimize, image: Float[Tensor, "1 3 h w"], every: Sequence[int], bars: Bars) -> Trace:
    """One descent, looked at every so many steps of each view."""

    def make() -> Trace:
        operator = observation(None, (g.size[0], g.size[1]))
        begun = time.process_time()
        stages = told.plan(g, image, operator, bars)
        start = told._starts(g, stages, operator, image, bars)[0]
        descent, done, unseen, points = Descent(told, g, start, told.seed), 0, 0.0, []
        for (stage, steps), gap in zip(stages, every, strict=True):
            parts = losses(told, g, stage.target, descent.begin)
            descent.best = None
            for i in bars.over(range(steps), f"steps at {stage.view.size} px", steps):
                descent._step(stage, parts, done / told.steps, done)
                done += 1
                if (i + 1) % gap and i + 1 < steps:
                    continue
                looked = time.process_time()
                seen = fidelity(st.render(g, descent._snapshot()), image, ["lpips-alex"], look=LOOK)["lpips-alex"]
                points.append((looked - begun - unseen, float(seen)))
                unseen += time.process_time() - looked
        return Trace(tuple(s for s, _ in points), tuple(v for _, v in points))

    key = [g.fingerprint, told.settings(), list(every), fingerprint({"image": image})]
    return cache.remembered(Trace, "traced", json.dumps(key), make)


def race(g: Generator, pictures: Sequence[Picture], bars: Bars) -> str:
    """CPU seconds until LPIPS is so low, for each way; in brackets the share of the naive way's time."""
    ways = (
        ("naive", NAIVE, (5,)),
        ("naive, twice the rate", replace(NAIVE, rate=2 * NAIVE.rate), (5,)),
        ("coarse to fine, regression start", WPLUS, (10, 10, 2)),
        ("coarse to fine, mean start, twice the rate", BRISK, (10, 6, 3)),
    )
    rows = []
    for p in pictures:
        traces = {name: traced(g, told, p.image, every, bars) for name, told, every in ways}
        goal = WITHIN * traces["naive"].lpips[-1]
        slow = traces["naive"].reached(goal) or float("nan")
        for name, t in traces.items():
            when = [f"{s:.0f}" if (s := t.reached(level)) is not None else "–" for level in LEVELS]
            there = t.reached(goal)
            end = "not reached" if there is None else f"{there:.0f} ({there / slow:.2f})"
            rows.append([p.name, name, *when, end, f"{t.lpips[-1]:.3f}", f"{t.seconds[-1]:.0f}"])
    heads = [
        "picture",
        "way",
        *(f"s to {v:g}" for v in LEVELS),
        "s to within 5 % of naive's last",
        "last LPIPS",
        "all its s",
    ]
    return table(heads, rows)


# -- the page -----------------------------------------------------------------------------------------------------------------------


HEAD = """# Inversion on ffhq-1024

Made by `make results-inversion`. What the columns mean is in [Photographs](guides/photos.md). LPIPS looks at {look} px, PSNR has the peak 2
on [-1, 1], identity is the cosine of SFace, ± is half of the 95 % interval over pictures (Student's).

## Its own held-out samples

{n} samples (seeds from {first}, psi {psi:g}), which no fit has seen. Editability: paths for {targets}, learned by ridge regression in w
from {labels} labeled pictures, one standard deviation along each: the effect on its score, in the score's own SD; identity of the
reconstruction before and after (kept), and of the given picture with the edited one (same). The true codes stand last: what the same
edits do to the codes that the pictures were made from.

{table}

These pictures have exact codes **in w**, so the search in w has a solution here that it does not have for photographs, of which the
literature speaks.

{ordering}
"""
REAL = """## Photographs

{n} photographs ({names}), aligned as FFHQ is; same settings, same edits. None is shown or shipped here:
`--photos FOLDER` takes your own.

{table}

{ordering}

What likeness costs: the rows of w+ found for {first} are drawn to their mean, in steps (at 100 % it is a code of w), and measured again.

{curve}
"""
REST = """## Restoration

The same {n} samples, seen through an operator (`observe=`), searched in w from the mean, {steps} steps. *Made consistent* is
x + A⁺(y − Ax), but for gray the inversion's colors with the luma that was seen. Measured on the whole picture, hidden and seen alike.
The pictures being the generator's own, this is the best case.

{restoring}

![seen, restored, true](images/restoration.jpg)

## Coarse to fine

`optimize` in w+ on {raced} of these samples. Naive: from the mean, {naive} steps, all at 1024 px, at the usual and at twice the rate.
Coarse to fine: {fast} steps from the regression start (59 % at 64 px, 35 % at 128 px), as in the first table; and {brisk} steps from
the mean at twice the rate (60 %, 25 %), which were chosen on another sample. CPU seconds until LPIPS (AlexNet) of the full picture is
that low, looked at every few steps, without the looking. Where the last way ends below the regression's, the settings of the first
table are not the best that can be had.

{racing}

## Settings

{settings}

CPU seconds of one thread ({machine}), with other work on the same machine, which makes them longer. The searches of the tables of inverters
took {minutes:.0f} CPU minutes in all.
"""


def written(found: Inversions, restoring: str, racing: str, real: tuple[Inversions, str] | None, raced: int) -> str:
    n = len(found.pictures)
    head = HEAD.format(
        n=n, first=found.pictures[0].split()[-1], psi=PSI, look=LOOK, labels=LABELS, targets=SCORES.replace(",", ", "),
        table=comparison(found), ordering=ordering(found),
    )  # fmt: skip
    rest = REST.format(
        n=n, steps=RESTORING.steps, restoring=restoring, raced=raced, naive=NAIVE.steps, fast=WPLUS.steps, brisk=BRISK.steps, racing=racing,
        settings="\n".join(f"- {name}: `{m.name}`, {told_settings(m)}" for name, m in METHODS.items()), machine=platform.machine(),
        minutes=sum(a.seconds or 0.0 for c in (found, *(real[:1] if real else ())) for r in c.rivals for a in r.attempts) / 60,
    )  # fmt: skip
    if real is None:
        return f"{head}\n{rest}"
    photos, bends = real
    about = {
        "n": len(photos.pictures),
        "names": ", ".join(photos.pictures),
        "first": photos.pictures[0],
        "curve": bends,
    }
    return f"{head}\n{REAL.format(**about, table=comparison(photos), ordering=ordering(photos))}\n{rest}"


def told_settings(method: st.Inverter) -> str:
    """The settings that are not the method's defaults."""
    defaults = {k: v["default"] for k, v in method.schema().items()}
    return ", ".join(f"{k} {_say(v)}" for k, v in method.settings().items() if v != defaults[k])


def _say(value: object) -> str:
    return str(value.get("method")) + " as above" if isinstance(value, dict) else str(value) or "none"


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, help="samples (default 4, with --full 16)")
    options.add_argument("--full", action="store_true", help="16 samples, and coarse to fine on 4 of them")
    options.add_argument("--photos", type=Path, help="a folder of photographs, for a section of their own")
    options.add_argument("-o", "--out", type=Path, default=OUT)
    told = options.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    tune()
    bars, begun = Bars(), time.time()
    n, raced = told.n or (16 if told.full else 4), 4 if told.full else 1
    bars.note(f"{n} samples: about {n * 5.2 + raced * 4 + 3:.0f} minutes on one core")
    g = st.load(GENERATOR)
    pictures = own(g, n, PSI)
    found = judged(prepared(g, pictures, bars), bars)
    restoring, picture = restoration(g, pictures, bars)
    racing = race(g, pictures[:raced], bars)
    real = None
    if told.photos:
        plan = prepared(g, photographs(g, told.photos), bars)
        real = judged(plan, bars), bent(plan, bars)
    file = told.out.parent / "images" / "restoration.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part:
        picture.save(part, format="JPEG", quality=85)
    with replacing(told.out) as part:
        part.write_text(written(found, restoring, racing, real, raced), encoding="utf-8")
    bars.note(f"{told.out} after {(time.time() - begun) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
