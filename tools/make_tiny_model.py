#!/usr/bin/env python3
"""Writes the tiny random models of tests/data/ and what transformers and kvpress compute with them.

    python tools/make_tiny_model.py [--out tests/data] [--only tiny-llama,tiny-qwen2]

Needs torch, transformers, kvpress, peft, tokenizers and safetensors; building and testing kvengine does not need this script,
since its output is committed. Every number is computed in float32 on the CPU, after the weights were rounded to the
dtype they are stored in. Running it again with the versions in golden.json gives the same files.

Each folder tests/data/tiny-NAME holds
  config.json generation_config.json model.safetensors    a model in Hugging Face layout, at most 150 KB
  tokenizer.json tokenizer_config.json                    tiny-qwen2 only: byte-level BPE and a chat template
  adapter_config.json adapter_model.safetensors           tiny-qwen2-lora only, in the place of a model
  golden.json                                             the manifest, below
  golden.safetensors                                      tensors that the manifest names

The folders of ARCHITECTURES hold less, to stay small: a vocabulary of 160, and cases of two presses on the layers
that see everything.

golden.json
  versions       of torch, transformers and kvpress, and the seed
  prompt_ids     list of n_prompt token ids, all different
  suffix_ids     list of n_suffix token ids, fed after the prompt (teacher forcing)
  full_logits    name of the tensor (n_prompt + n_suffix, vocab): logits at every position, nothing removed
  greedy         16 ids that follow the prompt, nothing removed; the first comes from the last prompt position
  greedy_margin  the smallest difference between the two best logits on that way
  cases          list of
    spec           kvengine's spec string
    kept           [layer][kv_head] -> positions that stay, ascending
    suffix_logits  name of the tensor (n_suffix, vocab): logits at the suffix positions from the compressed cache
    min_gap        smallest relative difference between the last kept and the first dropped score (null: no scores)
  kept_cases     list of {spec, kept}: what other presses keep, without logits; not there for ARCHITECTURES
"""
import argparse
import contextlib
import json
import math
import pathlib

import kvpress
import torch
import transformers
from safetensors.torch import save_file
from transformers import DynamicCache

SEED = 20
VOCAB = 320
N_PROMPT, N_SUFFIX, N_GREEDY = 32, 8, 16
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# What a byte-level tokenizer with this few merges is trained on: plain sentences with digits and punctuation.
TEXT = [
    "The quick brown fox jumps over the lazy dog.",
    "A cache keeps what the model has seen; the model reads it again at every step.",
    "There are 12 months, 365 days and 24 hours in a day.",
    "def add(a, b):\n    return a + b\n",
    "The pass key is 71432. Remember it. 71432 is the pass key.",
    "What is the pass key? The answer is in the text above.",
]


def models():
    """name -> (config, dtype in the file)."""
    common = dict(
        vocab_size=VOCAB, num_hidden_layers=2, num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5,
        bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )
    small = dict(common, hidden_size=32, intermediate_size=48, num_attention_heads=4)
    wide = dict(common, hidden_size=48, intermediate_size=64, num_attention_heads=6)
    llama3 = dict(
        rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=64,
    )
    theta = lambda value: dict(rope_type="default", rope_theta=value)
    t = transformers
    return {
        "tiny-llama": (t.LlamaConfig(**small, head_dim=16, tie_word_embeddings=True, rope_parameters=theta(1e4)), torch.float32),
        "tiny-qwen2": (t.Qwen2Config(**dict(wide, num_attention_heads=4), tie_word_embeddings=True, rope_parameters=theta(1e6)), torch.bfloat16),
        "tiny-qwen3": (t.Qwen3Config(**wide, head_dim=16, tie_word_embeddings=True, rope_parameters=theta(1e6)), torch.bfloat16),
        "tiny-llama3": (t.LlamaConfig(**dict(wide, intermediate_size=60), head_dim=16, tie_word_embeddings=False, rope_parameters=llama3), torch.bfloat16),
    }


ARCHITECTURES = [
    "tiny-gemma2", "tiny-gemma3", "tiny-gpt2", "tiny-gpt-neox", "tiny-gpt-neox-seq", "tiny-granite", "tiny-mistral-window",
    "tiny-olmo2", "tiny-phi3", "tiny-smollm3",
]


