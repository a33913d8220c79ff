"""The block of effects that the page shows, and the quadratic that its rows make of it.

With z_i the columns of one or two effects of a group, theta_j = beta + b_j the coefficients of
level j, and all else of the model held at its posterior mean, the log-likelihood of the level is

    -1/2 theta' G_j theta / sigma^2 + c_j' theta / sigma^2,
    G_j = sum of w_i z_i z_i',    c_j = sum of w_i z_i r_i,

where w_i is the curvature of the row's log-likelihood times sigma^2, and r_i its working response
less everything but the block. For a normal response this is exact, and r_i is what the response
leaves; else it is one Newton step from the posterior mean, with sigma = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from bayesmm.design import Design, group_design
from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.variables import check_fit
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.model import linear_predictors
from bayesmm.model.curvature import RowLikelihood
from bayesmm.model.predictor import family_values
from bayesmm.results import Fit
from bayesmm.results.posterior import means
from bayesmm.results.tables import groups
from bayesmm.spec import ModelSpec

#: The effects that the page can show together.
MOST_EFFECTS = 2


@dataclass(frozen=True)
class Block:
    """The effects that a page shows.

    Attributes
    ----------
    predictor, part : PredictorLayout, GroupLayout
        The linear predictor of mu, and the group in it.
    positions : tuple of int
        Which effects of the group, one or two.
    """

    predictor: PredictorLayout
    part: GroupLayout
    positions: tuple[int, ...]

    @property
    def effects(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.part.effects[i] for i in self.positions)

    @property
    def coefs(self) -> tuple[int | None, ...]:
        """Where the population's coefficient of each is; None where it has none."""
        known = self.predictor.coefs
        return tuple(known.index(e) if e in known else None for e in self.effects)


@dataclass(frozen=True)
class Quadratic:
    """The rows' part in the quadratic of one block.

    Attributes
    ----------
    z : numpy.ndarray
        The columns of the effects, shape (rows, effects).
    w, r : numpy.ndarray
        Weights, in units of 1 / sigma^2, and working responses less all else, shape (rows,).
    rest : numpy.ndarray
        What the linear predictor is made of beside the block, shape (rows,).
    sigma : float
        The residual standard deviation that w is relative to.
    sigma_kind : str
        ``"sd"`` where `sigma` is the model's; ``"factor"`` where errors differ between rows, so
        that the page can only multiply them all; ``"none"`` where there is none.
    exact : bool
        Whether the log-likelihood is this quadratic.
    """

    z: np.ndarray
    w: np.ndarray
    r: np.ndarray
    rest: np.ndarray
    sigma: float
    sigma_kind: str
    exact: bool


def choose_block(
    fit: Any, group: str | None = None, effects: str | Sequence[str] | None = None
) -> Block:
    """Return the effects to show, after checking the arguments.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group; may be left out where only one has effects on mu.
    effects : str or sequence of str, optional
        One or two of its effects; may be left out where it has no more.

    Raises
    ------
    BayesmmError
        For anything but a fit, a model without group effects, a group or effect that it does not
        have, and more than two effects.
    """
    check_fit(fit)
    if group is not None and not isinstance(group, str):
        raise BayesmmError(f"group={group!r}: write the name of a group, such as 'Subject'.")
    found = list(groups(fit.spec, group))
    if not found:
        raise BayesmmError(
            "fit: its model has no group effects, such as (1 | g): there is nothing to pool."
        )
    main = [(predictor, part) for predictor, part in found if predictor.main]
    if not main:
        have = listing(f"{part.name} (of {predictor.parameter})" for predictor, part in found)
        raise BayesmmError(
            f"group={group!r}: the page shows effects on mu, and the model has {have}. "
            "bm.pooling() has the table of every parameter."
        )
    if len(main) > 1:
        raise BayesmmError(
            f"group=None: the model has several groups. Write one of "
            f"{listing(part.name for _, part in main)}."
        )
    predictor, part = main[0]
    return Block(predictor, part, _choose_effects(part, effects))


def _choose_effects(part: GroupLayout, effects: Any) -> tuple[int, ...]:
    known = part.effects
    if effects is None:
        if len(known) > MOST_EFFECTS:
            raise BayesmmError(
                f"effects=None: the group {part.name!r} has {len(known)} effects, and the page "
                f"shows one or two. Name them: effects={list(known[:MOST_EFFECTS])!r}; there are "
                f"{listing(known)}."
            )
        return tuple(range(len(known)))
    named = [effects] if isinstance(effects, str) else effects
    if not isinstance(named, Sequence) or not all(isinstance(e, str) for e in named):
        raise BayesmmError(
            f"effects={effects!r}: write the name of an effect, or a list of two. There are "
            f"{listing(known)}."
        )
    for effect in named:
        if effect not in known:
            raise BayesmmError(
                f"effects: the group {part.name!r} has no effect {effect!r}."
                f"{did_you_mean(effect, known)} There are {listing(known)}."
            )
    if not 1 <= len(named) <= MOST_EFFECTS or len(set(named)) < len(named):
        raise BayesmmError(
            f"effects={list(named)!r}: write one effect, or two different ones. There are "
            f"{listing(known)}."
        )
    return tuple(known.index(effect) for effect in named)


def quadratic(fit: Fit, block: Block) -> Quadratic:
    """Return the quadratic of a block at the posterior mean.

    Parameters
    ----------
    fit : Fit
        The fit.
    block : Block
        Its effects.
    """
    prepared, spec = fit._prepared, fit.spec
    at = means(fit.whole_posterior())
    own = group_design(spec.layout, prepared.design, block.part)
    with jax.enable_x64(True):
        linear = linear_predictors(spec.layout, prepared.design, at)
        rows = RowLikelihood(spec.family, prepared.design, ("mu",), linear, at)
        score, W = rows.score_and_information(linear["mu"][None])
        eta, s, w = (np.asarray(x) for x in (linear["mu"], score[0], W[0, 0]))
        exact, kind, sigma = _residuals(spec, prepared.design, linear, at)
    z = np.asarray(own.columns)[:, block.positions]
    theta = np.asarray(at[block.part.variable("r")])[:, block.positions]
    theta = theta + _population(block, at)
    rest = eta - (z * theta[np.asarray(own.index)]).sum(axis=1)
    # A row without weight has no slope either: it says nothing, and is where it is expected.
    r = eta - rest + np.divide(s, w, out=np.zeros_like(s), where=w > 0)
    return Quadratic(z, w * sigma**2, r, rest, sigma, kind, exact)


def _population(block: Block, at: Any) -> np.ndarray:
    """The population's coefficients of the effects, 0 where there is none."""
    b = at.get(block.predictor.variable("b"))
    return np.array([0.0 if k is None else float(b[k]) for k in block.coefs])


def _residuals(spec: ModelSpec, design: Design, linear: Any, at: Any) -> tuple[bool, str, float]:
    """Whether the response is normal around mu, and what its standard deviation is."""
    family, name = spec.family, spec.family.normal_sd
    incomplete = {"left", "right", "interval", "lower", "upper"} & design.data.keys()
    if name is None or not family.link("mu").is_identity or incomplete:
        return False, "none", 1.0
    if name in linear or "se" in design.data:
        return True, "factor", 1.0
    return True, "sd", float(family_values(family, design, linear, at).get(name))
