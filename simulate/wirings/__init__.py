"""Kinds of wiring, one a file: who may be connected to whom.

Each is a function of its settings, the density, the population and a random stream, and gives a
`simulate.wirings.sketch.Sketch`. `simulate.wiring` adds what all kinds share: log-normal weights, delays and
Dale's law. The density is the expected fraction of all directed pairs that are connected, in every kind.
"""