def architectures():
    """name -> config, one for each of ARCHITECTURES. Windows of 8 tokens, so that a prompt of 32 leaves them."""
    t = transformers
    common = dict(
        vocab_size=160, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )
    heads = dict(common, num_key_value_heads=2)
    default = lambda theta: dict(rope_type="default", rope_theta=theta)
    sliding = ["sliding_attention", "sliding_attention", "full_attention"]
    longrope = dict(
        rope_type="longrope", rope_theta=1e4, short_factor=[1.0, 1.1], long_factor=[1.0, 4.0],
        original_max_position_embeddings=64, partial_rotary_factor=0.5,
    )
    configs = [
        t.Gemma2Config(**heads, head_dim=16, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=4.0,
                       final_logit_softcapping=6.0, rope_parameters=default(1e4)),
        t.Gemma3TextConfig(**dict(heads, num_hidden_layers=3), head_dim=16, sliding_window=8, query_pre_attn_scalar=24,
                           layer_types=sliding, rope_parameters=dict(
                               sliding_attention=default(1e4),
                               full_attention=dict(rope_type="linear", rope_theta=1e6, factor=4.0))),
        t.GPT2Config(vocab_size=160, n_embd=32, n_layer=2, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=2),
        t.GPTNeoXConfig(**common, use_parallel_residual=True, rotary_pct=0.5),
        t.GPTNeoXConfig(**common, use_parallel_residual=False, rotary_pct=0.25),
        t.GraniteConfig(**heads, embedding_multiplier=3.0, attention_multiplier=0.2, residual_multiplier=0.5,
                        logits_scaling=2.0, rope_parameters=default(1e4)),
        t.MistralConfig(**heads, sliding_window=8, rope_parameters=default(1e4)),
        t.Olmo2Config(**heads, rope_parameters=default(1e4)),
        t.Phi3Config(**heads, original_max_position_embeddings=64, partial_rotary_factor=0.5, rope_parameters=longrope),
        t.SmolLM3Config(**heads, no_rope_layer_interval=2, rope_parameters=default(1e4)),
    ]
    return dict(zip(ARCHITECTURES, configs))


def presses():
    """kvengine's spec -> (press of kvpress, whether positions become contiguous)."""
    half = 0.5
    snapkv = dict(window_size=8, kernel_size=5)
    return {
        f"random(ratio={half},seed=7)": (kvpress.RandomPress(half, seed=7), False),
        f"knorm(ratio={half})": (kvpress.KnormPress(half), False),
        f"snapkv(ratio={half},window=8,kernel=5,pooling=avg)": (kvpress.SnapKVPress(half, **snapkv), False),
        f"expected_attention(ratio={half})": (kvpress.ExpectedAttentionPress(half), False),
        f"streamingllm(ratio={half},positions=original,sinks=4)": (kvpress.StreamingLLMPress(half, n_sink=4), False),
        f"streamingllm(ratio={half},positions=contiguous,sinks=4)": (
            kvpress.KeyRerotationPress(kvpress.StreamingLLMPress(half, n_sink=4)), True),
    }


def more_presses():
    """kvengine's spec -> press, of which only the positions kept are stored."""
    half = 0.5
    snapkv = lambda: kvpress.SnapKVPress(half, window_size=8, kernel_size=5)
    inner = "snapkv(window=8,kernel=5,pooling=avg)"
    return {
        f"tova(ratio={half})": kvpress.TOVAPress(half),
        f"keydiff(ratio={half})": kvpress.KeyDiffPress(half),
        f"cur(ratio={half})": kvpress.CURPress(half),
        f"pyramidkv(ratio={half},window=4,kernel=5,pooling=avg,beta=3)": kvpress.PyramidKVPress(
            half, window_size=4, kernel_size=5, beta=3),
        f"cap(ratio={half})": kvpress.CapPress(half),
        f"non_causal_attention(ratio={half},chunk=12)": kvpress.NonCausalAttnPress(half, chunk_size=12),
        f"adakv(ratio={half},inner={inner})": kvpress.AdaKVPress(snapkv()),
        f"criticalkv(ratio={half},inner={inner})": kvpress.CriticalKVPress(snapkv()),
        f"criticaladakv(ratio={half},inner={inner})": kvpress.CriticalAdaKVPress(snapkv()),
        f"chunkkv(ratio={half},inner={inner},chunk=5)": kvpress.ChunkKVPress(snapkv(), chunk_length=5),
        f"entropy_chunkkv(ratio={half},inner=knorm,chunk=6,low=2)": kvpress.EntropyGatedChunkKVPress(
            kvpress.KnormPress(half), chunk_length=6, low_entropy_chunk_length=2),
        f"chunk(ratio={half},inner=knorm,chunk=10)": kvpress.ChunkPress(kvpress.KnormPress(half), chunk_length=10),
        f"block(ratio={half},inner=keydiff,block=6)": kvpress.BlockPress(kvpress.KeyDiffPress(half), block_size=6),
    }


