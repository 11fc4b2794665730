"""Pretrained generators: `load` opens one by its name in the catalogue, or from a file."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .. import catalogue
from ..errors import SettingError, UnknownName
from ..generator import Generator
from ..method import Progress, quiet
from . import heads, tiny

FAMILIES = (
    "mobilestylegan",
    "dcgan",
    "progan",
    "stylegan1",
    "stylegan2",
    "stylegan2_bilinear",
    "stylegan3",
    "biggan",
    "resnetgan",
)  # that a catalogue entry may be of
TINY: Mapping[str, Callable[[], Generator]] = {
    "tiny-style": tiny.TinyStyle,
    "tiny-plain": tiny.TinyPlain,
    "tiny-class": lambda: tiny.TinyPlain(classes=3),
}
_said: set[str] = set()


def names() -> list[str]:
    """Every name that `load` knows."""
    return [*(n for n, e in catalogue.entries("generator").items() if e.family in FAMILIES), *heads.VARIANTS, *TINY]


def load(
    what: str | Path,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    *,
    part: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = quiet,
) -> Generator:
    """Open a generator: a name (`steerable list generators`), or a checkpoint file of any layout that `checkpoints` knows.

    Of a file with several generators `part` says which (G, g_ema …); by default the averaged one. `options` tell what a file does not, and
    `steerable show FILE` what was taken instead. Nothing in a file is executed.
    Weights that are not cached are downloaded and checked against the catalogue's hash. What limits their use is said once, on stderr.
    Raises UnknownName, SourceError (cannot be fetched, wrong hash), ArtifactError (not a checkpoint that can be read), SettingError.
    """
    name = str(what)
    if (part is not None or options) and not Path(name).is_file():
        raise SettingError(f"part and options are for checkpoint files; {name!r} is none")
    if name in TINY:
        made = TINY[name]()
    elif name in heads.VARIANTS:
        made = heads.load(name)
    elif name in names():
        entry = catalogue.entry(name)
        found = _checkpoints().catalogued(entry, catalogue.fetch(name, progress))
        made = found.generator(name)
        if entry.notice and name not in _said:
            _said.add(name)
            sys.stderr.write(f"{entry.notice}\n")
    elif Path(name).is_file():
        found = _checkpoints().opened(name, part=part, options=options)
        made = found.generator(Path(name).stem)
    else:
        raise UnknownName("generator", name, names())
    where = placed(device)
    return made if where.type == "cpu" and dtype in (None, made.dtype) else made.to(where, dtype)


def _checkpoints() -> Any:
    """The readers of files, which know the families, and so are imported when they are needed."""
    return import_module("..checkpoints", __package__)


def placed(device: str | torch.device) -> torch.device:
    """The device meant; "auto" is the first accelerator there is, else the processor."""
    if device != "auto":
        try:
            found = torch.device(device)
            torch.empty(0, device=found)
        except (RuntimeError, AssertionError) as error:
            raise SettingError(
                f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); use auto or cpu"
            ) from error
        return found
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
