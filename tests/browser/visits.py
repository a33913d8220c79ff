"""What tests do with a shrinkage page in a browser, and what they make pages of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: A short fit.
SAMPLING = {"draws": 300, "warmup": 300, "chains": 2, "seed": 1, "progress": False}

#: Labels that would break a page that takes them as markup, or as one line of ASCII.
WEIRD = (
    "</script><img src=x onerror=\"alert('label')\">",
    "\"double\" & 'single' <b>bold</b> &amp; ${title}",
    "מגדל שמש",
    "née Zoë ∑ 🌱",
    "line\u2028separator --> ]]>",
    "none at all",
)
#: The names of the columns of counts, and of the groups that have these labels.
COUNT, PLOT = "<b>count", '<img src=x onerror="alert(1)">'

NUMBERS = """(root) => {
  const plain = (lists) => lists.map((x) => Array.from(x, (v) => (v === null ? NaN : v)));
  const found = root.bayesmm.results;
  const names = ["theta", "sd", "low", "high", "omega", "unpooled", "unpooledSd"];
  return {
    ...Object.fromEntries(names.map((name) => [name, plain(found[name])])),
    beta: Array.from(found.beta),
    n: Array.from(found.n),
  };
}"""
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@dataclass
class Visit:
    """A page in a browser.

    Attributes
    ----------
    page : playwright.sync_api.Page
        For what has no word here.
    noise : list of str
        What the console, errors and dialogs said.
    requests : list of str
        The addresses of all requests.
    """

    page: Any
    noise: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._heard = {
            "console": lambda message: self.noise.append(f"{message.type}: {message.text}"),
            "pageerror": lambda error: self.noise.append(f"error: {error}"),
            "request": lambda request: self.requests.append(request.url),
            "dialog": self._dialog,
        }

    def listen(self) -> None:
        """Write down what the page says from here on."""
        for name, act in self._heard.items():
            self.page.on(name, act)

    def leave(self) -> None:
        """Listen no more, once all that was under way was heard."""
        self.settle()
        for name, act in self._heard.items():
            self.page.remove_listener(name, act)

    def _dialog(self, dialog: Any) -> None:
        self.noise.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def at(self, key: str) -> Any:
        """The element with this name in data-bm."""
        return self.page.locator(f'[data-bm="{key}"]')

    def tell(self, script: str, value: Any = None) -> Any:
        """What a function of the root and a value returns."""
        root = self.page.locator(".bm-root").first
        return root.evaluate(script, value)

    def settle(self) -> None:
        """Wait until what was scheduled is drawn."""
        self.page.evaluate(FRAMES)

    def rest(self) -> None:
        """Draw all of it, at the end of any movement."""
        self.settle()
        self.tell("(root) => root.bayesmm.flush()")

    def numbers(self) -> dict[str, np.ndarray]:
        """The results, as arrays with the effect first."""
        return {name: np.array(x, float) for name, x in self.tell(NUMBERS).items()}

    @property
    def state(self) -> dict[str, Any]:
        return self.tell("(root) => JSON.parse(JSON.stringify(root.bayesmm.state))")

    @property
    def payload(self) -> dict[str, Any]:
        return self.tell("(root) => root.bayesmm.payload")

    def type(self, key: str, value: float) -> None:
        """Write a number beside a slider."""
        box = self.at(f"number-{key}")
        box.fill(repr(float(value)))
        box.press("Enter")

    def slide(self, key: str, *keys: str) -> None:
        """Move a slider by keys."""
        slider = self.at(f"slider-{key}")
        for name in keys:
            slider.press(name)

    def select(self, level: int) -> None:
        """Choose a level from the list."""
        self.at("select-group").select_option(str(level))

    def text(self, key: str) -> str:
        """The text of an element, once drawn."""
        self.settle()
        return self.at(key).inner_text()

    def address(self, holds: str) -> str:
        """The fragment of the address, once it holds a text (it is written after a while)."""
        self.page.wait_for_function("(text) => location.hash.includes(text)", arg=holds)
        return self.page.evaluate("() => location.hash")

    def focused(self) -> str:
        """The data-bm of what has the focus, or its tag."""
        return self.page.evaluate(
            "() => document.activeElement.dataset.bm || document.activeElement.tagName"
        )
