"""The error types, and the few words that every refusal needs.

Every refusal in bayesmm is a `BayesmmError`. Its message names the argument (or column, or
term), shows what arrived, and says what to write instead. To add a kind of refusal, subclass
`BayesmmError` here and re-export it from `bayesmm/__init__.py`.
"""

import difflib
import warnings
from collections.abc import Iterable
from pathlib import Path


class BayesmmError(ValueError):
    """The base of every refusal.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> try:
    ...     bm.Model("Reaction ~ Dayz + (1 | Subject)", data)
    ... except bm.BayesmmError as error:
    ...     print(error)
    The formula uses 'Dayz', which the data do not have. Did you mean 'Days'? The columns
    are 'Reaction', 'Days', 'Subject'.
    """


class FormulaError(BayesmmError):
    """A formula that cannot be read, is not allowed, or says something that is not built."""


class DataError(BayesmmError):
    """Data that the model cannot be fitted to."""


class PriorError(BayesmmError):
    """A prior with an unknown key, or of the wrong support or shape."""


class FamilyError(BayesmmError):
    """An unknown family, link or family parameter, or one that does not suit the response."""


class SamplerError(BayesmmError):
    """A sampler argument that makes no sense, or a sampler that could not start."""


class NewLevelsError(BayesmmError):
    """Clusters that the model has not seen, where the caller did not say what to do with them."""


class BayesmmWarning(UserWarning):
    """Something that the caller may mean, and should know about."""


def warn(message: str) -> None:
    """Issue a `BayesmmWarning` that points at the caller's line, however deep the call is.

    Parameters
    ----------
    message : str
        What the caller should know.
    """
    warnings.warn(message, BayesmmWarning, skip_file_prefixes=(str(Path(__file__).parent),))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string.

    Parameters
    ----------
    word : str
        What arrived.
    known : iterable of str
        What could have been meant.
    """
    folded = {str(k).casefold(): str(k) for k in known}
    near = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.6)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


def listing(items: Iterable[object], most: int = 10) -> str:
    """Return ``'a', 'b', ... (3 more)``: items for a message, cut where it would be too long.

    Parameters
    ----------
    items : iterable
        What to list.
    most : int
        How many at the most.
    """
    items = list(items)
    text = ", ".join(repr(i) for i in items[:most])
    return text + (f", ... ({len(items) - most} more)" if len(items) > most else "")
