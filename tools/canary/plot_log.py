#!/usr/bin/env python3
"""Draws a training log as one SVG: the answers' losses and the text's KL over the tokens seen.

Usage: plot_log.py LOG.csv OUT.svg. Columns: tokens, kl, loss_KIND (see train_adapter.py). Both axes' values are in nats
on a logarithmic scale; every line is the mean over three rows.
"""

import argparse
import csv
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 60, 120, 30, 45
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555", "#e69f00", "#56b4e9")
FLOOR = 1e-4  # nats; what is smaller is drawn here


def read_log(path: str) -> dict[str, list[tuple[float, float]]]:
    """Points (tokens, value) of every loss column."""
    series: dict[str, list[tuple[float, float]]] = {}
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for name, text in row.items():
                if text and (name == "kl" or name.startswith("loss_")):
                    series.setdefault(name.removeprefix("loss_"), []).append((float(row["tokens"]), float(text)))
    return series


def smoothed(points: list[tuple[float, float]], span: int = 3) -> list[tuple[float, float]]:
    """Each value becomes the mean of itself and its neighbours."""
    result = []
    for index, (x, _) in enumerate(points):
        near = points[max(0, index - span // 2) : index + span // 2 + 1]
        result.append((x, sum(value for _, value in near) / len(near)))
    return result


class Axes:
    """From (tokens, nats) to pixels."""

    def __init__(self, last: float, low: float, high: float):
        self.last, self.low, self.high = last, math.log10(low), math.log10(high)

    def x(self, tokens: float) -> float:
        """Pixels from the left."""
        return LEFT + (WIDTH - LEFT - RIGHT) * tokens / self.last

    def y(self, nats: float) -> float:
        """Pixels from the top."""
        share = (math.log10(max(nats, FLOOR)) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def text(x: float, y: float, words: str, anchor: str = "middle", color: str = "#222") -> str:
    """One label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{words}</text>'


def grid(axes: Axes) -> list[str]:
    """Frame, ticks and axis titles."""
    parts = []
    for power in range(math.ceil(axes.low), math.floor(axes.high) + 1):
        y = axes.y(10**power)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 8, y + 4, f"{10**power:g}", "end"))
    step = 10 ** math.floor(math.log10(axes.last)) / 2
    for tick in range(int(axes.last / step) + 1):
        parts.append(text(axes.x(tick * step), HEIGHT - BOTTOM + 18, f"{tick * step / 1000:g}k"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "tokens"))
    parts.append(text(LEFT, TOP - 12, "loss, nats per token", "start"))
    return parts


def draw(series: dict[str, list[tuple[float, float]]]) -> str:
    """The whole figure."""
    values = [max(value, FLOOR) for points in series.values() for _, value in smoothed(points)]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    axes = Axes(max(x for points in series.values() for x, _ in points), low, high)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        *grid(axes),
    ]
    for index, ((name, points), color) in enumerate(zip(sorted(series.items()), COLORS)):
        path = "L".join(f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in smoothed(points))
        parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        label = "KL on text" if name == "kl" else name
        parts.append(text(WIDTH - RIGHT + 10, TOP + 18 * index + 10, label, "start", color))
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("out")
    arguments = parser.parse_args()
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.write(draw(read_log(arguments.log)))


if __name__ == "__main__":
    main()
