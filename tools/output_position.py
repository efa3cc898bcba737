#!/usr/bin/env python3
"""Right pieces against their place in a long output: a table (Markdown, on stdout) and a figure of a sweep of `long_output`.

    python3 tools/output_position.py results/long_output --figure docs/output_position.svg

Reads cells.json of the run; needs only Python. `exact_q1` … `exact_q4` are the shares of right pieces in the quarters of the
output, `exact` is that of all of them.
"""
import argparse
import json
import pathlib

from line_chart import COLORS, Chart

QUARTERS = ("exact_q1", "exact_q2", "exact_q3", "exact_q4")


def read(folder):
    """spec -> {metric: cell}, in the order of the file."""
    rows = {}
    for cell in json.loads((pathlib.Path(folder) / "cells.json").read_text()):
        if cell["task"] == "long_output":
            rows.setdefault(cell["spec"], {})[cell["metric"]] = cell
    return rows


def score(cell):
    """A score in bold where its paired difference to the full cache leaves zero out."""
    difference = cell.get("difference_to_none")
    text = f"{cell['value']:.2f}"
    return f"**{text}**" if difference and (difference["ci_high"] or 0) < 0 else text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--figure")
    parser.add_argument("--name", action="append", default=[], metavar="SPEC=NAME", help="how the figure calls a spec")
    options = parser.parse_args()
    rows = read(options.folder)
    names = dict(pair.rsplit("=", 1) for pair in options.name)
    print("| compressor | KV retained | all pieces | 1st quarter | 2nd | 3rd | last |\n|---|---:|---:|---:|---:|---:|---:|")
    for spec, cells in rows.items():
        scores = " | ".join(score(cells[metric]) for metric in ("exact",) + QUARTERS)
        print(f"| `{spec}` | {100 * cells['exact']['kv_retained']:.0f} % | {scores} |")
    if not options.figure:
        return
    chart = Chart("share of right pieces", "quarter of the output", (1, 4), (0, 1), right=190)
    chart.y_ticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], "{:.1f}")
    chart.x_ticks([1, 2, 3, 4])
    ends = []
    for (spec, cells), color in zip(rows.items(), COLORS):
        points = [(i + 1, cells[metric]["value"]) for i, metric in enumerate(QUARTERS)]
        chart.line(points, color, dashed=spec == "none")
        ends.append((points[-1][1], names.get(spec, spec), color))
    low = -1.0
    for y, name, color in sorted(ends):  # labels that would lie on each other move up
        low = max(y, low + 0.045)
        chart.label(4, low, name, color, dx=10)
    pathlib.Path(options.figure).write_text(chart.svg())


if __name__ == "__main__":
    main()
