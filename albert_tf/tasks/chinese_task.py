"""ChnSentiCorp and LCQMC: good or bad reviews, and whether two questions ask the same."""

from albert_tf.pipelines.task_data import chinese_files
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.tasks.options import TaskOptions
from albert_tf.tasks.text_task import TextTask


class ChineseTask(TextTask):
    """A task of `chinese_files.TASKS`; arguments as of `TextTask`."""

    metric_names = ("accuracy", "f1")
    main_metrics = ("accuracy",)
    labels = chinese_files.LABELS

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        super().__init__(name, options, problems)
        self.is_pair = chinese_files.TASKS[name].is_pair
        self.dev_splits = ("dev",) if options.dev_file or options.data_dir else ()
        self.test_splits = ("test",) if options.test_file or options.data_dir else ()

    def read(self, split: str) -> list[TextExample]:
        """Returns the `TextExample`s of a split, those of "test" without labels."""
        options = self.options
        path = getattr(options, f"{split}_file")
        if not path and not options.data_dir:
            raise ValueError(f"`{split}_file` or `data_dir` must be given. Received: neither")
        path = path or chinese_files.find_table(self.name, options.data_dir, split)
        return chinese_files.read_table(self.name, path, self.problems, split != "test")
