"""The house rules that a machine can check: which room may import which, and what no room holds."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# An import may point to its own level or below. Below level 3 the model side and the text side
# never meet. A new module gets its level here.
LEVELS = {
    "albert_tf.config": 0,
    "albert_tf.whole_files": 0,
    "albert_tf.json_files": 0,
    "albert_tf.stop_signals": 0,
    "albert_tf.setting_checks": 0,
    "albert_tf.failures": 0,
    "albert_tf.diagnosis": 0,
    "albert_tf.quiet_tensorflow": 0,
    "albert_tf.tensorflow_writes": 0,
    "albert_tf.fused_ops": 1,
    "albert_tf.initialization": 1,
    "albert_tf.modeling": 1,
    "albert_tf.heads": 1,
    "albert_tf.losses": 1,
    "albert_tf.model_inputs": 1,
    "albert_tf.optimization": 1,
    "albert_tf.stored_tensors": 1,
    "albert_tf.safetensors_files": 1,
    "albert_tf.torch_files": 1,
    "albert_tf.tensorflow_files": 1,
    "albert_tf.h5_files": 1,
    "albert_tf.weight_names": 1,
    "albert_tf.weight_mapping": 1,
    "albert_tf.adapters": 1,
    "albert_tf.published_configs": 1,
    "albert_tf.metrics": 1,
    "albert_tf.squad_scoring": 1,
    "albert_tf.command_line": 1,
    "albert_tf.finetuning_report": 3,
    "albert_tf.finetuning_results": 3,
    "albert_tf.finetuning_evaluation": 3,
    "albert_tf.class_balance": 1,
    "albert_tf.labelled_data": 1,
    "albert_tf.finetuning_start": 3,
    "albert_tf.finetuning": 3,
    "albert_tf.prediction": 3,
    "albert_tf.prediction_files": 1,
    "albert_tf.tasks": 3,
    "albert_tf.task_options": 3,
    "albert_tf.text_task": 3,
    "albert_tf.answer_task": 3,
    "albert_tf.choice_task": 3,
    "albert_tf.tag_task": 3,
    "albert_tf.best_checkpoint": 2,
    "albert_tf.run_finetuning": 4,
    "albert_tf.pipelines.input_problems": 1,
    "albert_tf.pipelines.encoded_examples": 1,
    "albert_tf.pipelines.text_examples": 2,
    "albert_tf.pipelines.tabular": 2,
    "albert_tf.pipelines.glue": 2,
    "albert_tf.pipelines.squad": 2,
    "albert_tf.pipelines.race": 2,
    "albert_tf.pipelines.tagged_words": 2,
    "albert_tf.pipelines.tfds_examples": 2,
    "albert_tf.pipelines.feature_cache": 2,
    "albert_tf.pipelines.finetuning": 2,
    "albert_tf.run_directory": 2,
    "albert_tf.model_directory": 2,
    "albert_tf.models": 2,
    "albert_tf.keras_model": 2,
    "albert_tf.task_models": 2,
    "albert_tf.checkpoints": 2,
    "albert_tf.training_settings": 1,
    "albert_tf.train_step": 2,
    "albert_tf.metric_log": 2,
    "albert_tf.training_progress": 2,
    "albert_tf.training": 2,
    "albert_tf.learning_curve": 2,
    "albert_tf.foreign_checkpoints": 2,
    "albert_tf.pretraining": 3,
    "albert_tf.pretraining_records": 3,
    "albert_tf.pretraining_settings": 3,
    "albert_tf.finetuning_settings": 3,
    "albert_tf.conversion": 3,
    "albert_tf.inference": 3,
    "albert_tf.tokenizer_files": 3,
    "albert_tf.task_inference": 3,
    "albert_tf.graph_batches": 3,
    "albert_tf.graph_ids": 1,
    "albert_tf.graph_answers": 3,
    "albert_tf.exported_weights": 2,
    "albert_tf.export_signatures": 3,
    "albert_tf.export_check": 3,
    "albert_tf.export_settings": 1,
    "albert_tf.export_sheet": 3,
    "albert_tf.export_quality": 3,
    "albert_tf.export": 3,
    "albert_tf.saved_model_reader": 1,
    "albert_tf.ids_files": 3,
    "albert_tf.predict_protocol": 1,
    "albert_tf.request_batching": 1,
    "albert_tf.request_bodies": 1,
    "albert_tf.http_hosts": 1,
    "albert_tf.http_server": 1,
    "albert_tf.served_versions": 3,
    "albert_tf.model_server": 3,
    "albert_tf.run_server": 4,
    "albert_tf.run_export": 4,
    "albert_tf.run_pretraining": 4,
    "albert_tf.run_prediction": 4,
    "albert_tf.run_conversion": 4,
    "albert_tf.pipelines.records": 1,
    "albert_tf.pipelines.masking": 1,
    "albert_tf.pipelines.sentence_pairs": 1,
    "albert_tf.pipelines.corpus": 1,
    "albert_tf.pipelines.text_files": 1,
    "albert_tf.pipelines.text_encodings": 1,
    "albert_tf.pipelines.compressed_files": 1,
    "albert_tf.pipelines.line_files": 1,
    "albert_tf.pipelines.parquet_text": 1,
    "albert_tf.pipelines.text_layouts": 1,
    "albert_tf.pipelines.sentence_splitting": 1,
    "albert_tf.pipelines.languages": 1,
    "albert_tf.pipelines.wikipedia_text": 1,
    "albert_tf.pipelines.docstring_corpus": 1,
    "albert_tf.pipelines.normalization": 1,
    "albert_tf.pipelines.text_offsets": 1,
    "albert_tf.pipelines.vocabulary_model": 1,
    "albert_tf.pipelines.tokenization": 1,
    "albert_tf.pipelines.graph_texts": 1,
    "albert_tf.pipelines.graph_offsets": 1,
    "albert_tf.pipelines.graph_windows": 1,
    "albert_tf.pipelines.graph_words": 1,
    "albert_tf.pipelines.tokenizer_json": 1,
    "albert_tf.pipelines.progress": 1,
    "albert_tf.pipelines.worker_pool": 1,
    "albert_tf.pipelines.tokenized_corpus": 2,
    "albert_tf.pipelines.example_shards": 2,
    "albert_tf.pipelines.example_options": 2,
    "albert_tf.pipelines.example_summary": 2,
    "albert_tf.pipelines.example_building": 2,
    "albert_tf.pipelines.pretraining": 2,
    "albert_tf.pipelines.build_docstring_corpus": 4,
    "albert_tf.pipelines.build_vocabulary": 4,
    "albert_tf.pipelines.build_pretraining_data": 4,
}
DRAWERS = {"utils", "util", "helpers", "common", "misc", "base"}


def find_modules():
    modules = {}
    for folder, package in (("albert_tf", "albert_tf"), ("pipelines", "albert_tf.pipelines")):
        for path in sorted((ROOT / folder).glob("*.py")):
            if path.stem != "__init__":
                modules[f"{package}.{path.stem}"] = path
    return modules


MODULES = find_modules()
by_module = pytest.mark.parametrize("module", sorted(MODULES))


def imports_of(module):
    """Returns the modules of this project that `module` imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found & MODULES.keys()


