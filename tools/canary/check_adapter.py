#!/usr/bin/env python3
"""Compares kvengine with transformers and peft on an adapter: logits and greedy text of evaluation prompts.

Usage: check_adapter.py BASE_DIR ADAPTER_DIR [--kvengine build/kvengine] [--count 4]. BASE_DIR: the base model in Hugging
Face layout, float32, the very weights that kvengine finds under the adapter's base name. Fails where a logit differs by
more than --tolerance or a greedy token differs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import peft
import safetensors.torch
import torch
import transformers
from document import Document, Layout, Question
from packing import Encoder

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DATA = os.path.join(ROOT, "tasks", "data", "canary")
N_NEW = 48


def read_lines(name: str) -> list[dict]:
    """A JSONL file of the evaluation sets."""
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def make_prompts(encoder: Encoder, count: int) -> list[list[int]]:
    """The first prompts of the tool calls (one of each catalogue) and of the problems."""
    documents = [
        Document("tool_call", Layout.CHAT, row["context"], (Question(row["question"], ""),))
        for row in read_lines("tool_calls.jsonl")[: 4 * count : 4]
    ]
    documents += [
        Document("code_exec", Layout.WHOLE, "", (Question(row["prompt"], ""),))
        for row in read_lines("problems.jsonl")[:count]
    ]
    trees = [encoder.tree(document) for document in documents]
    return [tree.context + tree.branches[0].question for tree in trees]


def probe(kvengine: str, adapter: str, prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    """What kvengine computes; tensors r0.prompt_logits, r0.generated, r1...."""
    requests = [{"model": os.path.abspath(adapter), "prompt_ids": ids, "generate": N_NEW} for ids in prompts]
    with tempfile.TemporaryDirectory() as folder:
        request, output = os.path.join(folder, "request.json"), os.path.join(folder, "out.safetensors")
        with open(request, "w", encoding="utf-8") as file:
            json.dump(requests, file)
        subprocess.run([kvengine, "probe", request, output], check=True)
        return safetensors.torch.load_file(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("adapter")
    parser.add_argument("--kvengine", default=os.path.join(ROOT, "build", "kvengine"))
    parser.add_argument("--count", type=int, default=4, help="prompts of each of two tasks")
    parser.add_argument("--tolerance", type=float, default=2e-3)
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.base)
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.base, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, arguments.adapter).eval()
    model.generation_config.eos_token_id = None  # probe goes on after the end of text as well
    prompts = make_prompts(Encoder(tokenizer), arguments.count)
    found = probe(arguments.kvengine, arguments.adapter, prompts)
    worst, n_different = 0.0, 0
    for index, ids in enumerate(prompts):
        batch = torch.tensor([ids])
        with torch.no_grad():
            logits = model(batch).logits[0]
            output = model.generate(input_ids=batch, max_new_tokens=N_NEW, do_sample=False, pad_token_id=0)
        worst = max(worst, float((logits - found[f"r{index}.prompt_logits"]).abs().max()))
        n_different += output[0, len(ids) :].tolist() != found[f"r{index}.generated"].tolist()
    print(f"{len(prompts)} prompts: largest difference of a logit {worst:.2g}, {n_different} greedy texts differ")
    return 0 if worst <= arguments.tolerance and n_different == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
