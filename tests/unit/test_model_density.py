"""The log density of the program against the model as a textbook writes it, in NumPy and SciPy.

`STRUCTURES` holds the shapes that a model can have; each is built here by hand (design matrices,
group indices) and joins all tests by being in the table. `RESPONSES` does it for families.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st
from scipy.special import expit

import bayesmm as bm
from bayesmm.families import FAMILIES

RTOL = 1e-8


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


# --- the textbook's model ---


@dataclass(frozen=True)
class Group:
    """Effects of one group: the level of each row, z_i, and which columns are correlated."""

    index: np.ndarray
    columns: np.ndarray
    blocks: tuple[tuple[int, ...], ...]

    @property
    def levels(self):
        return self.index.max() + 1

    def dense(self):
        """Z with a column for each level and effect, as r.ravel() has them."""
        indicator = self.index[:, None] == np.arange(self.levels)
        return (indicator[:, :, None] * self.columns[:, None, :]).reshape(len(self.index), -1)


@dataclass(frozen=True)
class Predictor:
    """X (the intercept's column first, where there is one), offset, and groups by name."""

    X: np.ndarray
    groups: dict = field(default_factory=dict)
    offset: np.ndarray | float = 0.0
    intercept: bool = True


def correlation_factor(u, q):
    """Cholesky factor of a correlation matrix from tanh(u), its partial correlations; Jacobians.

    Returns L, the partial correlations (lower triangle), log|dL/dz| and log|dz/du|.
    """
    z = np.zeros((q, q))
    z[np.tril_indices(q, -1)] = np.tanh(u)
    L = np.zeros((q, q))
    log_dL = 0.0
    for i in range(q):
        rest = 1.0
        for j in range(i):
            L[i, j] = z[i, j] * np.sqrt(rest)
            log_dL += 0.5 * np.log(rest)
            rest *= 1 - z[i, j] ** 2
        L[i, i] = np.sqrt(rest)
    return L, z, log_dL, np.log1p(-(np.tanh(u) ** 2)).sum()


def lkj_of_partials(z, eta):
    """LKJ density of the partial correlations (Lewandowski, Kurowicka and Joe 2009, C-vine)."""
    q = len(z)
    total = 0.0
    for i in range(q):
        for k in range(i):
            shape = eta + (q - 2 - k) / 2
            total += st.beta.logpdf((z[i, k] + 1) / 2, shape, shape) - np.log(2)
    return total


class Textbook:
    """All of a model at one position of the sampler: variables, log prior, log likelihood.

    `priors` gives the log prior of each variable as a function of its value, for correlations
    the eta of the LKJ. `pointwise` is the log likelihood of the rows, `total` the joint density.
    """

    def __init__(self, predictors, priors, position, log_density, *, y, trials=None, weights=None):
        self.predictors, self.priors = predictors, priors
        self.position = {k: np.asarray(v) for k, v in position.items()}
        self.variables, self.log_prior, self.jacobian = {}, {}, 0.0
        self.log_effects = 0.0
        self.eta = {name: self._linear(name, p) for name, p in predictors.items()}
        for name in set(self.position) & {"sigma", "nu", "shape", "phi"}:
            above = 1.0 if name == "nu" else 0.0
            self._take(name, above + np.exp(self.position[name]), self.position[name])
        pointwise = log_density(y, trials, self.eta, self.variables)
        self.pointwise = pointwise if weights is None else weights * pointwise
        self.log_likelihood = self.pointwise.sum()
        self.total = (
            self.log_likelihood + sum(self.log_prior.values()) + self.log_effects + self.jacobian
        )

    def _take(self, name, value, jacobian=0.0):
        self.variables[name] = value
        self.log_prior[name] = np.sum(self.priors[name](value))
        self.jacobian += np.sum(jacobian)

    def _linear(self, name, predictor):
        tail = "" if name == "mu" else f"_{name}"
        X, b = predictor.X, np.zeros(0)
        eta = np.zeros(len(X)) + predictor.offset
        if X.shape[1] > predictor.intercept:
            self._take(f"b{tail}", self.position[f"b{tail}"])
            b = self.variables[f"b{tail}"]
        if predictor.intercept:
            self._take(f"Intercept{tail}", self.position[f"Intercept{tail}"])
            X = X[:, 1:] - X[:, 1:].mean(axis=0)
            eta = eta + self.variables[f"Intercept{tail}"]
        eta = eta + X @ b
        for group, rows in predictor.groups.items():
            eta = eta + (rows.columns * self._effects(f"{tail}_{group}", rows)[rows.index]).sum(1)
        return eta

    def _effects(self, tail, rows):
        u = self.position[f"sd{tail}"]
        self._take(f"sd{tail}", np.exp(u), u)
        L = np.eye(rows.columns.shape[1])
        for i, block in enumerate(rows.blocks):
            if len(block) > 1:
                site = f"L{tail}" if len(rows.blocks) == 1 else f"L{tail}[{i}]"
                factor, z, log_dL, log_dz = correlation_factor(self.position[site], len(block))
                L[np.ix_(block, block)] = factor
                log_prior = lkj_of_partials(z, self.priors[f"cor{tail}"]) - log_dL
                self.log_prior[f"cor{tail}"] = self.log_prior.get(f"cor{tail}", 0.0) + log_prior
                self.jacobian += log_dL + log_dz
                self.variables[f"cor{tail}"] = None
        if f"cor{tail}" in self.variables:
            self.variables[f"cor{tail}"] = L @ L.T
        z = self.position[f"z{tail}"]
        self.log_effects += st.norm.logpdf(z).sum()
        self.variables[f"r{tail}"] = z @ (np.diag(np.exp(u)) @ L).T
        return self.variables[f"r{tail}"]


# --- families ---

INVERSE = {"identity": lambda eta: eta, "log": np.exp, "logit": expit}


def _natural(family):
    """Return a function to the natural parameters: linear ones through their (default) links."""
    links = {p.name: p.links[0] for p in FAMILIES[family].parameters}

    def natural(eta, variables):
        linear = {name: INVERSE[links[name]](value) for name, value in eta.items()}
        return {name: linear[name] if name in linear else variables[name] for name in links}

    return natural


SCIPY = {
    "gaussian": lambda y, n, mu, sigma: st.norm.logpdf(y, mu, sigma),
    "student": lambda y, n, mu, sigma, nu: st.t.logpdf(y, nu, mu, sigma),
    "lognormal": lambda y, n, mu, sigma: st.lognorm.logpdf(y, sigma, scale=np.exp(mu)),
    "gamma": lambda y, n, mu, shape: st.gamma.logpdf(y, shape, scale=mu / shape),
    "beta": lambda y, n, mu, phi: st.beta.logpdf(y, mu * phi, (1 - mu) * phi),
    "bernoulli": lambda y, n, mu: st.bernoulli.logpmf(y, mu),
    "binomial": lambda y, n, mu: st.binom.logpmf(y, n, mu),
    "poisson": lambda y, n, mu: st.poisson.logpmf(y, mu),
    "negbinomial": lambda y, n, mu, shape: st.nbinom.logpmf(y, shape, shape / (shape + mu)),
}


def scipy_density(family):
    natural = _natural(family)
    return lambda y, trials, eta, variables: SCIPY[family](y, trials, **natural(eta, variables))


def _half_t(value, scale):
    return st.t.logpdf(value, 3, 0, scale) + np.log(2)


def _mad(y):
    return 1.4826 * np.median(np.abs(y - np.median(y)))


def _no_scale(y):
    return 0.0, 2.5, 1.0


def _identity_scale(y):
    return np.median(y), _mad(y), np.std(y, ddof=1)


def _log_scale(y):
    linked = np.log(np.where(y == 0, 0.1, y))
    return np.median(linked), max(2.5, _mad(linked)), 1.0


#: How each family's response is made here, and (location, s, s_y) of its default priors.
RESPONSES = {
    "gaussian": (lambda rng, n: rng.normal(size=n), _identity_scale),
    "student": (lambda rng, n: rng.normal(size=n), _identity_scale),
    "lognormal": (lambda rng, n: rng.lognormal(size=n), lambda y: _identity_scale(np.log(y))),
    "gamma": (lambda rng, n: rng.gamma(2, size=n), _log_scale),
    "beta": (lambda rng, n: rng.beta(2, 3, size=n), _no_scale),
    "bernoulli": (lambda rng, n: rng.integers(0, 2, n), _no_scale),
    "binomial": (lambda rng, n: rng.integers(0, 3, n), _no_scale),
    "poisson": (lambda rng, n: rng.poisson(30, n) * rng.integers(0, 2, n), _log_scale),
    "negbinomial": (lambda rng, n: rng.poisson(2, n), _log_scale),
}


def default_priors(family, y, predictor):
    """The default priors of issue and documentation, for one predictor with group g."""
    location, s, spread = RESPONSES[family][1](y)
    widths = np.std(predictor.X[:, 1:], axis=0, ddof=1)
    effect_widths = np.array([1.0, widths[0]])
    residual = _mad(np.log(y)) if family == "lognormal" else _mad(y)
    precision = lambda value: st.invgamma.logpdf(value, 0.4, scale=0.3)  # noqa: E731
    return {
        "Intercept": lambda value: st.t.logpdf(value, 3, location, s),
        "b": lambda value: st.norm.logpdf(value, 0, 2.5 * spread / widths),
        "sd_g": lambda value: _half_t(value, s / effect_widths),
        "cor_g": 1.0,
        "sigma": lambda value: _half_t(value, residual),
        "nu": lambda nu: st.gamma.logpdf(nu, 2, scale=10) - st.gamma.logsf(1, 2, scale=10),
        "shape": precision,
        "phi": precision,
    }


# --- structures ---


def table(n=32):
    rng = np.random.default_rng(4)
    data = pd.DataFrame(
        {
            "y": rng.normal(0.4, 1.3, n),
            "x": rng.normal(2, 1.5, n),
            "w": rng.normal(size=n),
            "f": rng.permutation(np.resize(list("uvw"), n)),
            "g": rng.permutation(np.resize(list("pqrst"), n)),
            "h": rng.permutation(np.resize(list("klmn"), n)),
            "a": np.resize(list("AAAABBBBCCCC"), n),
            "trials": rng.integers(3, 9, n),
            "weight": rng.gamma(3, 0.4, n),
        }
    )
    data["b"] = np.resize([1, 2, 1, 2, 1, 2, 3, 3, 2, 2, 2, 4], n)
    return data


def _index(*columns):
    joined = pd.MultiIndex.from_arrays(columns) if len(columns) > 1 else pd.Index(columns[0])
    return np.asarray(joined.unique().sort_values().get_indexer(joined))


def _columns(*columns):
    return np.column_stack(np.broadcast_arrays(*columns)).astype(float)


def _dummies(column):
    return (np.asarray(column)[:, None] == np.unique(column)).astype(float)


def _one(d):
    return np.ones(len(d))


def _single(d):
    return Group(_index(d.g), _columns(_one(d)), ((0,),))


STRUCTURES = {
    "single": ("y ~ x + (1 | g)", lambda d: {"mu": Predictor(_columns(1, d.x), {"g": _single(d)})}),
    "no intercept": (
        "y ~ 0 + x + (1 | g)",
        lambda d: {"mu": Predictor(_columns(d.x), {"g": _single(d)}, intercept=False)},
    ),
    "intercept alone": (
        "y ~ 1 + (1 | g)",
        lambda d: {"mu": Predictor(_columns(_one(d)), {"g": _single(d)})},
    ),
    "offset and weights": (
        "weighted(y, weight) ~ x + offset(w) + (1 | g)",
        lambda d: {"mu": Predictor(_columns(1, d.x), {"g": _single(d)}, offset=d.w.to_numpy())},
    ),
    "slope": (
        "y ~ x + (1 + x | g)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x), {"g": Group(_index(d.g), _columns(1, d.x), ((0, 1),))}
            )
        },
    ),
    "two slopes": (
        "y ~ x + w + (1 + x + w | g)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x, d.w),
                {"g": Group(_index(d.g), _columns(1, d.x, d.w), ((0, 1, 2),))},
            )
        },
    ),
    "independent": (
        "y ~ x + (1 + x || g)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x), {"g": Group(_index(d.g), _columns(1, d.x), ((0,), (1,)))}
            )
        },
    ),
    "two blocks": (
        "y ~ x + (1 + x | g) + (0 + w | g)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x), {"g": Group(_index(d.g), _columns(1, d.x, d.w), ((0, 1), (2,)))}
            )
        },
    ),
    "two correlated blocks": (
        "y ~ x + (1 + x | g) + (0 + f | g)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x),
                {"g": Group(_index(d.g), _columns(1, d.x, *_dummies(d.f).T), ((0, 1), (2, 3, 4)))},
            )
        },
    ),
    "nested": (
        "y ~ x + (1 | a/b)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x),
                {
                    "a": Group(_index(d.a), _columns(_one(d)), ((0,),)),
                    "a:b": Group(_index(d.a, d.b), _columns(_one(d)), ((0,),)),
                },
            )
        },
    ),
    "crossed": (
        "y ~ x + (1 | g) + (1 + x | h)",
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x),
                {"g": _single(d), "h": Group(_index(d.h), _columns(1, d.x), ((0, 1),))},
            )
        },
    ),
    "sigma": (
        ["y ~ x + (1 + x | g)", "sigma ~ w + (1 | h)"],
        lambda d: {
            "mu": Predictor(
                _columns(1, d.x), {"g": Group(_index(d.g), _columns(1, d.x), ((0, 1),))}
            ),
            "sigma": Predictor(
                _columns(1, d.w), {"h": Group(_index(d.h), _columns(_one(d)), ((0,),))}
            ),
        },
    ),
}
every_structure = pytest.mark.parametrize("structure", STRUCTURES)


