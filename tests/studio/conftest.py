"""A running studio on a free port, and a real browser. Both are started once; every test gets a browser context (a person) of its own."""

import shutil
import socket
import threading
from dataclasses import dataclass

import pytest

fastapi = pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'studio' is not installed")

import steerable as st  # noqa: E402
from steerable.studio.people import Studio  # noqa: E402
from steerable.studio.server import app  # noqa: E402

PATIENCE = 120_000  # ms; a busy machine is no failure


@dataclass
class Running:
    studio: Studio
    port: int

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"


def started(studio, everywhere=False):
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    port = listening.getsockname()[1]
    config = uvicorn.Config(
        app(studio, port=port, everywhere=everywhere), log_level="error", access_log=False, ws_max_size=1 << 18
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    return Running(studio, port), server, thread


def serving(studio, **more):
    running, server, thread = started(studio, **more)
    yield running
    server.should_exit = True
    thread.join(30)
    studio.close()


@pytest.fixture(scope="session")
def running():
    yield from serving(Studio("heads-64", device="cpu"))


@pytest.fixture
def locked():
    """A studio that listens to the network and asks for a password."""
    yield from serving(Studio("tiny-style", device="cpu", secret="open sesame"), everywhere=True)


@pytest.fixture
def offering(tmp_path):
    """A studio that was started with two files of directions, of which one is broken."""
    g = st.load("tiny-style", device="cpu")
    found = st.discover("random", g, space="w", k=2)
    found = found.renamed(dict(zip(found.names, ("up", "down"), strict=True)))
    good, broken = tmp_path / "mine.safetensors", tmp_path / "broken.safetensors"
    st.save(found, good, generator=g)
    broken.write_bytes(good.read_bytes()[:100])
    yield from serving(Studio("tiny-style", device="cpu", files=[good, broken]))


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def person(browser):
    """Open a page as somebody new: `person(url)`. A page that meets an error in its own script fails the test."""
    contexts, wrong = [], []

    def come(url, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        return page

    yield come
    for context in contexts:
        context.close()
    assert not wrong
