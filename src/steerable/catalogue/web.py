"""Open an address of the web as a program of this computer's user would: with the certificates, proxy and logins set up here."""

import netrc
import os
import ssl
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

PAGE = 64 * 2**20  # no index page is longer than this


@runtime_checkable
class Stream(Protocol):
    """Bytes to be read once, from a file, an archive or the web."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> object: ...


def default_cert() -> str:
    """The certificates that the environment names, as pip's and most other Python programs read it."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""


@dataclass
class Web:
    """How one registry is reached: certificates, proxy (else the environment's), patience, and logins by host."""

    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: float = 60.0
    trusted: tuple[str, ...] = ()
    logins: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def open(self, url: str, accept: str = "*/*", near: str = "") -> Any:
        """The response (bytes to read, .url, .headers) of a http, https or file address.

        A page from the web (`near`) may not send us to a file of this computer. Raises OSError, ValueError, HTTPException.
        """
        parts = urlsplit(url)
        allowed = ("http", "https") if urlsplit(near).scheme in ("http", "https") else ("http", "https", "file")
        if parts.scheme not in allowed:
            raise ValueError(f"will not open {shown(url)!r}")
        host = parts.hostname or ""
        if parts.username:
            self.logins[host] = unquote(parts.username), unquote(parts.password or "")
        request = Request(shown(url), headers={"Accept": accept, "User-Agent": "steerable"})
        if login := self.logins.get(host) or from_netrc(host):
            request.add_unredirected_header("Authorization", "Basic " + b64encode(":".join(login).encode()).decode())
        return self.opener(host).open(request, timeout=self.timeout)

    def opener(self, host: str) -> OpenerDirector:
        if os.path.isfile(self.cert):
            context = ssl.create_default_context(cafile=self.cert)
        else:
            context = ssl.create_default_context(capath=self.cert or None)
        if not self.cert:
            with suppress(ImportError):
                import certifi

                context.load_verify_locations(certifi.where())
        if self.client_cert:
            context.load_cert_chain(self.client_cert)
        if host in self.trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        proxy = ProxyHandler({"http": self.proxy, "https": self.proxy} if self.proxy else None)
        return build_opener(HTTPSHandler(context=context), proxy)


def from_netrc(host: str) -> tuple[str, str] | None:
    with suppress(OSError, netrc.NetrcParseError):
        if host and (found := netrc.netrc().authenticators(host)):
            return found[0], found[2] or ""
    return None


def bounded(stream: Stream) -> str:
    if len(page := stream.read(PAGE + 1)) > PAGE:
        raise ValueError(f"is longer than {PAGE >> 20} MB")
    return page.decode("utf-8", "replace")


def shown(url: str) -> str:
    """The address without a name and a password in it, and without the part after #: fit to be asked for, and to be printed."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
