"""A loaded model: text and token ids in, logits, scores and answers out, from caches of any compressor."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union, cast, overload

import numpy as np

from kvengine import _core
from kvengine._core import Cache

Prompt = Union[str, Sequence[int], np.ndarray]  # text is encoded with its special tokens


class Score(NamedTuple):
    """Tokens of a text, each scored given all those before it."""

    log_probs: np.ndarray  # float32 (tokens), nats
    greedy: np.ndarray  # bool (tokens): it was the most likely one

    @property
    def total(self) -> float:
        """Log-likelihood of all tokens together, summed in float64."""
        return float(np.sum(self.log_probs, dtype=np.float64))


class Generation(NamedTuple):
    """An answer."""

    ids: List[int]  # without the end-of-text id
    text: str  # cut before the stop text that ended it
    stop_reason: str  # "eos", "stop" or "length"


class Tokenizer:
    """A model's tokenizer; DataError where the model has none."""

    def __init__(self, core: _core.Model):
        self._core = core

    def encode(self, text: str, add_special_tokens: bool = True) -> List[int]:
        """Token ids. Special tokens written in the text are always recognised."""
        return self._core.encode(text, add_special_tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Text; bytes that are not UTF-8 become U+FFFD."""
        return self._core.decode(ids, skip_special_tokens)

    def token(self, id: int) -> str:
        """A token as the vocabulary spells it; "" for ids without one."""
        return self._core.token(id)

    def token_id(self, token: str) -> Optional[int]:
        return self._core.token_id(token)

    @property
    def bos_token_id(self) -> Optional[int]:
        return self._core.bos_token_id

    @property
    def eos_token_id(self) -> Optional[int]:
        return self._core.eos_token_id

    @property
    def hash(self) -> str:
        """xxh3-128 of everything that can change an id."""
        return self._core.tokenizer_hash


class Model:
    """A model, loaded from a Hugging Face folder, a .gguf file, a LoRA adapter's folder, a name in the model
    folder (KVENGINE_MODELS) or a hub id that lies in the local cache. Nothing is downloaded.

    weights: the type that products read: "stored", "f32", "bf16", "f16", "int8" or "codes".
    kv_dtype: how rows without a codec are stored: "f32" (here the default, as for `kvengine probe`), "f16"
        or "bf16".
    prefill_chunk: prompt tokens in one pass; 0: chosen. No result depends on it.
    """

    def __init__(
        self,
        location: Union[str, "os.PathLike[str]"],
        *,
        weights: str = "stored",
        kv_dtype: str = "f32",
        prefill_chunk: int = 0,
    ):
        self._core = _core.Model(os.fspath(location), weights, kv_dtype, prefill_chunk)
        self._info = self._core.info
        self.tokenizer = Tokenizer(self._core)

    def __repr__(self) -> str:
        info = self._info
        return f"<kvengine.Model {info['location']}: {info['architecture']}, {info['parameters']} parameters>"

    @property
    def info(self) -> Dict[str, Any]:
        """Shapes, special ids, dtypes, bytes and the hash of the weights."""
        return dict(self._info)

    @property
    def vocab(self) -> int:
        """Width of a row of logits."""
        return self._info["vocab"]

    @property
    def tokens_computed(self) -> int:
        """Rows that ran through the layers so far: shows what was shared."""
        return self._core.tokens_computed

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The model's chat template rendered, as transformers' apply_chat_template(tokenize=False). Encode the
        result with add_special_tokens=False. variables: further names of the template (tools, ...)."""
        pairs = [(message["role"], message["content"]) for message in messages]
        return self._core.chat(pairs, add_generation_prompt, json.dumps(variables))

    def logits(self, prompt: Prompt) -> np.ndarray:
        """Logits float32 (tokens, vocab) of one pass over a prompt with the full cache."""
        return cast(np.ndarray, self.prefill(prompt, prompt_logits=True).prompt_logits)

    @overload
    def prefill(
        self,
        prompt: Prompt,
        compressor: str = ...,
        *,
        prompt_logits: bool = ...,
        prompt_scores: bool = ...,
        n_question: int = ...,
    ) -> Cache: ...

    @overload
    def prefill(
        self,
        prompt: Prompt,
        compressor: Union[List[str], Tuple[str, ...]],
        *,
        prompt_logits: bool = ...,
        prompt_scores: bool = ...,
        n_question: int = ...,
    ) -> List[Cache]: ...

    def prefill(
        self,
        prompt: Prompt,
        compressor: Union[str, Sequence[str]] = "none",
        *,
        prompt_logits: bool = False,
        prompt_scores: bool = False,
        n_question: int = 0,
    ) -> Union[Cache, List[Cache]]:
        """Prefills a prompt and compresses its cache: one Cache for a spec, a list for a list of specs. All specs
        that leave the prompt's own attention exact share one prefill.

        prompt_logits: keep the logits of every prompt token (Cache.prompt_logits).
        prompt_scores: score the prompt's own tokens from its prefill (Cache.prompt_scores).
        n_question: the prompt's last tokens are the question, for methods that must know it (finch).
        """
        specs = [compressor] if isinstance(compressor, str) else list(compressor)
        caches = self._core.prefill(self._ids(prompt), specs, prompt_logits, prompt_scores, n_question)
        return caches[0] if isinstance(compressor, str) else caches

    @overload
    def feed(self, caches: Cache, ids: Prompt) -> np.ndarray: ...

    @overload
    def feed(self, caches: Sequence[Cache], ids: Sequence[Prompt]) -> List[np.ndarray]: ...

    def feed(self, caches: Union[Cache, Sequence[Cache]], ids: Any) -> Union[np.ndarray, List[np.ndarray]]:
        """Appends tokens and gives their logits (tokens, vocab). With a list of caches: a list of continuations,
        computed together; the numbers are the same bits as one by one."""
        if isinstance(caches, Cache):
            return self._core.feed([caches], [self._ids(ids, False)])[0]
        return self._core.feed(list(caches), [self._ids(i, False) for i in ids])

    @overload
    def score(self, context: Union[Prompt, Cache], continuation: Prompt, compressor: str = ...) -> Score: ...

    @overload
    def score(self, context: Sequence[Cache], continuation: Sequence[Prompt]) -> List[Score]: ...

    def score(
        self,
        context: Union[Prompt, Cache, Sequence[Cache]],
        continuation: Any,
        compressor: str = "none",
    ) -> Union[Score, List[Score]]:
        """Log-likelihood of a continuation, token by token, from the compressed cache of a context.

        context: text or ids, then compressed with `compressor`; or a Cache, which stays as it is; or a list of
        caches with a list of continuations, scored together (the same cache may occur often). The first token is
        scored by the context's own last logits, which compression does not change. A continuation of text is
        encoded without special tokens.
        """
        if isinstance(context, Cache):
            return Score(*self._core.score([context], [self._ids(continuation, False)])[0])
        if isinstance(context, (list, tuple)) and context and isinstance(context[0], Cache):
            scores = self._core.score(list(context), [self._ids(c, False) for c in continuation])
            return [Score(*s) for s in scores]
        return self.score(self.prefill(cast(Prompt, context), compressor), continuation)

    def score_rolling(self, text: Prompt, compressor: str = "none", *, n_context: int) -> Score:
        """Log-likelihood of a text's tokens but the first. The first n_context tokens are the context: they are
        scored by their own prefill, which is exact; then their cache is compressed, and all later tokens are scored
        from it."""
        ids = self._ids(text)
        if not 1 <= n_context <= len(ids):
            raise ValueError(f"n_context: expected 1 to {len(ids)} (the text's tokens), found {n_context}")
        cache = self.prefill(ids[:n_context], compressor, prompt_scores=True)
        parts = [Score(*cache.prompt_scores), self.score(cache, ids[n_context:])]
        return Score(*(np.concatenate([getattr(p, name) for p in parts]) for name in Score._fields))

    @overload
    def generate(
        self,
        prompt: Union[Prompt, Cache],
        compressor: str = ...,
        *,
        max_new_tokens: int = ...,
        until: Union[str, Sequence[str]] = ...,
        ignore_eos: bool = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompt: Sequence[Cache],
        *,
        max_new_tokens: int = ...,
        until: Union[str, Sequence[str]] = ...,
        ignore_eos: bool = ...,
        temperature: float = ...,
        top_p: float = ...,
        seed: int = ...,
    ) -> List[Generation]: ...

    def generate(
        self,
        prompt: Union[Prompt, Cache, Sequence[Cache]],
        compressor: str = "none",
        *,
        max_new_tokens: int = 128,
        until: Union[str, Sequence[str]] = (),
        ignore_eos: bool = False,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Union[Generation, List[Generation]]:
        """An answer to a prompt from its compressed cache; greedy by default.

        prompt: text or ids; or a Cache, which grows by the answer but its last token; or a list of caches, which are
        decoded together and give a list.
        until: a text, or several, before which an answer ends.
        """
        texts = [until] if isinstance(until, str) else list(until)
        options = (max_new_tokens, texts, ignore_eos, temperature, top_p, seed)
        if isinstance(prompt, Cache):
            return Generation(*self._core.generate([prompt], *options)[0])
        if isinstance(prompt, (list, tuple)) and prompt and isinstance(prompt[0], Cache):
            return [Generation(*answer) for answer in self._core.generate(list(prompt), *options)]
        return Generation(*self._core.generate([self.prefill(cast(Prompt, prompt), compressor)], *options)[0])

    def _ids(self, prompt: Prompt, add_special_tokens: bool = True) -> List[int]:
        if isinstance(prompt, str):
            return self.tokenizer.encode(prompt, add_special_tokens)
        return [int(id) for id in prompt]
