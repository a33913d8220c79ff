"""The shrinkage page in a browser: by keyboard, for screen readers, in the dark, on paper, at size.

Of all pages that are opened, `conftest.py` checks that nothing was on the console, and that nothing
but the file was asked for. The numbers are in `test_page_numbers.py`.
"""

import html
import json
import sys

import numpy as np
import pytest
from visits import COUNT, PLOT, WEIRD

import bayesmm as bm
from bayesmm.page import export_shrinkage, script, style
from bayesmm.page.widget import shrinkage_widget

VIEWS = ("arrows", "caterpillar", "lines", "bayes", "factor", "cluster")


# --- one file ---


@pytest.mark.parametrize("name", ["sleepstudy", "counts"])
def test_a_page_opens_from_disk_and_works_without_a_network(visit, name):
    there = visit(name)
    there.at("play").click()
    there.page.wait_for_function(
        "() => document.querySelector('.bm-root').bayesmm.state.pool < 0.49"
    )
    there.at("play").click()
    there.at("game-many").click()
    there.at("table-details").locator("summary").click()
    for view in VIEWS:
        there.at(f"enlarge-{view}").click()
        there.at(f"plot-{view}").hover()
        there.settle()
        assert there.at(f"plot-{view}").bounding_box()["width"] > 600
    there.at("story-start").click()
    for _ in range(4):
        there.at("story-next").click()
        there.page.wait_for_timeout(30)
    there.at("story-close").click()
    there.settle()
    # And none of it drew what is no number.
    drawn = there.tell("(root) => root.innerHTML")
    assert [word for word in ("NaN", "undefined", "null", "[object") if word in drawn] == []


# --- keyboard ---

FOCUS = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  return {
    key: element.dataset.bm || element.tagName,
    ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    colour: style.outlineColor,
    shadow: style.boxShadow,
  };
}"""
REACHABLE = """() => [...document.querySelectorAll("button, input, select, summary, svg[tabindex]")]
  .filter((e) => !e.disabled && e.checkVisibility({ visibilityProperty: true }))
  .map((e) => e.dataset.bm || e.tagName)"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tab_reaches_every_control_in_order_and_leaves_again(visit, theme):
    there = visit("sleepstudy", color_scheme=theme)
    press = there.page.keyboard.press
    expected = there.page.evaluate(REACHABLE)
    background = there.tell("(root) => getComputedStyle(root).backgroundColor")
    reached = []
    for _ in expected:
        press("Tab")
        focus = there.page.evaluate(FOCUS)
        reached.append(focus["key"])
        assert focus["ring"] >= 2
        assert contrast(colour_of(focus["colour"]), colour_of(background)) > 3
    assert reached == expected
    # In the order of reading: what is most wanted first.
    landmarks = ["story-start", "slider-pool", "slider-sd0", "select-group", "plot-arrows"]
    landmarks += ["plot-cluster", "game-choice", "game-reveal"]
    places = [reached.index(key) for key in landmarks]
    assert places == sorted(places)
    press("Tab")
    assert there.focused() == "BODY"
    press("Shift+Tab")
    back = []
    for _ in expected:
        back.append(there.focused())
        press("Shift+Tab")
    assert back == reached[::-1]


@pytest.mark.parametrize("view", VIEWS)
def test_arrow_keys_go_from_group_to_group_in_every_figure(visit, view):
    there = visit("sleepstudy")
    order = np.argsort(there.payload["fit"]["mean"][0], kind="stable")
    there.at(f"plot-{view}").focus()
    scrolled = there.page.evaluate("() => scrollY")
    for key, place in (("Home", 0), ("ArrowUp", 1), ("ArrowRight", 2), ("ArrowDown", 1)):
        there.page.keyboard.press(key)
        assert there.state["selected"] == order[place]
    for key, place in (("ArrowLeft", 0), ("ArrowLeft", 0), ("End", 17), ("ArrowUp", 17)):
        there.page.keyboard.press(key)
        assert there.state["selected"] == order[place]
    assert there.state["mode"] == "fit"
    assert there.page.evaluate("() => scrollY") == scrolled
    assert there.focused() == f"plot-{view}"


def test_the_story_is_told_by_keyboard(visit):
    there = visit("sleepstudy")
    press = there.page.keyboard.press
    press("Tab")
    assert there.focused() == "story-start"
    press("Enter")
    there.settle()
    titles = [there.text("story-text")]
    # The button that was pressed is gone: the focus goes on to the next step.
    assert there.focused() == "story-next"
    for _ in range(4):
        press("Enter")
        there.settle()
        titles.append(there.text("story-text"))
    assert [text[:3] for text in titles] == ["1. ", "2. ", "3. ", "4. ", "5. "]
    assert len(set(titles)) == 5
    # At the last step there is no next one, and the focus is not lost.
    assert there.focused().startswith("story-")
    there.at("story-close").focus()
    press("Enter")
    there.settle()
    assert there.at("story").is_hidden()
    assert there.focused() == "story-start"


