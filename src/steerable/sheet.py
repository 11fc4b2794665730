"""Contact sheets: rows are paths, columns are t, for one or several people side by side."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .edit import Edit, Inversion
from .errors import SettingError
from .generator import Generator
from .images import to_pil
from .method import Progress, quiet
from .path import Path, Paths
from .render import render
from .renderer import Renderer, fitted
from .space import Latents
from .threads import each

INK, FAINT, PAPER = (24, 24, 27), (113, 113, 122), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """One line of a sheet: what moves, for whom, and the pictures at each t."""

    name: str
    about: str
    t: tuple[float, ...]
    pictures: Float[Tensor, "c 3 h w"]


def strips(
    generator: Generator,
    base: Latents | Inversion,
    paths: Paths | Sequence[Path],
    t: Sequence[float] = (-3, -1.5, 0, 1.5, 3),
    *,
    edits: Sequence[Edit] = (),
    size: int = 128,
    exact: bool = False,
    progress: Progress = quiet,
) -> list[Row]:
    """The rows of a sheet: for each path and each sample, pictures [c 3 size size] at the given t.

    Previews are used where the generator has them at `size`, full pictures scaled down if `exact`. `edits` (truncation, say) apply to all.
    """
    if not t:
        raise SettingError("a sheet needs at least one t; -3,-1.5,0,1.5,3 is usual")
    samples = base.latents if isinstance(base, Inversion) else base
    if isinstance(base, Inversion) and len(samples) > 1:
        raise SettingError("a sheet of inversions takes one at a time")
    full = exact or size >= generator.resolution

    def row(work: tuple[Path, int]) -> Row:
        path, i = work
        one, renderer, cells = base if isinstance(base, Inversion) else samples[i], Renderer(generator), []
        for strength in t:
            moves = [*edits, path.at(strength)] if strength else list(edits)
            cells.append(fitted(render(generator, one, moves), size) if full else renderer(one, moves, size=size))
        return Row(path.name, path.about, tuple(t), torch.cat(cells))

    found = []
    work = [(p, i) for p in paths for i in range(len(samples))]
    at_once = torch.get_num_threads()
    parts = [work[i : i + at_once] for i in range(0, len(work), at_once)]
    for part in progress.over(parts, "rows of pictures", len(parts)):
        found += each(row, part)
    return found


def sheet(
    generator: Generator,
    base: Latents | Inversion,
    paths: Paths | Sequence[Path],
    t: Sequence[float] = (-3, -1.5, 0, 1.5, 3),
    *,
    edits: Sequence[Edit] = (),
    size: int = 128,
    title: str = "",
    progress: Progress = quiet,
) -> Image.Image:
    """One picture: rows = paths (each for every sample), columns = t in standard deviations."""
    return drawn(strips(generator, base, paths, t, edits=edits, size=size, progress=progress), title=title)


def drawn(rows: Sequence[Row], title: str = "") -> Image.Image:
    """Rows as one picture. A name is written once, above the first of its rows; the columns are headed with t."""
    if not rows:
        raise SettingError("there is nothing to draw: no paths, or no samples")
    h, w = rows[0].pictures.shape[-2:]
    columns = max(len(r.pictures) for r in rows)
    big, small = (ImageFont.load_default(max(12, h // 8)), ImageFont.load_default(max(10, h // 11)))
    pad, head, width = max(4, h // 24), max(16, h // 6), max(columns * w, 320)
    tops, y = [], pad + (2 * head if title else 0) + head
    for before, row in zip([None, *rows], rows, strict=False):
        if before is None or before.name != row.name:
            y += head + (head * 4 // 5 if row.about else 0)
        tops.append(y)
        y += h + pad
    page = Image.new("RGB", (width + 2 * pad, y), PAPER)
    pen = ImageDraw.Draw(page)
    if title:
        pen.text((pad, pad), cut(pen, title, big, width), INK, big)
    for c, t in enumerate(rows[0].t):
        label = f"{t:+g} SD" if t else "0"
        pen.text(
            (pad + c * w + w // 2, tops[0] - head - (head * 4 // 5 if rows[0].about else 0) - head // 2),
            label,
            FAINT,
            small,
            anchor="mm",
        )
    previous = None
    for row, top in zip(rows, tops, strict=True):
        if row.name != previous:
            above = top - (head * 4 // 5 if row.about else 0) - head // 2
            pen.text((pad, above), cut(pen, row.name, big, width), INK, big, anchor="lm")
            if row.about:
                pen.text((pad, top - head * 2 // 5), cut(pen, row.about, small, width), FAINT, small, anchor="lm")
            previous = row.name
        for c, picture in enumerate(to_pil(row.pictures)):
            page.paste(picture, (pad + c * w, top))
    return page


def cut(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as fits, on one line."""
    text = " ".join(text.split())
    if pen.textlength(text, font) <= width:
        return text
    while text and pen.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"


def embedded(picture: Image.Image, quality: int = 88) -> str:
    """A picture as the source of an <img>, inside the page."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def page(rows: Sequence[Row], title: str = "") -> str:
    """Rows as a self-contained HTML page; all text is escaped."""
    say = lambda text: html.escape(str(text))
    heads = "".join(f"<th>{t:+g} SD</th>" if t else "<th>0</th>" for t in rows[0].t) if rows else ""
    body, previous = [], None
    for row in rows:
        if row.name != previous:
            about = f"<small>{say(row.about)}</small>" if row.about else ""
            body.append(f'<tr class="name"><td colspan="{len(row.t)}"><b>{say(row.name)}</b> {about}</td></tr>')
            previous = row.name
        cells = (
            f'<td><img src="{embedded(p)}" alt="{say(row.name)} at {t:+g} SD" width="{p.width}" height="{p.height}"></td>'
            for p, t in zip(to_pil(row.pictures), row.t, strict=True)
        )
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{say(title)}</title>"
        "<style>body{font:16px system-ui,sans-serif;margin:24px;color:#18181b}td,th{padding:2px}th,small{color:#71717a;font-weight:400}"
        ".name td{padding-top:16px}img{display:block;max-width:100%;height:auto}</style>"
        f"<h1>{say(title)}</h1><table><tr>{heads}</tr>{''.join(body)}</table></html>"
    )
