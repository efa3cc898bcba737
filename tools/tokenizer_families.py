"""Tokenizers in the settings of known model families, trained on any text: for goldens and for checks.

Byte-level BPE: gpt2, smollm, qwen2, llama3. SentencePiece's BPE, whose merges follow from the scores of the pieces as
converters write them: llama2, mistral, phi3, gemma. Unigram: unigram (Metaspace, as T5), xlmr (white space first),
unigram_bytes (one word, byte tokens, as transformers reads a Gemma file in GGUF).

Needs the Python package tokenizers.
"""
import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
SPACE = "\u2581"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def odd_tokens():
    return [AddedToken("<mask>", lstrip=True, special=True, normalized=False),
            AddedToken("<eat>", rstrip=True, normalized=False),
            AddedToken("<both>", lstrip=True, rstrip=True, normalized=True),
            AddedToken("cat", single_word=True, normalized=False),
            AddedToken("Ångström", normalized=True),
            AddedToken("<|im_end|>x", normalized=False)]


# ---- byte-level BPE ----

def byte_level(use_regex=True, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(pattern, behavior, invert)


def train_byte_level(lines, size, **parts):
    tokenizer = Tokenizer(models.BPE(ignore_merges=parts.get("ignore_merges", False)))
    if "normalizer" in parts:
        tokenizer.normalizer = parts["normalizer"]
    tokenizer.pre_tokenizer = parts["pre_tokenizer"]
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens(parts.get("added", []))
    if "post_processor" in parts:
        tokenizer.post_processor = parts["post_processor"](tokenizer)
    return tokenizer


def with_bos(tokenizer, bos="<|endoftext|>"):
    template = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), template])


def byte_level_family(name, lines, size, added):
    sequence = pre_tokenizers.Sequence
    if name == "gpt2":
        return train_byte_level(lines, size, pre_tokenizer=byte_level(prefix=True), added=added)
    if name == "smollm":
        steps = [pre_tokenizers.Digits(individual_digits=True), byte_level()]
        return train_byte_level(lines, size, pre_tokenizer=sequence(steps))
    if name == "qwen2":
        return train_byte_level(lines, size, normalizer=normalizers.NFC(), added=added,
                                pre_tokenizer=sequence([split(Regex(QWEN2)), byte_level(use_regex=False)]))
    return train_byte_level(lines, size, ignore_merges=True, post_processor=with_bos,
                            pre_tokenizer=sequence([split(Regex(LLAMA3)), byte_level(use_regex=False)]))


# ---- SentencePiece's BPE ----

def pieces(lines, size, special):
    """Special tokens, byte tokens and pieces, in the order of their ids."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special + BYTES, limit_alphabet=size // 6,
                                  show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.get)


def merges_of(scores):
    """Every way to make a piece out of two, by its score; then the longer left part first."""
    merges = [(score, left, len(piece) - left, piece) for piece, score in scores.items() for left in range(1, len(piece))
              if piece[:left] in scores and piece[left:] in scores]
    merges.sort(key=lambda merge: merge[:3], reverse=True)
    return [(piece[:left], piece[left:]) for _, left, _, piece in merges]


def sentencepiece_family(name, lines, size):
    gemma = name == "gemma"
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] if gemma else ["<unk>", "<s>", "</s>"]
    user = ["\n", "\n\n", "\n\n\n", SPACE * 2, SPACE * 3, SPACE * 4, "<table>", "\t\t"] if gemma else []
    tokens = pieces(lines, size, special)
    tokens[len(special):len(special)] = user
    tokens = list(dict.fromkeys(tokens))
    scores = {token: 1.0 if token in user else -float(i) for i, token in enumerate(tokens)}
    vocab = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab, merges_of(scores), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = normalizers.Replace(" ", SPACE)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
        tokenizer.normalizer = spaces
        tokenizer.pre_tokenizer = split(" ", "merged_with_previous")
    else:
        steps.append(decoders.Strip(" ", 1, 0))
    if name == "mistral":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    elif not gemma:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in user])
    if name == "phi3":
        tokenizer.add_special_tokens([AddedToken(token, rstrip=True, normalized=False, special=True)
                                      for token in ("<|end|>", "<|user|>", "<|assistant|>")])
    bos = special[2 if gemma else 1]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return tokenizer


# ---- Unigram ----

def unigram_family(name, lines, size):
    special = ["<pad>", "</s>", "<unk>", "<s>"] + (BYTES if name == "unigram_bytes" else [])
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer = Tokenizer(models.Unigram())
    mark = pre_tokenizers.Metaspace()
    tokenizer.pre_tokenizer = mark
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.decoder = decoders.Metaspace()
    if name == "xlmr":
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), mark])
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 3))
    elif name == "unigram":
        tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    else:
        entries = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
        tokenizer = Tokenizer(models.Unigram(entries, 2, True))
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special[:4]])
        tokenizer.normalizer = normalizers.Replace(" ", SPACE)
        tokenizer.pre_tokenizer = split(" ", "merged_with_previous")
        tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


BYTE_LEVEL = ["gpt2", "smollm", "qwen2", "llama3"]
SENTENCEPIECE = ["llama2", "mistral", "phi3", "gemma"]
UNIGRAM = ["unigram", "xlmr", "unigram_bytes"]
ALL = BYTE_LEVEL + SENTENCEPIECE + UNIGRAM


def family(name, lines, size, added=()):
    """The tokenizer of a family, trained on lines to about `size` entries."""
    if name in BYTE_LEVEL:
        return byte_level_family(name, lines, size, list(added))
    if name in SENTENCEPIECE:
        return sentencepiece_family(name, lines, size)
    return unigram_family(name, lines, size)
