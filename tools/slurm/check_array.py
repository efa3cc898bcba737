#!/usr/bin/env python3
"""Does a sweep as a job array, of which one task is killed and requeued, end with the scores of one process?

    python3 tools/slurm/check_array.py CONFIG.yaml [--kvengine build/kvengine] [--shards 4]

Needs a working Slurm (one node is enough) on a machine that sees this folder. Runs the config once here, submits it with
submit.sh, requeues one task as soon as that has recorded something, waits for the report and compares every record and
cells.csv.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

SAME = ("scores", "output", "logits_hash", "stop_reason", "kv_bytes", "error", "note")


def records(files):
    found = {}
    for file in files:
        for line in file.read_text().splitlines():
            record = json.loads(line)
            key = record["cell_id"], record["sample_id"]
            if key in found:
                sys.exit(f"{file}: recorded twice: {key}")
            found[key] = {field: record.get(field) for field in SAME}
    return found


def wait_for(what, seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def state(job):
    """The states of a job's tasks; nothing once Slurm has forgotten it."""
    done = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True)
    return [word[len("JobState="):] for word in done.stdout.split() if word.startswith("JobState=")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--kvengine", default="build/kvengine")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--wait", type=int, default=600, help="seconds for the array; a requeued task waits two minutes")
    options = parser.parse_args()
    kvengine = str(pathlib.Path(options.kvengine).resolve())
    submit = pathlib.Path(__file__).with_name("submit.sh")
    with tempfile.TemporaryDirectory(prefix="kvengine-slurm-") as folder:
        folder = pathlib.Path(folder)
        subprocess.run([kvengine, "run", options.config, "--out", str(folder / "one"), "--quiet"], check=True)
        out = folder / "array"
        said = subprocess.run([str(submit), options.config, str(out), str(options.shards)], check=True, text=True,
                              capture_output=True, env={**os.environ, "KVENGINE": kvengine}).stdout
        array, report = (word.split()[1] for word in said.strip().split(", "))
        victims = [out / f"shard-{i}" / "samples.jsonl" for i in range(options.shards)]
        wait_for("a first record", 120, lambda: any(v.exists() and v.stat().st_size > 0 for v in victims))
        victim = next(i for i, v in enumerate(victims) if v.exists() and v.stat().st_size > 0)
        subprocess.run(["scontrol", "requeue", f"{array}_{victim}"], check=True)
        wait_for("the report", options.wait, lambda: state(report) in ([], ["COMPLETED"], ["FAILED"]))
        starts = (out / f"shard-{victim}.log").read_text().count("start ")
        want, got = records([folder / "one" / "samples.jsonl"]), records(v for v in victims if v.exists())
        if want != got:
            sys.exit(f"{len(want.keys() - got.keys())} samples missing, {len(got.keys() - want.keys())} too many, "
                     f"{sum(want[k] != got[k] for k in want.keys() & got.keys())} differ")
        if (folder / "one" / "cells.csv").read_bytes() != (out / "cells.csv").read_bytes():
            sys.exit("cells.csv differs")
        if starts < 2:
            sys.exit(f"task {victim} was done before it could be requeued; give a longer config")
        print(f"{options.shards} tasks, task {victim} started {starts} times; {len(want)} samples, all equal, cells.csv too")


if __name__ == "__main__":
    main()
