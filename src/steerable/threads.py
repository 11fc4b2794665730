"""Several pictures at once: a Python thread for each of torch's, and one thread of torch in each.

Threads that share one picture wait for each other after every operation, and on a busy machine they wait in vain; threads with a picture
each do not. Torch lets go of Python's lock while it computes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """work(item) for every item, in order. `work` must not share what it changes between items."""
    count = torch.get_num_threads()
    if min(count, len(items)) < 2:
        return [work(item) for item in items]
    try:
        with ThreadPoolExecutor(min(count, len(items)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(count)  # new threads take over the number that was set last
