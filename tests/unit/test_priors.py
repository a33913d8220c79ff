"""Default priors number by number, the keys that address them, and what a prior may not be."""

import json

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest
import scipy.stats as st

import bayesmm as bm
from bayesmm import families
from bayesmm.distributions import HalfStudentT, TruncatedGamma
from bayesmm.errors import PriorError
from bayesmm.priors import Prior, as_prior, pack, sample_vector
from bayesmm.spec import ModelSpec

N = 40
FAMILIES = families.names()


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    counts = rng.poisson(800, N)
    counts[:3] = 0
    return pd.DataFrame(
        {
            "y": 300 + 50 * rng.normal(size=N),
            "positive": np.exp(7 + 3 * rng.normal(size=N)),
            "unit": rng.uniform(0.1, 0.9, N),
            "binary": np.arange(N) % 2,
            "count": counts,
            "few": np.minimum(counts, 20),
            "total": 20,
            "x": 4 * rng.normal(size=N),
            "f": pd.Categorical(rng.choice(list("abc"), N)),
            "g": rng.choice(list("pqrs"), N),
            "h": rng.choice(list("tuv"), N),
        }
    )


def mad(values) -> float:
    """1.4826 times the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def spread(values) -> float:
    return float(np.std(np.asarray(values, float), ddof=1))


def numbers(model: bm.Model) -> dict[str, tuple]:
    """Each prior in force as (name, number, ...), by its parameter."""
    return {
        a.slot.label: (a.prior.name, *(value for _, value in a.prior.args))
        for a in model.spec.priors
    }


def check(found: dict, expected: dict) -> None:
    assert set(found) == set(expected)
    for label, (name, *args) in expected.items():
        assert found[label][0] == name, label
        np.testing.assert_allclose(found[label][1:], args, rtol=1e-12, err_msg=label)


# --- Defaults ---

RESPONSES = {
    "gaussian": "y",
    "student": "y",
    "lognormal": "positive",
    "gamma": "positive",
    "beta": "unit",
    "bernoulli": "binary",
    "binomial": "prop(few, total)",
    "poisson": "count",
    "negbinomial": "count",
}
FURTHER = {
    "sigma": lambda s: ("HalfStudentT", 3, s),
    "shape": lambda s: ("InverseGamma", 0.4, 0.3),
    "phi": lambda s: ("InverseGamma", 0.4, 0.3),
    "nu": lambda s: ("TruncatedGamma", 2, 0.1, 1),
}
LINKED = {
    "log": np.log,
    "inverse": lambda y: 1 / y,
    "sqrt": np.sqrt,
}
CASES = [(name, link) for name in RESPONSES for link in families.FAMILIES[name].parameters[0].links]


@pytest.mark.parametrize(("name", "link"), CASES)
def test_defaults_of_every_family_and_link(name, link, frame):
    response = RESPONSES[name]
    model = bm.Model(f"{response} ~ x + f + (x | g)", frame, name, link=link)
    y = frame[response if "(" not in response else "few"].to_numpy(float)
    y = np.log(y) if name == "lognormal" else y
    if link == "identity":
        location, s, s_y = np.median(y), mad(y), spread(y)
    elif link in LINKED:
        linked = LINKED[link](np.where(y == 0, 0.1, y))
        location, s, s_y = np.median(linked), max(2.5, mad(linked)), 1.0
    else:
        location, s, s_y = 0.0, 2.5, 1.0
    s_x = spread(frame["x"])
    b, c = (spread(frame["f"] == level) for level in "bc")
    expected = {
        "Intercept": ("StudentT", 3, location, s),
        "b[x]": ("Normal", 0, 2.5 * s_y / s_x),
        "b[f[b]]": ("Normal", 0, 2.5 * s_y / b),
        "b[f[c]]": ("Normal", 0, 2.5 * s_y / c),
        "sd_g[Intercept]": ("HalfStudentT", 3, s),
        "sd_g[x]": ("HalfStudentT", 3, s / s_x),
        "cor_g": ("LKJ", 1),
    }
    for parameter in model.spec.family.parameters[1:]:
        # sigma has the unit of y (for the lognormal of log(y)) under any link of mu.
        expected[parameter.name] = FURTHER[parameter.name](mad(y))
    check(numbers(model), expected)


def test_known_numbers():
    data = pd.DataFrame({"y": [1.0, 2, 3, 4, 100], "x": [1.0, 2, 3, 4, 5]})
    found = numbers(bm.Model("y ~ x", data))
    expected = {
        "Intercept": ("StudentT", 3, 3, 1.4826),
        "b[x]": ("Normal", 0, 2.5 * 43.61765697512878 / 1.5811388300841898),
        "sigma": ("HalfStudentT", 3, 1.4826),
    }
    check(found, expected)


def test_sd_where_mad_is_0_and_no_floor():
    y = np.array([5.0, 5, 5, 5, 6])
    for unit in (1e-9, 1.0, 1e9):
        found = numbers(bm.Model("y ~ 1", pd.DataFrame({"y": y * unit})))
        s = np.sqrt(0.2) * unit
        check(found, {"Intercept": ("StudentT", 3, 5 * unit, s), "sigma": ("HalfStudentT", 3, s)})


def test_zeros_count_as_a_tenth():
    zeros = pd.DataFrame({"y": [0, 0, 0, 0, 5000, 7000]})
    found = numbers(bm.Model("y ~ 1", zeros, "poisson"))
    # mad(log y) is 0 here, and 2.5 the least that s can be.
    check(found, {"Intercept": ("StudentT", 3, np.log(0.1), 2.5)})
    found = numbers(bm.Model("y ~ 1", zeros, "poisson", link="sqrt"))
    check(found, {"Intercept": ("StudentT", 3, np.sqrt(0.1), 2.5)})
    wide = pd.DataFrame({"y": [0, 0, 0, 2000, 5000, 7000, 9000]})
    location = np.log(2000)
    s = 1.4826 * np.log(9000 / 2000)
    s = 1.4826 * np.median(np.abs(np.log([0.1, 0.1, 0.1, 2000, 5000, 7000, 9000]) - location))
    assert s < 2.5
    check(
        numbers(bm.Model("y ~ 1", wide, "poisson")), {"Intercept": ("StudentT", 3, location, 2.5)}
    )
    wide = pd.DataFrame({"y": [0, 0, 0, 0, 20_000, 5000, 7000, 9000]})
    linked = np.log(np.where(wide["y"] == 0, 0.1, wide["y"]))
    assert mad(linked) > 2.5
    check(
        numbers(bm.Model("y ~ 1", wide, "poisson")),
        {"Intercept": ("StudentT", 3, np.median(linked), mad(linked))},
    )


def test_counts_in_the_thousands_have_a_sensible_intercept():
    data = pd.DataFrame({"y": [3000, 4000, 5000]})
    check(
        numbers(bm.Model("y ~ 1", data, "negbinomial")),
        {
            "Intercept": ("StudentT", 3, np.log(4000), 2.5),
            "shape": ("InverseGamma", 0.4, 0.3),
        },
    )


def test_log_link_and_negative_values(frame):
    data = pd.DataFrame({"y": [-3.0, 0.0, 2.0, 8.0, 4.0]})
    found = numbers(bm.Model("y ~ 1", data, "gaussian", link="log"))
    linked = np.log([0.1, 2.0, 8.0, 4.0])
    expected = ("StudentT", 3, np.median(linked), max(2.5, mad(linked)))
    check({"Intercept": found["Intercept"]}, {"Intercept": expected})
    found = numbers(bm.Model("y ~ 1", data.assign(y=-data["y"] - 9), "gaussian", link="log"))
    check({"Intercept": found["Intercept"]}, {"Intercept": ("StudentT", 3, 0, 2.5)})


def test_defaults_of_further_predictors(frame):
    model = bm.Model(["y ~ 1", "sigma ~ x + (1 + x | g)"], frame)
    s_x = spread(frame["x"])
    expected = {
        "Intercept": ("StudentT", 3, np.median(frame["y"]), mad(frame["y"])),
        "Intercept_sigma": ("StudentT", 3, np.log(spread(frame["y"])), 2.5),
        "b_sigma[x]": ("Normal", 0, 2.5 / s_x),
        "sd_sigma_g[Intercept]": ("HalfStudentT", 3, 2.5),
        "sd_sigma_g[x]": ("HalfStudentT", 3, 2.5 / s_x),
        "cor_sigma_g": ("LKJ", 1),
    }
    check(numbers(model), expected)


@pytest.mark.parametrize(
    ("family", "parameter", "location"),
    [
        ("gaussian", "sigma", lambda d: np.log(spread(d["y"]))),
        ("student", "sigma", lambda d: np.log(spread(d["y"]))),
        ("lognormal", "sigma", lambda d: np.log(spread(np.log(d["positive"])))),
        ("student", "nu", lambda d: 0),
        ("gamma", "shape", lambda d: 0),
        ("negbinomial", "shape", lambda d: 0),
        ("beta", "phi", lambda d: 0),
    ],
)
def test_intercepts_of_further_parameters(family, parameter, location, frame):
    model = bm.Model([f"{RESPONSES[family]} ~ 1", f"{parameter} ~ x"], frame, family)
    found = numbers(model)
    assert parameter not in found
    s_x = spread(frame["x"])
    check(
        {key: found[key] for key in (f"Intercept_{parameter}", f"b_{parameter}[x]")},
        {
            f"Intercept_{parameter}": ("StudentT", 3, location(frame), 2.5),
            f"b_{parameter}[x]": ("Normal", 0, 2.5 / s_x),
        },
    )


def test_sigma_under_another_link(frame):
    found = numbers(bm.Model(["y ~ 1", "sigma ~ 1"], frame, link={"sigma": "softplus"}))
    inverse = np.log(np.expm1(spread(frame["y"])))
    check(
        {"Intercept_sigma": found["Intercept_sigma"]},
        {"Intercept_sigma": ("StudentT", 3, inverse, 2.5)},
    )


def test_scales_of_blocks(frame):
    found = numbers(bm.Model("y ~ 0 + x + (1 | g) + (0 + f | h) + (0 + x || g:h)", frame))
    s, s_y = mad(frame["y"]), spread(frame["y"])
    expected = {
        "b[x]": ("Normal", 0, 2.5 * s_y / spread(frame["x"])),
        "sd_g[Intercept]": ("HalfStudentT", 3, s),
        "sd_g:h[x]": ("HalfStudentT", 3, s / spread(frame["x"])),
        "cor_h": ("LKJ", 1),
        "sigma": ("HalfStudentT", 3, s),
    }
    for level in "abc":
        width = spread(frame["f"] == level)
        expected[f"sd_h[f[{level}]]"] = ("HalfStudentT", 3, s / width)
    check(found, expected)


def test_rows_of_weight_0_are_left_out_of_scaling(frame):
    weighted = frame.assign(w=np.where(np.arange(N) < 25, 1.5, 0.0))
    found = bm.Model("weighted(y, w) ~ x + (x | g)", weighted)
    known = bm.Model("y ~ x + (x | g)", frame.iloc[:25])
    check(numbers(found), numbers(known))


# --- Keys ---

FORMULA = ["y ~ x + f + (x | g) + (1 | h)", "sigma ~ x + (1 | g)"]


def sources(frame, priors, formula=FORMULA, family="gaussian") -> dict[str, str | None]:
    model = bm.Model(formula, frame, family, priors)
    return {a.slot.label: a.key for a in model.spec.priors}


def test_the_most_specific_key_wins(frame):
    wide, narrow, one = dist.Normal(0, 9), dist.Normal(0, 2), dist.Normal(0, 1)
    for order in (1, -1):
        given = {"b": wide, "b[f]": narrow, "b[f[c]]": one}
        model = bm.Model(FORMULA, frame, priors=dict(list(given.items())[::order]))
        found = {a.slot.label: (a.key, a.prior.args[-1][1]) for a in model.spec.priors}
        assert found["b[x]"] == ("b", 9)
        assert found["b[f[b]]"] == ("b[f]", 2)
        assert found["b[f[c]]"] == ("b[f[c]]", 1)
        assert found["b_sigma[x]"][0] is None
        assert found["Intercept"][0] is None


@pytest.mark.parametrize(
    ("key", "labels"),
    [
        ("Intercept", ["Intercept"]),
        ("Intercept_sigma", ["Intercept_sigma"]),
        ("b", ["b[x]", "b[f[b]]", "b[f[c]]"]),
        ("b[x]", ["b[x]"]),
        ("b[f]", ["b[f[b]]", "b[f[c]]"]),
        ("b[f[b]]", ["b[f[b]]"]),
        ("b_sigma", ["b_sigma[x]"]),
        ("b_sigma[x]", ["b_sigma[x]"]),
        ("sd", ["sd_g[Intercept]", "sd_g[x]", "sd_h[Intercept]", "sd_sigma_g[Intercept]"]),
        ("sd_g", ["sd_g[Intercept]", "sd_g[x]"]),
        ("sd_g[x]", ["sd_g[x]"]),
        ("sd_sigma_g", ["sd_sigma_g[Intercept]"]),
        ("sd_h[Intercept]", ["sd_h[Intercept]"]),
    ],
)
def test_what_each_key_addresses(key, labels, frame):
    prior = dist.HalfNormal(1.5)
    found = sources(frame, {key: prior})
    assert [label for label, source in found.items() if source == key] == labels
    assert all(source in (key, None) for source in found.values())


def test_keys_of_other_parameters_and_groups(frame):
    found = sources(frame, {"cor": bm.LKJ(2)}, "y ~ (x | g) + (f | h)")
    assert [label for label, key in found.items() if key] == ["cor_g", "cor_h"]
    found = sources(frame, {"cor": bm.LKJ(2), "cor_h": bm.LKJ(3)}, "y ~ (x | g) + (f | h)")
    assert (found["cor_g"], found["cor_h"]) == ("cor", "cor_h")
    found = sources(frame, {"sd_g:h": dist.HalfNormal(1)}, "y ~ (x | g:h)")
    assert found["sd_g:h[x]"] == "sd_g:h"
    found = sources(frame, {"b[x:f]": dist.Normal(0, 1)}, "y ~ x:f")
    assert sum(key == "b[x:f]" for key in found.values()) == 3
    found = sources(frame, {"b[poly(x, 2)]": dist.Normal(0, 1)}, "y ~ poly(x, 2)")
    assert sum(key == "b[poly(x, 2)]" for key in found.values()) == 2
    found = sources(frame, {"nu": dist.TruncatedNormal(9, 5, low=1)}, "y ~ x", "student")
    assert found["nu"] == "nu"
    found = sources(frame, {"shape": dist.Gamma(2, 0.1)}, "count ~ x", "negbinomial")
    assert found["shape"] == "shape"


def test_table_of_priors(frame):
    model = bm.Model("y ~ x + (x | g)", frame, priors={"b": dist.Normal(0, 2.5), "cor": bm.LKJ(2)})
    table = model.priors
    assert table.index.name == "parameter"
    assert list(table.columns) == ["prior", "source"]
    assert list(table.index) == [
        "Intercept",
        "b[x]",
        "sd_g[Intercept]",
        "sd_g[x]",
        "cor_g",
        "sigma",
    ]
    assert table.loc["b[x]"].tolist() == ["Normal(0, 2.5)", "priors['b']"]
    assert table.loc["cor_g"].tolist() == ["LKJ(2)", "priors['cor']"]
    assert table.loc["sigma", "source"] == "default"
    assert table.loc["sigma", "prior"].startswith("HalfStudentT(3, ")


# --- Vectors, and several distributions in one ---


def test_vector_priors(frame):
    scales = np.array([1.0, 2.0, 3.0])
    for prior in (dist.Normal(0, scales), dist.Normal(np.zeros(3), scales).to_event(1)):
        found = numbers(bm.Model("y ~ x + f", frame, priors={"b": prior}))
        for label, scale in zip(("b[x]", "b[f[b]]", "b[f[c]]"), scales, strict=True):
            assert found[label] == ("Normal", 0, scale)
    found = numbers(bm.Model("y ~ x + f", frame, priors={"b[f]": dist.Normal(0, scales[1:])}))
    assert (found["b[f[b]]"], found["b[f[c]]"]) == (("Normal", 0, 2), ("Normal", 0, 3))
    given = {"b": dist.Normal(0, scales), "b[f[b]]": dist.Cauchy(0, 9)}
    found = numbers(bm.Model("y ~ x + f", frame, priors=given))
    assert found["b[f[b]]"] == ("Cauchy", 0, 9)
    assert found["b[f[c]]"] == ("Normal", 0, 3)
    for prior in (dist.Normal(0, 4).expand([3]), dist.Normal(0, 4).expand([3]).to_event(1)):
        assert numbers(bm.Model("y ~ x + f", frame, priors={"b": prior}))["b[x]"][2] == 4
    truncated = dist.TruncatedNormal(np.array([1.0, 2.0]), 0.5, low=0.0)
    model = bm.Model("y ~ (x | g)", frame, priors={"sd_g": truncated})
    bases = [a.prior.base for a in model.spec.priors if a.key]
    assert [dict(base.args)["loc"] for base in bases] == [1, 2]


@pytest.mark.parametrize(
    ("key", "prior", "shape", "count"),
    [
        ("b", dist.Normal(0, np.ones(2)), "(2,)", "3 numbers"),
        ("b[x]", dist.Normal(0, np.ones(2)), "(2,)", "1 number."),
        ("b", dist.Normal(0, np.ones((3, 1))), "(3, 1)", "3 numbers"),
        ("Intercept", dist.Normal(np.zeros(3), 1).to_event(1), "(3,)", "1 number."),
        ("b[f]", dist.Normal(0, 1).expand([3]), "(3,)", "2 numbers"),
    ],
)
def test_vectors_of_the_wrong_shape(key, prior, shape, count, frame):
    with pytest.raises(PriorError) as caught:
        bm.Model("y ~ x + f", frame, priors={key: prior})
    message = str(caught.value)
    assert f"priors[{key!r}] has shape {shape}" in message
    assert f"addresses {count}" in message


def test_several_distributions_in_one_vector():
    given = [
        Prior("Normal", (("loc", 1.0), ("scale", 2.0))),
        Prior("Cauchy", (("loc", 0.0), ("scale", 3.0))),
        Prior("Normal", (("loc", -1.0), ("scale", 0.5))),
        Prior("Laplace", (("loc", 0.0), ("scale", 4.0))),
    ]
    structure, values = pack("b", given)
    assert [site.positions for site in structure.sites] == [(0, 2), (1,), (3,)]
    assert len({site.name for site in structure.sites}) == 3
    with jax.enable_x64(True):
        seeded = numpyro.handlers.seed(lambda: sample_vector(structure, values), 0)
        with numpyro.handlers.trace() as trace:
            b = seeded()
        total = sum(site["fn"].log_prob(site["value"]).sum() for site in trace.values())
    b = np.asarray(b)
    expected = (
        st.norm(1, 2).logpdf(b[0])
        + st.cauchy(0, 3).logpdf(b[1])
        + st.norm(-1, 0.5).logpdf(b[2])
        + st.laplace(0, 4).logpdf(b[3])
    )
    np.testing.assert_allclose(float(total), expected, rtol=1e-12)


def test_density_of_a_model_with_several_distributions(frame):
    given = {
        "b[x]": dist.Cauchy(0, 3),
        "b[f]": dist.Laplace(0, 2),
        "sd_g[x]": dist.Exponential(0.5),
        "sigma": dist.LogNormal(0, 1),
        "cor": bm.LKJ(3),
    }
    model = bm.Model("y ~ x + f + (x | g)", frame, priors=given)

    def run(key):
        with numpyro.handlers.trace() as trace:
            drawn = numpyro.handlers.seed(model.numpyro_model, key)()
        return drawn, {
            name: site["fn"].log_prob(site["value"]).sum()
            for name, site in trace.items()
            if site["type"] == "sample" and not site["is_observed"] and name != "z_g"
        }

    with jax.enable_x64(True):
        fixed, total = jax.tree.map(np.asarray, jax.jit(run)(jax.random.key(1)))
    location, s = np.median(frame["y"]), mad(frame["y"])
    b, sd = fixed["b"], fixed["sd_g"]
    rho = fixed["cor_g"][0, 1]
    expected = (
        st.t(3, location, s).logpdf(fixed["Intercept"])
        + st.cauchy(0, 3).logpdf(b[1])
        + st.laplace(0, 2).logpdf(b[2:]).sum()
        + np.log(2)
        + st.t(3, 0, s).logpdf(sd[0])
        + st.expon(scale=2).logpdf(sd[1])
        + st.lognorm(1).logpdf(fixed["sigma"])
        # A 2x2 correlation matrix under LKJ(eta): (1 + rho) / 2 is Beta(eta, eta); the Cholesky
        # factor (rho, sqrt(1 - rho^2)) has the same density in its one free element.
        + st.beta(3, 3).logpdf((1 + rho) / 2)
        - np.log(2)
    )
    np.testing.assert_allclose(sum(total.values()), expected, rtol=1e-10)


# --- Refusals ---

MODEL = "y ~ x + f + (x | g)"
REFUSED = [
    ({"beta": dist.Normal(0, 1)}, ["'beta'", "keys are", "'b[x]'", "'sd_g'", "'cor'"]),
    ({"sd_G": dist.HalfNormal(1)}, ["'sd_G'", "Did you mean 'sd_g'?"]),
    ({"b[z]": dist.Normal(0, 1)}, ["'b[z]'", "'b[x]'"]),
    ({"b[Intercept]": dist.Normal(0, 1)}, ["centred predictors", "write 'Intercept'"]),
    ({"Intercept_sigma": dist.Normal(0, 1)}, ["'Intercept_sigma'", "does not have"]),
    ({"r_g": dist.Normal(0, 1)}, ["'r_g'", "does not have"]),
    ({3: dist.Normal(0, 1)}, ["the key 3"]),
    ({"sd": dist.Normal(0, 1)}, ["'sd'", "Normal", "-inf to inf", "sd_g[Intercept] is positive"]),
    ({"sigma": dist.StudentT(3, 0, 1)}, ["'sigma'", "StudentT", "bm.HalfStudentT"]),
    ({"sigma": dist.Uniform(-1, 1)}, ["'sigma'", "Uniform", "-1 to 1", "positive"]),
    ({"sd_g[x]": dist.TruncatedNormal(0, 1, low=-1.0)}, ["'sd_g[x]'", "-1 to inf"]),
    ({"sigma": dist.TruncatedNormal(0, 1, high=1.0)}, ["'sigma'", "-inf to 1"]),
    ({"b": dist.Poisson(2.0)}, ["'b'", "discrete", "b[x] is not"]),
    ({"sigma": dist.Geometric(0.5)}, ["'sigma'", "discrete"]),
    ({"b": dist.Bernoulli(0.5)}, ["'b'", "discrete"]),
    ({"b": bm.LKJ(1)}, ["'b'", "LKJ(1)", "b[x] needs a prior on real"]),
    ({"sd": bm.LKJ(1)}, ["'sd'", "needs a prior on positive"]),
    ({"cor": dist.Normal(0, 1)}, ["'cor'", "Normal(0, 1)", "cor_g needs bm.LKJ(eta)"]),
    ({"cor": dist.LKJ(2, np.ones(3))}, ["'cor'", "shape (3,)", "bm.LKJ(eta)"]),
    ({"b": dist.Normal}, ["'b'", "class Normal", "instance"]),
    ({"b": bm.LKJ}, ["'b'", "LKJ"]),
    ({"b": 3.0}, ["'b'", "3.0", "dist.Normal(0, 2.5)"]),
    ({"b": "normal(0, 1)"}, ["'b'", "normal(0, 1)", "NumPyro"]),
    ({"b": None}, ["'b'", "None"]),
    ({"b": st.norm(0, 1)}, ["'b'", "NumPyro"]),
    ({"b": dist.MultivariateNormal(np.zeros(3), np.eye(3))}, ["'b'", "joint", "3 numbers"]),
    ({"b": dist.Normal(0, 1).mask(False)}, ["'b'", "MaskedDistribution", "plain numbers"]),
    ({"b": dist.Delta(0.0)}, ["'b'", "Delta", "offset"]),
    (
        {"b": dist.MixtureSameFamily(dist.Categorical(np.ones(2) / 2), dist.Normal(np.zeros(2)))},
        ["'b'", "plain numbers"],
    ),
    ({"b": dist.ImproperUniform(dist.constraints.real, (), ())}, ["'b'", "ImproperUniform"]),
    (
        {"sigma": bm.HalfStudentT(3, -1, validate_args=False)},
        ["'sigma'", "scale=-1", "not allowed"],
    ),
    ({"sigma": bm.HalfStudentT(3, np.nan, validate_args=False)}, ["'sigma'", "scale=nan"]),
    ([("b", dist.Normal(0, 1))], ["list", "mapping"]),
    (dist.Normal(0, 1), ["Normal", "mapping"]),
]


@pytest.mark.parametrize(("priors", "words"), REFUSED)
def test_refused_priors(priors, words, frame):
    with pytest.raises(PriorError) as caught:
        bm.Model(MODEL, frame, priors=priors)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("family", "key", "prior", "words"),
    [
        ("student", "nu", dist.Gamma(2, 0.1), ["'nu'", "0 to inf", "above 1"]),
        ("beta", "phi", dist.Normal(0, 1), ["'phi'", "positive"]),
        ("negbinomial", "shape", dist.Normal(0, 1), ["'shape'", "positive"]),
        ("poisson", "sigma", dist.HalfNormal(1), ["'sigma'", "does not have"]),
    ],
)
def test_refused_priors_of_families(family, key, prior, words, frame):
    with pytest.raises(PriorError) as caught:
        bm.Model(f"{RESPONSES[family]} ~ x", frame, family, {key: prior})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("eta", [0, -1, float("inf"), float("nan"), "2", None])
def test_refused_concentration(eta):
    with pytest.raises(PriorError, match="positive number"):
        bm.LKJ(eta)


# --- What is accepted, and how it is kept ---

ACCEPTED = [
    ("b", dist.Normal(0.1, 0.3), st.norm(0.1, 0.3)),
    ("b", dist.Uniform(-0.3, 0.7), st.uniform(-0.3, 1)),
    ("b", dist.HalfNormal(0.3), st.halfnorm(scale=0.3)),
    ("b", dist.Cauchy(0.1, 0.3), st.cauchy(0.1, 0.3)),
    ("b", dist.Laplace(0.1, 0.3), st.laplace(0.1, 0.3)),
    ("b", dist.Logistic(0.1, 0.3), st.logistic(0.1, 0.3)),
    ("b", dist.StudentT(4.1, 0.1, 0.3), st.t(4.1, 0.1, 0.3)),
    ("b", dist.TruncatedNormal(0.1, 0.3, high=0.7), None),
    ("b", dist.TruncatedNormal(0.1, 0.3, low=-0.7, high=0.7), None),
    ("sigma", dist.HalfNormal(0.3), st.halfnorm(scale=0.3)),
    ("sigma", dist.HalfCauchy(0.3), st.halfcauchy(scale=0.3)),
    ("sigma", dist.Exponential(0.3), st.expon(scale=1 / 0.3)),
    ("sigma", dist.Gamma(2.1, 0.3), st.gamma(2.1, scale=1 / 0.3)),
    ("sigma", dist.InverseGamma(2.1, 0.3), st.invgamma(2.1, scale=0.3)),
    ("sigma", dist.LogNormal(0.1, 0.3), st.lognorm(0.3, scale=np.exp(0.1))),
    ("sigma", dist.Uniform(0, 5.3), st.uniform(0, 5.3)),
    ("sigma", dist.Beta(2.1, 0.3), st.beta(2.1, 0.3)),
    ("sigma", dist.Weibull(2.1, 0.3), st.weibull_min(0.3, scale=2.1)),
    ("sigma", bm.HalfStudentT(3.1, 0.3), None),
    (
        "sigma",
        dist.TruncatedNormal(0.1, 0.3, low=0.0),
        st.truncnorm(-0.1 / 0.3, np.inf, 0.1, 0.3),
    ),
    (
        "sigma",
        dist.TruncatedNormal(0.1, 0.3, low=0.2, high=0.7),
        st.truncnorm(0.1 / 0.3, 2, 0.1, 0.3),
    ),
    ("sigma", dist.TruncatedCauchy(0.1, 0.3, low=0.2), None),
    (
        "sigma",
        dist.FoldedDistribution(dist.StudentT(3, 0.0, 0.3)),
        None,
    ),
]


@pytest.mark.parametrize(("key", "prior", "scipy"), ACCEPTED, ids=lambda v: type(v).__name__)
def test_accepted_priors_keep_their_numbers(key, prior, scipy, frame):
    model = bm.Model("y ~ x", frame, priors={key: prior})
    (kept,) = [a.prior for a in model.spec.priors if a.key == key]
    # Kept as text and read again, the numbers are the same to the last bit.
    again = Prior.from_data(json.loads(json.dumps(kept.as_data())))
    assert again == kept
    assert hash(again) == hash(kept)
    plain = [value for _, value in kept.args] + [v for _, v in (kept.base or kept).args]
    assert all(type(value) is float for value in plain)
    # The objects were made outside the float64 scope: 0.3 must not have become 0.30000001.
    assert not any(
        value != np.float32(value) and value == float(np.float32(0.3)) for value in plain
    )
    assert {0.3, 5.3} & {abs(value) for value in plain}
    values = np.array([0.25, 0.5, 0.69])
    with jax.enable_x64(True):
        found = np.asarray(again.distribution().log_prob(values))
        expected = prior.log_prob(values) if scipy is None else scipy.logpdf(values)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_lkj_in_its_forms(frame):
    for prior in (bm.LKJ(2.3), dist.LKJ(2, 2.3), dist.LKJCholesky(2, 2.3)):
        model = bm.Model("y ~ (x | g)", frame, priors={"cor": prior})
        assert numbers(model)["cor_g"] == ("LKJ", 2.3)
    kept = as_prior(bm.LKJ(2.3), "cor")[0]
    assert Prior.from_data(json.loads(json.dumps(kept.as_data()))) == kept


def test_double_precision_of_vectors(frame):
    prior = dist.Normal(np.array([0.1, 0.2, 0.3]), np.array([0.7, 0.8, 0.9]))
    found = numbers(bm.Model("y ~ x + f", frame, priors={"b": prior}))
    assert found["b[f[c]]"] == ("Normal", 0.3, 0.9)


def test_specification_with_priors_is_a_value(frame):
    def spec(scale) -> ModelSpec:
        given = {"b": dist.Normal(0, scale), "sigma": dist.TruncatedNormal(0, 1, low=0.0)}
        return bm.Model("y ~ x", frame, priors=given).spec

    assert spec(2.0) == spec(2.0)
    assert hash(spec(2.0)) == hash(spec(2.0))
    assert spec(2.0) != spec(3.0)
    # Other numbers of the same distributions run the same compiled program.
    assert spec(2.0).pack()[0] == spec(3.0).pack()[0]
    kept = json.loads(spec(2.0).to_text())["priors"]
    assert [row["key"] for row in kept] == [None, "b", "sigma"]


# --- The package's own distributions ---


def test_half_student_t():
    dfs, scale = np.array([1.5, 3.0, 30.0]), 2.5
    exact = st.t(dfs, 0, scale)
    values = np.array([1e-8, 0.1, 1.0, 7.0, 1e3])[:, None]
    with jax.enable_x64(True):
        ours = HalfStudentT(dfs, scale)
        np.testing.assert_allclose(
            ours.log_prob(values), np.log(2) + exact.logpdf(values), rtol=1e-12
        )
        mean = [2 * st.t(df, 0, scale).expect(lambda x: x, lb=0) for df in dfs]
        np.testing.assert_allclose(ours.mean, mean, rtol=1e-6)
        variance = np.where(dfs > 2, exact.var() - np.square(mean), np.inf)
        np.testing.assert_allclose(ours.variance, variance, rtol=1e-6)
        draws = np.asarray(ours.sample(jax.random.key(0), (20_000,)))
    assert draws.shape == (20_000, 3)
    for column, df in zip(draws.T, dfs, strict=True):
        one = st.t(df, 0, scale)
        assert st.kstest(column, lambda x, one=one: 2 * one.cdf(x) - 1).pvalue > 1e-3


def test_half_student_t_without_moments():
    assert np.isposinf(HalfStudentT(1.0, 2.0).mean)
    assert np.isposinf(HalfStudentT(2.0, 2.0).variance)


def test_half_student_t_of_arrays():
    assert HalfStudentT(3, np.array([1.0, 2.0])).batch_shape == (2,)
    wide = HalfStudentT(3, 1.0).expand((4,))
    assert jax.eval_shape(lambda key: wide.sample(key, (5,)), jax.random.key(0)).shape == (5, 4)


def test_truncated_gamma():
    concentration, rate, low = np.array([[2.0, 5.0], [0.1, 2.0], [1.0, 3.0]])
    exact = st.gamma(concentration, scale=1 / rate)
    values = low + np.array([1e-6, 0.5, 3.0, 40.0])[:, None]
    with jax.enable_x64(True):
        ours = TruncatedGamma(concentration, rate, low)
        expected = exact.logpdf(values) - exact.logsf(low)
        np.testing.assert_allclose(ours.log_prob(values), expected, rtol=1e-10)
        draws = np.asarray(ours.sample(jax.random.key(1), (20_000,)))
        np.testing.assert_array_equal(ours.support.lower_bound, low)
    assert (draws > low).all()
    for i in range(2):
        one = st.gamma(concentration[i], scale=1 / rate[i])
        mean = one.expect(lambda x: x, lb=low[i], conditional=True)
        np.testing.assert_allclose(draws[:, i].mean(), mean, rtol=0.03)
        below = one.cdf(low[i])
        found = st.kstest(draws[:, i], lambda x, c=one, p=below: (c.cdf(x) - p) / (1 - p))
        assert found.pvalue > 1e-3


def test_mass_below():
    prior = Prior("HalfStudentT", (("df", 3.0), ("scale", 2.0)))
    exact = 2 * st.t(3, 0, 2).cdf(0.5) - 1
    np.testing.assert_allclose(prior.mass_below(0.5), exact, rtol=1e-5)


def test_an_lkj_of_another_dimension_is_refused(small_data):
    formula = "y ~ x + (x | g)"
    with pytest.raises(bm.PriorError, match="5 x 5 matrices.*cor_g has 2 x 2.*bm.LKJ"):
        bm.Model(formula, small_data, priors={"cor": dist.LKJ(5, 2.0)})
    same = bm.Model(formula, small_data, priors={"cor": dist.LKJ(2, 2.0)})
    assert same.spec == bm.Model(formula, small_data, priors={"cor": bm.LKJ(2)}).spec


def test_a_truncated_t_is_refused_because_it_cannot_be_drawn(small_data):
    prior = dist.TruncatedDistribution(dist.StudentT(3.0, 0.0, 1.0), low=0.0)
    with pytest.raises(bm.PriorError, match="truncated Student-t.*bm.HalfStudentT"):
        bm.Model("y ~ x", small_data, priors={"sigma": prior})


def test_mass_below_of_priors_that_are_singular_or_bounded_away():
    singular = Prior.of("Gamma", [0.05, 1.0])
    assert singular.mass_below(0.1) == pytest.approx(st.gamma(0.05).cdf(0.1), rel=1e-4)
    assert Prior.of("Uniform", [2.0, 3.0]).mass_below(1.0) == 0.0


def test_the_intercept_is_located_after_the_offset(small_data):
    data = small_data.assign(n=np.arange(40), pop=np.linspace(5e4, 2e5, 40))
    model = bm.Model("n ~ x + offset(log(pop))", data, "poisson")
    linked = np.log(np.where(data["n"] == 0, 0.1, data["n"]))
    assert_prior(model, "Intercept", [3, np.median(linked - np.log(data["pop"])), 2.5])
    shifted = bm.Model("y ~ x + offset(3 * x)", data)
    location = np.median(data["y"] - 3 * data["x"])
    assert dict(shifted.spec.priors[0].prior.args)["loc"] == pytest.approx(location)


def assert_prior(model, label, numbers):
    prior = next(a.prior for a in model.spec.priors if a.slot.label == label)
    assert [value for _, value in prior.args] == pytest.approx(numbers)
