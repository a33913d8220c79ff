"""The shrinkage page without a browser: its payload, its file, and its mathematics against NumPy.

`pooling.js` and `stein.js` are run by node, where there is one. Pooling is compared with textbook
formulas in mpmath: with many digits, the limit of no pooling is a huge factor.
"""

import json
import os
import re
import shutil
import stat
import subprocess

import arviz as az
import mpmath
import numpy as np
import pandas as pd
import pytest
from nearby import nearby

import bayesmm as bm
from bayesmm.errors import BayesmmError
from bayesmm.page import export_shrinkage, make_payload, page, script, style, to_json
from bayesmm.page.export import _ASSETS, MODULES
from bayesmm.page.quadratic import choose_block
from bayesmm.shrinkage import pooling

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture(scope="module")
def slopes():
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(9), np.arange(2, 11))
    x = rng.normal(size=len(group))
    y = 5 + rng.normal(size=9)[group] + (1 + 0.5 * rng.normal(size=9)[group]) * x
    y = y + 0.7 * rng.normal(size=len(group))
    data = pd.DataFrame({"y": y, "x": x, "g": np.array(list("abcdefghi"))[group]})
    return nearby(bm.Model("y ~ x + (1 + x | g)", data), draws=60)


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(6), 4)
    k = rng.poisson(np.exp(1 + 0.5 * rng.normal(size=6))[group])
    k[group == 2] = 0
    data = pd.DataFrame({"k": k, "g": group, "h": np.tile(["u", "v"], 12)})
    model = bm.Model("k ~ 1 + (1 | g) + (1 | h)", data, family="poisson")
    return nearby(model, draws=60)


