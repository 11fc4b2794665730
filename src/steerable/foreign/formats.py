"""Which reader for which file: told by the content, never by the name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from steerable.errors import ArtifactError

from . import plain  # noqa: F401  registers the names that it stands in for
from .archives import Zip, tar
from .inert import TIMES, Allowance, Node, inspect, listed, shown
from .machine import nothing, strangers
from .numpyfiles import npy, npz
from .onnx import onnx
from .openvino import openvino
from .pickles import walk
from .tfjs import tfjs
from .torchfiles import MAGIC, legacy, scripted, tarred, zipped

TEXT = 16 << 20  # bytes of JSON or XML: the largest model that we know has 2 MB
KINDS = "torch, TorchScript, NumPy, pickle, safetensors, ONNX, OpenVINO and TensorFlow.js files are"
OTHERS = {
    b"\x89HDF\r\n": "an HDF5 file (Keras)",
    b"\x1f\x8b": "a gzip file: unpack it first",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not downloaded",
    b"<!DOCTYPE html": "a web page: the download went wrong",
    b"<!doctype html": "a web page: the download went wrong",
    b"<html": "a web page: the download went wrong",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
}


@dataclass(frozen=True, eq=False, repr=False)
class Tree:
    """What a file holds.

    value:  dict, list, tuple, set, Tensor, ndarray, str, number, None; bytes (long ones as a memoryview); with keep=True
            also Object and Global. Walking through it ends: no cycles, at most 100 deep, at most 2 million values.
    format: torch-zip, torch-legacy, torch-tar, torchscript, pickle, npy, npz, safetensors, onnx, openvino or tfjs
    graph:  the operations of an ONNX, OpenVINO or TensorFlow.js model, in the file's order
    """

    value: Any
    format: str
    graph: tuple[Node, ...] = ()

    def __repr__(self) -> str:
        return f"<Tree {self.format}: {type(self.value).__name__}>"


def recognized(file: Path | bytearray, keep: bool, beside: Mapping[str, bytes]) -> Tree:
    head, size = _head(file)
    for mark, what in OTHERS.items():
        if head.startswith(mark):
            raise ArtifactError(f"is {what}")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= min(TEXT, size - 8):
        return Tree(_safetensors(file), "safetensors")
    data, allowance = _bytes(file), Allowance(size)
    keeps = strangers if keep else nothing

    parts: dict[str, memoryview] = {}

    def neighbor(name: str) -> memoryview:
        if name not in parts:
            parts[name] = _bytes(bytearray(beside[name]) if name in beside else _sibling(file, name))
            allowance.bytes += TIMES * len(parts[name])
        return parts[name]

    if head[:6] == b"\x93NUMPY":
        return Tree(inspect(npy(data, allowance)), "npy")
    if head[:2] == b"PK":
        return _archive(Zip(data, allowance), allowance, keep)
    if head[257:262] == b"ustar":
        return Tree(inspect(tarred(tar(data, allowance), allowance, keeps), keep), "torch-tar")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if text in (b"<", b"{") and size > TEXT:
        raise ArtifactError(f"is text of {size:,} bytes; at most {TEXT:,} are read")
    if text == b"<":
        blob = next(iter(beside)) if len(beside) == 1 else getattr(file, "stem", "") + ".bin"
        value, graph = openvino(data, lambda: neighbor(blob), allowance)
        return Tree(value, "openvino", graph)
    if text == b"{":
        value, graph = tfjs(data, neighbor, allowance)
        return Tree(value, "tfjs", graph)
    if head[:1] in (b"\x08", b"\x12", b"\x3a"):  # ir_version, producer_name or graph comes first
        value, graph = onnx(data, allowance)
        return Tree(value, "onnx", graph)
    return _pickle(data, allowance, keep)


def _archive(archive: Zip, allowance: Allowance, keep: bool) -> Tree:
    names = {name.rpartition("/")[2] for name in archive.members}
    if "constants.pkl" in names:
        return Tree(scripted(archive, allowance), "torchscript")
    if "data.pkl" in names:
        return Tree(inspect(zipped(archive, allowance, strangers if keep else nothing), keep), "torch-zip")
    if names and all(name.endswith(".npy") for name in names):
        return Tree(inspect(npz(archive, allowance)), "npz")
    raise ArtifactError(f"is a zip archive with neither weights nor arrays: it holds {listed(archive.members)}")


def _pickle(data: memoryview, allowance: Allowance, keep: bool) -> Tree:
    keeps = strangers if keep else nothing
    try:
        value, end = walk(data, allowance, keep=keeps)
    except ArtifactError as error:
        if str(error).startswith("is damaged") and data[:1] != b"\x80":
            raise ArtifactError(f"is damaged, or of no kind that is read: {KINDS}") from error
        raise
    if type(value) is int and value == MAGIC:
        return Tree(inspect(legacy(data, allowance, keeps), keep), "torch-legacy")
    if end != len(data):
        raise ArtifactError(f"goes on after its pickle ends, at byte {end:,}; one pickle is read")
    return Tree(inspect(value, keep), "pickle")


def _head(file: Path | bytearray) -> tuple[bytes, int]:
    if isinstance(file, Path):
        if not file.is_file():
            raise ArtifactError("is not a file" if file.exists() else "does not exist")
        with file.open("rb") as stream:
            head, size = stream.read(512), os.fstat(stream.fileno()).st_size
    else:
        head, size = bytes(file[:512]), len(file)
    if not size:
        raise ArtifactError("is empty")
    return head, size


def _bytes(file: Path | bytearray) -> memoryview:
    """A file read once into memory, which its tensors then share. (It is not mapped: someone may overwrite it.)"""
    if not isinstance(file, Path):
        return memoryview(file)
    with file.open("rb", buffering=0) as stream:
        view, at = np.empty(os.fstat(stream.fileno()).st_size, np.uint8).data, 0  # not filled twice, as a bytearray is
        while at < len(view):
            if not (count := stream.readinto(view[at:])):
                raise ArtifactError("was cut short while it was read")
            at += count
    return view


def _sibling(file: Path | bytearray, name: str) -> Path:
    if isinstance(file, Path) and (file.parent / name).is_file():
        return file.parent / name
    raise ArtifactError(f"needs the file {shown(name)} beside it")


def _safetensors(file: Path | bytearray) -> dict[str, Any]:
    if isinstance(file, Path):
        return safetensors.torch.load_file(file)
    return safetensors.torch.load(bytes(file))
