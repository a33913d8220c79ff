"""The data sets of the examples, the docs and the tests: real data, with their citations.

`load` gives a table, `names` lists them, `describe` says what is in one and whom to cite.

A table is stored as it was exported from its source (``tables/<name>.csv.gz``), and
``catalogue.toml`` says what the text cannot: the meaning and the kind of each column, the order of
levels, the study. To add a data set, write ``tables/<name>.csv.gz`` with
``gzip.compress(text, 9, mtime=0)`` (without a time stamp the same table is always the same bytes)
and give it an entry in the catalogue, with the columns in the order of the file. No code changes,
and the tests find it by themselves. Cite the study, and not only the package it came with.
"""

import gzip
import re
import textwrap
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast, final

import pandas as pd

from bayesmm.errors import DataError, did_you_mean, listing

__all__ = ["Column", "Description", "describe", "load", "names"]

Kind = Literal["real", "integer", "category"]
_DTYPES: dict[Kind, str] = {"real": "float64", "integer": "int64"}


@final
@dataclass(frozen=True)
class Column:
    """A column of a data set.

    Attributes
    ----------
    name : str
        Its name in the table.
    kind : {"real", "integer", "category"}
        What it holds. A category is a factor in the source.
    meaning : str
        What it says, with the unit where there is one.
    levels : tuple of str
        The levels of a category whose order is not the natural one; otherwise empty.
    ordered : bool
        Whether the source holds an ordered factor.
    """

    name: str
    kind: Kind
    meaning: str
    levels: tuple[str, ...] = ()
    ordered: bool = False


@final
@dataclass(frozen=True, repr=False)
class Description:
    """What is in a data set, and whom to cite. It prints as text.

    Attributes
    ----------
    name, title : str
        The name that `load` takes, and what the data are in a few words.
    rows : int
        How many rows it has.
    columns : tuple of Column
        Its columns, in their order.
    citation : str
        The study that the data come from.
    source : str
        The collection that the table was taken from, and its name there.
    """

    name: str
    title: str
    rows: int
    columns: tuple[Column, ...]
    citation: str
    source: str

    def __repr__(self) -> str:
        kinds = ["ordered category" if c.ordered else c.kind for c in self.columns]
        name_width = max(len(c.name) for c in self.columns)
        kind_width = max(map(len, kinds))
        lines = [f"{self.name}: {self.title}", f"{self.rows} rows, {len(self.columns)} columns", ""]
        lines += [
            f"  {c.name:<{name_width}}  {kind:<{kind_width}}  {c.meaning}"
            + (f" ({', '.join(c.levels)})" if c.levels else "")
            for c, kind in zip(self.columns, kinds, strict=True)
        ]
        cite = textwrap.fill(
            f"Cite: {self.citation}", 88, subsequent_indent="      ", break_on_hyphens=False
        )
        return "\n".join([*lines, "", cite, f"From: {self.source}"])


def names() -> list[str]:
    """Return the names of the data sets, sorted.

    Examples
    --------
    >>> import bayesmm as bm
    >>> bm.datasets.names()[:5]
    ['arabidopsis', 'bacteria', 'cake', 'cbpp', 'contraception']
    """
    return sorted(_catalogue())


def describe(name: str) -> Description:
    """Say what is in a data set, and whom to cite.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Description
        Rows, columns with their kinds and meanings, citation and source; it prints as text.

    Raises
    ------
    DataError
        If there is no such data set.

    Examples
    --------
    >>> import bayesmm as bm
    >>> bm.datasets.describe("cbpp")
    cbpp: Contagious bovine pleuropneumonia in Ethiopian herds
    56 rows, 4 columns
    <BLANKLINE>
      herd       category  herd
      incidence  integer   new serological cases in the period
      size       integer   animals in the herd at the start of the period
      period     category  time period: 1 to 4
    <BLANKLINE>
    Cite: Lesnoff, M., Laval, G., Bonnet, P., Abdicho, S., Workalemahu, A., Kifle, D.,
          Peyraud, A., Lancelot, R. and Thiaucourt, F. (2004). Within-herd spread of
          contagious bovine pleuropneumonia in Ethiopian highlands. Preventive Veterinary
          Medicine 64, 27-40.
    From: lme4 (R), cbpp
    """
    catalogue = _catalogue()
    if not isinstance(name, str) or name not in catalogue:
        raise DataError(
            f"name: there is no data set {name!r}.{did_you_mean(str(name), catalogue)} "
            f"The data sets are {listing(names(), most=len(catalogue))}."
        )
    return catalogue[name]


def load(name: str) -> pd.DataFrame:
    """Read a data set.

    Columns that are factors in the source are categories with text levels, in the order of the
    source where it carries a meaning and otherwise in natural order ("9" before "10"). Group labels
    that the source holds as numbers stay numbers (``describe`` says which).

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    pandas.DataFrame
        A table of your own: changing it changes nothing here.

    Raises
    ------
    DataError
        If there is no such data set.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> data.head(2)
       Reaction  Days Subject
    0  249.5600     0     308
    1  258.7047     1     308
    >>> data["Subject"].cat.categories[:3].tolist()
    ['308', '309', '310']
    """
    columns = describe(name).columns
    packed = files(__name__).joinpath("tables", f"{name}.csv.gz")
    with packed.open("rb") as raw, gzip.open(raw, "rt", encoding="utf-8", newline="") as text:
        # As text first: no label is taken for a number or a missing value, and numbers are
        # converted to the nearest float by every version of pandas.
        frame = pd.read_csv(text, dtype=str, keep_default_na=False)
    for c in columns:
        values = frame[c.name]
        if c.kind == "category":
            levels = list(c.levels) or sorted(values.unique(), key=_natural)
            frame[c.name] = pd.Categorical(values, categories=levels, ordered=c.ordered)
        else:
            frame[c.name] = values.astype(_DTYPES[c.kind])
    return frame


@cache
def _catalogue() -> dict[str, Description]:
    text = files(__name__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: _description(name, entry) for name, entry in tomllib.loads(text).items()}


def _description(name: str, entry: dict[str, Any]) -> Description:
    columns = tuple(
        Column(
            column,
            cast(Kind, about["kind"]),
            about["meaning"],
            tuple(about.get("levels", ())),
            about.get("ordered", False),
        )
        for column, about in entry["columns"].items()
    )
    return Description(
        name, entry["title"], entry["rows"], columns, entry["citation"], entry["source"]
    )


def _natural(level: str) -> tuple[list[str | int], str]:
    """Sort runs of digits as numbers and letters without case, as R's factors come out."""
    runs = re.split(r"([0-9]+)", level.casefold())
    return [int(run) if i % 2 else run for i, run in enumerate(runs)], level
