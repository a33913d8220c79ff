"""One progress bar: draws, divergences and time left, silent where nobody watches."""

import sys
from importlib.util import find_spec


def _watched() -> bool:
    """Whether somebody sees it: a terminal, or a notebook."""
    if "ipykernel" in sys.modules:
        return True
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class Progress:
    """A bar over the draws of all chains.

    Parameters
    ----------
    total : int
        Draws a chain, warm-up included.
    wanted : bool
        Whether the user asked for it.
    """

    def __init__(self, total: int, wanted: bool):
        self._bar = None
        if wanted and _watched():
            # Without ipywidgets, tqdm.auto warns in a notebook; its text bar works there as well.
            if "ipykernel" in sys.modules and find_spec("ipywidgets") is not None:
                from tqdm.notebook import tqdm
            else:
                from tqdm.std import tqdm

            # Chunks are long enough to show each: no further waiting between two looks.
            options = {"unit": "draw", "desc": "compiling", "leave": False, "mininterval": 0}
            self._bar = tqdm(total=total, **options)

    def update(self, draws: int, *, warming: bool, divergences: int) -> None:
        """Move the bar on by some draws."""
        if self._bar is not None:
            self._bar.set_description("warm-up" if warming else "sampling", refresh=False)
            self._bar.set_postfix(divergences=divergences, refresh=False)
            self._bar.update(draws)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
