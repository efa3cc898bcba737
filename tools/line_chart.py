"""Line charts as SVG, for the figures that are committed."""

import html
import math

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")
LEFT, RIGHT, TOP, BOTTOM = 60, 30, 54, 50


class Chart:
    """Axes from (low, high) pairs; everything drawn lies in their units. log_y: powers of ten are evenly spaced."""

    def __init__(self, title, x_title, x_range, y_range, log_y=False, width=720, height=380, right=RIGHT):
        self.x_range, self.y_range, self.log_y = x_range, y_range, log_y
        self.width, self.height, self.right = width, height, right
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            'font-size="12" fill="#333333">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]
        self._text((LEFT + width - right) / 2, height - 10, x_title, 'text-anchor="middle"')
        self._text(LEFT - 40, TOP - 34, title)

    def x_pixel(self, x):
        low, high = self.x_range
        return LEFT + (self.width - LEFT - self.right) * (x - low) / (high - low)

    def y_pixel(self, y):
        low, high = self.y_range
        if self.log_y:
            low, high, y = math.log10(low), math.log10(high), math.log10(y)
        return self.height - BOTTOM - (self.height - TOP - BOTTOM) * (y - low) / (high - low)

    def _text(self, x, y, words, more=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {more}>{html.escape(str(words))}</text>')

    def x_ticks(self, values, form="{:,}"):
        """Numbers below the axis."""
        for x in values:
            self._text(self.x_pixel(x), self.height - BOTTOM + 18, form.format(x), 'text-anchor="middle"')

    def y_ticks(self, values, form="{}"):
        """Numbers beside the axis, with a line across."""
        for y in values:
            self.parts.append(f'<path d="M{LEFT} {self.y_pixel(y):.1f}H{self.width - self.right}" stroke="#dddddd"/>')
            self._text(LEFT - 8, self.y_pixel(y) + 4, form.format(y), 'text-anchor="end"')

    def line(self, points, color, width=2.0, dashed=False, dots=True):
        """A line through points (x, y)."""
        path = "L".join(f"{self.x_pixel(x):.1f} {self.y_pixel(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="{width}"{dash}/>')
        for x, y in points if dots else ():
            self.dot(x, y, color)

    def dot(self, x, y, color, radius=3, ring=False):
        """A filled dot or a ring."""
        look = f'fill="none" stroke="{color}"' if ring else f'fill="{color}"'
        self.parts.append(f'<circle cx="{self.x_pixel(x):.1f}" cy="{self.y_pixel(y):.1f}" r="{radius}" {look}/>')

    def label(self, x, y, words, color="#333333", dx=6, dy=4, anchor="start", size=11):
        """Words beside a point, dx and dy pixels off."""
        more = f'fill="{color}" font-size="{size}" text-anchor="{anchor}"'
        self._text(self.x_pixel(x) + dx, self.y_pixel(y) + dy, words, more)

    def pointed_label(self, x, y, words, at_x, at_y, color="#333333", size=9):
        """Words that end at a pixel left of a point, and a thin line from them to it."""
        line = f"M{at_x + 3:.1f} {at_y - 3:.1f}L{self.x_pixel(x) - 4:.1f} {self.y_pixel(y):.1f}"
        self.parts.append(f'<path d="{line}" stroke="#cccccc"/>')
        self._text(at_x, at_y, words, f'fill="{color}" font-size="{size}" text-anchor="end"')

    def legend(self, names):
        """Pairs (name, color) above the chart; a color in brackets, (color,), gives a ring."""
        x = LEFT
        for name, color in names:
            ring = isinstance(color, tuple)
            color = color[0] if ring else color
            fill = "none" if ring else color
            self.parts.append(f'<circle cx="{x}" cy="{TOP - 14}" r="4" fill="{fill}" stroke="{color}"/>')
            self._text(x + 9, TOP - 10, name)
            x += 30 + 6.5 * len(name)

    def svg(self):
        """The whole file."""
        return "\n".join(self.parts + ["</svg>"]) + "\n"
