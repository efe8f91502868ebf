"""A model directory becomes a SavedModel that was checked; LiteRT and ONNX files."""
