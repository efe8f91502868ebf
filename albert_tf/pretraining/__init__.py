"""One pretraining run: from records to a model directory."""
