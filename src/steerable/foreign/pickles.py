"""Pickles walked one opcode at a time into inert values."""

import struct
from collections.abc import Callable
from typing import Any

from steerable.errors import ArtifactError

from .inert import Allowance, Global
from .machine import Machine, nothing
from .opcodes import NAMES, OPCODES, STOP


def walk(
    data: memoryview,
    allowance: Allowance,
    start: int = 0,
    keep: Callable[[Global], bool] = nothing,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """The value of the pickle that starts at byte `start`, and the byte after its end."""
    machine, at = Machine(data, allowance, start, keep, persistent), start
    try:
        while (code := data[at := machine.position]) != STOP:
            machine.position = at + 1
            OPCODES[code](machine)
            allowance.steps -= 1
            if allowance.steps < 0:
                allowance.work(0)
    except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        if isinstance(error, ArtifactError):
            raise
        opcode = NAMES.get(data[at], "?") if at < len(data) else "end of file"
        raise ArtifactError(f"is damaged: its pickle makes no sense at byte {at:,} ({opcode})") from error
    finally:
        machine.memo.clear()  # what it holds may lead back to the machine, and so keep the whole file in memory
    if machine.marks or len(machine.stack) != 1:
        raise ArtifactError("is damaged: its pickle ends with an untidy stack")
    return machine.stack.pop(), at + 1
