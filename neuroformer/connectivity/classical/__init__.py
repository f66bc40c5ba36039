"""The classical methods: who drives whom from counts alone, one method a file, each with a null of its own.

They share one signature, ``method(counts, *, n_lags, rng, surrogates=20) -> ConnectivityMap``, so that any may stand
beside any model-based estimate.
"""

from neuroformer.connectivity.classical.granger import granger_causality
from neuroformer.connectivity.classical.jittered_ccg import jittered_cross_correlogram
from neuroformer.connectivity.classical.partial_correlation import partial_correlation
from neuroformer.connectivity.classical.tiling import directed_sttc
from neuroformer.connectivity.classical.transfer_entropy import delayed_transfer_entropy

__all__ = [
    "delayed_transfer_entropy",
    "directed_sttc",
    "granger_causality",
    "jittered_cross_correlogram",
    "partial_correlation",
]
