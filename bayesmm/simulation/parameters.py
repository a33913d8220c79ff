"""The user's parameters: from a mapping by posterior names to arrays, with every check.

What is missing is said all at once, with a template to paste. A kind of value that is limited in a
further way gets its check in `_check_values`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmm.errors import BayesmmError, did_you_mean, listing
from bayesmm.families import Family
from bayesmm.links import SUPPORTS
from bayesmm.simulation.wanted import Wanted, free_pairs, template, wanted
from bayesmm.spec import ModelSpec

#: How far below 0 rounding may take an eigenvalue of correlations.
ROUNDING = 1e-8


def read_parameters(params: Any, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Return the parameters as arrays by posterior name; correlations as matrices.

    Parameters
    ----------
    params : mapping
        As for `simulate`.
    spec : ModelSpec
        The model.

    Raises
    ------
    BayesmmError
        For what is unknown, missing, of another shape, or impossible.
    """
    needed = {w.name: w for w in wanted(spec)}
    check_mapping(params)
    for name in params:
        if name not in needed:
            raise _unknown(str(name), needed, spec)
    found = {n: _read(needed[n], value) for n, value in params.items()}
    lacking = [
        label
        for name, w in needed.items()
        for label in (_missing(w, found[name]) if name in found else [name])
    ]
    if lacking:
        filled = {
            n: np.where(np.isnan(found[n]), w.example(), found[n]) if n in found else w.example()
            for n, w in needed.items()
        }
        raise BayesmmError(
            f"params lacks {listing(lacking, 30)}. Write all of them, with your numbers:\n"
            + template(needed.values(), filled)
        )
    for name, w in needed.items():
        _check_values(w, found[name])
    return {name: _whole(needed[name], found[name]) for name in needed}


def check_mapping(params: Any) -> None:
    """Refuse parameters that are no mapping from names."""
    if not isinstance(params, Mapping):
        raise BayesmmError(
            f"params is a {type(params).__name__}. Write a mapping by the names of the posterior, "
            "such as {'b': {'Intercept': 0.0, 'x': 1.0}, 'sigma': 1.0}."
        )


def categories_of(params: Any, family: Family) -> tuple[str, ...]:
    """Return the categories that parameters imply, if any.

    Thresholds of K - 1 labels ``a|b`` name K categories, without labels they are 1 to K. Of a
    nominal response all but the first are in the names of the coefficients, ``b_mu_<category>``;
    the first is 1 or a where 2 or b is next, and else called reference.
    """
    check_mapping(params)
    main, holder = family.parameters[0], family.intercept_holder
    if holder is not None and holder.name in params:
        value = params[holder.name]
        if isinstance(value, Mapping) and value and isinstance([*value.values()][0], Mapping):
            value = [*value.values()][0]  # of the first level that has thresholds of its own
        if isinstance(value, Mapping | pd.Series):
            keys = [str(key) for key in value.keys()]
            ends = [key.split("|") for key in keys]
            if all(len(pair) == 2 for pair in ends):
                chain = (ends[0][0], *(pair[1] for pair in ends))
                if list(family.bound(chain).labels(holder)) == keys:
                    return chain
            return tuple(str(k + 1) for k in range(len(keys) + 1))
        last = np.shape(value)[-1] if np.ndim(value) else 1
        return tuple(str(k + 1) for k in range(last + 1))
    if main.each_category:
        prefix = f"b_{main.name}_"
        others = [str(n).removeprefix(prefix) for n in params if str(n).startswith(prefix)]
        if others:
            return (_reference(others), *others)
    return ()


def _reference(others: Sequence[str]) -> str:
    """A name for the category that the others are compared with: what stands before them."""
    likely = {"2": "1", "b": "a", "B": "A"}.get(others[0], "reference")
    while likely in others:
        likely += "_"
    return likely


# --- reading ---


def _read(w: Wanted, value: Any) -> np.ndarray:
    """Return one variable in the shape of its labels, NaN where a label is missing."""
    if w.group is not None:
        whole = _matrix(w, value)
        if whole is not None:
            return whole
    return _filled(w, value, w.labels, w.name)


