"""The shape and the skin of a head, as sums of what the makers' artists modeled.

A body is V = V0 + sum_i w_i T_i with targets T_i for sex, age, origin, face and expression; the skin is a weighted mean of painted skins.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from . import assets
from .assets import AGES, RACES, SEXES, Proxy
from .world import Head

Vertices = Float[np.ndarray, "v 3"]

SHOULDERS = 4.6  # height (dm) from which on the body is drawn
SKIN_SHRINK = 4  # the painted skins are far finer than the pictures
WORN = {  # what a head wears: kind, name, texture
    "eyes": ("eyes", "Low-Poly", "brown_eye.png"),
    "teeth": ("teeth", "Teeth_Base", "teeth.png"),
    "brows": ("eyebrows", "eyebrow001", "eyebrow001.png"),
    "lashes": ("eyelashes", "eyelashes02", "eyelashes02.png"),
    "cap": ("hair", "short04", "short04_diffuse.png"),
    "straight": ("hair", "long01", "long01_diffuse.png"),
    "curls": ("hair", "afro01", "afro_diffuse.png"),
}
LIGHT_EYE = "lightblue_eye.png"

SHAPES: dict[str, tuple[tuple[str, str, float], ...]] = {  # factor → (target for +, target for -, weight)
    "width": (
        ("head/head-fat", "head/head-skinny", 0.55),
        ("head/head-scale-horiz-more", "head/head-scale-horiz-less", 0.35),
        ("chin/chin-width-max", "chin/chin-width-min", 0.5),
    ),
    "nose": (
        ("nose/nose-scale-horiz-incr", "nose/nose-scale-horiz-decr", 0.9),
        ("nose/nose-scale-vert-incr", "nose/nose-scale-vert-decr", 0.9),
        ("nose/nose-volume-potato", "nose/nose-volume-point", 0.5),
    ),
    "eyes": tuple(
        pair
        for side in "lr"
        for pair in (
            (f"eyes/{side}-eye-size-big", f"eyes/{side}-eye-size-small", 0.9),
            (f"eyes/{side}-eye-height2-max", f"eyes/{side}-eye-height2-min", 0.7),
        )
    ),
}
SIDES = ("left", "right")
EXPRESSIONS: dict[str, tuple[tuple[str, float], ...]] = {  # what +1 and -1 of a factor add
    "smile+": (("mouth-corner-puller", 1.2), ("mouth-upward-retraction", 0.45), ("mouth-open", 0.22)),
    "smile-": (("mouth-depression", 1.0),),
    "brow+": tuple((f"eyebrows-{s}-{part}", 1.5) for s in SIDES for part in ("up", "inner-up")),
    "brow-": tuple((f"eyebrows-{s}-down", 1.5) for s in SIDES),
}


@dataclass(frozen=True)
class Part:
    """A proxy on the reduced body, with its texture."""

    proxy: Proxy
    texture: Float[np.ndarray, "h w 4"]


@cache
def skinned() -> Bool[np.ndarray, " t"]:
    """Which of the body's triangles are skin above the shoulders."""
    mesh = assets.body()
    return (mesh.material == 0) & (mesh.vertices[mesh.triangles].mean(1)[:, 1] > SHOULDERS)


@cache
def kept() -> Int[np.ndarray, " v"]:
    """The vertices of the body that matter here: those above the shoulders, and those that something worn is bound to."""
    above = assets.body().triangles[skinned()]
    bound = [assets.proxy(kind, name).anchors.ravel() for kind, name, _ in WORN.values()]
    return np.unique(np.concatenate([above.ravel(), *bound]))


