"""`steerable compare invert`: the same pictures for every inverter, one table with intervals, pictures side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

import steerable as st

from ..errors import SettingError, SteerableError, UnknownName
from ..generator import Generator
from ..images import files, read_images, to_pil
from ..invert import KNOWN
from ..measure.editability import Point, curve
from ..measure.inversions import Attempt, Contest, Inversions, Picture, Rival, planned, possible
from ..nn.perceptual import SMALLEST
from ..photo import by_face, cropped
from ..renderer import fitted
from ..score import kept
from ..sheet import embedded
from . import comparing, page, report
from .comparing import FACES, cell
from .work import bundle, checked_crop, opened

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
LEAST = 96  # px, on a narrow page
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
    comparing.checked(out)
    checked_crop(crop)
    photos = files(sources) if sources else []
    g = opened(generator, device)
    faces = by_face(crop, g)
    plan = planned(
        g,
        entries,
        photographs(g, photos, faces, bars) if photos else pictures,
        scores=scores,
        targets=comparing.listed(targets),
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
        comparing.written(found, out, g, lambda: html(found, pictured(found, plan, curves, bars)))
    lines = [line(r, found) for r in found.taking_part]
    comparing.told(found, lines, f"{g.name}, pictures: {len(found.pictures)}", out, as_json, bars)


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
    methods = {name: KNOWN[method] for name, method in entries.items()}
    return comparing.settings(given, methods, "method of this comparison", "optimize.steps=100")


def photographs(g: Generator, photos: Sequence[Path], faces: bool, bars: Any) -> list[Picture]:
    made = []
    for file in photos:
        try:
            photo = read_images(file)
            where = cropped(photo, g, faces)
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
    nets = [kind for kind in ("alex", "vgg") if min(g.size) >= SMALLEST[kind] * 2 and comparing.lpips(kind, bars)]
    return (*possible(g.size), *(f"lpips-{kind}" for kind in nets), *(("identity",) if faces else ()))


# -- as text ------------------------------------------------------------------------------------------------------------------------


def used(found: Inversions) -> list[str]:
    """The columns that somebody has."""
    return [name for name in CELLS if any(r.figure(name) is not None for r in found.taking_part)]


def line(r: Rival, found: Inversions) -> dict[str, str]:
    return {"method": r.name, **{CELLS[name][0]: cell(r.figure(name), CELLS[name][2]) for name in used(found)}}


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
        comparing.STYLE,
        f"<h1>Inverters on {say(found.generator)}: {len(found.taking_part)} compared</h1>",
        f'<p class="faint">{say(protocol(found))}</p>',
        f"<h2>In all</h2><p>Means over pictures (n = {len(found.pictures)}), ± half of their 95 % interval.</p>",
        comparing.table([line(r, found) for r in found.taking_part], found),
        comparing.legend({CELLS[name][0]: CELLS[name][1] for name in used(found)}),
        comparing.left_out(found),
        "<h2>Picture by picture</h2>",
    ]
    for i, name in enumerate(found.pictures):
        body.append(f"<h3>{say(name)}</h3>")
        body.append(page.table([attempt_line(r, r.attempts[i], found) for r in found.taking_part]))
        if name in shown.given:
            body.append(_strip(name, found, shown))
        body += [
            _curve(r.name, shown.curves[name, r.name]) for r in found.taking_part if (name, r.name) in shown.curves
        ]
    told = [comparing.called(r.name, r.method, r.settings) for r in found.rivals]
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


def _strip(name: str, found: Inversions, shown: Shown) -> str:
    """For each inverter the picture and what was made of it; too many to be seen side by side are scrolled."""
    heads = ["given", *next(iter(shown.made.values()))]
    top = "".join(f"<th><small>{page.say(h)}</small></th>" for h in heads)
    lines = []
    for r in found.taking_part:
        cells = "".join(_img(v, f"{name}, {r.name}, {k}") for k, v in shown.made[name, r.name].items())
        lines.append(f'<tr><td class="whose" colspan="{len(heads)}"><small>{page.say(r.name)}</small></td></tr>')
        lines.append(f"<tr>{_img(shown.given[name], name)}{cells}</tr>")
    wide = f'<table class="strip" style="min-width:{LEAST * len(heads)}px">'
    return f'<div class="wide">{wide}<tr>{top}</tr>{"".join(lines)}</table></div>'


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
