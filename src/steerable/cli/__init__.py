"""The command line: verb, method, subject. Results go to stdout, progress to stderr; exit 0, 1 (our error), 2 (usage).

A face holds no mathematics: every command is a few calls that a person could write in Python. Nothing heavy is imported before a command
runs, so `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from . import inverters, options, studio

app = typer.Typer(
    name="steerable",
    help="Find, name, measure and apply directions in the latent spaces of pretrained GANs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
Seeds = Annotated[str, typer.Option(help="Seeds, such as 0-7 or 3,85,100-102.")]
Psi = Annotated[
    float | None,
    typer.Option(
        "--psi", "--trunc", help="Truncation psi: 1 changes nothing, 0 is the mean. [default: 0.7 where there is a w]"
    ),
]
Size = Annotated[int, typer.Option(help="Height of each picture in px.")]
Steps = Annotated[str, typer.Option("--t", help="Strengths in standard deviations, such as -3,-1.5,0,1.5,3.")]
Layers = Annotated[str | None, typer.Option(help="Where edits act: 4-7 (rows of w+), 32-128px, coarse, middle, fine.")]
Part = Annotated[
    str | None, typer.Option(help="Which generator of a checkpoint: G, g_ema … [default: the averaged one]")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="What a checkpoint does not tell, such as mapping_lr=0.01; repeatable."),
]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="The file to write.")]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="generators, discover, scores, or all")] = "all",
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
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
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
    cls=options.Methods,
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
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    paths: Annotated[Path, typer.Option(help="A file of paths.")],
    seeds: Seeds = "0-1",
    t: Steps = "-3,-1.5,0,1.5,3",
    only: Annotated[str | None, typer.Option(help="Names or numbers of the paths to show, with commas.")] = None,
    space: Annotated[
        str | None, typer.Option(help="The space of a foreign file's directions, where the file does not say.")
    ] = None,
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
    space: Annotated[
        str | None, typer.Option(help="The space of a foreign file's directions, where the file does not say.")
    ] = None,
    unit: Annotated[
        str, typer.Option(help="std: standard deviations; published: as the file's authors count.")
    ] = "std",
    size: Annotated[int | None, typer.Option(help="Height of each picture in px. [default: full]")] = None,
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


comparing = typer.Typer(help="Methods side by side on one generator.", no_args_is_help=True)
app.add_typer(comparing, name="compare")


@comparing.command("discover")
def compare_discoverers(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    methods: Annotated[list[str], typer.Argument(help="Names of methods, or all.")],
    scores: Annotated[
        str | None,
        typer.Option(
            help="What judges and teaches, such as age,gender,smile,yaw. [default: the truth, where it is known]"
        ),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="Only these of the scores. [default: all that were named]")
    ] = None,
    supervision: Annotated[
        str | None, typer.Option(help="What teaches instead: heads-truth, or a CSV of labels.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How often each method begins anew.")] = 2,
    people: Annotated[int, typer.Option(help="Held-out samples on which paths are judged.")] = 24,
    labels: Annotated[int | None, typer.Option(help="Labeled pictures. [default: 2000, above 256 px 450]")] = None,
    psi: Annotated[
        float | None,
        typer.Option("--psi", "--trunc", help="Truncation psi. [default: 1 where the truth is known, else 0.7]"),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Read previews of this height (px) if the scorer vouches for them.")
    ] = None,
    reach: Annotated[float, typer.Option(help="The longest move, in standard deviations.")] = 4.0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.SETTING=VALUE, such as ganspace.k=20; repeat it.")
    ] = None,
    shown: Annotated[str, typer.Option(help="Seeds of the people on the page's sheets, three at most.")] = "0",
    controls: Annotated[bool, typer.Option(help="Random directions, permuted labels and the like beside.")] = True,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A page (.html), .json, or the record (.safetensors).")
    ] = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Methods on one generator: the same people and scores, one table with intervals, sheets side by side."""
    from .compare import run

    run(
        "discover", generator, methods, scores=scores, targets=targets, supervision=supervision, seeds=seeds, people=people,
        labels=labels, psi=psi, size=size, reach=reach, given=set_ or [], shown=shown, controls=controls, out=out, as_json=json,
        device=device,
    )  # fmt: skip


