"""One file for each result: safetensors with one JSON header that says what it is and where it came from."""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import ArtifactError, MismatchError
from .record import Record, UnknownRecord

FORMAT = 1
KEY = "steerable"
VERBS = (".discover", ".invert", ".invert.files", ".measure", ".photo")


@runtime_checkable
class Weights(Protocol):
    """What a file says of the generator it was made with."""

    name: str

    @property
    def fingerprint(self) -> str: ...


@runtime_checkable
class Origin(Protocol):
    """What a file says of the method that made it."""

    name: ClassVar[str]
    paper: ClassVar[str]

    def settings(self) -> dict[str, Any]: ...


@contextmanager
def replacing(file: str | Path) -> Iterator[Path]:
    """A temporary path beside `file` that takes its place when the block ends well, and is removed when it does not."""
    file = Path(file)
    if not file.parent.is_dir():
        raise ArtifactError(f"cannot write {file}: there is no folder {file.parent}")
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)
        part.replace(file)
    except OSError as error:
        raise ArtifactError(f"could not write {file}: {error.strerror or error}; nothing was left behind") from error
    finally:
        part.unlink(missing_ok=True)


def save(
    thing: Record,
    file: str | Path,
    *,
    generator: Weights | None = None,
    method: Origin | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a record with what is known of its origin: generator and fingerprint, method and settings, versions.

    The file appears whole or not at all. Raises ArtifactError if it cannot be written.
    """
    file = Path(file)
    header = {
        "format": FORMAT,
        "kind": thing.kind,
        "content": thing.header(),
        "generator": generator and {"name": generator.name, "fingerprint": generator.fingerprint},
        "method": method and {"name": method.name, "paper": method.paper, "settings": method.settings()},
        "notes": dict(notes or {}),
        "environment": {
            "steerable": version("steerable"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    }
    tensors = {name: t.clone() for name, t in thing.tensors().items()}
    with replacing(file) as part:
        try:
            save_file(tensors, part, metadata={KEY: json.dumps(header, allow_nan=False)})
        except SafetensorError as error:
            raise ArtifactError(f"could not write {file}: {error}; nothing was left behind") from error
    return file


def header(file: str | Path) -> dict[str, Any]:
    """The JSON header of one of our files, read without its tensors. Raises ArtifactError for anything else."""
    file = Path(file)
    if not file.is_file():
        raise ArtifactError(f"there is no file {file}")
    try:
        with safe_open(file, "pt") as f:
            text = (f.metadata() or {}).get(KEY)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{file} is not a safetensors file, or is damaged: {error}") from error
    if text is None:
        raise ArtifactError(f"{file} is a safetensors file but not one of ours: it has no {KEY!r} header")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} has a damaged header: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtifactError(f"{file} is of a format this version does not know; it reads format {FORMAT}")
    return found


def load(file: str | Path, *, generator: Weights | None = None, allow_mismatch: bool = False) -> Record:
    """Read one of our files. With `generator`, check that it was made with the same weights.

    Raises ArtifactError for a damaged or foreign file, MismatchError for other weights (unless `allow_mismatch`).
    """
    found = header(file)
    made_with = found.get("generator")
    if generator is not None and made_with and made_with["fingerprint"] != generator.fingerprint and not allow_mismatch:
        raise MismatchError(
            f"{file} was made with {made_with['name']}, whose weights differ from {generator.name}'s; "
            "use it with that generator, or pass allow_mismatch=True if you know that they share a latent space"
        )
    with safe_open(file, "pt") as f:
        # A file's tensors lie anywhere in memory, which changes the last bits of what is computed with them.
        tensors = {name: f.get_tensor(name).clone() for name in f.keys()}  # noqa: SIM118
    with suppress(UnknownRecord):
        return Record.of(found["content"], tensors)
    for verb in VERBS:  # some paths and edits are at home in a method's own file, which may not have been used yet
        import_module(verb, __package__)
    return Record.of(found["content"], tensors)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """A sha256 over names, types, shapes and bytes of the tensors of a file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{t.dtype}:{tuple(t.shape)};".encode())
        if t.numel():
            digest.update(t.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
