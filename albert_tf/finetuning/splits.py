"""The data of a fine-tuning run: each split as read and as encoded."""

import dataclasses
import functools

from albert_tf.pipelines.task_data import feature_cache
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples


@dataclasses.dataclass(frozen=True)
class Split:
    """The examples of one split, as read and as encoded."""

    examples: list
    encoded: EncodedExamples

    def of_rows(self) -> list:
        """Returns the example of each row of the model: the windows of a text share theirs."""
        if not self.encoded.joined_by:
            return self.examples
        return [self.examples[text] for text in self.encoded.details["text_index"]]

    @functools.cached_property
    def digest(self) -> str:
        """Of everything in the examples."""
        return feature_cache.digest_of(self.examples)
