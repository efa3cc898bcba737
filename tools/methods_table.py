#!/usr/bin/env python3
"""One table of a sweep: a row for each compressor, its memory and the headline score of each task.

    python3 tools/methods_table.py results/methods [--metrics perplexity=ppl,tool_call=args_exact,...] [--order gap|config]

Prints Markdown. Scores carry their 95 % interval; a functional score whose paired difference to the full cache leaves
zero out is bold. Reads cells.json of the run; needs only Python. `gap` sorts by how much of the function is lost beyond what
perplexity shows, the most silent first.
"""
import argparse
import json
import pathlib

METRICS = "perplexity=ppl,tool_call=args_exact,code_exec=pass@1,passkey=exact_match"


def read(folder, metrics):
    """(compressor, ratio, spec) -> {task: cell}, in the order of the file."""
    rows = {}
    for cell in json.loads((pathlib.Path(folder) / "cells.json").read_text()):
        if metrics.get(cell["task"]) == cell["metric"]:
            rows.setdefault((cell["compressor"], cell["compression_ratio"], cell["spec"]), {})[cell["task"]] = cell
    return rows


def labels(rows):
    """The short name where it says which compressor is meant, else the whole spec."""
    names = [(name, ratio) for name, ratio, _ in rows]
    return {key: key[2] if names.count(key[:2]) > 1 else key[0] for key in rows}


def score(cell):
    if cell is None or cell["value"] is None:
        return "-"
    if cell["metric"] == "ppl":
        return f"{cell['value']:.2f}"
    text = f"{cell['value']:.2f} [{cell['ci_low']:.2f}, {cell['ci_high']:.2f}]"
    difference = cell.get("difference_to_none")
    lost = difference and (difference["ci_high"] or 0) < 0
    return f"**{text}**" if lost else text


def functional(cells, metrics):
    values = [c["value"] for t, c in cells.items() if metrics[t] != "ppl" and c["value"] is not None]
    return sum(values) / len(values) if values else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--metrics", default=METRICS)
    parser.add_argument("--order", choices=["gap", "config"], default="config")
    options = parser.parse_args()
    metrics = dict(pair.split("=") for pair in options.metrics.split(","))
    rows = read(options.folder, metrics)
    full = next(cells for (_, _, spec), cells in rows.items() if spec == "none")
    f_full, p_full = functional(full, metrics), full["perplexity"]["value"] if "perplexity" in full else None

    def gap(cells):
        if not p_full or "perplexity" not in cells or not f_full:
            return None
        return p_full / cells["perplexity"]["value"] - functional(cells, metrics) / f_full

    order = list(rows.items())
    if options.order == "gap":
        order.sort(key=lambda item: -(gap(item[1]) or 0))
    print("| compressor | ratio | KV retained | " + " | ".join(f"{t} {m}" for t, m in metrics.items()) + " | gap |")
    print("|---|---:|---:|" + "---:|" * (len(metrics) + 1))
    label_of = labels(rows)
    for key, cells in order:
        label, ratio, spec = label_of[key], key[1], key[2]
        retained = [c["kv_retained"] for c in cells.values()]
        g = None if spec == "none" else gap(cells)
        print(
            f"| `{label}` | {ratio:g} | {100 * sum(retained) / len(retained):.0f} % | "
            + " | ".join(score(cells.get(task)) for task in metrics)
            + f" | {'-' if g is None else format(g, '+.2f')} |"
        )


if __name__ == "__main__":
    main()
