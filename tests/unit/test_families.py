"""The records of families: their own behaviour, their documentation, and what bad input gets.

The contract that every family fulfils is in `test_families_density` and `test_families_draws`,
which take their densities from `densities/` and their rows from `family_contract`.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from family_contract import DENSITIES, LOG_CDF, LOG_SF, MODULES, every_family

from bayesmm import families
from bayesmm.errors import DataError, FamilyError
from bayesmm.families import FAMILIES, Family, Parameter, Values, resolve_prior
from bayesmm.families.numerics import log_choose, log_rising, stirling_error


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(50):
        yield


def _log_prob(family, y, linear):
    return family.distribution(Values(family, linear=linear)).log_prob(y)


# --- every family ---


def test_every_family_has_an_independent_density():
    """The contract has nothing to compare with otherwise."""
    missing = set(FAMILIES) - set(DENSITIES)
    assert not missing, (
        f"write the log densities of {sorted(missing)} in mpmath, as a textbook has them, into "
        "DENSITIES of a module in tests/unit/densities"
    )
    with_cdf = {name for name, family in FAMILIES.items() if family.log_cdf}
    for table, name in ((LOG_CDF, "LOG_CDF"), (LOG_SF, "LOG_SF")):
        missing = with_cdf - set(table)
        assert not missing, f"write {name} of {sorted(missing)} in mpmath into tests/unit/densities"


def test_independent_densities_belong_to_families():
    names = [name for module in MODULES for name in getattr(module, "DENSITIES", {})]
    assert len(names) == len(set(names)), "a family has its density in two modules"
    for table in (DENSITIES, LOG_CDF, LOG_SF):
        assert set(table) <= set(FAMILIES)


@every_family
def test_families_are_values(family):
    other = family.parameter("mu").links[-1]
    assert family.with_links(other) == FAMILIES[family.name](link={"mu": other})
    assert hash(family.with_links(other)) == hash(family(link=other))
    assert family.with_links(family.link("mu").name) == family
    assert families.get(family.name) is family
    assert getattr(families, family.name) is family
    assert other in repr(family(link=other))


@every_family
def test_families_say_what_their_parameters_mean(family):
    """The table in the documentation is made of this."""
    assert family.about
    assert family.about.isascii()
    for parameter in family.parameters:
        explains_itself = parameter.labels or parameter.fixed is not None
        assert explains_itself or parameter.name in family.about
    for package, name in family.elsewhere:
        assert package
        assert name


# --- special functions ---


@pytest.mark.parametrize("x", [1e-90, 1e-6, 0.3, 1.0, 9.99, 10.0, 37.0, 1e6, 1e12])
def test_log_gamma_differences(x):
    exact = mp.loggamma(x) - ((mp.mpf(x) - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)
    assert abs(float(stirling_error(x)) - exact) <= 1e-15 * (abs(exact) + 5)
    for y in (0.0, 0.5, 3.0, 1e4):

        def rising(t, y=y):
            return mp.loggamma(t + y) - mp.loggamma(t) - y * mp.log(t)

        bound = 1e-15 * (1 + y) * (1 + mp.log1p(y / mp.mpf(x)))
        assert abs(float(log_rising(x, y)) - rising(mp.mpf(x))) <= 10 * bound
        slope = x * float(jax.grad(log_rising)(x, y))
        assert abs(slope - x * mp.diff(rising, mp.mpf(x), h=mp.mpf(x) * 1e-12)) <= 10 * bound
    assert log_rising(x, 0.0) == 0.0


def test_binomial_coefficients():
    for n, k in ((0, 0), (1, 1), (12, 5), (1000, 3), (10**9, 10**8), (10**6, 10**6)):
        want = mp.log(mp.binomial(n, k))
        assert abs(float(log_choose(n, k)) - want) <= 1e-13 * abs(want) + 1e-14


def test_overdispersed_families_reach_their_limits():
    """Negative binomial to Poisson, student to gaussian: no noise at a huge shape."""
    y, eta = jnp.array([0, 3, 40, 1000]), jnp.array([0.5, 1.0, 4.0, 6.5])
    poisson, negbinomial = FAMILIES["poisson"], FAMILIES["negbinomial"]
    huge = {"mu": eta, "shape": jnp.full(4, np.log(1e16))}
    np.testing.assert_allclose(
        _log_prob(negbinomial, y, huge), _log_prob(poisson, y, {"mu": eta}), rtol=1e-9
    )
    slope = jax.grad(lambda shape: _log_prob(negbinomial, y, {**huge, "shape": shape}).sum())
    assert (abs(slope(huge["shape"])) < 1e-9).all()
    z = jnp.array([-3.0, 0.0, 0.4, 8.0])
    huge = {"mu": jnp.zeros(4), "sigma": jnp.zeros(4), "nu": jnp.full(4, np.log(1e16))}
    np.testing.assert_allclose(
        _log_prob(FAMILIES["student"], z, huge), st.norm.logpdf(z), rtol=1e-12
    )


# --- what bad input gets ---


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(FamilyError, match=r"'poison' is not known. Did you mean 'poisson'\?"):
        families.get("poison")
    with pytest.raises(FamilyError, match="must be the name of a family"):
        families.get(3)
    with pytest.raises(FamilyError, match=r"link 'logot' is not one for 'mu'.*'logit'"):
        families.get("bernoulli", link="logot")
    with pytest.raises(FamilyError, match=r"no parameter 'shap'. Did you mean 'shape'"):
        families.get("gamma", link={"shap": "log"})
    with pytest.raises(FamilyError, match="link must be a name"):
        families.get("gamma", link=3)
    with pytest.raises(AttributeError, match="Did you mean 'gaussian'"):
        families.gausian
    assert {"gaussian", "beta"} < set(families.names())
    assert "bernoulli" in dir(families)


def test_values_name_what_is_missing():
    values = Values(FAMILIES["binomial"], linear={"mu": 0.0})
    with pytest.raises(FamilyError, match="asked for the value 'trials'"):
        values.trials
    assert not hasattr(values, "trials")
    np.testing.assert_allclose(values.log1m("mu"), np.log(0.5))
    natural = Values(FAMILIES["binomial"], natural={"mu": 0.25})
    np.testing.assert_allclose([natural.log("mu"), natural.log1m("mu")], np.log([0.25, 0.75]))


def test_outside_the_parameter_space_the_density_is_nan():
    """A link that may leave it (identity for a rate) makes a draw that samplers reject."""
    density = jax.jit(lambda mu: _log_prob(families.poisson(link="identity"), 3, {"mu": mu}))
    assert jnp.isnan(density(-1.0))


@pytest.mark.parametrize(
    ("family", "y", "message"),
    [
        ("poisson", [1, 2, -1], r"y: family 'poisson' takes non-negative whole numbers, and 1 of 3 "
                                r"rows have something else; the first is -1, in row 2.*negative"),
        ("negbinomial", [1.0, 2.5], r"first is 2.5, in row 1.*Fractions"),
        ("beta", [0.2, 1.0, 0.0], r"2 of 3.*first is 1.0, in row 1.*exact 1 .*prop\("),
        ("beta", [20.0, 0.5], "percentages"),
        ("gamma", [1.0, 0.0], "exact zero"),
        ("lognormal", [1.0, -2.0], "may be negative"),
        ("bernoulli", [0, 1, 2], "two categories"),
        ("gaussian", [0.0, np.inf], "infinite"),
        ("gaussian", [0.0, np.nan], "Missing"),
        ("student", ["a", "b"], "not numeric.*'a'"),
        ("bernoulli", ["a", "b"], "two categories"),
    ],
)  # fmt: skip
def test_responses_outside_the_support(family, y, message):
    with pytest.raises(DataError, match=message):
        FAMILIES[family].response.validate(np.array(y), "y", family)


def test_successes_and_trials():
    kind = FAMILIES["binomial"].response
    assert kind.validate([1, 2], "y", "binomial", [2, 2]).dtype == np.int64
    assert kind.validate([1, 2], "y", "binomial", 5).tolist() == [1, 2]
    with pytest.raises(DataError, match=r"3 of 2 trials, in row 'b'.*exceed"):
        kind.validate([1, 3], "y", "binomial", [2, 2], rows=["a", "b"])
    with pytest.raises(DataError, match="whole numbers"):
        kind.validate([1, 1], "y", "binomial", [2, 2.5])
    with pytest.raises(DataError, match="negative"):
        kind.validate([1, -1], "y", "binomial", [2, 2])
    with pytest.raises(FamilyError, match=r"prop\(y, n\).*bernoulli"):
        kind.validate([1, 1], "y", "binomial")
    with pytest.raises(FamilyError, match="family='binomial'"):
        FAMILIES["poisson"].response.validate([1, 1], "y", "poisson", [2, 2])


def test_good_responses_come_back_as_numbers():
    assert FAMILIES["bernoulli"].response.validate([True, False], "y", "b").tolist() == [1, 0]
    assert FAMILIES["poisson"].response.validate([3.0, 0.0], "y", "p").dtype == np.int64
    assert FAMILIES["gaussian"].response.validate([3, 0], "y", "g").dtype == np.float64


# --- a user's own family ---


def _gumbel(**changes):
    fields = {
        "name": "gumbel",
        "parameters": (
            Parameter("mu"),
            Parameter("sigma", ("log",), "positive", ("HalfStudentT", (3.0, "scale"))),
        ),
        "response": families.REAL,
        "distribution": lambda v: dist.Gumbel(v.mu, v.sigma),
        "mean": lambda v: v.mu + np.euler_gamma * v.sigma,
    }
    return Family(**{**fields, **changes})


def test_a_custom_family():
    gumbel = families.get(_gumbel(), link={"sigma": "log"})
    y, mu = jnp.array([0.1, 2.0]), jnp.array([0.0, 1.0])
    got = _log_prob(gumbel, y, {"mu": mu, "sigma": 0.5})
    np.testing.assert_allclose(got, st.gumbel_r.logpdf(y, mu, np.exp(0.5)), rtol=1e-12)
    assert gumbel.links == (("mu", "identity"), ("sigma", "log"))
    assert gumbel.parameter_names == ("mu", "sigma")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": ()}, "first parameter must be called 'mu'"),
        ({"parameters": [Parameter("mu")]}, "tuple of bm.Parameter"),
        ({"parameters": (Parameter("mu"), Parameter("mu"))}, "used twice"),
        ({"parameters": (Parameter("mu"), Parameter("nu"))}, "'nu' needs a default prior"),
        ({"response": "real"}, "bm.families.COUNT"),
        ({"mean": 3}, "mean must be a function"),
        ({"location": "lag"}, "Did you mean 'log'"),
        ({"links": (("mu", "log"),)}, "link 'log' is not one for 'mu'"),
        ({"links": (("tau", "log"),)}, "no parameter 'tau'"),
    ],
)
def test_records_that_contradict_themselves(changes, message):
    with pytest.raises(FamilyError, match=message):
        _gumbel(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "1x"}, "identifier"),
        ({"name": "log"}, "taken by a method"),
        ({"name": "a", "links": "log"}, "tuple of names"),
        ({"name": "a", "links": ("lgo",)}, "Did you mean 'log'"),
        ({"name": "a", "support": "postive"}, "support must be one of"),
        ({"name": "a", "prior": "Normal"}, "must be a tuple"),
        ({"name": "a", "prior": ("Normal", [0.0, 1.0])}, "must be a tuple"),
        ({"name": "a", "prior": ("Normal", (0.0, "sd"))}, "got 'sd'"),
    ],
)
def test_parameters_that_cannot_be(arguments, message):
    with pytest.raises(FamilyError, match=message):
        Parameter(**arguments)


def test_priors_with_open_words():
    with pytest.raises(FamilyError, match="'scale' is not known here"):
        resolve_prior(("HalfStudentT", (3.0, "scale")), {})


def test_poisson_draws_of_huge_rates():
    with jax.enable_x64(True):
        rate = np.array([1e5, 1e7, 1e15, 1e80])
        values = Values(families.poisson, linear={"mu": np.log(rate)})
        draws = np.asarray(families.poisson.distribution(values).sample(jax.random.key(5), (4000,)))
    z = (draws.mean(axis=0) - rate) / np.sqrt(rate / 4000)
    assert (np.abs(z[:3]) < 4).all()
    # At 1e80 the standard deviation is below the spacing of floats.
    np.testing.assert_allclose(draws[:, 3], 1e80, rtol=1e-12)
    np.testing.assert_allclose(draws[:, :3].var(axis=0) / rate[:3], 1, atol=4 * np.sqrt(2 / 4000))