def kept_only(model, prompt, full):
    """The kept_cases. Some presses mask rows instead of removing them; CriticalKV fails where a config has no head_dim."""
    cases = []
    for spec, press in more_presses().items():
        if "critical" in spec and not hasattr(model.config, "head_dim"):
            continue
        cache = DynamicCache()
        with press(model):
            feed(model, prompt, cache, 0)
        kept = kept_positions(cache, full)
        for layer, heads in zip(model.model.layers, kept):
            masked = getattr(layer.self_attn, "masked_key_indices", None)
            for _, head, position in zip(*(i.tolist() for i in masked)) if masked is not None else ():
                heads[head].remove(position)
            layer.self_attn.masked_key_indices = None
        cases.append(dict(spec=spec, kept=kept))
    return cases


def fill_weights(model, generator):
    """Attention peaked but not one-hot, logits with clear margins."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name:
            weight.copy_(1.0 + 0.1 * noise)
        elif weight.dim() == 1:
            weight.copy_(0.3 * noise)
        elif "embed_tokens" in name or "lm_head" in name:
            weight.copy_(0.4 * noise)
        else:
            weight.copy_((1.6 if "q_proj" in name or "k_proj" in name else 1.3) / math.sqrt(weight.shape[1]) * noise)


def feed(model, ids, cache, first_position):
    positions = torch.arange(first_position, first_position + len(ids))[None]
    return model(input_ids=torch.tensor([ids]), past_key_values=cache, position_ids=positions, use_cache=True).logits[0]


def kept_positions(compressed, full):
    """[layer][head] -> positions, found by comparing values, which no press here changes."""
    return [kept_in_layer(small, large) for small, large in zip(compressed.layers, full.layers)]


def kept_in_layer(small, large):
    heads = []
    for rows, all_rows in zip(small.values[0], large.values[0]):
        same = (rows[:, None, :] == all_rows[None, :, :]).all(-1)  # (kept, all)
        assert (same.sum(1) == 1).all(), "rows of the cache cannot be told apart"
        heads.append(sorted(same.nonzero()[:, 1].tolist()))
    return heads


class GapWatcher:
    """Relative distance between the last kept and the first dropped score of every call of a press's score()."""

    def __init__(self, press):
        self.gap = None
        scorer = press.press if hasattr(press, "press") else press
        original = scorer.score

        def score(module, hidden_states, keys, *rest):
            values = original(module, hidden_states, keys, *rest)
            n_kept = max(1, int(keys.shape[2] * (1.0 - scorer.compression_ratio)))
            order = values.double().sort(dim=-1, descending=True).values
            last, first = order[..., n_kept - 1], order[..., n_kept]
            gap = ((last - first) / torch.maximum(last.abs(), first.abs()).clamp(min=1e-30)).min().item()
            self.gap = gap if self.gap is None else min(self.gap, gap)
            return values

        if not isinstance(scorer, kvpress.StreamingLLMPress):  # its scores are 0 and 1
            scorer.score = score


def greedy(model, logits, cache, position):
    ids, margins = [], []
    for step in range(N_GREEDY):
        best = logits.topk(2)
        ids.append(best.indices[0].item())
        margins.append((best.values[0] - best.values[1]).item())
        logits = feed(model, ids[-1:], cache, position + step)[-1]
    return ids, min(margins)


def write_golden(model, folder, generator):
    ids = (torch.randperm(VOCAB - len(SPECIAL), generator=generator)[: N_PROMPT + N_SUFFIX] + len(SPECIAL)).tolist()
    prompt, suffix = ids[:N_PROMPT], ids[N_PROMPT:]
    tensors = {"full_logits": feed(model, ids, DynamicCache(), 0)}
    full = DynamicCache()
    last = feed(model, prompt, full, 0)[-1]
    cases = []
    for number, (spec, (press, contiguous)) in enumerate(presses().items()):
        watcher = GapWatcher(press)
        cache = DynamicCache()
        with press(model):
            feed(model, prompt, cache, 0)
        kept = kept_positions(cache, full)
        name = f"case{number}.suffix_logits"
        tensors[name] = feed(model, suffix, cache, len(kept[0][0]) if contiguous else N_PROMPT)
        cases.append(dict(spec=spec, kept=kept, suffix_logits=name, min_gap=watcher.gap))
    kept = kept_only(model, prompt, full)
    follow, margin = greedy(model, last, full, N_PROMPT)
    save_file({k: v.contiguous() for k, v in tensors.items()}, str(folder / "golden.safetensors"))
    manifest = dict(
        versions=versions(), prompt_ids=prompt, suffix_ids=suffix, full_logits="full_logits", greedy=follow,
        greedy_margin=margin, cases=cases, kept_cases=kept,
    )
    (folder / "golden.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")
    return margin, [c["min_gap"] for c in cases]


