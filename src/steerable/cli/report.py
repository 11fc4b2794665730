"""How the command line speaks: progress on stderr, results on stdout as a table or as JSON."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

T = TypeVar("T")
err = Console(stderr=True)
out = Console()


def plain(text: str) -> str:
    """Text from files is not trusted: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else "�" if c != "\n" else " " for c in text)


class Bars:
    """Progress bars with the time that is left; the same two calls as `steerable.method.Progress`."""

    def over(self, items: Iterable[T], /, title: str, total: int | None = None) -> Iterator[T]:
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # type: ignore[arg-type]
        if not err.is_terminal:  # a log gets one line for each work, not a picture of a bar
            self.note(f"{title}: {total if total is not None else 'some'}")
            yield from items
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as progress:
            yield from progress.track(items, total=total, description=plain(title))

    def note(self, text: str, /) -> None:
        err.print(plain(text), style="dim", markup=False, highlight=False, soft_wrap=True)


def rows(items: Sequence[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """A list of like things."""
    if as_json:
        print(json.dumps(items, indent=2, default=str))
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in items[0] if items else ():
        table.add_column(name)
    for item in items:
        table.add_row(*(plain(cell(v)) for v in item.values()))
    wide = Console(width=None if out.is_terminal else 200)
    wide.print(table, markup=False) if not items else wide.print(table)


def facts(item: dict[str, Any], as_json: bool) -> None:
    """One thing: names and values."""
    if as_json:
        print(json.dumps(item, indent=2, default=str))
        return
    width = max((len(k) for k in item), default=0)
    for name, value in item.items():
        sys.stdout.write(f"{name:<{width}}  {plain(cell(value))}\n")


def cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3g}"
        case tuple() | list():
            return ", ".join(cell(v) for v in value)
    return str(value)
