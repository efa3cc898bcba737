#!/usr/bin/env python3
"""Trains smollm2-tools, a LoRA adapter on SmolLM2-135M-Instruct that calls tools, follows specifications, finds keys.

Each step takes fresh generated documents (loss: cross entropy of the answers, and with --look how far heads look from
what they should see) and in some of the steps one plain text of the base model's own (loss: KL(base || adapted) of
every next-token distribution), which keeps perplexity. Documents grow from a level of 0 to 1 over --grow tokens; the
rate is constant and falls linearly over the last --decay of --tokens.

Usage: train_adapter.py MODEL_DIR [--work results/smollm2-tools] [--out models/smollm2-tools] [--tokens 375000]
Interrupted training goes on from its last checkpoint in --work, step by step as if it had not stopped; --tokens and the
other settings may differ then. `train_smollm2_tools.sh` has the settings of the adapter that ships. The plain texts,
WORK/base_text.jsonl, are sample_text.py's.
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import random
import sys
import time

import everyday
import programs
import retrieval
import tool_calls
import torch
import torch.nn.functional as F
import transformers
from lora_llama import STEPS, LoraLlama, Watch, save_adapter
from packing import Encoder, Pack, PackBuilder
from words import Vocabulary

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
GENERATORS = {
    "tool_call": tool_calls.make_document,
    "code_exec": programs.make_document,
    "multikey": retrieval.make_multikey,
    "passkey": retrieval.make_passkey,
    "strings": tool_calls.make_strings_document,
    "everyday": everyday.make_document,
}
LOG_EVERY = 10  # steps
LOG_COLUMNS = ["step", "tokens", "seconds", "rate", "level", "kl", *(f"look_{step}" for step in STEPS)]
LOG_COLUMNS += [f"{what}_{kind}" for kind in GENERATORS for what in ("loss", "exact")]


@dataclasses.dataclass
class Progress:
    """How far training has come; with the seed it decides every later step."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """Model, optimiser, data and files of one training."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.encoder = Encoder(transformers.AutoTokenizer.from_pretrained(arguments.model))
        if arguments.spell > 0 or arguments.vary > 0:
            Vocabulary.further = self.encoder.words()
            Vocabulary.spelled, Vocabulary.varied = arguments.spell, arguments.vary
        self.model = LoraLlama(arguments.model, arguments.rank, 2 * arguments.rank, arguments.seed)
        self.optimizer = torch.optim.AdamW(self.model.lora.values(), lr=arguments.rate, weight_decay=0.0)
        self.progress = Progress()
        self.recent: dict[str, list[float]] = collections.defaultdict(list)
        self.state_path = os.path.join(arguments.work, "state.pt")
        self.log_path = os.path.join(arguments.work, "log.csv")
        with open(arguments.texts, encoding="utf-8") as file:
            self.texts = [json.loads(line)["ids"] for line in file]

    def level(self) -> float:
        """Of the longest documents at this point."""
        return min(1.0, self.progress.tokens / max(self.arguments.grow, 1))

    def rate(self) -> float:
        """The learning rate at this point."""
        warm = min(1.0, (self.progress.step + 1) / 20)
        left = 1 - self.progress.tokens / self.arguments.tokens
        return self.arguments.rate * warm * min(1.0, max(left / self.arguments.decay, 0.02))

    def make_packs(self) -> tuple[Pack, Pack | None]:
        """The step's documents, and its text if it has one."""
        rng = random.Random(f"{self.arguments.seed} {self.progress.step}")
        builder = PackBuilder()
        while len(builder.ids) < self.arguments.pack:
            kind = rng.choices(list(GENERATORS), self.arguments.mix)[0]
            level = self.level() * rng.uniform(self.arguments.shortest, 1.0)
            builder.add(self.encoder.tree(GENERATORS[kind](rng, level)))
        if rng.random() >= self.arguments.text_share:
            return builder.pack(), None
        text = PackBuilder()
        text.add_text(rng.choice(self.texts))
        return builder.pack(), text.pack()

    def answer_loss(self, pack: Pack) -> torch.Tensor:
        """Mean cross entropy of the answers' tokens, nats; and --look times how far heads look away."""
        watch = Watch() if self.arguments.look > 0 else None
        logits = self.model.logits(self.model.hidden(pack, watch=watch)[pack.predicting])
        losses = F.cross_entropy(logits, pack.targets, reduction="none")
        with torch.no_grad():
            wrong = torch.zeros(len(pack.kinds)).index_add_(0, pack.answers, (logits.argmax(1) != pack.targets).float())
            sums = torch.zeros(len(pack.kinds)).index_add_(0, pack.answers, losses)
            sizes = torch.bincount(pack.answers, minlength=len(pack.kinds))
            for kind, total, size, errors in zip(pack.kinds, sums, sizes, wrong):
                self.recent[f"loss_{kind}"].append(float(total / size))
                self.recent[f"exact_{kind}"].append(float(errors == 0))
        loss = losses.mean()
        for step, away in (watch.losses() if watch else {}).items():
            self.recent[f"look_{step}"].append(away.item())
            loss = loss + self.arguments.look * away
        return loss

    def text_loss(self, pack: Pack) -> torch.Tensor:
        """Mean KL(base || adapted) over a text's tokens, nats."""
        with torch.no_grad():
            wanted = self.model.logits(self.model.hidden(pack, adapted=False)[pack.predicting]).log_softmax(-1)
        found = self.model.logits(self.model.hidden(pack)[pack.predicting]).log_softmax(-1)
        loss = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
        self.recent["kl"].append(loss.item())
        return loss

    def step(self) -> None:
        """One update."""
        start = time.monotonic()
        pack, text = self.make_packs()
        self.answer_loss(pack).backward()
        if text is not None:
            (self.arguments.text_weight * self.text_loss(text)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.lora.values(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.progress.tokens += len(pack.ids) + (len(text.ids) if text else 0)
        self.progress.seconds += time.monotonic() - start

    def log(self) -> None:
        """Appends the means since the last line."""
        means = {name: f"{sum(values) / len(values):.4f}" for name, values in self.recent.items()}
        row = {**means, "step": self.progress.step, "tokens": self.progress.tokens}
        row |= {"seconds": f"{self.progress.seconds:.0f}", "rate": f"{self.rate():.2e}", "level": f"{self.level():.2f}"}
        is_new = not os.path.exists(self.log_path)
        with open(self.log_path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS, lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.recent.clear()

    def save(self) -> None:
        """Writes the state from which training goes on, and the adapter as it is."""
        state = {
            "lora": self.model.lora,
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
            "recent": dict(self.recent),
        }
        torch.save(state, self.state_path + ".new")
        os.replace(self.state_path + ".new", self.state_path)
        save_adapter(self.model, os.path.join(self.arguments.work, "adapter"), self.arguments.base_name)

    def resume(self) -> None:
        """Reads the last checkpoint or, without one, the adapter to start from, if any; then freezes the lower layers."""
        if os.path.exists(self.state_path):
            self._read_checkpoint()
        elif self.arguments.start:
            self.model.load_adapter(self.arguments.start)
        self.model.freeze_below(self.arguments.train_from)

    def _read_checkpoint(self) -> None:
        """State and log as they were; log lines after the state are dropped."""
        state = torch.load(self.state_path)
        for name, tensor in self.model.lora.items():
            tensor.data.copy_(state["lora"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])
        self.recent.update(state["recent"])
        if os.path.exists(self.log_path):
            with open(self.log_path, encoding="utf-8") as file:
                lines = file.readlines()
            kept = [line for line in lines[1:] if int(line.split(",")[0]) <= self.progress.step]
            with open(self.log_path, "w", encoding="utf-8") as file:
                file.writelines(lines[:1] + kept)

    def run(self) -> None:
        """Trains to the end."""
        saved = time.monotonic()
        end = min(self.arguments.tokens, self.arguments.until or self.arguments.tokens)
        while self.progress.tokens < end:
            self.step()
            if self.progress.step % LOG_EVERY == 0:
                self.log()
            if time.monotonic() - saved > self.arguments.save_every:
                self.save()
                saved = time.monotonic()
        self.save()
        if end == self.arguments.tokens:
            save_adapter(self.model, self.arguments.out, self.arguments.base_name)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of SmolLM2-135M-Instruct in Hugging Face layout")
    parser.add_argument("--work", default=os.path.join(ROOT, "results", "smollm2-tools"), help="texts, state and log")
    parser.add_argument("--out", default=os.path.join(ROOT, "models", "smollm2-tools"), help="the finished adapter")
    parser.add_argument("--base-name", default="smollm2-135m-instruct", help="the base model's name for kvengine")
    parser.add_argument("--from", dest="start", help="folder of an adapter to start from; else from the identity")
    parser.add_argument("--tokens", type=int, default=375_000, help="in all; the rate falls towards this number")
    parser.add_argument("--until", type=int, help="stop here with the state saved; another call goes on")
    parser.add_argument("--grow", type=int, default=220_000, help="tokens until documents have their full length")
    parser.add_argument("--decay", type=float, default=0.3, help="share of the tokens over which the rate falls")
    parser.add_argument("--pack", type=int, default=250, help="tokens of documents in a step, at least")
    parser.add_argument(
        "--mix", type=float, nargs=len(GENERATORS), default=[42, 45, 5, 8, 0, 0], help=f"shares of {', '.join(GENERATORS)}"
    )
    parser.add_argument("--shortest", type=float, default=0.2, help="length of the shortest documents, of the longest's")
    parser.add_argument("--look", type=float, default=0.0, help="weight of where the heads of lora_llama.STEPS look")
    parser.add_argument("--spell", type=float, default=0.0, help="share of string values that are any words of the tokenizer")
    parser.add_argument("--vary", type=float, default=0.0, help="the same of the words that describe tools and arguments")
    parser.add_argument("--train-from", type=int, default=0, help="first layer that is trained; those before stay")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--text-share", type=float, default=0.2, help="of the steps that also have a text")
    parser.add_argument("--text-weight", type=float, default=1.0, help="of the KL beside the cross entropy")
    parser.add_argument("--save-every", type=float, default=300, help="seconds between checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.texts = os.path.join(arguments.work, "base_text.jsonl")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    os.makedirs(arguments.work, exist_ok=True)
    transformers.utils.logging.disable_progress_bar()
    if not os.path.exists(arguments.texts):
        sys.exit(f"{arguments.texts}: no such file; make it with sample_text.py")
    torch.set_num_threads(arguments.threads)
    trainer = Trainer(arguments)
    trainer.resume()
    trainer.run()


if __name__ == "__main__":
    main()
