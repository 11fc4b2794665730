"""`steerable compare invert`: the same pictures for every inverter, one table with intervals, pictures side by side."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

import steerable as st

from ..artifact import replacing
from ..errors import MissingExtra, SettingError, SourceError, SteerableError, UnknownName
from ..generator import Generator
from ..images import files, read_images, to_pil
from ..invert import KNOWN
from ..measure.directions import Figure
from ..measure.editability import Point, curve
from ..measure.inversions import Attempt, Contest, Inversions, Picture, Rival, planned, possible
from ..nn.perceptual import LPIPS, SMALLEST
from ..photo import aligned, centered
from ..renderer import fitted
from ..score import kept
from ..sheet import embedded
from . import page, report
from .compare import FACES, STYLE, _faint, _value
from .work import bundle, opened

CELLS = {  # name -> heading, what it says, digits
    "mse": ("MSE", "Mean square difference of values in [-1, 1].", 4),
    "psnr": ("PSNR", "dB, of peak 2.", 1),
    "ssim": ("SSIM", "Structural similarity at full size.", 3),
    "ms-ssim": ("MS-SSIM", "The same over five sizes.", 3),
    "lpips-alex": ("LPIPS alex", "Perceptual distance by AlexNet; lower is nearer.", 3),
    "lpips-vgg": ("LPIPS vgg", "The same by VGG-16.", 3),
    "identity": ("identity", "Cosine of face embeddings of the picture and its reconstruction.", 2),
    "effect": ("effect", "Editability: change of a target by one SD along its path, in SD of its score; mean over targets.", 2),
    "kept": ("kept", "Identity of the reconstruction before and after these edits.", 2),
    "same": ("same", "Identity of the picture given with the edited one.", 2),
    "steps": ("steps", "Steps of descent, of codes and weights.", 0),
    "seconds": ("s", "Seconds for one picture; of the processor, where there is no other device.", 0),
}  # fmt: skip
SIDE = 192  # px of a picture on the page
FEW = 6  # pictures shown


def run(
    generator: str,
    methods: Sequence[str],
    *,
    scores: str | None = None,
    targets: str | None = None,
    paths: Path | None = None,
    pictures: int = 4,
    labels: int | None = None,
    psi: float | None = None,
    given: Sequence[str] = (),
    crop: str = "auto",
    curves: bool = False,
    out: Path | None = None,
    as_json: bool = False,
    device: str = "auto",
) -> None:
    """METHODS may begin with a folder (or files) of photographs; without, `pictures` of the generator's own are taken."""
    bars = report.Bars()
    sources, names = parted(methods)
    entries = named(names)
    wanted = settings(given, entries)
    if out is not None and out.suffix.lower() not in (".html", ".htm", ".json", ".safetensors"):
        raise SettingError(f"a comparison is written as .html, .json or .safetensors; got {out.name!r}")
    photos = files(sources) if sources else []
    g = opened(generator, device)
    faces = crop == "face" or (crop == "auto" and "ffhq" in g.name.lower())
    plan = planned(
        g,
        entries,
        photographs(g, photos, faces, bars) if photos else pictures,
        scores=scores,
        targets=[name.strip() for name in targets.split(",")] if targets else None,
        paths=bundle(st.read(paths, generator=g)) if paths else None,
        psi=psi,
        labels=labels,
        settings=wanted,
        identity=kept if faces or FACES & set((scores or "").split(",")) else None,
        which=measures(g, faces, bars),
        progress=bars,
    )
    bars.note(f"{len(plan.entries)} inverters, {len(plan.pictures)} pictures; what is done is kept, if interrupted")
    found = plan.made(plan.rival(e, bars) for e in bars.over(plan.entries, "Inverters", len(plan.entries)))
    if out is not None:
        written(found, plan, out, curves, bars)
    if as_json:
        report.facts(found.json(), True)
        return
    report.rows([line(r, found) for r in found.taking_part], False, f"{g.name}, {len(found.pictures)} pictures")
    for r in found.left_out:
        bars.note(f"{r.name} took no part: {r.reason}")
    if out is not None:
        report.facts({"file": str(out)}, False)


# -- what was asked -----------------------------------------------------------------------------------------------------------------


