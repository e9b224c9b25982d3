"""A table of figures of two servers, in which one sees at once where the second one needs more."""
import collections

from figures import ratio, spread

# Beside a ratio over 1.0.
MARK = "▲"


class Table:
    """Figures of two servers by row, in the order in which rows came. The second server is compared with the first."""

    def __init__(self, title, heads, names, form):
        self.title, self.heads, self.names, self.form = title, heads, names, form
        self.figures = collections.defaultdict(lambda: {name: [] for name in names})
        self.reasons = {}

    def add(self, row, server, figure):
        self.figures[row][server.name].append(figure)

    def leave_out(self, reason, *row):
        """Says why there are no figures of a row, or of all rows that begin so."""
        self.reasons[row] = reason

    def is_left_out(self, *row):
        return row in self.reasons

    def ratio(self, row):
        base, other = (self.figures[row][name] for name in self.names)
        return round(ratio(other, base), 2)

    def rows(self):
        yield "| " + " | ".join([*self.heads, *self.names, "x"]) + " |"
        yield "|" + " --- |" * len(self.heads) + " ---: |" * (len(self.names) + 1)
        for row, figures in self.figures.items():
            times = self.ratio(row)
            cells = [spread(figures[name], self.form) for name in self.names]
            cells.append(f"**{times:.2f} {MARK}**" if times > 1 else f"{times:.2f}")
            yield "| " + " | ".join([*row, *cells]) + " |"

    def verdict(self):
        """Which rows are over 1.0, the worst first."""
        over = sorted((row for row in self.figures if self.ratio(row) > 1), key=self.ratio, reverse=True)
        if not over:
            return f"None of {len(self.figures)} is over 1.0."
        rows = "; ".join(f"{', '.join(row)} **{self.ratio(row):.2f}**" for row in over)
        return f"{MARK} {len(over)} of {len(self.figures)} are over 1.0: {rows}."

    def markdown(self):
        parts = [f"**{self.title}**", ""]
        parts += [self.verdict(), "", *self.rows(), ""] if self.figures else ["No figures.", ""]
        parts += [f"- Not measured: {', '.join(row)}, since {reason}." for row, reason in self.reasons.items()]
        return "\n".join([*parts, ""] if self.reasons else parts)
