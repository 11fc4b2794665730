"""A small z-buffered triangle rasterizer with one light, compiled by numba."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(**options: Any) -> Callable[[Any], Any]:
    """numba's decorator, for the function itself: what checks shapes around it in tests cannot be compiled."""
    return lambda function: njit(**options)(getattr(function, "__wrapped__", function))


@compiled(cache=True)
def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals of vertices [v 3], from the triangles [t 3] around them, weighted by area."""
    found = np.zeros_like(vertices)
    for t in range(len(triangles)):
        i, j, k = triangles[t]
        ax, ay, az = vertices[j] - vertices[i]
        bx, by, bz = vertices[k] - vertices[i]
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            found[v, 0] += x
            found[v, 1] += y
            found[v, 2] += z
    for v in range(len(found)):
        found[v] /= np.sqrt((found[v] ** 2).sum()) + 1e-12
    return found


@compiled(cache=True, fastmath=True)
def draw(
    color: np.ndarray,  # [s s 3], written
    depth: np.ndarray,  # [s s], written; larger is nearer
    points: np.ndarray,  # [v 3]: x and y in px, and depth
    normal: np.ndarray,  # [v 3], as the camera sees them
    triangles: np.ndarray,  # [t 3]
    uv: np.ndarray,  # [u 2] in [0, 1], v upwards
    uv_triangles: np.ndarray,  # [t 3]
    texture: np.ndarray,  # [h w 4] in [0, 1]
    tint: np.ndarray,  # [3]
    least: float,  # texels with less alpha are holes
    light: np.ndarray,  # [3], unit vector towards the light
    gloss: float,
    dressed: np.ndarray,  # [v]: where positive there is cloth
    cloth: np.ndarray,  # [3]
) -> None:
    size, (h, w) = len(color), texture.shape[:2]
    half = np.sqrt(light[0] ** 2 + light[1] ** 2 + (light[2] + 1) ** 2)
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        left, right = max(0, int(min(x0, x1, x2))), min(size - 1, int(max(x0, x1, x2)) + 1)
        top, bottom = max(0, int(min(y0, y1, y2))), min(size - 1, int(max(y0, y1, y2)) + 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                w1 = ((px - x0) * (y2 - y0) - (x2 - x0) * (py - y0)) / area
                w2 = ((x1 - x0) * (py - y0) - (px - x0) * (y1 - y0)) / area
                w0 = 1 - w1 - w2
                if w0 < -1e-6 or w1 < -1e-6 or w2 < -1e-6:
                    continue
                z = w0 * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2]
                if z <= depth[y, x]:
                    continue
                u0, u1, u2 = uv_triangles[t]
                u = w0 * uv[u0, 0] + w1 * uv[u1, 0] + w2 * uv[u2, 0]
                v = w0 * uv[u0, 1] + w1 * uv[u1, 1] + w2 * uv[u2, 1]
                fx, fy = min(max(u * w - 0.5, 0.0), w - 1.001), min(max((1 - v) * h - 0.5, 0.0), h - 1.001)
                ix, iy = int(fx), int(fy)
                fx, fy = fx - ix, fy - iy
                q0, q1, q2, q3 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
                alpha = (
                    q0 * texture[iy, ix, 3]
                    + q1 * texture[iy, ix + 1, 3]
                    + q2 * texture[iy + 1, ix, 3]
                    + q3 * texture[iy + 1, ix + 1, 3]
                )
                if alpha < least:
                    continue
                nx = w0 * normal[a, 0] + w1 * normal[b, 0] + w2 * normal[c, 0]
                ny = w0 * normal[a, 1] + w1 * normal[b, 1] + w2 * normal[c, 1]
                nz = w0 * normal[a, 2] + w1 * normal[b, 2] + w2 * normal[c, 2]
                n = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                if nz < 0:  # seen from behind
                    n = -n
                nx, ny, nz = nx / n, ny / n, nz / n
                toward = nx * light[0] + ny * light[1] + nz * light[2]
                diffuse = max(0.0, (toward + 0.25) / 1.25)
                shine = gloss * max(0.0, (toward + nz) / half) ** 24
                shade = 0.42 + 0.58 * 1.15 * diffuse + 0.10 * (1 - nz)
                wears = w0 * dressed[a] + w1 * dressed[b] + w2 * dressed[c] > 0
                depth[y, x] = z
                for k in range(3):
                    value = (
                        q0 * texture[iy, ix, k]
                        + q1 * texture[iy, ix + 1, k]
                        + q2 * texture[iy + 1, ix, k]
                        + q3 * texture[iy + 1, ix + 1, k]
                    )
                    if wears:
                        color[y, x, k] = cloth[k] * shade
                    else:
                        color[y, x, k] = value * tint[k] * shade + shine
