"""The shrinkage page in a notebook: the same modules, mounted by anywidget.

anywidget is an optional dependency, imported when a widget is made.
"""

from collections.abc import Sequence
from typing import Any

from bayesmm.errors import BayesmmError
from bayesmm.page.export import script, style
from bayesmm.page.payload import make_payload

#: What anywidget calls: `render` is given an element, and returns what takes the page down again.
RENDER = """
export default {
  render({ model, el }) {
    const root = el.ownerDocument.createElement("div");
    root.className = "bm-root";
    el.append(root);
    const page = mount(root, model.get("payload"), { url: false });
    return () => page.destroy();
  },
};
"""


def shrinkage_widget(
    fit: Any,
    group: str | None = None,
    *,
    effects: str | Sequence[str] | None = None,
    title: str | None = None,
) -> Any:
    """Show the page of `export_shrinkage` in a notebook.

    Parameters
    ----------
    fit, group, effects, title
        As for `export_shrinkage`.

    Returns
    -------
    anywidget.AnyWidget
        A notebook shows it as the value of a cell.

    Raises
    ------
    BayesmmError
        If anywidget is not installed, and as `export_shrinkage` does.

    Examples
    --------
    >>> import bayesmm as bm
    >>> data = bm.datasets.load("sleepstudy")
    >>> fit = bm.fit("Reaction ~ Days + (Days | Subject)", data, seed=1)
    >>> widget = bm.shrinkage_widget(fit, "Subject")
    >>> widget.payload["title"]
    'How Subject shares information'
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise BayesmmError(
            "shrinkage_widget() needs anywidget: pip install 'bayesmm[widget]'. "
            "bm.export_shrinkage(fit, 'page.html') writes the same page without it."
        ) from error

    class ShrinkageWidget(anywidget.AnyWidget):
        _esm = script() + RENDER
        _css = style()
        payload = traitlets.Dict().tag(sync=True)

    return ShrinkageWidget(payload=make_payload(fit, group, effects=effects, title=title))
