"""`steerable demo`: find directions with three methods, name them by what they were measured to do, and show them on one page."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

import steerable as st

from ..artifact import replacing
from ..errors import MissingExtra, SourceError
from ..generator import Generator
from ..measure import clear, effects, named
from ..nn.allocator import tune
from ..path import Path as Curve
from ..path import Paths
from ..score import Scorer, kept
from ..score.labels import label
from ..sheet import Row, drawn, strips
from . import page, report
from .measuring import cell

PSI = 0.7
PEOPLE = (2, 5, 11)  # whom the page shows; none of them is in the labeled set or among the measured
LABELS_FROM, MEASURED_FROM = 10_000, 90_000
MEASURED = 6
COLUMNS = (-3.0, -1.5, 0.0, 1.5, 3.0)


@dataclass
class Clock:
    """Seconds by what they were spent on."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - begun


@dataclass(frozen=True)
class Chapter:
    """One method on the page: its paths, as found and named, and how to do the same."""

    method: str
    title: str
    text: str
    command: str
    paths: Paths
    show: tuple[str, ...]


def run(out: Path, name: str, pictures: int, json: bool, device: str) -> None:
    """Everything, into the folder `out`; index.html comes last, so that a page that is there is whole."""
    tune()
    clock, bars = Clock(), report.Bars()
    with clock.on("loading"):
        g, scorer = opened(name, device, bars)
    bars.note(
        f"{g.name}: {pictures} labeled pictures, then {MEASURED} people along every path: {expected(g, pictures)}"
    )
    out.mkdir(parents=True, exist_ok=True)
    chapters, control = found(g, scorer, pictures, clock, bars)
    files = [st.save(c.paths, out / f"{c.method}.safetensors", generator=g, notes={"named": True}) for c in chapters]
    with clock.on("pictures for the page"):
        sheets = {c.method: shown(g, c, bars) for c in chapters}
    for c in chapters:
        files.append(st.write(drawn(sheets[c.method], f"{g.name} · {c.title}"), out / f"{c.method}.png"))
    with replacing(out / "index.html") as part:
        part.write_text(written(g, scorer, chapters, sheets, control, clock, pictures), encoding="utf-8")
    result = {
        "page": str(out / "index.html"),
        "generator": g.name,
        "files": [str(f) for f in files],
        "paths": {c.method: [{"name": p.name, "about": p.about} for p in c.paths] for c in chapters},
        "seconds": {k: round(v, 1) for k, v in clock.spent.items()},
    }
    if json:
        report.facts(result, True)
        return
    for c in chapters:
        report.rows([{"path": p.name, "SD does": p.about} for p in c.paths], False, title=c.title)
    report.facts({"page": result["page"], "seconds": f"{sum(clock.spent.values()):.0f}"}, False)


def expected(g: Generator, pictures: int) -> str:
    """How long it will take, from the time of one picture on one thread."""
    first = g.sample(1)
    st.render(g, first)
    begun, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)
    st.render(g, first)
    torch.set_num_threads(threads)
    each = time.perf_counter() - begun
    minutes = each * (pictures + MEASURED * 43 + 195) * 1.2 / threads / 60
    return f"about {minutes:.0f} minutes" if minutes >= 1 else "less than a minute"


def opened(name: str, device: str, bars: report.Bars) -> tuple[Generator, Scorer]:
    """The generator and what judges it; rendered heads and their judge, where weights cannot be had."""
    try:
        g = st.load(name, device=device, progress=bars)
        if not name.startswith("ffhq"):
            return g, _scorer("heads-judge" if name.startswith("heads-64") else "statistics")
        scorer = _scorer("face+age+gender")
        scorer(st.render(g, g.sample(1), [st.Truncate(PSI)]))  # fetches its nets now
        return g, scorer
    except (SourceError, MissingExtra) as error:
        bars.note(f"{error}")
        bars.note("going on with heads-64, rendered heads of 64 px that come with the package")
        return st.load("heads-64", device=device), _scorer("heads-judge")


