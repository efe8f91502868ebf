"""The names of a tensor and a batch in annotations."""

import typing

import numpy as np

# What Keras layers and models take and give: a tensor of TensorFlow, JAX or PyTorch, a NumPy
# array or a symbolic tensor. These share no class, so the name is for the reader.
Tensor = typing.Any
# What a model is called with: tensors by name.
Batch = dict[str, Tensor]
# What losses and accuracies are until all is added up: (weighted sum, sum of weights).
WeightedSum = tuple[Tensor, Tensor]
# What a model gave for examples: by the outputs' names, an array an example.
Outputs = dict[str, list[np.ndarray]]
