"""Does one job with Bambi and nutpie: see `exchange` for how it is asked and answers.

It runs in the peer's own environment and knows nothing of bayesmm but the labels of its parameters.
The priors arrive under these labels and are stated in Bambi's terms; the draws go back under them,
so that the same numbers can be compared. To say one more, add it to `ARGUMENTS` (a distribution) or
to `CONSTANTS` (a parameter of a family). Bambi has no correlations, so LKJ priors are passed over.
"""

import importlib
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from exchange import Job, versions

#: What Bambi (PyMC) calls the arguments of NumPyro's distributions.
ARGUMENTS = {
    "Normal": {"loc": "mu", "scale": "sigma"},
    "StudentT": {"df": "nu", "loc": "mu", "scale": "sigma"},
    "HalfStudentT": {"df": "nu", "scale": "sigma"},
    "Logistic": {"loc": "mu", "scale": "s"},
    "InverseGamma": {"concentration": "alpha", "rate": "beta"},
}
#: What Bambi calls the parameters of families that have no formula.
CONSTANTS = {"sigma": "sigma", "shape": "alpha"}
#: Predictors beside that of the mean. Bambi's psi is the probability of *no* structural zero,
#: 1 - zi: on the logit scale its coefficients are ours with the other sign, and priors that are
#: symmetric about 0 are the same.
PREDICTORS = {"zi": ("psi", -1.0)}


@dataclass(frozen=True)
class Place:
    """Where Bambi keeps one number.

    Attributes
    ----------
    predictor : str
        The parameter that the predictor is of; empty for the mean.
    term : str
        The term: what its prior is called. ``"Days|Subject"`` is one of a group.
    level : str or None
        The level, for a term with several columns.
    sign : float
        What Bambi's number is to be multiplied with to be ours.
    """

    predictor: str
    term: str
    level: str | None
    sign: float = 1.0

    @property
    def variable(self) -> str:
        """The variable of Bambi's posterior: that of a group's term is its sd."""
        name = f"{self.predictor}_{self.term}" if self.predictor else self.term
        return f"{name}_sigma" if "|" in self.term else name


def place(label: str) -> Place | None:
    """Return where Bambi keeps the number of that label, or None where it has none.

    ``sd_district[urban[Y]]`` is the level Y of the term ``urban|district``.
    """
    variable, _, inside = label.removesuffix("]").partition("[")
    kind, _, rest = variable.partition("_")
    if kind == "cor":
        return None
    if label in CONSTANTS:
        return Place("", CONSTANTS[label], None)
    levels = re.findall(r"\[(.*?)\]", inside)
    term = re.sub(r"\[.*?\]", "", inside)
    level = ", ".join(levels) if levels else None
    if kind == "sd":
        return Place("", f"{'1' if term == 'Intercept' else term}|{rest}", level)
    predictor, sign = PREDICTORS[rest] if rest else ("", 1.0)
    return Place(predictor, term or "Intercept", level, sign)


def bambi_priors(priors: list[dict]) -> dict[str, Any]:
    """State priors in Bambi's terms: by term, and for further predictors by their name and term.

    Parameters
    ----------
    priors : list of dict
        With ``label``, ``name`` and ``args``, in the order of the columns of each term.
    """
    import bambi as bmb
    import numpy as np

    names = {}
    columns = defaultdict(list)
    for prior in priors:
        where = place(prior["label"])
        if where is not None:
            key = (where.predictor, where.term)
            names[key] = prior["name"]
            columns[key].append((where.level, prior["args"]))
    found: dict[str, Any] = {}
    for (predictor, term), numbers in columns.items():
        name = names[predictor, term]
        single = len(numbers) == 1 and numbers[0][0] is None
        args = {
            theirs: numbers[0][1][ours] if single else np.array([args[ours] for _, args in numbers])
            for ours, theirs in ARGUMENTS[name].items()
        }
        stated = bmb.Prior(name, **args)
        if "|" in term:
            stated = bmb.Prior("Normal", mu=0, sigma=stated)
        (found.setdefault(predictor, {}) if predictor else found)[term] = stated
    return found


def fit(job: Job) -> None:
    """Fit the job's model and answer with times, memory and the draws of its parameters."""
    import bambi as bmb

    sampling = job["sampling"]
    model = bmb.Model(
        bmb.Formula(*job["formula"]),
        job.read_table(),
        family=job["family"],
        priors=bambi_priors(job["priors"]),
        auto_scale=False,  # every prior is given
    )
    model.build()
    start = time.perf_counter()
    idata = model.fit(
        draws=sampling["draws"],
        **({"tune": sampling["warmup"]} if "warmup" in sampling else {}),
        chains=sampling["chains"],
        random_seed=sampling["seed"],
        cores=job["cores"],
        inference_method="nutpie",
        progressbar=False,
    )
    fit_seconds = time.perf_counter() - start
    figures: dict[str, Any] = job.elapsed()
    posterior = idata["posterior"].to_dataset()
    sampling_seconds = float(idata["posterior"].attrs["sampling_time"])
    figures |= {
        "fit_seconds": fit_seconds,
        "sampling_seconds": sampling_seconds,
        "compile_seconds": fit_seconds - sampling_seconds,
        "divergences": int(idata["sample_stats"]["diverging"].sum()),
        "model": str(model),
    }
    job.answer(figures, parameters(posterior, [prior["label"] for prior in job["priors"]]))


def parameters(posterior, labels: list[str]) -> dict:
    """Return the draws (chain, draw) of every parameter under its label in bayesmm.

    Every variable that is not a group's effects has to be found under some label.
    """
    found, used = {}, set()
    for label in labels:
        where = place(label)
        if where is None:
            continue
        values = posterior[where.variable]
        used.add(where.variable)
        if where.level is not None:
            values = values.sel({values.dims[2]: where.level})
        # The prior of an intercept is on that of centred predictors; what is reported is not.
        kind, is_intercept, rest = label.partition("Intercept")
        name = f"b{rest}[Intercept]" if is_intercept and not kind else label
        found[name] = where.sign * values.to_numpy()
    for name, values in posterior.data_vars.items():
        if name not in used and not any(str(d).endswith("__factor_dim") for d in values.dims):
            raise ValueError(f"{name} of Bambi's posterior has no label among {labels}")
    return found


def report_versions(job: Job) -> None:
    """Import everything, so that no timed process is the first to, and report the versions."""
    for name in ("bambi", "nutpie"):
        importlib.import_module(name)

    job.answer(versions(["bambi", "nutpie", "pymc", "pytensor", "numba", "numpy", "pandas"]))


TASKS = {"fit": fit, "versions": report_versions}

if __name__ == "__main__":
    asked = Job.from_arguments()
    TASKS[asked["task"]](asked)
