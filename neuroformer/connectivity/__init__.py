"""Who drives whom: estimates of directed coupling between units, and their scores against known wiring.

Every estimator is a module of its own and gives a `ConnectivityMap`: a signed [source, target] matrix, with a
profile by lag where it has one. Scores, store and figures know no estimator, only maps.
"""

from neuroformer.connectivity.estimate import ConnectivityMap, from_lag_profile
from neuroformer.connectivity.scores import ConnectivityScores, mean_scores, score_connectivity
from neuroformer.connectivity.store import SessionConnectivity, read_connectivity, write_connectivity

__all__ = [
    "ConnectivityMap",
    "ConnectivityScores",
    "SessionConnectivity",
    "from_lag_profile",
    "mean_scores",
    "read_connectivity",
    "score_connectivity",
    "write_connectivity",
]
