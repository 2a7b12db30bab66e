"""``driftline baseline build`` on a large Parquet file: rows a second, CPU a row, peak memory.

    python tests/bench/bench_baseline.py [ROWS]

Writes a file of 20 columns (17 normal, one zero-inflated, two of categories) beside a time into a temporary
folder, builds its baseline in a process of its own, removes both. Default: 10 million rows, 1.8 GB of disk.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

ROWS = 10_000_000
GROUP = 100_000
NUMERIC = 17
WORDS = np.array(["a", "b", "c", "d", "e", "f"])


def write(path: Path, rows: int) -> None:
    """The file, a row group at a time."""
    rng = np.random.default_rng(1)
    numbers = [(f"x{i}", pa.float64()) for i in range(NUMERIC)]
    last = [("zeros", pa.float64()), ("c0", pa.string()), ("c1", pa.string())]
    schema = pa.schema([("time", pa.int64()), *numbers, *last])
    with parquet.ParquetWriter(path, schema) as writer:
        for at in range(0, rows, GROUP):
            n = min(GROUP, rows - at)
            columns: list[Any] = [1_700_000_000_000 + 10 * np.arange(at, at + n)]
            columns += [rng.normal(size=n) for _ in range(NUMERIC)]
            columns.append(np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)))
            columns += [WORDS[rng.integers(0, len(WORDS), n)] for _ in range(2)]
            writer.write_table(pa.table(columns, schema=schema))


def main(rows: int) -> None:
    """Write, build, print."""
    with tempfile.TemporaryDirectory() as folder:
        file, output = Path(folder) / "rows.parquet", Path(folder) / "baseline.json"
        write(file, rows)
        print(f"{rows:,} rows x 20 columns, {file.stat().st_size / 1e6:,.0f} MB of Parquet", flush=True)
        start = time.perf_counter()
        code = "from driftline.cli import main; main()"
        options = ["baseline", "build", str(file), "-m", "m", "--one-model", "-o", str(output)]
        subprocess.run([sys.executable, "-c", code, *options], check=True)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime
        print(f"{rows / seconds:,.0f} rows/s, {cpu / rows * 1e6:.2f} us of CPU a row, compiling included")
        print(f"peak memory {used.ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