def _scorer(what: str) -> Scorer:
    found = st.score(what)
    assert isinstance(found, Scorer)
    return found


def found(g: Generator, scorer: Scorer, pictures: int, clock: Clock, bars: report.Bars) -> tuple[list[Chapter], Paths]:
    """The three methods' paths, measured and named, and random ones as a control."""
    size = 256 if g.resolution > 256 else None
    with clock.on("labeled pictures"):
        labels = label(g, scorer, pictures, seed=LABELS_FROM, psi=PSI, size=size, progress=bars)
    made: dict[str, Paths] = {}
    with clock.on("GANSpace"):
        made["ganspace"] = st.discover("ganspace", g, space="w", k=6, n=50_000, progress=bars)
    with clock.on("SeFa"):
        made["sefa"] = st.discover("sefa", g, space="w", k=6, whiten=True, skip_gain=True)
    with clock.on("boundary"):
        made["boundary"] = st.discover(
            "boundary",
            g,
            space="w",
            n=pictures,
            psi=PSI,
            seed=LABELS_FROM,
            size=size,
            supervision=scorer,
            progress=bars,
        )
    made["random"] = st.discover("random", g, space="w", k=3)
    joined = Paths(tuple(replace(p, name=f"{m}/{p.name}") for m, paths in made.items() for p in paths))
    same = kept if scorer.name.startswith("face") else None
    with clock.on("measuring effects"):
        measured = effects(
            g,
            joined,
            scorer,
            n_people=MEASURED,
            psi=PSI,
            seed=MEASURED_FROM,
            labels=labels,
            identity=same,
            limit=0,
            size=size,
            progress=bars,
        )
    identity = measured.notes.get("identity", {})
    parts = {}
    for m, paths in made.items():
        items = tuple(replace(p, name=p.name.split("/", 1)[1]) for p in measured if p.name.startswith(f"{m}/"))
        own = {p.name: identity[f"{m}/{p.name}"] for p in items if f"{m}/{p.name}" in identity}
        parts[m] = Paths(items, {**paths.notes, "measured": measured.notes["measured"], "identity": own})
    chapters = [
        _chapter(m, named(parts[m]) if m != "boundary" else told(parts[m]), g, pictures, scorer.name)
        for m in ("boundary", "ganspace", "sefa")
    ]
    return chapters, parts["random"]


def told(paths: Paths) -> Paths:
    """Supervised paths keep the name of their score; first its own effect is said, then the clear ones beside it."""

    def about(path: Curve) -> str:
        own = [e for e in path.effects if e.score == path.name]
        beside = [e for e in clear(path) if e.score != path.name][:3]
        return ", ".join(f"{e.score} {cell(e)}" for e in (*own, *beside))

    return replace(paths, items=tuple(replace(p, about=about(p)) for p in paths))


TEXTS = {
    "boundary": (
        "Boundary: directions learned from scores",
        "Ridge regression from w to the scores of the labeled pictures. Each path is named after the score it was asked to raise.",
        "steerable discover boundary {g} --n {n} --psi {psi} --seed {seed} --scores {scores} --size 256 -o demo/boundary.safetensors",
    ),
    "ganspace": (
        "GANSpace: principal components of w",
        "No labels. The components along which the generator's own codes vary most, named afterwards by what they were measured to do.",
        "steerable discover ganspace {g} --k 6 --n 50000 -o demo/ganspace.safetensors",
    ),
    "sefa": (
        "SeFa: closed-form factorization of the weights",
        "No labels and no samples: the directions that the first linear maps out of w amplify most, per standard deviation of w.",
        "steerable discover sefa {g} --k 6 --whiten --skip-gain -o demo/sefa.safetensors",
    ),
}


