"""One self-contained page: pictures inside it, no request to anywhere, all text escaped."""

import html
from collections.abc import Sequence
from typing import Any

from ..images import to_pil
from ..sheet import Row, embedded
from .report import cell

STYLE = """
:root{color-scheme:light dark;--ink:#18181b;--faint:#6b7280;--line:#e4e4e7;--paper:#fff;--soft:#f4f4f5;--accent:#2563eb}
@media(prefers-color-scheme:dark){:root{--ink:#f4f4f5;--faint:#a1a1aa;--line:#3f3f46;--paper:#18181b;--soft:#27272a;--accent:#60a5fa}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:24px;max-width:1080px;color:var(--ink);background:var(--paper)}
h1{font-size:28px;margin:0 0 4px}h2{font-size:21px;margin:44px 0 4px;border-top:1px solid var(--line);padding-top:24px}
h3{font-size:16px;margin:22px 0 2px}p{margin:4px 0 10px}.faint,small,figcaption{color:var(--faint)}small,figcaption{font-size:14px}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;white-space:nowrap}
th{color:var(--faint);font-weight:500}.prose td{white-space:normal}
.strip{border-spacing:0;margin:0;width:100%;table-layout:fixed}
.strip td,.strip th{border:0;padding:1px;text-align:center}.strip img{display:block;width:100%;height:auto}
figure{margin:0 0 8px}pre{background:var(--soft);border-radius:6px;padding:10px 12px;overflow-x:auto;font-size:13px;margin:8px 0}
details summary{cursor:pointer;color:var(--accent);font-size:14px}.strong{font-weight:600}
"""


def say(text: Any) -> str:
    return html.escape(str(text))


def document(title: str, body: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{say(title)}</title><style>{STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def commands(lines: Sequence[str]) -> str:
    return "<pre>" + "\n".join(say(line) for line in lines) + "</pre>"


def table(rows: Sequence[dict[str, Any]], prose: bool = False) -> str:
    """Like things as a table. Lines of prose are broken; a table of figures is scrolled where it is too wide."""
    if not rows:
        return ""
    heads = "".join(f"<th>{say(k)}</th>" for k in rows[0])
    lines = "".join("<tr>" + "".join(f"<td>{say(cell(v))}</td>" for v in row.values()) + "</tr>" for row in rows)
    return f'<div class="wide"><table{" class=prose" if prose else ""}><tr>{heads}</tr>{lines}</table></div>'


def strip(rows: Sequence[Row], caption: str) -> str:
    """One path for one or several people, with t above the columns."""
    heads = "".join(f"<th><small>{t:+g} SD</small></th>" if t else "<th><small>0</small></th>" for t in rows[0].t)
    lines = []
    for row in rows:
        cells = (
            f'<td><img src="{embedded(p)}" alt="{say(row.name)} at {t:+g} standard deviations" width="{p.width}" height="{p.height}"></td>'
            for p, t in zip(to_pil(row.pictures), row.t, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<figure><table class="strip"><tr>{heads}</tr>{"".join(lines)}</table><figcaption>{say(caption)}</figcaption></figure>'
