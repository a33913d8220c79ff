"""How much the posterior says for a hypothesis about its quantities.

Texts are read in `claims`, which says how to add functions and comparisons. Here the two sides of
each are evaluated for every draw. A point hypothesis gets the Savage-Dickey ratio of two densities,
taken from draws (see `density`), but for a prior density that is known exactly (see `_pinned`).
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import pandas as pd
import xarray as xr
from scipy import optimize

from bayesmm.chunks import at_once
from bayesmm.engines import make_key, use_compilation_cache
from bayesmm.errors import BayesmmError, warn
from bayesmm.interpret.claims import Claim, Quantity, Values, read_claims
from bayesmm.interpret.density import FEW, density_at_zero
from bayesmm.interpret.tables import ESTIMATE, summary
from bayesmm.interpret.variables import check_conf_level, check_fit
from bayesmm.prepare import Prepared
from bayesmm.priors import Prior
from bayesmm.results import Fit
from bayesmm.results.convert import dimensions, effect_variables
from bayesmm.spec import ModelSpec

#: Draws from the prior: the Monte Carlo error of its density is then 1 to 2% where its mass is.
PRIOR_DRAWS = 40_000


def hypothesis(
    fit: Fit,
    hypotheses: str | Sequence[str] | Mapping[str, str],
    *,
    conf_level: float = 0.95,
    draws: bool = False,
    seed: int | None = None,
) -> pd.DataFrame | xr.Dataset:
    """Return what the posterior says for hypotheses about its quantities.

    Parameters
    ----------
    fit : Fit
        A fitted model.
    hypotheses : str, sequence of str, or mapping of str to str
        Two expressions with one of ``<``, ``<=``, ``>``, ``>=``, ``=`` between them, such as
        ``"b[Days] > 10"``, ``"sd_Subject[Intercept] = 2 * sigma"`` or ``"exp(b[x]) < 1.2"``. A
        quantity is a variable of the posterior with its labels, as they are there, in brackets: of
        two dimensions ``r_Subject[308, Days]``. A dimension with one label can be left out.
        Expressions are made of quantities, numbers, ``+ - * / **``, parentheses, and abs, exp,
        expm1, log, log1p, sqrt, logit (qlogis), expit (plogis) and pnorm. The keys of a mapping
        are names. Of a chain, ``1 < b[x] < 2``, write each comparison as a hypothesis of its own.
    conf_level : float
        The probability of the equal-tailed interval.
    draws : bool
        Whether to return the draws of left - right instead of the table.
    seed : int, optional
        For draws from the prior, which only point hypotheses need: the same seed gives the same
        evidence ratio.

    Returns
    -------
    pandas.DataFrame or xarray.Dataset
        A row for each hypothesis, under its name or its text: of left - right the posterior median
        ``estimate``, its sd ``std_error``, and the interval ``conf_low``, ``conf_high``; then
        ``post_prob``, the posterior probability of the hypothesis, and ``evidence_ratio``. Of a
        one-sided hypothesis these are P and P / (1 - P), infinite where all draws agree. Of a point
        hypothesis ``left = right``, the ratio is the Bayes factor against the model that leaves the
        point free, and the probability is that for equal prior odds, ratio / (1 + ratio).
        With ``draws=True``, a variable for each hypothesis with the dims chain, draw.

    Raises
    ------
    BayesmmError
        For a hypothesis that cannot be read, an unknown quantity or label, an expression that is
        not a finite number in every draw, a point hypothesis whose density is not finite or that
        the prior rules out, and arguments that make no sense.

    Warns
    -----
    BayesmmWarning
        If so few draws are near the point that the ratio is an order of magnitude at best.

    Notes
    -----
    The Bayes factor is the Savage-Dickey density ratio (Dickey 1971; Wagenmakers et al. 2010):
    posterior over prior density of left - right at 0. It is that of the model whose other
    parameters have the prior which this one gives them at the point, and it depends on the prior as
    much as on the data: a prior twice as wide about doubles it. The prior density is exact where
    left - right rises or falls with one number that has a prior of its own; elsewhere it is that of
    40,000 draws, and good to about 2%. The posterior density is good to about 4% with 4,000
    independent draws, to 8% two posterior sds from the median and at a bound such as
    ``sd_g[Intercept] = 0``, and to 25% three sds away.

    References
    ----------
    .. [1] J. M. Dickey (1971). The weighted likelihood ratio, linear hypotheses on normal location
       parameters. Annals of Mathematical Statistics 42, 204-223.
    .. [2] E.-J. Wagenmakers, T. Lodewyckx, H. Kuriyal and R. Grasman (2010). Bayesian hypothesis
       testing for psychologists: a tutorial on the Savage-Dickey method. Cognitive Psychology 60,
       158-189.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> found = bm.hypothesis(fit, {"slower": "b[Days] > 0", "by 10 ms": "b[Days] > 10"})
    >>> found["post_prob"].round(1)
    hypothesis
    slower      1.0
    by 10 ms    0.6
    Name: post_prob, dtype: float64
    """
    prepared = check_fit(fit)
    conf_level = check_conf_level(conf_level)
    if not isinstance(draws, bool):
        raise BayesmmError(f"draws={draws!r}: write True or False.")
    key = make_key(seed)
    dims, labels = dimensions(prepared.spec)
    names = {name: [[f"{x}" for x in labels[dim]] for dim in own] for name, own in dims.items()}
    claims = read_claims(hypotheses, names)
    values = _posterior_values(fit, {q for claim in claims for q in claim.quantities})
    differences = {claim.name: _finite_difference(claim, values) for claim in claims}
    if draws:
        sample = {dim: fit.posterior[dim].to_numpy() for dim in ("chain", "draw")}
        variables = {name: (("chain", "draw"), found) for name, found in differences.items()}
        return xr.Dataset(variables, coords=sample)
    ratios = _bayes_factors([c for c in claims if not c.sign], prepared, values, key)
    rows = []
    for claim in claims:
        found = differences[claim.name].ravel()
        if claim.sign:
            probability = float(np.mean(np.sign(found) == claim.sign))
            ratio = probability / (1 - probability) if probability < 1 else np.inf
        else:
            ratio = ratios[claim.name]
            probability = 1 / (1 + 1 / ratio) if ratio > 0 else 0.0
        rows.append((*summary(found, conf_level), probability, ratio))
    index = pd.Index(list(differences), name="hypothesis")
    return pd.DataFrame(rows, index=index, columns=[*ESTIMATE, "post_prob", "evidence_ratio"])


def _posterior_values(fit: Fit, quantities: Collection[Quantity]) -> dict[Quantity, np.ndarray]:
    """The draws of some numbers, shape (chains, draws)."""
    posterior = fit.posterior
    if any(variable not in posterior for variable, _ in quantities):
        posterior = fit.whole_posterior()
    return {(v, at): posterior[v].to_numpy()[(..., *at)] for v, at in quantities}


def _finite_difference(claim: Claim, values: Values) -> np.ndarray:
    """Left - right in every draw; refused where it is no number in some."""
    found = claim.difference(values)
    wrong = np.sum(~np.isfinite(found))
    if wrong:
        raise BayesmmError(
            f"The hypothesis {claim.name!r} is not a finite number in {wrong} of {found.size} "
            "draws. Look for a division by 0, a power of a negative number, and a log or sqrt of "
            "one."
        )
    return found


def _bayes_factors(
    points: Sequence[Claim], prepared: Prepared, posterior: Values, key: jax.Array
) -> dict[str, float]:
    """The Savage-Dickey ratios of point hypotheses by name; all share the draws from the prior."""
    for claim in points:
        _refuse_effects_of_0(claim, prepared.spec)
    pinned = {claim.name: _pinned(claim, prepared.spec, posterior) for claim in points}
    needed = {q for claim in points if not pinned[claim.name] for q in claim.quantities}
    prior = _prior_values(prepared, needed, key) if needed else {}
    return {
        claim.name: _savage_dickey(claim, pinned[claim.name], posterior, prior) for claim in points
    }


def _refuse_effects_of_0(claim: Claim, spec: ModelSpec) -> None:
    """Refuse r = 0 and the like: over sds down to 0, normal densities at 0 have no finite mean."""
    if not {v for v, _ in claim.quantities} <= effect_variables(spec):
        return
    if claim.difference(dict.fromkeys(claim.quantities, np.zeros(1)))[0] == 0:
        raise BayesmmError(
            f"{claim.name!r} holds where group effects are 0, and there their prior density is "
            "infinite: no Savage-Dickey ratio. Ask whether their sd is 0, or with < or >."
        )


def _savage_dickey(
    claim: Claim, pinned: tuple[float, Prior] | None, posterior: Values, prior: Values
) -> float:
    """Posterior over prior density of left - right at 0; `pinned` is what `_pinned` returned."""
    few = []
    if pinned:
        draws = posterior[claim.quantities[0]].ravel() - pinned[0]
        density = _limit(pinned[1], pinned[0], float(draws.std()))
    else:
        draws, before = (claim.difference(v).ravel() for v in (posterior, prior))
        finite = before[np.isfinite(before)]
        if _constant(claim, posterior) or _constant(claim, prior):
            raise BayesmmError(f"{claim.name!r} is about a constant: it has no Bayes factor.")
        density, near, smooth = density_at_zero(finite)
        density *= smooth * finite.size / before.size
        if near < FEW:
            few.append(f"{near} of {before.size:,} prior draws")
    if not 0 < density < np.inf:
        raise BayesmmError(
            f"{claim.name!r} holds where the prior density of left - right is 0 or infinite: no "
            "Savage-Dickey ratio. Compare with a value that the prior allows, and quantities "
            "themselves instead of their squares, ratios and products."
        )
    height, near, _ = density_at_zero(draws)
    if near < FEW:
        few.append(f"{near} of {draws.size:,} posterior draws")
    if few:
        warn(
            f"Only {' and '.join(few)} are near the point that {claim.name!r} names: the evidence "
            "ratio is extrapolated, and an order of magnitude at best."
        )
    return height / density


def _constant(claim: Claim, values: Values) -> bool:
    """Whether left - right is one number: a correlation of an effect with itself, 1 by rounding."""
    with np.errstate(all="ignore"):
        sides = [np.asarray(side(values)) for side in (claim.left, claim.right)]
    found = claim.difference(values).ravel()
    found = found[np.isfinite(found)]
    size = max(float(np.nanmax(np.abs(side))) for side in sides)
    return found.size == 0 or bool(np.ptp(found) <= 1e-12 * size)


def _pinned(claim: Claim, spec: ModelSpec, posterior: Values) -> tuple[float, Prior] | None:
    """The one value at which left = right, and the prior of what has it; None if not so simple.

    A Bayes factor is the same for exp(b) = 1 as for b = 0: both densities change by one factor.
    """
    quantity, *others = claim.quantities
    prior = _own_prior(spec, quantity)
    if others or prior is None:
        return None
    draws = posterior[quantity].ravel()
    far = draws.std() * 2.0 ** np.arange(1, 12)
    q = np.unique(np.concatenate([draws, draws.mean() - far, draws.mean() + far, [0.0]]))
    with jax.enable_x64(True):
        distribution: Any = prior.distribution()
        q = q[np.asarray(distribution.support(q), dtype=bool) | (q == 0)]

    def difference(x: Any) -> Any:
        return claim.difference({quantity: np.asarray(x)})

    left = difference(q)
    q, left = q[np.isfinite(left)], left[np.isfinite(left)]
    steps = np.diff(left)
    if not (np.all(steps >= 0) or np.all(steps <= 0)) or left[0] == left[-1]:
        return None
    if np.any(left == 0):
        return (float(q[left == 0][0]), prior) if np.sum(left == 0) == 1 else None
    change = np.flatnonzero(np.sign(left[1:]) != np.sign(left[:-1]))
    if change.size:
        root: Any = optimize.brentq(difference, q[change[0]], q[change[0] + 1], xtol=1e-14)
    else:  # beyond all these, a straight line goes on
        root = q[0] - left[0] * (q[-1] - q[0]) / (left[-1] - left[0])
        if abs(difference(root)) > 1e-9 * np.abs(left).max():
            return None
    return float(root), prior


def _own_prior(spec: ModelSpec, quantity: Quantity) -> Prior | None:
    """The prior of a number, where it is independent of the others' and of that number alone."""
    variable, at = quantity
    dims, labels = dimensions(spec)
    own = ", ".join(f"{labels[dim][i]}" for dim, i in zip(dims[variable], at, strict=True)) or None
    # Thresholds have their prior before they are ordered and moved to the predictors as given.
    if variable in {layout.intercept_in for layout in spec.layout if layout.coefs}:
        return None
    for a in spec.priors:
        if (a.slot.variable, a.slot.coordinate) == (variable, own) and not a.slot.ordered:
            return a.prior if a.prior.name != "LKJ" else None
    return None


