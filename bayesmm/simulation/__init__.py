"""Data that nobody has measured: from parameters, from a fit, and to plan a study.

The way of a simulation through the package, one module for each step:

==============  ===================================================================================
`blueprint`     a formula and data without a response become a checked design, by a stand-in
`wanted`        which parameters the model has, by the names of its posterior
`parameters`    the user's parameters become arrays; what is missing, unknown or impossible is said
`source`        group effects and responses are drawn, many data sets in one compiled program
`responses`     the numbers that were drawn become the columns that the formula's left side names
`calls`         the user's function is called for each data set, in Python or compiled with it
==============  ===================================================================================

A further function that needs simulated data is a file here, made of these.
"""

from bayesmm.simulation.bootstrap import parametric_bootstrap
from bayesmm.simulation.power import power
from bayesmm.simulation.simulate import simulate

__all__ = ["parametric_bootstrap", "power", "simulate"]
