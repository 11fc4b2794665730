"""Questions about a session that are answered beside its picture: galleries, strips, scores, leaks, comparisons, candidates."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import HTTPConnection

from ..discover import discover
from ..errors import SteerableError
from ..path import Paths
from . import script
from .about import about, described
from .people import Person, Studio
from .pictures import Easel
from .session import Id, Key, Number, Seed, Session, Strict
from .worker import LATER, Stop

router = APIRouter()
T = TypeVar("T")


class Outside(SteerableError):
    """Somebody without a cookie, or without the password."""


def house(connection: HTTPConnection) -> Studio:
    return connection.app.state.studio


def someone(connection: HTTPConnection) -> Person:
    studio = house(connection)
    person = studio.known(connection.cookies.get(connection.app.state.cookie))
    if person is None:
        raise Outside("open the studio's page first; this browser is not known, or was away too long")
    return person


House = Annotated[Studio, Depends(house)]
Who = Annotated[Person, Depends(someone)]


async def later(studio: Studio, person: Person, what: str, name: str, work: Callable[[Easel, Stop], T]) -> T:
    """In the worker's thread, when nothing urgent waits. A newer question of the same sort makes this one stale (Stopped)."""
    turn = person.turns[what] = person.turns.get(what, 0) + 1
    task = lambda stop: work(studio.easel(person, name), stop)
    return await asyncio.wrap_future(studio.worker.submit(LATER, task, lambda: person.turns[what] != turn))


class Pictures(Strict):
    generator: str = Field(max_length=400)
    seeds: tuple[Seed, ...] = Field(max_length=24)
    psi: float = Field(0.7, ge=0, le=1.5, allow_inf_nan=False)
    label: int | None = Field(None, ge=0)
    size: int = Field(96, ge=16, le=256)


class Strip(Strict):
    session: Session
    id: Key
    steps: int = Field(7, ge=2, le=11)
    size: int = Field(64, ge=16, le=128)


class Of(Strict):
    session: Session
    score: str = Field("statistics", max_length=80)


class Side(Strict):
    bundle: Id
    index: int = Field(ge=0, lt=10_000)


class Compare(Strict):
    session: Session
    sides: tuple[Side, ...] = Field(min_length=1, max_length=2)
    seeds: tuple[Seed, ...] = Field(min_length=1, max_length=6)
    t: tuple[Number, ...] = Field(min_length=1, max_length=7)
    size: int = Field(96, ge=16, le=256)


class Likes(Strict):
    session: Session
    round: int = Field(0, ge=0, le=10_000)
    step: float = Field(1.5, gt=0, le=10)
    size: int = Field(128, ge=16, le=256)


@router.get("/first")
async def first(studio: House, who: Who) -> dict[str, str]:
    """The generator that the studio was started with."""
    return {"name": studio.first}


@router.get("/state")
async def state(studio: House, who: Who, name: str) -> dict[str, Any]:
    """What the page draws itself from. Asking for a generator begins to open it."""
    studio.begin(studio.allowed(name))
    return about(studio, name)


@router.get("/bundles")
async def bundles(studio: House, who: Who, name: str) -> list[dict[str, Any]]:
    """The files that the studio was started with, as far as they fit."""

    def work(easel: Easel, stop: Stop) -> list[dict[str, Any]]:
        found = []
        for file in studio.files:
            try:
                id = who.shelf.keep_paths(file, easel.generator)
                found.append({**described(id, who.shelf.paths(id, easel.generator)), "name": file.name})
            except SteerableError as error:
                found.append({"id": None, "name": file.name, "paths": [], "error": str(error)})
        return found

    return await later(studio, who, "bundles", studio.allowed(name), work)


@router.get("/bundles/{id}")
async def bundle(studio: House, who: Who, id: Id, name: str) -> dict[str, Any]:
    return await later(
        studio,
        who,
        f"bundle-{id}",
        studio.allowed(name),
        lambda e, stop: described(id, who.shelf.paths(id, e.generator)),
    )


@router.post("/gallery")
async def gallery(ask: Pictures, studio: House, who: Who) -> list[str]:
    work = lambda e, stop: e.gallery(ask.seeds, ask.psi, ask.label, ask.size, stop)
    return await later(studio, who, "gallery", studio.allowed(ask.generator), work)


@router.post("/strip")
async def strip(ask: Strip, studio: House, who: Who) -> list[tuple[float, str]]:
    work = lambda e, stop: e.strip(ask.session, ask.id, ask.steps, ask.size, stop)
    return await later(studio, who, f"strip-{ask.id}", studio.allowed(ask.session.generator), work)


@router.post("/scores")
async def scores(ask: Of, studio: House, who: Who) -> list[dict[str, Any]]:
    judge = studio.judge(ask.score)
    work = lambda e, stop: e.scores(ask.session, judge, stop)
    return await later(studio, who, "scores", studio.allowed(ask.session.generator), work)


@router.post("/leak")
async def leak(ask: Of, studio: House, who: Who) -> dict[str, Any]:
    return await later(
        studio, who, "leak", studio.allowed(ask.session.generator), lambda e, stop: e.leak(ask.session, stop)
    )


@router.post("/details")
async def details(ask: Of, studio: House, who: Who) -> dict[str, Any]:
    """What is left of cleaned directions, and the lines to copy."""
    work = lambda e, stop: e.left(ask.session)
    left = await later(studio, who, "details", studio.allowed(ask.session.generator), work)
    return {"left": left, "command": script.command(ask.session), "python": script.python(ask.session)}


@router.post("/compare")
async def compare(ask: Compare, studio: House, who: Who) -> list[list[list[str]]]:
    """The same people and the same t for two paths."""

    def work(easel: Easel, stop: Stop) -> list[list[list[str]]]:
        paths = [who.shelf.paths(s.bundle, easel.generator)[s.index] for s in ask.sides]
        return easel.along(ask.session, paths, ask.seeds, ask.t, ask.size, stop)

    return await later(studio, who, "compare", studio.allowed(ask.session.generator), work)


@router.post("/likes")
async def likes(ask: Likes, studio: House, who: Who) -> dict[str, Any]:
    """Four candidates around the present picture: one step along the differences of random people."""

    def work(easel: Easel, stop: Stop) -> dict[str, Any]:
        g = easel.generator
        spaces = [s.name for s in g.spaces]
        found = discover(
            "random", g, space="w" if "w" in spaces else spaces[0], k=4, seed=4000 + ask.round * 8, drawn="codes"
        )
        assert isinstance(found, Paths)
        id = who.shelf.keep("paths", found, g)
        pictures = easel.around(ask.session, id, len(found), ask.step, ask.size, stop)
        return {**described(id, found), "pictures": pictures, "step": ask.step}

    return await later(studio, who, "likes", studio.allowed(ask.session.generator), work)


__all__ = ["House", "Outside", "Who", "house", "later", "router", "someone"]
