"""Compare bayesmm with Bambi and nutpie: the same models, priors and cores, and print the table.

    uv run tests/benchmarks/peers.py [--quick] [--models NAME,...] [--markdown FILE]

The peer's environment is made by uv in a cache directory, with the versions in `PEER`, at the first
run. Every fit is a process of its own, ours and the peer's in turn, on the same two cores. What a
process takes is counted from before its interpreter starts until its posterior is there: imports,
reading the data, building, compiling, sampling, converting. *Cold* is an empty compilation cache,
*warm* the one that the cold process left. Statistics of the draws are computed afterwards, here, by
one function for both.

What is measured, and what has to be reached, is in `cases.py`; how a fit is made, in
`worker_ours.py` and `worker_bambi.py`; what becomes of the figures, in `measured.py` and
`report.py`. A side is a `Side`: to compare with another package, write its worker, give it a
`Side`, and name it in `cases.py`.

Everything measured is in the JSON file, which is written anew after each process. The exit status
is 1 if a process failed or a target was missed.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cases import BENCHMARKS, CHAINS, DRAWS, Benchmark, Fit, Table
from measured import Measured, with_ess
from report import as_data, markdown, verdicts

import bayesmm as bm

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayesmm-benchmarks"
#: The peer, and what its speed depends on.
PEER = (
    "bambi==0.21.0",
    "formulae==0.6.2",
    "nutpie==0.16.11",
    "pymc==6.4.0",
    "pytensor==3.3.7",
    "numba==0.68.0",
    "llvmlite==0.50.0",
    "numpy==2.5.5",
    "scipy==1.18.1",
    "pandas==3.1.1",
    "xarray==2026.9.0",
    "arviz==1.3.0",
)
#: Both sides get as many cores.
CORES = 2
QUICK = ("sleepstudy", "contraception")


@dataclass(frozen=True)
class Side:
    """How the processes of one side are started.

    Attributes
    ----------
    python : path
        Its interpreter.
    worker : path
        Its script.
    caches : callable
        The environment variables that keep all it compiles in a directory.
    """

    python: Path
    worker: Path
    caches: Callable[[Path], Mapping[str, str]]


def our_side() -> Side:
    """Return bayesmm, as it is installed where this runs."""
    return Side(
        Path(sys.executable),
        HERE / "worker_ours.py",
        lambda directory: {"BAYESMM_CACHE": str(directory)},
    )


def peer_side() -> Side:
    """Return Bambi and nutpie, in an environment that is made if it is not there."""
    return Side(
        peer_python(),
        HERE / "worker_bambi.py",
        lambda directory: {
            "PYTENSOR_FLAGS": f"base_compiledir={directory / 'pytensor'}",
            "NUMBA_CACHE_DIR": str(directory / "numba"),
        },
    )


def peer_python() -> Path:
    """Make the peer's environment with uv, once for these versions, and return its interpreter."""
    key = hashlib.sha256("\n".join((sys.version, *PEER)).encode()).hexdigest()[:12]
    home = CACHE / f"peer-{key}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    made = home / "complete"
    if not made.exists():
        uv = os.environ.get("UV") or shutil.which("uv")
        if uv is None:
            sys.exit("uv is not on the path: pip install uv, then uv run tests/benchmarks/peers.py")
        say(f"making the peer's environment in {home}")
        subprocess.run([uv, "venv", "--clear", "--python", sys.executable, home], check=True)
        # Byte code now: no timed process is to make it.
        install = [uv, "pip", "install", "--compile-bytecode", "--python", python, *PEER]
        subprocess.run(install, check=True)
        made.touch()
    return python


def say(text: str) -> None:
    """Tell the user how far it is; the table alone goes to stdout."""
    print(text, file=sys.stderr, flush=True)


