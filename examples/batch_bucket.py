"""Derain what lies in a bucket: from one fsspec address to another, over scratch storage.

    pip install 'derain[ray]' s3fs
    python examples/batch_bucket.py s3://media/rainy s3://media/clean /mnt/scratch --ray auto --preset web

Everything behind the scratch folder goes to `derain batch`. With --ray the scratch folder has to be storage that all
nodes see. Results that are in the bucket are not made again; a file at a time is on scratch storage, and what was begun
and cut off there goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys

import fsspec

from pipeline.batch_files import VIDEOS


def main() -> int:
    source, destination, scratch, *options = sys.argv[1:]
    there, base = fsspec.core.url_to_fs(source)
    back, target = fsspec.core.url_to_fs(destination)
    failed = 0
    for path in sorted(there.find(base)):
        below = os.path.relpath(path, base)
        stem, ending = os.path.splitext(below)
        folder = os.path.dirname(f"{target}/{stem}")
        done = back.glob(f"{target}/{stem}.*") if back.exists(folder) else []
        if ending.lower() not in VIDEOS or done:
            continue
        held, results = os.path.join(scratch, "in", below), os.path.join(scratch, "out", os.path.dirname(below))
        os.makedirs(os.path.dirname(held), exist_ok=True)
        if not os.path.exists(held):  # else a run that was cut off had brought it
            there.get_file(path, f"{held}.part")
            os.replace(f"{held}.part", held)
        print(f"{path}", flush=True)
        run = subprocess.run([sys.executable, "-m", "pipeline", "batch", held, results, "--quiet", *options])
        made = [name for name in os.listdir(results) if os.path.splitext(name)[0] == os.path.basename(stem)]
        if run.returncode or not made:
            failed += 1
            continue
        back.makedirs(folder, exist_ok=True)
        back.put_file(os.path.join(results, made[0]), f"{folder}/{made[0]}")
        os.unlink(os.path.join(results, made[0]))
        os.unlink(held)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
