"""One effect of a group as it would be without the others: the limit of their sds going to 0."""

import jax
import jax.numpy as jnp
import numpy as np

from bayesmm.errors import BayesmmError
from bayesmm.layout import GroupLayout
from bayesmm.model import aggregate, find_factors, make_plan
from bayesmm.model.information import roots_by_factor
from bayesmm.model.laplace import effects_given
from bayesmm.predict.effects import covariance_root
from bayesmm.results import Fit
from bayesmm.results.posterior import means
from bayesmm.shrinkage.factors import MOST_COLUMNS, linear_at


def effects_alone(fit: Fit, group: GroupLayout, position: int) -> np.ndarray:
    """Return one effect of each level where the group's other effects have an sd of 0.

    All parameters stay at their posterior means, and the effects of other groups are those that go
    with them.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : GroupLayout
        Group and parameter.
    position : int
        Which of its effects, such as that of the intercept.

    Returns
    -------
    numpy.ndarray
        Shape (levels,): the mode given the rows.

    Raises
    ------
    BayesmmError
        Where too many crossed effects depend on each other, or they are not found.
    """
    spec, at = fit.spec, means(fit.whole_posterior())
    one_draw = {name: value[None] for name, value in at.items()}
    with jax.enable_x64(True):
        design = aggregate(fit._prepared.design, spec.family)
        plan = make_plan(find_factors(spec.layout, design), design, most_columns=MOST_COLUMNS)
        if plan is None:
            raise BayesmmError(
                "kind='lines': too many effects of crossed groups depend on each other to find "
                "the intercepts without slopes. Give intercepts= a fit with random intercepts "
                "alone."
            )
        every = [part for predictor in spec.layout for part in predictor.groups]
        roots = {part.variable("r"): covariance_root(one_draw, part)[0] for part in every}
        own = np.zeros_like(roots[group.variable("r")])
        own[position, position] = at[group.variable("sd")][position]
        roots[group.variable("r")] = own
        Lambda = roots_by_factor(plan, {name: jnp.asarray(root) for name, root in roots.items()})
        start = linear_at(spec.layout, design, at)
        mode = effects_given(plan, spec.family, spec.layout, design, at, Lambda, start)
        if not mode.found:
            raise BayesmmError(
                "kind='lines': the intercepts without slopes are not found for this likelihood. "
                "Give intercepts= a fit with random intercepts alone."
            )
        for factor, root, u in zip(plan.factors, Lambda, mode.u, strict=True):
            place = 0
            for member in factor.members:
                if member.names == group:
                    return np.asarray(root @ u)[place + position]
                place += len(member.names.effects)
    raise AssertionError(f"no factor has {group.name}")
