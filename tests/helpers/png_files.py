"""PNG files of depths that Pillow reads and does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np

GREY, RGB = 0, 2


def write_png(path: Path, rows: list[bytes], width: int, bits: int, colour: int) -> None:
    """Write rows of pixels, packed as PNG packs them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def write_deep_colours(path: Path, pixels: np.ndarray) -> None:
    """Three channels of 16 bits, ``(H, W, 3)``."""
    write_png(path, [row.astype(">u2").tobytes() for row in pixels], pixels.shape[1], 16, RGB)