def test_the_game_is_played_by_keyboard(visit):
    there = visit("dyestuff")
    press = there.page.keyboard.press
    there.at("game-choice").focus()
    for played in range(1, 3):
        press("PageUp")
        press("Tab")
        assert there.focused() == "game-reveal"
        press("Space")
        there.settle()
        assert there.at("game-table").locator("tbody tr").count() == played + 1
        assert there.focused() == "game-next"
        press("Enter")
        there.settle()
        assert there.focused() == "game-choice"
    assert there.state["game"]["choices"] == [0.1, 0.1]


@pytest.mark.parametrize("key", ["back", "reset-sd0", "reset-group"])
def test_a_button_that_has_done_its_work_does_not_lose_the_focus(visit, key):
    there = visit("sleepstudy")
    there.type("sd0", 5)
    there.type("n", 5)
    there.settle()
    there.at(key).focus()
    there.page.keyboard.press("Enter")
    there.settle()
    assert there.focused() != "BODY"


# --- screen readers ---


def tree(there):
    """The accessibility tree: roles, names and values of all that is exposed."""
    session = there.page.context.new_cdp_session(there.page)
    session.send("Accessibility.enable")
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", "").strip(),
            "value": node.get("value", {}).get("value"),
            **{p["name"]: p["value"].get("value") for p in node.get("properties", [])},
        }
        for node in nodes
        if not node["ignored"]
    ]


@pytest.mark.parametrize("name", ["sleepstudy", "counts"])
def test_everything_that_can_be_used_has_a_name(visit, name):
    there = visit(name)
    there.at("toggle-outlier").click()
    there.at("story-start").click()
    there.at("game-reveal").click()
    there.at("table-details").locator("summary").click()
    there.rest()
    nodes = tree(there)
    roles = ("slider", "spinbutton", "button", "combobox", "img", "image", "application", "region")
    roles += ("table", "complementary", "heading", "DisclosureTriangle")
    named = [node for node in nodes if node["role"] in roles]
    assert [node["role"] for node in named if not node["name"]] == []
    # Every button and slider that is seen is in the tree, and no two sliders have one name.
    there_are = there.page.locator("button:visible, input:visible, select:visible, summary:visible")
    usable = ("slider", "spinbutton", "button", "combobox", "DisclosureTriangle")
    assert sum(node["role"] in usable for node in nodes) >= there_are.count()
    for role in ("slider", "spinbutton"):
        names = [node["name"] for node in nodes if node["role"] == role]
        assert len(names) == len(set(names)) >= 4
    figures = [node for node in nodes if node["role"] in ("application", "img", "image")]
    assert len(figures) == len(VIEWS) + 1


def test_sliders_say_their_values_not_their_positions(visit):
    there = visit("sleepstudy")
    there.type("sd0", 12)
    there.slide("pool", "End")
    there.settle()

    def said(key):
        return there.at(f"slider-{key}").get_attribute("aria-valuetext")

    assert said("sd0") == "12.0"
    assert said("rows") == "1.00 times"
    assert said("pool") == "complete pooling"
    there.slide("pool", "Home")
    there.settle()
    assert said("pool") == "no pooling"


def test_headings_and_landmarks_give_the_page_a_structure(visit):
    there = visit("sleepstudy")
    there.at("story-start").click()
    there.settle()
    nodes = tree(there)
    levels = [int(node["level"]) for node in nodes if node["role"] == "heading"]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert max(np.diff(levels)) <= 1
    names = there.page.locator("h1, h2, h3").all_text_contents()
    assert names.index("Figures") == names.index("From own to pooled estimates") - 1
    for role in ("main", "complementary", "banner", "contentinfo"):
        assert sum(node["role"] == role for node in nodes) == 1
    assert there.page.locator("html").get_attribute("lang") == "en"


