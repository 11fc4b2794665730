"""Who is let in, what is refused, and what is left behind."""

import base64
import http.client
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import steerable as st
from steerable.errors import SettingError
from steerable.studio.guard import known, loopback
from steerable.studio.jobs import Hands, Job
from steerable.studio.people import PEOPLE, Studio
from steerable.studio.server import serve
from steerable.studio.shelf import Shelf

pytest.importorskip("websockets", reason="the extra 'studio' is not installed")
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


class Caller:
    """A client that says exactly what it is told to say."""

    def __init__(self, running):
        self.port, self.cookie = running.port, ""

    def __call__(self, method, path, body=None, **headers):
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        given = {"Cookie": self.cookie} if self.cookie else {}
        if isinstance(body, (dict, list)):
            body, given["Content-Type"] = json.dumps(body), "application/json"
        line.request(method, path, body, {**given, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = line.getresponse()
        text = answer.read()
        if cookie := answer.getheader("set-cookie"):
            self.cookie = cookie.split(";")[0]
        line.close()
        return answer, text

    def says(self, *given, **headers):
        answer, text = self(*given, **headers)
        return answer.status, json.loads(text)["error"]


@pytest.fixture
def call(running):
    caller = Caller(running)
    caller("GET", "/")
    return caller


SESSION = {"generator": "heads-64", "seed": 1}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_is_refused(call, host):
    answer, text = call("GET", "/", Host=host)
    assert answer.status == 403
    assert b"open it by the address" in text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_foreign_origin_is_refused(call, running, origin):
    answer, _ = call("POST", "/scores", {"session": SESSION}, Origin=origin)
    assert answer.status == 403
    with pytest.raises(InvalidStatus):
        connect(
            f"ws://127.0.0.1:{running.port}/live", origin=origin, additional_headers={"Cookie": call.cookie}
        ).close()


def test_the_websocket_wants_an_origin_and_a_cookie(call, running):
    address, home = f"ws://127.0.0.1:{running.port}/live", f"http://127.0.0.1:{running.port}"
    for headers, origin in (({"Cookie": call.cookie}, None), ({}, home), ({"Cookie": call.cookie + "x"}, home)):
        with pytest.raises(InvalidStatus):
            connect(address, origin=origin, additional_headers=headers).close()
    with connect(address, origin=home, additional_headers={"Cookie": call.cookie}) as line:
        line.send(json.dumps({"n": 1, "what": "full", "session": SESSION}))
        answer = line.recv(timeout=120)
        head = json.loads(answer[4 : 4 + int.from_bytes(answer[:4], "big")])
        assert (head["width"], head["n"]) == (64, 1)
        line.send('{"n": 2, "session": {"generator": "heads-64", "seed": -1}}')
        assert "seed" in json.loads(line.recv(timeout=120))["error"]
        line.send(json.dumps({"n": 3, "what": "full", "session": {"generator": "/etc/passwd"}}))
        assert "no generator is called" in json.loads(line.recv(timeout=120))["error"]


def test_nothing_answers_without_a_cookie(running):
    caller = Caller(running)
    for method, path, body in (
        ("GET", "/state?name=heads-64", None),
        ("POST", "/scores", {"session": SESSION}),
        ("POST", "/mask", b"x"),
    ):
        status, text = caller.says(method, path, body)
        assert (status, "open the studio's page first" in text) == (401, True)
    for path in ("/docs", "/openapi.json", "/redoc", "/page/../server.py", "/page/%2e%2e/server.py"):
        assert caller("GET", path)[0].status == 404


def test_answers_forbid_other_sites_and_other_scripts(call):
    answer, text = call("GET", "/page/studio.js")
    policy = answer.getheader("content-security-policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.getheader("x-content-type-options") == "nosniff"
    assert answer.getheader("access-control-allow-origin") is None
    page = call("GET", "/")[1]
    assert b"http://" not in page
    assert b"https://" not in page
    assert b"://" not in text.replace(b"}://${location.host}", b"")


def test_cookies_are_for_this_site_alone(running):
    answer, _ = Caller(running)("GET", "/")
    cookie = answer.getheader("set-cookie").lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


# -- the password --------------------------------------------------------------------------------------------------------------------


def test_the_network_needs_a_password():
    for host in ("0.0.0.0", "::", "192.168.1.5"):
        with pytest.raises(SettingError, match="needs --password or --token"):
            serve("tiny-style", host=host, port=0)
    assert loopback("127.0.0.1")
    assert not loopback("0.0.0.0")
    assert known("192.168.1.5:7860", everywhere=True)
    assert not known("192.168.1.5:7860", everywhere=False)
    assert not known("evil.example", everywhere=True)


def test_a_password_or_a_token_opens(locked):
    caller = Caller(locked)
    answer, text = caller("GET", "/")
    assert answer.status == 401
    assert b"Password" in text
    assert not caller.cookie
    assert caller.says("POST", "/enter", {"secret": "wrong"})[0] == 401
    assert caller("GET", "/?token=wrong")[0].status == 401
    assert not caller.cookie
    assert caller("POST", "/enter", {"secret": "open sesame"})[0].status == 200
    assert caller("GET", "/")[0].status == 200
    other = Caller(locked)
    answer, _ = other("GET", "/?token=open%20sesame")
    assert (answer.status, answer.getheader("location")) == (303, "/")
    assert other.cookie != caller.cookie
    assert other("GET", "/first")[0].status == 200


# -- uploads -------------------------------------------------------------------------------------------------------------------------


def picture(kind, size=(8, 8), **options):
    buffer = io.BytesIO()
    Image.new("L", size, 255).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(side):
    """A PNG that says it is very large; its pixels are a few bytes."""
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) print\n%%EOF\n"
MASKS = {
    "nothing": b"",
    "text": b"not a picture",
    "html": b"<html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "eps": EPS,
    "half a png": picture("PNG", (64, 64))[:60],
    "a bomb": bomb(60_000),
    "a larger bomb": bomb(2_000_000_000),
    "gif": picture("GIF"),
    "a film": picture("PNG", save_all=True, append_images=[Image.new("L", (8, 8), v) for v in (0, 9)]),
    "tiff": picture("TIFF"),
    "too many bytes": b"\x89PNG\r\n\x1a\n" + b"\0" * (5 << 20),
}


@pytest.mark.parametrize("what", MASKS)
def test_bad_masks_are_refused_in_words(call, running, what):
    person = running.studio.people[call.cookie.split("=")[1]]
    answer, text = call("POST", "/mask", MASKS[what])
    assert answer.status in (400, 413)
    assert b"Traceback" not in text
    assert str(person.shelf.folder).encode() not in text
    assert not list(person.shelf.folder.glob("mask-*"))


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


FILES = {
    "nothing": b"",
    "text": b"hello",
    "a pickle that runs": b"cposix\nsystem\n(S'echo owned'\ntR.",
    "an array of objects": _npy(np.array([{"a": 1}], dtype=object)),
    "not a number": _npy(np.full((1, 64), np.nan, np.float32)),
    "a zip that is none": b"PK\x03\x04" + b"\0" * 200,
    "safetensors of nothing": struct.pack("<Q", 2) + b"{}",
    "a header without end": struct.pack("<Q", 1 << 60) + b"{",
    "json": b'{"record": "Paths"}',
}


@pytest.mark.parametrize("what", FILES)
def test_bad_direction_files_are_refused_in_words(call, running, what, capfd):
    person = running.studio.people[call.cookie.split("=")[1]]
    status, text = call.says("POST", "/paths?generator=heads-64&space=w", FILES[what])
    assert status == 400
    assert text
    assert str(person.shelf.folder) not in text
    assert "owned" not in capfd.readouterr().out
    assert not list(person.shelf.folder.iterdir())


def test_directions_of_other_weights_are_refused(call, tmp_path):
    g = st.load("tiny-style", device="cpu")
    file = st.save(st.discover("random", g, space="w", k=2), tmp_path / "other.safetensors", generator=g)
    status, text = call.says("POST", "/paths?generator=heads-64", file.read_bytes())
    assert status == 400
    assert "weights differ" in text


def test_ids_are_not_paths(call, running, tmp_path):
    shelf = Shelf(tmp_path)
    (tmp_path / "mask-x").write_bytes(b"")
    for id in ("../../etc/passwd", "..%2f..%2fetc", "x", "0123456789abcdeg", ""):
        assert call("GET", f"/mask/{id}")[0].status in (404, 422)
        with pytest.raises(SettingError, match="is no id"):
            shelf.file("mask", id)
    for name in ("/etc/passwd", "../heads-64", "file:///etc/passwd"):
        assert call.says("GET", f"/state?name={name}")[0] == 404
    assert call.says("GET", "/jobs/none/file")[0] == 404


def test_a_session_must_be_what_it_says(call, tmp_path):
    g = st.load("heads-64", device="cpu")
    file = st.save(st.discover("random", g, space="w", k=2), tmp_path / "d.safetensors", generator=g)
    packed = base64.b64encode(file.read_bytes()).decode()
    whole = {"format": 1, "generator": {"name": "heads-64", "fingerprint": g.fingerprint}, "session": SESSION}
    assert call("POST", "/bundle", whole)[0].status == 200
    for wrong, word in (
        ({"paths": {"0" * 16: packed}}, "not the one"),
        ({"paths": {"0" * 16: "%%%"}}, "damaged"),
        ({"masks": {"0" * 16: packed}}, "not a picture"),
        ({"generator": {"fingerprint": "0"}}, "other weights"),
        ({"format": 2}, "not an exported session"),
        ({"session": {**SESSION, "psi": 1e9}}, "psi"),
        ({"more": 1}, "more"),
    ):
        status, text = call.says("POST", "/bundle", {**whole, **wrong})
        assert (status, word in text) == (400, True), text


# -- what is left ---------------------------------------------------------------------------------------------------------------------


def test_folders_go_with_their_people():
    studio = Studio("tiny-style", device="cpu")
    first = studio.welcome()
    first.shelf.put("mask", b"x")
    for _ in range(PEOPLE):
        studio.welcome()
    assert len(studio.people) == PEOPLE
    assert not first.shelf.folder.exists()
    assert studio.known(first.token) is None
    studio.close()
    assert not studio.root.exists()


def test_a_job_that_dies_is_told_kindly(call, running):
    ask = {"kind": "discover", "generator": "heads-64", "method": "ganspace", "settings": {"n": 900_000_000}}
    text = call("POST", "/jobs", ask)[1]
    id = json.loads(text)["id"]
    job = running.studio.people[call.cookie.split("=")[1]].jobs[id]
    job.hand.process.kill()
    job.reader.join(60)
    told = json.loads(call("GET", f"/jobs/{id}")[1])
    assert told["state"] == "failed"
    assert "perhaps for want of memory" in told["error"]
    assert not job.folder.exists()


def test_after_a_job_another_process_waits_for_the_next(tmp_path):
    ask = {"generator": "tiny-style", "method": "random", "settings": {"k": 2}, "device": "cpu"}
    hands, ended = Hands(tmp_path), []

    def done(method):
        begun = Job(
            "discover",
            {**ask, "method": method},
            tmp_path,
            hands,
            lambda folder, result: ended.append(folder) or result,
        )
        begun.start()
        begun.reader.join(300)
        return begun

    first = done("random")
    assert (first.state, first.result["found"]) == ("done", 2), first.error
    assert ended == [first.folder]
    waiting = hands._waiting
    second = done("nothing-like-it")
    assert second.hand is waiting
    assert second.hand.process.pid != first.hand.process.pid
    assert second.state == "failed"
    assert "no discovery method is called 'nothing-like-it'" in second.error
    assert not second.folder.exists()
    hands.refill()
    last = hands._waiting
    hands.close()
    assert last.process.poll() is not None
    hands.refill()
    assert hands._waiting is None
    assert not list(tmp_path.glob("errors-*"))


def test_small_things_are_said_in_words(call):
    for path, body in (
        ("/jobs", {"kind": "discover", "generator": "heads-64", "method": "nothing"}),
        ("/jobs", {"kind": "measure", "session": SESSION, "scores": "/etc/passwd.csv"}),
        ("/strip", {"session": SESSION, "id": "aaaa"}),
        ("/leak", {"session": SESSION}),
        ("/export/directions", {"session": SESSION}),
        (
            "/scores",
            {"session": {**SESSION, "sliders": [{"id": "a", "bundle": "0" * 16, "index": 0, "name": "x", "t": 1}]}},
        ),
        ("/gallery", {"generator": "heads-64", "seeds": list(range(25))}),
    ):
        status, text = call.says("POST", path, body)
        assert status in (400, 404, 422)
        assert 5 < len(text) < 400
