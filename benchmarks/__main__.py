"""`python -m benchmarks`: what can be measured, and how to run it."""

from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).parent
    modules = {path.stem: path for path in here.glob("*.py") if not path.name.startswith("_")}
    modules |= {path.parent.name: path for path in here.glob("*/__main__.py")}
    print("benchmarks, each with --help or a docstring:")
    for name, path in sorted(modules.items()):
        summary = path.read_text(encoding="utf-8").split('"""')[1].strip().splitlines()[0]
        print(f"  python -m benchmarks.{name:<16} {summary}")
