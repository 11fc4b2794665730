"""A pair of round glasses, made of tubes around the eyes: the archive's own pairs are not core assets."""

import numpy as np
from jaxtyping import Float, Int

SIDES = 6  # of a tube
RADIUS = 0.25  # of a lens, in dm, before it is stretched


def frame(
    left: Float[np.ndarray, " 3"], right: Float[np.ndarray, " 3"], front: float
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "t 3"]]:
    """Vertices and triangles for eyes centered at `left` (x > 0) and `right`; the lenses stand at depth `front`."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    paths: list[tuple[np.ndarray, float, bool]] = []
    for x, y, _ in (left, right):
        rim = [x + 1.08 * RADIUS * np.cos(angle), y - 0.02 + 0.85 * RADIUS * np.sin(angle), np.full(24, front)]
        paths.append((np.stack(rim, 1), 0.028, True))
    nose = [
        [right[0] + 1.05 * RADIUS, right[1] + 0.04, front],
        [0, right[1] + 0.07, front + 0.03],
        [left[0] - 1.05 * RADIUS, left[1] + 0.04, front],
    ]
    paths.append((np.array(nose), 0.026, False))
    for (x, y, _), out in ((left, 1), (right, -1)):
        temple = [
            [x + out * 1.08 * RADIUS, y + 0.05, front],
            [x + out * 0.42, y + 0.07, front - 0.25],
            [x + out * 0.46, y + 0.05, front - 1.3],
        ]
        paths.append((np.array(temple), 0.024, False))
    vertices, triangles, at = [], [], 0
    for path, radius, closed in paths:
        v, t = tube(path, radius, closed)
        vertices.append(v)
        triangles.append(t + at)
        at += len(v)
    return np.concatenate(vertices), np.concatenate(triangles)


def tube(path: Float[np.ndarray, "p 3"], radius: float, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a tube around a polygon."""
    n = len(path)
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        tangent[0], tangent[-1] = path[1] - path[0], path[-1] - path[-2]
    u = np.cross(tangent, [0.3, 0.9, 0.31])
    v = np.cross(tangent, u)
    u, v = (axis / np.linalg.norm(axis, axis=1, keepdims=True) for axis in (u, v))
    turn = [2 * np.pi * k / SIDES for k in range(SIDES)]
    vertices = np.concatenate([path + radius * (np.cos(a) * u + np.sin(a) * v) for a in turn])
    quads = [
        (k * n + i, k * n + (i + 1) % n, (k + 1) % SIDES * n + (i + 1) % n, (k + 1) % SIDES * n + i)
        for i in range(n if closed else n - 1)
        for k in range(SIDES)
    ]
    return vertices, np.array([corner for a, b, c, d in quads for corner in ((a, b, c), (a, c, d))])
