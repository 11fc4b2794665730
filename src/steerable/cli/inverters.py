"""Inverters as commands: `steerable invert METHOD GENERATOR PHOTO… -o me.safetensors`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .arguments import Device, Json, Subject
from .options import Methods, taking


class Inverters(Methods):
    kind = "inverter"

    def table(self) -> Mapping[str, Any]:
        from ..invert import KNOWN

        return KNOWN

    def run(self, method: Any) -> Callable[..., None]:
        def command(**given: Any) -> None:
            from . import photos

            own = {name: given.pop(name) for name in OWN}
            photos.invert(method.with_settings(given), **own)

        return taking(command, method, OWN)


OWN = {  # parameter -> its annotation, and its default
    "generator": (Subject, ...),
    "sources": (Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")], ...),
    "observe": (
        Annotated[
            str | None, typer.Option(help="What was seen of the picture: mask:FILE, downsample:8, gray, blur:3 …")
        ],
        None,
    ),
    "crop": (
        Annotated[
            str,
            typer.Option(help="face: as FFHQ is aligned; center; auto: face where the generator's name says FFHQ"),
        ],
        "auto",
    ),
    "face": (Annotated[int | None, typer.Option(help="Which of several faces; 0 is the largest.")], None),
    "out": (
        Annotated[
            Path | None,
            typer.Option("-o", "--out", help="The file to write, or the folder.", show_default="beside you"),
        ],
        None,
    ),
    "page": (
        Annotated[bool, typer.Option("--page/--no-page", help="Write a page with target, reconstruction and error.")],
        True,
    ),
    "json": (Json, False),
    "device": (Device, "auto"),
}
