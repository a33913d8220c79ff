"""Independence Metropolis: exact where it runs, and gone where it cannot be relied on."""

from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st

import bayesmm as bm
from bayesmm.engines import imh
from bayesmm.engines.imh import PoorProposal, Proposal


@dataclass(frozen=True)
class Normal:
    """A program whose posterior is a normal of given means and sds."""

    means: tuple[float, ...]
    sds: tuple[float, ...]
    integrated = True

    @property
    def size(self):
        return len(self.means)

    def log_density(self, position, inputs):
        z = (position["x"] - np.array(self.means)) / np.array(self.sds)
        return -0.5 * (z**2).sum()


@dataclass(frozen=True)
class Heavy(Normal):
    """Cauchy in each direction."""

    def log_density(self, position, inputs):
        z = (position["x"] - np.array(self.means)) / np.array(self.sds)
        return -jax.numpy.log1p(z**2).sum()


class Nothing:
    """Inputs of a model without groups."""

    class plan:
        factors = ()
        core = None
        dense = products = 0


jax.tree_util.register_static(Nothing)


def run(program, seed=0, engine=None, **more):
    settings = {"draws": 2000, "warmup": None, "chains": 4, "progress": False} | more
    with jax.enable_x64(True):
        engine = bm.IMH() if engine is None else engine
        return engine.run(program, Nothing(), key=jax.random.key(seed), **settings)


def test_moments_are_those_of_the_posterior():
    # Off the mode and of other scales than the proposal starts with.
    program = Normal((0.5, -0.3, 0.0), (0.7, 1.4, 1.0))
    draws = run(program).positions["x"].reshape(-1, 3)
    # Draws are 5 proposals apart, of which most are accepted: they are nearly independent, and
    # 0.8 of their number is a low estimate of what they are worth.
    worth = 0.8 * len(draws)
    z = (draws.mean(axis=0) - program.means) / np.array(program.sds) * np.sqrt(worth)
    ratio = draws.var(axis=0) / np.square(program.sds)
    assert np.abs(z).max() < st.norm.isf(0.0005 / 6)
    assert np.abs((ratio - 1) / np.sqrt(2 / worth)).max() < st.norm.isf(0.0005 / 6)
    assert st.kstest(draws[::2, 0], st.norm(0.5, 0.7).cdf).pvalue > 1e-4


def test_the_same_seed_gives_the_same_draws():
    program = Normal((0.0,), (1.0,))
    one, same, other = (run(program, seed).positions["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_accept_steps_follow_the_weights():
    # Three proposals: one that is always accepted, one never, one with probability 1/2.
    weights = np.log(np.tile([1.0, 2.0, 1e-12, 1.0], (4000, 1)))
    chosen, acceptance = imh._metropolis(np.random.default_rng(0), weights)
    assert (chosen[:, 0] == 1).all()
    assert (chosen[:, 1] == 1).all()
    np.testing.assert_allclose(acceptance[0], [1.0, 5e-13, 0.5])
    accepted = (chosen[:, 2] == 3).sum()
    assert st.binomtest(accepted, 4000, 0.5).pvalue > 1e-4


def test_a_density_that_is_not_finite_is_never_accepted():
    weights = np.array([[0.0, np.nan, np.inf, -np.inf, 0.0]])
    chosen, _ = imh._metropolis(np.random.default_rng(0), weights)
    assert not set(chosen[0]) & {1, 2, 3}


def test_density_of_the_proposal():
    root = np.array([[1.0, 0.0], [0.4, 0.6]])
    proposal = Proposal(np.array([1.0, -1.0]), root, 7.0)
    points = np.random.default_rng(0).normal(size=(5, 2))
    expected = st.multivariate_t([1.0, -1.0], root @ root.T, df=7).logpdf(points)
    np.testing.assert_allclose(proposal.log_density(points), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(Heavy((0.0,) * 3, (1.0,) * 3), id="tails"),
        pytest.param(Normal((9.0, 9.0), (0.1, 0.1)), id="elsewhere"),
        pytest.param(Normal((0.0,) * 2, (0.01,) * 2), id="few accepted"),
    ],
)
def test_a_poor_proposal_is_given_up(program):
    # With one round of warm-up nothing is matched: what is left is the first proposal.
    with pytest.raises(PoorProposal, match="too far from Student's t"):
        run(program, warmup=1, draws=500)


@pytest.mark.parametrize("draws", [1, 10])
def test_a_short_chain_is_no_reason_to_give_up(draws):
    # The largest weight is at least 1, and 2% of a short chain is less.
    assert run(Normal((0.0,), (1.0,)), draws=draws).positions["x"].shape == (4, draws, 1)


@pytest.mark.parametrize(
    "settings", [{"df": 0}, {"widen": -1.0}, {"thin": 0}, {"least_accept": 2}, {"df": "7"}]
)
def test_settings_are_checked(settings):
    (name,) = settings
    with pytest.raises(bm.SamplerError, match=name):
        bm.IMH(**settings)


def test_only_for_models_without_group_effects_to_sample(small_data):
    counts = small_data.assign(y=small_data["y"].round().abs().astype(int))
    with pytest.raises(bm.SamplerError, match="group effects are integrated out"):
        bm.fit("y ~ x + (1 | g)", small_data, parameterization="noncentered", engine=bm.IMH())
    with pytest.raises(bm.SamplerError, match="NUTS"):
        bm.fit("y ~ x + (1 | g)", counts, "poisson", engine=bm.IMH())


def test_the_choice_and_its_fallback(small_data, monkeypatch):
    settings = {"draws": 50, "warmup": 50, "chains": 2, "seed": 1}
    chosen = bm.fit("y ~ x + (1 | g)", small_data, **settings)
    assert chosen.posterior.attrs["engine"].startswith("IMH")
    assert chosen.posterior.attrs["parameterization"] == "marginal"
    monkeypatch.setattr(imh, "LONGEST_STAY", 0.0)
    monkeypatch.setattr(imh, "LARGE_WEIGHT", 0.0)
    fallen = bm.fit("y ~ x + (1 | g)", small_data, **settings)
    assert fallen.posterior.attrs["engine"].startswith("NUTS")
    assert "too far" in fallen.posterior.attrs["sampler_note"]


def test_agrees_with_nuts(evidence):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(30), 6)
    x = rng.normal(size=180)
    y = 1 + x + (rng.normal(size=(30, 2)) @ [[1.0, 0.0], [0.3, 0.5]])[g, 0] + rng.normal(size=180)
    data = pd.DataFrame({"y": y, "x": x, "g": pd.Categorical(g)})
    one, other = (
        bm.fit("y ~ x + (1 + x | g)", data, seed=1, engine=engine)
        for engine in (bm.IMH(), bm.NUTS())
    )
    import arviz_stats as az

    names = [name for name in one.posterior.data_vars if name != "cor_g"]
    mean, error = (f(one.posterior[names]) for f in (lambda p: p.mean(("chain", "draw")), az.mcse))
    mean_2, error_2 = (
        f(other.posterior[names]) for f in (lambda p: p.mean(("chain", "draw")), az.mcse)
    )
    count = sum(mean[name].size for name in names)
    bound, worst = st.norm.isf(0.0005 / count), 0.0
    for name in names:
        z = (mean[name] - mean_2[name]) / np.hypot(error[name], error_2[name])
        assert np.abs(z).max() < bound, name
        worst = max(worst, float(np.abs(z).max()))
    row = "independence Metropolis, random slopes: NUTS"
    evidence("draws", row, numbers=count, z=worst, bound=bound)
