"""The 68 opcodes of a pickle (protocols 0-5, as Python's `pickletools` documents them), one small function each."""

import codecs
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any

from steerable.errors import ArtifactError

from .inert import LONG, Text
from .machine import Machine

CODES = {o.name: ord(o.code) for o in pickletools.opcodes}
NAMES = {code: name for name, code in CODES.items()}
STOP = CODES["STOP"]


def _unknown(m: Machine) -> None:
    raise ArtifactError(f"is damaged: byte {m.position - 1:,} of its pickle is no opcode")


OPCODES: list[Callable[[Machine], None]] = [_unknown] * 256


def op(name: str) -> Callable:
    def register(function: Callable[[Machine], None]) -> None:
        OPCODES[CODES[name]] = function

    return register


def push(name: str, value: Callable[[Machine], Any]) -> None:
    def action(m: Machine) -> None:
        made = value(m)  # first, since it may put another stack in place
        m.stack.append(made)

    op(name)(action)


# what is written in the file


def _text(part: memoryview | bytes) -> str:
    return str(part, "utf-8", "surrogatepass")


def _long_text(part: memoryview) -> str | Text:
    return Text(part, "utf-8") if len(part) > LONG else _text(part)


def _bytes_of_2(part: memoryview) -> str | Text:
    """Python 2 wrote bytes and text alike."""
    return Text(part, "latin-1") if len(part) > LONG else str(part, "latin-1")


def _decimal(line: bytes) -> int:
    if not re.fullmatch(rb"[+-]?[0-9]{1,300}L?", line):
        raise ValueError(line)
    return int(line.rstrip(b"L"))


def _int(line: bytes) -> int:
    return line == b"01" if line in (b"00", b"01") else _decimal(line)


def _long(part: memoryview) -> int:
    if len(part) > 128:
        raise ArtifactError(f"holds an integer of {len(part):,} bytes")
    return int.from_bytes(part, "little", signed=True)


def _float(line: bytes) -> float:
    if len(line) > 100 or b"_" in line:
        raise ValueError(line)
    return float(line)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


push("NONE", lambda m: None)
push("NEWTRUE", lambda m: True)
push("NEWFALSE", lambda m: False)
push("INT", lambda m: _int(m.line()))
push("BININT", lambda m: m.number(4, signed=True))
push("BININT1", lambda m: m.byte())
push("BININT2", lambda m: m.number(2))
push("LONG", lambda m: _decimal(m.line()))
push("LONG1", lambda m: _long(m.take(m.byte())))
push("LONG4", lambda m: _long(m.sized(4)))
push("FLOAT", lambda m: _float(m.line()))
push("BINFLOAT", lambda m: struct.unpack(">d", m.take(8))[0])
push("STRING", lambda m: _quoted(m.line(limit=len(m.data))))
push("BINSTRING", lambda m: _bytes_of_2(m.sized(4)))
push("SHORT_BINSTRING", lambda m: _bytes_of_2(m.take(m.byte())))
push("UNICODE", lambda m: str(m.line(limit=len(m.data)), "raw-unicode-escape"))
push("SHORT_BINUNICODE", lambda m: _text(m.take(m.byte())))
push("BINUNICODE", lambda m: _long_text(m.sized(4)))
push("BINUNICODE8", lambda m: _long_text(m.sized(8)))
push("SHORT_BINBYTES", lambda m: bytes(m.take(m.byte())))
push("BINBYTES", lambda m: m.sized(4))  # a window on the file, so that no array is copied
push("BINBYTES8", lambda m: m.sized(8))
push("BYTEARRAY8", lambda m: m.sized(8))


# containers

