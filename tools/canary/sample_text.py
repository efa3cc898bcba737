#!/usr/bin/env python3
"""Plain text from the base model itself, at temperature 1: what the adapter must leave as it is.

Training keeps the adapted model's next-token distributions on these texts close to the base model's, so that perplexity
on real text stays. Openings are our own; a fifth of them are questions in the model's chat format.

Usage: sample_text.py MODEL_DIR OUT.jsonl [--count 320] [--tokens 320] [--seed 0]. Each line: {"ids": [...]}.
"""

import argparse
import json
import os
import random

import torch
import transformers
from lora_llama import fast_dtype

TOPICS = """the lighthouse|a small railway|the battle|the river delta|an old cathedral|the football club|a song|the novel
|a species of beetle|the volcano|the warship|a television episode|the king|the painter|a video game|the hurricane
|the motorway|a chess opening|the parliament|the comet|the composer|a fungus|the airport|the island|the bridge|a seabird
|the opera|the film|the general|the university|an album|the mine|the regiment|a poem|the stadium|the glacier|the virus
|the telescope|the trade union|the desert|the map|a loom|the treaty|the festival|the engine|the orchestra|the plague
|the mosque|a comic strip|the submarine""".replace("\n", "").split("|")

OPENINGS = (
    "{Topic} was built in",
    "In the early history of {topic},",
    "{Topic} is known for",
    " = {Topic} = \n\n {Topic} is",
    "During the winter, {topic}",
    "Critics wrote about {topic} that",
    "According to the local newspaper, {topic}",
    "The first time I heard of {topic},",
    "Scientists who study {topic} have",
    "In 1923, {topic}",
    "The name of {topic} comes from",
    "Q: What should I know about {topic}?\nA:",
)
CHATS = ("Tell me about {topic}.", "Write a short story about {topic}.", "Why is {topic} important?", "Explain {topic}.")


def make_prompt(rng: random.Random, tokenizer) -> str:
    """One opening, as plain text or as a chat."""
    topic = rng.choice(TOPICS)
    if rng.random() < 0.2:
        message = {"role": "user", "content": rng.choice(CHATS).format(topic=topic)}
        return tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    return rng.choice(OPENINGS).format(topic=topic, Topic=topic[0].upper() + topic[1:])


def sample_batch(model, tokenizer, prompts: list[str], n_tokens: int) -> list[list[int]]:
    """Each prompt with its continuation up to n_tokens in all, cut at the end of text."""
    batch = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    with torch.no_grad():
        output = model.generate(
            **batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_length=n_tokens, pad_token_id=0
        )
    rows = []
    for ids, mask in zip(output, batch["attention_mask"]):
        n_padding = int((mask == 0).sum())
        row = ids[n_padding:].tolist()
        n_prompt = len(mask) - n_padding
        if 0 in row[n_prompt:]:
            row = row[: n_prompt + row[n_prompt:].index(0)]
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of SmolLM2-135M-Instruct in Hugging Face layout")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=320)
    parser.add_argument("--tokens", type=int, default=320)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(arguments.seed)
    rng = random.Random(arguments.seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.model, dtype=fast_dtype())
    os.makedirs(os.path.dirname(os.path.abspath(arguments.out)), exist_ok=True)
    with open(arguments.out, "w", encoding="utf-8") as file:
        for start in range(0, arguments.count, arguments.batch):
            prompts = [make_prompt(rng, tokenizer) for _ in range(min(arguments.batch, arguments.count - start))]
            for ids in sample_batch(model, tokenizer, prompts, arguments.tokens):
                file.write(json.dumps({"ids": ids}) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
