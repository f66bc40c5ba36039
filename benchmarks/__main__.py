"""`python -m benchmarks`: what can be measured, and how to run it."""

from pathlib import Path

if __name__ == "__main__":
    print("benchmarks, each with --help or a docstring:")
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.name.startswith("_"):
            summary = path.read_text().split('"""')[1].strip().splitlines()[0]
            print(f"  python -m benchmarks.{path.stem:<16} {summary}")
