"""Small pools in every form, and what a labelled pool holds."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pictures(count: int, size: tuple[int, int] = (20, 24)) -> list[bytes]:
    """PNG files of noise on grounds of different brightness."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        content = io.BytesIO()
        pixels = rng.integers(i * 200 // max(1, count), i * 200 // max(1, count) + 56, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(content, format="PNG")
        found.append(content.getvalue())
    return found


def image_folder(folder: Path, contents: Sequence[bytes], below: Sequence[str] = ("a", "b")) -> Path:
    """Images in folders, in turn: ``a/000.png``, ``b/001.png`` …"""
    for i, content in enumerate(contents):
        path = folder / below[i % len(below)] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def parquet_file(path: Path, contents: Sequence[bytes | None], group: int = 4) -> Path:
    """A column of images as Hugging Face ``datasets`` writes it, in row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [None if content is None else {"bytes": content, "path": None} for content in contents]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), path, row_group_size=group)
    return path


def tar_file(path: Path, contents: Sequence[bytes]) -> Path:
    """An archive in the form of webdataset: ``000.png`` beside ``000.json``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for i, content in enumerate(contents):
            for name, data in ((f"{i:03d}.png", content), (f"{i:03d}.json", b"{}")):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows of a labelled pool, shard by shard."""
    return [row for path in sorted((folder / "labels").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def summary_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found
