"""One progress bar: what is counted, what went wrong, time left; silent where nobody watches."""

import os
import sys
from importlib.util import find_spec


def _watched() -> bool:
    """Whether somebody sees it: a terminal, or a notebook."""
    if "ipykernel" in sys.modules:
        return True
    return bool(getattr(sys.stderr, "isatty", lambda: False)())


class Progress:
    """A bar over draws, or other things that are made one after the other.

    Parameters
    ----------
    total : int
        How many: draws a chain, warm-up included.
    wanted : bool
        Whether the user asked for it.
    unit : str
        What they are.
    """

    def __init__(self, total: int, wanted: bool, unit: str = "draw"):
        self._bar = None
        # tqdm's bar of notebooks does not look at the variable by itself.
        if wanted and _watched() and not os.environ.get("TQDM_DISABLE"):
            # Without ipywidgets, tqdm.auto warns in a notebook; its text bar works there as well.
            if "ipykernel" in sys.modules and find_spec("ipywidgets") is not None:
                from tqdm.notebook import tqdm
            else:
                from tqdm.std import tqdm

            # Chunks are long enough to show each: no further waiting between two looks.
            options = {"unit": unit, "desc": "compiling", "leave": False, "mininterval": 0}
            self._bar = tqdm(total=total, **options)

    def update(self, count: int, doing: str, **notes: int) -> None:
        """Move the bar on.

        Parameters
        ----------
        count : int
            By how many.
        doing : str
            What is being done, such as ``"warm-up"``.
        **notes : int
            What else it says, such as how many divergences there are.
        """
        if self._bar is not None:
            self._bar.set_description(doing, refresh=False)
            self._bar.set_postfix(notes, refresh=False)
            self._bar.update(count)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