class Runner:
    """Starts workers, one after the other.

    Parameters
    ----------
    sides : mapping of str to Side
        The sides that can be started.
    directory : path
        For jobs, results, tables and caches.
    """

    def __init__(self, sides: Mapping[str, Side], directory: Path):
        self._sides = sides
        self._directory = directory
        self._jobs = 0

    def run(self, side: str, job: Mapping[str, Any], cache: Path) -> tuple[dict[str, Any], Path]:
        """Start a worker, wait for it, and return its answer and where its draws are.

        An answer with ``error``, the end of what it printed, is that of a process that failed.
        """
        self._jobs += 1
        path, result = (self._directory / f"{n}-{self._jobs}.json" for n in ("job", "result"))
        path.write_text(json.dumps({**job, "result": str(result)}), encoding="utf-8")
        how = self._sides[side]
        # The worker is to see no environment but its own, and no cache but the one it is given.
        # Compiled modules are kept, as they are for users.
        hidden = (
            "PYTHONPATH",
            "VIRTUAL_ENV",
            "JAX_COMPILATION_CACHE_DIR",
            "PYTHONDONTWRITEBYTECODE",
        )
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        environment |= how.caches(cache)
        others = cpu_seconds_of_others()
        launched = time.time()
        done = subprocess.run(
            [how.python, how.worker, path, repr(launched)],
            env=environment,
            capture_output=True,
            text=True,
        )
        others = (cpu_seconds_of_others() - others) / (time.time() - launched)
        if done.returncode or not result.exists():
            return {"error": (done.stderr or done.stdout)[-4000:]}, result
        answer = json.loads(result.read_text(encoding="utf-8"))
        return answer | {"others_cpus": others}, result.with_suffix(".npz")

    def versions(self) -> dict[str, str]:
        """Return the versions of all sides; after this every module has been imported once."""
        found = {}
        for side in self._sides:
            answer, _ = self.run(side, {"task": "versions"}, self._directory / "cache-versions")
            if "error" in answer:
                sys.exit(f"{side}: {answer['error']}")
            del answer["others_cpus"]
            # What both have, such as NumPy, is named for the peer where it differs.
            found |= {k if found.get(k, v) == v else f"{side}'s {k}": v for k, v in answer.items()}
        return found

    def table(self, table: Table) -> dict[str, Any]:
        """Return what a job says of its data, which are written at the first call."""
        path = self._directory / f"{table.name}.csv"
        levels = path.with_suffix(".levels.json")
        if not levels.exists():
            data = table.load()
            categories = data.select_dtypes("category")
            data.to_csv(path, index=False)
            found = {str(name): list(column.cat.categories) for name, column in categories.items()}
            levels.write_text(json.dumps(found), encoding="utf-8")
        return {"table": str(path), "levels": json.loads(levels.read_text(encoding="utf-8"))}


def priors_of(fit: Fit) -> list[dict[str, Any]]:
    """Return the priors in force in one of our models, by label, as plain data."""
    model = bm.Model(fit.formula, fit.table.load(), fit.family)
    return [{"label": a.slot.label, **a.prior.as_data()} for a in model.spec.priors]


@dataclass(frozen=True)
class Plan:
    """What of the benchmarks is run.

    Attributes
    ----------
    runs : int
        How often each fit is made, where it does not say so itself.
    caches : tuple of str
        "cold", "warm" or both.
    sides : tuple of str
        "ours", "peer" or both.
    draws : int or None
        For a trial: draws and warm-up draws a chain, in place of everyone's.
    """

    runs: int = 3
    caches: tuple[str, ...] = ("cold", "warm")
    sides: tuple[str, ...] = ("ours", "peer")
    draws: int | None = None

    def sampling(self, fit: Fit) -> dict[str, Any]:
        """Return the arguments of a fit, but for its seed."""
        trial = {"draws": self.draws, "warmup": self.draws} if self.draws else {}
        return {"chains": CHAINS, "draws": DRAWS, **fit.sampling, **trial}

    def turns(self, benchmark: Benchmark) -> Iterator[tuple[int, str, str]]:
        """Yield run, cache and name of the fit of each process, the fits of a benchmark in turn."""
        fits = {name: fit for name, fit in benchmark.fits.items() if fit.side in self.sides}
        for run in range(1, max(fit.repeats or self.runs for fit in fits.values()) + 1):
            for cache in ("cold", "warm"):
                for name, fit in fits.items():
                    # A fit that has no cold run is not left out where only those are asked for.
                    asked = cache in self.caches or fit.caches == (cache,)
                    if asked and cache in fit.caches and run <= (fit.repeats or self.runs):
                        yield run, cache, name


def measure(benchmark: Benchmark, runner: Runner, plan: Plan) -> Iterator[dict[str, Any]]:
    """Run the processes of a benchmark in turn, and yield the record of each."""
    with tempfile.TemporaryDirectory(prefix="bayesmm-caches-") as directory:
        for run, cache, name in plan.turns(benchmark):
            fit = benchmark.fits[name]
            job = job_of(benchmark, fit, runner, plan.sampling(fit) | {"seed": run})
            # The warm run finds what the cold one of the same number left, if there is one.
            compiled = Path(directory, f"{name}-{run if 'cold' in fit.caches else 'kept'}")
            if cache == "warm" and not compiled.exists():
                runner.run(fit.side, job, compiled)  # fills the cache, and is not counted
            answer, draws = runner.run(fit.side, job, compiled)
            if fit.task == "fit" and "error" not in answer:
                answer = with_ess(answer, draws)
                draws.unlink()
            which = {"benchmark": benchmark.name, "fit": name, "side": fit.side}
            yield {**which, "run": run, "cache": cache, **answer}


