"""Methods as commands: the fields of a method are its options, so nothing is declared twice."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from .arguments import Device, Json, Subject


class Methods(TyperGroup):
    """The commands `VERB METHOD`, made when one is named; only then is anything heavy imported."""

    kind: ClassVar[str]

    def table(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def run(self, method: Any) -> Callable[..., None]:
        """What the command of a method does, with all of its options as parameters."""
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        return []

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from ..errors import UnknownName

        methods = self.table()
        if cmd_name not in methods:
            raise UnknownName(self.kind, cmd_name, methods)
        method = methods[cmd_name]
        app = typer.Typer(add_completion=False)
        app.command(cmd_name, help=f"{first(method)} ({method.paper})")(self.run(method))
        return typer.main.get_command(app)


class Discoverers(Methods):
    kind = "discoverer"

    def table(self) -> Mapping[str, Any]:
        from ..discover import DISCOVERERS

        return DISCOVERERS

    def run(self, method: Any) -> Callable[..., None]:
        def command(ctx: Any, **given: Any) -> None:
            from . import work

            own = {name: given.pop(name) for name in DISCOVER if name not in ("ctx", "preset")}
            if suited := given.pop("preset"):
                given = {
                    k: v for k, v in given.items() if getattr(ctx.get_parameter_source(k), "name", "") != "DEFAULT"
                }
            work.discover(method, settings=given, suited=suited, **own)

        return taking(command, method, DISCOVER)


DISCOVER = {  # parameter -> its annotation, and its default (... for what must be given)
    "ctx": (typer.Context, ...),
    "generator": (Subject, ...),
    "preset": (
        Annotated[bool, typer.Option("--preset", help="Take settings that suit this generator where none are given.")],
        False,
    ),
    "scores": (
        Annotated[
            str | None, typer.Option(help="What supervises: a score (face, age, face+age …) or a CSV of labels.")
        ],
        None,
    ),
    "out": (
        Annotated[
            Path | None,
            typer.Option("-o", "--out", help="The file to write.", show_default="METHOD-GENERATOR.safetensors"),
        ],
        None,
    ),
    "json": (Json, False),
    "device": (Device, "auto"),
}


def first(method: Any) -> str:
    """What a method or a preset does, in a line."""
    return getattr(method, "about", None) or inspect.cleandoc(method.__doc__ or "").splitlines()[0]


def taking(command: Callable[..., None], method: Any, own: Mapping[str, tuple[Any, Any]]) -> Callable[..., None]:
    """The command as typer is to read it: what must be given, the method's settings, then its other options."""
    settings = {name: _option(name, field) for name, field in method.schema().items()}
    needed = {name: told for name, told in own.items() if told[1] is ...}
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is ... else default,
            annotation=annotation,
        )
        for name, (annotation, default) in {**needed, **settings, **own}.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _option(name: str, field: dict[str, Any]) -> tuple[Any, Any]:
    """The annotation and the default of a setting."""
    kind = field["type"] if field["type"] in (int, float, str, bool) else str
    limits = [f"{sign} {field[key]:g}" for key, sign in (("ge", ">="), ("le", "<=")) if field.get(key) is not None]
    choices = [" | ".join(field["choices"])] if field.get("choices") else []
    text = field.get("help", "") + (f" ({', '.join([*choices, *limits])})" if choices or limits else "")
    default = field["default"]
    optional = field["optional"] or default is None
    flag = f"--{name.replace('_', '-')}"
    info = typer.Option(f"{flag}/--no-{flag[2:]}" if kind is bool else flag, help=text)
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return Annotated[kind | None if optional else kind, info], default
