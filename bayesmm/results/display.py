"""How a model and a fit look when printed, as text and as HTML; labels are escaped."""

from html import escape

import pandas as pd
import xarray as xr

from bayesmm.response import ResponseData
from bayesmm.results.report import Report
from bayesmm.spec import ModelSpec


def model_lines(spec: ModelSpec, seen: ResponseData, dropped: int) -> list[tuple[str, str]]:
    """Return what there is to say of a model, as pairs of a heading and a text."""
    rows = len(seen.values)
    lines = _formulas(spec)
    lines.append(("family", _family(spec)))
    response = spec.response
    if spec.success is not None:
        response += f" (success: {spec.success!r})"
    if spec.family.response.categories:
        response += f" (categories: {', '.join(spec.family.categories)})"
    lines.append(("response", response))
    left_out = f" ({dropped} with missing values left out)" if dropped else ""
    lines.append(("rows", f"{rows}{left_out}"))
    censored = [
        f"{int(seen.data[word].sum())} {word}"
        for word in ("left", "right", "interval")
        if word in seen.data
    ]
    if censored:
        lines.append(("censored", ", ".join(censored)))
    for layout in spec.layout:
        lines.append((f"coefficients of {layout.parameter}", ", ".join(layout.coefs) or "none"))
        for group in layout.groups:
            levels = len(spec.schema.grouping(group.name).cells)
            blocks = "; ".join(
                ", ".join(group.effects[i] for i in positions)
                + (" (correlated)" if correlated else "")
                for positions, correlated in group.blocks
            )
            where = f"group {group.name}" + (f" of {layout.parameter}" if not layout.main else "")
            lines.append((where, f"{levels} levels: {blocks}"))
    return lines


def prior_table(spec: ModelSpec) -> pd.DataFrame:
    """Return every prior in force, and where it came from."""
    return pd.DataFrame(
        {
            "parameter": [a.slot.label for a in spec.priors],
            "prior": [str(a.prior) for a in spec.priors],
            "source": ["default" if a.key is None else f"priors[{a.key!r}]" for a in spec.priors],
        }
    ).set_index("parameter")


def model_text(spec: ModelSpec, seen: ResponseData, dropped: int) -> str:
    """Return a model as text."""
    lines = model_lines(spec, seen, dropped)
    width = max(len(heading) for heading, _ in lines)
    body = "\n".join(f"  {heading:<{width}}  {text}" for heading, text in lines)
    priors = prior_table(spec).rename_axis(None).to_string().replace("\n", "\n  ")
    return f"bayesmm model\n{body}\n\n  {priors}"


def model_html(spec: ModelSpec, seen: ResponseData, dropped: int) -> str:
    """Return a model as HTML."""
    priors = prior_table(spec).rename_axis(None).to_html(escape=True, justify="left")
    return _facts(model_lines(spec, seen, dropped)) + "<br>" + priors


def fit_text(spec: ModelSpec, idata: xr.DataTree, report: Report) -> str:
    """Return a fit as text: what was fitted, the verdict, and where to look next."""
    seconds = idata["posterior"].attrs.get("sampling_time", float("nan"))
    formula = "; ".join(spec.formula.texts)
    return (
        f"bayesmm fit of {formula}\n{_family(spec)}, sampled in {seconds:.1f} s\n{report}\n"
        "See .summary(), .fixef(), .ranef(), .coef(), .var_corr(), .loo(), .idata"
    )


def fit_html(spec: ModelSpec, idata: xr.DataTree, report: Report, summary: pd.DataFrame) -> str:
    """Return a fit as HTML: what was fitted, the verdict, and the summary."""
    seconds = idata["posterior"].attrs.get("sampling_time", float("nan"))
    lines = _formulas(spec)
    lines += [("family", _family(spec)), ("sampling", f"{seconds:.1f} s")]
    return _facts(lines) + report._repr_html_() + summary.to_html(escape=True)


def _formulas(spec: ModelSpec) -> list[tuple[str, str]]:
    names = ["formula", *(f"formula of {p.parameter}" for p in spec.formula.predictors[1:])]
    return list(zip(names, spec.formula.texts, strict=True))


def _family(spec: ModelSpec) -> str:
    modelled = {spec.family.parameter(layout.parameter).name for layout in spec.layout}
    links = ", ".join(f"{name} {link}" for name, link in spec.family.links if name in modelled)
    options = {k: v for k, v in spec.family.options.items() if k != "link"}
    held = "".join(f", {name} {value}" for name, value in options.items())
    return f"{spec.family.name}; links {links}{held}"


def _facts(lines: list[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(heading)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for heading, text in lines
    )
    return f"<table>{rows}</table>"
