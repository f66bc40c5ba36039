"""Linear readouts of behaviour whose weights have a prior learned on other animals."""

from neuroformer.linear_readout.basis import Basis, raised_cosines
from neuroformer.linear_readout.hierarchy import Hierarchy, learn_hierarchy
from neuroformer.linear_readout.learn import learn_readout
from neuroformer.linear_readout.posterior import Fitted, fit_weights
from neuroformer.linear_readout.prior import ReadoutPrior, wide_prior
from neuroformer.linear_readout.rows import Rows
from neuroformer.linear_readout.session import LearnedReadout, learn_variable_readout, read_out

__all__ = [
    "Basis",
    "Fitted",
    "Hierarchy",
    "LearnedReadout",
    "ReadoutPrior",
    "Rows",
    "fit_weights",
    "learn_hierarchy",
    "learn_readout",
    "learn_variable_readout",
    "raised_cosines",
    "read_out",
    "wide_prior",
]
