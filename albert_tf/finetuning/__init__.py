"""One fine-tuning run: from a task to a model directory and a report."""
