"""What a formula is, once read: records of text, compared by value.

They hold no arrays and none of formulae's objects, so that a model specification built of them can
be hashed, compared, saved, and read back with `parse`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GroupTerm:
    """One group term, such as ``(1 + Days | Subject)``.

    Parameters
    ----------
    effects : str
        What varies between the groups, the intercept first: ``"1 + Days"``, ``"0 + x"``.
    factors : tuple of str
        The grouping columns: one, or several for the groups of their combinations.
    correlated : bool
        False for ``||``.
    """

    effects: str
    factors: tuple[str, ...]
    correlated: bool = True

    @property
    def name(self) -> str:
        """The name of the group: ``"Subject"``, or ``"a:b"``."""
        return ":".join(self.factors)


@dataclass(frozen=True)
class Predictor:
    """The linear predictor of one distributional parameter.

    Parameters
    ----------
    parameter : str
        ``"mu"`` for the first formula, else the name on the left of its ``~``.
    common : str
        The population part, the intercept first: ``"1 + Days + offset(log(t))"``.
    groups : tuple of GroupTerm
        The group terms, in the order they were written.
    """

    parameter: str
    common: str
    groups: tuple[GroupTerm, ...] = ()


@dataclass(frozen=True)
class Response:
    """The left-hand side.

    Parameters
    ----------
    expression : str
        The innermost response: ``"y"``, ``"log(y)"``, ``"`my col`"``.
    name : str
        What the response is called: the column's name, or ``"log(y)"``.
    level : str or None
        The level that counts as success, of ``y["yes"]``.
    additions : tuple
        The functions around the response, innermost first, each with its further arguments as
        pairs of name and text: ``(("prop", (("trials", "size"),)),)``.
    """

    expression: str
    name: str
    level: str | None = None
    additions: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
