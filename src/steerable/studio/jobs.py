"""Long work in a process of its own, seen from the studio: progress, cancel, and a kind word if it dies."""

import json
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path as File
from typing import Any

LINE = 1 << 20  # characters of a progress line that are read


class Job:
    """`ask` is written to a folder; `python -m steerable.studio.job FOLDER` does it and tells how far it is, a line of JSON at a time.

    `state` is running, done, failed or canceled. `finished(result)` is called once, in the reader's thread, before the state is done.
    """

    def __init__(
        self, kind: str, ask: Mapping[str, Any], root: File, finished: Callable[[File, dict[str, Any]], dict[str, Any]]
    ):
        self.id, self.kind, self.ask, self.finished = secrets.token_hex(8), kind, dict(ask), finished
        self.folder = root / f"job-{self.id}"
        self.state, self.title, self.done, self.total = "running", "starting", 0, None
        self.notes: list[str] = []
        self.error, self.result = "", {}
        self.begun = time.monotonic()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.folder.mkdir()
        (self.folder / "job.json").write_text(json.dumps({"kind": self.kind, **self.ask}), encoding="utf-8")
        with (self.folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "steerable.studio.job", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self.reader = threading.Thread(target=self._read, name=f"studio-{self.kind}", daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            while line := lines.readline(LINE):
                try:
                    told = json.loads(line)
                except ValueError:
                    continue  # a library that prints
                if isinstance(told, dict):
                    self._heard(told)
        code = self.process.wait()
        if self.state == "running":
            try:
                if code != 0 or not self.result:
                    self._failed(code)
                else:
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
            case {"error": str(error)}:
                self.error = error[:1000]
            case {"result": dict(result)}:
                self.result = result

    def _failed(self, code: int) -> None:
        if not self.error and code < 0:
            name = signal.Signals(-code).name if -code in list(signal.Signals) else str(-code)
            self.error = f"the process was ended from outside ({name}), perhaps for want of memory; everything else is kept, try again"
        elif not self.error:
            tail = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
            self.error = f"the process ended without a result ({' '.join(tail)[:300] or f'exit code {code}'}); everything else is kept"
        self.state = "failed"

    def stop(self) -> None:
        """Ask it to end soon and keep the best so far, as Ctrl-C does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def cancel(self) -> None:
        """End it now. Nothing is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.state = "canceled"
            self.process.kill()

    def told(self) -> dict[str, Any]:
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
            "error": self.error,
            "result": self.result if self.state == "done" else {},
        }
