"""`steerable studio` as somebody starts it."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

import steerable as st

pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")
from steerable.cli import main


def test_it_says_where_it_is_offers_files_and_leaves_nothing_behind(style, tmp_path, monkeypatch):
    file = st.save(st.discover("random", style, space="w", k=2), tmp_path / "mine.safetensors", generator=style)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    command = [sys.executable, "-m", "steerable.cli", "studio", "tiny-style", "--port", "0", "--paths", str(file)]
    studio = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        address = next(word for line in studio.stderr for word in line.split() if word.startswith("http://"))
        with urllib.request.urlopen(address, timeout=120) as page:
            assert b"steerable studio" in page.read()
            cookie = page.headers["set-cookie"].split(";")[0]
        ask = urllib.request.Request(f"{address}bundles?name=tiny-style", headers={"Cookie": cookie})
        with urllib.request.urlopen(ask, timeout=120) as answer:
            (bundle,) = json.load(answer)
        assert (bundle["name"], len(bundle["paths"])) == ("mine.safetensors", 2)
        assert list((tmp_path / "tmp").glob("steerable-studio-*/person-*"))
        studio.send_signal(signal.SIGINT)
        studio.communicate(timeout=120)
    finally:
        studio.kill()
        studio.communicate()
    assert not list((tmp_path / "tmp").glob("steerable-studio-*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("tiny-style", "--host", "0.0.0.0"), "--password or --token"), (("nothing-like-it",), "no generator is called")],
)
def test_what_cannot_be_started_is_said_in_a_line(arguments, word, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["studio", *arguments, "--port", "0"])
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert word in " ".join(said.split())
    assert "Traceback" not in said
