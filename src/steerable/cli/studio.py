"""`steerable studio`: the page in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import need

Password = Annotated[
    str | None, typer.Option(envvar="STEERABLE_STUDIO_PASSWORD", help="Ask for this before anybody is let in.")
]
Token = Annotated[
    str | None, typer.Option(envvar="STEERABLE_STUDIO_TOKEN", help="Let in whoever opens the address with ?token=THIS.")
]


def studio(
    generator: Annotated[str, typer.Argument(help="A generator's name.")] = "ffhq-1024",
    port: Annotated[
        int, typer.Option(help="The port to listen on; 0 takes any that is free.", min=0, max=65535)
    ] = 7860,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; 0.0.0.0 lets the network in, and needs a password or a token."),
    ] = "127.0.0.1",
    password: Password = None,
    token: Token = None,
    paths: Annotated[list[Path] | None, typer.Option(help="Files of paths to offer as sliders.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
) -> None:
    """A page in the browser: sample, steer with sliders, paint masks, find directions, keep the result."""
    for package in ("fastapi", "uvicorn", "websockets"):
        need(package, "studio", "the studio")
    from ..studio.server import serve
    from . import report

    serve(
        generator,
        host=host,
        port=port,
        secret=password or token,
        device=device,
        paths=paths or [],
        ready=lambda address: report.err.print(f"the studio is at {address}  (Ctrl-C ends it)", highlight=False),
    )
