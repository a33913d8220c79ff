"""Does one job with bayesmm: see `exchange` for how it is asked and answers.

A task is a function of the job in `TASKS`. What the benchmark times ends where `Job.elapsed` is
called; what follows it (taking the draws apart, writing them) is not counted.
"""

import importlib
import time
from typing import Any

from exchange import Job, versions


def fit(job: Job) -> None:
    """Fit the job's model and answer with times, memory and the draws of its parameters.

    The pointwise log-likelihood is left out, because the peer does not make it either.
    """
    import bayesmm as bm

    model = bm.Model(job["formula"], job.read_table(), job["family"])
    start = time.perf_counter()
    made = model.fit(**job["sampling"], log_likelihood=False, progress=False)
    fit_seconds = time.perf_counter() - start
    posterior = made.posterior
    figures: dict[str, Any] = job.elapsed()
    figures |= {
        "fit_seconds": fit_seconds,
        "sampling_seconds": float(posterior.attrs["sampling_time"]),
        "compile_seconds": float(posterior.attrs["compile_time"]),
        "divergences": int(made.idata["sample_stats"]["diverging"].to_numpy().sum()),
    }
    job.answer(figures, parameters(posterior))


def parameters(posterior) -> dict:
    """Return the draws (chain, draw) of every parameter by its label, without group effects.

    The intercept is that of the predictors as given (``b[Intercept]``), which the peer reports
    too; the one of the centred predictors is left out. A correlation is there once.
    """
    import numpy as np

    found = {}
    for variable, values in posterior.data_vars.items():
        if variable.startswith(("r_", "Intercept")):
            continue
        draws = values.to_numpy()
        names = [values[dim].to_numpy().tolist() for dim in values.dims[2:]]
        for index in np.ndindex(*draws.shape[2:]):
            if variable.startswith("cor_") and index[0] >= index[1]:
                continue
            inside = ", ".join(str(names[axis][i]) for axis, i in enumerate(index))
            found[f"{variable}[{inside}]" if names else variable] = draws[:, :, *index]
    return found


def imports(job: Job) -> None:
    """Import what a fit cannot do without, and nothing else."""
    for name in ("jax", "numpyro", "pandas", "xarray"):
        importlib.import_module(name)
    job.answer(job.elapsed())


def gradient(job: Job) -> None:
    """Time one gradient of the log density that the sampler of this model uses."""
    import bayesmm as bm

    model = bm.Model(job["formula"], job.read_table(), job["family"])
    job.answer({"gradient_seconds": gradient_seconds(model)})


def gradient_seconds(model, repeats: int = 20) -> float:
    """Return the median seconds of one log density with its gradient, compiled, at the start.

    This is the one place that reaches into the package: `density` is what NUTS is given.
    """
    import jax
    import numpy as np

    from bayesmm.engines.pilot import settle

    with jax.enable_x64(True):
        settled = settle(model._prepared.program(), model._prepared.inputs)
        program, inputs = settled.program, jax.device_put(settled.inputs)
        density = program.log_density
        position, _ = program.starting_region(inputs)
        compiled = jax.jit(jax.value_and_grad(density)).lower(position, inputs).compile()
        seconds = []
        for _ in range(repeats + 1):  # the first one warms up
            start = time.perf_counter()
            jax.block_until_ready(compiled(position, inputs))
            seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def report_versions(job: Job) -> None:
    """Import everything, so that no timed process is the first to, and report the versions."""
    for name in ("numpyro", "xarray", "bayesmm.api"):
        importlib.import_module(name)
    job.answer(versions(["bayesmm", "jax", "jaxlib", "numpyro", "numpy", "pandas", "xarray"]))


TASKS = {"fit": fit, "imports": imports, "gradient": gradient, "versions": report_versions}

if __name__ == "__main__":
    asked = Job.from_arguments()
    TASKS[asked["task"]](asked)
