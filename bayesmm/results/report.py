"""The verdict on a fit: what is wrong, what it means here, and what to do next.

Each check is a function that yields problems; to add one, write it and name it in `CHECKS`.
Thresholds are those of Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021, rank-normalised
R-hat and ESS) and Betancourt (2016, E-BFMI).
"""

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
import xarray as xr

from bayesmm.design import GroupDesign, group_design, take
from bayesmm.errors import listing
from bayesmm.families import FAMILIES, Parameter
from bayesmm.layout import GroupLayout
from bayesmm.prepare import Prepared
from bayesmm.results.convert import effect_variables
from bayesmm.results.tables import groups, summary_variables

MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3
#: Group effects beyond this number are not looked at one by one.
MOST_EFFECTS = 2000
#: A posterior correlation from which two parameters say one thing.
ENTANGLED = 0.6
#: How many times more plausible than before an sd of 0 may be made by the data, at the least.
ZERO_EVIDENCE = 1 / 3


@dataclass(frozen=True)
class Problem:
    """One thing that a reader of the fit should know.

    Attributes
    ----------
    code : str
        A short name for programs: ``"divergences"``, ``"rhat"``, ``"sd_near_zero"`` ...
    message : str
        What was found, and what it means here.
    remedy : str
        What to do next.
    note : bool
        Whether it leaves the draws trustworthy.
    """

    code: str
    message: str
    remedy: str
    note: bool = False

    def __str__(self) -> str:
        return f"{'note' if self.note else 'problem'} [{self.code}] {self.message} {self.remedy}"


