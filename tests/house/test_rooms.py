"""The house rules that a machine can check: which room may import which, and what no room holds."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
# The ground floor: what any room may import.
GROUND_FLOOR = {
    "compilation_cache",
    "console",
    "config",
    "durations",
    "failures",
    "flag_files",
    "freed_memory",
    "json_files",
    "other_option_names",
    "pages",
    "quiet_tensorflow",
    "remote_files",
    "removed_options",
    "setting_checks",
    "settings",
    "stop_signals",
    "tensorflow_needs",
    "tensorflow_writes",
    "whole_files",
}
# The rooms, each with those it may import beside the ground floor. "pipelines" is all of them.
ROOMS = {
    "embedding_tables": {"pipelines.tokenizer"},
    # A model directory holds a tokenizer, too.
    "checkpoints": {"embedding_tables", "pipelines.tokenizer"},
    "serving": set(),
    "model": {"checkpoints"},
    "training": {"model", "checkpoints"},
    "tasks": {"model", "checkpoints", "pipelines.task_data", "pipelines.text"},
    "conversion": {"model", "checkpoints"},
    "inference": {"tasks", "model", "checkpoints", "pipelines"},
    "evaluation": {"model", "checkpoints", "pipelines"},
    "pretraining": {
        "training",
        "evaluation",
        "model",
        "checkpoints",
        "embedding_tables",
        "pipelines",
    },
    "finetuning": {"training", "tasks", "inference", "model", "checkpoints", "pipelines"},
    "comparison": {"training"},
    "exporting": {"inference", "tasks", "model", "checkpoints", "serving", "pipelines"},
    "pipelines.sources": set(),
    "pipelines.text": {"pipelines.sources"},
    "pipelines.tokenizer": {"pipelines.text"},
    "pipelines.examples": {"pipelines.tokenizer"},
    "pipelines.encoders": {"pipelines.tokenizer"},
    # Tables are files of text, opened and decoded as those of a corpus.
    "pipelines.task_data": {"pipelines.sources", "pipelines.tokenizer", "pipelines.encoders"},
    "pipelines.building": {"pipelines.text", "pipelines.tokenizer", "pipelines.examples"},
    "pipelines.synthetic": {"pipelines.text"},
    "pipelines.inspection": {"pipelines.tokenizer", "pipelines.examples", "pipelines.building"},
}
MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES = 14, 400, 75
DRAWERS = {"utils", "util", "helpers", "common", "misc", "base"}


def find_modules():
    """Returns {dotted name below albert_tf: path} of every file of the package."""
    modules = {}
    for folder, prefix in (("albert_tf", ()), ("pipelines", ("pipelines",))):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.stem != "__init__":
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                modules[".".join((*prefix, *parts))] = path
    return modules


MODULES = find_modules()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def room_of(module):
    """Returns the room of a module; commands and the ground floor have "" or "pipelines"."""
    return module.rpartition(".")[0]


def imports_of(module):
    """Returns the modules of this project that `module` imports."""
    names = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("albert_tf.") for name in names} & MODULES.keys()


def is_command(module):
    prefixes = ("run_", "build_", "inspect_", "command_line")
    return module.rpartition(".")[2].startswith(prefixes)


def faults(check):
    """Returns what `check(module)` yields for all modules."""
    return [f"{module}: {fault}" for module in MODULES for fault in check(module)]


def imports_up(module):
    """Yields a fault for each import that the row of the module's room does not allow."""
    room = room_of(module)
    if is_command(module) and room in ("", "pipelines"):
        return
    allowed = ROOMS.get(room, set())
    for imported in imports_of(module):
        other = room_of(imported)
        is_free = other == room or imported in GROUND_FLOOR or other in allowed
        if not is_free and not ("pipelines" in allowed and other.startswith("pipelines.")):
            yield f"may not import {imported}"


def test_rooms_import_only_what_their_row_names():
    assert not faults(imports_up)


def test_every_file_stands_in_a_room_or_on_the_ground_floor():
    def check(module):
        room = room_of(module)
        if room not in ROOMS and not (
            room in ("", "pipelines") and (is_command(module) or module in GROUND_FLOOR)
        ):
            yield "give its folder a row in ROOMS"

    assert not faults(check)
    assert {room_of(module) for module in MODULES} >= ROOMS.keys()


def test_the_ground_floor_imports_nothing_above_it():
    for module in GROUND_FLOOR:
        assert imports_of(module) <= GROUND_FLOOR, module


def test_rooms_are_small():
    for room in ROOMS:
        files = [module for module in MODULES if room_of(module) == room]
        assert len(files) <= MOST_FILES, (room, files)


def test_imports_have_no_cycle():
    remaining = {module: imports_of(module) for module in MODULES}
    while remaining:
        free = [module for module, imports in remaining.items() if not imports & remaining.keys()]
        assert free, f"a cycle among {sorted(remaining)}"
        for module in free:
            del remaining[module]


def test_only_commands_read_flags():
    def check(module):
        source = MODULES[module].read_text(encoding="utf-8")
        if not is_command(module) and ("flags.FLAGS" in source or "DEFINE_" in source):
            yield "reads flags"

    assert not faults(check)


def test_files_hold_one_idea_and_functions_stay_short():
    def check(module):
        if module.rpartition(".")[2] in DRAWERS:
            yield "is named for a drawer"
        lines = MODULES[module].read_text(encoding="utf-8").count("\n")
        if lines > MOST_LINES:
            yield f"has {lines} lines"
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.FunctionDef):
                documentation = ast.get_docstring(node, clean=False) or ""
                lines = node.end_lineno - node.lineno - documentation.count("\n")
                if lines > MOST_FUNCTION_LINES:
                    yield f"{node.name} has {lines} lines"

    assert not faults(check)


def test_pipelines_never_load_keras():
    def check(module):
        for name in imported_packages(TREES[module]):
            if module.startswith("pipelines.") and name == "keras":
                yield "imports keras"

    assert not faults(check)


def imported_packages(tree):
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from (name.split(".")[0] for name in names)


def test_pipelines_and_configs_have_one_spelling():
    for path in sorted(ROOT.rglob("*.py")):
        if any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not {"pipelines", "configs"} & set(imported_packages(tree)), path


def test_randomness_is_an_argument():
    def check(module):
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random":
                if node.attr not in ("default_rng", "Generator", "SeedSequence", "Philox"):
                    yield f"draws from np.random.{node.attr}"

    assert not faults(check)