def renumbered(indices: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    return np.searchsorted(kept(), indices)


@cache
def bust() -> assets.Mesh:
    """The body above the shoulders, its texture coordinates scaled to the part of the skin that it uses."""
    mesh, used = assets.body(), skinned()
    low, high = skin_window()
    return assets.Mesh(
        mesh.vertices[kept()],
        (mesh.uv - low) / (high - low),
        renumbered(mesh.triangles[used]),
        mesh.uv_triangles[used],
        mesh.material[used],
    )


@cache
def skin_window() -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    mesh = assets.body()
    corners = mesh.uv[mesh.uv_triangles[skinned()].ravel()]
    return corners.min(0), corners.max(0)


@cache
def part(name: str) -> Part:
    kind, item, picture = WORN[name]
    proxy = assets.proxy(kind, item)
    texture = assets.texture(f"{assets.DATA}proxies/{kind}/{item}/textures/{picture}")
    if kind in ("hair", "eyebrows"):
        texture = gray(texture)
    return Part(Proxy(proxy.mesh, renumbered(proxy.anchors), proxy.weights, proxy.offsets), texture)


@cache
def irises() -> tuple[Float[np.ndarray, "h w 4"], Float[np.ndarray, "h w 4"]]:
    """The brown and the light eye, each texture shrunk to what can be seen of it."""
    kind, item, brown = WORN["eyes"]
    folder = f"{assets.DATA}proxies/{kind}/{item}/textures/"
    first, second = (shrunk(assets.texture(folder + picture), 2) for picture in (brown, LIGHT_EYE))
    return first, second


def gray(texture: Float[np.ndarray, "h w 4"]) -> Float[np.ndarray, "h w 4"]:
    """The lightness of a hair texture, around .9, so that a tint alone decides the color."""
    light = texture[..., :3].mean(2, keepdims=True)
    mean = light[texture[..., 3] > 0.5].mean()
    even = np.clip((light + 0.03) / (mean + 0.03) * 0.9, 0, 1.8)
    return np.ascontiguousarray(np.concatenate([np.repeat(even, 3, 2), texture[..., 3:]], 2), dtype=np.float32)


def shrunk(texture: Float[np.ndarray, "h w 4"], by: int) -> Float[np.ndarray, "h2 w2 4"]:
    h, w = texture.shape[0] // by * by, texture.shape[1] // by * by
    blocks = texture[:h, :w].reshape(h // by, by, w // by, by, 4)
    return np.ascontiguousarray(blocks.mean((1, 3), dtype=np.float32))


@cache
def target(name: str) -> Vertices:
    return np.ascontiguousarray(assets.target(name)[kept()])


@cache
def painted(age: str, race: str, sex: str) -> Float[np.ndarray, "h w 4"]:
    """A painted skin, cut to the head."""
    color = {"caucasian": "lightskinned", "african": "darkskinned"}[race]
    whole = assets.texture(f"{assets.DATA}skins/{age}_{race}_{sex}/textures/{age}_{color}_{sex}_diffuse.png")
    h, w = whole.shape[:2]
    low, high = skin_window()
    rows = slice(int((1 - high[1]) * h), int(np.ceil((1 - low[1]) * h)))
    columns = slice(int(low[0] * w), int(np.ceil(high[0] * w)))
    return shrunk(whole[rows, columns], SKIN_SHRINK)


def vertices(head: Head) -> Vertices:
    """The body's vertices (those that are kept) for a head."""
    total = bust().vertices.copy()
    for name, weight in recipe(head):
        if abs(weight) > 1e-4:
            total += weight * target(name)
    return total


def recipe(head: Head) -> list[tuple[str, float]]:
    """Targets and their weights."""
    age, race = head.age, {"caucasian": 1 - head.tone, "african": head.tone}
    ages = {
        "child": max(0.0, 1 - age / 0.3),
        "young": age / 0.3 if age < 0.3 else (1 - age) / 0.7,
        "old": max(0.0, (age - 0.3) / 0.7),
    }
    made: list[tuple[str, float]] = []
    for sex, of_sex in (("female", 1 - head.gender), ("male", head.gender)):
        for when, of_age in ages.items():
            share = of_sex * of_age
            made += [(f"macrodetails/{r}-{sex}-{when}", share * of_race) for r, of_race in race.items()]
            made.append((f"macrodetails/universal-{sex}-{when}-averagemuscle-averageweight", share))
    for name, s in head.shape.items():
        made += [(more if s > 0 else less, abs(s) * weight) for more, less, weight in SHAPES[name]]
    for name, s in (("smile", head.smile), ("brow", head.brow)):
        for unit, weight in EXPRESSIONS[f"{name}{'+' if s > 0 else '-'}"]:
            made += [(f"expression/units/{r}/{unit}", abs(s) * weight * of_race) for r, of_race in race.items()]
    return made


def skin(head: Head) -> Float[np.ndarray, "h w 4"]:
    """The skin's texture for a head."""
    ages = {"young": min(1.0, max(0.0, 1 - (head.age - 0.3) / 0.3)), "old": max(0.0, (head.age - 0.6) / 0.35)}
    ages["middleage"] = max(0.0, 1 - ages["young"] - ages["old"])
    male = float(np.clip(head.gender, 0, 1))
    shares = {"caucasian": 1 - head.tone, "african": head.tone, "female": 1 - male, "male": male, **ages}
    total = np.zeros_like(painted(AGES[0], RACES[0], SEXES[0]))
    for age in AGES:
        for race in RACES:
            for sex in SEXES:
                if (share := shares[age] * shares[race] * shares[sex]) > 1e-3:
                    total += np.float32(share) * painted(age, race, sex)
    return total
