"""Published systems as settings of an inverter: rows of `presets.toml`, not classes."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UnknownName
from .inverter import Inverter

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Preset:
    """A name for settings. To a face it looks like a method: it has a name, a paper, tags, a schema, and makes an inverter.

    `about` says in a line what it does; `matches` and `differs` compare it with the paper.
    """

    name: str
    method: type[Inverter]
    paper: str
    about: str
    matches: str
    differs: str
    settings: Mapping[str, Any]

    @property
    def tags(self) -> frozenset[str]:
        return self.method.tags | {"preset"}

    @property
    def needs(self) -> tuple[str, ...]:
        return self.method.needs

    def schema(self) -> dict[str, dict[str, Any]]:
        """That of the method, with this preset's values as defaults."""
        return {
            name: {**field, "default": self.settings.get(name, field["default"])}
            for name, field in self.method.schema().items()
        }

    def with_settings(self, given: Mapping[str, Any]) -> Inverter:
        """The inverter, with other settings where they are given. Raises UnknownName or SettingError."""
        made = self.method.with_settings({**self.settings, **given})
        assert isinstance(made, Inverter)
        return made


def presets(methods: Mapping[str, type[Inverter]], file: Path = FILE) -> dict[str, Preset]:
    """Name → preset. Raises UnknownName or SettingError for a row that no inverter could be made of."""
    found = {}
    for name, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
        words = {k: str(row.pop(k)) for k in ("paper", "about", "matches", "differs")}
        method = str(row.pop("method"))
        if method not in methods:
            raise UnknownName(f"inverter of the preset {name}", method, methods)
        found[name] = Preset(name, methods[method], settings=row, **words)
        found[name].with_settings({})
    return found
