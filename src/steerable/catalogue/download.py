"""Bring the files of one catalogue entry into the cache. They are data: hashed, and read by exact name out of an archive, never run."""

import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from errno import EDQUOT, ENOSPC
from functools import partial
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from zlib import error as ZlibError

from ..errors import ArtifactError, SourceError
from ..method import Progress
from .registry import leads
from .table import Entry, Member, advice, cache_root, entries, megabytes
from .web import Stream

A_DAY = 24 * 3600
CHUNK = 2**20

TARS = (".tar.gz", ".tgz", ".tar")
ZIPS = (".whl", ".zip")
UNPACKED = 16 * 2**30  # a tar may be this long at most, all in all


def download(this: Entry, progress: Progress) -> None:
    """Fetch the files of an entry, check them, and put them into the cache. Raises SourceError, ArtifactError."""
    try:
        with landing() as scratch:
            unpack(this, scratch, progress)
    except SourceError:
        raise
    except OSError as error:
        need = megabytes(this.bytes + sum(member.bytes for member in this.members))
        why = f"no room left ({need} are needed while it is unpacked)" if full(error) else reason(error)
        where = f"{cache_root()}: {why}. STEERABLE_CACHE names another folder"
        raise SourceError(f"{this.name} could not be kept in {where}") from error


@contextmanager
def landing() -> Iterator[Path]:
    """A scratch folder in the cache, gone afterwards whatever happens. What a killed process left is swept away a day later."""
    incoming = cache_root() / "incoming"
    incoming.mkdir(mode=0o700, exist_ok=True)
    for old in incoming.iterdir():
        with suppress(OSError):
            if old.stat().st_mtime < time.time() - A_DAY:
                rmtree(old, ignore_errors=True)
    with TemporaryDirectory(dir=incoming, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


def unpack(this: Entry, scratch: Path, progress: Progress) -> None:
    if this.source.startswith("hf:"):
        for member in this.members:
            file = hugging_face(this, member, scratch)
            keep(this, member, file.stat().st_size, file.open("rb"), scratch)
        return
    archive = scratch / "archive"
    bring(this, archive, progress)
    wanted = {member.name: member for row in kin(this) for member in row.members}
    for name, size, stream in contents(this, archive, wanted):
        keep(this, wanted[name], size, stream, scratch)
    for member in this.members:
        if not member.sound:
            raise ArtifactError(f"{this.name}: {this.archive} holds no file {member.name!r}")


def kin(this: Entry) -> list[Entry]:
    """The entries that lie in the same archive: once it is here, they are kept too."""
    return [row for row in entries().values() if row.sha256 == this.sha256 and row.table == this.table]


def bring(this: Entry, archive: Path, progress: Progress) -> None:
    """Download the archive from the first place that has it, and check its hash."""
    title, total = f"{this.name}: downloading {megabytes(this.bytes)}", -(-this.bytes // CHUNK)
    failures = []
    for place, open_there in leads(this.source, this.archive):
        try:
            with closing(open_there()) as stream, archive.open("wb") as out:
                chunks = iter(partial(stream.read, CHUNK), b"")
                size, digest = copy(progress.over(chunks, title, total), out.write, this.bytes)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, OSError) and full(error):
                raise
            failures.append(f"{place}: {reason(error)}")
            continue
        if size < this.bytes:
            failures.append(f"{place}: broke off after {size} of {this.bytes} bytes")
        elif digest != this.sha256:
            found = f"the file from {place} is not the one in the catalogue"
            raise SourceError(f"{this.name}: {found}: {hashes(this.sha256, digest)}")
        else:
            return
    tried = "; ".join(failures) or "no place to ask"
    raise SourceError(f"{this.name} ({this.source}) could not be fetched: {tried}. {advice()}")


def copy(chunks: Iterable[bytes], write: Callable[[bytes], object], limit: int) -> tuple[int, str]:
    size, digest = 0, sha256()
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise ValueError(f"goes on after the {limit} bytes that the catalogue names")
        digest.update(chunk)
        write(chunk)
    return size, digest.hexdigest()


def keep(this: Entry, member: Member, size: int, stream: Stream, scratch: Path) -> None:
    """Check one file as it is unpacked, and put it in its place in the cache. One that says it is longer is not even begun."""
    if size != member.bytes:
        raise ArtifactError(f"{this.name}: {member.name!r} unpacks to {size} bytes instead of {member.bytes}")
    draft = scratch / "member"
    with closing(stream), draft.open("wb") as out, readable(this):
        _, digest = copy(iter(partial(stream.read, CHUNK), b""), out.write, member.bytes)
    if digest != member.sha256:
        found = f"{member.name!r} is not the file in the catalogue"
        raise SourceError(f"{this.name}: {found}: {hashes(member.sha256, digest)}")
    member.path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.replace(draft, member.path)  # of two processes that come here at once either may win: the files are the same
    except PermissionError:  # Windows, while somebody reads the other's copy
        if not member.path.is_file():
            raise


def contents(this: Entry, archive: Path, wanted: Mapping[str, Member]) -> Iterator[tuple[str, int, Stream]]:
    """The wanted regular files of an archive, each with its size as declared. A file that is no archive is its own one member."""
    if this.archive.endswith(ZIPS):
        with readable(this), zipfile.ZipFile(archive) as box:
            for name in wanted:
                if name in box.NameToInfo:
                    yield name, box.NameToInfo[name].file_size, box.open(name)
    elif this.archive.endswith(TARS):
        with readable(this), tarfile.open(archive, "r|" if this.archive.endswith(".tar") else "r|gz") as tape:
            left = set(wanted)
            for info in tape:
                if info.offset_data + info.size > UNPACKED:
                    raise ArtifactError(f"{this.name}: {this.archive} unpacks to more than {UNPACKED >> 30} GB")
                if info.name in left and info.isreg():
                    left.remove(info.name)
                    yield info.name, info.size, tape.extractfile(info)  # type: ignore[misc]
                if not left:
                    break
    else:
        yield this.members[0].name, archive.stat().st_size, archive.open("rb")


@contextmanager
def readable(this: Entry) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, ZlibError, EOFError, RuntimeError) as error:
        raise ArtifactError(f"{this.name}: {this.archive} cannot be read as an archive: {reason(error)}") from error


def hugging_face(this: Entry, member: Member, scratch: Path) -> Path:
    from huggingface_hub import hf_hub_download

    repo, _, commit = this.source.removeprefix("hf:").rpartition("@")
    try:
        return Path(hf_hub_download(repo, member.name, revision=commit, local_dir=scratch / "hf"))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and full(error):
            raise
        raise SourceError(f"{this.name} ({this.source}) could not be fetched: {reason(error)}. {advice()}") from error


def hashes(expected: str, actual: str) -> str:
    return f"expected SHA-256 {expected}, got {actual}"


def full(error: OSError) -> bool:
    return error.errno in (ENOSPC, EDQUOT)


def reason(error: BaseException) -> str:
    """An error in a few words, on one line."""
    said = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
    return " ".join(str(said).split()) or type(error).__name__
