"""Ratios measured in one run: `python -m benchmarks [name …] [--rounds n] [--tuned]`.

Each module here is one benchmark: its `main(rounds)`, or `main()`, prints markdown. Time is CPU time on one thread, alternatives take
turns, and a ratio is the median over rounds with its quartiles, so that other work on the machine disturbs little.
"""
