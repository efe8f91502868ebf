"""What other people call our weights: one table of names for each layout of ALBERT checkpoints.

A weight of ours is known by its path, `encoder/pooler/kernel`. Each layout says where that lies,
under which name and in which form: kernels of `transformers` are transposed, those of KerasHub
have an axis for the heads. The numbers are always the same.

Letters: E embedding size, H hidden size, F feed-forward size, N heads, D head size, V vocabulary,
C classes.
"""

import dataclasses
import re

import numpy as np

# The last part of a path, in the words of PyTorch.
_TORCH_LEAVES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
# Begins the names of weights that transformers has no name for.
OWN_PREFIX = "conditional_span_head/"
_OUR_BLOCK = r"encoder/group_(\d+)/inner_group_(\d+)/"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one weight lies in a file, and in which form.

    Attributes:
        name: in the file.
        form: "same"; "transposed" [out, in]; or an axis for the heads: "heads_out" [in, N, D],
            "heads_in" [N, D, out], "heads" [N, D].
    """

    name: str
    form: str = "same"

    def shape_of(self, shape: tuple[int, ...], num_heads: int) -> tuple[int, ...]:
        """Returns the shape that a weight of ours of `shape` has in the file."""
        if self.form == "transposed":
            return shape[::-1]
        if self.form in ("heads_out", "heads"):
            return (*shape[:-1], num_heads, shape[-1] // num_heads)
        if self.form == "heads_in":
            return (num_heads, shape[0] // num_heads, *shape[1:])
        return shape

    def to_ours(self, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the numbers as our weight of `shape` has them."""
        return value.T if self.form == "transposed" else value.reshape(shape)

    def to_theirs(self, value: np.ndarray, num_heads: int) -> np.ndarray:
        """Returns the numbers of a weight of ours as the file has them, contiguous."""
        if self.form == "transposed":
            return np.ascontiguousarray(value.T)
        return np.ascontiguousarray(value.reshape(self.shape_of(value.shape, num_heads)))


class Layout:
    """The names of one kind of checkpoint.

    Args:
        title: what to call it in messages.
        places: (pattern of our path, name); groups of the pattern may be used in the name, and
            what follows the match is appended as `leaves` says.
        leaves: {last part of our path: theirs}; others stay.
        forms: (pattern of our path, form); the first that matches counts, else "same".
    """

    def __init__(
        self,
        title: str,
        places: list[tuple[str, str]],
        leaves: dict[str, str],
        forms: list[tuple[str, str]],
    ):
        self.title = title
        self._places = places
        self._leaves = leaves
        self._forms = forms

    def place(self, path: str) -> Place | None:
        """Returns the `Place` of the weight with our `path`, or None if the layout has none.

        >>> LAYOUTS["transformers"].place("encoder/pooler/kernel")
        Place(name='albert.pooler.weight', form='transposed')
        """
        for pattern, name in self._places:
            match = re.match(pattern, path)
            if match:
                leaf = path[match.end() :]
                form = next((form for p, form in self._forms if re.search(p, path)), "same")
                return Place(match.expand(name) + self._leaves.get(leaf, leaf), form)
        return None


_TRANSFORMERS_BLOCK = r"albert.encoder.albert_layer_groups.\1.albert_layers.\2."
_TRANSFORMERS = Layout(
    "transformers",
    [
        (r"encoder/embeddings/(\w+_embeddings)$", r"albert.embeddings.\1.weight"),
        ("encoder/embeddings/layer_norm/", "albert.embeddings.LayerNorm."),
        ("encoder/embedding_projection/", "albert.encoder.embedding_hidden_mapping_in."),
        (_OUR_BLOCK + "attention/(query|key|value)/", _TRANSFORMERS_BLOCK + r"attention.\3."),
        (_OUR_BLOCK + "attention/output/", _TRANSFORMERS_BLOCK + "attention.dense."),
        (_OUR_BLOCK + "attention/layer_norm/", _TRANSFORMERS_BLOCK + "attention.LayerNorm."),
        (_OUR_BLOCK + "feed_forward/intermediate/", _TRANSFORMERS_BLOCK + "ffn."),
        (_OUR_BLOCK + "feed_forward/output/", _TRANSFORMERS_BLOCK + "ffn_output."),
        (_OUR_BLOCK + "feed_forward/layer_norm/", _TRANSFORMERS_BLOCK + "full_layer_layer_norm."),
        ("encoder/pooler/", "albert.pooler."),
        ("masked_lm_head/transform/", "predictions.dense."),
        ("masked_lm_head/layer_norm/", "predictions.LayerNorm."),
        ("masked_lm_head/output_bias", "predictions.bias"),
        ("sentence_order_head/classifier/", "sop_classifier.classifier."),
        ("(classification|token|choice)_head/classifier/", "classifier."),
        ("span_head/classifier/", "qa_outputs."),
        # transformers has no such head: our own names.
        (OWN_PREFIX, OWN_PREFIX),
    ],
    leaves=_TORCH_LEAVES,
    forms=[(OWN_PREFIX, "same"), ("kernel$", "transposed")],
)