def side_of(module):
    return "text" if module.startswith("albert_tf.pipelines.") else "model"


@by_module
def test_imports_point_down(module):
    assert module in LEVELS, f"give {module} its level in this file"
    for imported in imports_of(module):
        assert LEVELS[imported] <= LEVELS[module], f"{module} imports {imported} above it"
        if LEVELS[module] < 3 and LEVELS[imported] > 0:
            assert side_of(imported) == side_of(module), f"{module} imports {imported}"


def test_every_level_belongs_to_a_module():
    assert LEVELS.keys() == MODULES.keys()


def test_imports_have_no_cycle():
    remaining = {module: imports_of(module) for module in MODULES}
    while remaining:
        free = [module for module, imports in remaining.items() if not imports & remaining.keys()]
        assert free, f"a cycle among {sorted(remaining)}"
        for module in free:
            del remaining[module]


@by_module
def test_only_entry_points_read_flags(module):
    source = MODULES[module].read_text(encoding="utf-8")
    is_entry_point = module.rsplit(".", 1)[1].startswith(("run_", "build_", "command_line"))
    if not is_entry_point:
        assert "flags.FLAGS" not in source
        assert "DEFINE_" not in source


@by_module
def test_module_holds_one_idea(module):
    assert MODULES[module].stem not in DRAWERS
    lines = MODULES[module].read_text(encoding="utf-8").count("\n")
    assert lines <= 500, f"{module} has {lines} lines"


@by_module
def test_functions_stay_short(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            documentation = ast.get_docstring(node, clean=False) or ""
            lines = node.end_lineno - node.lineno - documentation.count("\n")
            assert lines <= 75, f"{module}.{node.name} has {lines} lines"


@by_module
def test_text_side_never_loads_keras(module):
    if side_of(module) == "text":
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "keras" for name in names)


def test_pipelines_and_configs_have_one_spelling():
    for path in sorted(ROOT.rglob("*.py")):
        if any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("pipelines", "configs"), path


def test_randomness_is_an_argument():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "np.random":
                assert node.attr in ("default_rng", "Generator", "SeedSequence"), module
