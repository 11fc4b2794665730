"""The makers' files: MakeHuman's body, targets, skins, hair, eyes, brows, lashes, teeth; core assets only.

They come from an npm archive, are read as plain files (JSON, PNG, one table of int16) and are not part of this package.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from ...errors import ArtifactError
from ...nn import fetched

ENTRY = "makehuman-heads"
PACKAGE = "package/"
DATA = PACKAGE + "public/data/"
TARGETS = DATA + "targets/targets.bin"
TARGET_UNIT = 1e-3  # of the int16 numbers, in the body's own unit (decimeters)
AGES, SEXES, RACES = ("young", "middleage", "old"), ("female", "male"), ("caucasian", "african")


@dataclass(frozen=True)
class Mesh:
    """Triangles with their own texture coordinates. `material` is that of each triangle."""

    vertices: Float[np.ndarray, "v 3"]
    uv: Float[np.ndarray, "u 2"]
    triangles: Int[np.ndarray, "t 3"]
    uv_triangles: Int[np.ndarray, "t 3"]
    material: Int[np.ndarray, " t"]


@dataclass(frozen=True)
class Proxy:
    """A mesh that rides on the body: each vertex is a weighted sum of three of the body's, plus an offset."""

    mesh: Mesh
    anchors: Int[np.ndarray, "v 3"]
    weights: Float[np.ndarray, "v 3"]
    offsets: Float[np.ndarray, "v 3"]

    def on(self, body: Float[np.ndarray, "b 3"]) -> Float[np.ndarray, "v 3"]:
        return np.einsum("vac,va->vc", body[self.anchors], self.weights) + self.offsets


def file(name: str) -> Path:
    """Where that file of the archive lies; it is fetched if need be. Raises SourceError."""
    return fetched.path_of(ENTRY, name)


def read(name: str) -> dict[str, Any]:
    return json.loads(file(name).read_text("utf-8"))


@cache
def body() -> Mesh:
    return parse(read(DATA + "models/human_full_size.json"))


@cache
def proxy(kind: str, name: str) -> Proxy:
    told = read(f"{DATA}proxies/{kind}/{name}/{name}.json")
    mesh = parse(told)
    anchors, weights = np.array(told["ref_vIdxs"], dtype=np.int64), np.array(told["weights"], dtype=np.float64)
    if anchors.ndim == 1 or anchors.shape[1] == 1:  # bound to one vertex
        anchors = np.repeat(anchors.reshape(-1, 1), 3, 1)
        weights = np.repeat([[1.0, 0.0, 0.0]], len(anchors), 0)
    return Proxy(mesh, anchors, weights, np.array(told["offsets"], dtype=np.float64))


@cache
def target_names() -> dict[str, int]:
    """Name of each target → its row in the table: rows are sorted by name."""
    listed = sorted(read(PACKAGE + "src/json/targets/target-list.json")["targets"])
    return {name.removeprefix("data/targets/").removesuffix(".target"): row for row, name in enumerate(listed)}


@cache
def target(name: str) -> Float[np.ndarray, "v 3"]:
    """How the body's vertices move when the target is at 1."""
    names = target_names()
    table = np.memmap(file(TARGETS), np.int16, "r").reshape(len(names), -1, 3)
    return table[names[name]].astype(np.float64) * TARGET_UNIT


@cache
def texture(name: str) -> Float[np.ndarray, "h w 4"]:
    """A picture of the archive as RGBA in [0, 1]."""
    with Image.open(file(name)) as picture:
        return np.ascontiguousarray(np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255)


def parse(told: dict[str, Any]) -> Mesh:
    """A mesh of three.js's JSON format 3: flags, then vertices, material and texture coordinates of each face; quads are split."""
    stream, at = told["faces"], 0
    triangles, uvs, materials = [], [], []
    while at < len(stream):
        flags, at = stream[at], at + 1
        if flags & ~0b1011:
            raise ArtifactError(f"a mesh of the archive has faces of a kind that is not read here (flags {flags})")
        corners = 4 if flags & 1 else 3
        v, at = stream[at : at + corners], at + corners
        material = -1
        if flags & 2:
            material, at = stream[at], at + 1
        t = [0] * corners
        if flags & 8:
            t, at = stream[at : at + corners], at + corners
        for half in ((0, 1, 2), (0, 2, 3))[: corners - 2]:
            triangles.append([v[i] for i in half])
            uvs.append([t[i] for i in half])
            materials.append(material)
    uv = np.array(told["uvs"][0], dtype=np.float64).reshape(-1, 2) if told["uvs"] else np.zeros((1, 2))
    return Mesh(
        np.array(told["vertices"], dtype=np.float64).reshape(-1, 3),
        uv,
        np.array(triangles),
        np.array(uvs),
        np.array(materials),
    )
