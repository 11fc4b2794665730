"""Every format is read as its own program would read it."""

import argparse
import collections
import os
import pathlib
import pickle
import struct
import zipfile
from pathlib import Path

import lookalikes as like
import numpy as np
import pytest
import safetensors.torch
import torch

from steerable.errors import ArtifactError
from steerable.foreign import Object, read, state_dict
from steerable.foreign.opcodes import CODES, OPCODES, _unknown

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
WRITERS = {"torch-zip": like.zipped, "torch-legacy": like.legacy, "pickle": pickle.dumps}


def same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        assert found == expected


# torch


@pytest.mark.parametrize("format", WRITERS)
def test_a_bundle_of_tensors(format):
    tree = read(WRITERS[format](like.bundle()))
    assert tree.format == format
    same(tree.value, like.bundle())


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(format, dtype):
    tensor = like.numbers(3, 5).mul(3).to(dtype)
    same(read(WRITERS[format]({"x": tensor})).value["x"], tensor)


@pytest.mark.parametrize("format", WRITERS)
def test_views_keep_their_offset_and_strides(format):
    base = like.numbers(6, 8)
    views = {
        "column": base[:, 2:3].T,
        "part": base[1:4, 2:],
        "all": base,
        "row": base[5],
        "wide": base[0, :1].expand(4),
    }
    found = read(WRITERS[format](views)).value
    same(found, views)
    if format != "pickle":  # in a plain pickle every tensor brings its own storage
        assert found["column"].stride() == views["column"].stride()
        found["all"][1, 2] = 7
        assert found["part"][0, 0] == 7, "tensors of one storage share their memory"


@pytest.mark.parametrize("format", WRITERS)
def test_the_smallest_tensors(format):
    value = {"empty": torch.empty(0, 5), "number": torch.tensor(2.5), "one": torch.ones(1, 1)}
    same(read(WRITERS[format](value)).value, value)


@pytest.mark.parametrize("format", WRITERS)
def test_parameters_become_tensors_and_unsaved_things_are_dropped(format):
    net = like.module()
    value = {"net": net.state_dict(), "w": torch.nn.Parameter(torch.ones(2)), "size": torch.Size([1, 2])}
    found = read(WRITERS[format](value)).value
    same(found["net"], dict(net.state_dict()))
    same(found["w"], torch.ones(2))
    assert found["size"] == (1, 2)
    assert type(found["size"]) is tuple


@pytest.mark.parametrize("format", WRITERS)
def test_options_beside_the_weights(format):
    value = {
        "opts": argparse.Namespace(lr=0.1, layers=[1, 2], out=pathlib.PosixPath("a/b")),
        "dtype": torch.float16,
        "device": torch.device("cuda", 1),
        "counts": collections.Counter("aab"),
        "names": {"x", "y"},
        "more": collections.defaultdict(list, {"k": [1]}),
        "big": 10**30,
        "z": 1 + 2j,
    }
    found = read(WRITERS[format](value)).value
    assert found == {
        "opts": {"lr": 0.1, "layers": [1, 2], "out": "a/b"},
        "dtype": torch.float16,
        "device": "cuda:1",
        "counts": {"a": 2, "b": 1},
        "names": {"x", "y"},
        "more": {"k": [1]},
        "big": 10**30,
        "z": 1 + 2j,
    }


