"""`neuroformer validate`: check session files and name every fault with its cure."""

from dataclasses import dataclass

from neuroformer.cli.command import Command


@dataclass(kw_only=True)
class ValidateConfig:
    """Settings of `neuroformer validate`."""

    files: list[str]
    """Session files to check."""


def validate(config: ValidateConfig) -> int:
    """Print "OK" or the faults of each file; the exit code is 1 when there is any fault."""
    from neuroformer.session import validate_file

    faulty = 0
    for file in config.files:
        faults = validate_file(file)
        faulty += bool(faults)
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        print(f"{file}: {count if faults else 'OK'}")
        for fault in faults:
            print(f"  {fault}")
    if len(config.files) > 1:
        print(f"{len(config.files) - faulty} of {len(config.files)} files OK")
    return 1 if faulty else 0


COMMAND = Command(
    name="neuroformer validate",
    summary="Check session files and name every fault with its cure.",
    config=ValidateConfig,
    run=validate,
    positional="files",
    examples=("neuroformer validate sessions/mouse1_day1.h5", "neuroformer validate sessions/*.h5"),
)