def _limit(prior: Prior, point: float, scale: float) -> float:
    """The density of a prior at a point, at an open bound its limit; 0 where that is infinite."""
    with jax.enable_x64(True):
        distribution: Any = prior.distribution()
        for step in np.array([0.0, 1e-6, -1e-6]) * scale:
            x = np.array([point + step, point + 2 * step])
            if np.all(distribution.support(x)):
                log_density = np.asarray(distribution.log_prob(x))
                level = np.isfinite(log_density).all() and abs(np.diff(log_density)[0]) < 0.01
                return float(np.exp(log_density[0])) if level else 0.0
    return 0.0


def _prior_values(
    prepared: Prepared, quantities: Collection[Quantity], key: jax.Array
) -> dict[Quantity, np.ndarray]:
    """Draws of some numbers from the prior, shape (draws,), at least `PRIOR_DRAWS`."""
    spec, inputs, program = prepared.spec, prepared.inputs, prepared.program()
    dims, labels = dimensions(spec)
    # One compiled function serves all hypotheses but those of group effects, of which there may be
    # too many to hold.
    unused = effect_variables(spec) - {v for v, _ in quantities}
    variables = tuple(v for v in dims if v not in unused)
    sizes = [int(np.prod([len(labels[dim]) for dim in dims[v]])) for v in variables]
    pieces = -(-PRIOR_DRAWS // at_once(prepared.numbers_per_draw + sum(sizes)))
    found: dict[Quantity, list[np.ndarray]] = {quantity: [] for quantity in quantities}
    use_compilation_cache()
    with jax.enable_x64(True):
        for keys in jax.random.split(key, (pieces, -(-PRIOR_DRAWS // pieces))):
            drawn = _draw_prior(keys, inputs, program, variables)
            for (variable, at), parts in found.items():
                parts.append(np.asarray(drawn[variable])[(slice(None), *at)])
    return {quantity: np.concatenate(parts) for quantity, parts in found.items()}


@partial(jax.jit, static_argnums=(2, 3))
def _draw_prior(keys, inputs, program, variables: tuple[str, ...]):
    def one(key):
        # The response is not asked for, so XLA leaves out what only it needs.
        quantities, _ = program.prior_draw(key, inputs)
        return {variable: quantities[variable] for variable in variables}

    return jax.vmap(one)(keys)
