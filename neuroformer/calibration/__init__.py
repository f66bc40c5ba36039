"""Is generated activity like the recording? Statistics, each beside what two halves of the recording reach."""
