"""What the command and its workers say to each other: a job goes in, a result comes back.

A worker is a script that is run as ``python worker.py JOB LAUNCHED``: the path of a job (JSON) and
the time at which the command started the process, so that the start of the interpreter counts. The
result is JSON too, and the draws of the parameters a NumPy archive beside it. Both sides, each in
its own environment, import this module, so it needs nothing but the standard library and, where a
table is read, pandas.
"""

import importlib.metadata
import json
import platform
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Job:
    """What a worker is to do.

    Attributes
    ----------
    asked : dict
        The job: ``task``, ``result`` (where the result goes, a path), and what the task needs:
        ``table``, ``levels``, ``formula``, ``family``, ``priors``, ``sampling``, ``cores``.
    launched : float
        When the process was started, seconds of `time.time`.
    """

    def __init__(self, path: str, launched: str):
        self.asked: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        self.launched = float(launched)

    @classmethod
    def from_arguments(cls) -> "Job":
        """Return the job that the command line names."""
        return cls(*sys.argv[1:3])

    def __getitem__(self, name: str) -> Any:
        return self.asked[name]

    def read_table(self) -> "pd.DataFrame":
        """Read the job's table, with the categories in their order; both sides read the same."""
        import pandas as pd

        levels = self["levels"]
        data = pd.read_csv(self["table"], dtype=dict.fromkeys(levels, str), keep_default_na=False)
        for name, categories in levels.items():
            data[name] = pd.Categorical(data[name], categories=categories)
        return data

    def elapsed(self) -> dict[str, float]:
        """Return the seconds since the process was started, and its peak memory so far."""
        return {"process_seconds": time.time() - self.launched, "peak_bytes": peak_bytes()}

    def answer(self, figures: Mapping[str, Any], draws: Mapping[str, Any] | None = None) -> None:
        """Write the result, and the draws: arrays (chain, draw) by the label of a parameter."""
        path = Path(self["result"])
        if draws is not None:
            import numpy as np

            np.savez(path.with_suffix(".npz"), **draws)
        path.write_text(json.dumps(figures), encoding="utf-8")


def peak_bytes() -> int:
    """Return the most memory that this process has held.

    Linux's ``VmHWM`` is that of the program alone; ``ru_maxrss`` survives the exec and can hold
    what the parent had. Elsewhere there is only the latter.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of these packages."""
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
