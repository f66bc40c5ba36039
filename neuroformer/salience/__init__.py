"""Which units a model's prediction comes from, and whether that is so: salience and its faithfulness.

The package knows no backbone and no file format: a model is a callable from frames (B, T, N) to predictions (B, T, D).
"""
