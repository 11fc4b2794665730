"""The rules of the house that a machine can check. docs/decisions says why they are as they are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import steerable
from steerable.errors import SteerableError
from steerable.method import Method

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "steerable"
FILES = sorted(SRC.rglob("*.py"))
VERBS = ("discover", "invert", "retouch", "rewrite", "translate", "train", "measure")
FACES = ("cli", "studio")
# What a folder may import of the package. Nouns are the files at the top; they import nouns only (checked by `test_nouns…`).
MAY = {
    "nn": {"nn", "foreign", "catalogue"},
    "catalogue": {"catalogue"},
    "foreign": {"foreign"},
    "generators": {"nn", "catalogue", "foreign", "data", "generators"},
    "checkpoints": {"foreign", "catalogue", "generators", "nn", "checkpoints"},
    "score": {"nn", "catalogue", "foreign", "data", "score"},
    "data": {"data", "catalogue", "foreign", "nn"},
    "discover": {"nn", "score", "train", "discover"},  # training.py runs the loop of train/
    "invert": {"nn", "score", "foreign", "invert"},  # other projects' code files are read too
    "photo": {"nn", "score", "photo"},
    "retouch": {"nn", "score", "retouch"},
    "train": {"nn", "score", "data", "generators", "train"},
    "measure": {"nn", "score", "measure"},
}
LONGEST = {"noun": 300, "method": 400, "family": 700, "face": 450}
# Files that may be longer, with the reason. Five at most.
LONGER = {"generator.py": "the one contract, with its fold"}
BANNED = {"utils", "helpers", "misc", "common", "base"}


def imports(file: Path) -> set[str]:
    """Dotted names within the package that a file imports, at the top or inside functions, but not for type checking only."""
    tree = ast.parse(file.read_text())
    here = ("steerable", *file.relative_to(SRC).with_suffix("").parts)
    checking = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for n in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.ImportFrom):
            if node.level:
                package = here[: len(here) - node.level]
                module = ".".join((*package, node.module)) if node.module else ".".join(package)
            else:
                module = node.module or ""
            if module.split(".")[0] == "steerable":
                found.add(module)
                found.update(f"{module}.{a.name}" for a in node.names)
        elif isinstance(node, ast.Import):
            found.update(a.name for a in node.names if a.name.split(".")[0] == "steerable")
    return found


def folder(name: str) -> str | None:
    """The folder of a dotted name, None for nouns and the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (SRC / parts[1]).is_dir() else None


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SRC)))
def test_who_imports_whom(file):
    place = file.relative_to(SRC).parts[0] if file.parent != SRC else None
    for name in imports(file):
        target = folder(name)
        if target is None or place in FACES or file == SRC / "__init__.py":
            continue
        assert target not in FACES, f"{file.name} imports a face: {name}"
        if place is None:
            assert target in ("foreign", "catalogue"), f"the noun {file.name} imports {name}"
        elif place in MAY:
            assert target in MAY[place], f"{place}/{file.name} imports {name}"


def test_no_method_imports_a_sibling_method():
    for verb in VERBS:
        for file in (SRC / verb).glob("*.py") if (SRC / verb).is_dir() else ():
            if file.name == "__init__.py":
                continue
            methods = {f"steerable.{verb}.{f.stem}" for f in (SRC / verb).glob("*.py") if _has_method(f)} - {
                f"steerable.{verb}.{file.stem}"
            }
            assert not imports(file) & methods, f"{verb}/{file.name} imports a sibling method"


def _has_method(file: Path) -> bool:
    return file.name != "__init__.py" and "name: ClassVar" in file.read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_no_method_names_a_family(verb):
    families = {f.stem for f in (SRC / "generators").glob("*.py")} - {"__init__", "tiny", "heads"}
    for file in (SRC / verb).rglob("*.py") if (SRC / verb).is_dir() and verb != "train" else ():
        code = ast.parse(file.read_text())
        strings = {
            n.value.lower()
            for n in ast.walk(code)
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) < 40
        }
        assert not strings & families, f"{verb}/{file.name} names a family"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SRC)))