def given_priors(formula, data):
    """Priors of several kinds for every variable of a model: NumPyro's and SciPy's."""
    numpyros, scipys = {}, {}
    for slot in bm.Model(formula, data).spec.priors:
        variable = slot.slot.variable
        if variable.startswith("Intercept"):
            numpyros[variable] = dist.Logistic(0.3, 1.2)
            scipys[variable] = lambda value: st.logistic.logpdf(value, 0.3, 1.2)
        elif variable.startswith("b"):
            numpyros[variable] = dist.Cauchy(-0.2, 0.8)
            scipys[variable] = lambda value: st.cauchy.logpdf(value, -0.2, 0.8)
        elif variable.startswith("sd"):
            numpyros[variable] = dist.Gamma(2.0, 1.5)
            scipys[variable] = lambda value: st.gamma.logpdf(value, 2, scale=1 / 1.5)
        elif variable.startswith("cor"):
            numpyros[variable] = bm.LKJ(1.7)
            scipys[variable] = 1.7
        else:
            numpyros[variable] = dist.LogNormal(0.1, 0.7)
            scipys[variable] = lambda value: st.lognorm.logpdf(value, 0.7, scale=np.exp(0.1))
    return numpyros, scipys


# --- what the program says ---


@partial(jax.jit, static_argnums=0)
def evaluate(program, position, inputs):
    """The joint density in the sampler's coordinates, and what a result keeps."""
    return program.log_density(position, inputs), program.summarise(
        position, inputs, jax.random.key(0)
    )