def job_of(
    benchmark: Benchmark, fit: Fit, runner: Runner, sampling: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a worker is asked."""
    job = {
        "task": fit.task,
        "formula": fit.formula,
        "family": fit.family,
        "sampling": sampling,
        "cores": CORES,
        **runner.table(fit.table),
    }
    return job | {"priors": priors_of(benchmark.fits["ours"])} if fit.side == "peer" else job


def cpu_seconds_of_others() -> float:
    """Return what programs that are not ours have taken of the CPUs; 0 where it is not known.

    Of the machine's busy time (Linux, fields 1 to 3 and 6 to 8 of /proc/stat), what our own
    processes have not taken.
    """
    listing = Path("/proc/stat")
    if not listing.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = map(
        int, listing.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def machine() -> dict[str, Any]:
    """Describe where this runs."""
    cpu = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        lines = listing.read_text(encoding="utf-8").splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": cpu, "cores": CORES, "memory_gb": pages / 1e9, "os": platform.platform()}


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Compare bayesmm with Bambi and nutpie, model by model."
    )
    names = [b.name for b in BENCHMARKS]
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{' and '.join(QUICK)}, once and cold: minutes")
    add("--models", metavar="NAME,...", help=f"some of {', '.join(names)}")
    add("--runs", type=int, help="how often each fit is made (3)")
    add("--only", choices=["ours", "peer"], help="one side alone")
    add("--cold", action="store_true", help="without the runs with a warm cache")
    add("--draws", type=int, help="for a trial: kept draws a chain, and as many of warm-up")
    add("--out", type=Path, default=CACHE / "results", help="where peers.json goes")
    add("--markdown", type=Path, metavar="FILE", help="a page fragment with the tables")
    found = parser.parse_args(given)
    chosen = found.models.split(",") if found.models else QUICK if found.quick else names
    if unknown := set(chosen).difference(names):
        parser.error(f"--models: {', '.join(sorted(unknown))}: choose from {', '.join(names)}")
    found.models = [name for name in names if name in chosen]
    found.runs = found.runs or (1 if found.quick else 3)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    asked = arguments(given)
    plan = Plan(
        runs=asked.runs,
        caches=("cold",) if asked.quick or asked.cold else ("cold", "warm"),
        sides=(asked.only,) if asked.only else ("ours", "peer"),
        draws=asked.draws,
    )
    benchmarks = [
        b
        for b in BENCHMARKS
        if b.name in asked.models and any(f.side in plan.sides for f in b.fits.values())
    ]
    if hasattr(os, "sched_setaffinity"):  # children inherit it
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    asked.out.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bayesmm-benchmark-") as directory:
        make = {"ours": our_side, "peer": peer_side}
        needed = {f.side for b in benchmarks for f in b.fits.values()}.intersection(plan.sides)
        runner = Runner({side: make[side]() for side in sorted(needed)}, Path(directory))
        about = {
            "machine": machine(),
            "versions": runner.versions(),
            "settings": {
                "chains": CHAINS,
                "draws": plan.draws or DRAWS,
                "warmup": plan.draws,
                "runs": plan.runs,
                "date": date.today().isoformat(),
            },
        }
        for benchmark in benchmarks:
            for record in measure(benchmark, runner, plan):
                records.append(record)
                say(line(record))
                text = json.dumps(as_data(benchmarks, records, about), indent=1)
                (asked.out / "peers.json").write_text(text, encoding="utf-8")
    tables = markdown(benchmarks, records, about)
    print(tables)
    if asked.markdown:
        asked.markdown.write_text(tables, encoding="utf-8")
    say(f"every figure is in {asked.out / 'peers.json'}")
    missed = any(
        v.met is False
        for b in benchmarks
        for v in verdicts(b, Measured(r for r in records if r["benchmark"] == b.name))
    )
    return int(missed or any("error" in record for record in records))


def line(record: Mapping[str, Any]) -> str:
    """Return what a process took, in a line."""
    which = "{benchmark}, {fit}, run {run}, {cache}".format(**record)
    if "error" in record:
        return f"{which}: FAILED\n{record['error']}"
    shown = ("process_seconds", "sampling_seconds", "min_ess", "gradient_seconds")
    return f"{which}: {', '.join(f'{k} {record[k]:.4g}' for k in shown if k in record)}"


if __name__ == "__main__":
    sys.exit(main())
