"""The kinds of models in use: how each is asked in this process."""

from albert_tf.inference.features import Features
from albert_tf.inference.fine_tuned import Answerer, Chooser, Classifier, Regressor, Tagger
from albert_tf.inference.text_model import FillMask

MODELS = {
    "fill_mask": FillMask,
    "features": Features,  # of a model of any kind
    "classification": Classifier,
    "regression": Regressor,
    "tagging": Tagger,
    "answer": Answerer,
    "choice": Chooser,
    "embedding": Features,
}
