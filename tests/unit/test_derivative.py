"""Derivatives of design columns: against calculus, and difference quotients of the design."""

import numpy as np
import pandas as pd
import pytest

import bayesmm as bm
from bayesmm.formula import Terms

N = 40
RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "x": RNG.uniform(0.2, 3.0, N),
        "z": RNG.normal(size=N),
        "f": pd.Categorical(np.resize(["a", "b", "c"], N)),
        "k": RNG.integers(1, 4, N),
    }
)
X, Z = FRAME["x"].to_numpy(), FRAME["z"].to_numpy()

BY_HAND = {
    "1 + x": np.column_stack([0 * X, 1 + 0 * X]),
    "1 + z": np.column_stack([0 * X, 0 * X]),
    "0 + x + I(x**2)": np.column_stack([1 + 0 * X, 2 * X]),
    "0 + log(x) + np.sqrt(x)": np.column_stack([1 / X, 0.5 / np.sqrt(X)]),
    "0 + x:z": Z[:, None],
    "0 + I(x * z / (1 + x))": (Z / (1 + X) ** 2)[:, None],
    "0 + log(x):I(x**3)": (X**2 + 3 * X**2 * np.log(X))[:, None],
    "0 + exp(-x)": -np.exp(-X)[:, None],
    "0 + I(x > 1):x": (X > 1.0)[:, None] * 1.0,
    "0 + scale(x)": np.full((N, 1), 1 / X.std()),
    "0 + center(x)": np.ones((N, 1)),
    "0 + I(2**x)": (np.log(2.0) * 2.0**X)[:, None],
    "0 + floor(x) + sign(x):x": np.column_stack([0 * X, np.sign(X)]),
    "0 + maximum(x, 1)": (X > 1.0)[:, None] * 1.0,
}


def slopes(text, functions=None):
    terms = Terms(text, functions or {})
    terms.fit(FRAME)
    return terms, terms.differentiate(FRAME, "x")


@pytest.mark.parametrize("text", BY_HAND)
def test_by_hand(text):
    assert np.allclose(slopes(text)[1].matrix, BY_HAND[text], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "text",
    [
        "poly(x, 3)",
        "bs(x, df=5)",
        "cr(x, df=4)",
        "f * x",
        "f:poly(x, 2) + z",
        "scale(log(x)):f",
        "poly(log(x), 2):z",
        "hypot(x, z) + arctan2(z, x)",
    ],
)
def test_against_a_difference_quotient_of_the_design(text):
    terms, found = slopes(text)
    h = 1e-5
    up, down = (terms.transform(FRAME.assign(x=X + s * h)).matrix for s in (1, -1))
    quotient = (up - down) / (2 * h)
    # Its own error: h^2 / 6 times third derivatives, and 1e-16 / h of rounding.
    assert np.allclose(found.matrix, quotient, atol=1e-6 * (1 + np.abs(quotient).max()))
    assert found.labels == terms.transform(FRAME).labels


def test_offsets_and_functions_of_the_caller():
    terms, found = slopes("1 + offset(log(x)) + offset(z)")
    assert np.allclose(found.offset, 1 / X)
    _, found = slopes("0 + cube(x)", {"cube": lambda x: x**3})
    assert np.allclose(found.matrix[:, 0], 3 * X**2, rtol=1e-9)
    assert np.allclose(terms.transform(FRAME).offset, np.log(X) + Z)


@pytest.mark.parametrize("text", ["bs(x, df=5)", "cr(x, df=4)", "poly(x, 3)", "bs(log(x), df=4)"])
@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e5])
def test_a_row_has_its_slope_whatever_is_beside_it(text, unit):
    frame = FRAME.assign(x=FRAME["x"] * unit)
    terms = Terms(text)
    terms.fit(frame)
    whole = terms.differentiate(frame, "x").matrix
    alone = terms.differentiate(frame.iloc[[7]], "x").matrix
    assert np.allclose(alone, whole[[7]], rtol=1e-9, atol=1e-12 / unit)
    constant = terms.differentiate(frame.iloc[[7] * 3], "x").matrix
    assert np.allclose(constant, whole[[7] * 3], rtol=1e-9, atol=1e-12 / unit)
    far = frame.assign(x=np.where(np.arange(N) == 3, 1e4 * unit, frame["x"]))
    beside = np.delete(terms.differentiate(far, "x").matrix, 3, axis=0)
    assert np.allclose(beside, np.delete(whole, 3, axis=0), rtol=1e-9, atol=1e-12 / unit)


def test_functions_of_the_caller_get_series():
    _, found = slopes("0 + f(x)", {"f": lambda x: x.clip(lower=1.0) ** 2})
    far = np.abs(X - 1.0) > 0.01  # from the kink
    assert np.allclose(found.matrix[far, 0], np.where(X > 1.0, 2 * X, 0.0)[far], atol=1e-9)
    _, found = slopes("0 + round(x, 1) + z:x")
    assert np.allclose(found.matrix, np.column_stack([0 * X, Z]))


def test_refusals():
    terms = Terms("C(k) + x")
    terms.fit(FRAME)
    with pytest.raises(bm.DataError, match="reads 'k' as a factor"):
        terms.differentiate(FRAME, "k")
    terms = Terms("sqrt(x)")
    terms.fit(FRAME)
    with pytest.raises(bm.DataError, match="no finite derivative"):
        terms.differentiate(FRAME.assign(x=0.0), "x")
