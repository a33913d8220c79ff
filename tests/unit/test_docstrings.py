"""Every public name has an example, which pytest runs where it stands, in the docstring."""

import inspect

import pytest

import bayesmm as bm

#: Classes whose methods have examples of their own; those of others are seen in the class's.
WITH_METHODS = ("Fit", "Model")
#: What is said in a line: attributes that hold something, and the kinds of error.
NO_EXAMPLE = {
    *("Fit.posterior", "Fit.spec", "Model.spec"),
    *("BayesmmWarning", "DataError", "FamilyError", "FormulaError"),
    *("NewLevelsError", "PriorError", "SamplerError"),
}


def public():
    """Yield every public name with what it stands for."""
    for name in bm.__all__:
        value = getattr(bm, name)
        if inspect.ismodule(value):
            own = {f"{name}.{n}": getattr(value, n) for n in value.__all__}
            yield from ((n, v) for n, v in own.items() if inspect.isroutine(inspect.unwrap(v)))
        else:
            yield name, value
        if name in WITH_METHODS:
            yield from ((f"{name}.{n}", v) for n, v in vars(value).items() if not n.startswith("_"))


PUBLIC = {name: value for name, value in public() if name not in NO_EXAMPLE}


def test_all_kinds_of_names_are_found():
    assert {"fit", "Model.priors", "Fit.loo", "datasets.load", "families.hurdle"} <= PUBLIC.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_has_an_example(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    _, _, examples = text.partition("\nExamples\n--------\n")
    assert ">>> import bayesmm as bm\n" in examples