def test_a_selection_is_announced_once_it_rests(visit):
    there = visit("sleepstudy")
    live = there.at("live")
    assert live.get_attribute("aria-live") == "polite"
    there.page.wait_for_timeout(500)
    # Of five groups in passing only the last is spoken.
    spoken = there.tell(
        """async (root) => {
          const live = root.querySelector("[data-bm=live]");
          const plot = root.querySelector("[data-bm=plot-caterpillar]");
          const spoken = [];
          const heard = new MutationObserver(() => spoken.push(live.textContent));
          heard.observe(live, { childList: true });
          plot.dispatchEvent(new KeyboardEvent("keydown", { key: "Home" }));
          for (let i = 0; i < 4; i++) {
            await new Promise((done) => requestAnimationFrame(done));
            plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
          }
          await new Promise((done) => setTimeout(done, 800));
          return spoken;
        }"""
    )
    assert spoken == [live.text_content()]
    j = there.state["selected"]
    assert live.text_content().startswith(there.payload["levels"][j])
    assert live.text_content() == there.at("summary").text_content()
    there.type("sd0", 3)
    there.page.wait_for_timeout(500)
    theta = there.numbers()["theta"][0, j]
    assert f"Pooled: {theta:.0f}" in live.text_content()


def test_the_table_says_what_its_cells_are(visit):
    there = visit("counts")
    there.at("table-details").locator("summary").click()
    table = there.at("table")
    table.locator("tbody tr").first.wait_for()
    assert table.locator("caption").inner_text()
    assert table.locator("thead th[scope=col]").count() == 6
    assert table.locator("tbody th[scope=row]").all_text_contents() == list(WEIRD)
    none = table.locator("tbody tr").nth(5).locator("td").first
    assert none.inner_text() == "3"
    assert table.locator("tbody tr").nth(5).locator("td").nth(1).inner_text() == "none"


# --- looks ---

#: Every text that is seen: its colour, the first background behind it, and how opaque it is.
TEXTS = """() => {
  const found = [];
  for (const element of document.querySelectorAll(".bm-root *")) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own.length || element.disabled || element.closest("option, .bm-hidden")) continue;
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    let behind = element;
    while (behind && /, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor)) {
      behind = behind.parentElement;
    }
    found.push({
      text: own[0].textContent.trim().slice(0, 30),
      colour: element.namespaceURI.endsWith("svg") ? style.fill : style.color,
      behind: getComputedStyle(behind).backgroundColor,
      opacity: style.opacity * style.fillOpacity,
    });
  }
  return found;
}"""


