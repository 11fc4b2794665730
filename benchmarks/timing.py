"""CPU time of alternatives that take turns."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median, quantiles

Times = Mapping[str, list[float]]  # name → CPU seconds, one for each round


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """CPU time of this process for each way, in the order A B … B A, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for r in range(rounds):
        for name in list(ways) if r % 2 == 0 else reversed(list(ways)):
            start = time.process_time()
            ways[name]()
            times[name].append(time.process_time() - start)
    return times


def speedup(times: Times, name: str, over: str) -> tuple[float, float, float]:
    """How many times faster `name` is than `over`: median and quartiles of the ratios within rounds."""
    ratios = [b / a for a, b in zip(times[name], times[over], strict=True)]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else (ratios * 3)
    return median(ratios), low, high


def milliseconds(times: Times, name: str) -> str:
    return f"{1000 * median(times[name]):.0f}"


def ratio(times: Times, name: str, over: str) -> str:
    return "{:.2f} [{:.2f}-{:.2f}]".format(*speedup(times, name, over))


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