@partial(jax.jit, static_argnums=0)
def evaluate_natural(program, position, inputs):
    """The joint density of the sites on their natural scale, and what a result keeps."""
    sites = numpyro.infer.util.constrain_fn(program.model, (inputs,), {}, position)
    total, _ = numpyro.infer.util.log_density(program.model, (inputs,), {}, sites)
    return total, program.summarise(position, inputs, jax.random.key(0))


def positions(program, inputs, seed, count=3):
    """Random positions in the sampler's coordinates."""
    rng = np.random.default_rng(seed)
    centre, _ = jax.eval_shape(program.starting_region, inputs)
    for _ in range(count):
        yield {name: rng.normal(0, 0.6, x.shape) for name, x in centre.items()}


def assert_agrees(program, inputs, position, textbook):
    """Joint density, its parts, and the variables of the posterior; returns both densities."""
    total, found = evaluate(program, position, inputs)
    assert float(total) == pytest.approx(textbook.total, rel=RTOL)
    np.testing.assert_allclose(found.log_likelihood, textbook.pointwise, rtol=RTOL, atol=1e-10)
    assert set(found.log_prior) == set(textbook.log_prior)
    for name, value in textbook.log_prior.items():
        assert float(found.log_prior[name]) == pytest.approx(value, rel=RTOL), name
    for name, value in textbook.variables.items():
        if name == "b" and "Intercept" in textbook.variables:
            X = textbook.predictors["mu"].X
            first = textbook.variables["Intercept"] - X[:, 1:].mean(axis=0) @ value
            value = np.append(first, value)
        elif name == "b_sigma":
            X = textbook.predictors["sigma"].X
            first = textbook.variables["Intercept_sigma"] - X[:, 1:].mean(axis=0) @ value
            value = np.append(first, value)
        np.testing.assert_allclose(found.quantities[name], value, rtol=RTOL, atol=1e-12)
    return float(total), textbook.total


