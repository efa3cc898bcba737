#!/usr/bin/env python3
"""Does a run survive being killed, interrupted and a full disk?

    python3 tools/check_resume.py --kvengine build/kvengine configs/smoke.yaml --limit 3
    python3 tools/check_resume.py --modes kill --times 50 configs/smoke.yaml

Runs a config to its end once, undisturbed, and again for each mode into a folder of its own, disturbed at random moments
and resumed each time until it is done:
  kill   SIGKILL
  int    SIGINT, as Ctrl-C sends it; the run must say 130 and lose nothing that it had recorded
  disk   the run's folder lies on a file system of a few pages that is enlarged after each failure (root only)
Then every sample must be there once, with the same scores, output and logits hash as in the undisturbed run, and cells.csv
must be the same file. Needs only Python. Arguments that it does not know go to `kvengine run`.
"""
import argparse
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SAME = ("scores", "output", "logits_hash", "stop_reason", "kv_bytes", "error", "note")


def start(options, out):
    command = [options.kvengine, "run", options.config, "--out", str(out), "--quiet", *options.rest]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process, expected, what):
    """Waits for the end; a status that is not expected ends the check."""
    error = process.communicate()[1]
    if process.returncode not in expected:
        sys.exit(f"{what}: exit status {process.returncode}, expected one of {sorted(expected)}\n{error}")
    return process.returncode, error


def records(out):
    """(cell, sample) -> record; a torn line is skipped, a repeated one is an error."""
    found = {}
    for number, line in enumerate((out / "samples.jsonl").read_text().splitlines(), 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        key = record["cell_id"], record["sample_id"]
        if key in found:
            sys.exit(f"{out}/samples.jsonl:{number}: recorded twice: {key}")
        found[key] = record
    return found


def compare(reference, out, what):
    want, got = records(reference), records(out)
    if want.keys() != got.keys():
        sys.exit(f"{what}: {len(want.keys() - got.keys())} samples missing, {len(got.keys() - want.keys())} too many")
    for key, record in want.items():
        for field in SAME:
            if record.get(field) != got[key].get(field):
                sys.exit(f"{what}: {key}: {field} is {got[key].get(field)!r}, was {record.get(field)!r}")
    if (reference / "cells.csv").read_bytes() != (out / "cells.csv").read_bytes():
        sys.exit(f"{what}: cells.csv differs")


def disturb(options, out, dice, number, seconds, statuses):
    """Starts the run `times` times and sends the signal after a random while; how often it hit a running process."""
    hits, already_done = 0, 0
    for _ in range(options.times):
        process = start(options, out)
        # Start-up takes its share, so that most signals come while samples are answered.
        time.sleep(dice.uniform(0, options.startup + 2.5 * seconds / options.times))
        if process.poll() is None:
            process.send_signal(number)
            hits += 1
        else:
            already_done += 1
        finish(process, statuses, number.name)
    return hits, already_done


def fill_disk(options, out):
    """The folder on a tmpfs that grows by a little whenever the run fails; how often it failed."""
    out.mkdir()
    size, failures = 8, 0
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(out)], stderr=subprocess.PIPE)
    if mounted.returncode != 0:
        return None
    try:
        while True:
            status, error = finish(start(options, out), {0, 1, 3}, "full disk")
            if status == 0:
                break
            if "No space left on device" not in error:
                sys.exit(f"full disk: the message does not say so:\n{error}")
            failures += 1
            size = size * 5 // 4 + 4
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(out)], check=True)
        saved = out.with_name(out.name + ".saved")
        shutil.copytree(out, saved)
    finally:
        subprocess.run(["umount", str(out)], check=True)
    out.rmdir()
    saved.rename(out)
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--kvengine", default="build/kvengine")
    parser.add_argument("--modes", default="kill,int,disk", help="comma list")
    parser.add_argument("--times", type=int, default=50, help="signals for each mode")
    parser.add_argument("--startup", type=float, default=1.5, help="seconds until the first sample is answered")
    parser.add_argument("--seed", type=int, default=0)
    options, options.rest = parser.parse_known_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kvengine-resume-") as folder:
        folder = pathlib.Path(folder)
        began = time.monotonic()
        finish(start(options, folder / "reference"), {0}, "undisturbed run")
        seconds = time.monotonic() - began
        n = len(records(folder / "reference"))
        print(f"undisturbed: {n} samples in {seconds:.1f} s", flush=True)
        for mode in options.modes.split(","):
            out = folder / mode
            if mode == "disk":
                failures = fill_disk(options, out)
                if failures is None:
                    print("disk: skipped, a file system cannot be mounted here (needs root)")
                    continue
                what = f"{failures} times full"
            else:
                number, statuses = (signal.SIGKILL, {-9, 0}) if mode == "kill" else (signal.SIGINT, {130, -2, 0})
                hits, already_done = disturb(options, out, dice, number, seconds, statuses)
                finish(start(options, out), {0}, f"last run after {mode}")
                what = f"{hits} signals, {already_done} starts found nothing left to do"
            compare(folder / "reference", out, mode)
            print(f"{mode}: {what}; {n} samples, none lost, none doubled, all equal", flush=True)


if __name__ == "__main__":
    main()
