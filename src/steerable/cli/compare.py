"""`steerable compare`: the same work for every method, one table with intervals, sheets side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import steerable as st

from ..discover import DISCOVERERS
from ..errors import UnknownName
from ..generator import Generator
from ..measure.compare import Plan, Rules, judge, planned
from ..measure.comparison import Comparison, Contender, Judged
from ..measure.entrants import TABLES, TRUTH
from ..score import kept
from ..sheet import Row, strips
from . import comparing, page, report
from .comparing import FACES, cell
from .work import numbers, opened, truncation

SHARES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the matched strength, the columns of a sheet
COLUMNS = {  # figure -> heading, what it says, digits
    "effect": ("effect", "Change of the target at the strength judged, in SD of the target; 1 is aimed at.", 2),
    "leakage": (
        "leakage",
        "Mean |change| of all other scores, in SD, for each SD of effect; where the target was reached.",
        3,
    ),
    "identity": ("identity kept", "Cosine of face embeddings before and after.", 2),
    "rising": ("rising", "Share of people for whom the target grows at every step of -t, 0, t/2, t.", 2),
    "linear": ("straight", "Squared correlation of the target with t over these steps.", 2),
    "angle": ("angle", "Degrees in w to the move that raises this factor alone.", 0),
    "correlation": ("agreement", "Correlation of the change of the picture with the true change.", 3),
    "psnr": ("PSNR", "Edited against truly edited picture, dB.", 1),
    "perceptual": ("LPIPS", "The same, by LPIPS (alex); lower is nearer.", 3),
}
SETS = ("DCI-D", "DCI-C", "MIG", "RMIG", "SAP", "modularity", "IRS")


def run(
    kind: str,
    generator: str,
    methods: Sequence[str],
    *,
    scores: str | None,
    targets: str | None,
    supervision: str | None,
    seeds: int,
    people: int,
    labels: int | None,
    psi: float | None,
    size: int | None,
    reach: float,
    given: Sequence[str],
    shown: str,
    controls: bool,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    bars, wanted = report.Bars(), settings(given)
    comparing.checked(out)
    g = opened(generator, device)
    rules = Rules(seeds=seeds, people=people, labels=labels, size=size, reach=reach, settings=wanted, controls=controls)
    plan = prepared(kind, g, methods, rules, scores, targets, supervision, psi, bars)
    bars.note(
        f"{len(plan.entrants)} methods, {len(plan.targets)} targets, {people} people; what is done is kept, if interrupted"
    )
    found = plan.made(plan.contender(e, bars) for e in bars.over(plan.entrants, "Methods", len(plan.entrants)))
    if out is not None:
        people_shown = numbers(shown)[:3]
        comparing.written(found, out, g, lambda: html(found, pictured(found, plan, people_shown, bars)))
    lines = [line(c, found) for c in found.taking_part]
    comparing.told(found, lines, f"{g.name}, psi {plan.how['psi']:g}", out, as_json, bars)


def prepared(
    kind: str,
    g: Generator,
    methods: Sequence[str],
    rules: Rules,
    scores: str | None,
    targets: str | None,
    supervision: str | None,
    psi: float | None,
    bars: Any,
) -> Plan:
    """A plan as the command line means it: psi 1 where the truth is known and else 0.7, identity for faces, LPIPS where it can be had."""
    knows = hasattr(g, "factor_names")
    if psi is None:
        psi = 1.0 if knows or not truncation(g, None) else 0.7
    scorer, listed = judge(scores, g)
    faces, distance = FACES & set(scorer.name.split("+")), comparing.lpips("alex", bars) if knows else None
    return planned(
        kind,
        g,
        everyone(kind) if list(methods) == ["all"] else list(methods),
        replace(rules, psi=psi, identity=kept if faces else None, distance=distance),
        scorer,
        comparing.listed(targets) or listed,
        st.score(supervision) if supervision else None,
        bars,
    )


def everyone(kind: str) -> list[str]:
    if kind not in TABLES:
        raise UnknownName("verb with methods to compare", kind, TABLES)
    return [name for name, m in DISCOVERERS.items() if "control" not in m.tags]


def settings(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    return comparing.settings(given, DISCOVERERS, "method", "ganspace.k=20")


# -- as text ----------------------------------------------------------------------------------------------------------------------


def used(found: Comparison) -> list[str]:
    """The figures that somebody has."""
    return [name for name in COLUMNS if any(getattr(j, name) is not None for c in found.taking_part for j in c.judged)]


def line(c: Contender, found: Comparison) -> dict[str, str]:
    """One method in all."""
    cells = {COLUMNS[name][0]: cell(c.figure(name), COLUMNS[name][2]) for name in used(found)}
    steady = c.mean("stability")
    sets = {name: f"{c.sets[name]:.2f}" if name in c.sets else "–" for name in SETS} if found.how["truth"] else {}
    return {
        "method": c.name,
        "reached": f"{c.reached} of {len(c.judged)}",
        **cells,
        "stable": "–" if steady is None else f"{steady:.2f}",
        **sets,
        "paths": str(c.paths),
        "CPU s": "–" if c.seconds is None else f"{c.seconds:.1f}",
    }


def target_line(c: Contender, found: Comparison, target: str) -> dict[str, str]:
    j = c[target]
    return {
        "method": c.name,
        "path": j.path.name,
        "t": strength(c, target),
        **{COLUMNS[name][0]: cell(getattr(j, name), COLUMNS[name][2]) for name in used(found)},
        "leaks most": leaks_most(j) if j.reached else "–",
        "stable": "–" if j.stability is None else f"{j.stability:.2f}",
        "by": "truth" if j.exact else "scorer",
    }


def strength(c: Contender, target: str) -> str:
    """The t that was judged, and whether it raises the target by 1 SD, in every seed."""
    j, n = c[target], len(c.seeds)
    told = "" if j.reached == n else " (not reached)" if j.reached == 0 else f" (reached by {j.reached} of {n} seeds)"
    return f"{j.t:+.2f}{told}"


def leaks_most(j: Judged) -> str:
    return f"{j.worst[0]} {j.worst[1]:.2f}" if j.worst[0] else "–"


# -- as a file ----------------------------------------------------------------------------------------------------------------------


def pictured(found: Comparison, plan: Plan, people: Sequence[int], bars: Any) -> dict[tuple[str, str], list[Row]]:
    """Rows of pictures for each target and method, from minus to plus the matched strength."""
    g, psi, made = plan.generator, float(plan.how["psi"]), {}
    base, first = g.sample(seeds=list(people)), truncation(g, psi)
    work = [(target, c) for target in found.targets for c in found.taking_part if c.method != "duplicated"]
    for target, c in bars.over(work, "Pictures for the page", len(work)):
        j: Judged = c[target]
        t = [float(f"{j.t * share:.2g}") for share in SHARES]
        made[target, c.name] = strips(g, base, [j.path], t, edits=first, size=min(g.resolution, 128))
    return made


def html(found: Comparison, sheets: Mapping[tuple[str, str], list[Row]]) -> str:
    how, say = found.how, page.say
    body = [
        comparing.STYLE,
        f"<h1>Directions on {say(found.generator)}: {len(found.taking_part)} methods compared</h1>",
        f'<p class="faint">{say(protocol(found))}</p>',
        "<h2>In all</h2>",
        f"<p>Means over {len(found.targets)} targets, ± the half of the 95 % interval over targets. Controls come last, in gray.</p>",
        comparing.table([line(c, found) for c in found.taking_part], found),
        _legend(found),
        comparing.left_out(found),
    ]
    links = "".join(f'<a href="#t{i}">{say(target)}</a>' for i, target in enumerate(found.targets))
    body.append(f"<h2>Target by target</h2><nav>{links}</nav>")
    for i, target in enumerate(found.targets):
        body.append(f'<h3 id="t{i}">{say(target)}</h3>')
        body.append(comparing.table([target_line(c, found, target) for c in found.taking_part], found))
        figures = [_sheet(c, target, sheets[target, c.name]) for c in found.taking_part if (target, c.name) in sheets]
        body.append(f'<div class="side">{"".join(figures)}</div>')
    body.append("<h2>What else changes</h2><p>Every score at the strength judged, in SD; rows are targets.</p>")
    body += [_changes(c, found) for c in found.taking_part]
    body.append("<h2>Settings</h2>" + page.commands([_settings(c) for c in found.taking_part]))
    body.append(
        '<p class="faint">'
        + ("Rendered heads; nobody is shown. " if how["truth"] else "Scores come from automatic readers of pictures. ")
        + "This says what one generator does, not what people are.</p>"
    )
    return page.document(f"{found.generator}: methods compared", body)


def protocol(found: Comparison) -> str:
    how = found.how
    seen = f" in previews of {how['size']} px" if how["size"] else ""
    source = "the generator's own truth" if how["truth"] else f"the scorer {how['scorer']}{seen}"
    return (
        f"Truncation psi {how['psi']:g}. Learned from {how['labels']} pictures labeled by {how['supervision']}{seen}. For each target the "
        f"path that leaks least, of those that raise the target by 1 SD within ±{how['reach']:g} SD of codes, was chosen on "
        f"{how['chosen on']} people and judged on {how['people']} others (seeds from {how['first person']}) by {source}, at the strength "
        f"that raises the target by 1 SD. Up to {how['seeds']} seeds a method; intervals are of 95 %."
    )


def _legend(found: Comparison) -> str:
    meanings = {COLUMNS[name][0]: COLUMNS[name][1] for name in used(found)}
    meanings["stable"] = "Mean |cosine| of the best paths of different seeds; straight paths only."
    if found.how["truth"]:
        about = "Scores of the whole set of paths (40 at most), by intervention; 1 is best. They depend on how many paths there are."
        meanings["DCI-D … IRS"] = about
    return comparing.legend(meanings)


def _sheet(c: Contender, target: str, rows: Sequence[Row]) -> str:
    j = c[target]
    name = "the true edit" if c.method == TRUTH else c.name
    short = f"not reached: {cell(j.effect, 2)} SD" if j.effect else "not reached, and nobody could be read"
    leak = f"leakage {cell(j.leakage, 2)}" if j.reached else short
    strip = page.strip(rows, f"{j.path.name}, {leak}")
    return f"<div><h4>{page.say(name)}</h4>{strip}</div>"


def _changes(c: Contender, found: Comparison) -> str:
    rows = []
    for j in c.judged:
        values = {s: f"{round(j.changes[s], 2) + 0.0:+.2f}" if s in j.changes else "–" for s in found.scores}
        rows.append({"target": j.target, "path": j.path.name, **values})
    return f"<details><summary>{page.say(c.name)}</summary>{page.table(rows)}</details>"


def _settings(c: Contender) -> str:
    return f"{comparing.called(c.name, c.method, c.settings)}; seeds {', '.join(map(str, c.seeds))}"
