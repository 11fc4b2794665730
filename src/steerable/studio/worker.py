"""The one thread that renders, so that a slider never shares the processor with a second picture. Urgent work goes first.

Two threads of torch beside a browser on two cores were six times slower than one, so this thread uses one.
"""

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch

from ..lending import Stopped

LIVE, FULL, LATER = range(3)  # a preview while something moves; the full picture; everything that can wait

Stop = Callable[[], bool]


@dataclass(order=True)
class Task:
    rank: int
    number: int
    work: Callable[[Stop], Any] = field(compare=False)
    stale: Stop = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)


class Worker:
    """Hand in `work(stop)`; it is asked to stop (by raising Stopped) when something more urgent waits, and begins again later.

    `stale()` says that nobody wants the result any more: then the future gets Stopped.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._tasks: list[Task] = []
        self._numbers = count()
        self._here = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="studio-render", daemon=True)
        self._thread.start()

    def submit(self, rank: int, work: Callable[[Stop], Any], stale: Stop = lambda: False) -> "Future[Any]":
        task = Task(rank, next(self._numbers), work, stale)
        with self._here:
            heapq.heappush(self._tasks, task)
            self._here.notify()
        return task.future

    def close(self) -> None:
        with self._here:
            self._open = False
            self._here.notify()
        self._thread.join(10)

    def _run(self) -> None:
        torch.set_num_threads(self.threads)
        while True:
            with self._here:
                while self._open and not self._tasks:
                    self._here.wait()
                if not self._open:
                    return
                task = heapq.heappop(self._tasks)
            self._do(task)

    def _do(self, task: Task) -> None:
        if task.future.cancelled():
            return

        def stop() -> bool:
            return not self._open or task.stale() or (bool(self._tasks) and self._tasks[0].rank < task.rank)

        try:
            if task.stale():
                raise Stopped("nobody waits for it any more")
            result = task.work(stop)
        except Stopped as stopped:
            if task.stale() or not self._open:
                task.future.set_exception(stopped)
            else:
                with self._here:
                    heapq.heappush(self._tasks, task)
        except BaseException as error:
            task.future.set_exception(error)
        else:
            task.future.set_result(result)
