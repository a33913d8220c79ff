"""One contract for every family, and the records' own behaviour.

The contract runs over `FAMILIES`: a new record is tested once its log density is written in
`DENSITIES`, in mpmath and as in a textbook. Everything else is asked of the record.
"""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from test_links import INVERSES

import bayesmm.distributions
from bayesmm import families
from bayesmm.errors import DataError, FamilyError
from bayesmm.families import FAMILIES, Family, Parameter, Values, resolve_prior
from bayesmm.families.numerics import log_choose, log_rising, stirling_error

TRIALS = 12

# --- independent densities: log p(y | natural values), mu and one minus mu given apart ---


def _normal(z):
    return -(z**2) / 2 - mp.log(2 * mp.pi) / 2


def _choose(n, k):
    return mp.loggamma(n + 1) - mp.loggamma(k + 1) - mp.loggamma(n - k + 1)


def _student(y, mu, sigma, nu, **_):
    kernel = -(nu + 1) / 2 * mp.log1p(((y - mu) / sigma) ** 2 / nu)
    constant = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2)
    return kernel + constant - mp.log(nu * mp.pi) / 2 - mp.log(sigma)


def _gamma(y, mu, shape, **_):
    rate = shape / mu
    return shape * mp.log(rate) + (shape - 1) * mp.log(y) - rate * y - mp.loggamma(shape)


def _beta(y, mu, one_minus_mu, phi, **_):
    a, b = mu * phi, one_minus_mu * phi
    constant = mp.loggamma(a + b) - mp.loggamma(a) - mp.loggamma(b)
    return (a - 1) * mp.log(y) + (b - 1) * mp.log1p(-y) + constant


def _negbinomial(y, mu, shape, **_):
    ways = mp.loggamma(y + shape) - mp.loggamma(shape) - mp.loggamma(y + 1)
    return ways + shape * mp.log(shape / (mu + shape)) + y * mp.log(mu / (mu + shape))


DENSITIES = {
    "gaussian": lambda y, mu, sigma, **_: _normal((y - mu) / sigma) - mp.log(sigma),
    "student": _student,
    "lognormal": lambda y, mu, sigma, **_: (
        _normal((mp.log(y) - mu) / sigma) - mp.log(sigma) - mp.log(y)
    ),
    "gamma": _gamma,
    "poisson": lambda y, mu, **_: y * mp.log(mu) - mu - mp.loggamma(y + 1),
    "negbinomial": _negbinomial,
    "bernoulli": lambda y, mu, one_minus_mu, **_: mp.log(mu if y else one_minus_mu),
    "binomial": lambda y, mu, one_minus_mu, **_: (
        _choose(mp.mpf(TRIALS), y) + y * mp.log(mu) + (TRIALS - y) * mp.log(one_minus_mu)
    ),
    "beta": _beta,
}
SCIPY = {
    "gaussian": lambda y, mu, sigma: st.norm.logpdf(y, mu, sigma),
    "student": lambda y, mu, sigma, nu: st.t.logpdf(y, nu, mu, sigma),
    "lognormal": lambda y, mu, sigma: st.lognorm.logpdf(y, sigma, scale=np.exp(mu)),
    "gamma": lambda y, mu, shape: st.gamma.logpdf(y, shape, scale=mu / shape),
    "poisson": lambda y, mu: st.poisson.logpmf(y, mu),
    "negbinomial": lambda y, mu, shape: st.nbinom.logpmf(y, shape, shape / (shape + mu)),
    "bernoulli": lambda y, mu: st.bernoulli.logpmf(y, mu),
    "binomial": lambda y, mu: st.binom.logpmf(y, TRIALS, mu),
    "beta": lambda y, mu, phi: st.beta.logpdf(y, mu * phi, (1 - mu) * phi),
}
RESPONSES = {
    "real": [-1e3, -4.0, -0.5, 0.0, 0.01, 3.3, 70.0],
    "positive": [1e-8, 0.01, 0.8, 1.0, 5.5, 120.0, 1e5],
    "unit_open": [1e-9, 0.02, 0.3, 0.5, 0.81, 0.999],
    "count": [0, 1, 2, 7, 50, 1200, 100_000],
    "binary": [0, 1],
    "successes": [0, 1, 5, TRIALS],
}
# Every grid is repeated up to this many rows: outside jit, operations are compiled once a shape.
ROWS = 7 * 4**3
MODERATE = [-2.1, -0.6, 0.4, 1.7]
# Values of the linear predictor for draws: light enough tails for a test of mean and variance.
TYPICAL = {"sigma": -1.0, "nu": 3.0, "shape": 1.2, "phi": 2.0}


def _with_each_link(family):
    """Return the family with each link of mu, and with each link of the other parameters."""
    for parameter in family.parameters:
        for link in parameter.links:
            yield family.with_links({parameter.name: link})


