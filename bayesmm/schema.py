"""Columns, levels and groups: what a model remembers of its data, and the one way to read a frame.

`read_frame` turns any dataframe that narwhals reads into a pandas frame of the used columns in
four plain kinds (float64, int64, bool, ordered category), refuses what no model can use, and drops
incomplete rows. `Schema` is what prediction must know of the training columns, and `Grouping` maps
rows to the levels of a grouping factor; both are plain data, compared by value and kept as text
in a saved fit.

To support another kind of column, extend `_plain_column` (what it becomes) and `as_labels` (how
its values are named when it is a grouping factor).
"""

import decimal
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd

from bayesmm.errors import DataError, did_you_mean, listing, warn

Label = int | str
Missing = Literal["drop", "error"]


@dataclass(frozen=True)
class Column:
    """A used column: its name, its kind, and the levels of a category in their order."""

    name: str
    kind: Literal["number", "bool", "category"]
    levels: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Grouping:
    """A grouping factor, or the cells of several that occur together in the data.

    Attributes
    ----------
    factors : tuple of str
        The columns: ``("Subject",)``, or ``("a", "b")`` for ``a:b``.
    cells : tuple of tuple of (int or str)
        For each level its label in every factor, in the order of the levels.
    """

    factors: tuple[str, ...]
    cells: tuple[tuple[Label, ...], ...]

    @property
    def name(self) -> str:
        """The group's name: its factors joined by a colon."""
        return ":".join(self.factors)

    @property
    def labels(self) -> tuple[Label, ...]:
        """One label a level; those of an interaction are joined by a colon."""
        if len(self.factors) == 1:
            return tuple(cell[0] for cell in self.cells)
        return tuple(":".join(str(part) for part in cell) for cell in self.cells)

    def index(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the level of each row, -1 where the model has not seen it.

        Parameters
        ----------
        frame : pandas.DataFrame
            With the columns in `factors`, as `read_frame` returns them.

        Returns
        -------
        numpy.ndarray
            Shape (rows,), int32.
        """
        codes = np.zeros(len(frame), dtype=np.int64)
        known_codes = np.zeros(len(self.cells), dtype=np.int64)
        unseen = np.zeros(len(frame), dtype=bool)
        for position, factor in enumerate(self.factors):
            known = pd.Index([cell[position] for cell in self.cells], dtype=object)
            distinct = known.unique()
            code = _codes(pd.Series(frame[factor]), distinct)
            unseen |= code < 0
            codes = codes * len(distinct) + code
            known_codes = known_codes * len(distinct) + distinct.get_indexer(known)
        level = pd.Index(known_codes).get_indexer(pd.Index(codes)).astype(np.int32)
        level[unseen] = -1
        return level


@dataclass(frozen=True)
class Schema:
    """What prediction must remember of the training data, without its rows."""

    columns: tuple[Column, ...]
    groupings: tuple[Grouping, ...]

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(c for c in self.columns if c.name == name)

    def grouping(self, name: str) -> Grouping:
        """Return the grouping of that name, such as ``"Subject"`` or ``"a:b"``."""
        return next(g for g in self.groupings if g.name == name)


@dataclass(frozen=True)
class Frame:
    """The used columns of complete rows, and the row labels they had.

    Attributes
    ----------
    columns : pandas.DataFrame
        float64, int64, bool or ordered category columns with a range index.
    index : numpy.ndarray
        The row labels of the caller's frame, shape (rows,).
    dropped : int
        How many incomplete rows were left out.
    unused : dict of str to tuple of str
        Levels of category columns that no row has.
    unordered : dict of str to str
        Columns of categories that nobody gave an order: ``"text"``, or ``"category"`` for a
        category column that is not declared to be ordered.
    """

    columns: pd.DataFrame
    index: np.ndarray
    dropped: int = 0
    unused: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unordered: dict[str, str] = field(default_factory=dict)


def read_frame(
    data: Any,
    variables: Sequence[str],
    *,
    labels_only: Container[str] | None = None,
    optional: Container[str] = (),
    missing: Missing = "drop",
    called: str = "data",
) -> Frame:
    """Read the used columns of a dataframe.

    Parameters
    ----------
    data : dataframe
        Any eager dataframe that narwhals reads (pandas, polars, pyarrow).
    variables : sequence of str
        The columns to read.
    labels_only : container of str, optional
        The columns that serve as grouping factors alone, where times and dates are labels; in
        others they are refused. Left out, every column may be a label.
    optional : container of str
        Columns in which a value may be missing; it is NaN then.
    missing : {"drop", "error"}
        What to do with rows that have a missing value in a used column.
    called : str
        The argument that the rows came in: ``"data"``, those that a model is made for, or another.

    Returns
    -------
    Frame

    Raises
    ------
    DataError
        For anything but a dataframe, an unknown or doubled column, an empty table, infinite
        values, no complete row, or (with ``missing="error"``) any incomplete one.
    """
    if missing not in ("drop", "error"):
        raise DataError(f"missing={missing!r} is not a choice. Write missing='drop' or 'error'.")
    frame = _narwhals_frame(data)
    if isinstance(data, pd.DataFrame):
        index = data.index
        if isinstance(index, pd.MultiIndex):
            index = pd.RangeIndex(len(index))
    else:
        index = pd.RangeIndex(len(frame))
    training = called == "data"
    unknown = [v for v in variables if v not in frame.columns]
    if unknown:
        hint = did_you_mean(unknown[0], frame.columns)
        there = f"The columns are {listing(frame.columns, 20)}." if frame.columns else ""
        if not training:  # the formula is right, and the column is misspelt
            hint = hint.replace("Did you mean", f"Is {unknown[0]!r} what is called")
        raise DataError(
            f"The formula uses {listing(unknown)}, which "
            f"{'the data do' if training else f'{called} does'} not have.{hint} {there}".rstrip()
        )
    if len(frame) == 0:
        few = " A model needs at least a few." if training else " Give at least one."
        raise DataError(f"{called} has no rows.{few}")
    labels = variables if labels_only is None else labels_only
    columns = {name: _plain_column(name, frame[name], name in labels) for name in variables}
    incomplete = np.zeros(len(frame), dtype=bool)
    for name, column in columns.items():
        empty = column.isna().to_numpy()
        if training and empty.all() and name not in optional:
            raise DataError(f"Column {name!r} has no value: every row is missing.")
        if name not in optional:
            incomplete |= empty
    n_missing = int(incomplete.sum())
    if n_missing:
        named = [n for n, c in columns.items() if c.isna().any() and n not in optional]
        what = f"{n_missing} of {len(frame)} rows have a missing value in {listing(named)}"
        if not training:
            label = any(name in labels for name in named)
            new = " A row without a label can be a new cluster: say what that is." if label else ""
            raise DataError(f"{called}: {what}. Fill or drop them first.{new}")
        if missing == "error":
            raise DataError(f"{what}, and missing='error' refuses them. Fill or drop them first.")
        if n_missing == len(frame):
            raise DataError(f"{what}: no complete row is left.")
        warn(f"{what} and are left out.")
    kept = ~incomplete
    complete = {name: pd.Series(column[kept]) for name, column in columns.items()}
    table = pd.DataFrame(
        {name: _tidy(column.reset_index(drop=True)) for name, column in complete.items()},
        index=pd.RangeIndex(int(kept.sum())),
    )
    for name in table.columns:
        if table[name].dtype.kind == "f" and np.isinf(table[name].to_numpy()).any():
            row = int(np.argmax(np.isinf(table[name].to_numpy())))
            raise DataError(
                f"Column {name!r} has an infinite value ({table[name][row]} in row "
                f"{index[kept].tolist()[row]!r}). Replace it or drop the row."
            )
    unused = {name: _unused(frame[name], pd.Series(table[name])) for name in variables}
    unused = {name: levels for name, levels in unused.items() if levels}
    kinds = {name: _lack_of_order(frame[name], pd.Series(table[name])) for name in variables}
    unordered = {name: kind for name, kind in kinds.items() if kind}
    return Frame(table, _row_labels(index[kept]), n_missing, unused, unordered)


def column_names(data: Any) -> list[str]:
    """Return the names of a dataframe's columns."""
    return list(_narwhals_frame(data).columns)


def as_pandas(data: Any) -> pd.DataFrame:
    """Return a copy of a dataframe (pandas, polars, pyarrow) as pandas, its index kept."""
    if isinstance(data, pd.DataFrame):
        return _narwhals_frame(data).to_native().copy()
    return _narwhals_frame(data).to_pandas()


def read_schema(frame: Frame, groups: Iterable[tuple[str, ...]]) -> Schema:
    """Return the schema of a training frame: kinds and levels of its columns and groups.

    Parameters
    ----------
    frame : Frame
        The training data.
    groups : iterable of tuple of str
        The factors of each grouping, in order of first use.

    Raises
    ------
    DataError
        For a grouping with one level, or with levels that cannot be told apart by their labels.
    """
    columns = []
    for name in frame.columns.columns:
        series = frame.columns[name]
        if isinstance(series.dtype, pd.CategoricalDtype):
            levels = tuple(series.cat.categories.tolist())
            columns.append(Column(name, "category", levels))
        else:
            columns.append(Column(name, "bool" if series.dtype == bool else "number"))
    return Schema(tuple(columns), tuple(_grouping(frame.columns, g) for g in groups))


def as_labels(series: pd.Series) -> pd.Categorical:
    """Return a grouping column as a category with labels that are all int or all str.

    The level order of a category is kept; other columns are sorted by value. Whole numbers stay
    whole numbers, and everything else is named by its text.
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        return pd.Categorical(series)
    codes, levels = pd.factorize(series.to_numpy(), sort=True)
    if levels.dtype.kind == "f" and np.all(levels == np.floor(levels)):
        levels = levels.astype(np.int64)
    if levels.dtype.kind not in "iu":
        levels = [str(level) for level in levels]
    return pd.Categorical.from_codes(codes, categories=pd.Index(levels))


def labels_like(series: pd.Series, known: Label) -> pd.Categorical:
    """Return the labels of other rows, of the kind that the model has.

    Among fractions numbers are named by their text, and then whole numbers are too.
    """
    if isinstance(known, str) and series.dtype.kind in "iuf":
        return pd.Categorical(series.astype(float).map(str, na_action="ignore"))
    return as_labels(series)


def _codes(series: pd.Series, levels: pd.Index) -> np.ndarray:
    """Position of each row's label among `levels`, -1 where there is none."""
    labels = labels_like(series, levels[0])
    position = levels.get_indexer(pd.Index(labels.categories, dtype=object))
    return np.append(position, -1)[np.asarray(labels.codes)]


def _grouping(frame: pd.DataFrame, factors: tuple[str, ...]) -> Grouping:
    parts = [as_labels(pd.Series(frame[factor])) for factor in factors]
    combined = np.zeros(len(frame), dtype=np.int64)
    for part in parts:
        combined = combined * len(part.categories) + part.codes
    _, first_row = np.unique(combined, return_index=True)
    # First rows come in the order of the combined codes, which is that of the levels.
    labels = [part.categories.take(np.asarray(part.codes)[first_row]).tolist() for part in parts]
    cells = tuple(zip(*labels, strict=True))
    grouping = Grouping(factors, cells)
    name = grouping.name
    if len(cells) == 1:
        raise DataError(
            f"The group {name!r} has one level ({grouping.labels[0]!r}), so its standard deviation "
            f"cannot be known. Leave (... | {name}) out, or use a grouping with more levels."
        )
    if len({str(label) for label in grouping.labels}) < len(cells):
        raise DataError(
            f"Two levels of the group {name!r} have the same label. Rename levels so that their "
            "texts (joined by ':' in an interaction) differ."
        )
    return grouping


def _narwhals_frame(data: Any) -> nw.DataFrame:
    if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
        doubled = data.columns[data.columns.duplicated()].unique().tolist()
        raise DataError(f"data has two columns of the same name: {listing(doubled)}. Rename one.")
    if isinstance(data, pd.DataFrame):
        data = data.rename(columns=str)
    try:
        return nw.from_native(data, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"data has two columns of the same name. Rename one. ({error})") from error
    except TypeError as error:
        raise DataError(
            f"data is a {type(data).__name__}. Pass a dataframe that is in memory "
            "(pandas, polars or pyarrow); collect a lazy one first."
        ) from error


def _plain_column(name: str, series: nw.Series, is_label: bool) -> pd.Series:
    """One column as pandas: numbers, bools, or an ordered category; missing values kept."""
    if series.dtype.is_temporal() and not is_label:
        raise DataError(
            f"Column {name!r} holds times ({series.dtype}), which are neither numbers nor labels. "
            "Make a number of it first, such as days since the start."
        )
    native = series.to_native()
    if isinstance(native, pd.Series):
        values = native.reset_index(drop=True)
    elif isinstance(series.dtype, nw.Enum):
        values = pd.Series(
            pd.Categorical(series.to_list(), categories=list(series.dtype.categories))
        )
    elif isinstance(series.dtype, nw.Categorical) and series.implementation.is_pyarrow():
        values = native.to_pandas()  # as a category, with the order of the dictionary
    elif series.dtype.is_numeric():
        filled = series.to_list() if series.is_null().any() else series.to_numpy()
        values = pd.Series(filled, dtype=None if not series.is_null().any() else "Float64")
    else:
        values = pd.Series(series.to_list(), dtype=None if len(series) else object)
    if isinstance(values.dtype, pd.CategoricalDtype):
        return _category(name, values, values.cat.categories.tolist())
    if pd.api.types.is_bool_dtype(values.dtype):
        return values
    if pd.api.types.is_complex_dtype(values.dtype):
        raise DataError(f"Column {name!r} holds complex numbers. Use real ones.")
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or values.dtype.kind == "m":
        levels = values.dropna().sort_values().astype(str).unique().tolist()
        return _category(name, values.astype(str).where(values.notna()), levels)
    present = values.dropna()
    kinds = {type(value) for value in present}
    if kinds and kinds <= {bool, np.bool_}:
        return values.astype("boolean")
    numeric = (int, float, np.number, decimal.Decimal)
    if kinds and all(issubclass(k, numeric) and k is not bool for k in kinds):
        return values.map(float, na_action="ignore").astype("Float64")
    if any(not isinstance(value, str | int | float | bool | np.generic) for value in present):
        values = values.map(str, na_action="ignore")
    return _category(name, values, None)


def _category(name: str, values: pd.Series, levels: list | None) -> pd.Series:
    """An ordered category with labels that are all int or all str, and no unused level."""
    present = values.dropna()
    if levels is None:
        distinct = list(dict.fromkeys(present.tolist()))
        try:
            levels = sorted(distinct)
        except TypeError:  # values of several types: sort by their texts
            levels = sorted(distinct, key=str)
    used = set(present.tolist())
    levels = [level for level in levels if level in used]
    whole = all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in levels)
    labels = [int(x) if whole else str(x) for x in levels]
    if len(set(labels)) < len(labels):
        raise DataError(
            f"Column {name!r} has two levels with the same text. Rename one of them: "
            f"{listing(sorted({x for x in labels if labels.count(x) > 1}))}."
        )
    codes = pd.Index(levels, dtype=object).get_indexer(pd.Index(values, dtype=object))
    return pd.Series(pd.Categorical.from_codes(codes, categories=labels, ordered=True))