def parted(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Folders and files of photographs first, then methods."""
    at = 0
    while at < len(words) and words[at] not in KNOWN and "=" not in words[at] and Path(words[at]).exists():
        at += 1
    return [Path(w) for w in words[:at]], list(words[at:])


def named(words: Sequence[str]) -> dict[str, str]:
    """Inverters by name: `optimize`, or `mine=optimize` to have one twice with other settings."""
    found: dict[str, str] = {}
    for word in words:
        name, _, method = word.partition("=")
        method = method or name
        if method not in KNOWN:
            raise UnknownName("inverter", method, KNOWN)
        if name in found:
            raise SettingError(f"{name!r} stands twice; write a={method} b={method} and --set a.SETTING=VALUE")
        found[name] = method
    return found


def settings(given: Sequence[str], entries: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """NAME.SETTING=VALUE, several, as for `compare discover`."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        where, _, value = text.partition("=")
        entry, _, name = where.partition(".")
        if not (name and value):
            raise SettingError(f"a setting is written as optimize.steps=100; got {text!r}")
        if entry not in entries:
            raise UnknownName("method of this comparison", entry, entries)
        schema, name = KNOWN[entries[entry]].schema(), name.replace("-", "_")
        if name not in schema:
            raise UnknownName(f"setting of {entries[entry]}", name, schema)
        found.setdefault(entry, {})[name] = _value(value, schema[name]["type"], text)
    return found


def photographs(g: Generator, photos: Sequence[Path], faces: bool, bars: Any) -> list[Picture]:
    made = []
    for file in photos:
        try:
            photo = read_images(file)
            where = aligned(photo, g.resolution) if faces else centered(photo, (g.size[0], g.size[1]))
        except SteerableError as error:
            if len(photos) == 1:
                raise
            bars.note(f"{file.name} is left out: {error}")
            continue
        made.append(Picture(file.stem, where.cut(photo).to(g.device, g.dtype)))
    if not made:
        raise SettingError("none of the photographs could be used")
    return made


def measures(g: Generator, faces: bool, bars: Any) -> tuple[str, ...]:
    """What can be measured at this size, and with the nets that can be had."""
    found = list(possible(g.size))
    for kind in ("alex", "vgg"):
        if min(g.size) >= SMALLEST[kind] * 2:
            try:
                LPIPS(kind)
                found.append(f"lpips-{kind}")
            except (SourceError, MissingExtra) as error:
                bars.note(f"no LPIPS ({kind}): {error}")
    return (*found, "identity") if faces else tuple(found)


# -- as text ------------------------------------------------------------------------------------------------------------------------


def cell(figure: Figure | None, name: str) -> str:
    digits = CELLS[name][2]
    if figure is None:
        return "–"
    half = "" if figure.low is None else f" ± {figure.mean - figure.low:.{digits}f}"
    return f"{figure.mean:.{digits}f}{half}"


def used(found: Inversions) -> list[str]:
    """The columns that somebody has."""
    return [name for name in CELLS if any(r.figure(name) is not None for r in found.taking_part)]


def line(r: Rival, found: Inversions) -> dict[str, str]:
    return {"method": r.name, **{CELLS[name][0]: cell(r.figure(name), name) for name in used(found)}}


def attempt_line(r: Rival, a: Attempt, found: Inversions) -> dict[str, str]:
    """One inverter on one picture."""
    told = {k: getattr(a, k) if k in ("steps", "seconds") else a.value(k) for k in used(found)}
    cells = {CELLS[k][0]: "–" if v is None else f"{v:.{CELLS[k][2]}f}" for k, v in told.items()}
    return {"method": r.name, **cells}


# -- as a file ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """The pictures of a page: by picture and inverter, the reconstruction, its error, and the edited ones; and the curves."""

    given: Mapping[str, Float[Tensor, "1 3 h w"]]
    made: Mapping[tuple[str, str], Mapping[str, Float[Tensor, "1 3 h2 w2"]]]
    curves: Mapping[tuple[str, str], Sequence[Point]]


def written(found: Inversions, plan: Contest, out: Path, curves: bool, bars: Any) -> None:
    if out.suffix.lower() == ".safetensors":
        st.save(found, out, generator=plan.generator)
        return
    if out.suffix.lower() == ".json":
        text = json.dumps(found.json(), indent=1, allow_nan=False)
    else:
        text = html(found, pictured(found, plan, curves, bars))
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8")


def pictured(found: Inversions, plan: Contest, curves: bool, bars: Any) -> Shown:
    g, made, bent = plan.generator, {}, {}
    entries = {e.name: e for e in plan.entries}
    work = [(p, r) for p in plan.pictures[:FEW] for r in found.taking_part]
    for p, r in bars.over(work, "Pictures for the page", len(work)):
        base = plan.sought(entries[r.name], p, bars).inversion
        plain = st.render(g, base)
        error = ((p.image - plain).abs().mean(1, keepdim=True) * 4 - 1).clamp(-1, 1).expand(-1, 3, -1, -1)
        small = {"reconstruction": plain, "error ×4": error}
        small |= {f"{t} +1 SD": st.render(g, base, [path.at(1.0)]) for t, path in plan.editing.paths.items()}
        made[p.name, r.name] = {k: fitted(v, min(SIDE, g.resolution)) for k, v in small.items()}
        if curves and base.latents.space.name == "w+" and not r.control:
            bent[p.name, r.name] = curve(g, base, p.image, plan.editing, which=plan.which, look=plan.look)
    given = {p.name: fitted(p.image, min(SIDE, g.resolution)) for p in plan.pictures[:FEW]}
    return Shown(given, made, bent)


def html(found: Inversions, shown: Shown) -> str:
    how, say = found.how, page.say
    body = [
        STYLE,
        f"<h1>Inverters on {say(found.generator)}: {len(found.taking_part)} compared</h1>",
        f'<p class="faint">{say(protocol(found))}</p>',
        f"<h2>In all</h2><p>Means over {len(found.pictures)} pictures, ± the half of the 95 % interval over them.</p>",
        _table([line(r, found) for r in found.taking_part], {r.name for r in found.taking_part if r.control}),
        _legend(found),
    ]
    if found.left_out:
        rows = [{"method": r.name, "reason": r.reason} for r in found.left_out]
        body.append("<h3>Took no part</h3>" + page.table(rows).replace("<td>", '<td style="white-space:normal">'))
    body.append("<h2>Picture by picture</h2>")
    for i, name in enumerate(found.pictures):
        body.append(f"<h3>{say(name)}</h3>")
        body.append(page.table([attempt_line(r, r.attempts[i], found) for r in found.taking_part]))
        if name in shown.given:
            body.append(_strip(name, found, shown))
        body += [
            _curve(r.name, shown.curves[name, r.name]) for r in found.taking_part if (name, r.name) in shown.curves
        ]
    told = [f"{r.name}: {r.method}({', '.join(f'{k}={v}' for k, v in r.settings.items())})" for r in found.rivals]
    body.append("<h2>Settings</h2>" + page.commands(told))
    if how["scorer"]:
        body.append('<p class="faint">Scores come from automatic readers of pictures; they say nothing of people.</p>')
    return page.document(f"{found.generator}: inverters compared", body)


def protocol(found: Inversions) -> str:
    how = found.how
    whose = (
        f"the generator's own, held out, truncated by psi {how['psi']:g}" if how["pictures"] == "own" else "photographs"
    )
    edits = ""
    if found.targets:
        paths = "given" if how["paths"] == "given" else "learned by ridge regression"
        edits = f" Edited for {', '.join(found.targets)} by {how['t']:+g} SD along paths {paths}, read by {how['scorer'] or 'nobody'}."
    return f"Pictures: {whose}. LPIPS looks at {how['look']} px at most.{edits} Time in {how['clock']}."


def _table(rows: Sequence[Mapping[str, str]], controls: set[str]) -> str:
    if not rows:
        return "<p>Nobody took part.</p>"
    heads = "".join(f"<th>{page.say(k)}</th>" for k in rows[0])
    lines = []
    for row in rows:
        kind = ' class="control first"' if row["method"] in controls else ""
        lines.append(f"<tr{kind}>{''.join(f'<td>{_faint(page.say(v))}</td>' for v in row.values())}</tr>")
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(lines)}</table></div>'


