"""Who is there: a cookie, a folder, jobs and renderers for each, and nothing shared but the generators."""

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hmac import compare_digest
from pathlib import Path as File
from typing import Any

from ..errors import SettingError, SourceError, UnknownName
from ..generator import Generator
from ..generators import load, names
from ..nn.allocator import tune
from ..score import Scorer
from .jobs import Hands, Job
from .pictures import Easel, Opened, scorer
from .shelf import Shelf
from .worker import LATER, Worker

PEOPLE = 24  # at once; whoever was away longest leaves
AWAY = 12 * 3600  # seconds after which somebody is gone
JOBS = 2  # running at once, for each person


@dataclass
class Person:
    """One browser. `token` is its cookie; everything it made is in its shelf's folder and goes with it."""

    token: str
    shelf: Shelf
    jobs: dict[str, Job] = field(default_factory=dict)
    easels: dict[str, Easel] = field(default_factory=dict)
    turns: dict[str, int] = field(default_factory=dict)
    seen: float = field(default_factory=time.monotonic)

    def job(self, id: str) -> Job:
        if id not in self.jobs:
            raise UnknownName("job", id[:20], self.jobs)
        return self.jobs[id]

    def start(self, job: Job) -> Job:
        if sum(j.state == "running" for j in self.jobs.values()) >= JOBS:
            raise SettingError(f"{JOBS} jobs are running already; wait, or cancel one")
        self.jobs[job.id] = job
        job.start()
        return job

    def leave(self) -> None:
        for job in self.jobs.values():
            job.cancel()
        shutil.rmtree(self.shelf.folder, ignore_errors=True)


class Studio:
    """What a running studio has: one worker, the generators that were opened, the people. `files` are offered to everybody."""

    def __init__(
        self,
        generator: str,
        *,
        device: str = "auto",
        files: Sequence[File] = (),
        secret: str | None = None,
        threads: int = 1,
    ):
        tune()
        self.first, self.device, self.files, self.secret = generator, device, tuple(files), secret
        self.root = File(tempfile.mkdtemp(prefix="steerable-studio-"))
        self.worker = Worker(threads)
        self.hands = Hands(self.root)
        self.people: dict[str, Person] = {}
        self._opened: dict[str, Opened] = {}
        self._troubles: dict[str, str] = {}
        self._begun: set[str] = set()
        self._judges: dict[str, Scorer] = {}
        self._lock = threading.Lock()

    # -- generators -------------------------------------------------------------------------------------------------------------------

    def allowed(self, name: str) -> str:
        """A name from outside is a name of the catalogue, or the one the studio was started with: never a path."""
        known = [*dict.fromkeys((self.first, *names()))]
        if name not in known:
            raise UnknownName("generator", name[:60], known)
        return name

    def missing(self, name: str) -> bool:
        """Must it be downloaded first?"""
        from .. import catalogue

        entry = catalogue.entries("generator").get(name)
        return entry is not None and not entry.cached

    def begin(self, name: str) -> None:
        """Have it opened as soon as the worker has time, unless it is, or is not here."""
        if name in self._opened or name in self._begun or self.missing(name):
            return
        self._begun.add(name)
        self._troubles.pop(name, None)
        self.worker.submit(LATER, lambda stop: self.opened(name)).add_done_callback(
            lambda done: self._ended(name, done)
        )

    def _ended(self, name: str, done: "Future[Any]") -> None:
        self._begun.discard(name)
        if error := done.exception():
            self._troubles[name] = str(error)

    def trouble(self, name: str) -> str:
        """Why a generator could not be opened; empty if it could, or nobody tried."""
        return self._troubles.get(name, "")

    def judge(self, name: str) -> Scorer:
        """A scorer, with its net, held for everybody."""
        if name not in self._judges:
            self._judges[name] = scorer(name)
        return self._judges[name]

    def opened(self, name: str) -> Opened:
        """Called in the worker's thread. Raises SourceError for a generator that is not downloaded: that is asked for in words."""
        if name not in self._opened:
            if self.missing(self.allowed(name)):
                raise SourceError(f"{name} is not downloaded")
            while len(self._opened) > 2:
                self._opened.pop(next(iter(self._opened)))
            self._opened[name] = Opened.of(load(name, device=self.device))
        return self._opened[name]

    def generator(self, name: str) -> Generator:
        return self.opened(name).generator

    def easel(self, person: Person, name: str) -> Easel:
        """In the worker's thread."""
        opened = self.opened(name)
        if name not in person.easels or person.easels[name].generator is not opened.generator:
            person.easels.clear()
            person.easels[name] = Easel(opened, person.shelf)
        return person.easels[name]

    def is_open(self, name: str) -> bool:
        return name in self._opened

    # -- people -----------------------------------------------------------------------------------------------------------------------

    def welcome(self) -> Person:
        """Somebody new, in a folder of their own."""
        with self._lock:
            now = time.monotonic()
            by_age = sorted(self.people.values(), key=lambda p: p.seen)
            gone = [p for p in by_age if now - p.seen > AWAY]
            gone += [p for p in by_age if p not in gone][: max(0, len(by_age) - len(gone) - PEOPLE + 1)]
            for person in gone:
                del self.people[person.token]
                person.leave()
            token = secrets.token_urlsafe(32)
            folder = File(tempfile.mkdtemp(prefix="person-", dir=self.root))
            self.people[token] = Person(token, Shelf(folder))
            return self.people[token]

    def known(self, token: str | None) -> Person | None:
        person = self.people.get(token or "")
        if person is not None:
            person.seen = time.monotonic()
        return person

    def admits(self, given: str) -> bool:
        """Is this the password or token? Without one, everybody who reaches the studio is in."""
        return self.secret is None or compare_digest(given.encode(), self.secret.encode())

    def close(self) -> None:
        """Stop everything and delete what people left."""
        for person in self.people.values():
            person.leave()
        self.hands.close()
        self.worker.close()
        shutil.rmtree(self.root, ignore_errors=True)
