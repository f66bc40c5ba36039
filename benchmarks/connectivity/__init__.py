"""Who drives whom in circuits whose wiring is known: every method on the same fixed set of circuits."""
