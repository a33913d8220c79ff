"""Draw the picture at the top of README.md: what partial pooling does to 18 people.

uv run docs/picture.py

writes _static/partial_pooling.png. The left panel is `bm.plot_shrinkage`, the right one
`bm.plot_caterpillar`, of the model of the first ten lines of README.md with default priors; only
texts are put in here. (page.png, for the gallery, is a screenshot of what `bm.export_shrinkage`
writes for this fit: chromium --headless --screenshot --window-size=1200,813, scaled to 744 x 504.)
"""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

import bayesmm as bm

matplotlib.use("Agg")


def main() -> None:
    data = bm.datasets.load("sleepstudy")
    fit = bm.fit("Reaction ~ 1 + Days + (1 + Days | Subject)", data, seed=1, progress=False)

    figure, (arrows, slopes) = plt.subplots(
        1, 2, figsize=(11, 5.2), width_ratios=[1.25, 1], layout="constrained"
    )
    bm.plot_shrinkage(fit, "Subject", kind="arrows", ax=arrows)
    bm.plot_caterpillar(fit, "Subject", effects="Days", ax=slopes)

    arrows.set_title("What partial pooling does to 18 people", fontsize="medium")
    arrows.set(xlabel="reaction time on day 0 (ms)", ylabel="slowing (ms a day)")
    legend = arrows.get_legend()
    handles = legend.legend_handles
    labels = [text.get_text().replace("levels", "people") for text in legend.get_texts()]
    legend.remove()
    # Below, where it hides nobody.
    below = {"loc": "upper center", "bbox_to_anchor": (0.48, -0.12)}
    arrows.legend(
        handles, labels, **below, ncols=3, columnspacing=1, fontsize="small", frameon=False
    )
    slopes.set_title("How each differs from the average slowing", fontsize="medium")
    slopes.set(
        xlabel="difference from the average (ms a day)\nposterior mean, 50% and 89% intervals",
        ylabel="person",
    )
    for ax in (arrows, slopes):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).parent / "_static/partial_pooling.png", dpi=150)


if __name__ == "__main__":
    main()
