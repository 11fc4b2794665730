"""One flat dictionary of tensors out of whatever a file held: nested dictionaries, pickled modules, TensorFlow networks."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from steerable.errors import ArtifactError

from .inert import Object, shown

NAMES = 100_000
LENGTH = 1_000  # letters in a name


def tensors(value: Any) -> dict[str, Tensor]:
    """Every named tensor in a value, by dotted name; of a module what `module.state_dict()` would hold."""
    found: dict[str, Tensor] = {}
    for name, tensor in _walk("", value):
        if name in found or len(found) == NAMES:
            raise ArtifactError(
                f"two tensors are called {shown(name)}" if name in found else f"more than {NAMES:,} tensors"
            )
        found[name] = tensor
    return found


def _walk(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    match value:
        case Tensor():
            yield name, value
        case np.ndarray() if value.dtype.kind in "biufc":
            yield name, torch.from_numpy(value if value.flags.writeable else value.copy())
        case dict():
            yield from _all(name, value)
        case list() | tuple():
            yield from _all(name, dict(enumerate(value)))
        case Object(state={"variables": list() | tuple() as variables, **rest}):
            yield from _network(name, variables, rest.get("components"))
        case Object(
            state={"_parameters": dict() as own, "_buffers": dict() as buffers, "_modules": dict() as modules, **rest}
        ):
            unsaved = rest.get("_non_persistent_buffers_set")
            unsaved = unsaved if isinstance(unsaved, set) else ()
            yield from _all(name, own)
            yield from _all(name, {key: buffer for key, buffer in buffers.items() if key not in unsaved})
            yield from _all(name, modules)
        case Object(state=dict() as attributes):
            yield from _all(name, attributes)


def _all(name: str, parts: dict[Any, Any], joint: str = ".") -> Iterator[tuple[str, Tensor]]:
    for key, part in parts.items():
        full = f"{name}{joint}{key}" if name else str(key)
        if len(full) > LENGTH:
            raise ArtifactError(f"a tensor's name of more than {LENGTH:,} letters, {shown(full)}")
        yield from _walk(full, part)


def _network(name: str, variables: Any, components: Any) -> Iterator[tuple[str, Tensor]]:
    """A network of StyleGAN's TensorFlow code keeps its own variables as pairs, and further networks as components."""
    pairs = [pair for pair in variables if isinstance(pair, tuple | list) and len(pair) == 2]
    yield from _all(name, {key: value for key, value in pairs if isinstance(key, str)}, "/")
    yield from _all(name, components if isinstance(components, dict) else {}, "/")
