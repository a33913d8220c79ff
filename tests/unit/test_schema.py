"""Any dataframe becomes the same model; what no model can use is refused; labels stay labels."""

import datetime
import decimal
import time
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bayesmm.errors import BayesmmWarning, DataError
from bayesmm.prepare import prepare
from bayesmm.schema import as_labels, read_frame, read_schema

N = 12


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "k": np.resize([0, 2, 1, 1, 0], N),
            "flag": np.resize([True, False, False], N),
            "s": np.resize(["b", "a", "c", "b", "b", "c", "a"], N),
            "f": pd.Categorical(
                np.resize(["lo", "mid", "hi", "hi", "mid"], N),
                categories=["lo", "never", "mid", "hi"],
            ),
            "g": np.repeat(list("zyxw"), 3),
        }
    )


def with_missing(frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.assign(s=frame["s"].astype(object), k=frame["k"].astype(float))
    frame.loc[2, "x"] = np.nan
    frame.loc[2, "s"] = None
    frame.loc[5, "k"] = np.nan
    return frame


def levels(frame, column="h", missing="drop"):
    """The labels of a grouping column."""
    read = read_frame(frame, [column], missing=missing)
    return read_schema(read, [(column,)]).groupings[0].labels


# --- The same model from every kind of dataframe ---


def polars(frame: pd.DataFrame) -> pl.DataFrame:
    enum = pl.Enum(frame["f"].cat.categories.tolist())
    return pl.from_pandas(frame).with_columns(pl.col("f").cast(pl.String).cast(enum))


def arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def nullable(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.convert_dtypes()


def backed_by_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.convert_dtypes(dtype_backend="pyarrow")


KINDS = [polars, arrow, nullable, backed_by_arrow]


@pytest.mark.parametrize("convert", KINDS)
def test_same_model_from_every_frame(frame, convert):
    formula = "y ~ x + k + flag + s + f + (1 + x | g) + (1 | s)"
    known, same = prepare(formula, frame), prepare(formula, convert(frame))
    assert same.spec == known.spec
    assert same.fingerprint == known.fingerprint
    np.testing.assert_array_equal(same.design.predictors[0].X, known.design.predictors[0].X)
    assert known.spec.layout[0].coefs == (
        "Intercept",
        "x",
        "k",
        "flag",
        "s[b]",
        "s[c]",
        "f[mid]",
        "f[hi]",
    )


@pytest.mark.parametrize("convert", KINDS)
def test_same_rows_left_out_of_every_frame(frame, convert):
    formula = "y ~ x + k + s + f + (1 | g)"
    frame = with_missing(frame)
    for given in (frame, convert(frame)):
        with pytest.warns(BayesmmWarning, match=r"2 of 12 rows .*'x', 'k', 's'") as caught:
            prepared = prepare(formula, given)
        assert len(caught) == 1
        assert prepared.frame.dropped == 2
        np.testing.assert_array_equal(
            prepared.response.values, frame["y"].drop(index=[2, 5]).to_numpy()
        )


def test_polars_categorical_is_sorted(frame):
    # Its categories are shared by the whole process, so they have no order of their own.
    data = pl.from_pandas(frame).with_columns(pl.col("s").cast(pl.Categorical))
    assert levels(data, "s") == ("a", "b", "c")


def test_nothing_is_deprecated(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (frame, *(convert(frame) for convert in KINDS)):
            prepare("y ~ x + flag + s + f + (1 | g)", given)


# --- Kinds and levels of columns ---


def test_kinds_and_levels_are_remembered(frame):
    names = ["x", "k", "flag", "s", "f"]
    read = read_frame(frame, names)
    schema = read_schema(read, [])
    assert [c.name for c in schema.columns] == names
    kinds = [c.kind for c in schema.columns]
    assert kinds == ["number", "number", "bool", "category", "category"]
    assert schema.column("s").levels == ("a", "b", "c")
    assert schema.column("f").levels == ("lo", "mid", "hi")
    assert [str(dtype) for dtype in read.columns.dtypes[:3]] == ["float64", "int64", "bool"]
    assert hash(schema) == hash(read_schema(read, []))


def test_a_level_that_goes_with_the_missing_rows(frame):
    frame.loc[frame["f"] == "mid", "x"] = np.nan
    with pytest.warns(BayesmmWarning, match="5 of 12"):
        read = read_frame(frame, ["f", "x"])
    assert read_schema(read, []).column("f").levels == ("lo", "hi")


def test_int_categories_stay_ints(frame):
    frame["f"] = pd.Categorical(np.resize([10, 2, 1], N), categories=[2, 10, 1])
    assert levels(frame, "f") == (2, 10, 1)
    assert all(type(level) is int for level in levels(frame, "f"))


def test_object_columns(frame):
    read = read_frame(
        frame.assign(
            a=np.resize(np.array([1.5, None, 2], object), N),
            b=np.resize(np.array([True, None, False], object), N),
            c=np.resize(np.array([2, "a", None], object), N),
        ).iloc[[0, 3, 2, 5]],
        ["a", "b"],
    )
    assert read.columns["a"].tolist() == [1.5, 1.5, 2, 2]
    assert read.columns["a"].dtype == np.float64
    assert read.columns["b"].tolist() == [True, True, False, False]
    assert read.columns["b"].dtype == bool


DAYS = pd.date_range("2020-01-01", periods=4)
LABELS = [
    (np.repeat([3, 1, 2, 10], 3), (1, 2, 3, 10)),
    (np.repeat([-3, 1, 2**60 + 1, 2**60], 3), (-3, 1, 2**60, 2**60 + 1)),
    (np.repeat([3.0, 1.0, 2.0, 10.0], 3), (1, 2, 3, 10)),
    (np.repeat([0.5, -1.5, 2.0, 10.0], 3), ("-1.5", "0.5", "2.0", "10.0")),
    (np.resize([True, False], N), ("False", "True")),
    (np.repeat(list("dbca"), 3), ("a", "b", "c", "d")),
    (np.resize(np.array([2, "a"], object), N), ("2", "a")),
    (DAYS.repeat(3), ("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04")),
    (
        [datetime.date(2020, 1, day) for day in range(1, 5)] * 3,
        ("2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"),
    ),
    (pd.period_range("2020-01", periods=4, freq="M").repeat(3), ("2020-01",)),
    (
        pd.to_timedelta(np.repeat([4, 2, 3, 10], 3), unit="D"),
        ("2 days", "3 days", "4 days", "10 days"),
    ),
    (pd.array(np.repeat([3, 1, 2, 10], 3), dtype="Int64"), (1, 2, 3, 10)),
    (pd.array(np.repeat(list("dbca"), 3), dtype="string"), ("a", "b", "c", "d")),
    (pd.array(np.resize([True, False], N), dtype="boolean"), ("False", "True")),
    (pd.Categorical(np.repeat(list("dbca"), 3), categories=list("cdxba")), tuple("cdba")),
]


@pytest.mark.parametrize(("values", "expected"), LABELS)
def test_labels_of_a_grouping_column(frame, values, expected):
    found = levels(frame.assign(h=values))
    assert found[: len(expected)] == expected
    assert len({type(label) for label in found}) == 1
    assert {type(label) for label in found} <= {int, str}
    prepared = prepare("y ~ 1 + (1 | h)", frame.assign(h=values))
    index = prepared.design.predictors[0].groups[0].index
    assert index.dtype == np.int32
    texts = [str(found[i]) for i in index]
    column = read_frame(frame.assign(h=values), ["h"]).columns["h"]
    assert texts == [str(label) for label in as_labels(column)]
    assert len(set(zip(texts, map(str, values), strict=True))) == len(found)


def test_int_groups_with_missing_rows_stay_ints(frame):
    frame["h"] = np.repeat([3.0, 1.0, np.nan, 10.0], 3)
    with pytest.warns(BayesmmWarning, match="3 of 12"):
        assert levels(frame) == (1, 3, 10)


def test_levels_that_look_the_same(frame):
    frame["h"] = np.resize(np.array([1, "1"], object), N)
    with pytest.raises(DataError, match="'h' has two levels with the same text"):
        levels(frame)


def test_cells_that_look_the_same(frame):
    frame = frame.assign(a=np.repeat(["p", "p:q", "r"], 4), b=np.repeat(["q:r", "r", "s"], 4))
    with pytest.raises(DataError, match="'a:b' have the same label"):
        prepare("y ~ 1 + (1 | a:b)", frame)


def test_only_cells_that_occur_are_levels(frame):
    frame = frame.assign(
        a=pd.Categorical(np.repeat(["s2", "s1", "s3"], 4), categories=["s3", "s2", "s1"]),
        b=np.repeat([1, 2, 1, 3, 2, 1], 2),
    )
    schema = prepare("y ~ 1 + (1 | a/b)", frame).spec.schema
    assert schema.grouping("a").labels == ("s3", "s2", "s1")
    nested = schema.grouping("a:b")
    assert nested.labels == ("s3:1", "s3:2", "s2:1", "s2:2", "s1:1", "s1:3")
    assert nested.cells[0] == ("s3", 1)
    read = read_frame(frame, ["a", "b"])
    expected = [nested.labels.index(f"{a}:{b}") for a, b in zip(frame.a, frame.b, strict=True)]
    np.testing.assert_array_equal(nested.index(read.columns), expected)


def test_levels_that_the_model_has_not_seen(frame):
    frame = frame.assign(a=np.repeat(["s2", "s1", "s3"], 4), c=np.resize([1, 2], N))
    schema = prepare("y ~ 1 + (1 | a:c) + (1 | c)", frame).spec.schema
    new = read_frame(
        pd.DataFrame({"a": ["s1", "s9", "s3", "s3"], "c": [2, 1, 9, 1]}), ["a", "c"]
    ).columns
    labels = schema.grouping("a:c").labels
    expected = [labels.index("s1:2"), -1, -1, labels.index("s3:1")]
    np.testing.assert_array_equal(schema.grouping("a:c").index(new), expected)
    np.testing.assert_array_equal(schema.grouping("c").index(new), [1, 0, -1, 0])
    # The two levels are known, but not together.
    frame = frame[(frame["a"] != "s1") | (frame["c"] != 2)]
    schema = prepare("y ~ 1 + (1 | a:c)", frame).spec.schema
    assert schema.grouping("a:c").index(new)[0] == -1


# --- Rows ---


def test_missing_rows_are_refused_where_asked_for(frame):
    with pytest.raises(DataError, match="2 of 12 rows.*'x', 's', 'k'.*missing='error'"):
        prepare("y ~ x + s + k", with_missing(frame), missing="error")
    assert prepare("y ~ f + (1 | g)", with_missing(frame), missing="error").frame.dropped == 0
    with pytest.raises(DataError, match="missing='omit'.*'drop' or 'error'"):
        prepare("y ~ x", frame, missing="omit")


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (range(100, 100 + N), [*range(100, 112)]),
        ([f"row {i}" for i in range(N)], [f"row {i}" for i in range(N)]),
        ([7] * N, [7] * N),
        (np.arange(N) / 2, list(np.arange(N) / 2)),
        (pd.MultiIndex.from_product([["a"], range(N)]), list(range(N))),
    ],
)
def test_row_labels_are_kept(frame, index, expected):
    frame.index = index
    frame.iloc[4, frame.columns.get_loc("x")] = np.nan
    with pytest.warns(BayesmmWarning, match="1 of 12"):
        read = read_frame(frame, ["x"])
    del expected[4]
    assert read.index.tolist() == expected
    assert read.columns.index.tolist() == list(range(N - 1))


def test_row_labels_of_dates(frame):
    frame.index = pd.date_range("2020-01-01", periods=N)
    assert read_frame(frame, ["x"]).index.dtype.kind == "M"
    assert read_frame(frame.tz_localize("UTC"), ["x"]).index.dtype.kind == "U"


def test_rows_of_other_frames_are_counted(frame):
    for given in (polars(frame), arrow(frame)):
        assert read_frame(given, ["x"]).index.tolist() == list(range(N))


# --- Refusals ---


@pytest.mark.parametrize("convert", [lambda frame: frame, *KINDS])
def test_refused_columns(frame, convert):
    def refuse(data, *words, formula="y ~ x + s"):
        with pytest.raises(DataError) as caught:
            prepare(formula, data)
        assert all(word in str(caught.value) for word in words), str(caught.value)

    refuse(convert(frame), "'flagg'", "Did you mean 'flag'?", "'y', 'x'", formula="y ~ x + flagg")
    refuse(convert(frame.iloc[:0]), "no rows")
    refuse(convert(frame.assign(x=np.nan)), "'x'", "every row is missing")
    refuse(convert(frame.assign(s=None)), "'s'", "every row is missing")
    infinite = frame.assign(x=frame["x"].where(frame["x"].index != 7, -np.inf))
    refuse(convert(infinite), "'x'", "-inf", "row 7")
    half = frame.assign(x=frame["x"].where(frame.index < 6), s=frame["s"].where(frame.index >= 6))
    refuse(convert(half), "12 of 12 rows", "'x', 's'", "no complete row")


def test_infinite_value_is_named_by_its_row_label(frame):
    frame.index = [f"r{i}" for i in range(N)]
    frame.loc["r4", "x"] = np.inf
    with pytest.raises(DataError, match=r"'x' has an infinite value \(inf in row 'r4'\)"):
        read_frame(frame, ["x"])
    frame.index = np.arange(N) * 10
    with pytest.raises(DataError, match=r"\(inf in row 40\)"):
        read_frame(frame, ["x"])


def test_doubled_columns(frame):
    doubled = pd.concat([frame, frame["k"]], axis=1)
    with pytest.raises(DataError, match="two columns of the same name: 'k'"):
        prepare("y ~ x", doubled)
    table = arrow(frame).append_column("k", pa.array(range(N)))
    with pytest.raises(DataError, match="(?s)two columns of the same name.*'k'"):
        prepare("y ~ x", table)
    with pytest.raises(DataError, match="same name"):
        prepare("y ~ x", frame.assign(**{"1": 0}).rename(columns={"k": 1}))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (pl.LazyFrame({"y": [1.0, 2.0], "x": [1.0, 2.0]}), "LazyFrame"),
        ({"y": [1.0, 2.0], "x": [1.0, 2.0]}, "dict"),
        (np.ones((3, 2)), "ndarray"),
        (pd.Series([1.0, 2.0], name="y"), "Series"),
        (None, "NoneType"),
        ("data.csv", "str"),
    ],
)
def test_not_a_dataframe_in_memory(data, name):
    with pytest.raises(DataError, match=f"data is a {name}.*pandas, polars or pyarrow"):
        prepare("y ~ x", data)


