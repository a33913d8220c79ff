"""The numbers of the shrinkage page: what a fit says of one group, small enough to be embedded.

The page pools anew whenever a slider moves, so it gets what that takes: the quadratic of every
level (`quadratic.py`), with which `assets/pooling.js` does the rest.

What the fit itself says (posterior means, intervals, pooling factors, draws) stands beside it, for
"back to the fitted posterior". To show more of a fit, add it to `make_payload`: numbers that are
only looked at with `_short`, those that are computed with to twelve digits.
"""

import json
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from bayesmm.design import group_design
from bayesmm.errors import BayesmmError
from bayesmm.page.quadratic import MOST_EFFECTS, Block, Quadratic, choose_block, quadratic
from bayesmm.results import Fit
from bayesmm.results.posterior import flat
from bayesmm.results.tables import interval
from bayesmm.shrinkage import mean_is_mu, pooling

#: Rows that are drawn, posterior draws of parameters, and of each level's coefficients.
ROWS, DRAWS, LEVEL_DRAWS = 2000, 200, 60
#: Numbers that the draws of all levels may have together, and the least number of draws.
DRAWN_NUMBERS, FEWEST = 12_000, 10
#: The longest label that is embedded.
LABEL = 200


def make_payload(
    fit: Any,
    group: str | None = None,
    *,
    effects: str | Sequence[str] | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Return what the page knows of a fit, as plain data for JSON.

    Parameters
    ----------
    fit : Fit
        The fit.
    group : str, optional
        The group; may be left out where only one has effects on mu.
    effects : str or sequence of str, optional
        One or two of its effects; may be left out where it has no more.
    title : str, optional
        The heading of the page.

    Returns
    -------
    dict
        Lists over levels are in the order of the levels. Lists of lists have the effect first.

        - ``levels``, ``n``, ``flags``: labels, rows, and why a level has no estimate of its own;
        - ``exact``: whether the log-likelihood is the quadratic; ``alone``: whether the model has
          no other group effects, which the page would hold at their posterior means;
        - ``effects``: ``name``, and ``population``, whether it has a population's coefficient;
        - ``G``, ``c``: the quadratic of each level, one after the other: of one effect G and c, of
          two G_00, G_01, G_11 and c_0, c_1;
        - ``sigma`` (``value``, ``kind`` as in `Quadratic`), ``sd``, ``cor``, ``beta``: posterior
          means;
        - ``fit``: what the posterior says: ``mean``, ``sd``, ``low``, ``high`` of theta,
          ``unpooled``, ``unpooled_se`` and ``omega`` of `bayesmm.shrinkage`;
        - ``draws``, ``theta``: thinned draws of the parameters and of theta;
        - ``rows``, ``profile``, ``outlier``, ``response``: what is drawn of the data.

    Raises
    ------
    BayesmmError
        As `choose_block` does, and for a title that is no text.
    """
    block = choose_block(fit, group, effects)
    if title is not None and not isinstance(title, str):
        raise BayesmmError(f"title={title!r}: write the heading of the page as text.")
    spec, name = fit.spec, block.part.name
    found = quadratic(fit, block)
    own = group_design(spec.layout, fit._prepared.design, block.part)
    index, levels = np.asarray(own.index), own.levels
    table = pooling(fit, name, parameter="mu").loc["mu"]
    shaped = {
        column: table[column].to_numpy().reshape(levels, -1)[:, block.positions].T
        for column in ("unpooled", "unpooled_se", "pooling", "flag", "n")
    }
    flags = [next(filter(None, of_level), "") for of_level in shaped["flag"].T]
    groups = [part for predictor in spec.layout for part in predictor.groups]
    draws, response = _Draws(fit, block), _response(fit, found)
    return {
        "version": 1,
        "title": title or f"How {name} shares information",
        "group": name,
        "formula": "; ".join(spec.formula.texts),
        "family": spec.family.name,
        "link": spec.family.link("mu").name,
        "exact": found.exact,
        "alone": len(groups) == 1 and len(block.part.effects) == len(block.effects),
        "levels": [str(label)[:LABEL] for label in draws.labels],
        "n": [int(n) for n in shaped["n"][0]],
        "flags": {str(j): str(flag) for j, flag in enumerate(flags) if flag},
        "effects": [
            {"name": effect, "population": coef is not None}
            for effect, coef in zip(block.effects, block.coefs, strict=True)
        ],
        **_sums(found, index, levels),
        "sigma": {"value": _precise(found.sigma), "kind": found.sigma_kind},
        **draws.means(),
        "prob": interval()[0],
        "quantile": NormalDist().inv_cdf(0.5 + 0.5 * interval()[0]),
        "fit": {
            **draws.theta_summary(),
            "unpooled": _short(shaped["unpooled"], 6),
            "unpooled_se": _short(shaped["unpooled_se"], 5),
            "omega": _short(shaped["pooling"], 5),
        },
        "draws": draws.parameters(),
        "theta": draws.levels(),
        "rows": _rows(found, index, levels, _raw(fit, found, response)),
        "profile": _profile(found),
        "outlier": _outlier(found, index, levels),
        "response": response,
    }


def _sums(found: Quadratic, index: np.ndarray, levels: int) -> dict[str, list[float]]:
    """G and c of every level, of all its rows."""
    z, effects = found.z, range(found.z.shape[1])
    pairs = [(a, b) for a in effects for b in effects if a <= b]
    G = [np.bincount(index, found.w * z[:, a] * z[:, b], levels) for a, b in pairs]
    c = [np.bincount(index, found.w * z[:, a] * found.r, levels) for a in effects]
    return {
        # Every digit: predictors such as years cost many when G is inverted.
        "G": np.ravel(G, order="F").tolist(),
        "c": np.ravel(c, order="F").tolist(),
    }


class _Draws:
    """The posterior of a block: its parameters, and the coefficients of its levels.

    Parameters
    ----------
    fit : Fit
        The fit.
    block : Block
        Its effects.
    """

    def __init__(self, fit: Fit, block: Block):
        posterior = fit.whole_posterior()
        quantities, part, positions = flat(posterior), block.part, list(block.positions)
        self.labels = posterior[part.name].to_numpy()
        r = quantities[part.variable("r")][:, :, positions]
        count = len(r)
        b = quantities.get(block.predictor.variable("b"))
        self._beta = np.stack(
            [np.zeros(count) if b is None or k is None else b[:, k] for k in block.coefs], axis=1
        )
        self._sd = quantities[part.variable("sd")][:, positions]
        cor = quantities.get(part.variable("cor"))
        two = len(positions) == MOST_EFFECTS
        self._cor = cor[:, positions[0], positions[1]] if two and cor is not None else None
        self._two = two
        self._theta = r + self._beta[:, None, :]
        sigma = quantities.get(fit.spec.family.normal_sd or "")
        self._sigma = sigma if sigma is not None and sigma.ndim == 1 else None

    def means(self) -> dict[str, Any]:
        """The posterior means of the parameters."""
        cor = 0.0 if self._cor is None else float(self._cor.mean())
        return {
            "sd": [_precise(x) for x in self._sd.mean(axis=0)],
            "cor": _precise(cor) if self._two else None,
            "beta": [_precise(x) for x in self._beta.mean(axis=0)],
        }

    def theta_summary(self) -> dict[str, Any]:
        """Mean, sd and interval of the coefficients of every level."""
        probability = interval()[0]
        tails = [0.5 - 0.5 * probability, 0.5 + 0.5 * probability]
        low, high = np.quantile(self._theta, tails, axis=0)
        return {
            "mean": _short(self._theta.mean(axis=0).T, 6),
            "sd": _short(self._theta.std(axis=0, ddof=1).T, 5),
            "low": _short(low.T, 5),
            "high": _short(high.T, 5),
        }

    def parameters(self) -> dict[str, Any]:
        """Thinned draws of the parameters."""
        kept = _spread(len(self._beta), DRAWS)
        return {
            "beta": _short(self._beta[kept].T, 5),
            "sd": _short(self._sd[kept].T, 4),
            "cor": None if self._cor is None else _short(self._cor[kept], 4),
            "sigma": None if self._sigma is None else _short(self._sigma[kept], 4),
        }

    def levels(self) -> dict[str, Any]:
        """Thinned draws of the coefficients of the levels, as whole numbers between two bounds.

        A value v stands for low + v * step; draws of a level are beside each other.
        """
        count = min(LEVEL_DRAWS, DRAWN_NUMBERS // self._theta[0].size)
        if count < FEWEST:
            return {"count": 0}
        theta = self._theta[_spread(len(self._theta), count)].transpose(2, 1, 0)
        low, high = theta.min(axis=(1, 2)), theta.max(axis=(1, 2))
        step = np.where(high > low, (high - low) / 999, 1.0)
        values = np.rint((theta - low[:, None, None]) / step[:, None, None]).astype(int)
        return {
            "count": theta.shape[2],
            "low": _short(low, 6),
            "step": _short(step, 6),
            "values": values.reshape(len(values), -1).tolist(),
        }


def _raw(fit: Fit, found: Quadratic, response: dict[str, Any]) -> np.ndarray | None:
    """The responses (parts of the trials), where they are on the scale of the inverse link."""
    design = fit._prepared.design
    y = np.asarray(design.y)
    if not response["mean"] or fit.spec.family.link("mu").is_identity or y.ndim != 1:
        return None
    return y / design.data["trials"] if "trials" in design.data else y


def _rows(
    found: Quadratic, index: np.ndarray, levels: int, raw: np.ndarray | None
) -> dict[str, Any]:
    """The rows to draw, by level: how many, x (the last column), y (the working response), raw."""
    order = np.argsort(index, kind="stable")
    order = order[found.w[order] > 0]
    most = max(1, ROWS // levels)
    counts = np.bincount(index[order], minlength=levels)
    if len(order) > ROWS:
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        kept = [start + _spread(n, most) for start, n in zip(starts, counts, strict=True)]
        order, counts = order[np.concatenate(kept)], np.minimum(counts, most)
    return {
        "counts": counts.tolist(),
        "x": _short(found.z[order, -1], 5),
        "y": _short(found.r[order], 5),
        "raw": None if raw is None else _short(raw[order], 5),
        "thinned": bool(len(order) < np.count_nonzero(found.w > 0)),
    }


def _profile(found: Quadratic) -> dict[str, Any]:
    """What the figure of lines needs to know of the columns and of the rest of the model.

    The first column as a line of the last one: 1 + 0 x for an intercept.
    """
    counted = found.w > 0
    z, last = found.z[counted], found.z[counted, -1]
    constant = bool(np.ptp(last) == 0)
    slope, start = 0.0, float(z[:, 0].mean())
    if z.shape[1] == MOST_EFFECTS and not constant:
        slope, start = (float(x) for x in np.polyfit(last, z[:, 0], 1))
    slope = 0.0 if abs(slope) * float(np.ptp(last)) < 1e-9 * (1.0 + abs(start)) else slope
    return {
        "constant": constant,
        "start": _precise(start),
        "slope": _precise(slope),
        "x": _short(np.array([last.min(), last.max()]), 6),
        "mean": _short(z.mean(axis=0), 6),
        "rest": _precise(float(found.rest[counted].mean())),
    }


def _outlier(found: Quadratic, index: np.ndarray, levels: int) -> dict[str, Any]:
    """One more row for each level: its weight, that of the mean row, and its columns.

    With one effect those of the mean row, with two those of the row with the largest last column.
    """
    counts = np.bincount(index, minlength=levels)
    mean_w = np.bincount(index, found.w, levels) / np.maximum(counts, 1)
    if found.z.shape[1] < MOST_EFFECTS:
        sums = np.bincount(index, found.z[:, 0], levels)
        z = (sums / np.maximum(counts, 1))[:, None]
    else:
        order = np.lexsort((found.z[:, -1], index))
        last = np.concatenate([np.flatnonzero(np.diff(index[order])), [len(order) - 1]])
        z = np.zeros((levels, MOST_EFFECTS))
        z[index[order][last]] = found.z[order][last]
    return {"w": _short(mean_w, 8), "z": _short(z.T, 8)}


def _response(fit: Fit, found: Quadratic) -> dict[str, Any]:
    """The name of the response, and whether its mean is the inverse link of the predictor."""
    spec = fit.spec
    name = spec.response
    if found.exact and spec.family.location != "identity":
        name = f"{spec.family.location}({name})"
    trials = "trials" in fit._prepared.design.data
    return {"name": name, "mean": mean_is_mu(fit), "trials": trials}


def _spread(size: Any, count: int) -> np.ndarray:
    """The positions of so many of `size` things, evenly spread."""
    if size <= count:
        return np.arange(size)
    return np.linspace(0, size - 1, count).round().astype(int)


def _precise(x: Any) -> float:
    """A number that is computed with."""
    return float(f"{float(x):.12g}")


def _short(values: Any, digits: int) -> Any:
    """Numbers that are looked at; null for those that are not finite, whole ones as such."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [_short(v, digits) for v in values]
    value = float(f"{float(values):.{digits}g}")
    if not np.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def to_json(payload: dict[str, Any]) -> str:
    """Return a payload as JSON that can stand inside a script element of a page.

    ``<``, ``>``, ``&`` and the line separators of Unicode are written as escapes, so that no label
    can end the element.
    """
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8; JSON has an escape for it.
    text = "".join(f"\\u{ord(x):04x}" if 0xD800 <= ord(x) < 0xE000 else x for x in text)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
