"""``neuroformer identity``: export the unit embeddings and ask what can be told from them in another animal."""

from __future__ import annotations

from neuroformer.cli.command import Command
from neuroformer.settings.identity import IdentityConfig


def run(config: IdentityConfig) -> None:
    """Export, compare, draw, and print one table and one sentence."""
    from neuroformer.identity.run import identity

    found = identity(config, command=COMMAND.name)
    print(found.text)
    print(f"embeddings, table and figure: {found.folder}")


COMMAND = Command(
    name="neuroformer identity",
    summary="Export unit embeddings; tell cell type, region or name across animals.",
    config=IdentityConfig,
    run=run,
    positional="run",
    examples=(
        "neuroformer identity run=out/circuits label=cell_type",
        "neuroformer identity run=out/worm label=label 'exclude=[\"*[?]\"]' min_confidence=3",
    ),
)
