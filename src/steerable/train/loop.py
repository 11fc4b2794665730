"""What every training shares: averaged weights, averaged gradients, files to go on from, and a word about how it goes.

A step's randomness comes from its own number, never from what ran before. So a run that was killed and taken up again gives the same
bits as one that was not, and several processes draw the same batch and share it.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor, nn

from .. import workers
from ..artifact import replacing
from ..errors import ArtifactError, MethodFailed
from ..method import Progress

FORMAT = 1
SAVED = "last.safetensors"
KEY = "steerable-training"
N = TypeVar("N", bound=nn.Module)


@runtime_checkable
class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


@dataclass(frozen=True)
class Report:
    """How a training stands: images shown, seconds of this run, numbers by name, and a few pictures [n 3 h w]."""

    images: int
    seconds: float
    numbers: Mapping[str, float]
    pictures: Tensor | None = None

    def __str__(self) -> str:
        said = "  ".join(f"{name} {value:.4g}" for name, value in self.numbers.items())
        return f"{self.images / 1000:.1f} k images  {self.seconds / 60:.1f} min  {said}"


class Average(Generic[N]):
    """An exponential moving average of a net: after `half_life` images an old weight counts half. Short at the start of training."""

    def __init__(self, net: N, half_life: float):
        self.net, self.half_life = copy.deepcopy(net).eval().requires_grad_(False), half_life

    @torch.no_grad()
    def update(self, net: nn.Module, images: int, batch: int) -> None:
        """`images` is how many were shown so far."""
        keep = 0.5 ** (batch / max(min(self.half_life, 0.1 * images), 1e-8))
        torch._foreach_lerp_(list(self.net.parameters()), [p.detach() for p in net.parameters()], 1 - keep)
        for mine, theirs in zip(self.net.buffers(), net.buffers(), strict=True):
            mine.copy_(theirs)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """The mean of the gradients of all processes, in each of them."""
    if workers.world() == 1:
        return
    given = [p.grad for p in parameters if p.grad is not None]
    flat = workers.total(torch.cat([g.flatten() for g in given])) / workers.world()
    for gradient, part in zip(given, flat.split([g.numel() for g in given]), strict=True):
        gradient.copy_(part.view_as(gradient))


def share(batch: Tensor) -> Tensor:
    """The rows of a batch that this process works on."""
    return batch[workers.rank() :: workers.world()]


def cosine(images: int, total: int, warm: int = 0) -> float:
    """A learning-rate factor that rises over the first `warm` images and then falls from 1 to 0 as half a cosine."""
    return min(1.0, (images + 1) / max(warm, 1)) * 0.5 * (1 + math.cos(math.pi * min(1.0, images / total)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def finite(loss: Tensor, what: str, images: int) -> None:
    """Raises MethodFailed where training has blown up."""
    if not torch.isfinite(loss.detach()).all():
        raise MethodFailed(
            f"{what} became {float(loss):g} after {images} images; start again from an earlier file with a smaller rate"
        )


def keep(folder: Path, images: int, parts: Mapping[str, Stateful], settings: Mapping[str, Any]) -> Path:
    """Write all that is needed to go on, whole or not at all. Only the first process writes.

    The file is safetensors; its header holds whatever is not a tensor, as JSON.
    """
    file, tensors = folder / SAVED, {}
    if workers.rank() == 0:
        state = packed({name: part.state_dict() for name, part in parts.items()}, tensors)
        told = {"format": FORMAT, "images": images, "settings": dict(settings), "state": state}
        with replacing(file) as part:
            part.write_bytes(serialize(tensors, {KEY: json.dumps(told)}))
    return file


def packed(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for nested dicts and lists, as optimizers keep them; tensors go into `tensors` and stand there by their names."""
    match value:
        case Tensor():
            name = str(len(tensors))
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": name}
        case Mapping():
            return {"map": [[key, packed(v, tensors)] for key, v in value.items()]}  # keys may be numbers
        case tuple() | list():
            return {"list": [packed(v, tensors) for v in value]}
    return value


def unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"tensor": str(name)}:
            return tensors[name]
        case {"map": list(pairs)}:
            return {key: unpacked(v, tensors) for key, v in pairs}
        case {"list": list(items)}:
            return [unpacked(v, tensors) for v in items]
    return value


def take_up(folder: Path, parts: Mapping[str, Stateful], settings: Mapping[str, Any]) -> int:
    """Load what `keep` wrote; how many images had been shown, 0 where there is nothing yet. Raises ArtifactError.

    Settings must be the ones it was begun with: a run that changes them half-way is another run.
    """
    file = folder / SAVED
    if not file.is_file():
        return 0
    found = opened(file)
    different = sorted(k for k in {*settings, *found["settings"]} if settings.get(k) != found["settings"].get(k))
    if different:
        was = ", ".join(f"{k}={found['settings'].get(k)!r}" for k in different)
        raise ArtifactError(f"{file} was begun with {was}; go on with these, or choose another folder")
    missing = sorted(set(parts) ^ set(found["state"]))
    if missing:
        raise ArtifactError(f"{file} does not fit this training: {', '.join(missing)}")
    for name, part in parts.items():
        try:
            part.load_state_dict(found["state"][name])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{file} does not fit this training: {name}: {str(error)[:200]}") from error
    return int(found["images"])


def opened(file: Path) -> dict[str, Any]:
    """What `keep` wrote. Raises ArtifactError for anything else."""
    try:
        with safe_open(file, "pt") as stream:
            told = json.loads((stream.metadata() or {})[KEY])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        if told["format"] != FORMAT:
            raise ArtifactError(f"{file} is not a training file of this version")
        return {**told, "state": unpacked(told["state"], tensors)}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{file} is not a training file that can be read: {str(error)[:120]}") from error


def loop(
    *,
    first: int,
    total: int,
    batch: int,
    every: int,
    step: Callable[[int], dict[str, Tensor]],
    save: Callable[[int], object],
    look: Callable[[], tuple[dict[str, float], Tensor | None]],
    report: Callable[[Report], None] | None,
    progress: Progress,
    title: str,
) -> None:
    """Steps from image `first` to `total`; after every `every` images, and at the end, a file is kept and a report given.

    `step(images)` makes one step and returns its losses. An interruption (Ctrl-C, kill) loses what came after the last file.
    """
    begun, sums, count = time.monotonic(), {}, 0

    def numbered() -> Iterator[int]:
        yield from range(first, total, batch)

    steps = -(-(total - first) // batch)
    for at in progress.over(numbered(), title, steps):
        for name, loss in step(at).items():
            sums[name] = sums.get(name, 0) + loss.detach()
        count += 1
        shown = at + batch
        if shown // every > at // every or shown >= total:
            numbers = {name: float(value) / count for name, value in sums.items()}
            finite(torch.tensor(list(numbers.values())), "the loss", shown)
            save(shown)
            sums, count = {}, 0
            if report and workers.rank() == 0:
                more, pictures = look()
                report(Report(shown, time.monotonic() - begun, {**numbers, **more}, pictures))
