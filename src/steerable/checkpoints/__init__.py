"""Anyone's checkpoints, opened as they are: each layout knows the files of one writer, and is asked for its own by content.

`foreign` has read a file into inert values before a layout sees it; nothing in it is executed. A layout is a module with

    LAYOUT      who writes such files
    OPTIONS     what may be told where the file does not (beside `part`)
    recognized(tree, options) -> Checkpoint | None       None: not mine; ArtifactError: mine, but broken, or something cannot be told
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from .. import foreign
from ..artifact import replacing
from ..catalogue import Entry
from ..errors import ArtifactError, SettingError
from ..foreign import Tree
from ..foreign.inert import listed, shown
from . import (
    biggan,
    chains,
    genforce,
    lucidrains,
    mmgeneration,
    nvidia,
    openvino,
    own,
    resnetgan,
    rosinality,
    tensorflow,
    tfjs,
)
from .checkpoint import Checkpoint
from .reading import listing, named

# Those that know more of their files come first; a plain chain of convolutions could be part of many things.
LAYOUTS: tuple[ModuleType, ...] = (
    nvidia, tensorflow, mmgeneration, rosinality, lucidrains, genforce, tfjs, biggan, resnetgan, chains,
)  # fmt: skip

__all__ = ["LAYOUTS", "Checkpoint", "catalogued", "converted", "identified", "opened"]


def opened(
    file: str | Path | bytes, *, part: str | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """The generator in a checkpoint of any known layout, before a net is built.

    `part` says which of several generators is meant (G, g_ema, generator …); by default the averaged one. `options` tell what a file does
    not. Raises ArtifactError (hostile, damaged, of no known layout), SettingError for options that the layout does not know.
    """
    if not isinstance(file, bytes) and own.ours(file):
        return own.opened(file, part)
    tree = foreign.read(file, keep=True)
    return identified(tree, "the data" if isinstance(file, bytes) else Path(file).name, part=part, options=options)


def identified(
    tree: Tree, name: str, *, part: str | None = None, options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """The generator in a file that was read. Raises as `opened`."""
    given = dict(options or {}) | ({} if part is None else {"part": part})
    for layout in LAYOUTS:
        try:
            found = layout.recognized(tree, given)
        except ArtifactError as error:
            raise ArtifactError(f"{shown(name)} {error}") from error.__cause__
        if found is not None:
            known = getattr(layout, "OPTIONS", tuple(given))
            if unknown := sorted(given.keys() - {"part", *known}):
                there = f"there is: {', '.join(known)}" if known else "there are none"
                raise SettingError(f"{layout.LAYOUT} files have no option {unknown[0]!r}; {there}")
            return found
    raise ArtifactError(f"{shown(name)} {_unknown(tree)}")


def _unknown(tree: Tree) -> str:
    """What was found instead of a generator."""
    layouts = ", ".join(layout.LAYOUT for layout in LAYOUTS)
    keys = list(named(tree)) or listing(tree)
    what = f"it holds {listed(keys)}" if keys else "it holds no named tensors"
    run = {"onnx": "an ONNX graph", "torchscript": "a TorchScript program", "openvino": "an OpenVINO graph"}
    program = (
        f"{run[tree.format]}, which is not run, and its tensors are"
        if tree.format in run
        else f"a {tree.format} file, but"
    )
    return f"is {program} of no generator that is known here: {what}; known layouts: {layouts}, steerable"


def catalogued(entry: Entry, files: Mapping[str, Path]) -> Checkpoint:
    """The generator of a catalogue entry, out of its files. Raises ArtifactError."""
    if entry.family == "mobilestylegan":  # two networks, each of two files
        return openvino.catalogued(entry, files)
    main = [key for key in files if key.endswith("model.json")] or list(files)
    if len(main) != 1:
        raise ArtifactError(
            f"{entry.name}: one file is expected, or a model.json and its shards; there is: {', '.join(files) or 'nothing'}"
        )
    beside = {key.rpartition("/")[2]: path.read_bytes() for key, path in files.items() if key not in main}
    tree = foreign.read(files[main[0]], keep=True, beside=beside)
    classes = entry.more.get("classes", ())
    options = {"classes": len(classes)} if isinstance(classes, list | tuple) and classes else {}
    return replace(identified(tree, entry.name, options=options), notes=())


def converted(found: Checkpoint, file: str | Path, to: str = "steerable", name: str = "") -> list[str]:
    """Write a checkpoint as one of our files, or as "rosinality"; says what the new layout cannot.

    The net is made first, so that no file is written of one that could not be. Raises ArtifactError, SettingError.
    """
    if to not in ("steerable", "rosinality"):
        raise SettingError(f"checkpoints are written as steerable or rosinality; got {to!r}")
    made = replace(found, critic=None).generator(name or "the checkpoint")
    if to == "steerable":
        own.saved(found, file, name)
        return []
    rosinality.fits(found)
    content = rosinality.written(found, found.tensors["w_avg"] if "w_avg" in found.tensors else made.moments("w").mean)
    with replacing(file) as part:
        torch.save(content, part)
    return rosinality.lost(found)