def _filled(w: Wanted, value: Any, labels: Sequence[Sequence[str]], where: str) -> np.ndarray:
    shape = tuple(len(part) for part in labels)
    if isinstance(value, pd.DataFrame | pd.Series):
        value = value.T.to_dict() if isinstance(value, pd.DataFrame) else value.to_dict()
    if isinstance(value, Mapping):
        if not labels:
            raise BayesmmError(f"params[{where!r}] is one number, and {value!r} arrived.")
        return _by_label(w, value, labels, where)
    numbers = _numbers(w, value, where)
    if numbers.size == math.prod(shape) == 1:
        return numbers.reshape(shape)
    if numbers.shape == shape and w.inorder and numbers.ndim == 1:
        return numbers
    if not labels:
        raise BayesmmError(f"params[{where!r}] is one number, and {value!r} arrived.")
    said = "Say which is which" if numbers.shape == shape else f"It has {math.prod(shape)} numbers"
    raise BayesmmError(
        f"params[{w.name!r}]={value!r}: {said}. Write\n" + template([w], {w.name: w.example()})
    )


def _by_label(w: Wanted, value: Mapping, labels: Sequence[Sequence[str]], where: str) -> np.ndarray:
    own, *rest = labels
    given = {_label(key, own): x for key, x in value.items()}
    if len(given) < len(value):
        raise BayesmmError(
            f"params[{where!r}]={dict(value)!r} says a label twice: {listing(given)} are in it. "
            "Write each once."
        )
    for key in given:
        if key not in own:
            raise BayesmmError(
                f"params[{where!r}] has no {key!r}.{did_you_mean(key, own)} It has {listing(own)}."
            )
    shape = tuple(len(part) for part in labels)
    found = np.full(shape, np.nan)
    for i, label in enumerate(own):
        if label in given:
            found[i] = _filled(w, given[label], rest, f"{where}[{label}]")
    return found


def _label(key: Any, known: Sequence[str]) -> str:
    """The label that a key means: a pair of effects in either order, as a tuple or a text."""
    if not isinstance(key, tuple):
        text = str(key)
        parts = text.split(", ")
    else:
        parts = [str(part) for part in key]
        text = ", ".join(parts)
    turned = ", ".join(reversed(parts))
    return turned if text not in known and turned in known else text


def _numbers(w: Wanted, value: Any, where: str) -> np.ndarray:
    try:
        found = np.asarray(value)
    except ValueError:  # rows of different lengths
        found = np.asarray(None)
    if found.dtype.kind not in "iuf":
        what = "numbers" if found.ndim else "a number"
        raise BayesmmError(f"params[{where!r}]={value!r}: write {what}.")
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise BayesmmError(f"params[{where!r}]={value!r}: write finite numbers.")
    return found


def _matrix(w: Wanted, value: Any) -> np.ndarray | None:
    """Return the free correlations of a matrix; None where none arrived."""
    group: Any = w.group
    q = len(group.effects)
    if isinstance(value, pd.DataFrame):
        for own in (value.index, value.columns):
            if sorted(map(str, own)) != sorted(group.effects):
                raise BayesmmError(
                    f"params[{w.name!r}] is labelled {listing(own)}, and the effects are "
                    f"{listing(group.effects)}."
                )
        value = value.set_axis(value.index.map(str)).set_axis(value.columns.map(str), axis=1)
        value = value.loc[list(group.effects), list(group.effects)].to_numpy()
    if isinstance(value, Mapping | pd.Series) or _depth(value) != 2:
        return None
    matrix = _numbers(w, value, w.name)
    if matrix.shape != (q, q):
        raise BayesmmError(
            f"params[{w.name!r}] has the shape {matrix.shape}: the {q} effects are "
            f"{listing(group.effects)}, so write a matrix of {q} by {q}."
        )
    if not np.allclose(matrix, matrix.T, atol=ROUNDING):
        raise BayesmmError(f"params[{w.name!r}]: a matrix of correlations is symmetric.")
    if not np.allclose(np.diag(matrix), 1.0, atol=ROUNDING):
        raise BayesmmError(
            f"params[{w.name!r}]: a matrix of correlations has 1 on its diagonal, and this one "
            f"{np.diag(matrix).tolist()}. Standard deviations are {group.variable('sd')!r}."
        )
    _, rows, columns = free_pairs(group)
    rest = matrix - np.eye(q)
    rest[rows, columns] = rest[columns, rows] = 0.0
    if np.abs(rest).max() > ROUNDING:
        i, j = np.unravel_index(np.argmax(np.abs(rest)), rest.shape)
        raise BayesmmError(
            f"params[{w.name!r}]: the formula has {group.effects[i]!r} and {group.effects[j]!r} "
            f"independent of each other, and {rest[i, j]:g} arrived. Write 0, or one term for both."
        )
    return matrix[rows, columns]


