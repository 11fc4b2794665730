"""Files that want more than to be read. Each is refused by name, and nothing that it asks for happens.

Three alarms are watched: a file that would be made, an environment variable that would be set, a port that would be called.
"""

import os
import pickle
import re
import socket
import struct
import subprocess
import sys
import zipfile
import zlib

import lookalikes as like
import numpy as np
import pytest
import torch

from steerable.errors import ArtifactError
from steerable.foreign import inert, machine, read, state_dict

VARIABLE = "STEERABLE_TEST_ALARM"
WATCHED = [
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
]
HEARD: list[str] = []
sys.addaudithook(lambda event, _: HEARD.append(event) if event in WATCHED else None)


class Alarm:
    def __init__(self, folder, door):
        self.file, self.door = folder / "alarm", door
        self.port = door.getsockname()[1]
        self.shell = f"touch {self.file}"
        self.python = (
            f"(__import__('os').environ.__setitem__({VARIABLE!r}, 'set'), open({str(self.file)!r}, 'w').close(), "
            f"__import__('socket').create_connection(('127.0.0.1', {self.port}), 1).close())"
        )

    def rung(self):
        try:
            self.door.accept()[0].close()
            called = True
        except BlockingIOError:
            called = False
        return [
            n for n, r in (("file", self.file.exists()), ("variable", VARIABLE in os.environ), ("port", called)) if r
        ]