_TF1_BLOCK = r"bert/encoder/transformer/group_\1/inner_group_\2/"
_TF1 = Layout(
    "Google's TensorFlow 1",
    [
        ("encoder/embeddings/layer_norm/", "bert/embeddings/LayerNorm/"),
        ("encoder/embeddings/", "bert/embeddings/"),
        ("encoder/embedding_projection/", "bert/encoder/embedding_hidden_mapping_in/"),
        (_OUR_BLOCK + "attention/(query|key|value)/", _TF1_BLOCK + r"attention_1/self/\3/"),
        (_OUR_BLOCK + "attention/output/", _TF1_BLOCK + "attention_1/output/dense/"),
        (_OUR_BLOCK + "attention/layer_norm/", _TF1_BLOCK + "LayerNorm/"),
        (_OUR_BLOCK + "feed_forward/intermediate/", _TF1_BLOCK + "ffn_1/intermediate/dense/"),
        (_OUR_BLOCK + "feed_forward/output/", _TF1_BLOCK + "ffn_1/intermediate/output/dense/"),
        (_OUR_BLOCK + "feed_forward/layer_norm/", _TF1_BLOCK + "LayerNorm_1/"),
        ("encoder/pooler/", "bert/pooler/dense/"),
        ("masked_lm_head/transform/", "cls/predictions/transform/dense/"),
        ("masked_lm_head/layer_norm/", "cls/predictions/transform/LayerNorm/"),
        ("masked_lm_head/output_bias", "cls/predictions/output_bias"),
        ("sentence_order_head/classifier/kernel", "cls/seq_relationship/output_weights"),
        ("sentence_order_head/classifier/bias", "cls/seq_relationship/output_bias"),
        ("(classification|choice)_head/classifier/kernel", "output_weights"),
        ("(classification|choice)_head/classifier/bias", "output_bias"),
        ("span_head/classifier/kernel", "cls/squad/output_weights"),
        ("span_head/classifier/bias", "cls/squad/output_bias"),
        ("conditional_span_head/start/", "start_logits/dense/"),
        ("conditional_span_head/end_transform/", "end_logits/dense_0/"),
        ("conditional_span_head/end_layer_norm/", "end_logits/LayerNorm/"),
        ("conditional_span_head/end/", "end_logits/dense_1/"),
        ("conditional_span_head/answer_transform/", "answer_class/dense_0/"),
        ("conditional_span_head/answer/", "answer_class/dense_1/"),
    ],
    leaves={},
    # The weights that the original multiplies with `transpose_b=True`.
    forms=[(r"^(sentence_order|classification|choice|span)_head/classifier/kernel$", "transposed")],
)

_H5_BLOCK = r"albert/encoder/albert_layer_groups_._\1/albert_layers_._\2/"
# The TensorFlow half of transformers 4; what stands before "albert/" in a file is cut off.
_TRANSFORMERS_H5 = Layout(
    "transformers' TensorFlow",
    [
        ("encoder/embeddings/word_embeddings", "albert/embeddings/word_embeddings/weight"),
        (
            r"encoder/embeddings/(\w+_embeddings)$",
            r"albert/embeddings/\1/embeddings",
        ),
        ("encoder/embeddings/layer_norm/", "albert/embeddings/LayerNorm/"),
        ("encoder/embedding_projection/", "albert/encoder/embedding_hidden_mapping_in/"),
        (_OUR_BLOCK + "attention/(query|key|value)/", _H5_BLOCK + r"attention/\3/"),
        (_OUR_BLOCK + "attention/output/", _H5_BLOCK + "attention/dense/"),
        (_OUR_BLOCK + "attention/layer_norm/", _H5_BLOCK + "attention/LayerNorm/"),
        (_OUR_BLOCK + "feed_forward/intermediate/", _H5_BLOCK + "ffn/"),
        (_OUR_BLOCK + "feed_forward/output/", _H5_BLOCK + "ffn_output/"),
        (_OUR_BLOCK + "feed_forward/layer_norm/", _H5_BLOCK + "full_layer_layer_norm/"),
        ("encoder/pooler/", "albert/pooler/"),
        ("masked_lm_head/transform/", "predictions/dense/"),
        ("masked_lm_head/layer_norm/", "predictions/LayerNorm/"),
        ("masked_lm_head/output_bias", "predictions/bias"),
        ("sentence_order_head/classifier/", "sop_classifier/classifier/"),
        ("(classification|token|choice)_head/classifier/", "classifier/"),
        ("span_head/classifier/", "qa_outputs/"),
    ],
    leaves={},
    forms=[],
)

