"""Run a classic BPF program as seccomp would, in Python: the judge of what a compiled policy denies."""

import struct
from collections.abc import Sequence

LOAD, RETURN = 0x20, 0x06
JUMPS = {
    0x15: lambda accumulator, constant: accumulator == constant,
    0x25: lambda accumulator, constant: accumulator > constant,
    0x35: lambda accumulator, constant: accumulator >= constant,
    0x45: lambda accumulator, constant: bool(accumulator & constant),
}


def simulate(program: bytes, *, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """Return the action of the filter for a call; raise IndexError when the program runs past its end."""
    padded = [value & 2**64 - 1 for value in (*arguments, *[0] * 6)][:6]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, if_true, if_false, constant = code[at]
        at += 1
        if operation == RETURN:
            return constant
        if operation == LOAD:
            [accumulator] = struct.unpack_from("=I", data, constant)
        else:
            at += if_true if JUMPS[operation](accumulator, constant) else if_false
