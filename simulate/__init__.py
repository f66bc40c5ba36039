"""Circuits whose wiring is known, as session files: `python -m simulate --help`.

`simulate_circuit` draws a circuit and runs it, `summarize` gives its key numbers, and `to_session` turns what
was observed of it into a session with the truth beside it.

Example:
    >>> circuit = simulate_circuit(CircuitConfig(units=20, duration_s=10.0))
    >>> session = to_session(circuit, session_id="small")
    >>> session.truth.weights.shape, session.truth.log_likelihood.shape
    ((20, 20), (10, 20))
"""

from simulate.circuit import Circuit, simulate_circuit
from simulate.config import CircuitConfig, SimulateConfig
from simulate.recording import to_session
from simulate.summary import summarize

__all__ = ["Circuit", "CircuitConfig", "SimulateConfig", "simulate_circuit", "summarize", "to_session"]
