"""Memory and speed of labelling a pool, and of reading it for training, over its size and the number of processes.

    python benchmarks/pools.py --rows 1000 10000 100000 1000000 --processes 1 2

Images of 8×8 pixels in Parquet files, a small classifier, on the CPU: what is left of the work when network and
decoding take almost no time, and so an upper bound of images a second, and the place where memory that grows would
show. Each size is labelled by `residual-ssl label` in processes of their own, whose memory is looked at twenty times a
second; then 5,000 images at random places of the result are read as training reads them. The images of a pool are 4,096
different ones in turn, of the embedded digits.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from recorded import command_line, save, table

from residual_ssl import compose, train
from residual_ssl.data import HandwrittenDigits
from residual_ssl.data.pools import Manifest
from residual_ssl.runtime.provenance import provenance

GROUP, FILE = 1000, 100_000
SELECTOR = "top_fraction:fraction=0.5"  # two passes, the longer of the two ways
READ = """
import json, sys, time
import psutil
from residual_ssl.data.pools.stored import StoredClasses, StoredRows
from residual_ssl.data.pools.summary import PoolSummary
from residual_ssl.runtime.permutation import KeyedPermutation
started = time.perf_counter()
samples = StoredClasses(StoredRows(PoolSummary.read(sys.argv[1])))
opened, count = time.perf_counter() - started, min(5000, len(samples))
order = KeyedPermutation(len(samples), 0)
started = time.perf_counter()
for i in range(count):
    samples[order[i]]
each = (time.perf_counter() - started) / count
memory = psutil.Process().memory_info().rss / 2**20
print(json.dumps({"open_s": opened, "sample_ms": 1000 * each, "rss_mib": memory}))
"""


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/benchmarks/pools"), help="folder of pools and labels")
    options = parser.parse_args()
    run = options.work / "run"
    short = ["steps=60", "evaluate_every=60", "device=cpu", f"run_dir={run}"]
    train(compose(["experiment=digits_classification", "algorithm=supervised", *short]))
    rows = []
    for count in options.rows:
        pool = options.work / f"pool-{count}"
        write_pool(pool, count)
        for processes in options.processes:
            out = options.work / f"labels-{count}-{processes}"
            shutil.rmtree(out, ignore_errors=True)
            rows.append({"rows": count, "processes": processes, **labelled(run, pool, out, processes)})
            rows[-1]["reading"] = read(out)
            rows[-1]["manifest_bytes"] = (out / "manifest.jsonl").stat().st_size
            rows[-1]["shards"] = len(Manifest(out))
            print(json.dumps(rows[-1]))
            save(options.out, "pools", {**provenance(), "rows": rows}, report(rows))
            shutil.rmtree(out)
        shutil.rmtree(pool)
    print(report(rows))


def write_pool(folder: Path, count: int) -> None:
    """A pool of so many rows, in files of 100,000, made of the embedded digits."""
    digits = HandwrittenDigits("train")
    contents = []
    for i in range(4096):
        content = io.BytesIO()
        pixels = (digits[i % len(digits)].image.int() + i % 7).clamp(0, 255).byte()
        Image.fromarray(pixels.movedim(0, -1).numpy()).save(content, format="PNG")
        contents.append(content.getvalue())
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", kind)])
    folder.mkdir(parents=True, exist_ok=True)
    source = (contents[i % len(contents)] for i in range(count))
    for number in range(-(-count // FILE)):
        with pq.ParquetWriter(folder / f"{number:05d}.parquet", schema) as writer:
            for _ in range(FILE // GROUP):
                cells = [{"bytes": content, "path": None} for content in islice(source, GROUP)]
                if cells:
                    writer.write_table(pa.table({"image": pa.array(cells, kind)}, schema))


def labelled(run: Path, pool: Path, out: Path, processes: int) -> dict[str, Any]:
    """Label in processes of their own: seconds of the work, and the largest memory of each."""
    command = [sys.executable, "-m", "residual_ssl.cli", "label", str(run), str(pool), "--out", str(out)]
    command += ["--selector", SELECTOR, "--batch", "256", "--threads", "1", "--device", "cpu"]
    told = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    workers = [
        psutil.Popen(command, env={**os.environ, **told, "RANK": str(rank)}, stdout=subprocess.DEVNULL)
        for rank in range(processes)
    ]
    most = [0] * processes
    first: float | None = None
    while any(worker.poll() is None for worker in workers):
        for rank, worker in enumerate(workers):
            try:
                most[rank] = max(most[rank], worker.memory_info().rss)
            except psutil.Error:
                continue
        if first is None and (out / "manifest.jsonl").exists():
            first = time.perf_counter()
        time.sleep(0.05)
    if any(worker.wait() for worker in workers):
        raise SystemExit(f"residual-ssl label has failed in {out}")
    seconds = time.perf_counter() - (first or started)
    found = json.loads((out / "summary.json").read_text())
    size = sum(path.stat().st_size for path in (out / "labels").iterdir())
    return {
        "seconds": seconds,
        "images_per_second": found["images"] / seconds,
        "peak_rss_mib": [value / 2**20 for value in most],
        "images": found["images"],
        "coverage": found["coverage"],
        "bytes_per_image": size / found["images"],
    }


def read(out: Path) -> dict[str, float]:
    """Read the result at random places in a process of its own."""
    done = subprocess.run([sys.executable, "-c", READ, str(out)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


NOTE = (
    "Two passes over images of 8×8 pixels in Parquet files; seconds from the first shard on, without the start of "
    "Python. Memory is the largest resident set of a process. Reading: 5,000 images at random places of the result."
)


def report(rows: list[dict[str, Any]]) -> str:
    return "\n".join(["# Pools larger than a machine", "", NOTE, "", *summary(rows), ""])


def summary(rows: list[dict[str, Any]]) -> list[str]:
    base = {row["processes"]: max(row["peak_rss_mib"]) for row in reversed(rows)}
    cells = [
        [
            f"{row['rows']:,}",
            str(row["processes"]),
            f"{row['images_per_second']:,.0f}",
            f"{max(row['peak_rss_mib']):.0f}",
            f"{100 * (max(row['peak_rss_mib']) / base[row['processes']] - 1):+.1f}",
            f"{row['shards']:,}",
            f"{row['manifest_bytes'] / 1024:.0f}",
            f"{row['reading']['rss_mib']:.0f}",
            f"{row['reading']['sample_ms']:.2f}",
        ]
        for row in rows
    ]
    head = ("images", "processes", "images/s", "memory MiB", "% of the smallest", "shards", "manifest kB")
    return table([*head, "reading: memory MiB", "ms an image"], cells)


if __name__ == "__main__":
    main()
