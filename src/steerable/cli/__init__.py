"""The command line: verb, method, subject. Results go to stdout, progress to stderr; exit 0, 1 (our error), 2 (usage).

A face holds no mathematics: every command is a few calls that a person could write in Python. Nothing heavy is imported before a command
runs, so `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import inverters, judging, options, studio
from .arguments import Bundle, Device, Json, Layers, Options, Out, Part, Psi, Seeds, Size, Space, Steps, Subject

app = typer.Typer(
    name="steerable",
    help="Find, name, measure and apply directions in the latent spaces of pretrained GANs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="generators, discover, invert, scores, or all")] = "all",
    tag: Annotated[str | None, typer.Option(help="Only methods with this tag, such as supervised.")] = None,
    json: Json = False,
) -> None:
    """What there is: generators (with licences and whether they are cached), methods, scores."""
    from . import listing

    listing.show(what, tag, json)


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="A generator, a method, or a file: one of ours, or anyone's checkpoint.")],
    part: Part = None,
    option: Options = None,
    json: Json = False,
    device: Device = "cpu",
) -> None:
    """What a generator, a method or a file is: its chain and layers, its settings, its header, what a checkpoint holds and lacks."""
    from . import files, listing

    if files.checkpoint(what):
        files.show(what, part, option or [], json)
    else:
        listing.describe(what, json, device)


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A checkpoint of any layout (`steerable show FILE` says which).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
    to: Annotated[
        str, typer.Option(help="The layout to write: steerable (safetensors), or rosinality (.pt).")
    ] = "steerable",
    part: Part = None,
    option: Options = None,
    json: Json = False,
) -> None:
    """Write a checkpoint as one of our files, or as one that other tools read: `steerable convert network.pkl -o model.safetensors`."""
    from . import files

    files.convert(file, out, to, part, option or [], json)


@app.command()
def doctor(json: Json = False) -> None:
    """What is installed, what the machine has, what is cached, and whether weights can be fetched."""
    from . import listing

    listing.doctor(json)


@app.command()
def sample(
    generator: Subject,
    seeds: Seeds = "0-7",
    psi: Psi = None,
    out: Out = None,
    outdir: Annotated[Path | None, typer.Option(help="A folder for one picture per seed (seed0000.png …).")] = None,
    label: Annotated[int | None, typer.Option("--class", help="The class, for class-conditional generators.")] = None,
    noise: Annotated[str, typer.Option(help="const, random or none.")] = "const",
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Pictures of some seeds, as one grid or one file each."""
    from . import work

    work.sample(generator, seeds, psi, out, outdir, label, noise, json, device)


discover = typer.Typer(
    cls=options.Discoverers,
    help="Find directions. METHOD is one of `steerable list discover`; `steerable discover METHOD --help` shows its settings.",
    no_args_is_help=True,
    subcommand_metavar="METHOD GENERATOR …",
)
app.add_typer(discover, name="discover")


invert = typer.Typer(
    cls=inverters.Inverters,
    help="Find the codes of photographs: `steerable invert optimize ffhq-1024 me.jpg -o me.safetensors`.",
    no_args_is_help=True,
    subcommand_metavar="METHOD GENERATOR PHOTO…",
)
app.add_typer(invert, name="invert")


