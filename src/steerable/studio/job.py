"""One long piece of work, run as `python -m steerable.studio.job`: a folder's name comes in, what is asked for is in its job.json, what is
made goes beside it."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path as File
from typing import Any, TypeVar

import torch

import steerable as st

from ..discover.subspace import Search
from ..edit import Inversion
from ..errors import SteerableError
from ..generator import Generator
from ..images import film, there_and_back
from ..invert import KNOWN, Inverter
from ..nn.allocator import tune
from ..path import Paths
from ..photo import Portrait, by_face, cropped
from ..render import codes
from ..renderer import Renderer, fitted
from ..score.labels import label
from ..sheet import sheet
from ..space import Latents
from .pictures import scorer, shown
from .session import Session, meaning, path, sampled, truncation
from .shelf import Shelf

T = TypeVar("T")
EVERY = 0.1  # seconds between two words about progress
OFTEN, SEEN = 1.0, 256  # at least so many seconds lie between two pictures of what is searched; their px
AXES = 8  # of a search by choices; more cost a person's patience


def tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Told:
    """Progress, as lines of JSON."""

    def over(self, items: Iterable[T], /, title: str, total: int | None = None) -> Iterator[T]:
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # type: ignore[arg-type]
        last = 0.0
        tell({"title": title, "done": 0, "total": total})
        for done, item in enumerate(items, 1):
            yield item
            if time.monotonic() - last > EVERY or done == total:
                last = time.monotonic()
                tell({"title": title, "done": done, "total": total})

    def note(self, text: str, /) -> None:
        tell({"note": text})


class Watched(Told):
    """Progress that shows a small picture of the best so far, now and then: it may take a twentieth of the time."""

    def __init__(self, generator: Generator):
        self.generator, self.next = generator, 0.0

    def best(self, base: Latents | Inversion, /) -> None:
        begun = time.monotonic()
        if begun < self.next:
            return
        found = Renderer(self.generator, memory_mb=0)(base, size=SEEN)
        tell({"picture": shown(found, SEEN)})
        self.next = time.monotonic() + max(OFTEN, 20 * (time.monotonic() - begun))


def discover(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    g = st.load(ask["generator"], device=ask["device"], progress=Told())
    supervision = scorer(ask["scores"]) if ask.get("scores") else None
    paths = st.discover(ask["method"], g, supervision=supervision, progress=Told(), **ask["settings"])
    st.save(paths, folder / "paths.safetensors", generator=g)
    return {"file": "paths.safetensors", "found": len(paths)}


def measure(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    """Every slider of the session, by a scorer, on people whom discovery has not seen."""
    session = Session.model_validate(ask["session"])
    g, judge = st.load(session.generator, device=ask["device"], progress=Told()), scorer(ask["scores"])
    found = [path(s, session.sliders, g, shelf) for s in session.sliders]
    unique = Paths(tuple(replace(p, name=str(i)) for i, p in enumerate(found)))
    has_w = any(s.name == "w" for s in g.spaces)
    psi = session.psi if has_w else 1.0
    people = label(g, judge, 24, seed=2_000_000, psi=psi, progress=Told())  # for each score's own spread
    measured = st.effects(
        g, unique, judge, n_people=int(ask["people"]), psi=psi, labels=people, limit=0.0, progress=Told()
    )
    st.save(measured, folder / "paths.safetensors", generator=g)
    return {"file": "paths.safetensors", "found": len(measured)}


def contact(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    """A contact sheet of all sliders that are shown."""
    session = Session.model_validate(ask["session"])
    g = st.load(session.generator, device=ask["device"], progress=Told())
    visible = [s for s in session.sliders if not s.hidden]
    if not visible:
        raise st.SettingError("there is no slider to show")
    paths = [path(s, session.sliders, g, shelf) for s in visible]
    if session.photo:
        base, first = shelf.photo(session.photo, g), ()
    else:
        base, first = sampled(g, session.seed, session.label), truncation(g, session.psi)
    made = sheet(g, base, paths, (-3, -1.5, 0, 1.5, 3), edits=first, size=128, title=g.name, progress=Told())
    st.write(made, folder / "sheet.png")
    return {"file": "sheet.png"}


def walk(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    """From the picture before to the picture after and back, as a film."""
    session = Session.model_validate(ask["session"])
    g = st.load(session.generator, device=ask["device"], progress=Told())
    frames, name = int(ask["frames"]), f"walk.{ask['format']}"

    def at(share: float) -> torch.Tensor:
        sliders = tuple(s.model_copy(update={"t": s.t * share}) for s in session.sliders)
        meant = meaning(session.model_copy(update={"sliders": sliders}), g, shelf)
        return fitted(st.render(g, meant.base, meant.edits()), int(ask["size"]))[0]

    film((at(share) for share in Told().over(there_and_back(frames), "frames", frames)), folder / name, fps=24)
    return {"file": name}


def invert(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    """A photograph as the generator sees it. SIGINT ends the search and keeps the best so far."""
    g = st.load(ask["generator"], device=ask["device"], progress=Told())
    photo = st.read_images(shelf.file("original", ask["photo"]))
    crop = cropped(photo, g, by_face(ask["crop"], g), ask["face"])
    method, target = KNOWN[ask["method"]].with_settings(ask["settings"]), crop.cut(photo)
    assert isinstance(method, Inverter)
    tell({"target": shown(target, SEEN)})
    found = method.invert(g, target.to(g.device, g.dtype), progress=Watched(g))
    portrait = Portrait(found.latents, found.edits, found.notes, crop)
    st.save(portrait, folder / "photo.safetensors", generator=g, method=method)
    tell({"picture": shown(st.render(g, portrait), SEEN)})
    return {"file": "photo.safetensors", "interrupted": bool(found.notes.get("interrupted"))}


def search(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    """The next slider of a search that is driven by choices; the first one if there is none yet."""
    session = Session.model_validate(ask["session"])
    g = st.load(session.generator, device=ask["device"], progress=Told())
    if ask["search"]:
        before = shelf.search(ask["search"], g)
        slider = shelf.paths(ask["slider"], g)[0]
        low, high = slider.range
        now = before.tell(slider, min(max(ask["t"], low), high))  # the page rounds
    else:
        meant = meaning(session, g, shelf)
        start = codes(g, meant.base, meant.edits())
        names = [s.name for s in g.spaces]
        early = start.space.name == names[0] and "w" in names
        now = Search.begin(start, g, space="w" if early else start.space.name, seed=session.seed, axes=AXES)
    tell({"title": "looking for a way in which the picture changes", "done": 0, "total": None})
    slider = now.ask(g)
    st.save(Paths((slider,)), folder / "paths.safetensors", generator=g)
    return {"file": "paths.safetensors", "search": shelf.keep("search", now, g), "done": now.done}


def fetch(ask: dict[str, Any], folder: File, shelf: Shelf) -> dict[str, Any]:
    from .. import catalogue

    catalogue.fetch(ask["generator"], Told())
    return {"generator": ask["generator"]}


WORK: dict[str, Callable[[dict[str, Any], File, Shelf], dict[str, Any]]] = {
    "discover": discover,
    "measure": measure,
    "sheet": contact,
    "walk": walk,
    "invert": invert,
    "search": search,
    "fetch": fetch,
}


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may have been inherited as ignored
    line = sys.stdin.readline()
    if not line:
        return 0  # the studio has ended, and has no work any more
    folder = File(line.rstrip("\n"))
    ask = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    tune()
    try:
        tell({"result": WORK[ask["kind"]](ask, folder, Shelf(folder.parent))})
    except KeyboardInterrupt:
        tell({"error": "it was stopped before there was anything to keep"})
        return 1
    except SteerableError as error:
        tell({"error": str(error)})
        return 1
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
