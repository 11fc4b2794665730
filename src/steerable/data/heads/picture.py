"""Factors in, pictures out: a head before a soft backdrop, under one light."""

from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ...errors import need
from . import anatomy, glasses, world
from .world import Head

SUPERSAMPLE = 4  # each pixel is the mean of 4 x 4
ZOOM = 0.42  # picture widths for a decimeter at the center
CAMERA = 12.0  # its distance in dm
ABOVE_EYES = np.array([0, 0.15, -0.9])  # the middle of the skull, from between the eyes
CROWN = 0.30  # height over the eyes (dm) from which the long hair alone covers the head
WHITE = np.ones(3)
FRAME = np.full((4, 4, 4), 0.08, np.float32)
FRAME[..., 3] = 1


def render(factors: Float[np.ndarray, "n f"], size: int = 64) -> UInt8[np.ndarray, "n size size 3"]:
    """Pictures of heads with these factors (`world.NAMES`, each in [-1, 1]), RGB.

    The same factors give the same bytes. Raises SettingError for factors outside the cube, MissingExtra without numba (the extra "render"),
    SourceError where the archive with the assets cannot be fetched.
    """
    rows = world.checked(factors)
    need("numba", "render", "rendering heads")
    from . import rasterizer

    return np.stack([Canvas(world.head(row), size, rasterizer).picture() for row in rows])


