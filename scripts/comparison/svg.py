"""A little SVG: shapes and text, a linear and a logarithmic scale."""

import html
import math

COLOURS = {
    "native": "#7a7a7a",
    "page": "#d95f02",
    "hints-1": "#c9a227",
    "hints-2": "#a5a82f",
    "hints-3": "#7fa93e",
    "hints-4": "#4ea45a",
    "hinted": "#1b9e77",
    "owned": "#6a5acd",
    "message": "#a6761d",
}


class Drawing:
    def __init__(self, width, height, title):
        self.width, self.height, self.title = width, height, title
        self.parts = []

    def line(self, x1, y1, x2, y2, colour="#999", width=1.0, dash=""):
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width}"{dashes}/>'
        )

    def path(self, points, colour, width=2.0):
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def bar(self, x, y, width, height, colour, tip=""):
        inside = f"<title>{html.escape(tip)}</title>" if tip else ""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" '
            f'fill="{colour}">{inside}</rect>'
        )

    def dot(self, x, y, colour, tip):
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{html.escape(tip)}</title></circle>'
        )

    def text(self, x, y, words, anchor="start", size=12, colour="#222", bold=False):
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{weight}>'
            f"{html.escape(words)}</text>"
        )

    def done(self):
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{html.escape(self.title)}">' + "".join(self.parts) + "</svg>"
        )


class LogScale:
    """Values to positions, by decades; whole decades if they are few, else the range with some room."""

    def __init__(self, low, high, begin, end):
        self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
        if self.high == self.low:
            self.high += 1
        self.begin, self.end = begin, end

    def at(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self):
        return [10.0**power for power in range(self.low, self.high + 1)]
