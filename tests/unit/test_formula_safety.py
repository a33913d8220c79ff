"""Formula text is data: attacks raise before anything is evaluated, and do nothing."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmm.errors import BayesmmError, DataError, FormulaError
from bayesmm.formula import Terms, evaluate, parse

# Each would write the file "owned" (or read what it should not) if it were evaluated as Python.
ATTACKS = [
    "pd.io.common.os.system('touch owned')",
    "np.core.os.system('touch owned')",
    "np.os.system('touch owned')",
    "numpy.lib.npyio.os.system('touch owned')",
    "np.save('owned', x)",
    "np.fromfile('owned')",
    "np.log.__call__(x)",
    "np.testing.rundocs('owned')",
    "np.vectorize(x)",
    "os.system('touch owned')",
    "__import__('os')",
    "__builtins__.open('owned', 'w')",
    "C.__globals__['np'](x)",
    "C.__globals__.get(x)",
    "C.func_globals(x)",
    "C(x, C.__globals__)",
    "I(C.__globals__)",
    "`__class__`",
    "`__import__`('os')",
    "`x.__class__.__mro__`",
    "`x`.__class__",
    "x.__class__",
    "x.a.__dict__",
    "I(x.__array__)",
    "`os`.system('touch owned')",
    "`log`(x)",
    "`np.log`(x)",
    "x.to_csv('owned')",
    "x.values.tofile('owned')",
    "I(x.to_pickle('owned'))",
    "x.str.format(x)",
    "x.map(log)",
    "log(x).tofile('owned')",
    "'{0.__class__}'.format(x)",
    "f'{x}'",
    "I('{0}' % x)",
    "eval('1')",
    "exec('import os')",
    "open('owned', 'w')",
    "getattr(x, 'to_csv')",
    "globals()",
    "locals()",
    "vars(x)",
    "type(x)",
    "input()",
    "compile('1', '', 'eval')",
    "breakpoint()",
    "lambda x: x",
    "(lambda: 1)()",
    "I(lambda: 1)",
    "[c for c in x]",
    "I([1, 2])",
    "I({x: 1})",
    "(log)(x)",
    "log(x)(z)",
    "log()(x)",
    "'log'(x)",
    "1(x)",
    "{log}(x)",
    "x[0](z)",
    "log[a](x)",
    "log(x, out=z)",
    "log(x, z)",
    "np.log(x, where=z)",
    "log(x, dtype='object')",
    "exp(x, __class__=z)",
    "exp(x, `out`=z)",
    "exp(x, x.y=z)",
    "exp(x, self=z)",
    "maximum(x, z, x)",
    "clip(x, 0, 1, z)",
    "round(x, 1, z)",
    "where(x)",
    "scale(x, self=z)",
    "scale.mean(x)",
    "Treatment.code_with_intercept(x)",
    "C(x, Treatment(x))",
    "C(x, Treatment(open('owned', 'w')))",
    "C(x, np.save)",
    "C(x, type)",
    "C(x, None())",
    "bs(x, df=1001)",
    "bs(x, df=4, degree=100000)",
    "poly(x, 1000000)",
    "poly(x, 2.5)",
    "poly(x, -1)",
    "poly(x, True)",
    "poly(x, 10*10)",
    "tp(x, df=5, max_knots=1000000)",
    "I(9**9**9)",
    "I(9**9)",
    "I(x * 9**9)",
    "I(x + (9)**(9))",
    f"I(x * {'9' * 400})",
    f"I(x * {'9' * 5000})",
    f"I(x * {'9' * 400}.5)",
    "I('a' * 1000000000)",
    "I(1000000000 * 'a')",
    "I(x + 'a')",
    "I(-'a')",
    "I(x < 'a')",
    "I(True + x)",
    "I(None == x)",
]

# Short texts that stand for very many terms.
EXPANSIONS = [
    "(a + b + c + d + e + f + g + h + i + j + k + l)**30",
    "*".join("abcdefghijklmnop"),
    "(" + "+".join(f"a{i}" for i in range(60)) + "):(" + "+".join(f"b{i}" for i in range(60)) + ")",
    "((a + b + c + d + e)**5 + f + g + h + i + j + k)**8",
    " + ".join(["(a + b + c + d + e + f + g + h + i + j)**5"] * 2_000),
    " + ".join(["(a + b + c + d + e + f + g + h)*(i + j + k)"] * 2_000),
]


# CPU seconds. The longest texts take one or two; an expansion that is not bounded takes hours.
LINEAR = 10


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame({"x": rng.normal(size=20), "z": rng.normal(size=20), "f": list("ab") * 10})


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a[:40])
def test_attack(attack: str, frame: pd.DataFrame, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = frame.copy()
    start = time.process_time()
    for text in (
        f"y ~ {attack}",
        f"y ~ x + log({attack})",
        f"y ~ x + f({attack}, k={attack})",
        f"y ~ ({attack} | g)",
        f"y ~ (1 | {attack})",
        f"{attack} ~ x",
        f"weighted(y, {attack}) ~ x",
        f"prop({attack}, n) ~ x",
        f"y[{attack}] ~ x",
    ):
        with pytest.raises(FormulaError):
            parse(text, {"f": lambda *args, **kwargs: pytest.fail("evaluated")})
    with pytest.raises(FormulaError):
        parse(["y ~ x", f"{attack} ~ x"])
    with pytest.raises(FormulaError):
        Terms(f"1 + {attack}")
    with pytest.raises(FormulaError):
        evaluate(attack, frame)
    assert time.process_time() - start < LINEAR
    assert list(tmp_path.iterdir()) == []
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("text", EXPANSIONS, ids=lambda a: a[:40])
def test_expansions_are_bounded(text: str):
    start = time.process_time()
    for formula in (f"y ~ {text}", f"y ~ x + ({text} || g)", ["y ~ x", f"sigma ~ {text}"]):
        with pytest.raises(FormulaError, match=r"more than (2,000|8)"):
            parse(formula)
    assert time.process_time() - start < LINEAR


@pytest.mark.parametrize(
    "text", ["I(log)", "I(C)", "I(np)", "np", "Sum", "I(Treatment)", "pd", "__name__x", "I(open)"]
)
def test_names_are_columns_and_nothing_else(text: str, frame: pd.DataFrame):
    # A bare name that is no column of the data never falls back to a function or a module.
    with pytest.raises(BayesmmError):
        Terms(f"1 + {text}").fit(frame)


def test_power_towers_are_cheap(frame: pd.DataFrame):
    start = time.process_time()
    with pytest.raises(DataError):
        Terms("1 + I(x * (9007199254740992 * 9007199254740992)**(99999 * 99999 + 0*x))").fit(
            frame.assign(x=frame["f"])
        )
    columns = Terms("1 + I((x * 9007199254740992) ** 9007199254740992)").fit(frame)
    assert not np.isfinite(columns.matrix[:, 1]).all()
    Terms("1 + power(x, 9007199254740992) + round(x, 9007199254740992)").fit(frame)
    assert time.process_time() - start < 1


def test_too_many_columns(frame: pd.DataFrame):
    rng = np.random.default_rng(0)
    wide = pd.DataFrame({c: rng.integers(0, 20, 400).astype(str) for c in "abcd"})
    with pytest.raises(FormulaError, match="20,000 columns"):
        Terms("0 + a:b:c:d").fit(wide)


def test_data_are_never_changed(frame: pd.DataFrame):
    before = frame.copy()
    Terms("1 + log(x) + scale(x) + clip(z, 0, 1) + maximum(x, z) + C(f, Sum) + binary(f)").fit(
        frame
    )
    pd.testing.assert_frame_equal(frame, before)