def _legend(found: Inversions) -> str:
    rows = [{"column": CELLS[name][0], "meaning": CELLS[name][1]} for name in used(found)]
    table = page.table(rows).replace("<td>", '<td style="white-space:normal">')
    return f"<details><summary>What the columns say</summary>{table}</details>"


def _strip(name: str, found: Inversions, shown: Shown) -> str:
    """The picture, then a row of pictures for each inverter."""
    heads = ["", *next(iter(shown.made.values()))]
    top = "".join(f"<th><small>{page.say(h)}</small></th>" for h in heads)
    lines = []
    for r in found.taking_part:
        cells = "".join(_img(v, f"{name}, {r.name}, {k}") for k, v in shown.made[name, r.name].items())
        lines.append(
            f"<tr>{_img(shown.given[name], name)}{cells}</tr><tr><td colspan={len(heads)}><small>{page.say(r.name)}</small></td></tr>"
        )
    return f'<table class="strip"><tr>{top}</tr>{"".join(lines)}</table>'


def _img(images: Tensor, about: str) -> str:
    return f'<td><img src="{embedded(to_pil(images)[0])}" alt="{page.say(about)}"></td>'


def _curve(name: str, points: Sequence[Point]) -> str:
    """What drawing the rows of w+ to their mean gives up of the likeness, and what it gains for edits."""
    rows = []
    for p in points:
        told = {k: p.scores[k] for k in CELLS if k in p.scores}
        told |= {k: sum(v.values()) / len(v) for k in ("effect", "kept", "same") if (v := getattr(p, k))}
        rows.append({"drawn to w": f"{p.share:.0%}", **{CELLS[k][0]: f"{v:.{CELLS[k][2]}f}" for k, v in told.items()}})
    return f"<details><summary>{page.say(name)}: likeness against editability</summary>{page.table(rows)}</details>"
