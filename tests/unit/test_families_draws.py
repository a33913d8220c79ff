"""The contract of families, draws: moments, support, priors; scalars, vmap and plates.

See `family_contract` for the rows that are tried.
"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from family_contract import (
    CATEGORIES,
    ROWS,
    TRIALS,
    TYPICAL,
    Rows,
    bound,
    every_family,
    generator,
    joined,
    responses,
    rows,
)

import bayesmm.distributions
from bayesmm.families import ANGLE, PRIOR_WORDS, Values, resolve_prior
from bayesmm.links import SUPPORTS

COLUMNS = 12
DRAWS = 10_000


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _typical(family, shifts):
    """Return one row for each shift, which is added to the typical linear predictors."""
    n = len(shifts)
    table = rows(family, [0.0], generator(family, 4), n, gaps=[1.0])
    typical = {name: TYPICAL.get(family.parameter(name).name, 0.0) for name in table.linear}

    def shifted(value, by):
        return value + by + np.reshape(shifts, (n, *[1] * (value.ndim - 1)))

    linear = {name: shifted(v, typical[name]) for name, v in table.linear.items()}
    for i, name in enumerate(family.predictors_of(family.parameters[0])):
        linear[name] = linear[name] + 0.4 * i  # not the same for each category
    natural = {
        p.name: shifted(table.natural[p.name], 0.0) if family.labels(p) else np.full(n, p.fixed)
        for p in family.parameters
        if p.name in table.natural
    }
    return Rows(table.y, linear, natural)


@every_family
def test_draws(family):
    """Two typical columns have the mean and variance declared; columns far out stay in support."""
    family = bound(family)
    rng = generator(family, 5)
    far = rows(family, [-9.0, -3.0, 3.0, 5.0], rng, COLUMNS - 2)
    table = joined(_typical(family, np.array([-0.3, 0.2])), far)
    if family.response.columns and family.response.integer:
        table = Rows(responses(family, COLUMNS), table.linear, table.natural)
    values = table.values(family)
    distribution = family.distribution(values)
    draws = np.asarray(distribution.sample(jax.random.key(3), (DRAWS,)))
    assert draws.shape == (DRAWS, *table.y.shape)
    trials = TRIALS if family.response.trials else None
    assert not family.response.check(draws, trials).any()
    # Whole numbers may come as floats: a Poisson of rate 1e80 fits no integer type.
    assert bool((draws == np.round(draws)).all()) == family.response.integer
    if family.response.columns and family.response.integer:
        assert (draws.sum(axis=-1) == table.y.sum(axis=-1)).all()
    if family.response.categories:
        assert draws.max() < len(CATEGORIES)
        draws = draws[..., None] == np.arange(len(CATEGORIES))

    draws = draws[:, :2].astype(float)
    moments = {"mean": np.asarray(family.mean(values))}
    if family.variance is not None:
        moments["variance"] = np.asarray(family.variance(values))
    if family.response is ANGLE:  # the mean is a direction, and angles are counted from it
        away = draws - moments["mean"][:2]
        draws = moments["mean"][:2] + (away + np.pi) % (2 * np.pi) - np.pi
    centred = draws - draws.mean(0)
    squares = centred**2 - centred.var(0)
    of_draws = {
        "mean": (draws.mean(0), draws.std(0)),
        "variance": (draws.var(0), np.sqrt((squares**2).mean(0))),
    }
    for which, declared in moments.items():
        assert declared.shape == (COLUMNS, *draws.shape[2:])
        got, spread = of_draws[which]
        assert (abs(got - declared[:2]) < 5 * spread / np.sqrt(DRAWS)).all(), which
        # A distribution that says its moments says the family's.
        try:
            of_distribution = getattr(distribution, which)
        except NotImplementedError:
            continue
        np.testing.assert_allclose(of_distribution[:2], declared[:2], rtol=1e-12)


@every_family
def test_one_model_for_scalars_vmap_and_plates(family):
    """Parameters may be scalars beside a vector mu, under vmap, as a site in a plate."""
    family = bound(family)
    main = family.predictors_of(family.parameters[0])
    table = _typical(family, np.array([0.0]))
    y = responses(family, ROWS)
    rest = {name: v[0] for name, v in table.linear.items() if name not in main}
    natural = {name: family.link(name).inverse(eta) for name, eta in rest.items()}
    natural |= {name: jnp.asarray(v[0]) for name, v in table.natural.items()}
    mu = {name: jnp.linspace(0.1, 0.9 + 0.1 * i, ROWS) for i, name in enumerate(main)}
    data = Rows(y, {}).data(family)
    y = jnp.asarray(y)

    def density(linear):
        values = Values(family, linear=linear, natural=natural, data=data)
        return family.distribution(values).log_prob(y)

    direct = density(mu)
    assert direct.shape == (ROWS,)
    repeated = {name: np.repeat([eta], ROWS, axis=0) for name, eta in rest.items()}
    vectors = {name: np.repeat(v, ROWS, axis=0) for name, v in table.natural.items()}
    by_rows = Rows(np.asarray(y), {**mu, **repeated}, vectors).values(family)
    # As an argument or a result of a JAX transformation, the distribution is what it was.
    leaves, tree = jax.tree.flatten(family.distribution(by_rows))
    again = jax.tree.unflatten(tree, leaves)
    np.testing.assert_allclose(direct, again.log_prob(y), rtol=1e-10)

    def of_one_row(linear, y, data):
        values = Values(family, linear=linear, natural=natural, data=data)
        return family.distribution(values).log_prob(y)

    axes = {name: 0 if jnp.ndim(value) else None for name, value in data.items()}
    by_vmap = jax.vmap(of_one_row, in_axes=(0, 0, axes))(mu, y, data)
    np.testing.assert_allclose(by_vmap, direct, rtol=1e-12)

    def model():
        values = Values(family, linear=mu, natural=natural, data=data)
        with numpyro.plate("rows", ROWS):
            numpyro.sample("y", family.distribution(values), obs=y)

    total, _ = numpyro.infer.util.log_density(model, (), {}, {})
    np.testing.assert_allclose(total, direct.sum(), rtol=1e-12)

    # Everything scalar: one distribution for all rows of a plate.
    def model_of_scalars():
        linear = {name: eta[0] for name, eta in mu.items()}
        same = {name: v[0] if jnp.ndim(v) else v for name, v in data.items()}
        values = Values(family, linear=linear, natural=natural, data=same)
        with numpyro.plate("rows", ROWS):
            numpyro.sample("y", family.distribution(values), obs=y)

    traced = numpyro.handlers.trace(model_of_scalars).get_trace()
    assert traced["y"]["fn"].batch_shape == (ROWS,)


@every_family
def test_default_priors_can_be_drawn(family):
    numbers = {**dict.fromkeys(PRIOR_WORDS, 0.4), "scale": 2.0, "link(sd)": 0.7}
    for parameter in family.parameters:
        for record in filter(None, (parameter.prior, parameter.intercept_prior)):
            name, args = resolve_prior(record, numbers)
            hash(record)
            ours = getattr(bayesmm.distributions, name, None)
            draws = (ours or getattr(dist, name))(*args).sample(jax.random.key(1), (100,))
            assert jnp.isfinite(draws).all()
            if record is parameter.prior:
                low, high = SUPPORTS[parameter.support]
                assert ((draws > low) & (draws < high)).all()
