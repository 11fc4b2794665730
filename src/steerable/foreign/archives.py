"""Zip and tar archives, read in memory: the bytes of a member by its name (PKWARE APPNOTE 6.3; POSIX.1-1988 ustar).

Nothing is ever written to a disk. A stored member is a window on the file; a compressed one is unpacked within the
allowance. Encrypted members, duplicate names, and names that lead out of the archive are refused.
"""

import struct
import zlib
from typing import NamedTuple

from steerable.errors import ArtifactError

from .inert import Allowance, shown

MEMBERS = 100_000
CHUNK = 1 << 20
END, ENTRY, LOCAL = b"PK\5\6", b"PK\1\2", b"PK\3\4"
WIDE = 0xFFFFFFFF


class Member(NamedTuple):
    method: int  # 0 stored, 8 deflated
    packed: int
    size: int
    offset: int


def _safe(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if not name or ".." in parts or parts[0] == "" or ":" in parts[0] or "\0" in name:
        raise ArtifactError(f"holds a member whose name leads out of the archive: {shown(name)}")
    return name


class Zip:
    """The members of a zip archive by name, each read once."""

    def __init__(self, data: memoryview, allowance: Allowance):
        self.data, self.allowance = data, allowance
        self.members: dict[str, Member] = {}
        self.opened: dict[str, memoryview] = {}
        try:
            count, position = self._directory()
            if count > MEMBERS:
                raise ArtifactError(f"is a zip archive of {count:,} members; at most {MEMBERS:,} are read")
            allowance.work(count)
            for _ in range(count):
                position = self._entry(position)
        except struct.error as error:
            raise ArtifactError("is damaged: its zip directory is broken") from error

    def _directory(self) -> tuple[int, int]:
        first = max(0, len(self.data) - 65_557)
        at = bytes(self.data[first:]).rfind(END)
        if at < 0:
            raise ArtifactError("is damaged: a zip archive without its directory; the file is probably cut short")
        at += first
        count, _, start = struct.unpack_from("<HII", self.data, at + 10)
        if (count == 0xFFFF or start == WIDE) and at >= 20 and self.data[at - 20 : at - 16] == b"PK\6\7":
            (at,) = struct.unpack_from("<Q", self.data, at - 12)
            count, _, start = struct.unpack_from("<QQQ", self.data, at + 32)
        return count, start

    def _entry(self, at: int) -> int:
        fields = struct.unpack_from("<4s4xHH4xIII3H8xI", self.data, at)
        signature, flags, method, _crc, packed, size, named, extra, comment, offset = fields
        if signature != ENTRY:
            raise ArtifactError("is damaged: its zip directory is broken")
        name = str(self.data[at + 46 : at + 46 + named], "utf-8" if flags & 0x800 else "cp437")
        end = at + 46 + named + extra
        if WIDE in (packed, size, offset):
            size, packed, offset = self._wide(end - extra, end, size, packed, offset)
        if flags & 0x41:
            raise ArtifactError(f"holds an encrypted member, {shown(name)}")
        if name in self.members:
            raise ArtifactError(f"holds the member {shown(name)} twice")
        if not name.endswith("/"):
            self.members[_safe(name)] = Member(method, packed, size, offset)
        return end + comment

    def _wide(self, at: int, end: int, *values: int) -> list[int]:
        """The 64-bit values that an entry's extra field holds for those that do not fit."""
        while at + 4 <= end:
            kind, length = struct.unpack_from("<HH", self.data, at)
            if kind == 1:
                wide = iter(struct.unpack_from(f"<{length // 8}Q", self.data, at + 4))
                return [next(wide) if value == WIDE else value for value in values]
            at += 4 + length
        raise ArtifactError("is damaged: its zip directory is broken")

    def read(self, name: str) -> memoryview:
        if name not in self.opened:
            self.opened[name] = self._open(name, self.members[name])
        return self.opened[name]

    def _open(self, name: str, member: Member) -> memoryview:
        signature, named, extra = struct.unpack_from("<4s22xHH", self.data, member.offset)
        start = member.offset + 30 + named + extra
        packed = self.data[start : start + member.packed]
        if signature != LOCAL or len(packed) != member.packed:
            raise ArtifactError(f"is damaged: its member {shown(name)} is not where the zip directory says")
        self.allowance.memory(member.size)
        if member.method == 0 and member.size == member.packed:
            return packed
        if member.method != 8:
            raise ArtifactError(f"holds a member packed in an unknown way, {shown(name)}")
        return memoryview(_inflate(name, packed, member.size))


def _inflate(name: str, packed: memoryview, size: int) -> bytearray:
    unpacked, at, stream = bytearray(size), 0, zlib.decompressobj(-15)
    for start in range(0, len(packed), CHUNK):
        rest: memoryview | bytes = packed[start : start + CHUNK]
        while rest and at <= size:
            part = stream.decompress(rest, CHUNK)
            unpacked[at : at + len(part)] = part[: size - at]
            at, rest = at + len(part), stream.unconsumed_tail
    if at != size or not stream.eof:
        raise ArtifactError(f"is damaged: its member {shown(name)} does not unpack to the size that it claims")
    return unpacked


def tar(data: memoryview, allowance: Allowance) -> dict[str, memoryview]:
    """The plain files of an uncompressed tar archive."""
    members: dict[str, memoryview] = {}
    at = 0
    while at + 512 <= len(data) and data[at]:
        allowance.work(1)
        header = bytes(data[at : at + 512])
        name = header[:100].rstrip(b"\0").decode("utf-8")
        size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        start = at + 512
        if size < 0 or start + size > len(data):
            raise ArtifactError(f"is damaged: its member {shown(name)} is cut short")
        if header[156:157] in (b"0", b"\0"):
            if name in members:
                raise ArtifactError(f"holds the member {shown(name)} twice")
            members[_safe(name)] = data[start : start + size]
        elif header[156:157] not in b"5xg":
            raise ArtifactError(f"holds {shown(name)}, which is a link or a device")
        at = start + (size + 511) // 512 * 512
    return members
