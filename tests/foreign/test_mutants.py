"""Look-alikes of every format with bytes changed: each is read, or refused with an ArtifactError; nothing else may happen.

The suite tries 200 of each format. More, with times and memory:  python tests/foreign/test_mutants.py 5000
"""

import faulthandler
import io
import pickle
import random
import resource
import sys
import time
import zipfile
from collections import Counter
from contextlib import suppress

import lookalikes as like
import numpy as np
import pytest
import safetensors.torch
import torch

from steerable.errors import ArtifactError
from steerable.foreign import read, state_dict

COUNT = 200
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**62, 2**63, 2**64 - 1]
SNIPPETS = [
    b"cos\nsystem\n", b"c__builtin__\neval\n", b"(", b"tR", b")\x81", b"}b", b"h\0", b"q\0", b"\x94", b"0", b"2", b".", b"N", b"\x85", b"Q",
    b"\x82\x01", b"\x93", b"PK\3\4", b"PK\1\2", b"PK\5\6", b"../",
    b"<!DOCTYPE a>", b"&a;", b"\x93NUMPY", b"\x80\x04\x95", b"\n", b"-1", b"9" * 20,
]  # fmt: skip


def seeds():
    """Per format: the files that are changed, whether classes are kept, and the other files of the model."""
    tensors, network = like.bundle(), {"w": like.numbers(4, 3), "b": torch.arange(5)}
    edit = {
        "name": "x",
        "lat_comp": np.ones((1, 8), np.float32),
        "sigma": np.float64(2),
        "more": [np.array([1, None], object)],
    }
    model, shards = like.tfjs({"w": like.numbers(4, 3)})
    xml, blob = like.ir(network)
    archive = like.zipped(tensors | {"half": like.numbers(3, dtype=torch.float16), "view": like.numbers(4, 6)[:, 2:4]})
    return {
        "torch-zip": ([archive, like.whole_module()[0]], {}),
        "torch-legacy": ([like.legacy(tensors), like.whole_module(_use_new_zipfile_serialization=False)[0]], {}),
        "torch-tar": ([like.tar(tensors)], {}),
        "torchscript": ([like.script(like.module())], {}),
        "pickle": ([pickle.dumps(edit, protocol=p) for p in (0, 2, 5)] + [pickle.dumps(tensors)], {}),
        "network": ([like.nvidia()[0], like.nvidia(protocol=2)[0], like.tensorflow()], {}),
        "npy": ([like.npy(np.ones((2, 8))), like.npy(np.array(edit, object))], {}),
        "npz": ([like.npz(False, a=np.ones(4), b=np.eye(3)), like.npz(True, a=np.ones(64), b=np.array("x"))], {}),
        "safetensors": ([safetensors.torch.save(tensors)], {}),
        "onnx": ([like.onnx(like.initializer("w", like.numbers(4, 3), 1), like.initializer("s", torch.arange(3), 7, raw=False))], {}),
        "openvino": ([xml], {"net.bin": blob}),
        "tfjs": ([model], shards),
    }  # fmt: skip


def changed(data: bytes, dice: random.Random) -> bytes:
    """One to four small changes."""
    made = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at, other = dice.randrange(len(made) + 1), dice.randrange(len(made) + 1)
        match dice.randrange(8):
            case 0:
                made[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                made[at : at + 1] = bytes([(made[at] if at < len(made) else 0) ^ 1 << dice.randrange(8)])
            case 2:
                made[at : at + dice.choice([1, 2, 4, 8])] = dice.choice(NUMBERS).to_bytes(8, "little")[
                    : dice.choice([1, 2, 4, 8])
                ]
            case 3:
                del made[at : at + dice.randint(1, 16)]
            case 4:
                made[at:at] = dice.choice(SNIPPETS)
            case 5:
                made[at:at] = made[other : other + dice.randint(1, 64)]
            case 6:
                made[at : at + 8] = made[other : other + 8]
            case 7 if dice.random() < 0.3:
                del made[at:]
    return bytes(made)


def repacked(data: bytes, dice: random.Random) -> bytes:
    """A zip archive that is whole, with changes in one of its members: so they reach the reader of that member."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    chosen = dice.choice([name for name in parts if name.endswith((".pkl", ".npy"))])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        for name, part in parts.items():
            new.writestr(name, changed(part, dice) if name == chosen else part)
    return file.getvalue()


def mutant(files: list[bytes], number: int) -> bytes:
    dice = random.Random(number)
    data = dice.choice(files)
    return (repacked if data[:2] == b"PK" and dice.random() < 0.6 else changed)(data, dice)


def outcome(data: bytes, keep: bool, beside: dict[str, bytes]) -> str:
    """What became of a file. Tensors are touched at both ends, so that one outside its memory would be found."""
    try:
        tree = read(data, keep=keep, beside=beside)
    except ArtifactError as error:
        text = str(error)
        return "refused" if text.isprintable() and len(text) < 400 else f"refused with {text!r}"
    with suppress(ArtifactError):  # a tensor without a name, or two of one
        for tensor in state_dict(tree).values():
            if tensor.numel():
                float(tensor[(-1,) * tensor.dim()].abs()) + float(tensor[(0,) * tensor.dim()].abs())
    return "read"


@pytest.fixture(scope="module")
def files():
    return seeds()


@pytest.mark.parametrize("format", seeds())
def test_mutants(format, files):
    originals, beside = files[format]
    for data in originals:
        assert outcome(data, True, beside) == "read"
    outcomes = Counter(outcome(mutant(originals, i), i % 2 == 0, beside) for i in range(COUNT))
    assert outcomes["refused"] > COUNT / 5, "the changes do not reach the reader"
    assert outcomes["refused"] + outcomes["read"] == COUNT, outcomes


def main(count: int) -> None:
    """Many mutants of every format, with the slowest one and the memory in use."""
    for format, (originals, beside) in seeds().items():
        outcomes, slowest = Counter(), (0.0, 0)
        for i in range(count):
            data = mutant(originals, i)
            faulthandler.dump_traceback_later(60, exit=True)
            start = time.process_time()
            outcomes[outcome(data, i % 2 == 0, beside)] += 1
            slowest = max(slowest, (time.process_time() - start, i))
            faulthandler.cancel_dump_traceback_later()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(
            f"{format:13} {count:6} mutants: {outcomes['refused']:5} refused, {outcomes['read']:5} read; "
            f"slowest {slowest[0] * 1e3:6.1f} ms (seed {slowest[1]}); peak {memory:5.0f} MB\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
