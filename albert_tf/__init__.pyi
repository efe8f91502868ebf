"""The public names, for editors and type checkers, which do not run `__getattr__`."""

from albert_tf.checkpoints.hub_files import push_to_hub as push_to_hub
from albert_tf.checkpoints.stored_tensors import CheckpointError as CheckpointError
from albert_tf.checkpoints.tokenizer_files import load_tokenizer as load_tokenizer
from albert_tf.config import AlbertConfig as AlbertConfig
from albert_tf.evaluation.python_call import evaluate as evaluate
from albert_tf.finetuning.python_call import finetune as finetune
from albert_tf.freed_memory import keep_freed_memory as keep_freed_memory
from albert_tf.inference.features import Features as Features
from albert_tf.inference.fine_tuned import Answerer as Answerer
from albert_tf.inference.fine_tuned import Chooser as Chooser
from albert_tf.inference.fine_tuned import Classifier as Classifier
from albert_tf.inference.fine_tuned import Regressor as Regressor
from albert_tf.inference.fine_tuned import Tagger as Tagger
from albert_tf.inference.text_encoder import TextEncoder as TextEncoder
from albert_tf.inference.text_model import FillMask as FillMask
from albert_tf.model.adapters import add_adapters as add_adapters
from albert_tf.model.language_models import AlbertEmbedder as AlbertEmbedder
from albert_tf.model.language_models import AlbertForPretraining as AlbertForPretraining
from albert_tf.model.language_models import AlbertMaskedLM as AlbertMaskedLM
from albert_tf.model.language_models import AlbertModel as AlbertModel
from albert_tf.model.modeling import AlbertEncoder as AlbertEncoder
from albert_tf.model.task_models import AlbertAnswerabilitySelector as AlbertAnswerabilitySelector
from albert_tf.model.task_models import AlbertClassifier as AlbertClassifier
from albert_tf.model.task_models import AlbertMultipleChoice as AlbertMultipleChoice
from albert_tf.model.task_models import AlbertRegressor as AlbertRegressor
from albert_tf.model.task_models import AlbertSpanSelector as AlbertSpanSelector
from albert_tf.model.task_models import AlbertTokenClassifier as AlbertTokenClassifier
from albert_tf.pipelines.build_vocabulary import build_vocabulary as build_vocabulary
from albert_tf.pipelines.examples.example_settings import ExampleSettings as ExampleSettings
from albert_tf.pipelines.examples.fresh_examples import FreshExamples as FreshExamples
from albert_tf.pipelines.examples.packed_examples import PackedExamples as PackedExamples
from albert_tf.pipelines.examples.pretraining_dataset import (
    pretraining_dataset as pretraining_dataset,
)
from albert_tf.pipelines.examples.record_files import describe_example as describe_example
from albert_tf.pipelines.examples.record_files import locate_corruption as locate_corruption
from albert_tf.pipelines.examples.record_files import read_records as read_records
from albert_tf.pipelines.examples.token_files import TokenFolder as TokenFolder
from albert_tf.pipelines.sources.files import SkippedInput as SkippedInput
from albert_tf.pipelines.task_data.finetuning_dataset import (
    finetuning_dataset as finetuning_dataset,
)
from albert_tf.pipelines.task_data.text_examples import TextExample as TextExample
from albert_tf.pipelines.task_data.text_examples import encode_texts as encode_texts
from albert_tf.pipelines.text.corpus import read_documents as read_documents
from albert_tf.pipelines.text.sentence_splitting import split_sentences as split_sentences
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer as Tokenizer
from albert_tf.pretraining.python_call import pretrain as pretrain
from albert_tf.training.metric_log import RunEvent as RunEvent
from albert_tf.training.optimizers import AdamW as AdamW
from albert_tf.training.optimizers import Lamb as Lamb
from albert_tf.training.optimizers import Muon as Muon
from albert_tf.training.optimizers import WarmupPolynomialDecay as WarmupPolynomialDecay

__version__: str
__all__: list[str]
