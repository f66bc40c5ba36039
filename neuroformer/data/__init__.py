"""From session files to batches of tokens: clock, tokens, splits, vocabulary, chunks."""

from neuroformer.data.clock import Epoch
from neuroformer.data.module import RecordingsModule, find_sessions
from neuroformer.data.recording import Chunk, Recording
from neuroformer.data.splits import PARTS, Part, Span
from neuroformer.data.tokens import Tokens, detokenize, tokenize
from neuroformer.data.vocabulary import SessionEntry, Vocabulary
from neuroformer.settings.data import DataConfig, SplitConfig

__all__ = [
    "PARTS",
    "Chunk",
    "DataConfig",
    "Epoch",
    "Part",
    "Recording",
    "RecordingsModule",
    "SessionEntry",
    "Span",
    "SplitConfig",
    "Tokens",
    "Vocabulary",
    "detokenize",
    "find_sessions",
    "tokenize",
]
