"""What the studio draws, from a session: library calls and nothing else."""

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..edit import Edit, Images, Inversion, Masked
from ..errors import SettingError
from ..generator import Generator
from ..images import read_images, to_pil
from ..lending import check
from ..measure.directions import locality, outside
from ..path import Direction, Path
from ..photo import paste
from ..render import render
from ..renderer import Renderer
from ..score import Scorer, score
from ..sheet import embedded
from ..space import Latents
from .session import Holdings, Meaning, Session, Slider, meaning, path, sampled, source, truncation
from .shelf import Shelf, checked_picture
from .worker import Stop

LARGE = 256  # px from which a net in half precision is tried for previews
DRAG_MB, REST_MB = 128, 160  # of states that are kept for a person
WHITE = 16  # times a change of [-1, 1]: a leak of 16 gray levels is shown white


@dataclass(frozen=True)
class Opened:
    """A generator, and what draws its previews: itself, or its bfloat16 twin where that was faster on this machine."""

    generator: Generator
    quick: Generator

    @classmethod
    def of(cls, generator: Generator) -> "Opened":
        if generator.resolution < LARGE:
            return cls(generator, generator)
        twin = generator.half()
        return cls(generator, twin if seconds(twin) < 0.9 * seconds(generator) else generator)


def seconds(generator: Generator) -> float:
    """Of this thread's processor, for a preview of a new sample, at its best."""
    renderer, best = Renderer(generator, memory_mb=0), float("inf")
    for seed in range(3):
        begun = time.thread_time()
        renderer(generator.sample(seeds=[seed]), size=128)
        best = min(best, time.thread_time() - begun)
    return best


@dataclass(frozen=True)
class Drawn:
    """A picture on its way to the page; `ms` by the clock, `cpu` of the thread that made it."""

    jpeg: bytes
    width: int
    height: int
    ms: float
    cpu: float

    @property
    def key(self) -> str:
        return hashlib.sha256(self.jpeg).hexdigest()[:16]


