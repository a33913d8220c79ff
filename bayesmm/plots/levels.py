"""What the plots of a group's levels are asked for: which effects of which levels are drawn.

`choose` reads the arguments that all of them have, and refuses what the model does not have;
`Asked` has the numbers. How they are drawn is `level_marks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmm.design import group_design
from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.interpret.variables import check_fit
from bayesmm.layout import GroupLayout, PredictorLayout
from bayesmm.results import Fit
from bayesmm.results.posterior import joined
from bayesmm.results.tables import interval
from bayesmm.shrinkage import choose as choose_group
from bayesmm.shrinkage import estimates, mean_is_mu, pooling


@dataclass(frozen=True)
class LevelEffect:
    """One effect of a group: its names, its scale, and draws of it for every level.

    Attributes
    ----------
    predictor, part : PredictorLayout, GroupLayout
        The linear predictor that it is in, and the group there.
    position : int
        Where it is among the group's effects.
    link : str
        The link of the parameter.
    draws : xarray.DataArray
        Dims chain, draw and the group: each level's difference from the population.
    latent : bool
        Whether the parameter is the location of a latent variable that cutpoints divide.
    """

    predictor: PredictorLayout
    part: GroupLayout
    position: int
    link: str
    draws: xr.DataArray
    latent: bool = False

    @property
    def parameter(self) -> str:
        """The parameter whose linear predictor it is in."""
        return self.predictor.parameter

    @property
    def effect(self) -> str:
        """Its label, such as ``"Intercept"``."""
        return self.part.effects[self.position]

    @property
    def labels(self) -> list[str]:
        """The levels, in their order."""
        return [str(label) for label in self.draws[self.part.name].to_numpy()]

    @property
    def title(self) -> str:
        """What stands above its panel."""
        return self.effect if self.parameter == "mu" else f"{self.parameter}: {self.effect}"

    @property
    def axis(self) -> str:
        """The link that an axis is labelled by: none where the parameter is a latent location.

        Between cutpoints mu is compared with them on the scale of the link, and its inverse link
        is no probability of anything.
        """
        return "identity" if self.latent else self.link

    @property
    def on_scale(self) -> str:
        """The scale, in brackets, where it is not that of the parameter itself."""
        return "" if self.link == "identity" else f" ({self.link} scale)"

    @property
    def scale(self) -> str:
        """What stands at the axis of differences."""
        return f"difference from the population{self.on_scale}"


@dataclass(frozen=True)
class Asked:
    """What a plot of levels was asked for: the arguments that make sense together.

    Attributes
    ----------
    fit : Fit
        The fit.
    group : str
        The group.
    effects : list of LevelEffect
        What is drawn, in that order.
    """

    fit: Fit
    group: str
    effects: list[LevelEffect]

    @property
    def first(self) -> "Asked":
        """The same of the first parameter alone."""
        parameter = self.effects[0].parameter
        return replace(self, effects=[e for e in self.effects if e.parameter == parameter])

    def rows(self) -> np.ndarray:
        """Return how many rows each level has, shape (levels,)."""
        index, levels = self.index()
        return np.bincount(index, minlength=levels)

    def index(self) -> tuple[np.ndarray, int]:
        """Return the level of each training row, and how many levels there are."""
        prepared = self.fit._prepared
        group = group_design(prepared.spec.layout, prepared.design, self.effects[0].part)
        return np.asarray(group.index), group.levels

    def coefficients(self, effect: LevelEffect) -> np.ndarray:
        """Return draws of population plus group effect, shape (draws, levels)."""
        return joined(effect.draws) + self.population(effect)[:, None]

    def population(self, effect: LevelEffect) -> np.ndarray:
        """Return draws of the population coefficient, 0 where there is none; shape (draws,)."""
        predictor = effect.predictor
        if effect.effect not in predictor.coefs:
            return np.zeros(effect.draws.sizes["chain"] * effect.draws.sizes["draw"])
        b = self.fit.posterior[predictor.variable("b")]
        return joined(b)[:, predictor.coefs.index(effect.effect)]

    def covariance(self, effects: Sequence[LevelEffect]) -> np.ndarray:
        """Return the covariance of some effects, of posterior means of sds and correlations."""
        part, at = effects[0].part, [effect.position for effect in effects]
        sd = np.array([self.sd(effect).mean() for effect in effects])
        if not part.correlated:
            return np.diag(sd**2)
        cor = joined(self.fit.posterior[part.variable("cor")]).mean(axis=0)
        return sd[:, None] * cor[np.ix_(at, at)] * sd

    def sd(self, effect: LevelEffect) -> np.ndarray:
        """Return draws of the standard deviation of the effect over levels, shape (draws,)."""
        return joined(self.fit.posterior[effect.part.variable("sd")])[:, effect.position]

    def pooling(self, ndraws: int | None = None) -> pd.DataFrame:
        """Return the table of `bm.pooling`, of one parameter where all effects are of one."""
        return pooling(self.fit, self.group, parameter=self._parameter, ndraws=ndraws)

    def estimates(self) -> pd.DataFrame:
        """Return the same table without the pooling factors, which take longer."""
        return estimates(self.fit, self.group, parameter=self._parameter)

    @property
    def _parameter(self) -> str | None:
        parameters = {effect.parameter for effect in self.effects}
        return parameters.pop() if len(parameters) == 1 else None

    def of_pooling(self, table: pd.DataFrame, effect: LevelEffect) -> pd.DataFrame:
        """Return the rows of one effect, in the order of the levels."""
        names = {"parameter": effect.parameter, "effect": effect.effect}
        found: pd.DataFrame = table.xs(tuple(names.values()), level=list(names))
        return found.set_axis(found.index.map(str)).loc[effect.labels]


def choose(
    fit: Fit,
    group: str | None,
    parameter: str | None,
    effects: str | Sequence[str] | None,
) -> Asked:
    """Read the arguments that every plot of levels has.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group; may be left out where the model has only one.
    parameter : str, optional
        The distributional parameter; if left out, all that have effects of the group.
    effects : str or sequence of str, optional
        Which effects, and in which order; all of them if left out.

    Raises
    ------
    BayesmmError
        For something else than a fit, a model without groups, and for a group, parameter or effect
        that the model does not have.
    """
    check_fit(fit)
    pairs = choose_group(fit.spec, group, parameter)
    group, every = pairs[0][1].name, _all_effects(fit, pairs)
    if effects is None:
        return Asked(fit, group, every)
    wanted = [effects] if isinstance(effects, str) else list(effects)
    if not wanted:
        raise BayesmmError("effects is empty: name an effect, or leave it out for all of them.")
    for name in wanted:
        check_effect("effects", name, every)
    doubled = sorted({str(name) for name in wanted if wanted.count(name) > 1})
    if doubled:
        raise BayesmmError(f"effects has {listing(doubled)} twice: name it once.")
    return Asked(fit, group, [e for name in wanted for e in every if e.effect == name])


def _all_effects(fit: Fit, pairs: list[tuple[PredictorLayout, GroupLayout]]) -> list[LevelEffect]:
    draws = fit.ranef(pairs[0][1].name, draws=True)
    found = []
    for predictor, part in pairs:
        family = fit.spec.family
        link = family.link(predictor.parameter).name
        latent = predictor.main and family.intercept_holder is not None
        values = draws[part.variable("r")].transpose("chain", "draw", part.name, part.effect_dim)
        for position in range(len(part.effects)):
            own = values.isel({part.effect_dim: position})
            found.append(LevelEffect(predictor, part, position, link, own, latent))
    return found


def check_effect(argument: str, effect: object, drawn: Sequence[LevelEffect]) -> None:
    """Refuse an effect that is not drawn.

    Parameters
    ----------
    argument : str
        The argument that it came in.
    effect : object
        What arrived.
    drawn : sequence of LevelEffect
        What it may be.

    Raises
    ------
    BayesmmError
        Lists the effects there are.
    """
    known = list(dict.fromkeys(one.effect for one in drawn))
    if effect not in known:
        raise BayesmmError(
            f"{argument}: there is no effect {effect!r} to draw.{did_you_mean(str(effect), known)} "
            f"There are {listing(known)}."
        )


def sorted_levels(
    chosen: Sequence[LevelEffect], means: Sequence[np.ndarray], sort: bool | str
) -> list[np.ndarray]:
    """Return for each effect the positions of its levels from the bottom to the top.

    Parameters
    ----------
    chosen : sequence of LevelEffect
        What is drawn.
    means : sequence of numpy.ndarray
        Posterior means, shape (levels,) each.
    sort : bool or str
        As for `plot_caterpillar`.

    Raises
    ------
    BayesmmError
        For the name of an effect that is not drawn.
    """
    if sort is True:
        return [np.argsort(mean, kind="stable") for mean in means]
    if sort is False:
        return [np.arange(len(mean))[::-1] for mean in means]
    check_effect("sort", sort, chosen)
    by = next(i for i, effect in enumerate(chosen) if effect.effect == sort)
    return [np.argsort(means[by], kind="stable")] * len(means)


def probability(prob: Any, argument: str = "prob") -> float:
    """Return the probability of intervals: ArviZ's ``stats.ci_prob`` where there is none.

    Raises
    ------
    BayesmmError
        If it is none.
    """
    if prob is None:
        return interval()[0]
    number = isinstance(prob, (int, float, np.number)) and not isinstance(prob, bool)
    if not number or not 0 < prob < 1:
        raise BayesmmError(f"{argument}={prob!r}: write a probability between 0 and 1.")
    return float(prob)


def quantity(asked: Asked, effect: LevelEffect) -> str:
    """Return what the inverse link of an effect's linear predictor is: the response, where it is.

    Parameters
    ----------
    asked : Asked
        Whose model it is.
    effect : LevelEffect
        Its parameter.
    """
    if effect.parameter != "mu" or not mean_is_mu(asked.fit):
        return f"{effect.parameter}{effect.on_scale}"
    prepared = asked.fit._prepared
    name, success = prepared.response_text.name, prepared.response.success
    if prepared.spec.family.response.trials:
        name = f"proportion of {name}"
    return f"{name if success is None else f'{name} = {success}'}{effect.on_scale}"
