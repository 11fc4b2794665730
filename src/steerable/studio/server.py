"""The app: the page, who gets in, and what is said when something goes wrong."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import Field

from ..errors import SettingError, SteerableError, UnknownName
from ..generators import names
from ..lending import Stopped
from . import asks, files, live
from .asks import House, Outside
from .guard import Guard, TooLarge, loopback
from .people import Studio
from .session import Strict

PAGE = File(__file__).with_name("page")
PATIENCE = 1.0  # seconds that a wrong password costs


class Entry(Strict):
    secret: str = Field(max_length=400)


def app(studio: Studio, *, port: int, everywhere: bool = False) -> Guard:
    """The studio as an ASGI app, guarded."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        studio.begin(studio.first)
        yield
        studio.close()

    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=life)
    made.state.studio, made.state.cookie = studio, f"steerable-{port}"
    made.state.gate = asyncio.Lock()
    made.include_router(asks.router)
    made.include_router(files.router)
    made.mount("/page", StaticFiles(directory=PAGE))
    made.add_api_route("/", page, methods=["GET"])
    made.add_api_route("/enter", enter, methods=["POST"])
    made.add_api_websocket_route("/live", wire)
    for kind, status in (
        (Outside, 401),
        (UnknownName, 404),
        (Stopped, 204),
        (SteerableError, 400),
        (TooLarge, 413),
        (RequestValidationError, 422),
        (Exception, 500),
    ):
        made.add_exception_handler(kind, told(status))
    return Guard(made, everywhere)


async def page(request: Request, studio: House, token: str | None = None) -> Response:
    """The studio, or the door. A token in the address goes into the cookie and out of the address."""
    cookie = request.app.state.cookie
    if studio.known(request.cookies.get(cookie)) is not None:
        return RedirectResponse("/", 303) if token else FileResponse(PAGE / "index.html")
    if not await admitted(request, studio, token or ""):
        return FileResponse(PAGE / "enter.html", status_code=401)
    answer: Response = RedirectResponse("/", 303) if token else FileResponse(PAGE / "index.html")
    return with_cookie(answer, cookie, studio)


async def enter(given: Entry, request: Request, studio: House) -> Response:
    if not await admitted(request, studio, given.secret):
        return JSONResponse({"error": "that is not the password"}, 401)
    return with_cookie(JSONResponse({}), request.app.state.cookie, studio)


async def admitted(request: Request, studio: Studio, given: str) -> bool:
    """Wrong guesses wait, one after another, whoever makes them."""
    if studio.secret is None:
        return True
    if given and studio.admits(given):
        return True
    if given:
        async with request.app.state.gate:
            await asyncio.sleep(PATIENCE)
    return False


def with_cookie(answer: Response, cookie: str, studio: Studio) -> Response:
    answer.set_cookie(cookie, studio.welcome().token, httponly=True, samesite="strict", path="/")
    return answer


async def wire(socket: WebSocket) -> None:
    studio: Studio = socket.app.state.studio
    person = studio.known(socket.cookies.get(socket.app.state.cookie))
    if person is None:
        await socket.close(1008)
        return
    await live.serve(socket, studio, person)


def told(status: int) -> Callable[[Request, Any], Response]:
    """What went wrong, as {"error": a sentence}."""

    def answer(request: Request, error: Any) -> Response:
        if isinstance(error, Stopped):
            return Response(status_code=status)  # a newer question of the same sort was asked
        if isinstance(error, RequestValidationError):
            first = error.errors()[0]
            text = f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}"
        elif isinstance(error, TooLarge):
            text = "this is larger than what is taken here"
        else:
            text = live.kindly(error)
        return JSONResponse({"error": text}, status)

    return answer


def serve(
    generator: str,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    secret: str | None = None,
    device: str = "auto",
    paths: Sequence[File] = (),
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Run until Ctrl-C. Raises SettingError for a port that is taken and for a network address without a password, UnknownName for a
    generator that is neither in the catalogue nor a file."""
    import uvicorn

    everywhere = not loopback(host)
    if everywhere and not secret:
        raise SettingError(
            f"--host {host} lets the network in, so it needs --password or --token; without --host only this machine is let in"
        )
    if generator not in names() and not File(generator).is_file():
        raise UnknownName("generator", generator, names())
    listening = bound(host, port)
    port = listening.getsockname()[1]
    studio = Studio(generator, device=device, files=paths, secret=secret)
    config = uvicorn.Config(
        app(studio, port=port, everywhere=everywhere),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=1 << 18,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=2,
    )
    ready(
        f"http://{'localhost' if host in ('127.0.0.1', '::1') else socket.gethostname() if everywhere else host}:{port}/"
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        studio.close()


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingError where that cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError) as error:
        found.close()
        raise SettingError(f"cannot listen on {host} port {port}: {error}; choose another one with --port") from error
    return found