def colour_of(text):
    """The red, green and blue of rgb(...), 0 to 1."""
    return np.array([float(x) for x in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255


def contrast(a, b):
    """The ratio of contrast (WCAG 2.1)."""

    def luminance(colour):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted([luminance(a), luminance(b)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_definition():
    black, white, grey = np.zeros(3), np.ones(3), np.full(3, 0x77 / 255)
    assert contrast(black, white) == pytest.approx(21)
    assert contrast(grey, white) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(visit, scheme):
    there = visit("sleepstudy", color_scheme=scheme)
    there.type("sd0", 4)
    there.at("story-start").click()
    there.at("game-reveal").click()
    there.at("table-details").locator("summary").click()
    there.page.locator(".bm-help summary").click()
    there.page.wait_for_timeout(300)
    texts = there.page.evaluate(TEXTS)
    assert len(texts) > 150
    poor = {
        (t["text"], round(ratio, 2))
        for t in texts
        if (ratio := contrast(colour_of(t["colour"]), colour_of(t["behind"]))) < 4.5
        or t["opacity"] < 1
    }
    assert poor == set()
    background = colour_of(there.tell("(root) => getComputedStyle(root).backgroundColor"))
    assert background.mean() < 0.2 if scheme == "dark" else background.mean() > 0.8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_button_turns_the_theme_and_the_address_keeps_it(visit, scheme):
    there = visit("dyestuff", color_scheme=scheme)

    def is_dark():
        there.settle()
        shade = there.tell("(root) => getComputedStyle(root).backgroundColor")
        return colour_of(shade).mean() < 0.5

    assert is_dark() == (scheme == "dark")
    there.at("theme").click()
    assert is_dark() == (scheme == "light")
    there.address("theme=")
    there.page.reload()
    assert is_dark() == (scheme == "light")
    there.at("theme").click()
    assert is_dark() == (scheme == "dark")


def test_paper_has_the_figures_and_no_controls(visit):
    there = visit("sleepstudy", color_scheme="dark")
    there.at("table-details").locator("summary").click()
    there.page.emulate_media(media="print")
    there.rest()
    for selector in ("button", "select", "input", "[data-bm=view-game]"):
        assert there.page.locator(f"{selector} >> visible=true").count() == 0, selector
    for view in VIEWS:
        assert there.at(f"plot-{view}").is_visible()
    assert there.at("summary").is_visible()
    assert there.at("table").is_visible()
    colours = there.tell("(r) => [getComputedStyle(r).backgroundColor, getComputedStyle(r).color]")
    assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    assert there.page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_less_motion_where_less_is_wanted(visit, motion):
    there = visit("dyestuff", reduced_motion=motion)

    def drawn():
        return there.at("plot-arrows").locator(".bm-arrows").first.get_attribute("d")

    fitted = drawn()
    # Two frames after the change: the end of it, or the first bit of a movement of half a second.
    early = there.tell(
        """async (root) => {
          root.bayesmm.tell(1);
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          await frame();
          await frame();
          return root.querySelector("[data-bm=plot-arrows] .bm-arrows").getAttribute("d");
        }"""
    )
    there.page.wait_for_timeout(900)
    late = drawn()
    assert late != fitted
    assert (early == late) == (motion == "reduce")


@pytest.mark.parametrize("name", ["sleepstudy", "counts"])
def test_a_narrow_screen_has_no_overflow(visit, name):
    there = visit(name, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert there.page.locator("details[open]").count() == 0
    for summary in there.page.locator("summary").all():
        summary.click()
    there.at("toggle-outlier").click()
    there.at("game-many").click()
    for step in range(-1, 5):
        there.tell("(root, step) => root.bayesmm.tell(step)", step)
        there.rest()
        width = there.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= 360, f"step {step}"
    for view in VIEWS:
        assert there.at(f"plot-{view}").bounding_box()["width"] <= 340


# --- labels ---


def test_labels_are_text_wherever_they_stand(visit):
    there = visit("counts")
    select = there.at("select-group")
    assert select.locator("option").all_text_contents() == list(WEIRD)
    for j, label in enumerate(WEIRD):
        there.select(j)
        there.rest()
        assert there.at("summary").text_content().startswith(label)
        assert there.page.locator(".bm-tug-head strong").text_content() == label
        short = label if len(label) <= 14 else label[:13] + "…"
        assert there.at("plot-caterpillar").locator(".bm-current").text_content() == short
    there.select(0)
    there.at("story-start").click()
    there.at("story-next").click()
    there.settle()
    assert WEIRD[0] in there.at("story-text").text_content()
    # One script with data and one with code, as written, and nothing that a label brought.
    assert there.page.locator("script").count() == 2
    assert there.page.locator("img").count() == 0
    assert there.page.locator(".bm-root [onerror], .bm-root [src]").count() == 0


def test_titles_and_names_of_columns_are_text(visit, tmp_path, counts_fit):
    title = '</title><script>alert("title")</script> ${payload} & "so"'
    there = visit(export_shrinkage(counts_fit, tmp_path / "page.html", title=title))
    assert there.page.title() == title
    assert there.page.locator("h1").text_content() == title
    assert PLOT in there.page.locator(".bm-facts code").text_content()
    assert COUNT in there.at("plot-lines").text_content()
    assert there.page.locator("script").count() == 2
    assert there.page.locator(".bm-root b, .bm-root img").count() == 0


# --- a thousand groups ---


def test_a_thousand_groups_stay_usable(visit):
    there = visit("thousand")
    # From a slider's event to the next frame, in which all is drawn.
    times = there.tell(
        """async (root) => {
          const slider = root.querySelector("[data-bm=slider-sd0]");
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          const times = [];
          for (let i = 0; i < 12; i++) {
            await frame();
            slider.value = String(300 + 20 * i);
            const start = performance.now();
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await frame();
            root.querySelector("[data-bm=plot-arrows]").getBoundingClientRect();
            times.push(performance.now() - start);
          }
          return times.slice(2);
        }"""
    )
    assert there.state["sd"][0] == float(f"{there.payload['sd'][0] * 3 * 0.52:.4g}")
    print(f"1,000 groups: {np.median(times):.1f} ms from a slider to the next frame")
    assert np.median(times) < 500
    # Many marks share an element: what is drawn does not grow with the groups.
    assert there.page.locator("svg *").count() < 900
    there.at("plot-caterpillar").hover(position={"x": 250, "y": 200})
    there.settle()
    assert there.tell("(root) => root.bayesmm.state.selected") < 1000
    there.at("table-details").locator("summary").click()
    there.at("table").locator("tbody tr").nth(999).wait_for(state="attached")


# --- several in one document, and in a notebook ---


def test_two_pages_in_one_document_do_not_clash(visit, pages, tmp_path, dyestuff_fit, counts_fit):
    from bayesmm.page import make_payload, to_json

    both = [to_json(make_payload(fit)) for fit in (dyestuff_fit, counts_fit)]
    path = tmp_path / "two.html"
    path.write_text(
        f"""<!doctype html><html lang="en"><title>two</title><style>{style()}</style>
        <link rel="icon" href="data:,"><h1>Before</h1><button id="outside">x</button>
        <div id="a"></div><div id="b"></div><script type="module">{script()}
        const [a, b] = ["a", "b"].map((id) => document.getElementById(id));
        mount(a, {both[0]}); mount(b, {both[1]});</script>""",
        encoding="utf-8",
    )
    there = visit(path)
    first, second = there.page.locator("#a"), there.page.locator("#b")
    ids = there.page.evaluate("() => [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    numbers = "(root) => [root.bayesmm.state.mode, Array.from(root.bayesmm.results.theta[0])]"
    before = second.evaluate(numbers)
    # A label belongs to the slider of its own page.
    first.get_by_label("sd of Intercept").first.press("Home")
    assert first.evaluate(numbers)[0] == "what-if"
    assert second.evaluate(numbers) == before
    second.locator("[data-bm=number-sd0]").fill("0.5")
    second.locator("[data-bm=number-sd0]").press("Enter")
    assert second.evaluate(numbers)[0] == "what-if"
    assert first.evaluate("(root) => root.bayesmm.state.sd[0]") == 0
    # Neither writes the address, nor styles what is outside.
    there.page.wait_for_timeout(250)
    assert there.page.evaluate("() => location.hash") == ""
    outside = "() => ['fontFamily', 'borderRadius', 'backgroundColor'].map((name) => "
    outside += "getComputedStyle(document.querySelector('#outside'))[name]).join()"
    styled = there.page.evaluate(outside)
    there.page.evaluate("() => document.querySelector('style').remove()")
    assert there.page.evaluate(outside) == styled
    first.evaluate("(root) => root.bayesmm.destroy()")
    assert first.locator("*").count() == 0
    second.locator("[data-bm=back]").click()
    assert second.evaluate(numbers) == before


def test_a_notebook_shows_the_same_page(visit, tmp_path, dyestuff_fit):
    pytest.importorskip("anywidget")
    widget = shrinkage_widget(dyestuff_fit, title="In a notebook")
    path = tmp_path / "notebook.html"
    path.write_text('<!doctype html><link rel="icon" href="data:,"><div id="cell"></div>')
    there = visit(path)
    there.page.add_style_tag(content=str(widget._css))
    # As anywidget does: the text as a module, whose default export renders into an element.
    shown = there.page.evaluate(
        """async ([code, payload]) => {
          const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
          const module = await import(url);
          URL.revokeObjectURL(url);
          const el = document.getElementById("cell");
          const model = { get: (name) => ({ payload })[name] };
          window.takeDown = await module.default.render({ model, el });
          const root = el.querySelector(".bm-root");
          return [root.querySelector("h1").textContent, typeof window.takeDown];
        }""",
        [str(widget._esm), json.loads(json.dumps(widget.payload, allow_nan=False))],
    )
    assert shown == ["In a notebook", "function"]
    there.type("sd0", 0)
    y = bm.datasets.load("dyestuff")["Yield"].mean()
    np.testing.assert_allclose(there.numbers()["theta"][0], y, rtol=1e-9)
    assert there.at("print").count() == 0
    there.page.evaluate("() => window.takeDown()")
    assert there.page.locator("#cell [data-bm]").count() == 0
    # The module itself was an address of its own.
    there.requests = [url for url in there.requests if not url.startswith("blob:")]


def test_a_page_works_within_a_frame_that_has_no_address(visit, pages, tmp_path):
    page = html.escape(pages("dyestuff").read_text(encoding="utf-8"))
    path = tmp_path / "frame.html"
    path.write_text(
        f"""<!doctype html><html lang="en"><title>frame</title><link rel="icon" href="data:,">
        <h1>Before</h1><iframe srcdoc="{page}" style="width:100%;height:1200px"></iframe>""",
        encoding="utf-8",
    )
    there = visit(path)
    frame = there.page.frame_locator("iframe")
    frame.get_by_label("sd of Intercept").first.press("Home")
    assert frame.locator(".bm-root").evaluate("(root) => root.bayesmm.state.sd[0]") == 0
    there.page.wait_for_timeout(250)  # longer than it takes to write an address
    assert there.noise == []


def test_a_widget_without_anywidget_says_what_to_install(monkeypatch, dyestuff_fit):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(bm.BayesmmError, match=r"pip install 'bayesmm\[widget\]'.*export_shrinkage"):
        shrinkage_widget(dyestuff_fit)
