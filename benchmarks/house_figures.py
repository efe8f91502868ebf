"""The shape of the code in figures: files a folder, lines, flags by hand, imports that run up.

    python benchmarks/house_figures.py                     # the checkout
    python benchmarks/house_figures.py 4b3323c HEAD        # commits, side by side
    python benchmarks/house_figures.py --touched 1a2b3c4..5d6e7f8

Counted are the Python files of `albert_tf/` and `pipelines/`. A flag by hand is a call of absl's
`DEFINE_*`; those that a settings class gives are not. An import runs up where a room imports one
that `tests/house/test_rooms.py` does not allow it.
"""

import argparse
import ast
import collections
import importlib.util
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parents[1]


def main():
    """Prints one row a figure and one column a commit, or the files that a range touched."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commits", nargs="*", help="commits; the checkout where none is given")
    parser.add_argument("--touched", metavar="RANGE", help="count the files that commits touched")
    arguments = parser.parse_args()
    if arguments.touched:
        print_touched(arguments.touched)
        return
    columns = {}
    for commit in arguments.commits or [None]:
        if commit is None:
            columns["checkout"] = measure(ROOT)
            continue
        with tempfile.TemporaryDirectory() as folder:
            archive = subprocess.run(
                ["git", "archive", commit, "albert_tf", "pipelines", "tests"],
                cwd=ROOT,
                check=True,
                capture_output=True,
            )
            subprocess.run(["tar", "-xf", "-", "-C", folder], input=archive.stdout, check=True)
            columns[commit] = measure(pathlib.Path(folder))
    print(f"{'':28}" + "".join(f"{name:>28}" for name in columns))
    for figure in next(iter(columns.values())):
        print(f"{figure:28}" + "".join(f"{column[figure]:>28}" for column in columns.values()))


def measure(root: pathlib.Path) -> dict[str, str]:
    """Returns {figure: value} of a checkout."""
    paths = [p for folder in ("albert_tf", "pipelines") for p in (root / folder).rglob("*.py")]
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    in_folder = collections.Counter(path.parent for path in paths if path.name != "__init__.py")
    longest, fullest = max(lines, key=lines.get), max(in_folder, key=in_folder.get)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    return {
        "folders with code": str(len(in_folder)),
        "files": str(sum(in_folder.values())),
        "most files in a folder": f"{in_folder[fullest]} ({fullest.relative_to(root)})",
        "longest file, lines": f"{lines[longest]} ({longest.name})",
        "lines in all": f"{sum(lines.values()):,}",
        "flags defined by hand": str(sum(map(_count_flags, trees))),
        "imports that run up": _count_imports_up(root),
    }


def _count_flags(tree: ast.AST) -> int:
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sum(isinstance(f, ast.Attribute) and f.attr.startswith("DEFINE_") for f in calls)


def _count_imports_up(root: pathlib.Path) -> str:
    """Returns what the house's own test finds, or "-" for a commit from before that test."""
    path = root / "tests" / "house" / "test_rooms.py"
    if not path.exists() or "def imports_up" not in path.read_text(encoding="utf-8"):
        return "-"
    spec = importlib.util.spec_from_file_location("rooms_of_commit", path)
    rooms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rooms)
    return str(len(rooms.faults(rooms.imports_up)))


def print_touched(commits: str):
    """Prints how many files of each kind a range of commits touched."""
    names = subprocess.run(
        ["git", "diff", "--name-only", commits],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    kinds = collections.defaultdict(list)
    for name in names:
        kinds[name.partition("/")[0] if "/" in name else "top"].append(name)
    for kind, members in sorted(kinds.items()):
        print(f"{kind} ({len(members)}): {' '.join(members)}")


if __name__ == "__main__":
    main()
