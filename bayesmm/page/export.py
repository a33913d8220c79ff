"""Write the shrinkage page: one file with everything in it.

`assets/` holds the page as ES modules, a stylesheet and a template. There is no build step: the
modules are joined in the order of `MODULES` into one inline script, after lines that begin with
``import`` are dropped and a leading ``export`` is taken off. So that this simple rule works, a
module has each import on one line and without renaming, no default export, and names at its top
level that no other module has. Each file is also a valid module by itself: node imports the
mathematics (`pooling.js`, `normal.js`, `stein.js`) for the tests.

To add a view, write a module with a class of the kind in `view_*.js`, list it in `MODULES` before
``app.js``, and make it in `app.js`.
"""

import os
import re
import tempfile
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from bayesmm.errors import BayesmmError
from bayesmm.page.payload import make_payload, to_json

#: The modules in an order in which each comes after those that it imports.
MODULES = (
    "pooling.js",
    "normal.js",
    "stein.js",
    "state.js",
    "svg.js",
    "chart.js",
    "view_arrows.js",
    "view_caterpillar.js",
    "view_factor.js",
    "view_lines.js",
    "view_bayes.js",
    "view_cluster.js",
    "controls.js",
    "table.js",
    "story.js",
    "game.js",
    "session.js",
    "app.js",
)
_ASSETS = files("bayesmm.page") / "assets"
_IMPORT = re.compile(r"^import\b.*\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)


def export_shrinkage(
    fit: Any,
    path: str | os.PathLike[str],
    group: str | None = None,
    *,
    effects: str | Sequence[str] | None = None,
    title: str | None = None,
) -> Path:
    """Write an interactive page of the partial pooling of a group.

    The page is one file that opens from disk in any browser and asks for nothing from a network. It
    holds the labels of the group and up to 2,000 rows of the response, as they are in the plots.

    Parameters
    ----------
    fit : Fit
        The fit.
    path : str or path
        Where, such as ``"page.html"``. A file that is there is replaced, once the new one is
        written.
    group : str, optional
        The group, such as ``"Subject"``; may be left out where the model has only one.
    effects : str or sequence of str, optional
        One or two effects of the group, such as ``["Intercept", "Days"]``; may be left out where it
        has no more. Other effects are held at their posterior means.
    title : str, optional
        The heading of the page.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    BayesmmError
        For anything but a fit, a model without group effects on mu, a group or effect that it does
        not have, more than two effects, or a path that cannot be written.

    Notes
    -----
    Whatever the sliders say, estimates are those given the standard deviations, with a flat prior
    on the population's coefficients of the effects, and all other parameters at their posterior
    means. That is exact for normal responses. For others it is one Newton step from the fitted
    posterior, and the page says so.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> bm.export_shrinkage(fit, "sleep.html", "Subject").name
    'sleep.html'
    """
    target = _check_path(path)
    html = page(make_payload(fit, group, effects=effects, title=title))
    _replace(target, html)
    return target


def page(payload: dict[str, Any]) -> str:
    """Return the whole page for a payload, as HTML."""
    template = Template(_asset("page.html"))
    return template.substitute(
        title=escape(_encodable(payload["title"])),
        style=style(),
        payload=to_json(payload),
        script=script(),
    )


def script() -> str:
    """Return the modules as one, without exports: its ``mount(root, payload, options)`` starts it.

    A notebook's widget adds an export of its own.
    """
    parts = [_EXPORT.sub("", _IMPORT.sub("", _asset(name))) for name in MODULES]
    return "\n".join(parts)


def style() -> str:
    """Return the stylesheet; all its rules are of elements within ``.bm-root``."""
    return _asset("style.css")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _encodable(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _check_path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise BayesmmError(f"path={path!r}: write the name of a file, such as 'page.html'.")
    target = Path(path)
    try:
        is_directory, has_place = target.is_dir(), target.parent.is_dir()
    except (OSError, ValueError) as error:  # too long, or with a NUL
        raise BayesmmError(f"path={str(path)!r} is no name of a file ({error}).") from error
    if is_directory:
        raise BayesmmError(
            f"path={str(path)!r} is a directory. Write the name of a file in it, such as "
            f"{str(target / 'page.html')!r}."
        )
    if not target.suffix:
        raise BayesmmError(
            f"path={str(path)!r}: a browser opens a file by its ending. Write "
            f"{target.name or 'page'}.html; the group is the argument after the path."
        )
    if not has_place:
        raise BayesmmError(
            f"path={str(path)!r}: there is no directory {str(target.parent)!r}. Make it, or write "
            "a path in one that is there."
        )
    return target


def _replace(target: Path, text: str) -> None:
    """Write beside the target and rename, so that a failure leaves what was there."""
    beside = None
    try:
        handle, beside = tempfile.mkstemp(suffix=".html", prefix=".bayesmm-", dir=target.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # The permissions that a new file gets, or those of the one that is replaced.
        os.chmod(beside, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(beside, target)
    except (OSError, ValueError) as error:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or error
        raise BayesmmError(
            f"path={str(target)!r} cannot be written ({why}). Write a path where you may."
        ) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
