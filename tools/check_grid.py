#!/usr/bin/env python3
"""Are the scores of every cell the same bits however a sweep is run?

    python3 tools/check_grid.py [--kvengine build/kvengine] CONFIG.yaml [flags of run, such as --limit 2]

Runs a config once, then with 1 and 2 threads, in three shards, with half the memory that the first run's caches took (or the
least that the program asks for), with the cells in another order, and every cell alone beside the full cache; compares
scores, output and logits hash of every sample. Needs only Python.
"""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

SAME = ("scores", "output", "output_ids", "logits_hash", "stop_reason", "kv_bytes")


class Sweep:
    def __init__(self, options, folder):
        self.options, self.folder, self.count = options, folder, 0

    def start(self, flags):
        out = self.folder / f"run{self.count}"
        self.count += 1
        done = subprocess.run([self.options.kvengine, "run", self.options.config, "--quiet", *self.options.rest, *flags,
                               "--out", str(out)], capture_output=True, text=True)
        return done, out

    def run(self, *flags):
        """(cell, sample) -> what must be equal; and the run's folder."""
        done, out = self.start(flags)
        if done.returncode != 0:
            sys.exit(f"{' '.join(flags)}: exit status {done.returncode}\n{done.stderr}")
        lines = (out / "samples.jsonl").read_text().splitlines()
        found = {(r["spec"], r["task_spec"], r["sample_id"]): {k: r[k] for k in SAME} for r in map(json.loads, lines)}
        return found, json.loads((out / "manifest.json").read_text())


def check(what, want, got, part=False):
    if not part and want.keys() != got.keys():
        sys.exit(f"{what}: {len(want.keys() - got.keys())} samples missing, {len(got.keys() - want.keys())} too many")
    for key, values in got.items():
        for field, value in values.items():
            if want[key][field] != value:
                sys.exit(f"{what}: {key}: {field} is {value!r}, was {want[key][field]!r}")
    print(f"{what}: {len(got)} samples, all equal", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--kvengine", default="build/kvengine")
    parser.add_argument("--cells", type=int, help="at most this many cells alone")
    options, options.rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="kvengine-grid-") as folder:
        sweep = Sweep(options, pathlib.Path(folder))
        want, manifest = sweep.run()
        cells = [c for c in manifest["config"]["compressors"] if c != "none"]
        for threads in ("1", "2"):
            check(f"{threads} threads", want, sweep.run("--threads", threads)[0])
        shards = {}
        for i in range(3):
            shards.update(sweep.run("--shard", f"{i}/3")[0])
        check("three shards", want, shards)
        memory = str(manifest["sessions"][-1]["memory"]["caches_peak_bytes"] // 2)
        refused, _ = sweep.start(["--set", f"run.memory={memory}"])
        if refused.returncode == 2:
            memory = re.search(r"give run.memory: (\S+)", refused.stderr).group(1)
        got, small = sweep.run("--set", f"run.memory={memory}")
        check(f"run.memory {memory}", want, got)
        used = small["sessions"][-1]["memory"]
        if used["caches_peak_bytes"] > used["limit_bytes"]:
            sys.exit(f"caches took {used['caches_peak_bytes']} bytes of {used['limit_bytes']}")
        shuffled = cells[:]
        random.Random(0).shuffle(shuffled)
        flags = [flag for cell in shuffled for flag in ("--compressor", cell)]
        check("another order", want, sweep.run(*flags)[0])
        for cell in cells[: options.cells]:
            check(f"{cell} alone", want, sweep.run("--compressor", cell)[0], part=True)


if __name__ == "__main__":
    main()