@pytest.fixture
def alarm(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        yield Alarm(tmp_path, door)
    os.environ.pop(VARIABLE, None)


def refused(data, message, alarm, keep=(False, True), **options):
    for kept in keep:
        HEARD.clear()
        with pytest.raises(ArtifactError) as caught:
            state_dict(read(data, keep=kept, **options))
        assert alarm.rung() == []
        assert not HEARD
        text = str(caught.value)
        assert re.search(message, text), text
        assert len(text) < 300
        assert text.isprintable()


def test_the_alarms_work(alarm):
    for path in (b"cbuiltins\neval\n", b"c__builtin__\neval\n"):
        pickle.loads(path + text(alarm.python) + b"\x85R.", fix_imports=True)  # noqa: S301  what readers without care do
        assert alarm.rung() == ["file", "variable", "port"]
        assert {"pickle.find_class", "socket.connect"} <= set(HEARD)
        alarm.file.unlink()
        del os.environ[VARIABLE]
    subprocess.run(alarm.shell, shell=True, check=True)
    assert alarm.rung() == ["file"]


# pickles by hand


def text(s):
    s = s.encode()
    return b"X" + struct.pack("<I", len(s)) + s


def name(dotted):
    module, _, last = dotted.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def call(dotted, *args):
    return name(dotted) + b"(" + b"".join(args) + b"tR"


def number(n):
    return b"\x8a\x10" + n.to_bytes(16, "little", signed=True)


CALLED = [
    "os.system", "posix.system", "os.popen", "os.execv", "subprocess.Popen", "subprocess.check_output", "subprocess.run",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "builtins.getattr", "builtins.open",
    "builtins.print", "builtins.type", "importlib.import_module", "runpy.run_path", "pty.spawn", "socket.create_connection",
    "shutil.rmtree", "webbrowser.open", "ctypes.CDLL", "pickle.loads", "marshal.loads", "functools.partial",
    "functools.reduce", "operator.methodcaller", "timeit.timeit", "code.interact", "io.open", "pathlib.PosixPath.unlink",
    "copyreg.add_extension", "torch.load", "torch.hub.load", "torch.jit.load", "torch.serialization.load", "numpy.load",
    "numpy.lib.npyio.load", "numpy.f2py.compile", "numpy.core.multiarray.fromfile", "torch.utils.cpp_extension.load",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor", "joblib.load", "nobody.knows", "evil.Class",
]  # fmt: skip


@pytest.mark.parametrize("dotted", CALLED)
def test_calls(dotted, alarm):
    asked = rf"^the data asks to run {re.escape(dotted).replace('core', '_?core')}; steerable reads data only$"
    for payload in (alarm.shell, alarm.python):
        refused(call(dotted, text(payload)) + b".", asked, alarm)
        module, _, last = dotted.rpartition(".")
        refused(b"\x80\x04" + text(module) + text(last) + b"\x93(" + text(payload) + b"tR.", asked, alarm)
        refused(f"(c{module}\n{last}\n".encode() + text(payload) + b"o.", asked, alarm)
        refused(b"(" + text(payload) + f"i{module}\n{last}\n.".encode(), asked, alarm)


def test_the_calls_of_python_2_and_of_protocol_0(alarm):
    for old, new in {"__builtin__.eval": "builtins.eval", "__builtin__.apply": "builtins.apply"}.items():
        refused(call(old, text(alarm.python)) + b".", f"asks to run {new}; ", alarm)
    refused(f"cos\nsystem\n(S'{alarm.shell}'\ntR.".encode(), r"asks to run os\.system; ", alarm)
    refused(f"cos\nsystem\n(V{alarm.shell}\ntR.".encode(), r"asks to run os\.system; ", alarm)


def hidden():
    """Ways to the same call that are not a plain REDUCE of a plain name."""
    system = name("os.system")
    arg = b"X\x04\0\0\0true\x85"
    yield "NEWOBJ", system + arg + b"\x81.", "os.system"
    yield "NEWOBJ of a class", name("subprocess.Popen") + arg + b"\x81.", "subprocess.Popen"
    yield "NEWOBJ_EX", name("subprocess.Popen") + arg + b"}\x92.", "subprocess.Popen"
    yield "only named", system + b".", "os.system"
    yield "named and thrown away", system + b"0N.", "os.system"
    yield "memo, then recalled", system + b"q\x050h\x05" + arg + b"R.", "os.system"
    yield "memoized", b"\x80\x04" + text("os") + text("system") + b"\x93\x940h\0" + arg + b"R.", "os.system"
    yield "duplicated", system + b"2" + arg + b"R.", "os.system"
    yield "behind a second STOP", b"N0" + system + arg + b"R..", "os.system"
    yield "in a frame", b"\x80\x04\x95" + struct.pack("<Q", 21) + system + arg + b"R.", "os.system"
    yield "as a factory", call("collections.defaultdict", system) + b".", "os.system"
    yield "as an entry", b"}" + text("w") + system + arg + b"Rs.", "os.system"
    yield "as a key", b"}" + system + arg + b"RNs.", "os.system"
    yield "as a member of a set", b"\x80\x04\x8f(" + system + arg + b"R\x90.", "os.system"
    yield "as state", name("argparse.Namespace") + b")\x81}" + text("x") + system + b"sb.", "os.system"
    yield (
        "as __setstate__",
        name("argparse.Namespace") + b")\x81}" + text("__setstate__") + system + b"sb.",
        "os.system",
    )
    yield "as __reduce__ of a dict", b"}}" + text("__reduce__") + system + b"sb.", "os.system"
    yield (
        "through attributes",
        b"\x80\x04" + text("collections") + text("OrderedDict.__init__.__globals__") + b"\x93.",
        ("collections.OrderedDict.__init__.__globals__"),
    )
    yield "through a dotted module", name("torch.os.system") + arg + b"R.", "torch.os.system"
    yield "through a module of ours", name("steerable.errors.need") + arg + b"R.", "steerable.errors.need"
    yield (
        "an instance made by name",
        call("copyreg._reconstructor", system, name("builtins.object"), b"N") + b".",
        "os.system",
    )
    yield "a constructor by name", call("copyreg.__newobj__", system) + b".", "copyreg.__newobj__"
    yield "object itself", call("builtins.object") + b".", "builtins.object"
    args = name("torch.Tensor"), system, b")", b"}"
    yield "torch's rebuild by type", call("torch._tensor._rebuild_from_type_v2", *args) + b".", "os.system"
    yield "a backward hook", call("torch._utils._rebuild_parameter", b"N", b"\x88", system) + b".", "os.system"
    yield (
        "an array's class",
        call("numpy.core.multiarray._reconstruct", system, b"K\0\x85", b"C\x01b") + b".",
        "os.system",
    )
    yield "a codec", call("_codecs.lookup", text("rot13")) + b".", "_codecs.lookup"


@pytest.mark.parametrize(("data", "asked"), [pytest.param(d, a, id=i) for i, d, a in hidden()])
def test_calls_that_hide(data, asked, alarm):
    refused(data, rf"asks to run {re.escape(asked)}; steerable reads data only", alarm)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02\x82\x01)R.", "extension registry"),
        (b"\x80\x02\x83\x01\x01)R.", "extension registry"),
        (b"\x80\x02\x84\x01\x01\0\0)R.", "extension registry"),
        (b"Palarm\n.", "holds a persistent id, which only a torch archive may"),
        (b"\x80\x02" + text("alarm") + b"Q.", "holds a persistent id, which only a torch archive may"),
        (b"\x80\x05\x97.", "expects buffers from outside the file"),
        (b"\x80\x05N\x98.", "expects buffers from outside the file"),
        (b"\x80\x06N.", "pickle of protocol 6; 0 to 5 are known"),
        (b"\x80\x02" + text("print") + b")R.", "calls what is not a name"),
        (b"\x80\x02" + name("collections.OrderedDict") + b"NR.", "calls collections.OrderedDict with what are not its arguments"),
        (b"\x80\x02]}" + text("__setstate__") + b"Nsb.", "sets the state of a list"),
        (b"\x80\x02N}b.", "sets the state of a NoneType"),
        (b"\x80\x02}K\x01b.", "sets attributes from a int"),
        (b"\x80\x02" + name("collections.OrderedDict") + b".", "refers to collections.OrderedDict as if it were data"),
        (b"\x80\x04K\x01K\x02\x93.", "names something by what is not a name"),
        (b"\x80\x04)K\x02\x93.", "names something by what is not a name"),
        (b"\x80\x02h\x07.", r"makes no sense at byte 2 \(BINGET\)"),
        (b"\x80\x02r\xff\xff\xff\xff.", r"makes no sense at byte 2 \(LONG_BINPUT\)"),
        (b"\x80\x02Np-1\n.", r"makes no sense at byte 3 \(PUT\)"),
        (b"\x80\x02\xff.", "is no opcode"),
        (b"\x80\x02NN.", "untidy stack"),
        (b"\x80\x02(N.", "untidy stack"),
        (b"\x80\x02.", "untidy stack"),
        (b"\x80\x02N", r"\(end of file\)"),
        (b"\x80\x02" + name("numpy.core.multiarray._reconstruct") + name("numpy.ndarray") + b"K\0\x85C\1b\x87R.", "unfinished pending"),
    ],
    ids=lambda x: x[:24].hex() if isinstance(x, bytes) else "",
)  # fmt: skip
def test_other_tricks_of_pickles(data, message, alarm):
    keep = (False,) if "as if it were data" in message else (False, True)
    refused(data, message, alarm, keep)