def _tidy(column: pd.Series) -> pd.Series:
    """A complete column in its NumPy type, without unused levels."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.remove_unused_categories()
    if pd.api.types.is_bool_dtype(column.dtype):
        if column.isna().any():  # a label, which alone may be missing
            return pd.Series(pd.Categorical(column.map(str, na_action="ignore")))
        return column.astype(bool)
    if column.isna().any():
        return column.astype(np.float64)
    if pd.api.types.is_integer_dtype(column.dtype) and column.max() <= np.iinfo(np.int64).max:
        return column.astype(np.int64)
    return column.astype(np.float64)


def _unused(series: nw.Series, column: pd.Series) -> tuple[str, ...]:
    """Levels that a category column declares, in its order, and no complete row has."""
    native = series.to_native()
    declared: list = []
    if isinstance(series.dtype, nw.Enum):
        declared = list(series.dtype.categories)
    elif isinstance(native, pd.Series) and isinstance(native.dtype, pd.CategoricalDtype):
        declared = native.cat.categories.tolist()
    if not declared or not isinstance(column.dtype, pd.CategoricalDtype):
        return ()
    used = {str(level) for level in column.cat.categories}
    return tuple(str(level) for level in declared if str(level) not in used)


def _lack_of_order(series: nw.Series, column: pd.Series) -> str:
    """``"text"`` or ``"category"`` for categories whose order nobody gave, else nothing."""
    if not isinstance(column.dtype, pd.CategoricalDtype) or isinstance(series.dtype, nw.Enum):
        return ""
    native = series.to_native()
    if isinstance(native, pd.Series) and isinstance(native.dtype, pd.CategoricalDtype):
        return "" if native.cat.ordered else "category"
    return "category" if isinstance(series.dtype, nw.Categorical) else "text"


def _row_labels(index: pd.Index) -> np.ndarray:
    """Row labels that any file format can hold: numbers, dates or texts."""
    values = index.to_numpy()
    if values.dtype.kind in "iufM":
        return values
    return np.asarray([str(value) for value in values], dtype=str)