@pytest.mark.parametrize("format", ["torch-zip", "torch-legacy"])
def test_storages_saved_from_a_gpu_are_read_as_cpu_memory(format):
    data = WRITERS[format](like.bundle())
    assert data.count(b"X\x03\0\0\0cpu") == 1  # written once, then recalled from the memo
    cuda = data.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")
    if format == "torch-zip":  # the archive has to be put together anew
        with zipfile.ZipFile(like.io.BytesIO(data)) as old:
            parts = {name: old.read(name) for name in old.namelist()}
        file = like.io.BytesIO()
        with zipfile.ZipFile(file, "w") as new:
            for name, part in parts.items():
                new.writestr(name, part.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0"))
        cuda = file.getvalue()
    same(read(cuda).value, like.bundle())
    assert read(cuda).value["mean"].device.type == "cpu"


def test_a_torch_archive_that_was_packed_again_with_compression():
    file = like.io.BytesIO()
    with (
        zipfile.ZipFile(like.io.BytesIO(like.zipped(like.bundle()))) as old,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    same(read(file.getvalue()).value, like.bundle())


def test_untyped_storages_and_dtypes_without_a_storage_type():
    tensor = torch.arange(6, dtype=torch.int32).view(torch.uint32).view(2, 3)  # written by _rebuild_tensor_v3
    same(read(like.zipped(tensor)).value, tensor)


def test_a_part_of_a_storage_in_the_oldest_legacy_files():
    """torch 0.3 named a view of a storage in the persistent id: (key, offset, size)."""
    whole = like.legacy(torch.arange(4.0))
    part = whole.replace(b"K\x04Ntq", b"K\x04X\x01\0\0\0vK\x01K\x02\x87tq")
    part = part.replace(b"K\x00K\x04\x85", b"K\x00K\x02\x85")
    assert len(part) == len(whole) + 10
    same(read(part).value, torch.tensor([1.0, 2.0]))


def test_the_tar_format_of_2016():
    tree = read(like.tar(like.bundle()))
    assert tree.format == "torch-tar"
    same(tree.value, like.bundle())


def test_torchscript_gives_its_tensors_by_dotted_name():
    expected = dict(like.module().state_dict())
    tree = read(like.script(like.module()))
    assert tree.format == "torchscript"
    assert set(tree.value) == set(expected)
    assert all(torch.equal(tree.value[name], expected[name]) for name in expected)


def test_the_weights_of_frozen_torchscript_are_constants_without_names():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).eval()
    found = read(like.script(net, freeze=True)).value
    assert set(found) == {"constants.0", "constants.1"}
    for parameter in net.parameters():
        assert any(torch.equal(parameter, tensor) for tensor in found.values())


@pytest.mark.parametrize("format", WRITERS)
def test_sparse_tensors_are_refused(format):
    with pytest.raises(
        ArtifactError, match=r"asks to run torch\._utils\._rebuild_sparse_tensor; steerable reads data only"
    ):
        read(WRITERS[format](torch.eye(3).to_sparse()))


# pickles


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_in_every_protocol(protocol):
    shared = [1, "é\n'"]
    value = {
        "ints": [0, 1, -1, 255, 256, 65536, -(2**31), 2**40, 2**70, True, False, None],
        "floats": (1.5, -0.0, float("inf")),
        "text": ["", "x" * 300, "ü", "'\"\\"],
        "empty": ((), [], {}, set(), frozenset()),
        "sets": {1, 2},
        ("a", 1): shared,
        "again": shared,
        "frozen": frozenset({"x"}),
    }
    found = read(pickle.dumps(value, protocol=protocol)).value
    assert found == value
    assert found["again"] is found["a", 1]


@pytest.mark.parametrize("protocol", range(6))
def test_bytes_in_every_protocol(protocol):
    found = read(pickle.dumps([b"", b"abc", bytes(range(256)) * 2, bytearray(b"x")], protocol=protocol)).value
    assert [bytes(part) for part in found] == [b"", b"abc", bytes(range(256)) * 2, b"x"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("code", ["f4", "f8", "f2", "i8", "u1", "?", "c8", ">f4", ">i2"])
def test_arrays_in_every_protocol(protocol, code):
    array = like.numbers(3, 4).mul(5).numpy().astype(code)
    value = {"a": array, "b": array.T, "c": array[:, ::2], "d": array[0, 0], "again": array}
    found = read(pickle.dumps(value, protocol=protocol)).value
    for name in "abc":
        same(found[name], value[name])
        assert found[name].flags.writeable
    assert found["again"] is found["a"]
    assert type(found["d"]) is type(array[0, 0].item())
    assert found["d"] == array[0, 0]


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_arrays_of_text_and_of_objects_become_lists(protocol):
    value = [np.array([["a", "bc"]]), np.array([None, {"k": 1}], object), np.array({"x": 1}, object)]
    assert read(pickle.dumps(value, protocol=protocol)).value == [[["a", "bc"]], [None, {"k": 1}], {"x": 1}]


def test_pickles_of_python_2():
    data = b"(dp0\nS'name'\np1\nS'caf\\xe9'\np2\nsS'n'\nL12L\nsS'f'\nF0.5\nsS'yes'\nI01\ns."
    assert read(data).value == {"name": "café", "n": 12, "f": 0.5, "yes": True}
    array = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\n"
    array += b"U\x02f4K\0K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89U\x08" + struct.pack(
        "<2f", 1, 2
    )
    same(read(array + b"tb.").value, np.array([1, 2], np.float32))


def test_a_named_edit_of_ganspace():
    edit = {
        "name": "smile", "sigma_range": np.float64(2), "component_index": 44, "lat_comp": np.ones((1, 512), np.float32),
        "latent_space": "W", "lat_stdev": np.float32(1.0335), "decomposition": {"components": 80, "samples": 10**6},
        "edit_type": "latent", "truncation": 0.6, "edit_start": 4, "edit_end": 6, "example_seed": 7,
    }  # fmt: skip
    found = read(pickle.dumps(edit)).value
    same(found, edit | {"sigma_range": 2.0, "lat_stdev": float(np.float32(1.0335))})


def test_statistics_of_stylespace():
    value = [["4x4/Conv", "4x4/ToRGB"], [np.ones((5, 3), np.float32), np.zeros((5, 2), np.float32)]]
    same(read(pickle.dumps(value, protocol=2)).value, value)


def test_every_opcode_of_every_protocol_is_known():
    assert len(CODES) == 68
    assert [name for name, code in CODES.items() if OPCODES[code] is _unknown] == ["STOP"]


# classes that we do not have


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_networks_with_embedded_source(protocol):
    data, expected = like.nvidia(protocol=protocol)
    tree = read(data, keep=True)
    net = tree.value["G_ema"]
    assert (net.name, net.args, net.kwargs) == ("Generator", (), {"z_dim": 4})
    assert net.state["z_dim"] == 4
    assert net.state["_modules"]["b8"].kwargs == {"seed": 2}
    assert net.state["_modules"]["b8"].args == (4,)
    found = state_dict(net)
    assert list(found) == list(expected) == ["b4.weight", "b4.filter", "b8.weight", "b8.filter"]
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert set(state_dict(tree)) == {f"G_ema.{name}" for name in expected}
    assert tree.value["training_set_kwargs"] == {"path": "x"}
    assert "SystemExit" not in repr(tree) + repr(net)
    with pytest.raises(ArtifactError, match=r"runs? .*torch_utils\.persistence\.Layer; steerable reads data only"):
        read(data)


@pytest.mark.parametrize("protocol", [2, 4])
def test_networks_of_tensorflow(protocol):
    found = state_dict(read(like.tensorflow(protocol), keep=True).value[2])
    assert list(found) == ["lod", "dlatent_avg", "synthesis/4x4/Const/const", "synthesis/4x4/bias"]
    assert torch.equal(found["synthesis/4x4/Const/const"], like.numbers(1, 4, 4, 4))


@pytest.mark.parametrize("new", [True, False])
def test_whole_modules(new):
    data, expected = like.whole_module(_use_new_zipfile_serialization=new)
    tree = read(data, keep=True)
    assert isinstance(tree.value, Object)
    assert repr(tree.value) == "<Object torch.nn.modules.container.Sequential>"
    found = state_dict(tree)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    with pytest.raises(ArtifactError, match=r"asks to run torch\.nn\.modules\.container\.Sequential; steerable reads"):
        read(data)


# numpy


@pytest.mark.parametrize("shape", [(1, 512), (18, 512), (), (0, 3), (5,)])
@pytest.mark.parametrize("code", ["<f4", "<f8", ">f4", "<i8", "|b1"])
def test_npy(shape, code):
    array = like.numbers(*shape).numpy().astype(code)
    same(read(like.npy(array)).value, array)
    same(read(like.npy(array.copy(order="F"))).value, array)


def test_npy_with_a_dictionary_inside():
    boundary = {
        "boundary": like.numbers(1, 512, dtype=torch.float64).numpy(),
        "meta_data": {"manipulate_layers": "6-11"},
    }
    tree = read(like.npy(np.array(boundary, dtype=object)))
    assert tree.format == "npy"
    same(tree.value, boundary)


def test_npy_with_a_list_of_arrays_or_nothing():
    deltas = np.array([None, np.ones((1, 2)), None], dtype=object)
    found = read(like.npy(deltas)).value
    assert found[0] is None
    same(found[1], np.ones((1, 2)))


@pytest.mark.parametrize("compressed", [False, True])
def test_npz(compressed):
    arrays = {"act_comp": like.numbers(4, 1, 16).numpy(), "lat_stdev": np.ones(4, np.float32), "note": np.array("w")}
    tree = read(like.npz(compressed, **arrays))
    assert tree.format == "npz"
    same(tree.value, arrays | {"note": "w"})
    assert set(state_dict(tree)) == {"act_comp", "lat_stdev"}


# the others


def test_safetensors(tmp_path):
    tensors = like.bundle() | {"half": like.numbers(3, dtype=torch.bfloat16)}
    data = safetensors.torch.save(tensors)
    (tmp_path / "weights.pkl").write_bytes(data)
    for file in (data, tmp_path / "weights.pkl"):
        tree = read(file)
        assert tree.format == "safetensors"
        for name, tensor in tensors.items():
            same(tree.value[name], tensor)


def test_onnx():
    weights = {
        "weight": (like.numbers(4, 3), 1, True),
        "packed": (like.numbers(2, 2, seed=1), 1, False),
        "half": (like.numbers(5, dtype=torch.float16), 10, True),
        "half packed": (like.numbers(5, dtype=torch.float16), 10, False),
        "brain": (like.numbers(5, dtype=torch.bfloat16), 16, False),
        "shape": (torch.tensor([1, -1, 2**40]), 7, False),
        "scalar": (torch.tensor(3), 7, True),
    }
    constant = like.initializer("", torch.tensor([0.5]), 1)
    data = like.onnx(*(like.initializer(name, *rest) for name, rest in weights.items()), constant=constant)
    tree = read(data)
    assert tree.format == "onnx"
    same(tree.value, {name: tensor for name, (tensor, _, _) in weights.items()} | {"c": torch.tensor([0.5])})
    assert (tree.graph[0].op, tree.graph[0].inputs, tree.graph[0].outputs) == ("Conv", ("x", "weight"), ("y",))


def test_openvino(tmp_path):
    tensors = {
        "a": like.numbers(3, 2),
        "b": torch.tensor([4, 5]),
        "c": like.numbers(3, dtype=torch.float16),
        "d": torch.tensor(1.5),
    }
    xml, blob = like.ir(tensors, edges=((2, "c", 1), (0, "a", 0)))
    (tmp_path / "net.xml").write_bytes(xml)
    (tmp_path / "net.bin").write_bytes(blob)
    for tree in (read(tmp_path / "net.xml"), read(xml, beside={"anything": blob})):
        assert tree.format == "openvino"
        same(tree.value, tensors)
        assert tree.graph[-1].inputs == ("a", "c")
        assert tree.graph[-1].data == {"transpose_b": "true"}
    with pytest.raises(ArtifactError, match=r"the data needs the file \.bin beside it"):
        read(xml)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(ArtifactError, match=r"net\.xml needs the file net\.bin beside it"):
        read(tmp_path / "net.xml")


def test_tensorflow_js(tmp_path):
    tensors = {"weight": like.numbers(4, 3), "axis": torch.tensor([1, 2], dtype=torch.int32)}
    model, shards = like.tfjs(tensors)
    (tmp_path / "model.json").write_bytes(model)
    for name, shard in shards.items():
        (tmp_path / name).write_bytes(shard)
    for tree in (read(tmp_path / "model.json"), read(model, beside=shards)):
        assert tree.format == "tfjs"
        same(tree.value, tensors)
        assert tree.graph[0].inputs == ("x", "weight")
    with pytest.raises(ArtifactError, match="needs the file group1-shard2of2 beside it"):
        read(model, beside={"group1-shard1of2": shards["group1-shard1of2"]})


@pytest.mark.parametrize(("stored", "levels"), [("uint8", 255), ("uint16", 65535)])
def test_tensorflow_js_with_quantized_weights(stored, levels):
    stored_numbers = np.array([0, levels], stored)
    packing = {"dtype": stored, "scale": 0.5, "min": -1.0}
    weights = [{"name": "w", "shape": [2], "dtype": "float32", "quantization": packing}]
    model = like.json.dumps({"weightsManifest": [{"paths": ["s"], "weights": weights}]}).encode()
    same(read(model, beside={"s": stored_numbers.tobytes()}).value["w"], torch.tensor([-1.0, 0.5 * levels - 1]))


# what is told about a file, and by what


def test_the_name_of_a_file_does_not_matter(tmp_path):
    for name, data in {
        "x.png": like.zipped(torch.ones(2)),
        "y.pt": like.npy(np.ones(2)),
        "z": pickle.dumps([1]),
    }.items():
        (tmp_path / name).write_bytes(data)
    assert [read(str(tmp_path / name)).format for name in ("x.png", "y.pt", "z")] == ["torch-zip", "npy", "pickle"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the data is empty"),
        (b"hello, world", "of no kind that is read: torch, TorchScript, NumPy"),
        (b"<!DOCTYPE html><html>", "is a web page: the download went wrong"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x1f\x8b\x08\0", "is a gzip file: unpack it first"),
        (b"<svg></svg>", "is XML, but not of OpenVINO: it holds svg"),
        (b'{"a": 1}', "is JSON, but not a TensorFlow.js model"),
        (like.ir({}, version=9)[0], "OpenVINO IR of version 9; 10 and 11 are read"),
        (pickle.dumps(1) + pickle.dumps(2), "goes on after its pickle ends, at byte 5"),
        (like.npz() + b"", "is a zip archive with neither weights nor arrays: it holds nothing"),
        (like.npy(np.zeros(2, "datetime64[s]")), "holds an array of type <M8\\[s\\]; numbers, text and objects are read"),
        (like.npy(np.zeros(2, [("a", "f4")])), "holds an array of records"),
    ],
    ids=lambda x: x[:12].decode("latin-1") if isinstance(x, bytes) else "",
)  # fmt: skip
def test_other_files_are_named_for_what_they_are(data, message):
    with pytest.raises(ArtifactError, match=message):
        read(data, beside={"b": b""} if data.startswith(b"<?xml") else None)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ArtifactError, match=r"^nothing\.pt does not exist$"):
        read(tmp_path / "nothing.pt")
    with pytest.raises(ArtifactError, match="is not a file$"):
        read(tmp_path)


def test_a_state_dict_of_nested_parts():
    value = {"g_ema": {"a": torch.ones(1), "n": 3}, "noises": [torch.ones(2)], "latent_avg": np.zeros(4, np.float32)}
    assert list(state_dict(read(like.zipped(value)))) == ["g_ema.a", "noises.0", "latent_avg"]
    for value, message in (([1], "no named tensors"), (torch.ones(1), "no named tensors")):
        with pytest.raises(ArtifactError, match=message):
            state_dict(read(like.zipped(value)))
    with pytest.raises(ArtifactError, match=r"two tensors are called a\.b"):
        state_dict({"a": {"b": torch.ones(1)}, "a.b": torch.ones(1)})


PUBLISHED = {
    "e4e_ffhq_smile.pt": ("torch-zip", (1, 512), "float32"),
    "hessian_penalty_biggan_goldens_mid.pt": ("torch-zip", (40, 40), "float32"),
    "higan_stylegan_bedroom_view_boundary.npy": ("npy", (1, 512), "float32"),
    "interfacegan_pggan_celebahq_age_boundary.npy": ("npy", (1, 512), "float64"),
    "interfaceganpp_stylegan2_ffhq_z_Young.npy": ("npy", (1, 512), "float32"),
    "lowrankgan_stylegan2_ffhq1024_nose.npy": ("npy", (1, 512), "float64"),
}


@pytest.fixture(scope="module")
def published():
    folder = Path(os.environ.get("STEERABLE_TEST_DATA", "")) / "directions"
    if "STEERABLE_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(
            "published direction files are found through STEERABLE_TEST_DATA, which names no folder with directions/"
        )
    return folder


def test_published_directions(published):
    for name, (format, shape, dtype) in PUBLISHED.items():
        tree = read(published / name)
        assert (tree.format, tuple(tree.value.shape), str(tree.value.dtype).split(".")[-1]) == (format, shape, dtype)
    for file in published.iterdir():
        if file.suffix in (".pt", ".npy", ".pkl"):
            assert read(file).value is not None
    bundle = read(published / "e4e_ffhq_pca.pt").value
    assert {name: tuple(part.shape) for name, part in bundle.items()} == {
        "mean": (1, 512),
        "comp": (80, 1, 512),
        "std": (80,),
    }
    components = bundle["comp"][:, 0].double()
    assert (components @ components.T - torch.eye(80)).abs().max() < 1e-6
    assert bundle["std"][:2].tolist() == pytest.approx([2.856, 2.627], abs=1e-3)
    lights = read(published / "higan_stylegan_bedroom_indoor_lighting_boundary.npy").value
    assert lights["meta_data"] == {"type": "attribute", "manipulate_layers": "6-11"}
    assert np.linalg.norm(lights["boundary"]) == pytest.approx(1)