@pytest.mark.parametrize("family", RESPONSES)
def test_density_of_every_family_with_its_default_priors(family, evidence):
    data = table()
    data["y"] = RESPONSES[family][0](np.random.default_rng(5), len(data))
    left = "prop(y, trials)" if FAMILIES[family].response.trials else "y"
    model = bm.Model(f"{left} ~ x + f + (1 + x | g)", data, family)
    program, inputs = model._prepared.program(), model._prepared.inputs
    dummies = _dummies(data.f)[:, 1:]
    group = Group(_index(data.g), _columns(1, data.x), ((0, 1),))
    predictor = Predictor(_columns(1, data.x, *dummies.T), {"g": group})
    y, trials = data["y"].to_numpy(float), data["trials"].to_numpy(float)
    priors = default_priors(family, y, predictor)
    pairs = []
    for position in positions(program, inputs, 6):
        textbook = Textbook(
            {"mu": predictor}, priors, position, scipy_density(family), y=y, trials=trials
        )
        pairs.append(assert_agrees(program, inputs, position, textbook))
    evidence("textbook", f"family: {family}", *zip(*pairs, strict=True), bound=RTOL)


@every_structure
def test_density_of_every_structure_with_given_priors(structure, evidence):
    data = table()
    formula, build = STRUCTURES[structure]
    priors, log_priors = given_priors(formula, data)
    model = bm.Model(formula, data, priors=priors)
    program, inputs = model._prepared.program(), model._prepared.inputs
    weights = data["weight"].to_numpy() if "weighted" in str(formula) else None
    pairs = []
    for position in positions(program, inputs, 7):
        textbook = Textbook(
            build(data),
            log_priors,
            position,
            scipy_density("gaussian"),
            y=data["y"].to_numpy(),
            weights=weights,
        )
        pairs.append(assert_agrees(program, inputs, position, textbook))
    evidence("textbook", f"design: {structure}", *zip(*pairs, strict=True), bound=RTOL)


