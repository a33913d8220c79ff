"""The interactive page of partial pooling: from a fit to one HTML file.

`quadratic` and `payload` say what the page gets to know of a fit, `export` puts the file together,
`widget` shows the same in a notebook. The page itself is in `assets`: `pooling.js` has the
mathematics, `session.js` state and results, `view_*.js` a figure each, `app.js` joins them.
"""

from bayesmm.page.export import export_shrinkage, page, script, style
from bayesmm.page.payload import make_payload, to_json
from bayesmm.page.widget import shrinkage_widget

__all__ = [
    "export_shrinkage",
    "make_payload",
    "page",
    "script",
    "shrinkage_widget",
    "style",
    "to_json",
]
