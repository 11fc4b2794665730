"""A running studio on a free port, and a real browser. Both are started once; every test gets a browser context (a person) of its own.

The studio's jobs are forked off one process that has read the library: reading it for each would take half of the time of all tests.
`test_doors.py` runs jobs as the studio itself does.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

fastapi = pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra 'studio' is not installed")

import steerable as st  # noqa: E402
from steerable.studio import job  # noqa: E402
from steerable.studio.jobs import Hand, Hands  # noqa: E402
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


class Fork(subprocess.Popen):
    """A process that is forked off a server, with all that a job asks of one."""

    def __init__(self, errors):
        self._child_created = False  # nothing of the real one is used
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["steerable.studio.job"])
        (heard, self._told), (self._said, said) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        self.stdin, self.stdout = os.fdopen(os.dup(self._told.fileno()), "w"), os.fdopen(os.dup(self._said.fileno()))
        self._process = context.Process(target=born, args=(heard, said, str(errors)), daemon=True)
        self._process.start()
        for end in (heard, said, self._told, self._said):
            end.close()

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def send_signal(self, number):
        os.kill(self._process.pid, number)


def born(heard, said, errors):
    """In the process that was forked off."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell leaves it to what runs behind it
    os.dup2(said.fileno(), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    sys.stdin = os.fdopen(heard.fileno())
    sys.exit(job.main())


class Forks(Hands):
    def take(self):
        errors = self.root / f"errors-{os.urandom(4).hex()}"
        return Hand(Fork(errors), errors)

    def refill(self):
        pass


@pytest.fixture(scope="session")
def running():
    studio = Studio("heads-64", device="cpu")
    if "forkserver" in multiprocessing.get_all_start_methods():
        studio.hands = Forks(studio.root)
    yield from serving(studio)


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
        context = browser.new_context(viewport={"width": 900, "height": 700}, accept_downloads=True, **options)
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
