"""Arrays in pickles of every protocol: read without a second copy, and without keeping the file in memory."""

import gc
import pickle
import struct
import weakref

import numpy as np
import pytest

from steerable import foreign
from steerable.errors import ArtifactError
from steerable.foreign import formats
from steerable.foreign.inert import LONG, Text

LARGE = np.random.RandomState(0).randn(LONG // 4).astype(np.float32)  # one byte in two is above 127


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_large_arrays(protocol):
    values = {"a": LARGE, "again": LARGE[::-1].copy(), "small": LARGE[:5].copy()}
    read = foreign.read(pickle.dumps(values, protocol=protocol)).value
    for name, array in values.items():
        assert np.array_equal(read[name], array)
        assert read[name].flags.writeable


def test_python_2_wrote_bytes_as_text():
    raw, minus = LARGE.tobytes(), b"J" + struct.pack("<i", -1)
    made = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
    made += b"K\x01J" + struct.pack("<i", len(LARGE)) + b"\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
    made += b"(K\x03U\x01<NNN" + minus + minus + b"K\x00tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb."
    assert np.array_equal(foreign.read(made).value, LARGE)


def test_long_text_stays_where_it_is():
    long, short = "ä" * LONG, "ä" * 10
    read = foreign.read(pickle.dumps({"long": long, "short": short}, protocol=2)).value
    assert type(read["long"]) is Text
    assert str(read["long"]) == long
    assert read["short"] == short
    with pytest.raises(ArtifactError, match="uses a Text as a name in a dictionary"):
        foreign.read(pickle.dumps({long: 1}, protocol=4))
    with pytest.raises(ArtifactError, match="its pickle makes no sense"):  # letters that are no bytes
        foreign.read(pickle.dumps(LARGE, protocol=2).replace(b"\xc2", b"\xc4"))


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_file_is_let_go_of(protocol, tmp_path, monkeypatch):
    """Without waiting for the garbage collector: what a pickle remembers could lead back to the whole file."""
    held = []
    original = formats._bytes
    monkeypatch.setattr(formats, "_bytes", lambda file: held.append(original(file)) or held[-1])
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps({"a": LARGE, "b": LARGE}, protocol=protocol))
    gc.disable()
    try:
        read = foreign.read(path)
        alive = weakref.ref(held[0].obj)
        held.clear()
        assert alive() is None
    finally:
        gc.enable()
    assert np.array_equal(read.value["b"], LARGE)