class Easel:
    """One person's renderers of one generator: one for drags, one for full pictures, one for everything beside them."""

    def __init__(self, opened: Opened, held: Holdings):
        self.generator, self.held = opened.generator, held
        self.drag = Renderer(opened.quick, memory_mb=DRAG_MB)
        self.rest = Renderer(opened.generator, memory_mb=REST_MB)
        self.beside = Renderer(opened.quick, memory_mb=REST_MB)
        self._meant: tuple[Session, Meaning] | None = None

    def clear(self) -> None:
        for renderer in (self.drag, self.rest, self.beside):
            renderer.clear()

    def meaning(self, session: Session) -> Meaning:
        if self._meant is None or self._meant[0] != session:
            self._meant = session, meaning(session, self.generator, self.held)
        return self._meant[1]

    def preview(self, session: Session, size: int, plain: bool, stop: Stop | None = None) -> Drawn:
        """A small picture at once. It is not stopped: one that is always interrupted never shows."""
        begun = now()
        meant = self.meaning(session)
        return drawn(sized(self.drag, meant.base, meant.edits(plain), size, stop), size, 85, begun)

    def full(self, session: Session, plain: bool, stop: Stop | None = None) -> Drawn:
        begun = now()
        return drawn(self.picture(session, plain, stop), max(self.generator.size), 92, begun)

    def picture(self, session: Session, plain: bool = False, stop: Stop | None = None) -> Images:
        meant = self.meaning(session)
        return self.rest(meant.base, meant.edits(plain), stop=stop)

    def pasted(self, session: Session, shelf: Shelf, stop: Stop) -> Images:
        """The edited face back in its photograph."""
        if session.photo is None or session.original is None:
            raise SettingError("there is no photograph to paste into")
        portrait = shelf.portrait(session.photo, self.generator)
        assert portrait.crop is not None
        whole = read_images(checked_picture(shelf.file("original", session.original)))
        edited, plain = self.picture(session, stop=stop).float().cpu(), render(self.generator, portrait).float().cpu()
        return paste(whole, portrait.crop, edited, plain=plain)

    # -- beside the picture ---------------------------------------------------------------------------------------------------------

    def small(self, base: Latents | Inversion, edits: Sequence[Edit], size: int, stop: Stop) -> Images:
        return sized(self.beside, base, edits, size, stop)

    def gallery(self, seeds: Sequence[int], psi: float, label: int | None, size: int, stop: Stop) -> list[str]:
        """Seeds as small pictures, each the source of an <img>."""
        first = truncation(self.generator, psi)
        return [
            shown(self.small(sampled(self.generator, seed, label), first, size, checked(stop)), size) for seed in seeds
        ]

    def strip(self, session: Session, id: str, steps: int, size: int, stop: Stop) -> list[tuple[float, str]]:
        """One slider from end to end, the others where they are: (t, picture) at so many steps."""
        slider = next((s for s in session.sliders if s.id == id), None)
        if slider is None:
            raise SettingError("there is no such slider")
        made = []
        for t in torch.linspace(slider.low, slider.high, steps).tolist():
            t = round(t, 2)
            moved = slider.model_copy(update={"t": t, "hidden": False})
            there = session.model_copy(update={"sliders": tuple(moved if s.id == id else s for s in session.sliders)})
            meant = meaning(there, self.generator, self.held)
            made.append((t, shown(self.small(meant.base, meant.edits(), size, checked(stop)), size)))
        return made

    def along(
        self, session: Session, paths: Sequence[Path], seeds: Sequence[int], t: Sequence[float], size: int, stop: Stop
    ) -> list[list[list[str]]]:
        """For each path and each seed, pictures at each t: what `compare` shows."""
        first = truncation(self.generator, session.psi)
        people = [sampled(self.generator, seed, session.label) for seed in seeds]
        look = lambda person, p, v: shown(
            self.small(person, [*first, *([p.at(v)] if v else [])], size, checked(stop)), size
        )
        return [[[look(person, p, v) for v in t] for person in people] for p in paths]

    def around(self, session: Session, bundle: str, count: int, t: float, size: int, stop: Stop) -> list[str]:
        """The present picture with one more slider, for each of the first paths of a bundle."""
        made = []
        for i in range(count):
            step = Slider(id="candidate", bundle=bundle, index=i, name="candidate", t=t)
            there = session.model_copy(update={"sliders": (*session.sliders, step)})
            meant = meaning(there, self.generator, self.held)
            made.append(shown(self.small(meant.base, meant.edits(), size, checked(stop)), size))
        return made

    # -- what is to be known of it ----------------------------------------------------------------------------------------------------

    def leak(self, session: Session, stop: Stop) -> dict[str, Any]:
        """What a mask could not hold: the share of all change that lies outside, how large it is there in gray levels (root mean
        square), and where it is."""
        if session.local is None:
            raise SettingError("there is no mask")
        before = self.picture(session, plain=True, stop=stop).clone()
        after, mask = self.picture(session, stop=stop), self.held.mask(session.local.mask)
        told = locality(before, after, mask)
        share = 0.0 if torch.equal(before, after) else 1 - float(told["inside"])
        where = shown((outside(before, after, mask) * WHITE).clamp(max=2).expand(-1, 3, -1, -1) - 1, 256)
        return {"share": share, "levels": 127.5 * float(told["Out-MSE"]) ** 0.5, "picture": where}

    def scores(self, session: Session, scorer: Scorer, stop: Stop) -> list[dict[str, Any]]:
        """Every score of the picture before and after. A face that was not found has none."""
        before = scorer(self.picture(session, plain=True, stop=stop))[0]
        after = scorer(self.picture(session, stop=stop))[0]
        number = lambda v: None if bool(torch.isnan(v)) else float(v)
        return [
            {"name": name, "unit": unit, "before": number(b), "after": number(a)}
            for name, unit, b, a in zip(scorer.names, scorer.units, before, after, strict=True)
        ]

    def paths(self, session: Session) -> list[Path]:
        return [path(s, session.sliders, self.generator, self.held) for s in session.sliders]

    def left(self, session: Session) -> dict[str, float]:
        """How much of each cleaned direction is left: the cosine between it and what it was."""
        found = {}
        for slider in session.sliders:
            if slider.keep:
                was, now = (
                    source(slider, self.generator, self.held),
                    path(slider, session.sliders, self.generator, self.held),
                )
                if isinstance(was, Direction) and isinstance(now, Direction):
                    found[slider.id] = was.cosine(now)
        return found


def checked(stop: Stop) -> Stop:
    """Asked before every picture too, so that a row of small ones gives way."""
    check(stop)
    return stop


def sized(renderer: Renderer, base: Latents | Inversion, edits: Sequence[Edit], size: int, stop: Stop | None) -> Images:
    """A preview; where a mask blends pixels, which needs them all, the full picture."""
    pixels = any(isinstance(e, Masked) and e.layers is None for e in edits)
    return renderer(base, edits, size=None if pixels else size, stop=stop)


def now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


def drawn(images: Images, size: int, quality: int, begun: tuple[float, float]) -> Drawn:
    picture = small(images, size)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    ms, cpu = ((b - a) * 1e3 for a, b in zip(begun, now(), strict=True))
    return Drawn(buffer.getvalue(), picture.width, picture.height, ms, cpu)


def small(images: Images, size: int) -> Image.Image:
    """The first picture, at most `size` px high and wide."""
    (picture,) = to_pil(images[:1])
    picture.thumbnail((size, size), Image.Resampling.BOX)
    return picture


def shown(images: Images, size: int) -> str:
    return embedded(small(images, size))


def scorer(name: str) -> Scorer:
    """A scorer that looks at pictures, by its name. Raises UnknownName or SettingError."""
    found = score(name) if not name.lower().endswith(".csv") else None
    if not isinstance(found, Scorer):
        raise SettingError(f"{name[:40]!r} does not look at pictures")
    return found