@dataclass(frozen=True)
class Report:
    """The verdict: `ok` is whether the draws can be trusted.

    Attributes
    ----------
    problems : tuple of Problem
        What was found, the worst first.
    facts : str
        One line of what the verdict rests on.
    """

    problems: tuple[Problem, ...]
    facts: str

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the draws (notes do not)."""
        return all(problem.note for problem in self.problems)

    def __str__(self) -> str:
        verdict = "The draws can be trusted." if self.ok else "The draws cannot be trusted yet."
        lines = [f"{verdict} {self.facts}"]
        for problem in self.problems:
            lines.append(f"- {problem}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first, *rest = str(self).split("\n")
        items = "".join(f"<li>{html.escape(line.removeprefix('- '))}</li>" for line in rest)
        return f"<p>{html.escape(first)}</p>" + (f"<ul>{items}</ul>" if items else "")


@dataclass(frozen=True)
class _Evidence:
    """What the checks look at."""

    prepared: Prepared
    idata: xr.DataTree

    @cached_property
    def posterior(self) -> xr.Dataset:
        return self.idata["posterior"].to_dataset()

    @property
    def statistics(self) -> xr.Dataset:
        return self.idata["sample_stats"].to_dataset()

    @cached_property
    def variables(self) -> xr.Dataset:
        """The parameters, and the group effects too where they are few enough to look at all."""
        named = effect_variables(self.prepared.spec).intersection(map(str, self.posterior))
        numbers = sum(int(self.posterior[r][0, 0].size) for r in named)
        few = numbers <= MOST_EFFECTS
        return summary_variables(self.prepared.spec, self.posterior, effects=few)

    def counted(self, group: GroupLayout) -> GroupDesign:
        """The arrays of a group, without the rows of weight 0."""
        layout, design = self.prepared.spec.layout, self.prepared.design
        if design.weights is not None:
            design = take(design, np.flatnonzero(design.weights > 0))
        return group_design(layout, design, group)

    @cached_property
    def rhat(self) -> dict[str, float]:
        return _diagnostic(self.variables, "rhat")

    @cached_property
    def ess(self) -> dict[str, dict[str, float]]:
        return {kind: _diagnostic(self.variables, kind) for kind in ("bulk", "tail")}


def make_report(prepared: Prepared, idata: xr.DataTree) -> Report:
    """Return the verdict on a fit.

    Parameters
    ----------
    prepared : Prepared
        The model and its data.
    idata : xarray.DataTree
        Its posterior and sample statistics.
    """
    evidence = _Evidence(prepared, idata)
    problems = [problem for check in CHECKS for problem in check(evidence)]
    problems.sort(key=lambda problem: problem.note)
    chains, draws = evidence.posterior.sizes["chain"], evidence.posterior.sizes["draw"]
    divergences = int(evidence.statistics["diverging"].sum())
    worst_rhat, _ = _extreme(evidence.rhat, largest=True)
    least, _ = _extreme(evidence.ess["bulk"], largest=False)
    rhat = f"largest R-hat {worst_rhat:.3f}, " if chains > 1 else ""
    facts = (
        f"{chains} chain{'s' * (chains > 1)} of {draws} draws, {divergences} divergences, "
        f"{rhat}smallest bulk ESS {least:.0f}."
    )
    return Report(tuple(problems), facts)


def _divergences(evidence: _Evidence) -> Iterator[Problem]:
    diverging = evidence.statistics["diverging"].to_numpy()
    count = int(diverging.sum())
    if not count:
        return
    share = count / diverging.size
    sds = [g.variable("sd") for _, g in groups(evidence.prepared.spec, None)]
    where = f" (often {sds[0]} near 0)" if sds else ""
    tighter = "give the coefficients tighter priors"
    if sds:
        slot = next(a for a in evidence.prepared.spec.priors if a.slot.variable == sds[0])
        tighter = (
            f"give the sds tighter priors than those in force ({slot.slot.label}: {slot.prior})"
        )
    yield Problem(
        "divergences",
        f"{count} of {diverging.size} draws ({100 * share:.2g}%) diverged: the sampler met a "
        f"place of the posterior that it could not enter{where}, so that place is missing here.",
        "Fit again with engine=bm.NUTS(target_accept=0.95), then 0.99; if they stay, "
        f"{tighter}, or leave out a term.",
    )


def _rhat(evidence: _Evidence) -> Iterator[Problem]:
    if evidence.posterior.sizes["chain"] < 2:
        yield Problem(
            "one_chain",
            "One chain cannot show whether chains agree (R-hat).",
            "Fit with chains=4.",
            note=True,
        )
        return
    worst, name = _extreme(evidence.rhat, largest=True)
    if not worst <= MAX_RHAT:
        yield Problem(
            "rhat",
            f"The chains disagree: R-hat of {name} is {worst:.3f} (it should be below {MAX_RHAT}).",
            "Run longer (warmup=2000, draws=2000); if it stays, the posterior may have several "
            "modes, or a parameter that the data say nothing about.",
        )


def _ess(evidence: _Evidence) -> Iterator[Problem]:
    chains, draws = evidence.posterior.sizes["chain"], evidence.posterior.sizes["draw"]
    wanted = MIN_ESS_PER_CHAIN * chains
    found = {kind: _extreme(values, largest=False) for kind, values in evidence.ess.items()}
    # One number of draws for both: what the smaller of the two needs, doubled to be sure.
    smallest = np.nanmin([1e9, *(least for least, _ in found.values())])
    enough = int(np.ceil(draws * 2 * wanted / max(smallest, 1.0) / 100) * 100)
    for kind, meaning in (("bulk", "means and medians"), ("tail", "intervals")):
        least, name = found[kind]
        if not least >= wanted:
            yield Problem(
                f"ess_{kind}",
                f"The {kind} effective sample size of {name} is {least:.0f}, below "
                f"{wanted} ({MIN_ESS_PER_CHAIN} a chain), so {meaning} are not settled.",
                f"Draw more: draws={max(enough, draws + 100)} should do, if the chains agree.",
            )


def _bfmi(evidence: _Evidence) -> Iterator[Problem]:
    if "energy" not in evidence.statistics:
        return
    energy = evidence.statistics["energy"].to_numpy()
    if energy.shape[1] < 4:
        return
    bfmi = np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1, ddof=1)
    low = np.flatnonzero(bfmi < MIN_BFMI)
    # Effects that saturate (a probability of 0 or 1) have no quadratic to be whitened by.
    whitened = evidence.posterior.attrs.get("parameterization") == "whitened"
    other = 'Try other coordinates: parameterization="noncentered". ' if whitened else ""
    if low.size:
        yield Problem(
            "ebfmi",
            f"E-BFMI of chain {int(low[0])} is {bfmi[low[0]]:.2f} (below {MIN_BFMI}): the sampler "
            "moves too slowly between energies, so tails may be missing.",
            f"{other}Use tighter priors on sds and intercepts, or a longer warm-up (warmup=2000).",
        )


def _tree_depth(evidence: _Evidence) -> Iterator[Problem]:
    if "reached_max_treedepth" not in evidence.statistics:
        return
    share = float(evidence.statistics["reached_max_treedepth"].mean())
    if share > 0.01:
        yield Problem(
            "tree_depth",
            f"{100 * share:.0f}% of the draws used the longest trajectory allowed, so they are "
            "slow, not wrong.",
            "Standardise predictors (scale(x)), or fit with engine=bm.NUTS(max_tree_depth=12).",
            note=True,
        )


def _sd_near_zero(evidence: _Evidence) -> Iterator[Problem]:
    """Standard deviations that the data do not tell from 0 (Savage and Dickey's density ratio).

    The ratio of posterior to prior mass near 0 is the Bayes factor for a standard deviation of 0:
    where the data have not lowered it by more than 1 to 3, they do not exclude 0.
    """
    priors = {a.slot.label: a.prior for a in evidence.prepared.spec.priors}
    for _, group in groups(evidence.prepared.spec, None):
        variable = group.variable("sd")
        draws = evidence.posterior[variable].to_numpy()
        for j, effect in enumerate(group.effects):
            label = f"{variable}[{effect}]"
            sd = draws[..., j].ravel()
            near = 0.2 * float(np.median(sd))
            before = priors[label].mass_below(near)
            ratio = float((sd < near).mean()) / before if before > 0 else 0.0
            if ratio > ZERO_EVIDENCE:
                yield Problem(
                    "sd_near_zero",
                    f"The data do not tell {label} from 0: values near 0 are {ratio:.2g} times as "
                    "plausible as its prior had them.",
                    f"Nothing is wrong with the fit: report the interval, or compare by fit.loo() "
                    f"with a model without {effect} for {group.name}.",
                    note=True,
                )


def _more_effects_than_rows(evidence: _Evidence) -> Iterator[Problem]:
    rows = len(evidence.prepared.response.values)
    for predictor, group in groups(evidence.prepared.spec, None):
        levels = len(evidence.prepared.spec.schema.grouping(group.name).cells)
        effects = levels * len(group.effects)
        if effects > rows:
            yield Problem(
                "more_effects_than_rows",
                f"{group.name!r} has {effects} effects in {predictor.parameter} ({levels} levels, "
                f"{len(group.effects)} each) and there are {rows} rows.",
                "This is allowed, and the prior decides much: check prior against posterior of "
                f"{group.variable('sd')}.",
                note=True,
            )


def _constant_within_levels(evidence: _Evidence) -> Iterator[Problem]:
    """Effects whose predictor has one value in each level, beside another such as the intercept.

    The rows of a level show only the sum of these effects. (A factor without intercept, as in
    ``(0 + arm | therapist)``, has one effect in each level, which they do show.)
    """
    for predictor, group in groups(evidence.prepared.spec, None):
        rows = evidence.counted(group)
        size = np.abs(rows.columns).max(axis=0, initial=0.0)
        of_level = np.zeros((rows.levels, len(group.effects)))
        of_level[rows.index] = rows.columns
        constant = (np.abs(of_level[rows.index] - rows.columns) <= 1e-9 * size).all(axis=0)
        together = np.count_nonzero(of_level[:, constant], axis=1).max(initial=0)
        slopes = [j for j, e in enumerate(group.effects) if constant[j] and e != "Intercept"]
        if not slopes or together < 2:
            continue
        terms = list(dict.fromkeys(group.terms[j] for j in slopes))
        found = listing(group.effects[j] for j in slopes)
        first = group.effects[slopes[0]]
        factor = f", of a factor (0 + {terms[0]} | {group.name})" if first != terms[0] else ""
        yield Problem(
            "constant_within_levels",
            f"{found} {'does' if len(slopes) == 1 else 'do'} not vary within the levels of "
            f"{group.name!r}, so the rows of a level see only the sum of its effects in "
            f"{predictor.parameter}.",
            "What can be learned is how the spread between levels changes with it, and that from "
            f"many levels: compare prior and posterior of {group.variable('sd')}[{first}]. If it "
            f"is not the question, write {' + '.join(terms)} + (1 | {group.name}){factor}.",
            note=True,
        )


def _one_row_per_level(evidence: _Evidence) -> Iterator[Problem]:
    """Groups whose intercept has a level for each row."""
    spec = evidence.prepared.spec
    response, residual = spec.family.response, spec.family.known_error
    for group in spec.layout[0].groups:
        rows = evidence.counted(group)
        if group.effects != ("Intercept",) or np.bincount(rows.index).max(initial=0) > 1:
            continue
        sd = group.variable("sd")
        if response.binary or response.categories:
            found = f"and one answer cannot show the spread of a level: {sd} is mostly its prior."
            remedy = f"Leave (1 | {group.name}) out."
        elif residual and not {residual, f"Intercept_{residual}"}.isdisjoint(evidence.posterior):
            found = f"so the data hardly tell its spread, {sd}, from that of rows, {residual}."
            remedy = f"Leave (1 | {group.name}) out: {residual} is what it would stand for."
        else:
            found = "so a row's own effect was fitted to it when fit.loo() leaves the row out."
            remedy = f"Compare models by bm.loo_group(fit, {group.name!r}) instead of fit.loo()."
        message = f"{group.name!r} has one row in each level, {found}"
        yield Problem("one_row_per_level", message, remedy, note=True)


def _zeros_or_dispersion(evidence: _Evidence) -> Iterator[Problem]:
    """Zero inflation and overdispersion explain the same zeros: do the data tell them apart."""
    spec = evidence.prepared.spec
    family, base = spec.family, spec.family.base
    if family.structural_zero is None or base is None or not base.response.integer:
        return
    inflation = next(p for p in family.parameters if p.name not in base.parameter_names)
    zeros = _on_link_scale(evidence, inflation)
    for parameter in base.parameters[1:]:
        dispersion = _on_link_scale(evidence, parameter)
        if zeros is None or dispersion is None:
            continue
        correlation = float(np.corrcoef(zeros[0], dispersion[0])[0, 1])
        before, after = zeros[1], _spread(zeros[0])
        entangled, unmoved = abs(correlation) >= ENTANGLED, after >= before / 2
        if not (entangled or unmoved):
            continue
        found = []
        if entangled:
            found.append(
                f"{inflation.name} and {parameter.name} have a posterior correlation of "
                f"{correlation:.2f}"
            )
        if unmoved:
            found.append(
                f"the spread of {inflation.name} (half the width of the middle two thirds) went "
                f"from {before:.2g} in its prior to no less than {after:.2g}"
            )
        plainer = [
            f.name
            for f in FAMILIES.values()
            if f.structural_zero and f.response == family.response
            if parameter.name not in f.parameter_names
        ]
        others = listing([base.name, *plainer])
        yield Problem(
            "zeros_or_dispersion",
            "The data hardly tell zero inflation from overdispersion, which explain the same "
            f"zeros: {' and '.join(found)} (intercepts, on the scale of their links).",
            f"Do not read {inflation.name} as a share of structural zeros yet: compare by "
            f"fit.loo() with the families {others}, or with more group terms, and compare "
            "predictions rather than parameters.",
            note=True,
        )


def _on_link_scale(evidence: _Evidence, parameter: Parameter) -> tuple[np.ndarray, float] | None:
    """Draws of a parameter, or of its intercept, and its prior's spread, on the link scale."""
    spec = evidence.prepared.spec
    for variable, is_linked in ((parameter.name, False), (f"Intercept_{parameter.name}", True)):
        if variable in evidence.posterior:
            draws = evidence.posterior[variable].to_numpy().ravel()
            prior = next(a.prior for a in spec.priors if a.slot.variable == variable)
            with jax.enable_x64(True):
                link = spec.family.link(parameter.name).forward
                before = prior.distribution().sample(jax.random.key(0), (4000,))
                if not is_linked:
                    draws, before = np.asarray(link(draws)), link(before)
            return draws, _spread(np.asarray(before))
    return None


def _spread(draws: np.ndarray) -> float:
    """Half the width of the middle two thirds: nearly an sd, and defined for heavy tails too."""
    low, high = np.quantile(draws, [1 / 6, 5 / 6])
    return float(high - low) / 2


def _interrupted(evidence: _Evidence) -> Iterator[Problem]:
    if evidence.idata["posterior"].attrs.get("interrupted"):
        yield Problem(
            "interrupted",
            "Sampling was interrupted; these are the draws that were finished.",
            "Fit again for all of them.",
            note=True,
        )


def _pilot(evidence: _Evidence) -> Iterator[Problem]:
    """A pilot fit that failed: the model was sampled as it stands, which is slower."""
    attrs = evidence.idata["posterior"].attrs
    if attrs.get("sampler_note") and attrs.get("parameterization") == "noncentered":
        yield Problem(
            "pilot",
            f"{attrs['sampler_note']} The model was sampled as it stands (non-centred), which is "
            "slower.",
            "The posterior is the same. If it was slow, look at model.prior_predictive(): priors "
            "that are far from the data are the usual reason.",
            note=True,
        )


CHECKS: tuple[Callable[[_Evidence], Iterator[Problem]], ...] = (
    _divergences,
    _rhat,
    _ess,
    _bfmi,
    _tree_depth,
    _sd_near_zero,
    _more_effects_than_rows,
    _constant_within_levels,
    _one_row_per_level,
    _zeros_or_dispersion,
    _pilot,
    _interrupted,
)


def _diagnostic(variables: xr.Dataset, kind: str) -> dict[str, float]:
    """A convergence diagnostic of every scalar element, by its label."""
    from arviz_stats import ess, rhat

    if kind == "rhat" and variables.sizes["chain"] < 2:
        return {}
    found = rhat(variables) if kind == "rhat" else ess(variables, method=kind)
    values = {}
    for name, array in found.data_vars.items():
        labels = np.broadcast_to(_labels(array), array.shape)
        for label, value in zip(np.ravel(labels), np.ravel(array.to_numpy()), strict=True):
            values[f"{name}{label}"] = float(value)
    return values


def _labels(array: xr.DataArray) -> np.ndarray:
    if array.ndim == 0:
        return np.asarray("")
    axes = np.meshgrid(*[array[dim].to_numpy().astype(str) for dim in array.dims], indexing="ij")
    joined = axes[0]
    for axis in axes[1:]:
        joined = np.char.add(np.char.add(joined, ", "), axis)
    return np.char.add(np.char.add("[", joined), "]")


def _extreme(values: dict[str, float], *, largest: bool) -> tuple[float, str]:
    """The worst value and its label; NaN is worse than any."""
    if not values:
        return float("nan"), ""
    sign = 1.0 if largest else -1.0
    label = max(values, key=lambda k: np.inf if np.isnan(values[k]) else sign * values[k])
    return values[label], label
