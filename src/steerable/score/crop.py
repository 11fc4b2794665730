"""Square crops, turned and scaled, that are sampled without aliasing and let gradients through."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def warp(
    images: Float[Tensor, "n 3 h w"], to_picture: Float[Tensor, "n 2 3"], size: int
) -> Float[Tensor, "n 3 size size"]:
    """The crops whose pixel (x, y, 1) lies at `to_picture` @ (x, y, 1) of its picture. Pixel i covers i … i + 1. Edges are repeated.

    A picture that has to shrink is averaged down first, so that each crop pixel sees about one picture pixel.
    """
    if not len(images):
        return images.new_zeros(0, 3, size, size)
    grid = torch.arange(size, dtype=torch.float64) + 0.5
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    corners = torch.stack([x, y, torch.ones_like(x)], -1)
    crops = []
    for image, matrix in zip(images, to_picture.double().cpu(), strict=True):
        height, width = image.shape[1:]
        shrink = float(torch.linalg.det(matrix[:, :2]).abs().sqrt())
        if shrink > 1:
            small = [max(1, round(side / shrink)) for side in (height, width)]
            image = F.interpolate(image[None], size=small, mode="bilinear", antialias=True, align_corners=False)[0]
        where = corners @ matrix.T / torch.tensor([width, height], dtype=torch.float64) * 2 - 1
        where = where[None].to(image)
        crops.append(F.grid_sample(image[None], where, mode="bilinear", padding_mode="border", align_corners=False))
    return torch.cat(crops)


def similarity(points: Float[Tensor, "n p 2"], template: Float[Tensor, "p 2"]) -> Float[Tensor, "n 2 3"]:
    """The scale, turn and shift that carry `template` nearest to `points` in least squares (Umeyama, TPAMI 1991), without reflection."""
    a, b = template - template.mean(0), points - points.mean(1, keepdim=True)
    # As complex numbers the best factor is <a, b> / <a, a>.
    real = (a * b).sum((1, 2))
    imaginary = (a[:, 0] * b[:, :, 1] - a[:, 1] * b[:, :, 0]).sum(1)
    c, s = real / a.square().sum(), imaginary / a.square().sum()
    turn = torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], 1)
    return torch.cat([turn, (points.mean(1) - turn @ template.mean(0))[:, :, None]], 2)
