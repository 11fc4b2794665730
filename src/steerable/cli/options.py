"""Methods as commands: the fields of a method are its options, so nothing is declared twice."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Methods(TyperGroup):
    """The commands `discover METHOD`, made when one is named; only then is anything heavy imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return []

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from ..discover import DISCOVERERS
        from ..errors import UnknownName

        if cmd_name not in DISCOVERERS:
            raise UnknownName("discoverer", cmd_name, DISCOVERERS)
        app = typer.Typer(add_completion=False)
        app.command(cmd_name, help=_help(DISCOVERERS[cmd_name]))(_discover(DISCOVERERS[cmd_name]))
        return typer.main.get_command(app)


def _help(method: Any) -> str:
    return f"{inspect.cleandoc(method.__doc__ or '').splitlines()[0]} ({method.paper})"


def _discover(method: Any) -> Any:
    """A function with the method's settings as keyword parameters, for typer to read."""

    def command(ctx: Any, **given: Any) -> None:
        from . import work

        fixed = {name: given.pop(name) for name in ("generator", "out", "scores", "yes_json", "device")}
        if suited := given.pop("preset"):
            given = {k: v for k, v in given.items() if getattr(ctx.get_parameter_source(k), "name", "") != "DEFAULT"}
        work.discover(
            method, fixed["generator"], given, suited, fixed["scores"], fixed["out"], fixed["yes_json"], fixed["device"]
        )

    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
        _parameter("generator", str, typer.Argument(help="A generator's name, or a checkpoint."), ...),
        *(_parameter(name, *_option(name, field)) for name, field in method.schema().items()),
        _parameter(
            "preset",
            bool,
            typer.Option("--preset", help="Take settings that suit this generator where none are given."),
            False,
        ),
        _parameter(
            "scores",
            str | None,
            typer.Option("--scores", help="What supervises: a score (face, age, face+age …) or a CSV of labels."),
            None,
        ),
        _parameter(
            "out",
            Path | None,
            typer.Option("-o", "--out", help="The file to write. [default: METHOD-GENERATOR.safetensors]"),
            None,
        ),
        _parameter("yes_json", bool, typer.Option("--json", help="Print the result as JSON."), False),
        _parameter("device", str, typer.Option("--device", help="cpu, cuda, mps, or auto."), "auto"),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _parameter(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
    missing = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=missing, annotation=Annotated[kind, info])


def _option(name: str, field: dict[str, Any]) -> tuple[Any, Any, Any]:
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
    return (kind | None if optional else kind), info, default
