"""What the layouts have in common: named tensors found in a tree wherever they are wrapped, and errors that say what was found."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from .. import foreign
from ..errors import ArtifactError, SettingError
from ..foreign import Object
from ..generators.opening import first_line

DAMAGED = (KeyError, IndexError, TypeError, ValueError, RuntimeError, AttributeError)  # what unexpected shapes lead to
AVERAGED = (
    "G_ema",
    "Gs",
    "g_ema",
    "generator_ema",
    "generator_smooth",
    "GE",
)  # how the averaged generator is called, which is the better one
TOLD = "{} is not in the file and was taken to be {}, as published; give another by options={{{!r}: …}}"
NO_MEAN = "the file holds no mean w: truncation uses the mean of 50,000 samples, made when it is first needed"
NO_NOISE = "the file holds no noise maps (its code draws them anew for each picture): they are zero unless an input or an edit gives others"


def named(tree: foreign.Tree) -> dict[str, Tensor]:
    """Every tensor of a tree by dotted name; none if it has no names."""
    try:
        return foreign.state_dict(tree)
    except ArtifactError as error:
        if str(error).startswith("no named tensors"):
            return {}
        raise


def prefixes(state: Mapping[str, Tensor], leaf: str) -> list[str]:
    """What stands before `leaf` in the names that end with it: "", "g_ema.", "state_dict.generator." …"""
    return [key[: -len(leaf)] for key in state if key.endswith(leaf) and key[: -len(leaf)][-1:] in ("", ".", "/")]


def chosen(found: Sequence[str], part: object) -> str:
    """The prefix of the part that was asked for; without that, of the averaged generator, else of the first."""
    if part is None:
        return min(found, key=lambda prefix: not set(_words(prefix)) & set(AVERAGED))
    for prefix in found:
        if part == prefix.rstrip("./") or part in _words(prefix):
            return prefix
    there = ", ".join(prefix.rstrip("./") or "one without a name" for prefix in found)
    raise ArtifactError(f"there is no generator {str(part)[:80]!r} in it; there is: {there}")


def _words(prefix: str) -> list[str]:
    return prefix.replace("/", ".").split(".")


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def inside(value: Any, prefix: str) -> Any:
    """What lies at a prefix of a tree's value, or None."""
    for word in filter(None, prefix.rstrip(".").split(".")):
        match value:
            case dict() if word in value:
                value = value[word]
            case Object(state={"_modules": dict() as modules}) if word in modules:
                value = modules[word]
            case Object(state=dict() as state) if word in state:
                value = state[word]
            case _:
                return None
    return value


def listing(tree: foreign.Tree) -> list[str]:
    """What a file holds at its top, for people."""
    value = tree.value
    names = list(value) if isinstance(value, dict) else []
    return [str(name)[:80] for name in names[:40]] if len(names) <= 40 else [f"{len(names)} entries"]


class Taken(Mapping[str, Tensor]):
    """Tensors by name that remember which of them were read, so that none is left over in silence."""

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.tensors, self.read = tensors, set[str]()

    def __getitem__(self, key: str) -> Tensor:
        tensor = self.tensors[key]
        self.read.add(key)
        return tensor

    def __contains__(self, key: object) -> bool:
        return key in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def done(self, unused: str) -> None:
        """Raises ArtifactError for tensors that were not read and whose names do not fit the pattern `unused`."""
        left = [key for key in self.tensors if key not in self.read and not re.fullmatch(unused, key)]
        if left:
            raise ArtifactError(
                f"holds {len(left)} tensors that belong to nothing, the first is {left[0][:80]!r}: "
                "another one is missing, or its code differs from the published one"
            )


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Whatever tensors of unexpected names and shapes lead to becomes one ArtifactError."""
    try:
        yield
    except ArtifactError:
        raise
    except KeyError as error:
        raise ArtifactError(
            f"is {what}, but damaged or of another kind: there is no {error.args[0]!r}"[:300]
        ) from error
    except (SettingError, *DAMAGED) as error:
        raise ArtifactError(f"is {what}, but damaged or of another kind: {first_line(error)}") from error


def published(options: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Raises ArtifactError for an option that is not as usual: the net would be computed in another way than is done here."""
    for key, value in usual.items():
        given = options.get(key, value)
        given = list(given) if isinstance(given, tuple) else given
        if type(given) is not type(value) or given != value:
            raise ArtifactError(f"was made with {key}={options[key]!r}; only {key}={value!r} is known here"[:300])


def grown(state: Mapping[str, Tensor], *names: str) -> None:
    """Raises ArtifactError if `lod`, the sizes that have not been added yet, is not 0."""
    for name in names:
        if name in state and (state[name].numel() != 1 or float(state[name]) != 0):
            raise ArtifactError("is still growing (lod is not 0); take a later checkpoint")


def number(value: Any, key: str) -> float:
    """A setting as a number. Raises ArtifactError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArtifactError(f"says {key}={str(value)[:80]!r}; a number is expected")
    return float(value)


def limit(value: Any, key: str) -> float | None:
    """A setting that may be None, for no limit. Raises ArtifactError."""
    return None if value is None else number(value, key)


def last(tensor: Tensor, count: int) -> Tensor:
    """The last `count` axes; those before must have the length 1. Raises ArtifactError."""
    if tensor.ndim < count or any(n != 1 for n in tensor.shape[: tensor.ndim - count]):
        raise ArtifactError(f"holds a tensor of the shape {tuple(tensor.shape)} where one of {count} axes is expected")
    return tensor.reshape(tensor.shape[tensor.ndim - count :])


def vector(tensor: Tensor) -> Tensor:
    """A tensor of one axis, whatever axes of length 1 are around it. Raises ArtifactError."""
    if tensor.numel() != max(tensor.shape, default=0):
        raise ArtifactError(f"holds a tensor of the shape {tuple(tensor.shape)} where one of one axis is expected")
    return tensor.reshape(-1)
