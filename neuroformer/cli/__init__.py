"""The command line: one syntax, `COMMAND [--config FILE.yaml]... [key=value ...]`, for every command."""
