"""The one place through which nets of known weights (LPIPS, landmarks, attributes) reach the catalogue."""

import logging
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UnknownName


@cache
def path_of(entry: str, member: str) -> Path:
    """The file `member` of the catalogue's `entry`, downloaded if it was not there; its hash is checked either way.

    Says once, in the log, what its license demands. Raises SourceError if it cannot be fetched, UnknownName if there is no such file.
    """
    from steerable import catalogue

    files = catalogue.fetch(entry)
    if member not in files:
        raise UnknownName(f"file of {entry}", member, files)
    if notice := catalogue.entry(entry).notice:
        logging.getLogger("steerable").warning(notice)
    return files[member]


def digest(entry: str, member: str) -> str:
    """The first 16 hexadecimal digits of the file's SHA-256: part of the keys under which scores are cached. Nothing is downloaded."""
    from steerable import catalogue

    hashes = {file.name: file.sha256 for file in catalogue.entry(entry).members}
    if member not in hashes:
        raise UnknownName(f"file of {entry}", member, hashes)
    return hashes[member][:16]


def unpickled(path: Path) -> Any:
    """The plain values (maps, numpy arrays) of a pickle; nothing in it is executed. Raises ArtifactError."""
    from steerable import foreign

    return foreign.read(path).value
