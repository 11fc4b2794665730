"""Documentation that runs: every Python block without a download is executed, and the command-line page is what `--help` says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path):
    return [
        m[2]
        for m in re.finditer(r"^```python([^\n]*)\n(.*?)^```", page.read_text(), re.M | re.S)
        if "no-test" not in m[1]
    ]


def needs_weights(code: str) -> bool:
    return "ffhq-1024" in code


@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(not needs_weights(b) for b in blocks(p))], ids=lambda p: p.stem
)
def test_code_in_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for code in blocks(page):
        if not needs_weights(code) and "import steerable" in code:
            exec(compile(code, str(page), "exec"), scope)


@pytest.mark.weights("ffhq-1024", "landmarks")
@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    """On fewer labels than a person would take, so that it stays short."""
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "README.md")
    exec(compile(code.replace("n=300", "n=40").replace("k=8", "k=4"), "README.md", "exec"), {})
    assert (tmp_path / "people.png").is_file()
    assert (tmp_path / "sheet.png").is_file()
    assert (tmp_path / "faces.safetensors").is_file()


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_pages_about_methods_say_what_differs():
    from steerable.discover import DISCOVERERS

    for name in DISCOVERERS:
        text = (ROOT / "docs" / "systems" / f"{name}.md").read_text()
        assert f"steerable discover {name}" in text
        assert len(text.splitlines()) <= 80