def _chapter(method: str, paths: Paths, g: Generator, n: int, scores: str) -> Chapter:
    title, text, command = TEXTS[method]
    sure = sorted((p for p in paths if clear(p)), key=lambda p: -abs(clear(p)[0].standardized))
    wanted = (
        [w for w in ("smile", "age", "yaw", "gender", "mouth-open") if w in paths.names] if method == "boundary" else []
    )
    show = tuple(wanted or [p.name for p in sure[:4]] or paths.names[:4])
    return Chapter(
        method, title, text, command.format(g=g.name, n=n, psi=PSI, seed=LABELS_FROM, scores=scores), paths, show
    )


def shown(g: Generator, chapter: Chapter, bars: report.Bars) -> list[Row]:
    rows = []
    people = g.sample(seeds=PEOPLE if g.resolution > 64 else PEOPLE[:2])
    chosen = [chapter.paths[name] for name in chapter.show]
    for path in bars.over(chosen, chapter.title.split(":")[0], len(chosen)):
        rows += strips(
            g, people, [path], COLUMNS, edits=[st.Truncate(PSI)], size=256 if g.resolution > 256 else g.resolution
        )
    return rows


def written(
    g: Generator,
    scorer: Scorer,
    chapters: list[Chapter],
    sheets: dict[str, list[Row]],
    control: Paths,
    clock: Clock,
    n: int,
) -> str:
    faces = scorer.name.startswith("face")
    seeds = ",".join(map(str, PEOPLE))
    body = [
        "<h1>steerable: what was found on this machine</h1>",
        f'<p class="faint">Generator {page.say(g.name)}, {g.size[1]}×{g.size[0]} px. {"Nobody here exists. " if faces else ""}'
        f"{'Weights for research use only. ' if faces else ''}Truncation psi {PSI:g}; columns count standard deviations (SD) "
        "of the generator's own codes along each path; the middle column is the untouched picture.</p>",
    ]
    for c in chapters:
        body += [f"<h2>{page.say(c.title)}</h2><p>{page.say(c.text)}</p>"]
        for name in c.show:
            rows = [r for r in sheets[c.method] if r.name == name]
            body.append(
                f"<h3>{page.say(name)}</h3>" + page.strip(rows, f"One SD: {c.paths[name].about}, in SD of each score.")
            )
        body.append(_effects(c, scorer))
        sheet = f"steerable sheet {g.name} --paths demo/{c.method}.safetensors --seeds {seeds} --psi {PSI:g} --size 256"
        body.append(page.commands([c.command, f"{sheet} -o {c.method}.png"]))
    body.append(_control(control, scorer))
    body.append("<h2>Time</h2>" + page.table([{"part": k, "seconds": f"{v:.1f}"} for k, v in clock.spent.items()]))
    body.append(
        f'<p class="faint">{n} labeled pictures served both the boundaries and the standard deviations of the scores. Effects were '
        f"measured on {MEASURED} other people. Scores come from automatic readers of pictures, and all pictures from one "
        "generator: this says what the generator does, not what people are.</p>"
    )
    return page.document("steerable demo", body)


def _effects(c: Chapter, scorer: Scorer) -> str:
    rows = []
    for p in c.paths:
        by = {e.score: e for e in p.effects}
        kept = c.paths.notes.get("identity", {}).get(p.name)
        cells = {s: cell(by[s]) if s in by else "–" for s in scorer.names}
        rows.append({"path": p.name, **cells, **({"identity kept": f"{kept[0]:.2f}"} if kept else {})})
    note = (
        "Change of each score per SD, in SD of that score, ± the 95 % interval over people. "
        "Identity kept: cosine of face embeddings at ±1 SD."
    )
    return f"<details><summary>All effects, with error bars</summary>{page.table(rows)}<small>{note}</small></details>"


def _control(control: Paths, scorer: Scorer) -> str:
    largest = [max((abs(e.standardized) for e in p.effects), default=0.0) for p in control]
    text = (
        f"For comparison, {len(control)} random directions change their most changed score by "
        f"{', '.join(f'{v:.2f}' for v in largest)} SD per SD. A path is named only where its effect is no accident."
    )
    return f"<h2>Control: random directions</h2><p>{text}</p>" + _effects(
        Chapter("random", "", "", "", control, ()), scorer
    )
