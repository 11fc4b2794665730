"""Masks of a face and its parts, drawn from the contours of its 478 points."""

import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from . import landmarks
from .landmarks import ALIGNED
from .scorer import Segmenter

FINE = 4  # a mask's edge is drawn this many times finer and averaged

# Closed contours as points of the net's mesh. Left and right are the picture's.
CONTOURS: dict[str, tuple[tuple[int, ...], ...]] = {
    "face": (
        (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
        + (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    "left-eye": ((33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),),
    "right-eye": ((263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),),
    "brows": ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)),
    "nose": ((168, 193, 245, 188, 174, 217, 126, 129, 98, 97, 2, 326, 327, 358, 355, 437, 399, 412, 465, 417),),
    "mouth": ((61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146),),
}


class FaceRegions(Segmenter):
    """Face oval (without hair, ears and neck), the openings of the eyes, brows, nose, mouth with lips. Left and right are the picture's."""

    name, names, version = "face-regions", tuple(CONTOURS), 1
    previews = (128, 256, 256, 256, None, 64)

    def __init__(self, box: tuple[float, float, float] = ALIGNED):
        """`box`: center x, center y and side of the square that holds the face, in picture widths; as FFHQ is aligned unless told."""
        self.box = box

    @property
    def key(self) -> str:
        return landmarks.key(self.name, self.version, self.box)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n a h w"]:
        mesh = landmarks.net()(images, self.box)
        masks = torch.full((len(images), len(self.names), *images.shape[2:]), torch.nan)
        for i in mesh.found.nonzero()[:, 0].tolist():
            points = mesh.points[i, :, :2]
            masks[i] = torch.stack(
                [drawn([points[list(c)] for c in contours], masks.shape[2:]) for contours in CONTOURS.values()]
            )
        return masks


def drawn(polygons: list[Float[Tensor, "p 2"]], size: tuple[int, ...]) -> Float[Tensor, "h w"]:
    """The union of filled polygons, in pixels, as a mask in [0, 1] with soft edges."""
    height, width = size
    mask = torch.zeros(height, width)
    corners = torch.cat(polygons)
    limit = torch.tensor([width, height], dtype=corners.dtype)
    x0, y0 = (corners.amin(0).floor().clamp(min=0).minimum(limit)).int().tolist()
    x1, y1 = (corners.amax(0).ceil().clamp(min=0).minimum(limit)).int().tolist()
    if x1 <= x0 or y1 <= y0:
        return mask
    canvas = Image.new("L", ((x1 - x0) * FINE, (y1 - y0) * FINE))
    pen = ImageDraw.Draw(canvas)
    for polygon in polygons:
        # PIL counts pixel centers, this library pixel corners: half a fine pixel less.
        pen.polygon([((x - x0) * FINE - 0.5, (y - y0) * FINE - 0.5) for x, y in polygon.tolist()], fill=255)
    fine = torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).view(1, y1 - y0, FINE, x1 - x0, FINE)
    mask[y0:y1, x0:x1] = fine.float().mean((0, 2, 4)) / 255
    return mask
