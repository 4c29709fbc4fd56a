"""How things print: parts on one line, and tables of words as text, as Markdown and as HTML."""

import html
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

WIDTH = 130  # columns of text
DASH = "-"  # in place of a number that does not exist
#: Letters of a cell that a notebook keeps on one line.
_MOST_LETTERS = 32
#: Entries of an array that is still printed whole; steps and states of a contract that are shown.
_MOST_ENTRIES, _MOST_STEPS, _MOST_STATES = 8, 20, 12


class Table(NamedTuple):
    """Words in rows and columns, and what is to be said of them."""

    title: str
    headings: Sequence[str]  # a line break counts in text alone; none for rows without headings
    rows: Sequence[Sequence[str]]
    num_names: int | None = None  # columns that name a row and stand to the left; all by default
    notes: Sequence[str] = ()
    is_grouped: bool = False  # text has a blank line where the first column changes

    def text(self) -> str:
        """Aligned plain text."""
        about = "\n".join(textwrap.fill(note, WIDTH) for note in self.notes)
        apart = "\n\n" if self.headings else "\n"
        return apart.join(part for part in (self.title, self._aligned(), about) if part)

    def markdown(self) -> str:
        """Rows between pipes."""
        marks = [":---" if is_name else "---:" for is_name in self._are_names()]
        body = [[cell.replace("|", "\\|") for cell in row] for row in self.rows]
        lines = ["| " + " | ".join(row) + " |" for row in (self._one_line(), marks, *body)]
        title = f"**{self.title}**" if self.title else ""
        return "\n\n".join(part for part in (title, "\n".join(lines), *self.notes) if part)

    def html(self) -> str:
        """A heading, a table and paragraphs."""
        title = f"<h4>{html.escape(self.title)}</h4>" if self.title else ""
        head = f"<thead>{self._html_row('th', self._one_line())}</thead>" if self.headings else ""
        body = "\n".join(self._html_row("td", row) for row in self.rows)
        table = f"<table>\n{head}\n<tbody>\n{body}\n</tbody>\n</table>"
        about = (f"<p><small>{html.escape(note)}</small></p>" for note in self.notes)
        return "\n".join(part for part in (title, table, *about) if part)

    def _are_names(self) -> list[bool]:
        """Of each column, whether it names rows."""
        columns = max(len(row) for row in (self.headings, *self.rows))
        return [self.num_names is None or i < self.num_names for i in range(columns)]

    def _one_line(self) -> list[str]:
        return [" ".join(heading.split()) for heading in self.headings]

    def _html_row(self, tag: str, cells: Sequence[str]) -> str:
        found = []
        for is_name, cell in zip(self._are_names(), cells, strict=True):
            side = "left" if is_name else "right"
            space = "nowrap" if tag == "td" and len(cell) <= _MOST_LETTERS else "normal"
            style = f"text-align: {side}; white-space: {space}"
            found.append(f'<{tag} style="{style}">{html.escape(cell)}</{tag}>')
        return f"<tr>{''.join(found)}</tr>"

    def _aligned(self) -> str:
        """Names to the left and numbers to the right, between rules if there are headings."""
        split = [heading.split("\n") for heading in self.headings]
        depth = max(map(len, split), default=0)
        top = [list(line) for line in zip(*(x + [""] * (depth - len(x)) for x in split))]  # noqa: B905
        widths = [max(map(len, column)) for column in zip(*top, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            at = zip(cells, widths, self._are_names(), strict=True)
            put = (x.ljust(width) if is_name else x.rjust(width) for x, width, is_name in at)
            return "  ".join(put).rstrip()

        rule = ["-" * (sum(widths) + 2 * (len(widths) - 1))] if top else []
        body, before = [], None
        for row in self.rows:
            if self.is_grouped and before not in (None, row[0]):
                body.append("")
            body.append(line(row))
            before = row[0]
        return "\n".join([*map(line, top), *rule, *body, *rule])


def text(tables: Iterable[Table]) -> str:
    """Tables as plain text, one below another."""
    return "\n\n".join(table.text() for table in tables)


def markdown(tables: Iterable[Table]) -> str:
    """The same in Markdown."""
    return "\n\n".join(table.markdown() for table in tables)


def to_html(tables: Iterable[Table]) -> str:
    """The same in HTML, as a notebook shows it."""
    return "\n".join(table.html() for table in tables)


def of_transfers(title: str, transfer: Any, target: Any) -> Table:
    """What a contract pays: a row for each step, a column for each state.

    Args:
      title: of the table.
      transfer: [H, S, A, ...]; of lanes the first is shown.
      target: int [H, S, ...].
    """
    lanes = np.shape(transfer)[3:]
    paid, meant = (first_lane(table, len(lanes)) for table in (transfer, target))
    steps, states = min(len(paid), _MOST_STEPS), min(paid.shape[1], _MOST_STATES)
    rows = [
        [f"{h}", *(_payments(paid[h, s], meant[h, s]) for s in range(states))] for h in range(steps)
    ]
    notes = ["Action: amount, where something is paid; the target in brackets."]
    if lanes:
        notes.append(f"The first of lanes {lanes}.")
    if (steps, states) != paid.shape[:2]:
        notes.append(f"The first {steps} of {len(paid)} steps, {states} of {paid.shape[1]} states.")
    return Table(title, ["step", *(f"state {s}" for s in range(states))], rows, notes=notes)


def _payments(amounts: np.ndarray, target: int) -> str:
    """What is paid in one state, by action."""
    names = {a: f"[{a}]" if a == target else f"{a}" for a in range(len(amounts))}
    shown = [a for a in names if a == target or amounts[a] > 0]
    return ", ".join(f"{names[a]}: {amounts[a]:.3g}" for a in shown) or DASH


def first_lane(table: Any, num_lanes: int) -> np.ndarray:
    """A table without its trailing lane axes, of which the first lane is taken."""
    return np.asarray(table)[(..., *[0] * num_lanes)]


def on_one_line(self: Any, fields: Iterable[str]) -> str:
    """`Name(field=value, ...)`, with functions by name, so that it is the same in every process."""
    shown = (f"{name}={brief(getattr(self, name))}" for name in fields)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def of_fields(self: Any) -> str:
    """What a NamedTuple of arrays prints as."""
    return on_one_line(self, self._fields)


def brief(value: Any) -> str:
    """A value; of a large array its type, shape and range."""
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    if not hasattr(value, "dtype") or isinstance(value, Tracer) or _is_key(value):
        return repr(value)
    if value.size <= _MOST_ENTRIES:
        return np.array2string(np.asarray(value), separator=", ", precision=4)
    about = f"{value.dtype}{list(value.shape)}"
    if np.issubdtype(value.dtype, np.number):
        about += f" from {np.min(value):.4g} to {np.max(value):.4g}"
    return about


def _is_key(value: Any) -> bool:
    """Whether it is an array of random keys, which NumPy does not know."""
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