def test_complex_numbers(frame):
    with pytest.raises(DataError, match="'x' holds complex numbers"):
        prepare("y ~ x", frame.assign(x=1j))


def test_unused_columns_never_matter(frame):
    known = prepare("y ~ x + (1 | g)", frame)
    odd = frame.assign(
        nothing=None,
        infinite=np.inf,
        complex=1j,
        lists=[[1, 2]] * N,
        dicts=[{"a": object()}] * N,
        draw=1,
        chain=2,
        **{"a/b": 1, "": 2, "b": 3},
    )
    odd[3.5] = 1
    same = prepare("y ~ x + (1 | g)", odd)
    assert same.spec == known.spec
    assert same.fingerprint == known.fingerprint
    assert list(same.frame.columns) == ["y", "x", "g"]
    nested = polars(frame).with_columns(
        pl.lit([1, 2]).alias("lists"), pl.lit(None).alias("nothing"), pl.lit(b"a").alias("bytes")
    )
    assert prepare("y ~ x + (1 | g)", nested).spec == known.spec


def test_the_frame_is_not_changed(frame):
    frame = with_missing(frame)
    copy = frame.copy(deep=True)
    with pytest.warns(BayesmmWarning):
        prepared = prepare("y ~ scale(x) + s + f + (1 | g)", frame)
    pd.testing.assert_frame_equal(frame, copy)
    assert not np.shares_memory(prepared.frame.columns["y"].to_numpy(), frame["y"].to_numpy())


def test_decimals_are_numbers_and_large_integers_do_not_wrap():
    data = pd.DataFrame(
        {
            "price": [decimal.Decimal("1.5"), decimal.Decimal("2.25")],
            "id": np.array([1, 2**63 + 10], dtype=np.uint64),
        }
    )
    columns = read_frame(data, ["price", "id"]).columns
    assert columns["price"].tolist() == [1.5, 2.25]
    assert columns["id"].min() == 1
    assert columns["id"].max() == pytest.approx(2.0**63)


def test_many_levels_are_quick():
    data = pd.DataFrame({"id": np.arange(300_000).astype(str)})
    frame = read_frame(data, ["id"])
    start = time.perf_counter()
    schema = read_schema(frame, [("id",)])
    assert time.perf_counter() - start < 3
    assert len(schema.groupings[0].cells) == 300_000