push("EMPTY_LIST", lambda m: [])
push("EMPTY_TUPLE", lambda m: ())
push("EMPTY_DICT", lambda m: {})
push("EMPTY_SET", lambda m: set())
push("LIST", lambda m: m.to_mark())
push("TUPLE", lambda m: tuple(m.to_mark()))
push("TUPLE1", lambda m: tuple(m.last(1)))
push("TUPLE2", lambda m: tuple(m.last(2)))
push("TUPLE3", lambda m: tuple(m.last(3)))
push("DICT", lambda m: m.fill({}, m.to_mark()))
push("FROZENSET", lambda m: frozenset(map(m.key, m.to_mark())))


@op("APPEND")
def _(m: Machine) -> None:
    items = m.last(1)
    m.extend(m.stack[-1], items)


@op("APPENDS")
def _(m: Machine) -> None:
    items = m.to_mark()
    m.extend(m.stack[-1], items)


@op("SETITEM")
def _(m: Machine) -> None:
    items = m.last(2)
    m.fill(m.stack[-1], items)


@op("SETITEMS")
def _(m: Machine) -> None:
    items = m.to_mark()
    m.fill(m.stack[-1], items)


@op("ADDITEMS")
def _(m: Machine) -> None:
    items = m.to_mark()
    if type(m.stack[-1]) is not set:
        raise TypeError
    m.stack[-1].update(map(m.key, items))


# the stack and the memo


@op("MARK")
def _(m: Machine) -> None:
    m.marks.append(m.stack)
    m.stack = []


@op("POP")
def _(m: Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.to_mark()


@op("POP_MARK")
def _(m: Machine) -> None:
    m.to_mark()


def _put(m: Machine, index: int) -> None:
    if not 0 <= index < 1 << 32:
        raise ValueError(index)
    m.memo[index] = m.stack[-1]


push("DUP", lambda m: m.stack[-1])
op("PUT")(lambda m: _put(m, _decimal(m.line())))
op("BINPUT")(lambda m: _put(m, m.byte()))
op("LONG_BINPUT")(lambda m: _put(m, m.number(4)))
op("MEMOIZE")(lambda m: _put(m, len(m.memo)))
push("GET", lambda m: m.recall(_decimal(m.line())))
push("BINGET", lambda m: m.recall(m.byte()))
push("LONG_BINGET", lambda m: m.recall(m.number(4)))


# names, and what a pickle wants done with them

push("GLOBAL", lambda m: m.find(_text(m.line()), _text(m.line())))
push("STACK_GLOBAL", lambda m: m.find(*m.last(2)))
push("REDUCE", lambda m: m.call(*m.last(2)))
push("NEWOBJ", lambda m: m.new(*m.last(2)))
push("NEWOBJ_EX", lambda m: m.new(*m.last(3)))
push("BUILD", lambda m: m.build(*m.last(2)))
push("PERSID", lambda m: m.resolve(_text(m.line())))
push("BINPERSID", lambda m: m.resolve(*m.last(1)))


@op("INST")
def _(m: Machine) -> None:
    cls = m.find(_text(m.line()), _text(m.line()))
    args = m.to_mark()
    m.stack.append(m.call(cls, tuple(args)))


@op("OBJ")
def _(m: Machine) -> None:
    cls, *args = m.to_mark()
    m.stack.append(m.call(cls, tuple(args)))


@op("PROTO")
def _(m: Machine) -> None:
    if (protocol := m.byte()) > 5:
        raise ArtifactError(f"is a pickle of protocol {protocol}; 0 to 5 are known")


@op("FRAME")
def _(m: Machine) -> None:
    if (size := m.number(8)) > len(m.data) - m.position:
        raise ArtifactError(f"is damaged: a frame of {size:,} bytes does not fit")


def _registry(m: Machine) -> None:
    raise ArtifactError("asks for an entry of Python's extension registry; steerable reads data only")


def _buffers(m: Machine) -> None:
    raise ArtifactError("expects buffers from outside the file")


for name in ("EXT1", "EXT2", "EXT4"):
    op(name)(_registry)
for name in ("NEXT_BUFFER", "READONLY_BUFFER"):
    op(name)(_buffers)
