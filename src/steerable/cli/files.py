"""Checkpoints of any layout: what they hold, and the same weights in another layout."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import SettingError
from . import report


def checkpoint(what: str) -> bool:
    """Is this a file other than one of our results (paths, edits …)?"""
    from ..artifact import header
    from ..checkpoints import own
    from ..errors import ArtifactError

    if not Path(what).is_file():
        return False
    try:
        header(what)
    except ArtifactError:
        return True
    return own.ours(what)


def told(options: list[str]) -> dict[str, Any]:
    """`key=value` as numbers, yes and no, or text. Raises SettingError."""
    found: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not key or not equals:
            raise SettingError(f"an option is KEY=VALUE, such as mapping_lr=0.01; got {option!r}")
        found[key] = _value(text)
    return found


def _value(text: str) -> Any:
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def show(file: str, part: str | None, options: list[str], json: bool) -> None:
    """What a checkpoint is, without building the net."""
    from ..checkpoints import opened

    found = opened(file, part=part, options=told(options))
    config = asdict(found.config)
    report.facts(
        {
            "file": Path(file).name,
            "layout": found.layout,
            "family": found.family,
            **({"config": config} if json else {key: str(value) for key, value in config.items()}),
            "tensors": len(found.tensors),
            "numbers": sum(t.numel() for t in found.tensors.values()),
            "holds": list(found.held) if json else ", ".join(found.held) or "nothing else",
            "critic": found.critic is not None,
            "notes": list(found.notes) if json else "; ".join(found.notes) or "none",
            "fingerprint": found.fingerprint,
        },
        json,
    )


def convert(file: Path, out: Path, to: str, part: str | None, options: list[str], json: bool) -> None:
    from ..checkpoints import converted, opened

    found = opened(file, part=part, options=told(options))
    lost = converted(found, out, to, file.name)
    report.facts({"file": str(out), "layout": to, "family": found.family, "lost": lost or "nothing"}, json)
