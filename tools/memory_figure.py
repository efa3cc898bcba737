#!/usr/bin/env python3
"""Perplexity against the bytes that are really stored: a figure, and a table with a row for each method.

    python3 tools/memory_figure.py results/wikitext --figure docs/wikitext_memory.svg > table.md

Reads cells.json of a sweep of `perplexity`; needs only Python. A method is a compressor's name with those parameters that its
settings have in common; its settings follow in the order of the run, as perplexity and bytes of one sequence.
"""
import argparse
import json
import pathlib
import re

from line_chart import Chart

CODEC, POLICY, FULL = "#d55e00", "#0072b2", "#000000"
LARGEST = 200  # perplexities above it are drawn there


def method_of(cell):
    """What one line of the table and of the figure is."""
    spec = cell["spec"]
    name = re.match(r"\w+", spec).group()
    if cell["compression_ratio"] == 0:  # codecs: the bits are the setting
        marks = [m for m in ("keys=post_rope", "hadamard=true") if m in spec]
        return re.sub(r"\d+$", "", name) + (f"({','.join(marks)})" if marks else "")
    return name + ("(unit=pair)" if "unit=pair" in spec else "")


def setting_of(cell):
    """How the figure calls a codec's setting."""
    spec, name = cell["spec"], re.match(r"\w+", cell["spec"]).group()
    defaults = {"residual": "128", "axis": "0", "group": "64" if name[0] in "hq" else "32", "threshold": "", "recent": ""}
    given = re.findall(rf"\b({'|'.join(defaults)})=(-?[\d.]+)", spec)
    shown = ",".join(f"{mark}={value}" for mark, value in given if value != defaults[mark])
    return f"{name}({shown})" if shown else name


def read(folder):
    """method -> its cells, in the order of the file."""
    methods = {}
    for cell in json.loads((pathlib.Path(folder) / "cells.json").read_text()):
        if cell["task"] == "perplexity" and cell["metric"] == "ppl":
            methods.setdefault(method_of(cell), []).append(cell)
    return methods


def table(methods):
    """One line for each method; three settings beside each other."""
    print("| method | " + " | ".join("setting | perplexity | KiB" for _ in range(3)) + " |")
    print("|---|" + "---|---:|---:|" * 3)
    for name, cells in methods.items():
        parts = []
        for cell in cells:
            ratio = cell["compression_ratio"]
            setting = f"{ratio:g}" if ratio else setting_of(cell)
            parts.append(f"{setting} | {cell['value']:,.2f} | {cell['kv_bytes'] / 1024:,.0f}")
        parts += [" | | "] * (3 - len(parts))
        print(f"| `{name}` | " + " | ".join(parts) + " |")


def is_policy(cells):
    return bool(cells[0]["compression_ratio"]) or cells[0]["spec"].startswith("simlayerkv")


def figure(methods):
    """Lines of policies, dots of codecs."""
    full = methods["none"][0]
    chart = Chart("perplexity", "KV cache, % of the full one in 16 bits", (0, 110), (full["value"] * 0.93, LARGEST), True,
                  height=640)
    chart.y_ticks([25, 30, 40, 50, 70, 100, 150, 200])
    chart.x_ticks(range(0, 101, 25))
    ends = []  # (x, y, name) of the policies' last settings
    for name, cells in methods.items():
        points = [(100 * c["kv_retained"], min(c["value"], LARGEST)) for c in cells]
        if name == "none" or is_policy(cells):
            chart.line(points, FULL if name == "none" else POLICY, width=1)
            if name != "none":
                ends.append((*points[-1], name))
            continue
        for (x, y), cell in zip(points, cells):
            chart.dot(x, y, CODEC, radius=4)
            if y > 1.3 * full["value"]:
                chart.label(x, y, setting_of(cell), CODEC, dx=-8, anchor="end", size=9)
    crowd = [end for end in ends if end[0] < 30 and end[1] < 60]
    for x, y, name in ends:
        if (x, y, name) not in crowd:
            chart.label(x, y, name, POLICY, dx=8, size=9)
    at_y = float("inf")  # from the smallest perplexity upwards, one name a line
    for x, y, name in sorted(crowd, key=lambda end: end[1]):
        at_y = min(chart.y_pixel(y) + 3, at_y - 9)
        chart.pointed_label(x, y, name, chart.x_pixel(16), at_y, POLICY)
    chart.legend([("full cache", FULL), ("rows removed", POLICY), ("rows in fewer bits", CODEC),
                  (f"above {LARGEST:,}: drawn at the top", "#ffffff")])
    return chart.svg()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--figure")
    options = parser.parse_args()
    methods = read(options.folder)
    table(methods)
    if options.figure:
        pathlib.Path(options.figure).write_text(figure(methods))


if __name__ == "__main__":
    main()