def _depth(value: Any) -> int:
    """How many dimensions it has; 0 where rows differ in length."""
    try:
        return np.ndim(value)
    except ValueError:
        return 0


# --- what can be wrong ---


def _missing(w: Wanted, values: np.ndarray) -> Iterator[str]:
    for at in np.argwhere(np.isnan(values)):
        yield f"{w.name}[{', '.join(w.labels[k][i] for k, i in enumerate(at))}]"


def _unknown(name: str, needed: Mapping[str, Wanted], spec: ModelSpec) -> BayesmmError:
    held = dict(spec.family.fixed)
    hint = did_you_mean(name, needed)
    for layout in spec.layout:
        if name == layout.variable("Intercept"):
            hint = (
                " That is the intercept of centred predictors: write the one of the predictors as "
                f"given, {layout.variable('b')!r}: {{'Intercept': ...}}."
            )
        if name == layout.parameter != "mu":
            hint = f" It has a formula of its own: write {layout.variable('b')!r}."
        for group in layout.groups:
            if name == group.variable("r"):
                hint = " Group effects are drawn: params says how they are distributed."
            if name == group.variable("cor"):
                hint = f" The effects of {group.name!r} have no correlation in this formula."
    if name in held and name not in needed:
        hint = (
            f" The family holds it at {held[name]:g}: write "
            f"family=bm.families.{spec.family.name}({name}=...), or give it a formula."
        )
    if name == "delta":
        hint = " The step follows from the thresholds."
    return BayesmmError(
        f"params has {name!r}, which this model does not have.{hint} Its parameters are "
        f"{listing(needed, 40) or 'none'}."
    )


def _check_values(w: Wanted, values: np.ndarray) -> None:
    where = f"params[{w.name!r}]"
    if w.group is not None:
        bad = values[~(np.abs(values) <= 1)]
        if bad.size:
            raise BayesmmError(f"{where}: a correlation is from -1 to 1, and {bad[0]:g} is not.")
        lowest = np.linalg.eigvalsh(_whole(w, values)).min()
        if lowest < -ROUNDING:
            raise BayesmmError(
                f"{where}: no effects have these correlations together (the matrix has the "
                f"eigenvalue {lowest:.3g}, and none may be negative). Bring them nearer to 0."
            )
        return
    if w.support == "sd":
        bad = values[values < 0]
        if bad.size:
            raise BayesmmError(f"{where}: an sd is 0 or more, and {bad[0]:g} is not.")
        return
    low, high = SUPPORTS[w.support]
    bad = values[~((values > low) & (values < high))]
    if bad.size:
        between = f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise BayesmmError(f"{where} is {between}, and {bad[0]:g} is not.")
    steps = np.diff(values, axis=-1) if w.ordered else np.ones(1)
    if (steps <= 0).any():
        raise BayesmmError(f"{where} increases from one to the next: {values.tolist()} does not.")
    if w.equidistant and not np.allclose(steps, np.take(steps, [0], axis=-1)):
        raise BayesmmError(
            f"{where}: equidistant thresholds have equal steps, and those of {values.tolist()} "
            "are not."
        )


def _whole(w: Wanted, values: np.ndarray) -> np.ndarray:
    """The array as the posterior has it: of correlations the matrix."""
    if w.group is None:
        return values
    _, rows, columns = free_pairs(w.group)
    matrix = np.eye(len(w.group.effects))
    matrix[rows, columns] = matrix[columns, rows] = values
    return matrix
