"""Who may talk to the studio: the host it is asked for, where a request comes from, how much it sends, and what every answer forbids.

A page of somebody else's in the same browser can reach a server on this machine. So a foreign `Host` (DNS rebinding) and a foreign
`Origin` are refused, on the websocket too; people are known by a cookie that other sites cannot send.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

SMALL = 1 << 18  # bytes of a request that brings no file
LARGE = {
    b"/paths": 64 << 20,
    b"/photo": 24 << 20,
    b"/mask": 4 << 20,
    b"/bundle": 96 << 20,
}
DRAINED = 256 << 20  # bytes that are heard out
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class TooLarge(Exception):
    """A request brought more than its route takes."""


class Guard:
    """Wraps the app. `everywhere`: it listens to the network, so that names of this machine and addresses are fine as hosts too."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], everywhere: bool):
        self.app, self.everywhere = app, everywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if trouble := self.refusal(scope, headers):
            await refuse(scope, receive, send, 403, trouble)
            return
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        limit = LARGE.get(scope["path"].encode(), SMALL)
        length = headers.get(b"content-length", "")  # type: ignore[arg-type]
        if length.isdigit() and int(length) > limit:
            await drained(receive)
            await refuse(
                scope, receive, send, 413, f"this is larger than {limit >> 20 or 1} MB, the most that is taken here"
            )
            return
        await self.app(scope, bounded(receive, limit), dressed(send))

    def refusal(self, scope: Scope, headers: dict[Any, str]) -> str:
        host = headers.get(b"host", "")
        if not known(host, self.everywhere):
            return f"the studio is not at {host[:60]!r}; open it by the address that it printed"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "another site asked for this, so it was refused"
        if origin is None and scope["type"] == "websocket":
            return "a websocket needs an Origin"
        if origin is None and headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin"):
            return "another site asked for this, so it was refused"
        return ""


def known(host: str, everywhere: bool) -> bool:
    """May the studio be asked for under this name? A name that somebody else's DNS could give out may not; an address may."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        mine = socket.gethostname().lower()
        return everywhere and name in (mine, f"{mine}.local")
    return everywhere or address.is_loopback


def loopback(host: str) -> bool:
    """Does a server bound to `host` hear this machine only?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bounded(receive: Receive, limit: int) -> Receive:
    """Counts what comes, whatever the header promised."""
    seen = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise TooLarge
        return message

    return counted


async def drained(receive: Receive) -> None:
    """Let a request that is too large say what it has to, so that whoever sends it hears the answer; nothing of it is kept."""
    left = DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def dressed(send: Send) -> Send:
    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            have = {name for name, _ in message.get("headers", [])}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in have]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return with_headers


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = why.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await dressed(send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