class Canvas:
    """One head, drawn part by part from back to front; the z-buffer sorts what crosses."""

    def __init__(self, head: Head, size: int, rasterizer: ModuleType):
        self.head, self.size, self.rasterizer = head, size * SUPERSAMPLE, rasterizer
        self.body = anatomy.vertices(head)
        self.eyeballs = anatomy.part("eyes").proxy.on(self.body)
        self.eye = self.eyeballs.mean(0)
        self.center = self.eye + np.array([0, -0.28, -0.8])
        self.turn = rotation(head.yaw, head.pitch)
        light = np.array([np.sin(head.light), 0.45, np.cos(head.light)])
        self.light = light / np.linalg.norm(light)
        fall = np.linspace(1.08, 0.85, self.size)[:, None, None]
        self.color = np.clip(np.array(head.background) * fall, 0, 1) * np.ones((self.size, self.size, 3))
        self.depth = np.full((self.size, self.size), -1e9)

    def picture(self) -> UInt8[np.ndarray, "size size 3"]:
        self.bust()
        self.eyes()
        self.wear("teeth")
        self.wear("brows", tint=self.head.brows, gloss=0.0, least=0.35)
        self.wear("lashes", gloss=0.0, least=0.6)
        self.hair()
        self.glasses()
        s = SUPERSAMPLE
        small = self.color.reshape(self.size // s, s, self.size // s, s, 3).mean((1, 3))
        return (np.clip(small, 0, 1) ** (1 / 1.05) * 255 + 0.5).astype(np.uint8)

    def bust(self) -> None:
        mesh = anatomy.bust()
        height = self.body[:, 1] + 0.30 * (self.body[:, 2] - self.center[2])
        collar = (self.eye[1] - 1.12) - height  # round: lower in front
        self.draw(
            self.body, mesh, anatomy.skin(self.head), gloss=0.10, least=-1.0, dressed=collar, cloth=self.head.cloth
        )

    def eyes(self) -> None:
        brown, light = anatomy.irises()
        texture = brown + np.float32(self.head.iris) * (light - brown)
        self.draw(self.eyeballs, anatomy.part("eyes").proxy.mesh, texture, gloss=0.25, least=0.3)

    def wear(self, name: str, tint: tuple[float, ...] | None = None, gloss: float = 0.05, least: float = 0.45) -> None:
        part = anatomy.part(name)
        self.draw(part.proxy.on(self.body), part.proxy.mesh, part.texture, tint=tint, gloss=gloss, least=least)

    def hair(self) -> None:
        """Straight hair over a short cap, or curls. Between the two, the straight hair draws back while the curls grow out of it."""
        if self.head.curl < 1:
            self.straight(self.head.length * (1 - self.head.curl), 1 - 0.30 * self.head.curl)
        if self.head.curl > 0:
            self.curls()

    def straight(self, length: float, grown: float) -> None:
        cap, long = anatomy.part("cap"), anatomy.part("straight")
        middle = self.eye + ABOVE_EYES
        under, points = cap.proxy.on(self.body), long.proxy.on(self.body)
        self.draw(
            middle + (under - middle) * 0.965 * grown,
            below(cap.proxy.mesh, under, self.eye[1] + CROWN),
            cap.texture,
            tint=self.head.hair,
            least=0.4,
        )
        points = middle + (points - middle) * 1.03 * grown
        cut = self.eye[1] + 0.12 - 1.65 * length
        mesh = above(long.proxy.mesh, points, cut)
        points[:, 1] = np.maximum(points[:, 1], cut)
        points[:, 0] *= 0.84 + 0.16 * length
        self.draw(points, mesh, long.texture, tint=self.head.hair, gloss=0.10, least=0.4)

    def curls(self) -> None:
        afro = anatomy.part("curls")
        middle = self.eye + ABOVE_EYES
        grown = 0.83 + 0.29 * self.head.length * self.head.curl
        points = middle + (afro.proxy.on(self.body) - middle) * grown
        self.draw(points, afro.proxy.mesh, afro.texture, tint=self.head.hair, gloss=0.03, least=0.4)

    def glasses(self) -> None:
        if not self.head.glasses:
            return
        left, right = self.eyeballs[self.eyeballs[:, 0] > 0], self.eyeballs[self.eyeballs[:, 0] < 0]
        front = max(left[:, 2].max(), right[:, 2].max()) + 0.10
        points, triangles = glasses.frame(left.mean(0), right.mean(0), front)
        mesh = anatomy.assets.Mesh(
            points, np.full((1, 2), 0.5), triangles, np.zeros_like(triangles), np.zeros(len(triangles), dtype=int)
        )
        plain = self.color.copy()
        self.draw(points, mesh, FRAME, gloss=0.3, least=-1.0)
        self.color = (1 - self.head.glasses) * plain + self.head.glasses * self.color

    def draw(
        self,
        points: Float[np.ndarray, "v 3"],
        mesh: anatomy.assets.Mesh,
        texture: Float[np.ndarray, "h w 4"],
        *,
        tint: tuple[float, ...] | None = None,
        gloss: float = 0.05,
        least: float = 0.45,
        dressed: Float[np.ndarray, " v"] | None = None,
        cloth: tuple[float, ...] = (0.0, 0.0, 0.0),
    ) -> None:
        seen = (points - self.center) @ self.turn.T
        scale = self.size * ZOOM * CAMERA / (CAMERA - seen[:, 2])
        on_screen = np.stack([self.size / 2 + seen[:, 0] * scale, self.size / 2 - seen[:, 1] * scale, seen[:, 2]], 1)
        normals = self.rasterizer.normals(points, mesh.triangles) @ self.turn.T
        self.rasterizer.draw(
            self.color,
            self.depth,
            on_screen,
            normals,
            mesh.triangles,
            mesh.uv,
            mesh.uv_triangles,
            texture,
            WHITE if tint is None else np.array(tint),
            least,
            self.light,
            gloss,
            np.full(len(points), -1.0) if dressed is None else dressed,
            np.array(cloth, dtype=np.float64),
        )


def rotation(yaw: float, pitch: float) -> Float[np.ndarray, "3 3"]:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    return around_x @ around_y


def above(mesh: anatomy.assets.Mesh, points: Float[np.ndarray, "v 3"], height: float) -> anatomy.assets.Mesh:
    """The triangles with a corner above that height."""
    return chosen(mesh, np.asarray(points[:, 1] > height)[mesh.triangles].any(1))


def below(mesh: anatomy.assets.Mesh, points: Float[np.ndarray, "v 3"], height: float) -> anatomy.assets.Mesh:
    """The triangles that lie below that height."""
    return chosen(mesh, np.asarray(points[:, 1] < height)[mesh.triangles].all(1))


def chosen(mesh: anatomy.assets.Mesh, wanted: Any) -> anatomy.assets.Mesh:
    return anatomy.assets.Mesh(
        mesh.vertices, mesh.uv, mesh.triangles[wanted], mesh.uv_triangles[wanted], mesh.material[wanted]
    )