@app.command()
def sheet(
    generator: Subject,
    paths: Bundle,
    seeds: Seeds = "0-1",
    t: Steps = "-3,-1.5,0,1.5,3",
    only: Annotated[str | None, typer.Option(help="Names or numbers of the paths to show, with commas.")] = None,
    space: Space = None,
    layers: Layers = None,
    psi: Psi = None,
    size: Size = 128,
    out: Out = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """A contact sheet: rows are paths, columns are t. Written as a picture, or as a page (.html)."""
    from . import work

    work.sheet(generator, paths, seeds, t, only, space, layers, psi, size, out, json, device)


@app.command()
def edit(
    subject: Annotated[str, typer.Argument(help="A generator (with --seeds), or a file with an inversion.")],
    moves: Annotated[list[str], typer.Argument(help="name:t, name:t@layers or FILE#name:t, several in a row.")],
    paths: Annotated[list[Path] | None, typer.Option(help="Files of paths.")] = None,
    seeds: Seeds = "0",
    psi: Psi = None,
    space: Space = None,
    unit: Annotated[
        str, typer.Option(help="std: standard deviations; published: as the file's authors count.")
    ] = "std",
    size: Annotated[int | None, typer.Option(help="Height of each picture in px.", show_default="full")] = None,
    frames: Annotated[int, typer.Option(help="Frames of a film (.mp4, .gif): there and back.")] = 49,
    fps: Annotated[float, typer.Option(help="Frames per second of a film.")] = 24,
    paste: Annotated[
        Path | None, typer.Option(help="The photograph (or folder) that the edited face is pasted back into.")
    ] = None,
    out: Out = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Pictures under edits: `steerable edit ffhq-1024 --seeds 0-3 --paths faces.safetensors smile:2 age:-1@4-7 -o out.png`."""
    if paste is not None or Path(subject).is_dir():
        from . import photos

        photos.edit(Path(subject), moves, paths or [], paste, space, unit, frames, fps, out, json, device)
        return
    from . import work

    work.edit(subject, moves, paths or [], seeds, psi, space, unit, size, frames, fps, out, json, device)


app.add_typer(judging.compare, name="compare")
app.add_typer(judging.measure, name="measure")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("demo"),
    generator: Annotated[str, typer.Option(help="The generator to steer.")] = "ffhq-1024",
    pictures: Annotated[int, typer.Option(help="Labeled pictures for boundaries and naming.")] = 450,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Find directions with three methods, name them, and show them on one page."""
    from .demo import run

    run(out, generator, pictures, json, device)


app.command("studio")(studio.studio)
data = typer.Typer(help="Pictures with labels.", no_args_is_help=True)
app.add_typer(data, name="data")
train = typer.Typer(help="Train a generator.", no_args_is_help=True)
app.add_typer(train, name="train")


@data.command("heads")
def data_heads(
    n: Annotated[int, typer.Option("-n", help="How many pictures.")] = 40_000,
    out: Annotated[Path, typer.Option("-o", "--out", help="The .npz file to write.")] = Path("heads.npz"),
    seed: Annotated[int, typer.Option(help="Of the first block.")] = 0,
    size: Annotated[int, typer.Option(help="Height in px.")] = 64,
    processes: Annotated[int, typer.Option(help="Processes that share the work.")] = 1,
    json: Json = False,
) -> None:
    """Rendered heads with their exact factors (needs the extra "render" and 89 MB of assets)."""
    from ..data.heads import heads
    from . import report

    heads(n, out, seed=seed, size=size, processes=processes, progress=report.Bars())
    report.facts({"file": str(out), "pictures": n}, json)


@train.command("heads")
def train_heads(
    pictures: Annotated[Path, typer.Argument(help="What `steerable data heads` wrote.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder for checkpoints and the trained nets.")] = Path(
        "build/heads"
    ),
    json: Json = False,
) -> None:
    """Train heads-64 and its judge from rendered heads; goes on where an interrupted run stopped."""
    from ..data.heads.dataset import read
    from ..train.heads64 import make
    from . import report

    report.facts({"files": [str(f) for f in make(read(pictures), out, progress=report.Bars())]}, json)


def main(arguments: list[str] | None = None) -> None:
    """The `steerable` command."""
    try:
        code: Any = app(arguments, standalone_mode=False, prog_name="steerable")
    except KeyboardInterrupt:
        sys.exit(_say("stopped; nothing half-done was left behind", 130))
    except Exception as error:
        sys.exit(_failed(error))
    sys.exit(code if isinstance(code, int) else 0)


def _failed(error: Exception) -> int:
    from ..errors import SteerableError

    if os.environ.get("STEERABLE_TRACEBACK"):
        raise error
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # wrong usage
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "steerable"
        return _say(f"{error.format_message()} (`{where} --help` shows how)", int(error.exit_code))  # type: ignore[attr-defined]
    if isinstance(error, SteerableError):
        return _say(str(error), 1)
    if isinstance(error, BrokenPipeError):
        return 0
    return _say(f"{type(error).__name__}: {error} (STEERABLE_TRACEBACK=1 shows where)", 1)


def _say(text: str, code: int) -> int:
    from .report import plain

    print(f"steerable: {plain(text)}", file=sys.stderr)
    return code
