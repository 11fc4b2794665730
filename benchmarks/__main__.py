"""Run all benchmarks, or those named."""

import argparse
import pkgutil
import sys
from importlib import import_module
from inspect import signature

import torch

import benchmarks
from steerable.nn import allocator

NOT_TIMED = {"__main__", "timing", "leaderboard", "results", "inversion_results", "inversion_truth"}


def main() -> None:
    names = sorted({m.name for m in pkgutil.iter_modules(benchmarks.__path__)} - NOT_TIMED)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("name", nargs="*", help=f"any of {', '.join(names)}; all if none is given")
    parser.add_argument("--rounds", type=int, default=9, help="how often each alternative is run (default 9)")
    parser.add_argument("--tuned", action="store_true", help="keep freed memory (steerable.nn.allocator)")
    said = parser.parse_args()
    if unknown := set(said.name) - set(names):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there is: {', '.join(names)}")
    torch.set_num_threads(1)
    tuned = said.tuned and allocator.tune()
    for name in said.name or names:
        print(f"## {name}: torch {torch.__version__}, one thread, memory {'kept' if tuned else 'as it comes'}\n")
        run, sys.argv = import_module(f"benchmarks.{name}").main, [name]
        run(said.rounds) if signature(run).parameters else run()
        print()


if __name__ == "__main__":
    main()