def versions():
    from importlib.metadata import version

    return dict(torch=torch.__version__, transformers=transformers.__version__, kvpress=version("kvpress"), seed=SEED)


def fill_architecture(model, generator):
    """Like fill_weights, for every spelling of norms and embeddings."""
    gemma = model.config.model_type.startswith("gemma")
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() == 1 and ("norm" in name or ".ln_" in name):
            weight.copy_((0.0 if gemma or name.endswith("bias") else 1.0) + 0.1 * noise)
        elif weight.dim() == 1:
            weight.copy_(0.2 * noise)
        elif any(part in name for part in ("embed", "wte", "wpe", "lm_head")):
            weight.copy_((0.4 / math.sqrt(weight.shape[1]) if gemma else 0.4) * noise)
        else:
            n_in = weight.shape[0] if model.config.model_type == "gpt2" else weight.shape[1]
            weight.copy_(1.5 / math.sqrt(n_in) * noise)


def attention_modules(model):
    """(layer, its attention module, whether it slides)."""
    base = model.base_model
    layers = base.h if hasattr(base, "h") else base.layers
    for number, layer in enumerate(layers):
        module = next(getattr(layer, name) for name in ("self_attn", "attention", "attn") if hasattr(layer, name))
        kinds = getattr(model.config, "layer_types", None)
        slides = kinds[number] == "sliding_attention" if kinds else bool(getattr(model.config, "sliding_window", None))
        yield number, module, slides


@contextlib.contextmanager
def pressed(model, press):
    """kvpress's compress() after the attention of every layer that sees everything; no class of model is refused."""
    hooks = []

    def hook(module, args, kwargs, output):
        cache = kwargs.get("past_key_values", kwargs.get("layer_past"))
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        layer = cache.layers[module.layer_idx]
        layer.keys, layer.values = press.compress(module, hidden, layer.keys, layer.values, None, kwargs)
        return output

    for _, module, slides in attention_modules(model):
        if not hasattr(module, "head_dim"):
            module.head_dim = model.config.hidden_size // model.config.num_attention_heads
        if not slides:
            hooks.append(module.register_forward_hook(hook, with_kwargs=True))
    yield
    for handle in hooks:
        handle.remove()


def new_cache(model):
    """Knows which layers slide."""
    return DynamicCache(config=model.config)


def architecture_cases(model, prompt, suffix, full, tensors):
    """Sliding layers hold what the next token sees; the suffix is fed token by token, as their cache wants it."""
    if all(slides for _, _, slides in attention_modules(model)):
        return []
    cases = []
    for number, (spec, press) in enumerate({
        "knorm(ratio=0.5)": kvpress.KnormPress(0.5),
        "streamingllm(ratio=0.25,positions=original,sinks=4)": kvpress.StreamingLLMPress(0.25, n_sink=4),
    }.items()):
        cache = new_cache(model)
        with pressed(model, press):
            feed(model, prompt, cache, 0)
        kept = []
        for (_, _, slides), small, large in zip(attention_modules(model), cache.layers, full.layers):
            if slides:
                held = small.keys.shape[2]
                kept.append([list(range(len(prompt) - held, len(prompt)))] * small.keys.shape[1])
            else:
                kept.append(kept_in_layer(small, large))
        name = f"case{number}.suffix_logits"
        rows = [feed(model, [token], cache, len(prompt) + i) for i, token in enumerate(suffix)]
        tensors[name] = torch.cat(rows)
        cases.append(dict(spec=spec, kept=kept, suffix_logits=name, min_gap=None))
    return cases


