"""What was computed once and is kept: the cache folder, and records remembered in it."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .errors import ArtifactError

R = TypeVar("R")  # a Record; not bound, so that asking what is cached needs no torch


def root() -> Path:
    """The cache folder: $STEERABLE_CACHE, else the platform's place for caches. Private to the user; made when first asked for."""
    if given := os.environ.get("STEERABLE_CACHE"):
        folder = Path(given).expanduser()
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "steerable"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "steerable" / "Cache"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "steerable"
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def derived(kind: str, key: str) -> Path:
    """The path of something derived, such as "moments-w" of a fingerprint; its folder exists."""
    folder = root() / "derived" / kind
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def remembered(cls: type[R], kind: str, key: str, make: Callable[[], R]) -> R:
    """The record kept under `kind` and `key`, made now if there is none. A damaged or unreadable file is made anew."""
    from . import artifact  # needs torch, which asking what is cached does not

    file = derived(kind, key)
    if file.is_file():
        try:
            found = artifact.load(file)
            if isinstance(found, cls):
                return found
        except ArtifactError:
            pass
    made: Any = make()
    artifact.save(made, file)
    return made
