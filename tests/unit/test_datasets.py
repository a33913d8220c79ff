"""Every data set of the catalogue passes every test here; a new one needs no new test."""

import csv
import gzip
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from bayesmm import datasets
from bayesmm.errors import DataError

NAMES = datasets.names()
TABLES = files(datasets) / "tables"

# The levels that the published analyses of these data use, the reference level first.
REFERENCE_LEVELS = [
    ("arabidopsis", "amd", ["clipped", "unclipped"]),
    ("arabidopsis", "popu", "1.SP 1.SW 2.SW 3.NL 5.NL 5.SP 6.SP 7.SW 8.SP".split()),
    ("arabidopsis", "status", ["Normal", "Petri.Plate", "Transplant"]),
    ("bacteria", "trt", ["placebo", "drug", "drug+"]),
    ("bacteria", "y", ["n", "y"]),
    ("cake", "recipe", ["A", "B", "C"]),
    ("cake", "temperature", ["175", "185", "195", "205", "215", "225"]),
    ("cbpp", "herd", [str(i) for i in range(1, 16)]),
    ("cbpp", "period", ["1", "2", "3", "4"]),
    ("contraception", "livch", ["0", "1", "2", "3+"]),
    ("contraception", "urban", ["N", "Y"]),
    ("contraception", "use", ["N", "Y"]),
    ("culcita", "ttt", ["none", "crabs", "shrimp", "both"]),
    ("eight_schools", "school", list("ABCDEFGH")),
    ("egsingle", "female", ["Female", "Male"]),
    ("epilepsy", "Trt", ["0", "1"]),
    ("grouseticks", "YEAR", ["95", "96", "97"]),
    ("insteval", "lectage", ["1", "2", "3", "4", "5", "6"]),
    ("insteval", "studage", ["2", "4", "6", "8"]),
    ("kidney", "disease", ["other", "GN", "AN", "PKD"]),
    ("kidney", "sex", ["male", "female"]),
    ("machines", "Machine", ["A", "B", "C"]),
    ("oats", "Block", ["I", "II", "III", "IV", "V", "VI"]),
    ("oats", "Variety", ["Golden Rain", "Marvellous", "Victory"]),
    ("owls", "FoodTreatment", ["Deprived", "Satiated"]),
    ("owls", "SexParent", ["Female", "Male"]),
    ("salamanders", "mined", ["no", "yes"]),
    ("salamanders", "spp", ["DES-L", "DF", "DM", "EC-A", "EC-L", "GP", "PR"]),
    ("verbagg", "Gender", ["F", "M"]),
    ("verbagg", "btype", ["curse", "scold", "shout"]),
    ("verbagg", "mode", ["want", "do"]),
    ("verbagg", "r2", ["N", "Y"]),
    ("verbagg", "resp", ["no", "perhaps", "yes"]),
    ("verbagg", "situ", ["other", "self"]),
]


def stored(name):
    """The table as it is stored: a header and rows of text."""
    text = gzip.decompress((TABLES / f"{name}.csv.gz").read_bytes()).decode()
    header, *rows = csv.reader(text.splitlines())
    return header, rows


def test_the_catalogue_and_the_tables_are_the_same():
    assert sorted(f.name.removesuffix(".csv.gz") for f in TABLES.iterdir()) == NAMES
    assert len(NAMES) >= 24


def test_the_tables_are_small_and_carry_no_time():
    packed = [f.read_bytes() for f in TABLES.iterdir()]
    assert sum(map(len, packed)) < 600_000
    assert all(p[4:8] == b"\0\0\0\0" for p in packed)


@pytest.mark.parametrize("name", NAMES)
def test_load_gives_what_is_described(name):
    frame, about = datasets.load(name), datasets.describe(name)
    assert len(frame) == about.rows
    assert list(frame.columns) == [c.name for c in about.columns]
    assert isinstance(frame.index, pd.RangeIndex)
    assert not frame.isna().any(axis=None)
    dtypes = {"real": np.dtype("float64"), "integer": np.dtype("int64")}
    for column in about.columns:
        values = frame[column.name]
        if column.kind == "category":
            assert isinstance(values.dtype, pd.CategoricalDtype)
            assert values.cat.ordered == column.ordered
            assert set(values.cat.categories) == set(values)
            assert all(isinstance(level, str) for level in values.cat.categories)
        else:
            assert values.dtype == dtypes[column.kind]
            assert np.isfinite(values).all()
            assert not column.levels
            assert not column.ordered


@pytest.mark.parametrize("name", NAMES)
def test_load_gives_every_value_that_is_stored(name):
    header, rows = stored(name)
    frame = datasets.load(name)
    assert list(frame.columns) == header
    for column, text in zip(header, zip(*rows, strict=True), strict=True):
        values = frame[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            assert list(values) == list(text)
        else:
            assert list(values) == list(map(float, text))


@pytest.mark.parametrize(("name", "column", "levels"), REFERENCE_LEVELS)
def test_levels_are_in_the_order_of_the_published_analyses(name, column, levels):
    assert list(datasets.load(name)[column].cat.categories) == levels


def test_labels_with_numbers_are_in_natural_order():
    sites = list(datasets.load("salamanders")["site"].cat.categories)
    assert sites[:3] == ["R-1", "R-2", "R-3"]
    lecturers = datasets.load("insteval")["d"].cat.categories.astype(int)
    assert lecturers.is_monotonic_increasing
    nests = list(datasets.load("owls")["Nest"].cat.categories)
    assert nests.index("Champmartin") < nests.index("ChEsard") < nests.index("Chevroux")


@pytest.mark.parametrize(
    ("name", "column", "levels"),
    [("radon_mn", "county", 85), ("arabidopsis", "gen", 24), ("inhaler", "subject", 286)],
)
def test_labels_that_are_numbers_in_the_source_stay_numbers(name, column, levels):
    values = datasets.load(name)[column]
    assert values.dtype == np.dtype("int64")
    assert values.nunique() == levels
    about = {c.name: c for c in datasets.describe(name).columns}
    assert "label" in about[column].meaning


def test_nobody_can_change_the_copy_of_the_package():
    mine = datasets.load("sleepstudy")
    untouched = mine.copy()
    mine.loc[0, "Reaction"] = -1.0
    mine["Subject"] = "nobody"
    pd.testing.assert_frame_equal(datasets.load("sleepstudy"), untouched)
    datasets.names().clear()
    assert datasets.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_describe_prints_columns_and_citation(name):
    about = datasets.describe(name)
    text = str(about)
    assert text == repr(about)
    assert text.startswith(f"{name}: {about.title}\n{about.rows} rows")
    for column in about.columns:
        assert f"{column.name} " in text
        assert column.meaning in text
    assert " ".join(about.citation.split()) in " ".join(text.split())
    assert text.endswith(f"From: {about.source}")
    assert all(len(line) <= 110 for line in text.splitlines())
    assert any(year in about.citation for year in map(str, range(1930, 2020))) or name == "insteval"


@pytest.mark.parametrize("ask", [datasets.load, datasets.describe])
def test_an_unknown_name_is_refused_with_the_names(ask):
    with pytest.raises(DataError, match=r"'sleepstdy'.*Did you mean 'sleepstudy'\?.*'arabidopsis'"):
        ask("sleepstdy")
    with pytest.raises(DataError, match="no data set 3"):
        ask(3)
    with pytest.raises(DataError, match=r"no data set \['oats'\]"):
        ask(["oats"])
    with pytest.raises(DataError, match="no data set '../catalogue'"):
        ask("../catalogue")