def test_text_from_a_file_cannot_speak_in_our_voice(alarm):
    loud = "\x1b[2J\u202e" + "evil" * 100
    refused(
        b"\x80\x04" + text("os\r\n") + text(loud) + b"\x93.", r"asks to run os\\r\\n\.\\x1b\[2J\\u202eevilevil", alarm
    )
    refused(zip_of({"data.pkl": b"N.", "\x1b[31m/../x": b""}), r"leads out of the archive: \\x1b\[31m/\.\./x", alarm)


# what is kept of unknown classes


def test_kept_classes_are_never_called(alarm):
    for build in (b"}" + text("f") + b"Nsb", b""):
        kept = read(b"\x80\x02" + name("evil.Class") + text(alarm.python) + b"\x85\x81" + build + b".", keep=True).value
        assert (kept.module, kept.name, kept.args) == ("evil", "Class", (alarm.python,))
    assert alarm.rung() == []
    for dotted in (
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "posix.system",
        "evil.Class\x1b",
        "evil..Class",
        "evil.a-b",
    ):
        refused(b"\x80\x02" + name(dotted) + b")\x81.", "asks to run ", alarm)


@pytest.mark.parametrize("protocol", [2, 4])
def test_source_text_in_a_network_is_not_run(protocol, alarm):
    data, expected = like.nvidia(alarm.python, protocol)
    assert alarm.python.encode() in data
    assert set(state_dict(read(data, keep=True).value["G_ema"])) == set(expected)
    assert alarm.rung() == []
    refused(data, "asks to run source text that it carries", alarm, keep=(False,))


def test_a_network_whose_state_calls(alarm):
    meta = b"}(" + text("type") + text("class") + text("class_name") + text("G") + text("state") + b"}" + text("w")
    inner = call("os.system", text(alarm.shell))
    refused(
        call("torch_utils.persistence._reconstruct_persistent_obj", meta + inner + b"su") + b".",
        r"run os\.system",
        alarm,
    )
    refused(
        call("torch_utils.persistence.import_hooks", b"}") + b".", r"run torch_utils\.persistence\.import_hooks", alarm
    )


# containers around a pickle


def zip_of(members, compression=zipfile.ZIP_STORED):
    file = like.io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, compression)
    return file.getvalue()


def legacy_of(pickled, keys=b"\x80\x02]."):
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    return start + pickled + keys


def npy_of(pickled):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header) + 1) + header + b"\n" + pickled


def as_bytes(data):
    return b"\x80\x03" + call("torch.storage._load_from_bytes", b"B" + struct.pack("<I", len(data)) + data) + b"."


CONTAINERS = {
    "torch zip": lambda p: zip_of({"a/data.pkl": p, "a/version": b"3"}),
    "torch zip, compressed": lambda p: zip_of({"a/data.pkl": p, "a/version": b"3"}, zipfile.ZIP_DEFLATED),
    "torch legacy": legacy_of,
    "torch legacy, in the keys": lambda p: legacy_of(b"\x80\x02N.", p),
    "torch legacy, in the system": lambda p: pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + p,
    "torch tar": lambda p: like.tar(like.bundle(), pickled=p),
    "torch tar, in the storages": lambda p: like.tar(like.bundle(), storages=p),
    "torch tar, in the tensors": lambda p: like.tarred({"storages": b"\x80\x02K\0.\x80\x02].", "tensors": p, "pickle": b"N."}),
    "torchscript": lambda p: zip_of({"a/data.pkl": p, "a/constants.pkl": b"\x80\x02)."}),
    "torchscript, in the constants": lambda p: zip_of({"a/data.pkl": b"\x80\x02N.", "a/constants.pkl": p}),
    "npy": npy_of,
    "npz": lambda p: zip_of({"a.npy": like.npy(np.ones(2)), "b.npy": npy_of(p)}),
    "torch legacy in a pickle": lambda p: as_bytes(legacy_of(p)),
    "torch zip in a pickle": lambda p: as_bytes(zip_of({"a/data.pkl": p})),
    "torch in torch in torch": lambda p: zip_of({"a/data.pkl": as_bytes(legacy_of(as_bytes(legacy_of(p))))}),
}  # fmt: skip


