"""The picture on the page, as a command to copy and as Python. `directions.safetensors` is the file that the page saves."""

import shlex

from .session import Session

DIRECTIONS = "directions.safetensors"


def command(session: Session) -> str:
    """The command that makes the same picture; where it has no words for something, it says so."""
    missing = [
        word
        for word, there in (
            ("a photo", session.photo),
            ("blends", session.blend),
            ("style mixing", session.mix),
            ("a mask", session.local),
            ("a class", session.label is not None),
        )
        if there
    ]
    if missing:
        return f"# the command line has no word for {', '.join(missing)}; the Python lines do"
    moves = [f"{s.name}:{s.t:g}" for s in moved(session)]
    words = [
        "steerable",
        "edit" if moves else "sample",
        session.generator,
        "--seeds",
        str(session.seed),
        "--psi",
        f"{session.psi:g}",
    ]
    if moves:
        words += ["--paths", DIRECTIONS, *moves]
    return shlex.join([*words, "-o", "out.png"])


def python(session: Session) -> str:
    """Python that makes the same picture. Names are written as literals, so that nothing in them is code."""
    s, lines = session, ["import torch", "import steerable as st", "", f"g = st.load({session.generator!r})"]
    if s.photo:
        lines += ['z = st.read("photo.safetensors", generator=g)', "first = []"]
    else:
        lines += ["", *codes(s)]
    if any(moved(s)):
        lines += [f"paths = st.read({DIRECTIONS!r}, generator=g)"]
        at = ", ".join(f"paths[{x.name!r}].at({x.t:g})" for x in moved(s))
        lines += [f"moves = [{at}]"]
    else:
        lines += ["moves = []"]
    if s.local and any(moved(s)):
        lines += masked(s)
    lines += ["x = st.render(g, z, [*first, *moves])", 'st.write(x, "out.png")']
    return "\n".join(lines) + "\n"


def codes(s: Session) -> list[str]:
    inputs = ""
    lines = []
    if s.label is not None:
        lines += [f'row = torch.nn.functional.one_hot(torch.tensor([{s.label}]), g.inputs["label"][0]).to(g.dtype)']
        inputs = ', inputs={"label": row}'
    lines += [f"z = g.sample(seeds=[{s.seed}]{inputs})", "first = []"]
    if s.blend:
        lines += [
            'space = "w" if any(s.name == "w" for s in g.spaces) else g.spaces[0].name',
            "here = g.lift(z, space)",
        ]
        lines += [
            f"first += [st.between(here, g.lift(g.sample(seeds=[{b.seed}]{inputs}), space)).at({b.share:g})]"
            for b in s.blend
        ]
    if s.mix:
        lines += [
            "from steerable.render import codes",
            f"z, first = st.mix(g, codes(g, z, first), g.sample(seeds=[{s.mix.seed}]{inputs}), {s.mix.layers!r}), []",
        ]
    if s.psi != 1:
        lines += [f'first += [st.Truncate({s.psi:g})] if any(s.name == "w" for s in g.spaces) else []']
    return lines


def masked(s: Session) -> list[str]:
    """mask.png is the mask as painted: white is inside."""
    assert s.local is not None
    return [
        "from steerable.render import codes",
        "last = g.spaces[-1].name",
        "before, after = (g.lift(codes(g, z, edits), last) for edits in (first, [*first, *moves]))",
        'mask = ((st.read_images("mask.png").mean(1, keepdim=True) + 1) / 2).clamp(0, 1)',
        f"z, first, moves = before, [], [st.Masked(st.between(before, after).at(1.0), mask, {s.local.layers!r})]",
    ]


def moved(session: Session) -> list:
    return [s for s in session.sliders if s.t != 0 and not s.hidden]
