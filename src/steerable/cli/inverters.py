"""Inverters as commands: `steerable invert METHOD GENERATOR PHOTO… -o me.safetensors`."""

import inspect
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from .options import _option, _parameter


class Inverters(TyperGroup):
    """The commands `invert METHOD`, made when one is named; only then is anything heavy imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return []

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from ..errors import UnknownName
        from ..invert import KNOWN

        if cmd_name not in KNOWN:
            raise UnknownName("inverter", cmd_name, KNOWN)
        method: Any = KNOWN[cmd_name]
        about = getattr(method, "about", None) or inspect.cleandoc(method.__doc__ or "").splitlines()[0]
        app = typer.Typer(add_completion=False)
        app.command(cmd_name, help=f"{about} ({method.paper})")(_invert(method))
        return typer.main.get_command(app)


def _invert(method: Any) -> Any:
    """A function with the settings of a method or preset as keyword parameters, for typer to read."""

    def command(**given: Any) -> None:
        from . import photos

        own = {name: given.pop(name) for name in OWN}
        photos.invert(method.with_settings(given), **own)

    def option(name: str, kind: Any, default: Any, help: str, *flags: str) -> inspect.Parameter:
        return _parameter(name, kind, typer.Option(*flags, help=help), default)

    own = [
        _parameter("generator", str, typer.Argument(help="A generator's name, or a checkpoint."), ...),
        _parameter("sources", list[Path], typer.Argument(help="Photographs, or folders of them."), ...),
        option("observe", str | None, None, "What was seen of the picture: mask:FILE, downsample:8, gray, blur:3 …"),
        option(
            "crop", str, "auto", "face: as FFHQ is aligned; center; auto: face where the generator's name says FFHQ"
        ),
        option("face", int | None, None, "Which of several faces; 0 is the largest."),
        option("out", Path | None, None, "The file to write, or the folder. [default: beside you]", "-o", "--out"),
        option("page", bool, True, "Write a page with target, reconstruction and error.", "--page/--no-page"),
        option("json", bool, False, "Print the result as JSON.", "--json"),
        option("device", str, "auto", "cpu, cuda, mps, or auto."),
    ]
    settings = [_parameter(name, *_option(name, field)) for name, field in method.schema().items()]
    command.__signature__ = inspect.Signature([*own[:2], *settings, *own[2:]])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in own + settings}
    return command


OWN = ("generator", "sources", "observe", "crop", "face", "out", "page", "json", "device")