@comparing.command("invert")
def compare_inverters(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    methods: Annotated[
        list[str], typer.Argument(help="[FOLDER or photographs] and inverters, also under names: w=optimize.")
    ],
    scores: Annotated[str | None, typer.Option(help="What editability is asked of, such as age,smile,yaw.")] = None,
    targets: Annotated[str | None, typer.Option(help="Only these of the scores.")] = None,
    paths: Annotated[Path | None, typer.Option(help="Paths named like the scores, instead of learning them.")] = None,
    pictures: Annotated[int, typer.Option(help="Pictures of the generator's own, if no photographs are named.")] = 4,
    labels: Annotated[int | None, typer.Option(help="Labeled pictures that paths are learned from.")] = None,
    psi: Annotated[float | None, typer.Option("--psi", "--trunc", help="Truncation of its own pictures.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.SETTING=VALUE, such as w.space=w; repeat it.")
    ] = None,
    crop: Annotated[str, typer.Option(help="How photographs are cut: face, center, or auto.")] = "auto",
    curves: Annotated[bool, typer.Option(help="Draw likeness against editability for each picture.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A page (.html), .json, or the record (.safetensors).")
    ] = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Inverters on the same photographs, or on the generator's own held-out pictures: likeness, editability, time."""
    from .compare_invert import run

    run(
        generator, methods, scores=scores, targets=targets, paths=paths, pictures=pictures, labels=labels, psi=psi,
        given=set_ or [], crop=crop, curves=curves, out=out, as_json=json, device=device,
    )  # fmt: skip


measure = typer.Typer(help="A number with its protocol.", no_args_is_help=True)
app.add_typer(measure, name="measure")


@measure.command("effects")
def measure_effects(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    paths: Annotated[Path, typer.Option(help="A file of paths.")],
    scores: Annotated[str, typer.Option(help="What judges, such as face+age.")],
    people: Annotated[int, typer.Option(help="Held-out samples.")] = 8,
    psi: Psi = None,
    size: Annotated[
        int | None, typer.Option(help="Read previews of this height (px) if the scorer vouches for them.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="The space of a foreign file's directions, where it does not say.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The paths with their effects.")] = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """What one standard deviation along each path does to every score, with intervals."""
    from .measuring import effects

    effects(generator, paths, scores, people, psi, size, space, out, json, device)


@measure.command("ppl")
def measure_ppl(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    space: Annotated[str, typer.Option(help="Where ways are walked.")] = "w",
    where: Annotated[str, typer.Option(help="full (anywhere on a way) or end.")] = "full",
    n: Annotated[int, typer.Option("-n", help="Ways.")] = 100,
    psi: Psi = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """Perceptual path length, by LPIPS (alex)."""
    from .measuring import ppl

    ppl(generator, space, where, n, psi, json, device)


@measure.command("disentanglement")
def measure_disentanglement(
    generator: Annotated[str, typer.Argument(help="A generator that knows its truth.")],
    paths: Annotated[Path, typer.Option(help="A file of paths.")],
    n: Annotated[int, typer.Option("-n", help="Samples.")] = 4000,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """DCI, MIG, SAP and the others of a set of paths against the true factors, by intervention."""
    from .measuring import disentanglement

    disentanglement(generator, paths, n, json, device)


@measure.command("reconstructor")
def measure_reconstructor(
    generator: Annotated[str, typer.Argument(help="A generator's name, or a checkpoint.")],
    paths: Annotated[Path, typer.Option(help="A file of paths.")],
    n: Annotated[int, typer.Option("-n", help="Pairs of pictures.")] = 200,
    psi: Psi = None,
    json: Json = False,
    device: Device = "auto",
) -> None:
    """How often a linear reconstructor tells which path was walked."""
    from .measuring import reconstructor

    reconstructor(generator, paths, n, psi, json, device)


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
