"""Every link, against its definition in mpmath: round trips, tails, gradients.

A link that joins `LINKS` is tested here once its inverse is written in `INVERSES`.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from bayesmm.errors import BayesmmError, FamilyError
from bayesmm.links import LINKS, SUPPORTS, clipped_exp, get_link

# The natural value as a function of the linear predictor, and one minus it where it is asked for
# (written apart, because 1 - value would need 10^400 digits).
INVERSES = {
    "identity": (lambda e: e, None),
    "inverse": (lambda e: 1 / e, None),
    "log": (mp.exp, None),
    "sqrt": (lambda e: e**2, None),
    "tan_half": (lambda e: 2 * mp.atan(e), None),
    "softplus": (lambda e: mp.log1p(mp.exp(e)), None),
    "logm1": (lambda e: 1 + mp.exp(e), None),
    "logit": (lambda e: 1 / (1 + mp.exp(-e)), lambda e: 1 / (1 + mp.exp(e))),
    "probit": (lambda e: mp.erfc(-e / mp.sqrt(2)) / 2, lambda e: mp.erfc(e / mp.sqrt(2)) / 2),
    "cloglog": (lambda e: -mp.expm1(-mp.exp(e)), lambda e: mp.exp(-mp.exp(e))),
    "cauchit": (lambda e: mp.atan2(1, -e) / mp.pi, lambda e: mp.atan2(1, e) / mp.pi),
    "logit_1_2": (lambda e: mp.mpf("1.01") + mp.mpf("0.98") / (1 + mp.exp(-e)), None),
}
TAILS = [-1e3, -300.0, -100.0, -38.0, -20.5, -7.3, -1.0, -0.1, 0.2, 1.0, 3.0, 6.5, 40.0, 200.0, 1e3]
NATURAL = {
    "real": [-50.0, -1.0, -0.01, 0.3, 2.0, 1e3],
    "tan_half": [-3.1, -1.0, -0.01, 0.3, 2.0, 3.1],
    "positive": [1e-8, 0.3, 1.0, 2.0, 25.0, 300.0],
    "unit": [1e-6, 0.01, 0.3, 0.5, 0.77, 0.999],
    "above_one": [1.001, 1.5, 2.0, 30.0, 1e4],
    "one_two": [1.011, 1.1, 1.4, 1.5, 1.8, 1.989],
}
# All arrays have the length of TAILS: operations outside jit are compiled once for each shape.
SLOPES = np.resize([-200.0, -30.0, -20.1, -15.5, -3.0, -0.4, 0.7, 2.2, 5.1], len(TAILS))
every_link = pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)


@pytest.fixture(autouse=True)
def _float64_and_digits():
    with jax.enable_x64(True), mp.workdps(60):
        yield


def _within_clip(name, eta):
    """Whether exp(eta) or exp(-eta) is one that the links do not clip."""
    return name not in ("log", "softplus", "logm1", "cloglog") or abs(eta) <= 200


@every_link
def test_round_trip(link):
    x = jnp.array(np.resize(NATURAL.get(link.name, NATURAL[link.support]), len(TAILS)))
    np.testing.assert_allclose(link.inverse(link.forward(x)), x, rtol=1e-9)
    assert link.support in SUPPORTS


@every_link
def test_inverse_agrees_with_mpmath(link, evidence):
    value, errors = link.inverse(jnp.array(TAILS)), []
    for eta, got in zip(TAILS, value.tolist(), strict=True):
        if _within_clip(link.name, eta):
            want = INVERSES[link.name][0](mp.mpf(eta))
            assert abs(got - want) <= 1e-13 * abs(want) + 1e-300
            if abs(want) > 1e-290:
                errors.append(abs(got - want) / abs(want))
    evidence("link", link.name, numbers=len(errors), error=max(errors), bound=1e-13)


@pytest.mark.parametrize("which", [0, 1], ids=["log_inverse", "log1m_inverse"])
@every_link
def test_logarithms_in_the_tails(link, which):
    function = (link.log_inverse, link.log1m_inverse)[which]
    if function is None:
        assert which == 1 or link.support == "real"
        return
    value = function(jnp.array(TAILS))
    for eta, got in zip(TAILS, value.tolist(), strict=True):
        if link.name == "cloglog" and eta > 200:
            assert got < -1e90 or got == 0  # clipped, as documented
            continue
        natural = INVERSES[link.name][which](mp.mpf(eta))
        # Relative accuracy in the tail, and the rounding of one addend near log(1) = 0.
        want = mp.log(natural) if natural < 0.9 or natural > 1.1 else mp.log1p(natural - 1)
        assert abs(got - want) <= 4e-14 * abs(want) + 2e-16, eta


@every_link
def test_gradients_are_finite_everywhere(link):
    eta = jnp.concatenate([jnp.linspace(-1e3, 1e3, 801), jnp.linspace(-12, 12, 97)])
    for function in filter(None, (link.inverse, link.log_inverse, link.log1m_inverse)):
        slope = jax.grad(lambda e, f=function: f(e).sum())
        curvature = jax.grad(lambda e, s=slope: s(e).sum())
        for each in (function, slope, curvature):
            assert jnp.isfinite(jax.jit(each)(eta)).all()


@every_link
def test_gradients_agree_with_mpmath(link):
    eta = jnp.array(SLOPES)
    for which, function in ((0, link.log_inverse), (1, link.log1m_inverse)):
        if function is None:
            continue
        slope = jax.grad(lambda e, f=function: f(e).sum())(eta)
        for e, got in zip(eta.tolist(), slope.tolist(), strict=True):
            want = mp.diff(lambda t, w=which: mp.log(INVERSES[link.name][w](t)), mp.mpf(e))
            # JAX takes the slope of log_ndtr as a density over a probability, by logarithms of
            # the size of eta**2 / 2, hence the loss.
            assert abs(got - want) <= 2e-16 * (10 + e**2) * abs(want) + 1e-20, e


def test_clipped_exp_in_both_precisions():
    far = jnp.array([-1e5, -5.0, 0.0, 5.0, 1e5])
    for dtype in (jnp.float32, jnp.float64):
        value = clipped_exp(far.astype(dtype))
        assert value.dtype == dtype
        assert jnp.isfinite(value**3).all()
        assert (value**3 > 0).all()
        np.testing.assert_allclose(value[1:4], np.exp([-5.0, 0.0, 5.0]), rtol=1e-6)


def test_unknown_links_are_refused_with_the_nearest_name():
    with pytest.raises(FamilyError, match=r"'logt' is not known. Did you mean 'logit'\?"):
        get_link("logt")
    with pytest.raises(BayesmmError, match="must be the name of a link"):
        get_link(3)
    assert get_link("log") is LINKS["log"]


def test_links_are_hashable_and_the_table_is_closed():
    assert len({*LINKS.values()}) == len(LINKS)
    with pytest.raises(TypeError):
        LINKS["mine"] = LINKS["log"]
