"""A browser for the tests of the shrinkage page, and the pages that they open.

The browser is Debian's chromium (`.ci/run` installs it); playwright downloads none. A test opens a
page with `visit(...)`, which gives a `Visit`: what a reader does and sees, in short words. After
the test it checks that the page was quiet: nothing on the console, no error, and no request but
the file itself, though the browser is offline.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from twin import Rows
from visits import COUNT, PLOT, SAMPLING, WEIRD, Visit

import bayesmm as bm
from bayesmm.page import export_shrinkage


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium: apt-get install chromium, as .ci/run does")
    # For a module only: while it runs, no other test of the process could use asyncio.
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


def new_page(browser, **options: Any) -> Any:
    """A page of a new context, offline, without animations."""
    settings = {"viewport": {"width": 1300, "height": 1000}, "offline": True}
    settings |= {"reduced_motion": "reduce"}
    page = browser.new_context(**settings | options).new_page()
    page.set_default_timeout(10_000)
    return page


@pytest.fixture(scope="module")
def common_page(browser):
    """The page of most tests: a new one costs more than to open a file in it."""
    return new_page(browser)


@pytest.fixture
def visit(browser, common_page, pages):
    """`visit(name_or_path, fragment="", **context)` opens a page; see `new_page` for options."""
    visits = []

    def open_page(name: str | Path, fragment: str = "", **options: Any) -> Visit:
        fresh = options or any(there.page is common_page for there, _ in visits)
        there = Visit(new_page(browser, **options) if fresh else common_page)
        # From one fragment to another nothing would be loaded.
        there.page.goto("about:blank")
        there.page.mouse.move(0, 0)
        there.listen()
        path = pages(name) if isinstance(name, str) else name
        visits.append((there, path))
        there.page.goto(path.as_uri() + fragment)
        return there

    yield open_page
    for there, _ in visits:
        there.leave()
        if there.page is not common_page:
            there.page.context.close()
    for there, path in visits:
        assert there.noise == []
        assert {re.sub("#.*", "", url) for url in there.requests} == {path.as_uri()}


# --- fits and their pages ---


@pytest.fixture(scope="session")
def dyestuff_fit():
    """A Gaussian random intercept."""
    return bm.fit("Yield ~ 1 + (1 | Batch)", bm.datasets.load("dyestuff"), **SAMPLING)


@pytest.fixture(scope="session")
def counts():
    """Counts of six groups with weird labels and a covariate; the last has only zeros."""
    rng = np.random.default_rng(3)
    level = np.repeat(np.arange(6), [3, 5, 6, 4, 8, 3])
    x = rng.normal(size=len(level))
    y = rng.poisson(np.exp(1.2 + 0.3 * x + rng.normal(size=6)[level]))
    y[level == 5] = 0
    labels = pd.Categorical.from_codes(level, list(WEIRD))
    return pd.DataFrame({COUNT: y, "x": x, PLOT: labels})


@pytest.fixture(scope="session")
def counts_fit(counts):
    """A Poisson model of them."""
    formula = f"`{COUNT}` ~ x + (1 | `{PLOT}`)"
    return bm.fit(formula, counts, family="poisson", **SAMPLING)


@pytest.fixture(scope="session")
def crossed_fit():
    """A Gaussian slope around 0, beside another group."""
    rng = np.random.default_rng(6)
    group, other = np.repeat(np.arange(8), 6), np.tile(np.arange(6), 8)
    x = rng.normal(size=48)
    slope, level = rng.normal(size=8), rng.normal(size=6)
    data = pd.DataFrame({"x": x, "g": group, "h": other})
    data["y"] = 3 + slope[group] * x + level[other] + 0.5 * rng.normal(size=48)
    return bm.fit("y ~ 1 + (0 + x | g) + (1 | h)", data, **SAMPLING)


@pytest.fixture(scope="session")
def thousand_fit():
    """A Gaussian random intercept of 1,000 groups of six rows."""
    rng = np.random.default_rng(4)
    level = np.repeat(np.arange(1000), 6)
    y = 10 + 2 * rng.normal(size=1000)[level] + 3 * rng.normal(size=len(level))
    data = pd.DataFrame({"y": y, "school": [f"school {j}" for j in level]})
    return bm.fit("y ~ 1 + (1 | school)", data, **SAMPLING)


@pytest.fixture(scope="session")
def pages(request, tmp_path_factory):
    """`pages(name)`: the path of the page of the fixture `name_fit`, written once."""
    folder, written = tmp_path_factory.mktemp("pages"), {}

    def page_of(name: str) -> Path:
        if name not in written:
            fit = request.getfixturevalue(f"{name}_fit")
            group = "g" if name == "crossed" else None
            written[name] = export_shrinkage(fit, folder / f"{name}.html", group)
        return written[name]

    return page_of


def means(fit: Any) -> dict[str, np.ndarray]:
    """Posterior means."""
    posterior = fit.whole_posterior()
    return {str(name): x.mean(("chain", "draw")).to_numpy() for name, x in posterior.items()}


@pytest.fixture(scope="session")
def dyestuff(dyestuff_fit):
    """Its rows and posterior means."""
    data = bm.datasets.load("dyestuff")
    level = data["Batch"].astype("category").cat.codes.to_numpy()
    y = data["Yield"].to_numpy(float)
    return Rows(y, np.ones((len(y), 1)), level, np.ones(len(y))), means(dyestuff_fit)


@pytest.fixture(scope="session")
def sleepstudy(sleepstudy_fit):
    """Its rows and posterior means."""
    data = bm.datasets.load("sleepstudy")
    level = data["Subject"].astype("category").cat.codes.to_numpy()
    y, days = data["Reaction"].to_numpy(float), data["Days"].to_numpy(float)
    columns = np.column_stack([np.ones(len(y)), days])
    return Rows(y, columns, level, np.ones(len(y))), means(sleepstudy_fit)


@pytest.fixture(scope="session")
def poisson(counts, counts_fit):
    """The working rows of the counts at the posterior means, and these."""
    mean = means(counts_fit)
    level, x = counts[PLOT].cat.codes.to_numpy(), counts["x"].to_numpy()
    own = mean["b"][0] + mean[f"r_{PLOT}"][level, 0]
    rate = np.exp(own + mean["b"][1] * x)
    # One step of iteratively weighted least squares (McCullagh and Nelder, 1989, 2.5).
    working = own + (counts[COUNT].to_numpy() - rate) / rate
    return Rows(working, np.ones((len(x), 1)), level, rate), mean
