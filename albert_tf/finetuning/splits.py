"""The data of a fine-tuning run: each split as read and as encoded."""

import dataclasses

from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, as read and as encoded."""

    examples: list
    encoded: EncodedExamples
