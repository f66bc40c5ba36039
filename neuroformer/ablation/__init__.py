"""What each modality, task and part of the model is worth: one training run per variant, one table."""
