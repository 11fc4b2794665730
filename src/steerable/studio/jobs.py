"""Long work in a process of its own, seen from the studio: progress, cancel, and a kind word if it dies."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

NICE = 5  # the slider comes first
LINE = 1 << 20  # characters of a progress line that are read
PICTURE = "data:image/jpeg;base64,"


@dataclass(frozen=True)
class Hand:
    """A process that does one job: it reads the job's folder from its standard input. What it says of errors goes to a file."""

    process: "subprocess.Popen[str]"
    errors: File

    @classmethod
    def called(cls, root: File) -> "Hand":
        errors = root / f"errors-{secrets.token_hex(8)}"
        with errors.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "steerable.studio.job"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        return cls(process, errors)

    def give(self, folder: File) -> None:
        assert self.process.stdin is not None
        with (
            suppress(BrokenPipeError),
            self.process.stdin as line,
        ):  # if it is gone, whoever reads its words will notice
            line.write(f"{folder}\n")

    def ended(self) -> tuple[int, str]:
        """Waits for the end: the exit code, and what was said of errors."""
        code, said = self.process.wait(), ""
        with suppress(OSError):  # the studio may have been closed meanwhile, and its folders with it
            said = self.errors.read_text(errors="replace")
            self.errors.unlink()
        return code, said

    def dismissed(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.ended()


class Hands:
    """Who does jobs. After a job another process reads the library in advance and waits, so that the next job begins at once; nobody
    waits before the first. A waiting process ends with the studio, however that ends."""

    def __init__(self, root: File):
        self.root = root
        self._waiting: Hand | None = None
        self._open = True
        self._lock = threading.Lock()

    def take(self) -> Hand:
        with self._lock:
            taken, self._waiting = self._waiting, None
        return Hand.called(self.root) if taken is None or taken.process.poll() is not None else taken

    def refill(self) -> None:
        with self._lock:
            if self._open and self._waiting is None:
                self._waiting = Hand.called(self.root)

    def close(self) -> None:
        with self._lock:
            self._open, left, self._waiting = False, self._waiting, None
        if left is not None:
            left.dismissed()


class Job:
    """`ask` is written to a folder; a process of its own does it and tells how far it is, a line of JSON at a time.

    `state` is running, done, failed or canceled. `finished(result)` is called once, in the reader's thread, before the state is done.
    """

    def __init__(
        self,
        kind: str,
        ask: Mapping[str, Any],
        root: File,
        hands: Hands,
        finished: Callable[[File, dict[str, Any]], dict[str, Any]],
    ):
        self.id, self.kind, self.ask, self.finished = secrets.token_hex(8), kind, dict(ask), finished
        self.hands = hands
        self.folder = root / f"job-{self.id}"
        self.state, self.title, self.done, self.total = "running", "starting", 0, None
        self.notes: list[str] = []
        self.error, self.result = "", {}
        self.target, self.picture, self.seen = (
            "",
            "",
            0,
        )  # what is looked for, what was found so far, and how often that was told
        self.begun = time.monotonic()
        self.hand: Hand | None = None

    def start(self) -> None:
        self.folder.mkdir()
        (self.folder / "job.json").write_text(json.dumps({"kind": self.kind, **self.ask}), encoding="utf-8")
        self.hand = self.hands.take()
        self.hand.give(self.folder)
        self.reader = threading.Thread(target=self._read, args=(self.hand,), name=f"studio-{self.kind}", daemon=True)
        self.reader.start()

    def _read(self, hand: Hand) -> None:
        assert hand.process.stdout is not None
        with hand.process.stdout as lines:
            while line := lines.readline(LINE):
                try:
                    told = json.loads(line)
                except ValueError:
                    continue  # a library that prints
                if isinstance(told, dict):
                    self._heard(told)
        code, said = hand.ended()
        if self.state == "running":
            try:
                if code != 0 or not self.result:
                    self._failed(code, said)
                else:
                    self.hands.refill()
                    self.result = self.finished(self.folder, self.result)
                    self.state = "done"
            except Exception as error:
                self.error, self.state = str(error), "failed"
        if self.state != "done":
            shutil.rmtree(self.folder, ignore_errors=True)

    def _heard(self, told: dict[str, Any]) -> None:
        match told:
            case {"title": str(title), "done": int(done), "total": total}:
                self.title, self.done, self.total = title[:200], done, total if isinstance(total, int) else None
            case {"note": str(note)}:
                self.notes = [*self.notes, note[:400]][-20:]
            case {"target": str(picture)} if picture.startswith(PICTURE):
                self.target = picture
            case {"picture": str(picture)} if picture.startswith(PICTURE):
                self.picture, self.seen = picture, self.seen + 1
            case {"error": str(error)}:
                self.error = error[:1000]
            case {"result": dict(result)}:
                self.result = result

    def _failed(self, code: int, said: str) -> None:
        if not self.error and code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
            self.error = f"the process was ended from outside ({name}), perhaps for want of memory; everything else is kept, try again"
        elif not self.error:
            tail = said.strip().splitlines()[-1:]
            self.error = f"the process ended without a result ({' '.join(tail)[:300] or f'exit code {code}'}); everything else is kept"
        self.state = "failed"

    def stop(self) -> None:
        """Ask it to end soon and keep the best so far, as Ctrl-C does."""
        if self.hand is not None and self.hand.process.poll() is None:
            self.hand.process.send_signal(signal.SIGINT)

    def cancel(self) -> None:
        """End it now. Nothing is left of it."""
        if self.hand is not None and self.hand.process.poll() is None:
            self.state = "canceled"
            self.hand.process.kill()

    def told(self, seen: int = 0) -> dict[str, Any]:
        """Where it stands. Pictures come along if there are newer ones than the `seen` that are known."""
        spent = time.monotonic() - self.begun
        left = spent / self.done * (self.total - self.done) if self.total and self.done else None
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "title": self.title,
            "done": self.done,
            "total": self.total,
            "seconds": round(spent, 1),
            "left": None if left is None else round(left, 1),
            "notes": self.notes,
            "seen": self.seen,
            "target": self.target if self.seen > seen else "",
            "picture": self.picture if self.seen > seen else "",
            "error": self.error,
            "result": self.result if self.state == "done" else {},
        }