def write_architecture(name, config, index, folder):
    generator = torch.Generator().manual_seed(SEED * 100 + 50 + index)
    # eager: the only form of attention that caps scores.
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    fill_architecture(model, generator)
    model.tie_weights()
    model = model.to(torch.bfloat16)
    model.config.dtype = torch.bfloat16
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    if isinstance(config, transformers.GPTNeoXConfig):  # else transformers reads its default share back
        saved = json.loads((folder / "config.json").read_text())
        saved["rotary_pct"] = saved["rope_parameters"]["partial_rotary_factor"]
        (folder / "config.json").write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, attn_implementation="eager").eval()
    vocab = model.config.vocab_size
    ids = (torch.randperm(vocab - len(SPECIAL), generator=generator)[: N_PROMPT + N_SUFFIX] + len(SPECIAL)).tolist()
    prompt, suffix = ids[:N_PROMPT], ids[N_PROMPT:]
    tensors = {"full_logits": feed(model, ids, new_cache(model), 0)}
    full = new_cache(model)
    last = feed(model, prompt, full, 0)[-1]
    cases = architecture_cases(model, prompt, suffix, full, tensors)
    follow, margin = greedy(model, last, full, N_PROMPT)
    save_file({k: v.contiguous() for k, v in tensors.items()}, str(folder / "golden.safetensors"))
    manifest = dict(
        versions=versions(), prompt_ids=prompt, suffix_ids=suffix, full_logits="full_logits", greedy=follow,
        greedy_margin=margin, cases=cases,
    )
    (folder / "golden.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size / 1000:.0f} KB, greedy margin {margin:.3g}")


def write_tokenizer(folder):
    """Byte-level BPE with Qwen2's pre-tokenizer; ids: the special tokens, bytes, merges."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models as bpe_models, normalizers, pre_tokenizers, trainers

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(bpe_models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=[AddedToken(token, special=True) for token in SPECIAL], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=1,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    assert tokenizer.get_vocab_size() == VOCAB, tokenizer.get_vocab_size()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = dict(
        tokenizer_class="Qwen2Tokenizer", bos_token=None, eos_token="<|im_end|>", pad_token="<|endoftext|>", unk_token=None,
        add_prefix_space=False, clean_up_tokenization_spaces=False, chat_template=CHAT_TEMPLATE, model_max_length=512,
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def write_model(name, config, dtype, index, folder):
    generator = torch.Generator().manual_seed(SEED * 100 + index)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    fill_weights(model, generator)
    model.tie_weights()
    model = model.to(dtype)
    model.config.dtype = dtype
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    # Read back rather than widened: .to(bfloat16) has rounded RoPE's frequencies too, which no file stores.
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, attn_implementation="sdpa").eval()
    margin, gaps = write_golden(model, folder, generator)
    if name == "tiny-qwen2":
        write_tokenizer(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size / 1000:.0f} KB, greedy margin {margin:.3g}, score gaps {gaps}")


def write_adapter(name, base, folder):
    """A random LoRA adapter by PEFT on a tiny model that is there already, and what the merged model computes."""
    from peft import LoraConfig, get_peft_model

    generator = torch.Generator().manual_seed(SEED * 1000)
    load = lambda: transformers.AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32, attn_implementation="sdpa").eval()
    config = LoraConfig(r=3, lora_alpha=5, target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])
    tuned = get_peft_model(load(), config)
    for parameter_name, weight in tuned.named_parameters():
        if "lora_" in parameter_name:
            weight.copy_(0.3 / math.sqrt(weight.shape[1]) * torch.randn(weight.shape, generator=generator))
    folder.mkdir(parents=True, exist_ok=True)
    tuned.peft_config["default"].base_model_name_or_path = f"../{base.name}"
    tuned.save_pretrained(str(folder))
    (folder / "README.md").unlink()  # PEFT's form of a model card, all blanks
    margin, gaps = write_golden(tuned.merge_and_unload(), folder, generator)
    print(f"{name}: greedy margin {margin:.3g}, score gaps {gaps}")


def main():
    parser = argparse.ArgumentParser(description="write the tiny models of the tests")
    parser.add_argument("--out", default=str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"))
    parser.add_argument("--only", default="", help="comma list of names")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    out = pathlib.Path(arguments.out)
    wanted = [name for name in arguments.only.split(",") if name]
    for index, (name, (config, dtype)) in enumerate(models().items()):
        if not wanted or name in wanted:
            write_model(name, config, dtype, index, out / name)
    for index, (name, config) in enumerate(architectures().items()):
        if not wanted or name in wanted:
            write_architecture(name, config, index, out / name)
    if not wanted or "tiny-qwen2-lora" in wanted:
        write_adapter("tiny-qwen2-lora", out / "tiny-qwen2", out / "tiny-qwen2-lora")


if __name__ == "__main__":
    main()
