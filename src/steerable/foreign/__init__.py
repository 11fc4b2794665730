"""Other people's files, read as data. This is the one place where a pickle is opened, and nothing in a file is ever executed.

`read` tells a format by its content, never by the file's name, and returns plain values. A file that asks for anything but
data is refused with an `ArtifactError` that names what it asked for. `state_dict` makes one flat dictionary of the result.

    >>> read("ffhq_pca.pt").value["comp"].shape                          # doctest: +SKIP
    torch.Size([80, 1, 512])
    >>> state_dict(read("network.pkl", keep=True).value["G_ema"])        # doctest: +SKIP
    {'synthesis.b4.const': tensor(...), ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from steerable.errors import ArtifactError

from .formats import Tree, recognized
from .inert import Global, Node, Object, shown
from .statedict import tensors

__all__ = ["Global", "Node", "Object", "Tree", "read", "state_dict"]


def read(file: str | Path | bytes, *, keep: bool = False, beside: Mapping[str, bytes] | None = None) -> Tree:
    """Read a file of any supported format without executing anything in it.

    keep:   instances of unknown classes become inert Objects (pickled networks); otherwise they are refused. What a file
            wants to *call* is refused in either case.
    beside: the other files of a model in several parts, when they are not in the same folder: the shards that a
            TensorFlow.js model names, or an OpenVINO model's one `.bin`.

    Tensors share the file's bytes where they can, so a small part of a large file keeps all of it in memory until cloned.
    Raises ArtifactError for a file that is hostile, damaged, of an unknown kind, or not there.
    """
    source = Path(file) if isinstance(file, str | Path) else bytearray(file)
    name = shown(source.name) if isinstance(source, Path) else "the data"
    try:
        return recognized(source, keep, beside or {})
    except ArtifactError as error:
        raise ArtifactError(f"{name} {error}") from error.__cause__
    except Exception as error:  # whatever else a damaged file makes a reader stumble over
        raise ArtifactError(f"{name} is damaged: {type(error).__name__}, {shown(error)}") from error


def state_dict(source: Tree | Any) -> dict[str, Tensor]:
    """Every named tensor in a tree, or in a part of one, by dotted name: "synthesis.b4.conv1.weight".

    Of a pickled module this is what its own `state_dict()` would hold; arrays become tensors that share their memory.
    Raises ArtifactError if it holds none, or two of one name.
    """
    found = tensors(source.value if isinstance(source, Tree) else source)
    if not found or "" in found:
        raise ArtifactError("no named tensors here: a set of weights was expected")
    return found
