"""kvengine: transformer language models on the CPU, with a KV cache that is really compressed.

    import kvengine

    model = kvengine.Model("models/canary")
    full, half = model.prefill("Once upon a time", ["none", "snapkv(ratio=0.5)+int4"])
    print(half.bytes / full.bytes, half.kept[0][0])
    print(model.generate(half, max_new_tokens=32).text)

Errors: ValueError for what a call gets wrong (a spec, a token id, an option), DataError for a model or
file that is missing or malformed. One computation runs at a time in a process, on all its threads, without
the GIL.
"""

from kvengine._core import Cache, DataError, known_models, set_threads, threads
from kvengine.compressors import canonical, compressors
from kvengine.model import Generation, Model, Score, Tokenizer

__all__ = [
    "Cache",
    "DataError",
    "Generation",
    "Model",
    "Score",
    "Tokenizer",
    "canonical",
    "compressors",
    "known_models",
    "set_threads",
    "threads",
]
