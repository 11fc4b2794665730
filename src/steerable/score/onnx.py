"""Catalogued ONNX nets on one core, and the faces they look at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import need
from ..nn import fetched
from . import landmarks
from .crop import similarity, warp


class OnnxNet:
    """One input, one output. Safe to share between threads. The file's hash was checked when it was fetched."""

    def __init__(self, entry: str, member: str):
        runtime = need("onnxruntime", "faces", f"the net {entry!r}")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(
            str(fetched.path_of(entry, member)), options, providers=["CPUExecutionProvider"]
        )
        self._name = self._session.get_inputs()[0].name
        self._one = self._session.get_inputs()[0].shape[0] == 1

    def __call__(self, batch: Float[Tensor, "n *shape"]) -> Float[Tensor, "n *out"]:
        parts = batch.split(1 if self._one else 32)
        return torch.cat(
            [torch.from_numpy(self._session.run(None, {self._name: part.contiguous().numpy()})[0]) for part in parts]
        )


@cache
def net(entry: str, member: str) -> OnnxNet:
    """The one net of that name in this process. Raises MissingExtra or SourceError."""
    return OnnxNet(entry, member)


@dataclass(frozen=True)
class Template:
    """How a net wants a face to lie in a square of `size` pixels: at `points` each the mean of the mesh points `of` its row."""

    points: Float[Tensor, "p 2"]
    of: tuple[tuple[int, ...], ...]
    size: int


def judged(
    images: Float[Tensor, "n 3 h w"],
    box: tuple[float, float, float],
    template: Template,
    judge: Callable[[Tensor], Tensor],
    width: int,
) -> Float[Tensor, "n width"]:
    """`judge` of each face, cropped as the template says; NaN where there is no face. It gets crops [m 3 size size] in [0, 255], RGB."""
    mesh = landmarks.net()(images, box)
    told = torch.full((len(images), width), torch.nan)
    found = mesh.found
    if found.any():
        points = torch.stack([mesh.points[found][:, list(of), :2].mean(1) for of in template.of], 1)
        where = similarity(points, template.points.double())
        crops = warp(images.detach().float().cpu()[found], where, template.size)
        told[found] = judge((crops.clamp(-1, 1) + 1) * 127.5)
    return told
