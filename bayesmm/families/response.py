"""What a response may be: the kinds of values that families are made for.

A `ResponseKind` is a trait of a family. Other code asks it (`integer`, `binary`, `trials`) and
lets it check a column, and so never needs to know which family it is dealing with.

To add a kind, write the function that marks the bad rows and the one that says what to do about
them, and make a constant of it at the end of this module.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bayesmm.errors import DataError, FamilyError

# For `bad` and `remedy` below: y, then the trials (None unless the kind has them).
type _Mask = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
type _Remedy = Callable[[float, float | None], str]


@dataclass(frozen=True)
class ResponseKind:
    """A kind of response, and the check of a column against it.

    Parameters
    ----------
    name : str
        A short name, such as ``"count"``.
    description : str
        The values in words, to complete "the family takes ...".
    bad : callable
        ``bad(y, trials)``: True where a finite value is not of this kind. NumPy, shape (n,).
    remedy : callable
        ``remedy(y, trials)``: what to do about the first bad value, as a sentence.
    integer : bool
        Whether the values are whole numbers.
    binary : bool
        Whether the values are failure and success, so that two categories can be read as them.
    trials : bool
        Whether the response is ``prop(y, n)``: y successes of n trials.
    categories : str
        ``"ordered"`` or ``"unordered"`` where the response is one of several categories, which
        reach the density as their positions 0, 1, ...; else empty.
    columns : bool
        Whether the response is ``c(y1, y2, y3)``: an array of shape (n, columns).

    Examples
    --------
    >>> import bayesmm as bm
    >>> bm.families.COUNT.check([0, 2, 1.5, -1])
    array([False, False,  True,  True])
    """

    name: str
    description: str
    bad: _Mask = field(repr=False)
    remedy: _Remedy = field(repr=False)
    integer: bool = False
    binary: bool = False
    trials: bool = False
    categories: str = ""
    columns: bool = False

    def check(self, y: np.ndarray, trials: np.ndarray | None = None) -> np.ndarray:
        """Return True for each row that this kind does not allow.

        Parameters
        ----------
        y : ndarray, shape (n,) or (n, columns)
            Numbers.
        trials : ndarray, shape (n,), optional
            Numbers of trials, for kinds that have them.

        Returns
        -------
        ndarray of bool, shape (n,)
            Values that are missing or infinite are always bad.
        """
        y = np.asarray(y, dtype=float)
        known = np.isfinite(y).all(axis=-1) if self.columns else np.isfinite(y)
        if trials is not None:
            trials = np.asarray(trials, dtype=float)
            known = known & np.isfinite(trials)
        with np.errstate(invalid="ignore"):
            return ~known | self.bad(y, trials)

    def validate(
        self,
        y,
        name: str,
        family: str,
        trials=None,
        *,
        rows: Sequence | None = None,
    ) -> np.ndarray:
        """Check a response column, and return it as the numbers that the density takes.

        Parameters
        ----------
        y : array_like, shape (n,)
            The response. Numbers or booleans.
        name : str
            The column's name, for the message.
        family : str
            The family's name, for the message.
        trials : array_like, shape (n,), optional
            The numbers of trials of ``prop(y, n)``.
        rows : sequence, optional
            Row labels for the message. Without them rows are counted from 0.

        Returns
        -------
        ndarray, shape (n,)
            int64 for kinds of whole numbers, otherwise float64.

        Raises
        ------
        DataError
            If the column is not numeric, or some rows are not of this kind. The message names
            the column, the number of bad rows, the first bad value and its row, and what to do.
        FamilyError
            If trials are missing for a kind that has them, or given for one that has not.
        """
        if self.trials and trials is None:
            raise FamilyError(
                f"family {family!r} needs the number of trials: write prop({name}, n) on the left "
                f"of the formula, n being a column of totals or a number; got {name!r} alone. "
                "For 0/1 responses use family='bernoulli'."
            )
        if trials is not None and not self.trials:
            raise FamilyError(
                f"family {family!r} takes {self.description}, not prop({name}, n); for successes "
                "out of a number of trials use family='binomial'."
            )
        values = self._numbers(y, name, family)
        totals = None
        if trials is not None:
            totals = np.broadcast_to(
                self._numbers(trials, f"{name} (trials)", family), values.shape
            )
        bad = self.check(values, totals)
        if bad.any():
            raise DataError(self._refusal(values, totals, bad, name, family, rows))
        return values.astype(np.int64) if self.integer else values.astype(np.float64)

    def _numbers(self, y, name: str, family: str) -> np.ndarray:
        values = np.asarray(y)
        if values.dtype.kind not in "biuf":
            first = repr(values.ravel()[:1].tolist()[0]) if values.size else "nothing"
            raise DataError(
                f"{name}: family {family!r} takes {self.description}, and this column is not "
                f"numeric (dtype {values.dtype}, first value {first}). Convert it to numbers"
                + (", or to two categories." if self.binary else ", or choose another family.")
            )
        return values

    def _refusal(self, y, trials, bad, name, family, rows) -> str:
        first = int(np.flatnonzero(bad)[0])
        value, total = y[first].tolist(), None if trials is None else trials[first].item()
        shown = f"{value!r}" if total is None else f"{value!r} of {total!r} trials"
        finite = np.isfinite(value).all() and (total is None or np.isfinite(total))
        remedy = (
            self.remedy(np.min(value), None if total is None else float(total))
            if finite
            else "Missing and infinite values have no density: drop those rows or correct them."
        )
        return (
            f"{name}: family {family!r} takes {self.description}, and {int(bad.sum())} of "
            f"{len(y)} rows have something else; the first is {shown}, in row "
            f"{first if rows is None else rows[first]!r}. {remedy}"
        )


def _not_whole(y: np.ndarray) -> np.ndarray:
    return y != np.floor(y)


def _remedy_real(y: float, trials: float | None) -> str:
    return "Every finite number is allowed."


def _remedy_positive(y: float, trials: float | None) -> str:
    if y == 0:
        return (
            "An exact zero has no density here: family='hurdle_gamma' or 'hurdle_lognormal' models "
            "whether the response is zero and how large it is otherwise."
        )
    return "For responses that may be negative use 'gaussian' or 'student'."


def _remedy_unit(y: float, trials: float | None) -> str:
    if y in (0, 1):
        return (
            f"An exact {y:g} has no density here: if these are proportions of known totals, use "
            "family='binomial' with prop(successes, trials); otherwise 'ordered_beta' or "
            "'zero_one_inflated_beta' models the limits too."
        )
    if 1 < y <= 100:
        return "If these are percentages, divide them by 100."
    return "For responses outside the unit interval use 'gaussian', 'gamma' or another family."


def _remedy_count(y: float, trials: float | None) -> str:
    if y < 0:
        return "Counts are never negative: for such responses use 'gaussian' or 'student'."
    return (
        "Fractions are not counts: for amounts use 'gamma' or 'lognormal'; for counts per unit of "
        "exposure use the count, with offset(log(exposure)) in the formula."
    )


def _remedy_binary(y: float, trials: float | None) -> str:
    return (
        "Code the response as 0 and 1, as booleans or as two categories; for a number of "
        "successes out of n trials use family='binomial' with prop(y, n)."
    )


def _remedy_successes(y: float, trials: float | None) -> str:
    if trials is not None and y > trials:
        return "Successes cannot exceed trials: the order is prop(successes, trials)."
    if y < 0 or (trials is not None and trials < 0):
        return "Neither successes nor trials can be negative."
    return (
        "Successes and trials are whole numbers: for a proportion y of n trials write "
        "prop(successes, n) with the number of successes, y times n."
    )


def _remedy_nonnegative(y: float, trials: float | None) -> str:
    return "For responses that may be negative use 'gaussian' or 'student'."


def _remedy_angle(y: float, trials: float | None) -> str:
    if 0 <= y <= 360:
        return (
            "Angles are in radians from -pi to pi: convert degrees d with deg2rad(d), and take "
            "2 pi off what is above pi."
        )
    return "Angles are in radians from -pi to pi: add or subtract multiples of 2 pi."


def _remedy_category(y: float, trials: float | None) -> str:
    return "Code the categories as whole numbers, or as an ordered category of the data frame."


def _remedy_counts(y: float, trials: float | None) -> str:
    if y < 0:
        return "Counts are never negative."
    return "Fractions are not counts; for shares that add up to 1 use family='dirichlet'."


def _remedy_shares(y: float, trials: float | None) -> str:
    if y == 0:
        return (
            "An exact zero has no density here: if the shares come from counts, use "
            "family='multinomial' with the counts."
        )
    return "The columns of a row are above 0 and add up to 1: divide each by their sum."


REAL = ResponseKind(
    "real", "real numbers", lambda y, trials: np.zeros(y.shape, dtype=bool), _remedy_real
)
POSITIVE = ResponseKind("positive", "numbers above 0", lambda y, trials: y <= 0, _remedy_positive)
UNIT_OPEN = ResponseKind(
    "unit_open",
    "numbers strictly between 0 and 1",
    lambda y, trials: (y <= 0) | (y >= 1),
    _remedy_unit,
)
COUNT = ResponseKind(
    "count",
    "non-negative whole numbers",
    lambda y, trials: (y < 0) | _not_whole(y),
    _remedy_count,
    integer=True,
)
BINARY = ResponseKind(
    "binary",
    "0 and 1, or two categories",
    lambda y, trials: (y != 0) & (y != 1),
    _remedy_binary,
    integer=True,
    binary=True,
)


def _bad_successes(y: np.ndarray, trials: np.ndarray | None) -> np.ndarray:
    bad = (y < 0) | _not_whole(y)
    # Without totals (they are checked to be there before) only y itself can be judged.
    return bad if trials is None else bad | (y > trials) | _not_whole(trials)


SUCCESSES = ResponseKind(
    "successes",
    "prop(y, n), whole numbers with 0 <= y <= n",
    _bad_successes,
    _remedy_successes,
    integer=True,
    trials=True,
)

NONNEGATIVE = ResponseKind("nonnegative", "numbers from 0", lambda y, _: y < 0, _remedy_nonnegative)
UNIT_FROM_ZERO = ResponseKind(
    "unit_from_zero",
    "numbers from 0 to below 1",
    lambda y, trials: (y < 0) | (y >= 1),
    _remedy_unit,
)
UNIT_CLOSED = ResponseKind(
    "unit_closed", "numbers from 0 to 1", lambda y, trials: (y < 0) | (y > 1), _remedy_unit
)
ANGLE = ResponseKind(
    "angle",
    "angles between -pi and pi",
    lambda y, trials: np.abs(y) > np.pi,
    _remedy_angle,
)


def _bad_code(y: np.ndarray, trials: np.ndarray | None) -> np.ndarray:
    return (y < 0) | _not_whole(y)


ORDINAL = ResponseKind(
    "ordinal", "ordered categories", _bad_code, _remedy_category, integer=True, categories="ordered"
)
NOMINAL = ResponseKind(
    "nominal", "categories", _bad_code, _remedy_category, integer=True, categories="unordered"
)
COUNTS = ResponseKind(
    "counts",
    "c(y1, y2, ...), whole numbers from 0",
    lambda y, trials: ((y < 0) | _not_whole(y)).any(axis=-1),
    _remedy_counts,
    integer=True,
    columns=True,
)
SHARES = ResponseKind(
    "shares",
    "c(y1, y2, ...), numbers above 0 that add up to 1",
    lambda y, trials: (y <= 0).any(axis=-1) | (np.abs(y.sum(axis=-1) - 1) > 1e-6),
    _remedy_shares,
    columns=True,
)