# --- what is refused ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "G"}, "group='G'.*no such group.*Did you mean 'g'"),
        ({"group": 3}, "group=3: write the name"),
        ({"effects": "z"}, "no effect 'z'.*'Intercept', 'x'"),
        ({"effects": 3}, "effects=3: write the name"),
        ({"effects": []}, "effects=.*one effect, or two"),
        ({"effects": ["x", "x"]}, "two different ones"),
        ({"title": 3}, "title=3"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(slopes, arguments, message, tmp_path):
    with pytest.raises(BayesmmError, match=message):
        export_shrinkage(slopes, tmp_path / "page.html", **arguments)
    assert not list(tmp_path.iterdir())


def test_what_is_no_fit_or_has_no_groups_is_refused(tmp_path, small_data):
    with pytest.raises(BayesmmError, match="fit is a str"):
        export_shrinkage("fit", tmp_path / "page.html")
    plain = nearby(bm.Model("y ~ x", small_data))
    with pytest.raises(BayesmmError, match="no group effects"):
        export_shrinkage(plain, tmp_path / "page.html")
    scale = nearby(bm.Model(["y ~ x", "sigma ~ 1 + (1 | g)"], small_data))
    with pytest.raises(BayesmmError, match=r"effects on mu.*g \(of sigma\)"):
        export_shrinkage(scale, tmp_path / "page.html")


def test_one_of_several_groups_has_to_be_named(counts, tmp_path):
    with pytest.raises(BayesmmError, match="several groups. Write one of 'g', 'h'"):
        export_shrinkage(counts, tmp_path / "page.html")
    assert choose_block(counts, "h").part.name == "h"


def test_more_than_two_effects_have_to_be_chosen(small_data):
    three = nearby(bm.Model("y ~ x + f + (1 + x + f | g)", small_data))
    with pytest.raises(BayesmmError, match=r"3 effects.*effects=\['Intercept', 'x'\]"):
        choose_block(three)
    chosen = choose_block(three, effects=["f[b]", "Intercept"])
    assert chosen.effects == ("f[b]", "Intercept")
    assert chosen.coefs == (2, 0)


def test_paths_that_cannot_be_written_are_refused(slopes, tmp_path):
    with pytest.raises(BayesmmError, match="path=''"):
        export_shrinkage(slopes, "")
    with pytest.raises(BayesmmError, match="path=3"):
        export_shrinkage(slopes, 3)
    with pytest.raises(BayesmmError, match="is a directory.*page.html"):
        export_shrinkage(slopes, tmp_path)
    with pytest.raises(BayesmmError, match="no directory.*nowhere"):
        export_shrinkage(slopes, tmp_path / "nowhere" / "page.html")
    # The group in the place of the path, and names that no file system takes.
    with pytest.raises(BayesmmError, match="Write Subject.html"):
        export_shrinkage(slopes, "Subject")
    for name in ("a\0b.html", "x" * 300 + ".html"):
        with pytest.raises(BayesmmError, match="path="):
            export_shrinkage(slopes, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_file_that_was_there(slopes, tmp_path, monkeypatch):
    target = tmp_path / "page.html"
    target.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BayesmmError, match="cannot be written .No space left on device."):
        export_shrinkage(slopes, target)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


# --- the file ---


def test_an_existing_file_is_replaced_and_keeps_its_permissions(slopes, tmp_path):
    target = tmp_path / "page.html"
    target.write_text("before")
    target.chmod(0o640)
    assert export_shrinkage(slopes, str(target)) == target
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def embedded(text):
    """The payload of a page, as a browser reads it."""
    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def test_no_label_can_break_the_page(tmp_path):
    awkward = [
        "</script><script>alert(1)</script>", "<!--", "]]>", "&lt;", "\u2028", "\u2029",
        "$payload", "${x}", '"', "'", "\\", "ü", "日本", "<img src=x onerror=alert(1)>",
    ]  # fmt: skip
    data = pd.DataFrame({"y": np.arange(2.0 * len(awkward)) % 7, "g": np.repeat(awkward, 2)})
    fit = nearby(bm.Model("y ~ 1 + (1 | g)", data))
    title = "</title><b>&$script"
    text = export_shrinkage(fit, tmp_path / "page.html", title=title).read_text(encoding="utf-8")
    assert sorted(embedded(text)["levels"]) == sorted(awkward)
    assert embedded(text)["title"] == title
    assert "<title>&lt;/title&gt;&lt;b&gt;&amp;$script</title>" in text
    # Two scripts, and nothing in the first that HTML or JavaScript could take for something else.
    assert text.count("<script") == 2 == text.count("</script")
    body = text.split('data-bm="payload">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(body)
    assert "onerror=alert" not in text.replace("\\u003cimg src=x onerror=alert(1)\\u003e", "")


def test_the_page_forbids_and_names_no_network(slopes):
    text = page(make_payload(slopes))
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert len(policy) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policy[0].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'unsafe-inline'"
    assert "connect-src" not in rules
    addresses = set(re.findall(r"https?://[^\"'\s)]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address
    for word in ("innerHTML", "fetch(", "XMLHttpRequest", "import(", "@import", "url(http"):
        assert word not in text


def test_a_hundred_groups_with_slopes_stay_below_300_kB(tmp_path):
    rng = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "y": rng.normal(300, 50, 5000),
            "x": rng.normal(size=5000),
            "g": np.repeat([f"hospital number {j}" for j in range(100)], 50),
        }
    )
    fit = nearby(bm.Model("y ~ x + (1 + x | g)", data), draws=100)
    path = export_shrinkage(fit, tmp_path / "page.html")
    assert path.stat().st_size < 300_000
    payload = embedded(path.read_text(encoding="utf-8"))
    assert len(payload["rows"]["y"]) == 2000
    assert payload["rows"]["thinned"]
    assert payload["theta"]["count"] == 60


# --- the modules ---


def test_every_module_is_listed_and_follows_what_it_imports():
    assert {path.name for path in _ASSETS.iterdir() if path.name.endswith(".js")} == set(MODULES)
    for place, name in enumerate(MODULES):
        text = (_ASSETS / name).read_text(encoding="utf-8")
        for line in re.findall(r"^import\b.*$", text, re.MULTILINE):
            match = re.fullmatch(r'import \{ [\w, ]+ \} from "\./([\w.]+)";', line)
            assert match, f"{name}: {line}"
            assert match[1] in MODULES[:place]
        assert "export default" not in text


def test_joined_modules_have_neither_imports_nor_exports():
    text = script()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    names = re.findall(r"^(?:const|let|function|class) +(\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) > 50


def test_all_rules_of_the_stylesheet_are_of_the_page():
    text = re.sub(r"/\*.*?\*/", "", style(), flags=re.DOTALL)
    for selectors in re.findall(r"([^{}]+)\{", text):
        if not selectors.strip().startswith("@"):
            for selector in selectors.split(","):
                assert selector.strip().startswith(".bm-root"), selector


@needs_node
def test_the_joined_module_is_valid(tmp_path):
    (tmp_path / "page.mjs").write_text(script())
    subprocess.run([NODE, "--check", str(tmp_path / "page.mjs")], check=True)


# --- the payload ---


def posterior(fit, name):
    values = fit.posterior[name].to_numpy()
    return values.reshape(-1, *values.shape[2:])


def test_the_sums_of_a_gaussian_model_are_those_of_its_rows(slopes):
    payload = make_payload(slopes)
    frame = slopes._prepared.frame.columns
    for j, level in enumerate(payload["levels"]):
        own = frame[frame["g"].astype(str) == level]
        z = np.stack([np.ones(len(own)), own["x"]], axis=1)
        expected = np.concatenate([(z.T @ z)[np.triu_indices(2)], z.T @ own["y"].to_numpy()])
        found = [*payload["G"][3 * j : 3 * j + 3], *payload["c"][2 * j : 2 * j + 2]]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert payload["n"][j] == len(own)
    assert payload["exact"]
    assert payload["sigma"] == {
        "value": pytest.approx(posterior(slopes, "sigma").mean()),
        "kind": "sd",
    }
    assert payload["profile"]["rest"] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(
        payload["rows"]["y"], frame.sort_values("g", kind="stable")["y"], rtol=1e-4
    )


def test_summaries_are_those_of_the_tables(slopes):
    payload = make_payload(slopes)
    table = pooling(slopes)
    coefficients = slopes.coef("g")
    for k, effect in enumerate(["Intercept", "x"]):
        own = coefficients.xs(effect, level="coef")
        for name, column in (("mean", "mean"), ("sd", "sd"), ("low", own.columns[2])):
            np.testing.assert_allclose(payload["fit"][name][k], own[column], rtol=2e-4, atol=1e-6)
        expected = table.xs(effect, level="effect")["pooling"]
        np.testing.assert_allclose(payload["fit"]["omega"][k], expected, rtol=1e-4)
    sd = posterior(slopes, "sd_g").mean(axis=0)
    np.testing.assert_allclose(payload["sd"], sd, rtol=1e-10)
    assert payload["cor"] == pytest.approx(posterior(slopes, "cor_g")[:, 0, 1].mean())
    assert payload["beta"] == pytest.approx(list(posterior(slopes, "b").mean(axis=0)))
    assert payload["prob"] == az.rcParams["stats.ci_prob"]


def test_draws_of_levels_are_those_of_the_posterior(slopes):
    payload = make_payload(slopes)
    theta = payload["theta"]
    assert theta["count"] == 60
    draws = (posterior(slopes, "b")[:, None, :] + posterior(slopes, "r_g"))[
        np.linspace(0, 119, 60).round().astype(int)
    ]
    for k in range(2):
        values = np.reshape(theta["values"][k], (9, 60)) * theta["step"][k] + theta["low"][k]
        # Half a step of the grid, and the digits of its ends.
        wrong = (
            0.5 * theta["step"][k]
            + 1e-5 * np.abs(draws[:, :, k]).max()
            + 1e-5 * 999 * theta["step"][k]
        )
        assert np.abs(values.T - draws[:, :, k]).max() <= wrong


def test_a_poisson_model_is_one_newton_step_and_flags_groups_of_zeros(counts):
    payload = make_payload(counts, "g")
    assert not payload["exact"]
    assert payload["sigma"] == {"value": 1.0, "kind": "none"}
    frame = counts._prepared.frame.columns
    means = {name: posterior(counts, name).mean(axis=0) for name in ("b", "r_g", "r_h")}
    g, h = (frame[name].astype("category").cat.codes.to_numpy() for name in "gh")
    eta = means["b"][0] + means["r_g"][g, 0] + means["r_h"][h, 0]
    mu, k = np.exp(eta), frame["k"].to_numpy()
    theta = means["b"][0] + means["r_g"][g, 0]
    np.testing.assert_allclose(payload["G"], np.bincount(g, mu), rtol=1e-9)
    np.testing.assert_allclose(payload["c"], np.bincount(g, mu * theta + k - mu), rtol=1e-9)
    assert set(payload["flags"]) == {"2"}
    assert payload["fit"]["unpooled"][0][2] is None
    assert payload["response"] == {"name": "k", "mean": True, "trials": False}
    assert payload["rows"]["raw"] == sorted_counts(frame)


def sorted_counts(frame):
    return frame.sort_values("g", kind="stable")["k"].tolist()


def test_known_errors_and_weights_are_in_the_sums(small_data):
    data = small_data.assign(se=np.linspace(0.5, 1.5, 40), w=np.tile([1, 2], 20))
    known = make_payload(nearby(bm.Model("se(y, se) ~ 1 + (1 | g)", data)))
    assert known["sigma"] == {"value": 1.0, "kind": "factor"}
    assert known["exact"]
    codes = data["g"].cat.codes
    np.testing.assert_allclose(known["G"], np.bincount(codes, data["se"] ** -2.0), rtol=1e-9)
    weighted = make_payload(nearby(bm.Model("weighted(y, w) ~ 1 + (1 | g)", data)))
    np.testing.assert_allclose(weighted["G"], np.bincount(codes, data["w"]), rtol=1e-9)


def test_an_effect_without_population_coefficient_is_around_0(small_data):
    payload = make_payload(nearby(bm.Model("y ~ 1 + (0 + x | g)", small_data)))
    assert payload["effects"] == [{"name": "x", "population": False}]
    assert payload["beta"] == [0.0]
    assert payload["cor"] is None
    assert not payload["profile"]["constant"]


def test_json_has_no_nan():
    with pytest.raises(ValueError):
        to_json({"x": float("nan")})
    assert json.loads(to_json({"x": "\ud800<"})) == {"x": "\ud800<"}


# --- the mathematics of the page, against a twin ---


def run_node(module, expression, given):
    """The value of an expression of a module's names, as JSON; infinite numbers as text."""
    code = (
        f"import * as m from {json.dumps((_ASSETS / module).as_uri())};"
        "const given = JSON.parse(process.argv[1], (k, v) => v === 'Infinity' ? Infinity : v);"
        f"const value = ((m, given) => {expression})(m, given);"
        "console.log(JSON.stringify(value, (k, v) => v instanceof Float64Array ? Array.from(v) :"
        " typeof v === 'number' && !Number.isFinite(v) ? String(v) : v));"
    )
    arguments = [NODE, "--input-type=module", "-e", code, json.dumps(given)]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def numbers(values):
    return np.array(values, dtype=float)  # 'Infinity' and 'NaN' as text too


def small_payload(K, J=6, population=(True, True), seed=0, thin=()):
    """A payload of J levels of simulated rows; those in `thin` have a single row."""
    rng = np.random.default_rng(seed)
    G, c, n, z_out = [], [], [], []
    for j in range(J):
        rows = 1 if j in thin else int(rng.integers(3, 9))
        # Of few bits, so that the information of a single row is exactly singular.
        z = np.stack([np.ones(rows), rng.integers(-8, 24, rows) / 8], axis=1)[:, :K]
        w = rng.integers(2, 8, rows) / 4
        y = z @ rng.normal(3, 2, K) + rng.normal(size=rows)
        G.append((z.T * w @ z)[np.triu_indices(K)])
        c.append(z.T @ (w * y))
        n.append(rows)
        z_out.append(z[-1])
    return {
        "effects": [{"name": "e", "population": population[k]} for k in range(K)],
        "levels": [str(j) for j in range(J)],
        "n": n,
        "G": np.ravel(G).tolist(),
        "c": np.ravel(c).tolist(),
        "beta": [0.0] * K,
        "outlier": {"w": [1.3] * J, "z": np.transpose(z_out).tolist()},
    }


def triangle(K):
    return [(a, b) for a in range(K) for b in range(a, K)]


def twin(payload, setting, t):
    """The same estimates from the textbook's formulas with inverses, in many digits."""
    K, J = len(payload["effects"]), len(payload["levels"])
    with mpmath.workdps(120):
        sd, rho = setting["sd"], setting.get("cor", 0.0)
        S = mpmath.matrix(K, K)
        for a in range(K):
            for b in range(K):
                S[a, b] = t * mpmath.mpf(sd[a]) * mpmath.mpf(sd[b]) * (1 if a == b else rho)
        P, c = [], []
        precision = 1 / mpmath.mpf(setting["sigma"]) ** 2
        size = K * (K + 1) // 2
        for j in range(J):
            G = mpmath.matrix(K, K)
            for value, (a, b) in zip(
                payload["G"][size * j : size * j + size], triangle(K), strict=True
            ):
                G[a, b] = G[b, a] = value
            right = mpmath.matrix(payload["c"][K * j : K * j + K])
            own = setting.get("n", {}).get(str(j))
            share = setting.get("multiplier", 1.0) if own is None else own / payload["n"][j]
            G, right = G * share, right * share
            right += G * mpmath.matrix(setting.get("shift", {}).get(str(j), [0.0] * K))
            if str(j) in setting.get("outlier", {}):
                z = mpmath.matrix([row[j] for row in payload["outlier"]["z"]])
                w = payload["outlier"]["w"][j]
                G, right = G + w * z * z.T, right + w * z * setting["outlier"][str(j)]
            if str(j) in setting.get("out", {}):
                G, right = 0 * G, 0 * right
            P.append(G * precision)
            c.append(right * precision)
        identity = mpmath.eye(K)
        kept = [k for k in range(K) if payload["effects"][k]["population"]]
        W = [mpmath.inverse(identity + p * S) * p for p in P]
        v = [mpmath.inverse(identity + p * S) * x for p, x in zip(P, c, strict=True)]
        beta, variance = mpmath.matrix(K, 1), mpmath.matrix(K, K)
        if kept:
            total = mpmath.matrix(len(kept), len(kept))
            right = mpmath.matrix(len(kept), 1)
            for w, x in zip(W, v, strict=True):
                for a, k in enumerate(kept):
                    right[a] += x[k]
                    for b, m in enumerate(kept):
                        total[a, b] += w[k, m]
            inverse = mpmath.inverse(total)
            found = inverse * right
            for a, k in enumerate(kept):
                beta[k] = found[a]
                for b, m in enumerate(kept):
                    variance[k, m] = inverse[a, b]
        names = ("theta", "sd", "conditionalSd", "omega")
        out = {name: np.zeros((K, J)) for name in names}
        for j in range(J):
            V = S * mpmath.inverse(identity + P[j] * S)
            A = mpmath.inverse(identity + S * P[j])
            theta = beta + V * (c[j] - P[j] * beta)
            whole = V + A * variance * A.T
            for k in range(K):
                out["theta"][k, j] = theta[k]
                out["sd"][k, j] = mpmath.sqrt(whole[k, k])
                out["conditionalSd"][k, j] = mpmath.sqrt(V[k, k])
                out["omega"][k, j] = V[k, k] / S[k, k] if S[k, k] > 0 else 1
        out["beta"] = np.array([float(b) for b in beta])
        out["betaSd"] = np.array([float(mpmath.sqrt(variance[k, k])) for k in range(K)])
        return out


def solve(payload, setting):
    given = {"payload": payload, "setting": setting}
    return run_node("pooling.js", "m.solve(m.makeModel(given.payload), given.setting)", given)


ONE = {"sd": [1.7], "sigma": 0.8}
TWO = {"sd": [1.7, 0.6], "cor": -0.4, "sigma": 0.8}
CHANGES = {
    "multiplier": 2.5,
    "n": {"1": 2},
    "shift": {"0": [1.5, -0.5], "1": [0.2, 0.1]},
    "outlier": {"2": 30.0},
    "out": {"3": True},
}
SETTINGS = {
    "one": (1, ONE),
    "one, changed": (1, ONE | CHANGES | {"shift": {"0": [1.5]}}),
    "one, complete": (1, ONE | {"sd": [0.0]}),
    "two": (2, TWO),
    "two, changed": (2, TWO | CHANGES),
    "two, correlated": (2, TWO | {"cor": 1.0}),
    "two, without slopes": (2, TWO | {"sd": [1.7, 0.0]}),
    "two, complete": (2, TWO | {"sd": [0.0, 0.0]}),
    "two, by a factor": (2, TWO | {"factor": 0.3}),
    "two, factor 0": (2, TWO | {"factor": 0}),
}


@needs_node
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("population", [(True, True), (True, False), (False, False)])
def test_the_page_pools_as_the_formulas_say(name, population):
    K, setting = SETTINGS[name]
    payload = small_payload(K, population=population, thin=(4,))
    found, expected = solve(payload, setting), twin(payload, setting, setting.get("factor", 1))
    for key, values in expected.items():
        got = numbers(found[key])[: len(values)]
        np.testing.assert_allclose(got, values, rtol=1e-9, atol=1e-12, err_msg=key)


#: Of no pooling: with rows enough, with one row in a level, and covariances without an inverse.
LIMITS = {
    "one": (1, ONE, ()),
    "two": (2, TWO, ()),
    "two, one row": (2, TWO, (4,)),
    "two, correlated": (2, TWO | {"cor": 1.0}, (4,)),
    "two, without slopes": (2, TWO | {"sd": [1.7, 0.0]}, ()),
    "two, left out": (2, TWO | {"out": {"3": True}}, ()),
    "two, changed": (2, TWO | CHANGES, ()),
}


@needs_node
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("population", [(True, True), (True, False)])
def test_no_pooling_is_the_limit(name, population):
    K, setting, thin = LIMITS[name]
    payload = small_payload(K, population=population, thin=thin)
    found = solve(payload, setting | {"factor": "Infinity"})
    expected = twin(payload, setting, mpmath.mpf(10) ** 40)
    for key, values in expected.items():
        got = numbers(found[key])[: len(values)]
        infinite = np.abs(values) > 1e12
        assert np.isinf(got[infinite]).all(), key
        np.testing.assert_allclose(
            got[~infinite], values[~infinite], rtol=1e-9, atol=1e-12, err_msg=key
        )


@needs_node
def test_estimates_without_pooling_are_separate_regressions():
    payload = small_payload(2, thin=(4,))
    found = solve(payload, TWO)
    G = np.reshape(payload["G"], (-1, 3))[:, [0, 1, 1, 2]].reshape(-1, 2, 2)
    c = np.reshape(payload["c"], (-1, 2))
    for j in range(6):
        own = numbers([found["unpooled"][k][j] for k in range(2)])
        se = numbers([found["unpooledSd"][k][j] for k in range(2)])
        if j == 4:
            assert np.isnan(own).all()
            continue
        np.testing.assert_allclose(own, np.linalg.solve(G[j], c[j]), rtol=1e-9)
        np.testing.assert_allclose(se, 0.8 * np.sqrt(np.diag(np.linalg.inv(G[j]))), rtol=1e-9)


@needs_node
def test_balanced_groups_have_the_closed_form():
    """With n rows each the group's own mean has the weight tau^2 / (tau^2 + sigma^2 / n)."""
    n, means = 5, np.array([1.0, 2.0, 4.0, 7.0])
    payload = small_payload(1, J=4) | {"n": [n] * 4, "G": [n] * 4, "c": (n * means).tolist()}
    found = solve(payload, {"sd": [2.0], "sigma": 3.0})
    weight = 4.0 / (4.0 + 9.0 / n)
    np.testing.assert_allclose(found["omega"][0], 1 - weight, rtol=1e-12)
    np.testing.assert_allclose(found["theta"][0], means.mean() + weight * (means - means.mean()))
    assert found["beta"][0] == pytest.approx(means.mean())
    assert found["betaSd"][0] == pytest.approx(np.sqrt((4.0 + 9.0 / n) / 4))


@needs_node
def test_the_normal_distribution_of_the_page():
    from scipy.stats import norm

    x = np.concatenate([np.linspace(-37, 37, 149), [-5.0, 5.0, 0.0]])
    found = run_node("normal.js", "given.map(m.normalCdf)", x.tolist())
    np.testing.assert_allclose(found, norm.cdf(x), rtol=1e-12, atol=1e-300)
    p = [1e-6, 0.01, 0.3, 0.5, 0.9, 0.99999]
    found = run_node("normal.js", "given.map(m.normalQuantile)", p)
    np.testing.assert_allclose(found, norm.ppf(p), rtol=1e-9, atol=1e-12)
    mixture = [[0.0, 1.0], [3.0, 0.5]]
    q = run_node("normal.js", "m.mixtureQuantile(given, 0.3)", mixture)
    assert np.mean([norm.cdf(q, m, s) for m, s in mixture]) == pytest.approx(0.3, abs=1e-9)


@needs_node
def test_the_slider_of_pooling_goes_from_none_to_complete():
    found = run_node("pooling.js", "given.map(m.poolingFactor)", [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(numbers(found), [np.inf, 9, 1, 1 / 9, 0])


@needs_node
def test_the_page_agrees_with_python_on_a_fit(slopes):
    payload = make_payload(slopes)
    setting = {"sd": payload["sd"], "cor": payload["cor"], "sigma": payload["sigma"]["value"]}
    found, expected = solve(payload, setting), twin(payload, setting, 1)
    np.testing.assert_allclose(numbers(found["theta"]), expected["theta"], rtol=1e-9)
    np.testing.assert_allclose(found["beta"][:2], expected["beta"], rtol=1e-9)


# --- the state in the address ---


@needs_node
def test_the_address_keeps_the_state(slopes):
    payload = make_payload(slopes)
    changed = {
        "mode": "what-if",
        "sd": [0.25, 1.5],
        "cor": -0.5,
        "sigma": 2.0,
        "pool": 0.75,
        "multiplier": 3.0,
        "n": {"2": 7},
        "shift": {"1": [0.5, -1.25]},
        "outlier": {"4": 12.5},
        "out": {"0": True, "3": True},
        "selected": 5,
        "effect": 1,
        "story": 2,
        "theme": "dark",
        "expanded": "lines",
        "game": {"seed": 9, "choices": [0.4, 1, 0]},
    }
    expression = "m.parseState('#' + m.formatState(given.state, given.payload), given.payload)"
    assert run_node("state.js", expression, {"payload": payload, "state": changed}) == changed
    start = run_node("state.js", "m.initialState(given)", payload)
    assert run_node("state.js", "m.formatState(m.initialState(given), given)", payload) == ""
    assert start["mode"] == "fit"


@needs_node
@pytest.mark.parametrize(
    "text",
    ["#", "#sd0=-1&cor=2&sigma=0&pool=7", "#sd0=x&n=99:3&group=1e9&out=-1_b", "#shift=1:2&theme=x",
     "#outlier=1:Infinity&game=x.1&story=9&effect=4&=3&&mode=constructor"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_changes_nothing(slopes, text):
    payload = make_payload(slopes)
    start = run_node("state.js", "m.initialState(given)", payload)
    assert run_node("state.js", "m.parseState(given[0], given[1])", [text, payload]) == start


#: Numbers with which squares would be infinite, or lose all their digits.
EXTREME = ["sd0=1e200", "sigma=1e-200", "rows=1e9", "shift=0:1e308:1e308", "outlier=0:-1e308"]


@needs_node
@pytest.mark.parametrize("text", EXTREME)
def test_numbers_far_beyond_the_fit_are_not_taken(slopes, text):
    payload = make_payload(slopes)
    start = run_node("state.js", "m.initialState(given)", payload)
    assert run_node("state.js", "m.parseState(given[0], given[1])", [text, payload]) == start


@needs_node
def test_numbers_may_be_a_million_times_those_of_the_fit(slopes):
    payload = make_payload(slopes)
    sd, sigma = 0.99e6 * payload["sd"][0], 1.01e-6 * payload["sigma"]["value"]
    text = f"sd0={sd}&sigma={sigma}&shift=0:{-sd}:0&rows=1e-300&n=1:1e-300"
    found = run_node("state.js", "m.parseState(given[0], given[1])", [text, payload])
    assert (found["sd"][0], found["sigma"], found["shift"]) == (sd, sigma, {"0": [-sd, 0]})
    # What is next to nothing is nothing.
    assert (found["multiplier"], found["n"]) == (0, {"1": 0})


@needs_node
def test_paths_leave_out_what_is_not_finite():
    expression = (
        "[m.segment(0, 1, 2, NaN), m.segment(0, 1, 2, 3.14), m.dot(1, given), m.dot(1.26, -2),"
        " m.polyline([[0, 0], [given, 1], [2, 2], [3, 3]]), m.cross(given, 1, 1)]"
    )
    found = run_node("svg.js", expression, "Infinity")
    assert found == ["", "M0 1L2 3.1", "", "M1.3 -2h0", "M0 0M2 2L3 3", ""]


@needs_node
def test_most_values_are_around_their_median():
    found = run_node("svg.js", "m.bulk(given)", [4, 0, 2, 1e9, 3, 1, -50, -1e9, 2.5])
    # Distances from 2 are 0, 0.5, 1, 1, 2, 2 and three that are far.
    assert found == [2 - 5 * 2, 2 + 5 * 2]


# --- the game ---


@needs_node
def test_the_game_scores_as_james_and_stein_say():
    expression = (
        "[0, 1, 2].map((i) => { const r = m.drawRound(given, i);"
        " return { round: r, score: m.scoreRound(r, 0.3) }; })"
    )
    for played in run_node("stein.js", expression, 5):
        seen, truth = (np.array(played["round"][name]) for name in ("seen", "truth"))
        part = min(1.0, (len(seen) - 3) / np.sum((seen - seen.mean()) ** 2))
        for key, pooled in (("none", 0), ("partial", part), ("complete", 1), ("you", 0.3)):
            estimate = seen.mean() + (1 - pooled) * (seen - seen.mean())
            assert played["score"][key] == pytest.approx(np.sum((estimate - truth) ** 2))
    again = run_node("stein.js", "m.drawRound(given, 1).seen", 5)
    assert again == run_node("stein.js", "m.drawRound(given, 1).seen", 5)
    assert again != run_node("stein.js", "m.drawRound(given, 1).seen", 6)


@needs_node
def test_simulated_rounds_have_the_distribution_that_is_told():
    """Errors of raw means are standard normal: their squares sum to 10 on average."""
    many = run_node("stein.js", "m.manyRounds(given, 4000)", 2)
    # The sum of 10 squares has variance 20: five standard errors of the mean over 4,000 rounds.
    assert many["none"] == pytest.approx(10, abs=5 * np.sqrt(20 / 4000))
    assert many["partial"] < 0.8 * many["none"]
