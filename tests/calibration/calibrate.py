"""Calibrate every model of `models.py`, and write what the docs show.

    python tests/calibration/calibrate.py [name ...]

writes ``calibration.json`` and ``table.md``, which docs/calibration.md includes, beside this file.
With names, the other models keep what they have there.
"""

import json
import sys
import time
from pathlib import Path

from models import CASES

import bayesmm as bm

RECORD = Path(__file__).with_name("calibration.json")
TABLE = Path(__file__).with_name("table.md")
#: Data sets for each model, and the seed of every one.
N, SEED = 400, 20260
HEAD = """| model | formula | data sets | tests | smallest p | Bonferroni | remarks | s/data set |
|---|---|---|---|---|---|---|---|"""


def calibrated(name: str, n: int = N, seed: int = SEED) -> dict:
    """Calibrate one model, and return what is kept of it."""
    model = CASES[name].model()
    start = time.perf_counter()
    bm.sbc(model, n=2, seed=seed, progress=False)  # compiles
    compiled = time.perf_counter()
    found = bm.sbc(model, n=n, seed=seed, progress=False)
    seconds = time.perf_counter() - compiled
    failures = found.failures.groupby("kind")["simulation"].nunique()
    table = found.table()
    return {
        "formula": "; ".join(model.spec.formula.texts),
        "family": model.spec.family.name,
        "simulations": n,
        "ranked": found.ranks.sizes["simulation"],
        "draws": found.draws,
        "seed": seed,
        "first_seconds": round(compiled - start, 1),
        "seconds_each": round(seconds / n, 3),
        "failures": {str(kind): int(count) for kind, count in failures.items()},
        "parameters": {
            str(label): {
                "p_value": float(f"{row['p_value']:.4g}"),
                "deviation": float(f"{row['deviation']:.3g}"),
            }
            for label, row in table.iterrows()
        },
    }


def markdown(record: dict) -> str:
    """The record as the table of the docs."""
    lines = [HEAD]
    for name, found in record.items():
        tests = found["parameters"]
        worst = min(tests, key=lambda label: tests[label]["p_value"])
        p = tests[worst]["p_value"]
        remarks = ", ".join(f"{count} {kind}" for kind, count in found["failures"].items())
        formula = found["formula"].replace("|", r"\|")
        lines.append(
            f"| {name} | `{formula}` | {found['ranked']} | {len(tests)} | {p:.2g} (`{worst}`) "
            f"| {min(1.0, p * len(tests)):.2g} | {remarks or '—'} | {found['seconds_each']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def main(names: list[str]) -> None:
    """Calibrate the models of these names, or all."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for name in names or CASES:
        record[name] = calibrated(name)
        print(name, json.dumps(record[name]), flush=True)
        # After each model: a run of all takes half an hour.
        record = {known: record[known] for known in CASES if known in record}
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
        TABLE.write_text(markdown(record))


if __name__ == "__main__":
    main(sys.argv[1:])