VARIANTS = sorted(
    {v for f in FAMILIES.values() for v in _with_each_link(f)}, key=lambda v: (v.name, v.links)
)
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
every_variant = pytest.mark.parametrize(
    "family", VARIANTS, ids=[f"{v.name}-{'-'.join(link for _, link in v.links)}" for v in VARIANTS]
)


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(50):
        yield


def _values(family, linear):
    data = {"trials": jnp.asarray(TRIALS)} if family.response.trials else {}
    return Values(family, linear=linear, data=data)


def _log_prob(family, y, linear):
    return family.distribution(_values(family, linear)).log_prob(y)


def _gradients(family, y, linear):
    return jax.grad(lambda eta: _log_prob(family, y, eta).sum())(linear)


def _grid(family, etas):
    """Return y and the linear predictors in every combination, and how many rows are distinct."""
    axes = [RESPONSES[family.response.name]] + [etas] * len(family.parameters)
    return _filled(family, np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")]))


def _star(family, etas):
    """Return the same where one parameter takes these values and the others are moderate."""
    columns = []
    for i, y in enumerate(RESPONSES[family.response.name]):
        for k in range(len(family.parameters)):
            row = np.full((len(family.parameters), len(etas)), MODERATE[i % 4])
            row[k] = etas
            columns.append(np.vstack([np.full(len(etas), y), row]))
    return _filled(family, np.hstack(columns))


def _filled(family, table):
    if family.parameter("mu").support != "real" and family.link("mu").support == "real":
        table = table[:, table[1] > 0]  # outside there is no distribution
    n = table.shape[1]
    y, *linear = (jnp.array(np.resize(row, ROWS)) for row in table)
    return y, dict(zip(family.parameter_names, linear, strict=True)), n


def _exact(family, y, linear):
    """Return the log density in mpmath, for one row."""
    natural = {n: INVERSES[family.link(n).name][0](mp.mpf(e)) for n, e in linear.items()}
    complement = INVERSES[family.link("mu").name][1]
    if complement is not None:
        natural["one_minus_mu"] = complement(mp.mpf(linear["mu"]))
    return DENSITIES[family.name](mp.mpf(y), **natural)


def _exact_at(family, y, linear, name, eta):
    """Return the same as a function of one of the linear predictors."""
    return _exact(family, y, {**linear, name: eta})


def _rows(y, linear, n, step=1):
    linear = {name: eta.tolist() for name, eta in linear.items()}
    for i, value in list(enumerate(y.tolist()))[:n:step]:
        yield i, value, {name: eta[i] for name, eta in linear.items()}


def test_every_family_has_an_independent_density():
    missing = set(FAMILIES) - set(DENSITIES)
    assert not missing, f"write the log density of {missing} in DENSITIES"


# --- the contract ---


@every_variant
def test_density_and_gradient_agree_with_mpmath(family):
    y, linear, n = _grid(family, MODERATE)
    values = np.asarray(_log_prob(family, y, linear))
    slopes = {name: np.asarray(s) for name, s in _gradients(family, y, linear).items()}
    for i, value, eta in _rows(y, linear, n):
        want = _exact(family, value, eta)
        # Rounding of eta alone moves a log density by |y eta| ulps where y is large.
        assert abs(values[i].item() - want) <= 1e-13 * (abs(want) + abs(value) + 10), (value, eta)
    # The derivatives at some of the rows: mpmath takes its time over them.
    for i, value, eta in _rows(y, linear, n, step=1 + n // 25):
        for name in eta:
            want = mp.diff(partial(_exact_at, family, value, eta, name), mp.mpf(eta[name]))
            scale = abs(want) + abs(value) + 1
            assert abs(slopes[name][i].item() - want) <= 1e-10 * scale, (name, value, eta)


@every_family
def test_density_agrees_with_scipy(family):
    y, linear, _ = _grid(family, MODERATE)
    natural = {n: np.asarray(family.link(n).inverse(eta)) for n, eta in linear.items()}
    want = SCIPY[family.name](np.asarray(y), **natural)
    got = np.asarray(_log_prob(family, y, linear))
    near = y < 1e5  # beyond, SciPy's own rounding shows
    np.testing.assert_allclose(got[near], want[near], rtol=1e-10, atol=1e-10)


@every_variant
def test_density_and_gradient_are_finite_far_out(family):
    y, linear, _ = _star(family, [-1e3, -300.0, -45.0, -3.0, 0.5, 20.0, 300.0, 1e3])
    assert jnp.isfinite(_log_prob(family, y, linear)).all()
    for slope in _gradients(family, y, linear).values():
        assert jnp.isfinite(slope).all()


@every_family
def test_density_in_the_tails(family):
    """Far out, but where the answer is a number worth having: against mpmath, relatively."""
    y, linear, n = _grid(family, [-27.6, -9.0, 9.0, 27.6])  # shape from 1e-12 to 1e12
    values = np.asarray(_log_prob(family, y, linear))
    with mp.workdps(80):
        for i, value, eta in _rows(y, linear, n):
            want = _exact(family, value, eta)
            assert abs(values[i].item() - want) <= 1e-11 * (abs(want) + abs(value) + 1), (
                value,
                eta,
            )


@every_family
def test_draws(family):
    """Two typical columns have the mean and variance declared; columns far out stay in support."""
    n = 10_000
    far = np.meshgrid(*[[-9.0, -3.0, 3.0, 5.0]] * len(family.parameters))
    etas = {
        p.name: jnp.concatenate([TYPICAL.get(p.name, 0.0) + jnp.array([-0.3, 0.2]), f.ravel()])
        for p, f in zip(family.parameters, far, strict=True)
    }
    values = _values(family, etas)
    distribution = family.distribution(values)
    draws = np.asarray(distribution.sample(jax.random.key(3), (n,)))
    assert draws.shape == (n, len(etas["mu"]))
    trials = TRIALS if family.response.trials else None
    assert not family.response.check(draws, trials).any()
    # Whole numbers may come as floats: a Poisson of rate 1e80 fits no integer type.
    assert bool((draws == np.round(draws)).all()) == family.response.integer

    draws = draws[:, :2].astype(float)
    mean, variance = np.asarray(family.mean(values)), np.asarray(family.variance(values))
    centred = draws - draws.mean(0)
    assert (abs(draws.mean(0) - mean[:2]) < 5 * draws.std(0) / np.sqrt(n)).all()
    spread = np.sqrt(((centred**2 - centred.var(0)) ** 2).mean(0) / n)
    assert (abs(draws.var(0) - variance[:2]) < 5 * spread).all()
    # A distribution that says its moments says the family's.
    np.testing.assert_allclose(distribution.mean[:2], mean[:2], rtol=1e-12)
    np.testing.assert_allclose(distribution.variance[:2], variance[:2], rtol=1e-12)


@every_family
def test_one_model_for_scalars_vmap_and_plates(family):
    """Parameters may be scalars beside a vector mu, under vmap, as a site in a plate."""
    y = jnp.array(np.resize(RESPONSES[family.response.name], 7))
    mu = jnp.linspace(0.1, 0.9, len(y))
    rest = {p.name: TYPICAL[p.name] for p in family.parameters[1:]}
    natural = {n: family.link(n).inverse(e) for n, e in rest.items()}
    data = {"trials": TRIALS} if family.response.trials else {}

    def density(eta):
        values = Values(family, linear={"mu": eta}, natural=natural, data=data)
        return family.distribution(values).log_prob(y)

    direct = density(mu)
    assert direct.shape == y.shape
    np.testing.assert_allclose(direct, _log_prob(family, y, {"mu": mu, **rest}), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(density)(jnp.stack([mu, mu]))[1], direct, rtol=1e-12)

    def model():
        values = Values(family, linear={"mu": 0.3}, natural=natural, data=data)
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", family.distribution(values), obs=y)

    total, _ = numpyro.infer.util.log_density(model, (), {}, {})
    np.testing.assert_allclose(total, density(jnp.full(len(y), 0.3)).sum(), rtol=1e-12)


@every_family
def test_default_priors_can_be_drawn(family):
    numbers = {"scale": 2.0, "link(sd)": 0.7}
    for parameter in family.parameters:
        for record in filter(None, (parameter.prior, parameter.intercept_prior)):
            name, args = resolve_prior(record, numbers)
            hash(record)
            ours = getattr(bayesmm.distributions, name, None)
            draws = (ours or getattr(dist, name))(*args).sample(jax.random.key(1), (100,))
            assert jnp.isfinite(draws).all()
            if record is parameter.prior:
                low = {"real": -jnp.inf, "positive": 0.0, "unit": 0.0, "above_one": 1.0}
                assert (draws > low[parameter.support]).all()


@every_family
def test_families_are_values(family):
    other = family.parameter("mu").links[-1]
    assert family.with_links(other) == FAMILIES[family.name](link={"mu": other})
    assert hash(family.with_links(other)) == hash(family(link=other))
    assert family.with_links(family.link("mu").name) == family
    assert families.get(family.name) is family
    assert getattr(families, family.name) is family
    assert other in repr(family(link=other))


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
        want = _choose(mp.mpf(n), mp.mpf(k))
        assert abs(float(log_choose(n, k)) - want) <= 1e-13 * abs(want) + 1e-14


def test_overdispersed_families_reach_their_limits():
    """Negative binomial to Poisson, student to gaussian: no noise at a huge shape."""
    y, eta = jnp.array([0, 3, 40, 1000]), jnp.array([0.5, 1.0, 4.0, 6.5])
    poisson, negbinomial = FAMILIES["poisson"], FAMILIES["negbinomial"]
    huge = {"mu": eta, "shape": jnp.full(4, np.log(1e16))}
    np.testing.assert_allclose(
        _log_prob(negbinomial, y, huge), _log_prob(poisson, y, {"mu": eta}), rtol=1e-9
    )
    assert (abs(_gradients(negbinomial, y, huge)["shape"]) < 1e-9).all()
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
