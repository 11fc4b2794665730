"""Settings that suit a generator, from `presets.toml`: by its name, and before that by its family."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..generator import Generator

FILE = Path(__file__).with_name("presets.toml")


def preset(method: str, generator: Generator) -> dict[str, Any]:
    """The settings of a method that suit this generator, where its defaults do not; none if nothing is known of it."""
    family = type(generator).__module__.rpartition(".")[2]
    known = _read()
    return {**known.get(family, {}).get(method, {}), **known.get(generator.name, {}).get(method, {})}


@cache
def _read() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))
