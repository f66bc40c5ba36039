"""`python -m simulate`: a circuit with known wiring → a session file."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from neuroformer.cli.command import Command, run_command
from neuroformer.files import RunFolder
from neuroformer.session import write_session
from simulate.animals import animal_config
from simulate.circuit import simulate_circuit
from simulate.config import SimulateConfig
from simulate.recording import to_session
from simulate.summary import summarize
from simulate.whole_brain import simulate_whole_brain
from simulate.whole_brain import to_session as brain_session

NAME = "python -m simulate"


def run(config: SimulateConfig) -> None:
    """Simulate, write OUT/SESSION_ID.h5, figures/circuit.png and metrics.json, and print a summary.

    Several animals have a session OUT/animal_0.h5 and a figure each; metrics.json has their summaries by name.

    Raises:
        UserError: The circuit is silent or epileptic, or `out` cannot be written.
    """
    began = time.perf_counter()
    folder = RunFolder.create(config.out, overwrite=config.overwrite, command=NAME, config=config)
    if config.animals == 1:
        metrics = _record(config, folder, config.session_id, figure="circuit")
    else:
        animals = {}
        for animal in range(config.animals):
            own, name = animal_config(config, animal), f"animal_{animal}"
            animals[name] = _record(own, folder, f"{config.session_id}_{name}", subject=name, figure=name)
        metrics = {"animals": animals}
    seconds = time.perf_counter() - began
    folder.finish({**metrics, "seconds": seconds})
    print(f"done in {seconds:.1f} s")


def _record(
    config: SimulateConfig, folder: RunFolder, session_id: str, *, figure: str, subject: str | None = None
) -> dict[str, Any]:
    """One circuit: session, figure, and its numbers, which are also printed.

    Args:
        config: Its settings.
        folder: Where to write.
        session_id: Name of the session.
        figure: Name of the figure's file.
        subject: Name of the animal, and of its file; None: a circuit on its own.
    """
    if config.whole_brain.frames:
        return _record_brain(config, folder, session_id, figure=figure, subject=subject)
    circuit = simulate_circuit(config)
    file = folder.path / f"{subject or session_id}.h5"
    session = to_session(circuit, session_id=session_id)
    session.subject_id = subject or session.subject_id
    write_session(file, session, overwrite=config.overwrite)
    if config.figure:
        from neuroformer.plotting import save_figure
        from simulate.figure import draw_circuit

        save_figure(draw_circuit(circuit, session), folder.figures / f"{figure}.png")
    metrics = summarize(circuit)
    if session.events.amplitudes is not None:
        metrics["calcium_events"] = len(session.events)
    print(_report(file, metrics))
    return {"session": file.name, **metrics}


def _record_brain(
    config: SimulateConfig, folder: RunFolder, session_id: str, *, figure: str, subject: str | None
) -> dict[str, Any]:
    """As `_record`, of a whole brain."""
    settings = config.whole_brain
    brain = simulate_whole_brain(settings, neurons=config.units, seed=config.seed)
    file = folder.path / f"{subject or session_id}.h5"
    session = brain_session(brain, settings, session_id=session_id, subject_id=subject or "simulated")
    write_session(file, session, overwrite=config.overwrite)
    if config.figure:
        from neuroformer.plotting import save_figure
        from simulate.whole_brain_figure import draw_whole_brain

        save_figure(draw_whole_brain(brain, settings), folder.figures / f"{figure}.png")
    drivers, seconds = settings.drivers, settings.frames / settings.frame_rate_hz
    print(
        f"{config.units} neurons, {settings.frames} frames in {seconds:.0f} s; {drivers} neurons move the tail, "
        f"{settings.followers} follow it\nwrote {file}"
    )
    return {
        "session": file.name,
        "n_units": config.units,
        "frames": settings.frames,
        "duration_s": seconds,
        "drivers": np.flatnonzero(brain.weights),
        "followers": settings.followers,
        "events": len(session.events),
    }


def _report(file: Path, metrics: dict[str, Any]) -> str:
    rates, edges = metrics["rates_hz"], metrics["edges"]
    hidden = f" and {metrics['hidden']} hidden ones" if metrics["hidden"] else ""
    kinds = f"{edges['excitatory']} excitatory, {edges['inhibitory']} inhibitory"
    if "calcium_events" in metrics:
        calcium = f"; not known for the {metrics['calcium_events']} calcium events in the file"
    else:
        calcium = ""
    return "\n".join(
        [
            f"{metrics['n_units']} units{hidden}, {edges['observed']} edges between units ({kinds})",
            f"{metrics['n_events']} events in {metrics['duration_s']:g} s: {rates['mean']:.2f} Hz "
            f"({rates['lowest']:.2f} to {rates['highest']:.2f}), synchrony {metrics['synchrony']:.2f}",
            f"attainable: {metrics['bits_per_spike']['truth']:.3f} bits/spike above constant rates{calcium}",
            f"wrote {file}",
        ]
    )


COMMAND = Command(
    name=NAME,
    summary="Simulate a circuit whose wiring is known, and write it as a session file.",
    config=SimulateConfig,
    run=run,
    examples=(
        "python -m simulate --config configs/simulate/clean.yaml out=out/clean",
        "python -m simulate --config configs/simulate/animals.yaml animals=4 out=out/animals",
        "python -m simulate --config configs/simulate/zebrafish.yaml out=out/fish",
        "python -m simulate neuron=lif dt_s=0.001 units=100 duration_s=60 wiring.weight=3 out=out/lif",
    ),
)


if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
