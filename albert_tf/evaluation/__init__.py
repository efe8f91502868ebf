"""What a pretrained model knows before any fine-tuning: words, order, grammar, and seen texts."""
