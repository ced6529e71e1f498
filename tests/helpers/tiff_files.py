"""TIFF files of kinds that Pillow does not write."""

import struct
from pathlib import Path

import numpy as np


def write_tiff(path: Path, size: tuple[int, int], samples: int, bits: int) -> None:
    """Random pixels of so many samples and bits; of four samples the last is no alpha."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, (*size, samples)).astype("<u2" if bits == 16 else "u1")
    values = struct.pack(f"<{samples}H", *[bits] * samples)
    tags = [(256, 4, 1, size[1]), (257, 4, 1, size[0]), (258, 3, samples, None), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 8), (277, 3, 1, samples), (278, 4, 1, size[0]), (279, 4, 1, pixels.nbytes),
            (284, 3, 1, 1)]  # fmt: skip
    tags += [(338, 3, 1, 0)] if samples == 4 else []
    start = 8 + pixels.nbytes
    entries = b"".join(
        struct.pack("<HHII", tag, kind, count, start + 6 + 12 * len(tags) if value is None else value)
        for tag, kind, count, value in tags
    )
    path.write_bytes(
        b"II*\0"
        + struct.pack("<I", start)
        + pixels.tobytes()
        + struct.pack("<H", len(tags))
        + entries
        + bytes(4)
        + values
    )
