"""Unit identity: what is known of a unit, and whether its label can be told in an animal never seen."""

from neuroformer.identity.export import UnitEmbeddings, read_embeddings, write_embeddings

__all__ = ["UnitEmbeddings", "read_embeddings", "write_embeddings"]
