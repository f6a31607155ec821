"""Training: packed batches through peft and transformers' Trainer, sealed checkpoints, resume."""
