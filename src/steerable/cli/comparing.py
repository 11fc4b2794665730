"""What comparisons of any methods share: how settings are read, and how the result is printed, written and laid out."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import steerable as st

from ..artifact import replacing
from ..errors import MissingExtra, SettingError, SourceError, UnknownName
from ..generator import Generator
from ..measure.comparison import Comparison
from ..measure.directions import Figure
from ..measure.inversions import Inversions
from ..nn.perceptual import LPIPS
from . import page, report

Compared = Comparison | Inversions
FACES = {"face", "age", "gender", "glasses"}  # scorers of photographs of people, whose identity can be judged
PAGES = (".html", ".htm")
STYLE = """<style>
body{max-width:1400px}.wide td:first-child,.wide th:first-child{position:sticky;left:0;background:var(--paper)}
tr.control td{color:var(--faint)}tr.first td{border-top:2px solid var(--line)}.pm{color:var(--faint);font-size:12px}
.side{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));gap:20px;margin:14px 0}
.side figure{margin:0}.side figcaption{overflow-wrap:anywhere}.side h4{margin:0 0 2px;font-size:15px;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:4px 14px;margin:10px 0}a{color:var(--accent)}.wide{max-width:100%}
.strip th{white-space:normal;vertical-align:bottom}.strip .whose{text-align:left;padding-top:8px}details{margin:8px 0}
@media(max-width:600px){body{padding:16px 12px}h1{font-size:23px}}
</style>"""


# -- what was asked -----------------------------------------------------------------------------------------------------------------


def checked(out: Path | None) -> None:
    """Raises SettingError for a file that a comparison is not written as."""
    if out is not None and out.suffix.lower() not in (*PAGES, ".json", ".safetensors"):
        raise SettingError(f"a comparison is written as .html, .json or .safetensors; got {out.name!r}")


def listed(names: str | None) -> list[str] | None:
    """Names with commas between."""
    return [name.strip() for name in names.split(",")] if names else None


def settings(given: Sequence[str], methods: Mapping[str, Any], kind: str, example: str) -> dict[str, dict[str, Any]]:
    """NAME.SETTING=VALUE, several, of `methods` by name; values as the methods' own options are written."""
    found: dict[str, dict[str, Any]] = {}
    for text in given:
        where, _, value = text.partition("=")
        base, _, name = where.partition(".")
        if not (name and value):
            raise SettingError(f"a setting is written as {example}; got {text!r}")
        if base not in methods:
            raise UnknownName(kind, base, methods)
        schema, name = methods[base].schema(), name.replace("-", "_")
        if name not in schema:
            raise UnknownName(f"setting of {methods[base].name}", name, schema)
        found.setdefault(base, {})[name] = _value(value, schema[name]["type"], text)
    return found


def _value(text: str, kind: Any, whole: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise SettingError(f"{whole!r}: true or false is expected")
        return text.lower() == "true"
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        raise SettingError(f"{whole!r}: a number is expected") from None


def lpips(kind: Literal["alex", "vgg"], bars: Any) -> LPIPS | None:
    """None, and a word about it, where its weights cannot be had."""
    try:
        return LPIPS(kind)
    except (SourceError, MissingExtra) as error:
        bars.note(f"no LPIPS ({kind}): {error}")
        return None


# -- the result ---------------------------------------------------------------------------------------------------------------------


def written(found: Compared, out: Path, generator: Generator, html: Callable[[], str]) -> None:
    """As the record, as JSON, or as a page, which is made only for that."""
    suffix = out.suffix.lower()
    if suffix == ".safetensors":
        st.save(found, out, generator=generator)
        return
    text = html() if suffix in PAGES else json.dumps(found.json(), indent=1, allow_nan=False)
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8")


def told(
    found: Compared, lines: Sequence[dict[str, Any]], title: str, out: Path | None, as_json: bool, bars: Any
) -> None:
    """On stdout; who took no part, on stderr."""
    if as_json:
        report.facts(found.json(), True)
        return
    report.rows(lines, False, title)
    for c in found.left_out:
        bars.note(f"{c.name} took no part: {c.reason}")
    if out is not None:
        report.facts({"file": str(out)}, False)


def cell(figure: Figure | None, digits: int) -> str:
    return "–" if figure is None else f"{figure.mean:.{digits}f}{half(figure, digits)}"


def half(figure: Figure, digits: int) -> str:
    """± half of the interval, if there is one."""
    low, high = figure.low, figure.high
    return "" if low is None or high is None else f" ± {(high - low) / 2:.{digits}f}"


# -- parts of a page ----------------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Mapping[str, str]], found: Compared) -> str:
    """A row for each method, intervals in small print, controls in gray behind a line."""
    if not rows:
        return "<p>Nobody took part.</p>"
    controls = {c.name for c in found.taking_part if c.control}
    heads = "".join(f"<th>{page.say(k)}</th>" for k in rows[0])
    lines, before = [], False
    for row in rows:
        control = row["method"] in controls
        kind = "" if not control else ' class="control"' if before else ' class="control first"'
        before = control
        lines.append(f"<tr{kind}>{''.join(f'<td>{_faint(page.say(v))}</td>' for v in row.values())}</tr>")
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(lines)}</table></div>'


def _faint(text: str) -> str:
    mean, mark, half = text.partition(" ± ")
    return f'{mean} <span class="pm">± {half}</span>' if mark else text


def legend(meanings: Mapping[str, str]) -> str:
    """Heading of a column → what it says."""
    rows = [{"column": heading, "meaning": meaning} for heading, meaning in meanings.items()]
    return f"<details><summary>What the columns say</summary>{page.table(rows, prose=True)}</details>"


def left_out(found: Compared) -> str:
    rows = [{"method": c.name, "reason": c.reason} for c in found.left_out]
    return "<h3>Took no part</h3>" + page.table(rows, prose=True) if rows else ""


def called(name: str, method: str, settings: Mapping[str, Any]) -> str:
    """A method as it was configured, in one line."""
    return f"{name}: {method}({', '.join(f'{k}={v}' for k, v in settings.items())})"
