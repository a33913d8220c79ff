"""What the package says of itself: one version, and a place in the documentation for every name."""

import re
import tomllib
from pathlib import Path

import pytest

import bayesmm as bm

ROOT = Path(__file__).parents[2]
#: The pages that have the signatures of public names.
REFERENCE = ["api.md", "calibration.md"]


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (cited,) = re.findall(r"^version: (.+)$", citation, re.MULTILINE)
    assert bm.__version__ == project["version"] == cited


def test_types_are_declared():
    assert Path(bm.__path__[0], "py.typed").is_file()


@pytest.mark.parametrize("name", [n for n in bm.__all__ if n not in ("datasets", "families")])
def test_every_public_name_is_in_the_reference(name):
    pages = [(ROOT / "docs" / page).read_text(encoding="utf-8") for page in REFERENCE]
    directive = rf"^\.\. auto(function|class|exception):: (bayesmm\.\w+\.)?{name}$"
    assert any(re.search(directive, page, re.MULTILINE) for page in pages)
