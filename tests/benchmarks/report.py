"""The tables of a benchmark, as Markdown: what was measured, and which targets are met."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cases import Benchmark
from measured import Measured

#: Columns of the table of figures: heading, figure, cache, divisor. The last figure is no ratio.
COLUMNS = (
    ("sampling s", "sampling_seconds", "cold", 1.0),
    ("compile s", "compile_seconds", "cold", 1.0),
    ("other s", "other_seconds", "cold", 1.0),
    ("process s, cold", "process_seconds", "cold", 1.0),
    ("process s, warm", "process_seconds", "warm", 1.0),
    ("peak GB", "peak_bytes", "cold", 1e9),
    ("min ESS", "min_ess", "cold", 1.0),
    ("ESS / sampling s", "ess_per_sampling_second", "cold", 1.0),
    ("ESS / process s", "ess_per_process_second", "cold", 1.0),
    ("divergences", "divergences", "cold", 1.0),
)


@dataclass(frozen=True)
class Verdict:
    """What became of a target; `met` is None where what it needs was not measured."""

    benchmark: str
    target: str
    value: float | None
    bound: str
    met: bool | None


def verdicts(benchmark: Benchmark, measured: Measured) -> list[Verdict]:
    """Return the verdict on each target of a benchmark."""
    found = []
    for target in benchmark.targets:
        value = target.value(measured)
        known = not math.isnan(value)
        found.append(
            Verdict(
                benchmark.name,
                target.text,
                value if known else None,
                f"{target.sense} {target.bound:g}",
                target.met(value) if known else None,
            )
        )
    return found


def number(value: float | None) -> str:
    """Return three digits, without an exponent, or a whole number; a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], text: int) -> list[str]:
    """Return the lines of a table whose first `text` columns are text and the others numbers."""
    rule = ["---"] * text + ["---:"] * (len(headings) - text)
    return [f"| {' | '.join(row)} |" for row in (headings, rule, *rows)]


def figure_rows(benchmark: Benchmark, measured: Measured) -> list[list[str]]:
    """Return a row for each fit that was measured, and one of the ratios, ours to the peer's."""
    rows = []
    for name, fit in benchmark.fits.items():
        if fit.task == "fit":
            values = [measured.median(name, f, cache) / unit for _, f, cache, unit in COLUMNS]
            if not all(map(math.isnan, values)):
                rows.append([benchmark.name, name, *map(number, values)])
    if {"ours", "peer"} == {row[1] for row in rows}:
        ratios = [measured.ratio(figure, cache) for _, figure, cache, _ in COLUMNS[:-1]]
        rows.append(["", "*ours / peer*", *(f"*{number(r)}*" for r in ratios), ""])
    return rows


def markdown(
    benchmarks: Iterable[Benchmark], records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> str:
    """Return the tables of these records, with what they were measured on.

    Parameters
    ----------
    benchmarks : iterable of Benchmark
        Those that were run.
    records : sequence of dict
        One for each process.
    about : dict
        ``machine``, ``versions`` and ``settings``, each a dictionary.
    """
    figures, judged, notes = [], [], []
    for benchmark in benchmarks:
        measured = Measured(r for r in records if r["benchmark"] == benchmark.name)
        figures += figure_rows(benchmark, measured)
        for v in verdicts(benchmark, measured):
            said = {True: "met", False: "**missed**", None: "not measured"}[v.met]
            judged.append([v.benchmark, v.target, number(v.value), v.bound, said])
        notes += [f"* {benchmark.name}: {note}" for note in benchmark.notes]
        for name in benchmark.fits:
            if not measured.converged(name):
                rhat = max(measured.values(name, "max_rhat"))
                notes.append(
                    f"* {benchmark.name}, {name}: a run did not converge (R-hat {number(rhat)}), "
                    "its ESS means nothing."
                )
        busy = measured.others_cpus()
        if busy > 0.1:
            notes.append(
                f"* {benchmark.name}: other programs took up to {number(busy)} CPUs meanwhile; "
                "measure again on a quiet machine."
            )
        distance = measured.disagreement()
        if not math.isnan(distance):
            notes.append(
                f"* {benchmark.name}: posterior means of the two sides differ by at most "
                f"{number(distance)} posterior sds."
            )
    machine, settings = about["machine"], about["settings"]
    warmup = f"{settings['warmup']:,}" if settings["warmup"] else "each package's default"
    failed = [
        f"* {r['benchmark']}, {r['fit']}, run {r['run']}, {r['cache']}: failed"
        for r in records
        if "error" in r
    ]
    return "\n".join(
        [
            f"{settings['chains']} chains, {settings['draws']:,} kept draws a chain after {warmup} "
            f"of warm-up; medians of {settings['runs']} "
            f"{'run' if settings['runs'] == 1 else 'runs'}, {settings['date']}. "
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB, "
            f"{machine['os']}. {', '.join(f'{k} {v}' for k, v in about['versions'].items())}.",
            "",
            *markdown_table(["model", "fit", *(c[0] for c in COLUMNS)], figures, text=2),
            "",
            *markdown_table(["model", "target", "measured", "bound", "verdict"], judged, text=2),
            "",
            *notes,
            *failed,
            "",
        ]
    )


def as_data(
    benchmarks: Iterable[Benchmark], records: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that was measured, for a JSON file."""
    benchmarks = list(benchmarks)
    of = {b.name: Measured(r for r in records if r["benchmark"] == b.name) for b in benchmarks}
    return {
        **about,
        "notes": {b.name: list(b.notes) for b in benchmarks},
        "targets": [asdict(v) for b in benchmarks for v in verdicts(b, of[b.name])],
        "records": list(records),
    }
