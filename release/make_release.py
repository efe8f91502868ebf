"""Builds wheel and source into dist/, checks both, and tries the wheel where nothing else is.

    make release

The wheel is installed twice in environments of its own, with the lowest and with the newest
versions of its direct dependencies that setup.py allows, and release/smoke_test.py runs in each.
Nothing is published. An error ends it with one line; dist/ then is as it was.
"""

import email
import email.message
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile

from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parents[1]
# Folder of the checkout -> folder of the package.
PLACES = {
    "albert_tf": "albert_tf",
    "pipelines": "albert_tf/pipelines",
    "configs": "albert_tf/configs",
}
SOURCE_FILES = {
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "PKG-INFO",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
}
# Those whose packages are small; the smoke test starts a server.
EXTRAS = "dumps,hub,parquet,serve,zstd"


class ReleaseError(Exception):
    """What stands against a release."""


def main() -> None:
    """Builds, checks and tries a release."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="albert_tf_release_") as name:
        folder = pathlib.Path(name)
        wheel, source = build(folder / "dist")
        check_texts(wheel, source)
        check_contents(wheel, source)
        print(f"{wheel.name} and {source.name} are whole", flush=True)
        lowest = find_lowest(wheel)
        for bounds, versions in (("lowest", lowest), ("newest", dict.fromkeys(lowest))):
            began = time.monotonic()
            try_wheel(wheel, folder / bounds, versions)
            minutes = (time.monotonic() - began) / 60
            print(f"the {bounds} versions work ({minutes:.1f} minutes)", flush=True)
        shutil.rmtree(ROOT / "dist", ignore_errors=True)
        shutil.move(folder / "dist", ROOT / "dist")
    minutes = (time.monotonic() - start) / 60
    print(f"dist/ has the release ({minutes:.1f} minutes). CONTRIBUTING.md says what is next.")
    if f"## [{wheel.name.split('-')[1]}]" not in read_text("CHANGELOG.md"):
        print("CHANGELOG.md has no section for it yet")


def build(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Returns the paths of a new wheel, made from the new source, and of the source."""
    run([sys.executable, "-m", "build", f"--outdir={folder}", str(ROOT)])
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def run(command: list[str], **options) -> None:
    """Runs a command whose words are shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise ReleaseError(
            f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-5000:]}"
        )


def check_texts(wheel: pathlib.Path, source: pathlib.Path) -> None:
    """Checks what an index shows, and that the version is one everywhere."""
    run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source)])
    metadata = read_metadata(wheel)
    version = metadata["Version"]
    for file, pattern in (
        ("albert_tf/__init__.py", r'^__version__ = "(.*)"$'),
        ("CITATION.cff", r"^version: (.*)$"),
    ):
        versions = re.findall(pattern, read_text(file), re.MULTILINE)
        if versions != [version]:
            raise ReleaseError(f"{file} must name version {version}. Received: {versions}")
    # Older and newer forms of metadata have the licence under different names.
    facts = [metadata["License-Expression"] or metadata["License"], metadata["Requires-Python"]]
    if facts != ["Apache-2.0", ">=3.11"]:
        raise ReleaseError(f"the metadata must be of Apache-2.0 and Python 3.11. Received: {facts}")


def read_text(file: str) -> str:
    """Returns what a file of the checkout holds."""
    return (ROOT / file).read_text(encoding="utf-8")


def read_metadata(wheel: pathlib.Path) -> email.message.Message:
    """Returns the METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def check_contents(wheel: pathlib.Path, source: pathlib.Path) -> None:
    """Checks that the archives hold every tracked file of the package, and nothing else."""
    places = [*PLACES]
    listed = subprocess.run(
        ["git", "ls-files", "-z", *places], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    tracked = set(filter(None, listed.split("\0")))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (licence,) = (n for n in names if n.endswith(".dist-info/licenses/LICENSE"))
        if archive.read(licence) != (ROOT / "LICENSE").read_bytes():
            raise ReleaseError("the wheel must have LICENSE. Received: another text")
    packaged = {name for name in names if ".dist-info/" not in name}
    compare("the wheel", packaged, {place_of(name) for name in tracked})
    with tarfile.open(source) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    names = {name.partition("/")[2] for name in files}
    of_build = {name for name in names if name.startswith("albert_tf.egg-info/")}
    compare("the source", names - of_build, tracked | SOURCE_FILES)


def place_of(path: str) -> str:
    """Returns where a file of the checkout lies in the wheel."""
    folder, _, rest = path.partition("/")
    return f"{PLACES[folder]}/{rest}"


def compare(archive: str, names: set[str], expected: set[str]) -> None:
    """Checks that an archive holds what it must."""
    if names != expected:
        raise ReleaseError(
            f"{archive} must hold what is tracked (git add?). Received: without "
            f"{sorted(expected - names) or 'nothing'}, with {sorted(names - expected) or 'nothing'}"
        )


def find_lowest(wheel: pathlib.Path) -> dict[str, str]:
    """Returns {direct dependency: the lowest version that is allowed}."""
    versions = {}
    for text in read_metadata(wheel).get_all("Requires-Dist"):
        requirement = Requirement(text)
        wanted = not requirement.marker or any(
            requirement.marker.evaluate({"extra": extra}) for extra in EXTRAS.split(",")
        )
        bounds = [
            one.version for one in requirement.specifier if one.operator in (">=", "~=", "==")
        ]
        if wanted and len(bounds) != 1:
            raise ReleaseError(f"a dependency must have one lowest version. Received: {text}")
        if wanted:
            versions[requirement.name] = bounds[0]
    return versions


def try_wheel(wheel: pathlib.Path, folder: pathlib.Path, versions: dict[str, str | None]) -> None:
    """Installs a wheel in a new environment and runs the smoke test there.

    Args:
        wheel: what is tried.
        folder: for the environment, removed at the end.
        versions: {direct dependency: its version, or None for the newest that is allowed}.
    """
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    limits = folder / "constraints.txt"
    limits.write_text("".join(f"{n}=={v}\n" for n, v in versions.items() if v is not None))
    # A dependency that must be compiled is no version that users get along with.
    install = [python, "-m", "pip", "install", f"--only-binary={','.join(versions)}"]
    run([*install, f"--constraint={limits}", f"{wheel}[{EXTRAS}]"])
    run([python, "-m", "pip", "check"])
    # The checkout is not to be found from there.
    place = folder / "elsewhere"
    place.mkdir()
    shutil.copy(ROOT / "release" / "smoke_test.py", place)
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
    run([python, "smoke_test.py"], cwd=place, env=environment)
    shutil.rmtree(folder)


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(f"make release: {error}")
