"""The websocket of a slider: the newest request wins, and a full picture gives way to a preview.

In: {"n", "what": "preview" | "full", "size", "plain", "session"}. Out: one binary message of a length (4 bytes), that many bytes of
JSON and a JPEG; or text with {"n", "error"} or {"n", "skipped"}.
"""

import asyncio
import json
import re
from concurrent.futures import Future
from typing import Any, Literal

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import Field, ValidationError

from ..errors import SteerableError
from ..lending import Stopped
from .people import Person, Studio
from .pictures import Drawn
from .session import Session, Strict
from .worker import FULL, LIVE, Stop

FOLDER = re.compile(r"\S*steerable-studio-[^\s:;,]*")  # where people's things are is nobody's business


class Ask(Strict):
    n: int = Field(ge=0)
    what: Literal["preview", "full"] = "preview"
    size: int = Field(128, ge=16, le=1024)
    plain: bool = False
    session: Session


class Channel:
    """One page's line. `newest` is the last request; whatever was asked before is stale."""

    def __init__(self, studio: Studio, person: Person):
        self.studio, self.person, self.newest = studio, person, -1
        self.out: asyncio.Queue[bytes | str] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()

    def ask(self, ask: Ask) -> None:
        self.newest = max(self.newest, ask.n)

        def work(stop: Stop) -> Drawn:
            easel = self.studio.easel(self.person, ask.session.generator)
            try:
                draw = (
                    easel.preview(ask.session, ask.size, ask.plain)
                    if ask.what == "preview"
                    else easel.full(ask.session, ask.plain, stop)
                )
            except (SteerableError, Stopped):
                raise
            except BaseException:
                easel.clear()  # whatever it held may be half-made
                raise
            return draw

        future = self.studio.worker.submit(LIVE if ask.what == "preview" else FULL, work, lambda: ask.n < self.newest)
        future.add_done_callback(lambda done: self.answer(ask, done))

    def answer(self, ask: Ask, done: "Future[Any]") -> None:
        message = said(ask, done)
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.out.put_nowait, message)


def said(ask: Ask, done: "Future[Any]") -> bytes | str:
    error = done.exception()
    if isinstance(error, Stopped):
        return json.dumps({"n": ask.n, "what": ask.what, "skipped": True})
    if error is not None:
        return json.dumps({"n": ask.n, "what": ask.what, "error": kindly(error)})
    picture: Drawn = done.result()
    head = {
        "n": ask.n,
        "what": ask.what,
        "plain": ask.plain,
        "width": picture.width,
        "height": picture.height,
        "ms": round(picture.ms, 1),
        "cpu": round(picture.cpu, 1),
        "key": picture.key,
    }
    text = json.dumps(head).encode()
    return len(text).to_bytes(4, "big") + text + picture.jpeg


def kindly(error: BaseException) -> str:
    """What went wrong, in words that help."""
    if isinstance(error, SteerableError):
        return FOLDER.sub("this file", str(error))
    if isinstance(error, MemoryError) or "not enough memory" in str(error):
        return "There was not enough memory for this picture. Your session is kept: close other programs, or choose a smaller generator."
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"The picture could not be made ({what}). Your session is kept: move a slider to try again, or undo."


async def serve(socket: WebSocket, studio: Studio, person: Person) -> None:
    """Until the page goes away."""
    await socket.accept()
    channel = Channel(studio, person)

    async def pour() -> None:
        while True:
            message = await channel.out.get()
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_text(message))

    sender = asyncio.create_task(pour())
    try:
        while True:
            try:
                channel.ask(Ask.model_validate_json(await socket.receive_text()))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                await channel.out.put(
                    json.dumps({"n": -1, "error": f"the session is not well formed: {where}: {first['msg']}"})
                )
    except (WebSocketDisconnect, KeyError, RuntimeError):
        pass
    finally:
        channel.newest = 1 << 62  # nobody waits any more
        sender.cancel()