_HEAD_FORMS = [
    ("attention/(query|key|value)/kernel$", "heads_out"),
    ("attention/(query|key|value)/bias$", "heads"),
    ("attention/output/kernel$", "heads_in"),
]
_KERAS_HUB_BLOCK = r"group_\1_inner_layer_\2/"
_KERAS_HUB = Layout(
    "KerasHub",
    [
        ("encoder/embeddings/word_embeddings", "token_embedding/embeddings"),
        ("encoder/embeddings/position_embeddings", "position_embedding/embeddings"),
        ("encoder/embeddings/token_type_embeddings", "segment_embedding/embeddings"),
        ("encoder/embeddings/layer_norm/", "embeddings_layer_norm/"),
        ("encoder/embedding_projection/", "embedding_projection/"),
        (
            _OUR_BLOCK + "attention/(query|key|value)/",
            _KERAS_HUB_BLOCK + r"self_attention_layer/\3/",
        ),
        (
            _OUR_BLOCK + "attention/output/",
            _KERAS_HUB_BLOCK + "self_attention_layer/attention_output/",
        ),
        (_OUR_BLOCK + "attention/layer_norm/", _KERAS_HUB_BLOCK + "self_attention_layer_norm/"),
        (
            _OUR_BLOCK + "feed_forward/intermediate/",
            _KERAS_HUB_BLOCK + "feedforward_intermediate_dense/",
        ),
        (_OUR_BLOCK + "feed_forward/output/", _KERAS_HUB_BLOCK + "feedforward_output_dense/"),
        (_OUR_BLOCK + "feed_forward/layer_norm/", _KERAS_HUB_BLOCK + "feedforward_layer_norm/"),
        ("encoder/pooler/", "pooled_dense/"),
        ("masked_lm_head/transform/", "mlm_head/intermediate_dense/"),
        ("masked_lm_head/layer_norm/", "mlm_head/intermediate_layer_norm/"),
        ("masked_lm_head/output_bias", "mlm_head/output_bias"),
    ],
    leaves={},
    forms=_HEAD_FORMS,
)

# TF2 encoders of tensorflow/models, as on TensorFlow Hub: one group, one inner block.
_TF_MODELS = Layout(
    "TF2 SavedModel",
    [
        ("encoder/embeddings/word_embeddings", "word_embeddings/embeddings"),
        ("encoder/embeddings/position_embeddings", "position_embedding/embeddings"),
        ("encoder/embeddings/token_type_embeddings", "type_embeddings/embeddings"),
        ("encoder/embeddings/layer_norm/", "embeddings/layer_norm/"),
        ("encoder/embedding_projection/", "embedding_projection/"),
        (
            "encoder/group_0/inner_group_0/attention/(query|key|value)/",
            r"transformer/self_attention/\1/",
        ),
        (
            "encoder/group_0/inner_group_0/attention/output/",
            "transformer/self_attention/attention_output/",
        ),
        (
            "encoder/group_0/inner_group_0/attention/layer_norm/",
            "transformer/self_attention_layer_norm/",
        ),
        ("encoder/group_0/inner_group_0/feed_forward/intermediate/", "transformer/intermediate/"),
        ("encoder/group_0/inner_group_0/feed_forward/output/", "transformer/output/"),
        (
            "encoder/group_0/inner_group_0/feed_forward/layer_norm/",
            "transformer/output_layer_norm/",
        ),
        ("encoder/pooler/", "pooler_transform/"),
    ],
    leaves={},
    forms=_HEAD_FORMS,
)

LAYOUTS = {
    "transformers": _TRANSFORMERS,
    "transformers_h5": _TRANSFORMERS_H5,
    "tf1": _TF1,
    "keras_hub": _KERAS_HUB,
    "tf_models": _TF_MODELS,
}
