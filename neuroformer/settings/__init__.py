"""Settings of commands and components: plain dataclasses, every field with its docstring; they import nothing heavy."""