@pytest.mark.parametrize("container", CONTAINERS)
def test_calls_in_containers(container, alarm):
    for pickled in (call("os.system", text(alarm.shell)) + b".", b"\x80\x02(" + text(alarm.shell) + b"ios\nsystem\n."):
        refused(CONTAINERS[container](pickled), r"asks to run os\.system; steerable reads data only", alarm)


def test_a_script_cannot_make_anything_but_its_own_modules(alarm):
    data = CONTAINERS["torchscript"](b"\x80\x02" + name("evil.Class") + b")\x81.")
    refused(data, r"asks to run evil\.Class", alarm)


def test_nesting_without_end(alarm):
    data = legacy_of(b"\x80\x02N.")
    for _ in range(8):
        data = legacy_of(as_bytes(data))
    refused(as_bytes(data), "nests torch files inside one another", alarm)


# archives


def patched(data, mark, offset, value):
    """Overwrite bytes at an offset from every occurrence of a signature."""
    data, at = bytearray(data), data.find(mark)
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = data.find(mark, at + 1)
    return bytes(data)


ZIP = zip_of({"a/data.pkl": b"\x80\x02N.", "a/data/0": b"1234"})
STORAGE = b"(" + text("storage") + name("torch.FloatStorage") + text("0") + text("cpu") + b"%stQ"


def pickle_of_storage(count):
    return b"\x80\x02" + STORAGE.replace(b"%s", number(count)) + b"."