def test_files_are_small(file):
    place = file.relative_to(SRC).parts[0] if file.parent != SRC else "noun"
    kind = (
        "noun"
        if place == "noun"
        else "face"
        if place in FACES
        else "method"
        if place in (*VERBS, "score")
        else "family"
    )
    lines = len(file.read_text().splitlines())
    if file.name not in LONGER:
        assert lines <= LONGEST[kind], (
            f"{file.relative_to(SRC)} has {lines} lines; a {kind} has at most {LONGEST[kind]}: is an idea missing?"
        )
    assert len(LONGER) <= 5


def test_functions_are_short():
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 80, f"{file.relative_to(SRC)}: {node.name} has {length} lines"


def test_no_shelf_for_junk():
    assert not [f for f in FILES if f.stem in BANNED or f.parent.name in BANNED]


def test_the_public_surface_is_exactly_all():
    tree = ast.parse((SRC / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    typed = {(n.module, a.name) for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert {(module, name) for name, module in steerable._HOME.items()} == typed
    for name in steerable.__all__:
        assert getattr(steerable, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = steerable.nothing


def test_help_imports_no_torch():
    code = """
import sys
from steerable.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "discover" in done.stdout


def _concrete(cls):
    return [
        c
        for s in cls.__subclasses__()
        for c in (s, *_concrete(s))
        if c.__module__.startswith("steerable.") and not c.__abstractmethods__
    ]


def test_every_method_is_in_exactly_one_table_with_paper_page_and_test():
    from steerable.discover import DISCOVERERS
    from steerable.invert import INVERTERS

    tables = [DISCOVERERS, INVERTERS]
    methods = set(_concrete(Method))
    assert methods == {m for t in tables for m in t.values()}
    tests = "".join(f.read_text() for f in (ROOT / "tests").rglob("test_*.py"))
    for method in methods:
        header = sys.modules[method.__module__].__doc__ or ""
        for word in ("Paper", "Matches", "Differs"):
            assert word in header, f"{method.__module__} does not say: {word}"
        assert method.paper
        assert (ROOT / "docs" / "systems" / f"{method.name}.md").is_file(), f"{method.name} has no page"
        assert method.__name__ in tests or f'"{method.name}"' in tests, f"{method.name} has no test"


def test_signatures_say_what_they_take():
    """No **rest in a public function, but where settings are handed on to a dataclass that checks them."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.args.kwarg and not node.name.startswith("_"):
                assert node.name in (
                    "along",
                    "begin",
                    "command",
                    "compiled",
                    "discover",
                    "invert",
                    "square",
                    "tiny",
                    "wear",
                    "e",
                    "f",
                    "t",
                    "r",
                ), f"{file.name}: {node.name} takes **{node.args.kwarg.arg}"


def test_errors_are_one_tree():
    import steerable.errors as errors

    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, Exception):
            assert issubclass(cls, SteerableError), name
            assert name in (errors.__doc__ or ""), f"{name} is not drawn in the tree"


def test_the_project_speaks_of_itself_alone():
    words = ("/work/", "/tmp/brief", "claude", "chatgpt", "anthropic", "openai", "subagent")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        file = ROOT / name
        if (
            file.suffix in (".py", ".md", ".toml", ".txt", ".yml", ".html", ".js", ".css", "")
            and file.is_file()
            and file != Path(__file__)
        ):
            text = file.read_text(errors="ignore").lower()
            for word in words:
                assert word not in text, f"{name} says {word}"


def test_pickle_is_read_nowhere_but_in_foreign():
    for file in FILES:
        if "foreign" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "dill", "cloudpickle", "joblib"} & set(names), f"{file.name} imports {names}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.jit.load"), f"{file.name} calls {called}"
