"""Packaging of albert_tf; `pipelines/` and `configs/` are imported as parts of `albert_tf`."""

from setuptools import find_packages, setup

BEAM = ["apache-beam>=2.77,<3"]
# The site of the guides, and what runs its notebooks.
DOCS = [
    *("furo>=2025.7,<2027", "myst-parser>=4,<6", "sphinx>=8.2,<10"),
    *("ipykernel>=6.29,<8", "nbclient>=0.10,<0.12"),
]
# Models by their names on the Hugging Face hub.
HUB = ["huggingface_hub>=1,<3"]
JAX = ["jax>=0.7,<0.11"]
LITERT = ["ai-edge-litert>=2.1,<3"]
MEDIAWIKI = ["mwparserfromhell>=0.7,<0.8"]
ONNX = ["onnx>=1.17,<2", "onnxruntime>=1.20,<2", "tf2onnx>=1.17,<2"]
SERVE = ["prometheus-client>=0.20,<1", "starlette>=1,<2", "uvicorn>=0.30,<1"]
# The standard library's module of Python 3.14.
ZSTANDARD = ["backports.zstd>=1,<2"]
COMMANDS = (
    *("pretrain", "finetune", "predict", "export", "serve", "convert", "compare", "evaluate"),
    *("build_vocabulary", "build_data", "build_pairs", "build_questions", "inspect_data"),
)

setup(
    name="albert_tf",
    version="0.1.0",
    description="ALBERT in TensorFlow 2 and Keras 3, from raw text to a served model",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # A top-level import name `pipelines` would be shadowed by any folder of that name next to a
    # user's script, so both folders become subpackages.
    packages=[
        *("albert_tf", "albert_tf.pipelines", "albert_tf.configs"),
        *(f"albert_tf.{room}" for room in find_packages("albert_tf")),
        *(f"albert_tf.pipelines.{room}" for room in find_packages("pipelines")),
    ],
    package_dir={
        "albert_tf": "albert_tf",
        "albert_tf.pipelines": "pipelines",
        "albert_tf.configs": "configs",
    },
    package_data={
        "albert_tf": ["py.typed", "__init__.pyi"],
        "albert_tf.serving": ["*.html", "*.json"],
        "albert_tf.configs": ["*.json", "*.flags"],
    },
    entry_points={
        "console_scripts": [
            f"albert-{name.replace('_', '-')} = albert_tf.console:{name}" for name in COMMANDS
        ]
    },
    install_requires=[
        "absl-py>=2.1,<3",
        "charset-normalizer>=3.4,<4",
        # tensorflow-datasets imports it without saying so.
        "importlib-resources>=5",
        "jinja2>=3.1,<4",
        "keras>=3.13,<4",
        "matplotlib>=3.8,<4",
        "numpy>=1.26,<3",
        "rich>=13,<16",
        "safetensors>=0.5,<1",
        "scikit-learn>=1.5,<2",
        "scipy>=1.13,<2",
        "sentencepiece>=0.2.3,<0.3",
        "tensorboard>=2.18,<3",
        # tensorflow-text is compiled against one minor version of TensorFlow; its 2.21.0 does not
        # load.
        "tensorflow~=2.21.0",
        "tensorflow-text~=2.21.1",
        "tensorflow-datasets>=4.9,<5",
        "wrapt>=1.15,<3",
    ],
    extras_require={
        # Reading tables and texts in Parquet.
        "parquet": ["pyarrow>=16"],
        # Building pretraining data on clusters that run Apache Beam.
        "beam": BEAM,
        "docs": DOCS,
        # Reading text compressed with Zstandard.
        "zstd": ZSTANDARD,
        "hub": HUB,
        # Reading MediaWiki's XML dumps.
        "dumps": MEDIAWIKI,
        # Models that take ids as single files.
        "litert": LITERT,
        "onnx": ONNX,
        # Keras on JAX: models, losses and optimizers without TensorFlow.
        "jax": JAX,
        # Serving exported models over HTTP.
        "serve": SERVE,
        "test": [
            *(*SERVE, *LITERT, *ONNX, *ZSTANDARD, *MEDIAWIKI, *HUB, *DOCS),
            *("build>=1,<2", "pyarrow>=16", "pytest>=8,<10", "pytest-xdist>=3.7,<4"),
            *("openapi-spec-validator>=0.7,<1", "ruff>=0.12,<1"),
        ],
        # Building and checking what is published.
        "release": ["build>=1,<2", "packaging>=24", "twine>=6.1,<8"],
        "benchmark": ["keras-hub>=0.32,<0.33"],
        # Other people's ALBERT, and Keras on JAX, to compare with.
        "oracle": [
            *(*JAX, "keras-hub>=0.32,<0.33", "sentence-transformers>=5,<6", "torch==2.13.0"),
            "transformers>=5,<6",
        ],
    },
)