def test_default_priors_of_a_parameter_with_a_formula():
    data = table()
    data["y"] = 50 * data["y"]
    formula, build = STRUCTURES["sigma"]
    model = bm.Model(formula, data)
    program, inputs = model._prepared.program(), model._prepared.inputs
    y, predictors = data["y"].to_numpy(), build(data)
    log_priors = default_priors("gaussian", y, predictors["mu"]) | {
        "Intercept_sigma": lambda v: st.t.logpdf(v, 3, np.log(np.std(y, ddof=1)), 2.5),
        "b_sigma": lambda v: st.norm.logpdf(v, 0, 2.5 / np.std(data.w, ddof=1)),
        "sd_sigma_h": lambda v: _half_t(v, 2.5),
    }
    (position,) = positions(program, inputs, 8, 1)
    density = scipy_density("gaussian")
    assert_agrees(
        program, inputs, position, Textbook(predictors, log_priors, position, density, y=y)
    )


def test_priors_of_different_kinds_within_one_variable():
    data = table()
    priors = {
        "b": dist.Normal(np.array([0.0, 0.5]), np.array([1.0, 2.0])),
        "b[w]": dist.StudentT(4.0, 0.5, 2.0),
        "sd_g": dist.HalfNormal(2.0),
        "sd_g[x]": dist.Exponential(0.8),
    }
    # A vector prior must fit the variable as a whole, so b[x]'s and b[w]'s numbers are both there.
    model = bm.Model("y ~ x + w + (1 + x || g)", data, priors=priors)
    program, inputs = model._prepared.program(), model._prepared.inputs
    (position,) = positions(program, inputs, 9, 1)
    total, found = evaluate(program, position, inputs)
    _, x, w = np.asarray(found.quantities["b"])
    first, second = np.asarray(found.quantities["sd_g"])
    expected = {
        "b": st.norm.logpdf(x, 0, 1) + st.t.logpdf(w, 4, 0.5, 2),
        "sd_g": st.halfnorm.logpdf(first, scale=2) + st.expon.logpdf(second, scale=1 / 0.8),
    }
    for name, value in expected.items():
        assert float(found.log_prior[name]) == pytest.approx(value, rel=RTOL)
    # The joint density has each of them once, and the Jacobian of each sd.
    rest = sum(float(v) for k, v in found.log_prior.items() if k not in expected)
    jacobian = np.log(first) + np.log(second) + float(position["sigma"])
    effects = st.norm.logpdf(np.asarray(position["z_g"])).sum()
    likelihood = float(found.log_likelihood.sum())
    assert float(total) == pytest.approx(
        sum(expected.values()) + rest + jacobian + effects + likelihood, rel=RTOL
    )