ARCHIVES = {
    "a path upwards": (zip_of({"a/data.pkl": b"N.", "../../evil": b""}), r"leads out of the archive: \.\./\.\./evil"),
    "a path from the root": (zip_of({"a/data.pkl": b"N.", "/etc/passwd": b""}), "leads out of the archive: /etc/passwd"),
    "a path of Windows": (zip_of({"a/data.pkl": b"N.", "a\\..\\..\\b": b""}), "leads out of the archive"),
    "a drive": (zip_of({"a/data.pkl": b"N.", "C:evil": b""}), "leads out of the archive: C:evil"),
    "encrypted": (patched(patched(ZIP, b"PK\1\2", 8, b"\1"), b"PK\3\4", 6, b"\1"), "holds an encrypted member, a/data.pkl"),
    "twice": (patched(zip_of({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), b"b/data.pkl", 0, b"a"), "holds the member a/data.pkl twice"),
    "two roots": (zip_of({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "with 2 files data.pkl; one is expected"),
    "cut short": (ZIP[:-30], "without its directory; the file is probably cut short"),
    "too many members": (patched(ZIP, b"PK\5\6", 10, b"\xfe\xff"), "its zip directory is broken"),
    "bzip2": (zip_of({"a/data.pkl": b"\x80\x02N."}, zipfile.ZIP_BZIP2), "packed in an unknown way, a/data.pkl"),
    "elsewhere": (patched(ZIP, b"PK\1\2", 42, b"\xff\xff\xff\x00"), "is damaged"),
    "a bomb": (zip_of({"x.npy": b"\x93NUMPY" + bytes(80 << 20)}, zipfile.ZIP_DEFLATED), "claims far more data than it holds"),
    "a bomb that lies": (
        patched(zip_of({"x.npy": bytes(1 << 20)}, zipfile.ZIP_DEFLATED), b"PK\1\2", 24, struct.pack("<I", 1000)),
        "does not unpack to the size that it claims",
    ),
    "a member that ends early": (
        patched(zip_of({"x.npy": bytes(1 << 20)}, zipfile.ZIP_DEFLATED), b"PK\1\2", 24, struct.pack("<I", 1 << 21)),
        "does not unpack to the size that it claims",
    ),
    "not an array": (zip_of({"x.npy": b"hello"}), "holds x.npy, which is not an array"),
    "nothing known": (zip_of({"evil.exe": b"MZ", "b": b""}), "neither weights nor arrays: it holds evil.exe, b"),
    "a storage that is not there": (zip_of({"a/data.pkl": pickle_of_storage(1)}), "the storage 0 is missing or has another size"),
    "a storage that is smaller": (
        zip_of({"a/data.pkl": pickle_of_storage(2), "a/data/0": b"1234"}),
        "the storage 0 is missing or has another size",
    ),
    "a negative storage": (
        zip_of({"a/data.pkl": pickle_of_storage(-1), "a/data/0": b"1234"}),
        "the storage 0 is missing or has another size",
    ),
    "a storage from elsewhere": (
        zip_of({"a/data.pkl": pickle_of_storage(1).replace(b"\1\0\0\x000", b"\x06\0\0\0../../"), "a/data/0": b"1234"}),
        r"the storage \.\./\.\./ is missing",
    ),
    "big-endian": (zip_of({"a/data.pkl": b"\x80\x02N.", "a/byteorder": b"big"}), "big-endian machine"),
    "tar: a path upwards": (like.tarred({"../evil": b"x"}), r"leads out of the archive: \.\./evil"),
    "tar: twice": (like.tarred({"ab": b"x", "ac": b""}).replace(b"ac" + bytes(98), b"ab" + bytes(98)), "holds the member ab twice"),
    "tar: a link": (patched(like.tarred({"ab": b""}), b"ab\0", 156, b"2"), "holds ab, which is a link or a device"),
    "tar: cut short": (like.tarred({"ab": bytes(5000)})[:1024], "its member ab is cut short"),
    "tar: nothing known": (like.tarred({"ab": b"x"}), "is a tar archive, but not of torch: it holds ab"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives(case, alarm):
    refused(*ARCHIVES[case], alarm)


def test_members_that_overlap_do_not_multiply(alarm):
    """Many directory entries for one compressed member: small in the file, huge when unpacked."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = packed.compress(bytes(8 << 20)) + packed.flush()
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(content), 8 << 20, 5, 0) + b"x.npy" + content
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(content), 8 << 20, 9, 0, 0, 0, 0, 0, 0) + f"{i:05}.npy".encode()
        for i in range(200)
    )  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 200, 200, len(entries), len(local), 0)
    refused(local + entries + end, "claims far more data than it holds|which is not an array", alarm)


# claims


def tensor(count=4, offset=0, size=(4,), stride=(1,), extra=b""):
    """A torch archive of one tensor with a storage of four numbers."""
    parts = STORAGE.replace(b"%s", number(count)), number(offset)
    shape = (b"(" + b"".join(map(number, part)) + b"t" for part in (size, stride))
    pickled = (
        b"\x80\x02}" + text("w") + call("torch._utils._rebuild_tensor_v2", *parts, *shape, b"\x89N" + extra) + b"s."
    )
    return zip_of({"a/data.pkl": pickled, "a/data/0": struct.pack("<4f", 1, 2, 3, 4)})


def npy_with(shape, descr="<f4", content=bytes(16)):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + content


def pickled_array(shape, code="f4", raw=b"C\x04\0\0\0\0"):
    made = call("numpy.core.multiarray._reconstruct", name("numpy.ndarray"), b"K\0\x85", b"C\x01b")
    dtype = call("numpy.dtype", text(code), b"\x89\x88") + b"(K\x03" + text("<") + b"NNNK\0K\0K\0tb"
    return b"\x80\x03" + made + b"(K\x01(" + b"".join(map(number, shape)) + b"t" + dtype + b"\x89" + raw + b"tb."


def safetensors_with(header, content=bytes(16)):
    return struct.pack("<Q", len(header)) + header + content


OUTSIDE = "reaches outside its storage of 4 numbers"
CLAIMS = {
    "an offset before the storage": (tensor(offset=-1), "are no sizes"),
    "an offset after the storage": (tensor(offset=1), OUTSIDE),
    "a larger shape": (tensor(size=(5,)), OUTSIDE),
    "a longer stride": (tensor(size=(3,), stride=(2,)), OUTSIDE),
    "a negative stride": (tensor(stride=(-1,)), "are no sizes"),
    "a negative size": (tensor(size=(-4,)), "are no sizes"),
    "a huge size": (tensor(size=(2**61,)), "claims far more data than it holds"),
    "sizes that overflow": (tensor(size=(2**33, 2**33), stride=(0, 0)), "claims far more data than it holds"),
    "a stride that overflows": (tensor(size=(2, 2), stride=(2**61, 2**61)), OUTSIDE),
    "one number repeated": (tensor(size=(10**10,), stride=(0,)), "claims far more data than it holds"),
    "sizes without strides": (tensor(size=(2, 2)), "strides do not belong to its shape"),
    "too many sizes": (tensor(size=(1,) * 40, stride=(1,) * 40), "a shape of 40 numbers"),
    "a huge storage before zip": (
        legacy_of(pickle_of_storage(10**12).replace(b"tQ", b"NtQ")),
        "claims storages of 4,000,000,000,000 bytes, more than it holds",
    ),
    "a negative storage before zip": (legacy_of(pickle_of_storage(-(10**12)).replace(b"tQ", b"NtQ")), "claims storages of"),
    "a storage that never comes": (legacy_of(pickle_of_storage(1).replace(b"tQ", b"NtQ")), "list of storages is not that of its tensors"),
    "npy: a huge shape": (npy_with("(1000000000, 1000000000)"), "16 bytes for an array of 1,000,000,000,000,000,000 times 4 bytes"),
    "npy: a negative shape": (npy_with("(-1, 4)"), "or its header is damaged"),
    "npy: an expression": (npy_with("__import__('os').system('true')"), "or its header is damaged"),
    "npy: a huge header": (b"\x93NUMPY\x02\0\xff\xff\xff\x7f" + bytes(64), "without a readable header"),
    "pickled array: a huge shape": (pickled_array((2**40, 2**40)), "4 bytes for an array of"),
    "pickled array: a negative shape": (pickled_array((-1,)), "shape is not a tuple of sizes"),
    "pickled array: objects from bytes": (pickled_array((1,), "O8"), "an array without a type"),
    "pickled array: long text": (pickled_array((1,), "U99999999"), "array of type U99999999"),
    "pickled array: records": (pickled_array((1,), "V4"), "array of type V4"),
    "pickled array: objects of another number": (pickled_array((10**9, 10**9), "O8", b"]"), "0 objects for an array of"),
    "bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"x.", "ends in the middle of a pickle"),
    "text": (b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"x.", "ends in the middle of a pickle"),
    "a frame": (b"\x80\x04\x95" + struct.pack("<Q", 2**63) + b"N.", "a frame of 9,223,372,036,854,775,808 bytes does not fit"),
    "an integer": (b"\x80\x02\x8b" + struct.pack("<I", 1 << 20) + bytes(1 << 20) + b".", "holds an integer of 1,048,576 bytes"),
    "an integer in digits": (b"\x80\x02L" + b"9" * 900 + b"L\n.", r"makes no sense at byte 2 \(LONG\)"),
    "a name without end": (b"\x80\x02c" + b"a" * 100_000, "a line of its pickle has no end"),
    "safetensors: a huge header": (struct.pack("<Q", 2**60) + b"{", "of no kind that is read"),
    "safetensors: outside": (
        safetensors_with(b'{"a":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}'),
        "is damaged: SafetensorError",
    ),
    "safetensors: overlapping": (
        safetensors_with(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        "is damaged: SafetensorError",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLAIMS)
def test_claims(case, alarm):
    refused(*CLAIMS[case], alarm)


def test_copies_of_one_thing_do_not_multiply(alarm, monkeypatch):
    """Each call is cheap in the file; together they would fill the memory."""
    monkeypatch.setattr(inert, "STEPS", 10_000)
    monkeypatch.setattr(inert, "FREE", 1 << 20)
    many = b"X" + struct.pack("<I", 1 << 16) + b"a" * (1 << 16)
    encode = b"\x80\x02" + name("_codecs.encode") + b"q\0" + many + text("latin1") + b"\x86q\1"
    refused(encode + b"h\0h\1R" * 50 + b".", "claims far more data than it holds", alarm)
    listed = b"\x80\x02" + name("collections.OrderedDict") + b"q\0](" + b"K\1K\2\x86" * 1_000 + b"e\x85q\1"
    refused(listed + b"h\0h\1R" * 50 + b".", "needs more than 10,000 steps", alarm)
    views = call("torch._utils._rebuild_tensor_v2", b"h\5K\0", b"(J\0\x40\0\0t", b"(K\0t", b"\x89N")
    pickled = b"\x80\x02" + STORAGE.replace(b"%s", number(4)) + b"q\5](" + views * 50 + b"e\x86."
    data = zip_of({"a/data.pkl": pickled, "a/data/0": bytes(16)})
    refused(data, "claims far more data than it holds", alarm)


# structures without end


def laughs(twice, depth=64):
    """Each level holds the one before it twice: a few bytes a level, 2^64 values."""
    levels = (twice(b"h" + bytes([i])) + b"q" + bytes([i + 1]) + b"0" for i in range(depth))
    return b"\x80\x02K\1\x85q\x000" + b"".join(levels) + b"h" + bytes([depth]) + b"."


def pairs(one):
    return one + one + b"\x86"


def chained(opening, closing, depth):
    return b"\x80\x02" + opening * depth + b"N" + closing * depth + b"."


ENDLESS = {
    "a list in itself": (b"\x80\x02]q\0h\0a.", "holds a list that contains itself"),
    "a dict in itself": (b"\x80\x02}q\0K\1h\0s.", "holds a dict that contains itself"),
    "a list in its tuple": (b"\x80\x02]q\0h\0\x85a.", "holds a list that contains itself"),
    "attributes that hold their owner": (
        b"\x80\x02" + name("argparse.Namespace") + b")\x81q\0}" + text("me") + b"h\0sb.",
        "holds a record that contains itself",
    ),
    "laughing tuples": (laughs(pairs), "repeats shared parts into more than 2,000,000 values"),
    "laughing lists": (laughs(lambda one: b"](" + one + one + b"e"), "repeats shared parts"),
    "laughing dicts": (laughs(lambda one: b"}(K\1" + one + b"K\2" + one + b"u"), "repeats shared parts"),
    "laughing keys": (laughs(pairs)[:-1] + b"q\x50" + b"0}h\x50Ns.", "uses a tuple as a name in a dictionary"),
    "deep lists": (chained(b"]", b"a", 300), "nests containers more than 100 deep"),
    "deep tuples": (b"\x80\x02)" + b"\x85" * 5_000 + b".", "nests containers more than 100 deep"),
    "deep dicts": (chained(b"}K\1", b"s", 300), "nests containers more than 100 deep"),
    "deep namespaces": (chained(name("argparse.Namespace") + b")\x81}K\1", b"sb", 300), "nests containers more than 100 deep"),
    "deep tuple as a key": (b"\x80\x02})" + b"\x85" * 5_000 + b"Ns.", "uses a tuple as a name in a dictionary"),
    "a list as a key": (b"\x80\x02}]Ns.", "uses a list as a name in a dictionary"),
    "keys that collide": (
        b"\x80\x02}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 9)) + b"u.",
        "uses a int as a name in a dictionary",
    ),
    "tuples as keys without end": (
        b"\x80\x02}(" + b"".join(b"K\1M" + struct.pack("<H", k) + b"\x86N" for k in range(300)) + b"u.",
        "uses a tuple as a name in a dictionary",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDLESS)
def test_structures_without_end(case, alarm, monkeypatch):
    monkeypatch.setattr(machine, "TUPLE_KEYS", 200)
    refused(*ENDLESS[case], alarm)


def test_text_is_never_made_of_a_structure_without_end(alarm):
    """Printing one of these as text would take as long as walking through it."""
    value = laughs(pairs)[2:-1]
    refused(legacy_of(b"\x80\x02N.", b"\x80\x02]" + value + b"a."), "neither a number nor text", alarm)
    for part in (b"\x80\x02K\1.\x80\x02" + value + b"NN\x87.", b"\x80\x02K\0.\x80\x02](" + value + b"NK\0K\0te."):
        refused(like.tar(like.bundle(), storages=part), "is damaged", alarm)
    refused(b"\x80\x02" + call("torch.device", value, b"K\1") + b".", "a device that is not text", alarm)
    refused(b"\x80\x02" + call("pathlib.PosixPath", value) + b".", "a path whose parts are not text", alarm)
    meta = b"}(" + text("class_name") + value + text("state") + b"}u"
    refused(
        b"\x80\x02" + call("torch_utils.persistence._reconstruct_persistent_obj", meta) + b".", "without a class", alarm
    )
    refused(b"\x80\x02" + value + b")R.", "calls what is not a name", alarm)
    refused(b"\x80\x02" + value + value + b"\x93.", "names something by what is not a name", alarm)


def test_shapes_without_end(alarm):
    """The product of a million large numbers takes minutes."""
    refused(like.onnx(like.field(1, 2**61) * 3_000 + like.field(2, 1)), "a shape of 3000 numbers", alarm)
    model = like.tfjs({"w": torch.ones(4)})[0].replace(b"[4]", b"[" + b"1000000000000000000, " * 3_000 + b"1]")
    refused(
        model, "a shape of 3001 numbers", alarm, beside={"group1-shard1of2": bytes(9), "group1-shard2of2": bytes(7)}
    )
    refused(tensor(size=(2**61,) * 3_000, stride=(1,) * 3_000), "a shape of 3000 numbers", alarm)
    refused(pickled_array((2**61,) * 3_000), "shape is not a tuple of sizes", alarm)


def test_kept_objects_without_end(alarm):
    made = b"\x80\x02" + name("evil.Class") + b")\x81q\0"
    refused(made + b"h\0b.", "holds a object that contains itself", alarm, keep=(True,))
    refused(made + b"}" + text("_modules") + b"h\0sb.", "holds a object that contains itself", alarm, keep=(True,))
    script = made.replace(b"evil", b"__torch__") + b"}" + text("x") + b"h\0sb."
    refused(CONTAINERS["torchscript"](script), "holds a object that contains itself", alarm)


def test_work_without_end(alarm, monkeypatch):
    monkeypatch.setattr(inert, "STEPS", 10_000)  # 2 million take seconds
    for opcode in (b"}", b"]0", b"(", b"\x8f"):
        refused(b"\x80\x04" + opcode * 20_000, "needs more than 10,000 steps to read", alarm)


# models with a graph

WEIGHT = like.initializer("weight", like.numbers(2, 2), 1)
ELSEWHERE = like.field(13, like.field(1, "location") + like.field(2, "../../etc/passwd"))
DTD = b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "%s">]><net version="11"><layers/>&a;</net>'
LAUGHS = (
    b'<!DOCTYPE net [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><net version="11">&c;</net>'
)
CONST = '<layer id="{i}" name="{n}" type="Const"><data element_type="f32" shape="{s}" offset="{o}" size="{b}"/></layer>'
MODELS = {
    "onnx: external data": (like.onnx(like.initializer("w", like.numbers(0), 1, more=ELSEWHERE)), "keeps a tensor in another file"),
    "onnx: external place": (
        like.onnx(like.initializer("w", like.numbers(0), 1, more=like.field(14, 1))),
        "keeps a tensor in another file",
    ),
    "onnx: a huge shape": (
        like.onnx(like.field(1, 2**40) + like.field(1, 2**40) + like.field(2, 1) + like.field(8, "w") + like.field(9, b"1234")),
        "4 bytes for w",
    ),
    "onnx: a negative shape": (like.onnx(like.field(1, -1) + like.field(1, -1) + like.field(2, 1) + like.field(9, b"1234")), "is damaged"),
    "onnx: text": (like.onnx(like.field(2, 8) + like.field(6, b"x")), "a tensor of text"),
    "onnx: an unknown type": (like.onnx(like.field(2, 99) + like.field(8, "w")), r"holds w, a tensor of a type that is not read \(99\)"),
    "onnx: twice": (like.onnx(WEIGHT, WEIGHT), "names two initializers 'weight'"),
    "onnx: sparse": (like.field(1, 8) + like.field(7, like.field(15, b"")), "sparse initializers"),
    "onnx: cut short": (like.onnx(WEIGHT)[:-20], "ends in the middle of a field"),
    "onnx: a number without end": (b"\x08" + b"\xff" * 40, "a number of more than ten bytes"),
    "onnx: an unknown wire type": (b"\x08\x08\x0b", "a field of wire type 3"),
    "onnx: a graph that is a number": (like.field(1, 8) + like.field(7, 1), "holds no graph"),
    "xml: an entity": (DTD % b"x", "declares a document type or an entity"),
    "xml: a file": (DTD.replace(b'"%s"', b'SYSTEM "file:///etc/passwd"'), "declares a document type or an entity"),
    "xml: laughs": (LAUGHS, "declares a document type or an entity"),
    "xml: deep": (b'<net version="11">' + b"<a>" * 100, "nests its XML more than 16 deep"),
    "xml: cut short": (like.ir(like.bundle())[0][:-9], "its XML breaks off at line 2"),
    "ir: outside": (like.ir({}, (), layers=CONST.format(i=1, n="c", s="4", o=90, b=16))[0], "its constant c lies outside its .bin file"),
    "ir: before": (like.ir({}, (), layers=CONST.format(i=1, n="c", s="4", o=-16, b=16))[0], "its constant c lies outside its .bin file"),
    "ir: a huge shape": (like.ir({}, (), layers=CONST.format(i=1, n="c", s="99999,99999", o=0, b=16))[0], "16 bytes for c"),
    "ir: a negative shape": (like.ir({}, (), layers=CONST.format(i=1, n="c", s="-2,-2", o=0, b=16))[0], "of such as are no sizes"),
    "ir: a negative size": (like.ir({}, (), layers=CONST.format(i=1, n="c", s="4", o=0, b=-16))[0], "claims far more data|outside"),
    "ir: a name twice": (
        like.ir({"c": torch.ones(1)}, (), layers=CONST.format(i=7, n="c", s="1", o=0, b=4))[0],
        "two of its layers have one name",
    ),
    "ir: a layer that is not there": (like.ir({"c": torch.ones(1)}, ((55, "", 0),))[0], "is damaged"),
    "json: deep": (b'{"weightsManifest":' + b"[" * 100_000, "is damaged: RecursionError"),
    "json: cut short": (like.tfjs(like.bundle())[0][:-9], "is damaged: JSONDecodeError"),
    "json: no list": (b'{"weightsManifest": [1]}', "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("case", MODELS)
def test_models(case, alarm):
    data, message = MODELS[case]
    refused(data, message, alarm, beside={"b": bytes(64)})


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/b", "..", "", "a\\b", "https://evil/x", "a\0b", 7])
def test_shards_stay_in_their_folder(path, alarm, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(16))
    (folder / "model.json").write_bytes(like.tfjs({"w": torch.ones(4)}, shards=(path, "s"))[0])
    refused(folder / "model.json", "model.json names a shard outside its own folder", alarm)


def test_shards_of_another_size(alarm):
    model, shards = like.tfjs({"w": torch.ones(4)})
    first, second = shards
    refused(model, "is damaged", alarm, beside=shards | {second: b""})
    refused(model, "its shards hold 1,0.. bytes, its weights 16", alarm, beside=shards | {second: bytes(1000)})
    huge = model.replace(b"[4]", b"[4000000000, 4000000000]")
    refused(huge, "bytes for w", alarm, beside={first: shards[first], second: shards[second]})


def test_one_shard_named_many_times(alarm, monkeypatch):
    monkeypatch.setattr(inert, "FREE", 1 << 10)
    model = like.json.dumps({"weightsManifest": [{"paths": ["s"] * 1_000, "weights": []}]}).encode()
    refused(model, "claims far more data than it holds", alarm, beside={"s": bytes(1 << 16)})
    refused(model.replace(b'"s"', b'"e"') * 1, "needs the file e beside it", alarm, beside={"s": b""})


def test_a_file_that_never_ends(alarm):
    for device in ("/dev/zero", "/dev/stdin"):
        if os.path.exists(device):
            refused(device, "is not a file$", alarm)


def test_names_of_tensors_do_not_grow_without_end(alarm):
    names = {"n" * 2000: torch.ones(1)}
    refused(like.zipped(names), "a tensor's name of more than 1,000 letters, nnnn", alarm)
