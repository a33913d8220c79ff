"""HTML tables for the pages that make theirs from records or from what tests have measured.

Pages import it by its name: `conf.py` puts this folder on the path of their kernels. Cells are
HTML; `code` and `words` escape text.
"""

import html
import re
from pathlib import Path

from IPython.display import HTML

ROOT = Path(__file__).parents[1]


def fragment(path):
    """The lines of a file of the repository: pages are executed somewhere else."""
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def code(text):
    """Text as code that may break after an underscore."""
    return f"<code>{html.escape(str(text)).replace('_', '_<wbr>')}</code>"


def words(text):
    """Text as words, with x^2 as a power."""
    return re.sub(r"\^(\d)", r"<sup>\1</sup>", html.escape(str(text)))


def prior(record):
    """The default prior of a family's record, in which words stand for numbers of the data."""
    if record is None:
        return "–"
    name, args = record
    inner = ", ".join(a if isinstance(a, str) else f"{a:g}" for a in args)
    return code(f"{name}({inner})")


def elsewhere(family, package):
    """What another package calls a family: ✓ for the same name, – where it has none."""
    names = [name for where, name in family.elsewhere if where == package]
    return ", ".join("✓" if name == family.name else code(name) for name in names) or "–"


def table(head, rows):
    """A table of these cells."""
    cells = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return HTML(
        f'<table class="table records"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>'
    )
