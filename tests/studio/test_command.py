"""`steerable studio` as somebody starts it."""

import signal
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="the extra 'studio' is not installed")


def start(*arguments):
    command = [sys.executable, "-m", "steerable.cli", "studio", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_it_says_where_it_is_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    studio = start("tiny-style", "--port", "0")
    try:
        line = studio.stderr.readline()
        address = next(word for word in line.split() if word.startswith("http://"))
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"steerable studio" in page.read()
        assert list(tmp_path.glob("steerable-studio-*/person-*"))
        studio.send_signal(signal.SIGINT)
        studio.communicate(timeout=60)
    finally:
        studio.kill()
        studio.communicate()
    assert not list(tmp_path.glob("steerable-studio-*"))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("tiny-style", "--host", "0.0.0.0"), "--password or --token"), (("nothing-like-it",), "no generator is called")],
)
def test_what_cannot_be_started_is_said_in_a_line(arguments, word):
    studio = start(*arguments, "--port", "0")
    _, said = studio.communicate(timeout=60)
    assert studio.returncode == 1
    assert word in said
    assert "Traceback" not in said
