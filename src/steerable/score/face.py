"""What a face does, read from its 478 points: smile, open mouth, pose, eyes, brows.

The points are first turned back to the front by a rigid fit, so that lengths on the face do not shrink when the head turns.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from . import landmarks
from .landmarks import ALIGNED, Canon, Mesh
from .scorer import Scorer

# Points of the net's mesh, the two sides of the picture in turn.
CORNERS = (61, 291)  # of the mouth
PHILTRUM = 164
INNER_LIPS = (13, 14)
EYE_ENDS = ((33, 133), (263, 362))
LIDS = (((160, 144), (159, 145), (158, 153)), ((387, 373), (386, 374), (385, 380)))
BROWS = (105, 66, 107, 334, 296, 336)


@dataclass(frozen=True)
class Pose:
    """`turn` carries the mean face's axes (x right, y up, z to the viewer) to the picture's; `still`: the points with it undone, in cm."""

    turn: Float[Tensor, "n 3 3"]
    still: Float[Tensor, "n 478 3"]

    @property
    def yaw(self) -> Float[Tensor, "n"]:
        """Degrees; positive where the face looks to the picture's right."""
        return torch.atan2(self.turn[:, 0, 2], self.turn[:, 2, 2]).rad2deg()

    @property
    def pitch(self) -> Float[Tensor, "n"]:
        """Degrees; positive where the face looks up. 0 is the mean face's own front, not the camera's height."""
        return torch.asin(self.turn[:, 1, 2].clamp(-1, 1)).rad2deg()


def pose(points: Float[Tensor, "n 478 3"], canon: Canon) -> Pose:
    """The scale, rotation and shift of the mean face that come nearest to the rigid points (weighted Procrustes; Umeyama, TPAMI 1991)."""
    points = points * points.new_tensor([1, -1, -1])
    weights = canon.weights / canon.weights.sum()
    model, seen = canon.points[canon.rigid], points[:, canon.rigid]
    center = (weights[:, None] * seen).sum(1, keepdim=True)
    model, seen = model - (weights[:, None] * model).sum(0), seen - center
    u, s, vh = torch.linalg.svd(torch.einsum("p,npi,pj->nij", weights, seen, model))
    sign = torch.ones_like(s)
    sign[:, 2] = torch.det(u @ vh).sign()
    turn = u * sign[:, None] @ vh
    scale = (s * sign).sum(1) / (weights[:, None] * model.square()).sum()
    return Pose(turn, (points - center) / scale[:, None, None] @ turn)


class Face(Scorer):
    """Scores of a face's points. Lengths are in distances between the eyes' centers, of the head turned back to the front.

    smile       width of the mouth + 2 × height of its corners over the philtrum (below it, so negative): about .1 earnest, .7 laughing
    mouth-open  between the inner lips; 0 is closed
    yaw, pitch  degrees, positive to the picture's right and up
    eyes-open   height of the eyes' opening in widths of the eye, mean of both
    brow-raise  height of the brows over the eyes' centers
    """

    name, version = "face", 1
    names = ("smile", "mouth-open", "yaw", "pitch", "eyes-open", "brow-raise")
    units = ("eye distances", "eye distances", "degrees", "degrees", "eye widths", "eye distances")
    previews = (128, 64, 64, 64, 256, 256)

    def __init__(self, box: tuple[float, float, float] = ALIGNED):
        """`box`: center x, center y and side of the square that holds the face, in picture widths; as FFHQ is aligned unless told."""
        self.box = box

    @property
    def key(self) -> str:
        return landmarks.key(self.name, self.version, self.box)

    def read(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 6"]:
        net = landmarks.net()
        return scores(net(images, self.box), net.canon).float()


def scores(mesh: Mesh, canon: Canon) -> Float[Tensor, "n 6"]:
    found = mesh.found
    told = pose(mesh.points[found], canon)
    still = told.still
    centers = [still[:, list(ends)].mean(1) for ends in EYE_ENDS]
    between = (centers[0] - centers[1]).norm(dim=1)

    def apart(a: int, b: int) -> Tensor:
        return (still[:, a] - still[:, b]).norm(dim=1)

    width = apart(*CORNERS) / between
    lift = (still[:, list(CORNERS), 1].mean(1) - still[:, PHILTRUM, 1]) / between
    opening = apart(*INNER_LIPS) / between
    eyes = [
        torch.stack([apart(*pair) for pair in lids]).mean(0) / apart(*ends)
        for lids, ends in zip(LIDS, EYE_ENDS, strict=True)
    ]
    brows = (still[:, list(BROWS), 1].mean(1) - (centers[0] + centers[1])[:, 1] / 2) / between
    columns = [width + 2 * lift, opening, told.yaw, told.pitch, (eyes[0] + eyes[1]) / 2, brows]
    table = torch.full((len(mesh.points), len(columns)), torch.nan, dtype=mesh.points.dtype)
    table[found] = torch.stack(columns, 1)
    return table