# --- the Gaussian model against an exact multivariate normal ---


@every_structure
def test_gaussian_model_is_a_multivariate_normal(structure):
    """log p(y, b | theta) - log p(b | y, theta), at any b, is log N(y; X beta, Z Sigma Z' + D)."""
    data = table()
    formula, build = STRUCTURES[structure]
    priors, _ = given_priors(formula, data)
    model = bm.Model(formula, data, priors=priors)
    program, inputs = model._prepared.program("centered"), model._prepared.inputs
    predictors, y = build(data), data["y"].to_numpy()
    groups = predictors["mu"].groups
    weighted = "weighted" in str(formula)
    weights = data["weight"].to_numpy() if weighted else np.ones(len(y))
    Z = np.hstack([group.dense() for group in groups.values()])
    for position in positions(program, inputs, 10):
        # The program: everything given theta and the effects, without the priors of theta.
        total, found = evaluate_natural(program, position, inputs)
        p_y_b = float(total) - sum(float(v) for v in found.log_prior.values())
        q = {name: np.asarray(value) for name, value in found.quantities.items()}
        # NumPy: theta, then the two normals.
        mean = predictors["mu"].X @ q["b"] + predictors["mu"].offset
        sigma = q.get("sigma")
        if sigma is None:
            rows = predictors["sigma"]
            effects = q["r_sigma_h"][rows.groups["h"].index, 0]
            sigma = np.exp(rows.X @ q["b_sigma"] + effects)
            p_y_b -= st.norm.logpdf(q["r_sigma_h"], 0, q["sd_sigma_h"]).sum()
        # w log N(y; mu, s^2) is log N(y; mu, s^2 / w) and a constant.
        noise = np.broadcast_to(sigma**2, y.shape) / weights
        constant = 0.5 * (np.log(2 * np.pi * noise) - weights * np.log(2 * np.pi * sigma**2)).sum()
        covariances = []
        for name, group in groups.items():
            R = q.get(f"cor_{name}", np.eye(group.columns.shape[1]))
            covariance = np.diag(q[f"sd_{name}"]) @ R @ np.diag(q[f"sd_{name}"])
            covariances += [covariance] * group.levels
        Sigma = np.zeros((Z.shape[1], Z.shape[1]))
        start = 0
        for block in covariances:
            stop = start + len(block)
            Sigma[start:stop, start:stop] = block
            start = stop
        precision = np.linalg.inv(Sigma) + Z.T @ (Z / noise[:, None])
        posterior = np.linalg.inv(precision)
        centre = posterior @ (Z.T @ ((y - mean) / noise))
        b = np.concatenate([q[f"r_{name}"].ravel() for name in groups])
        p_b_given_y = st.multivariate_normal.logpdf(b, centre, (posterior + posterior.T) / 2)
        V = Z @ Sigma @ Z.T + np.diag(noise)
        expected = st.multivariate_normal.logpdf(y, mean, V) + constant
        assert p_y_b - p_b_given_y == pytest.approx(expected, rel=RTOL)
