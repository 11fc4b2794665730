"""Which part of a photograph a generator's pictures show: FFHQ's alignment from five points, or the middle.

Paper    Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks", CVPR 2019 (appendix A; FFHQ)
Matches  the square's center, turn and size from the eyes' middles and the mouth's corners; reflected, blurred margins (`Crop.cut`)
Differs  the lids' rims and corners of the mouth are read from 478 points of MediaPipe's net, not 68 of dlib's (trained on data that may
         not be used commercially); where that net sees no face, the detector's five points stand in; the matrix is kept
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError
from ..generator import Generator
from ..score import landmarks
from . import faces
from .crop import Crop, square
from .faces import Detector, Sighting

CROPS = ("auto", "face", "center")
SMALLEST = 16  # px of a photograph's side
# Of the 478 points: the rims of the lids (their means are the middles of the eyes), the tip of the nose, the corners of the mouth.
RIMS = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380), (4,), (61,), (291,))


def by_face(crop: str, generator: Generator) -> bool:
    """Whether photographs for this generator are aligned by their face: "auto" (of CROPS) does so where its name says FFHQ."""
    return crop == "face" or (crop == "auto" and "ffhq" in generator.name.lower())


def cropped(photo: Float[Tensor, "1 3 h w"], generator: Generator, faces: bool, which: int | None = None) -> Crop:
    """What the generator's pictures show of a photograph: an aligned face, or the middle. Raises SettingError as these two do."""
    return aligned(photo, generator.resolution, which=which) if faces else centered(photo, generator.size)


def aligned(
    photo: Float[Tensor, "1 3 h w"],
    size: int = 1024,
    *,
    detector: Detector | None = None,
    which: int | None = None,
) -> Crop:
    """Where FFHQ would have cut a face out of this photograph, as a square of `size` px.

    `which` chooses among several faces, 0 being the largest. `detector` finds them with their points; without one, YuNet finds them and
    the points are refined. Raises SettingError where there is no face, where there are several and none is chosen, or for a photograph of
    a few pixels.
    """
    _large_enough(photo)
    found = list((detector or faces.yunet())(photo))
    points = found[_index(found, which)].points
    if detector is None:
        points = refined(photo, points)
    return Crop(ffhq(points, size), square(size), _size(photo), points.double())


def refined(photo: Float[Tensor, "1 3 h w"], points: Float[Tensor, "5 2"]) -> Float[Tensor, "5 2"]:
    """The five points as the mesh of the face has them, which YuNet's miss by some hundredths of the eyes' distance."""
    near = Crop(ffhq(points, 2 * landmarks.SIZE), square(2 * landmarks.SIZE), _size(photo))
    mesh = landmarks.net()(near.cut(photo))
    if not bool(mesh.found):
        return points
    seen = torch.stack([mesh.points[0, list(of), :2].mean(0) for of in RIMS]).double()
    return (seen @ near.matrix[:, :2].T + near.matrix[:, 2]).to(points)


def ffhq(points: Float[Tensor, "5 2"], size: int) -> Float[Tensor, "2 3"]:
    """The matrix of FFHQ's square for a face with these eyes (0, 1) and corners of the mouth (3, 4), the picture's left first."""
    p = points.double()
    eyes, mouth = p[:2].mean(0), p[3:].mean(0)
    eye_to_eye, eye_to_mouth = p[1] - p[0], mouth - eyes
    turned = lambda v: torch.stack([-v[1], v[0]])
    x = eye_to_eye - turned(eye_to_mouth)
    x = x / x.norm() * torch.maximum(eye_to_eye.norm() * 2, eye_to_mouth.norm() * 1.8)
    y = turned(x)
    corner = eyes + 0.1 * eye_to_mouth - x - y
    return torch.stack([2 * x / size, 2 * y / size, corner], 1)


def centered(photo: Float[Tensor, "1 3 h w"], size: int | tuple[int, int] = 1024) -> Crop:
    """The largest rectangle of that shape in the middle, for generators of anything but aligned faces. `size`: px, or height and width."""
    _large_enough(photo)
    (h, w), (height, width) = square(size), _size(photo)
    scale = min(height / h, width / w)
    left, top = (width - scale * w) / 2, (height - scale * h) / 2
    return Crop(torch.tensor([[scale, 0, left], [0, scale, top]], dtype=torch.float64), (h, w), (height, width))


def _index(found: Sequence[Sighting], which: int | None) -> int:
    if not found:
        raise SettingError(
            "no face was found in the photograph: it shows none, or one that is turned far aside, covered, or upside down; "
            "turn it upright or cut it closer, or take its middle (crop center) if it is aligned already"
        )
    if which is None and len(found) > 1:
        raise SettingError(
            f"the photograph shows {len(found)} faces; choose one by its number (which=, --face), 0 is the largest: {listed(found)}"
        )
    if not 0 <= (which or 0) < len(found):
        raise SettingError(f"there is no face {which}: the photograph shows {len(found)}, {listed(found)}")
    return which or 0


def listed(found: Sequence[Sighting]) -> str:
    """Where they are, in one line."""
    at = lambda s: ((s.box[:2] + s.box[2:]) / 2).round().int().tolist()
    lines = [f"{i} at ({at(s)[0]}, {at(s)[1]}) {s.box[3] - s.box[1]:.0f} px high" for i, s in enumerate(found[:12])]
    return ", ".join(lines) + (" …" if len(found) > 12 else "")


def _size(photo: Tensor) -> tuple[int, int]:
    return int(photo.shape[-2]), int(photo.shape[-1])


def _large_enough(photo: Tensor) -> None:
    h, w = _size(photo)
    if min(h, w) < SMALLEST:
        raise SettingError(f"the photograph has {w}x{h} px; at least {SMALLEST} px a side are needed")
