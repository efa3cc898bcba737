#!/usr/bin/env python3
"""Trains the canary from its starting weights, and goes on where an earlier run stopped.

Usage: train_canary.py --state FOLDER --out models/canary [--minutes N] [--threads 1] [--from MODEL --seen 3.9e6]

--from takes the weights and the tokenizer of a model folder, with a fresh optimiser; --seen says how many tokens those
weights have seen, where the schedules of lengths and of attention go on. A state in FOLDER goes before both. With --look
heads are taught where to look (model.HOPS); at --connect-at tokens what one writes is joined to what the next compares with.

FOLDER holds state.pt (weights, optimiser, step), the tokenizer, log.csv (loss of each kind of document by step) and
scores.csv (held-out documents of the evaluation's size: share of answer tokens and of whole answers that are right).
"""

import argparse
import csv
import dataclasses
import math
import pathlib
import random
import signal
import time

import torch
import torch.nn.functional as F

import batches
import circuits
import export_canary
import tokenizer as tokenizers_of_canary
from model import HOPS, Canary, CanaryConfig

SEED = 1
WARM_UP = 40  # steps
RELEASED_FROM, RELEASED_OVER = 7e5, 2.3e6  # tokens: where and how long the rate of attention grows from 0.1 to 0.6
CHECKPOINT_SECONDS = 240
LOG_EVERY = 10  # steps
TOKENIZED = ("tool_call", "code_exec", "passkey", "multikey", "prose")  # what the tokenizer is built from
SHARES = {
    "tool_call": 0.38, "few_tools": 0.24, "code_exec": 0.21, "passkey": 0.05, "multikey": 0.07, "prose": 0.05,
}  # fmt: skip


def sample_texts(seed: int, rounds: int = 600) -> list[str]:
    """Contexts, questions and answers of the training side, as they are tokenized, to build the tokenizer from."""
    rng, texts = random.Random(seed), []
    for _ in range(rounds):
        for kind in TOKENIZED:
            document = batches.MAKERS[kind](rng, rng.uniform(0, 0.4))
            texts.append(document.context)
            for question in document.questions:
                texts += [question.prompt + "\n", question.answer]
    return texts


class Training:
    """Model, optimiser and data of one run."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.folder: pathlib.Path = arguments.state
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(SEED)
        if arguments.start and not (self.folder / "tokenizer.json").exists():
            export_canary.copy_tokenizer(arguments.start, self.folder)
        if not (self.folder / "tokenizer.json").exists():
            tokenizers_of_canary.save(tokenizers_of_canary.build(sample_texts(SEED)), self.folder)
        tokenizer = tokenizers_of_canary.Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        self.encoder = batches.Encoder(tokenizer)
        self.config = CanaryConfig(vocab=tokenizer.get_vocab_size())
        self.model = Canary(self.config, getattr(torch, arguments.dtype))
        self.kinds_of_tokens = batches.token_kinds(tokenizer)
        circuits.start(self.model, self.kinds_of_tokens, SEED)
        self.optimizer = torch.optim.Adam(self.groups(), lr=arguments.lr, betas=(0.9, 0.97), fused=True)
        self.step, self.tokens = 0, int(arguments.seen)
        self.seconds = 0.0
        self.recent: list[tuple[str, float]] = []
        self.load()
        self.seconds_before = self.seconds  # of earlier runs
        self.sources = {
            kind: batches.Source(kind, self.encoder, f"{SEED} {kind} {self.step}", arguments.budget) for kind in SHARES
        }
        self.order = random.Random(f"order {self.step}")

    def groups(self) -> list[dict]:
        """Attention and embeddings apart from the rest: their circuits are there from the start and easily blurred."""
        named = dict(self.model.named_parameters())
        groups: dict[str, list] = {"attention": [], "embed": [], "rest": []}
        for name, parameter in named.items():
            groups["attention" if ".attention." in name else "embed" if name == "embed" else "rest"].append(parameter)
        return [{"params": parameters, "name": name} for name, parameters in groups.items()]

    def scale(self, group: str) -> float:
        """A group's learning rate relative to the others': attention starts slowly."""
        if group == "rest":
            return 1.0
        if group == "embed":
            return 0.4
        return min(0.6, max(0.1, 0.1 + 0.5 * (self.tokens - RELEASED_FROM) / RELEASED_OVER))

    def load(self) -> None:
        """Goes on where the folder's state stopped; without one, from the weights of another model if asked to."""
        path = self.folder / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        elif self.arguments.start:
            self.model.load_state_dict(export_canary.load_weights(self.arguments.start))

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "step": self.step,
            "tokens": self.tokens, "seconds": self.seconds, "config": dataclasses.asdict(self.config),
        }  # fmt: skip
        path = self.folder / "state.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").rename(path)

    def level(self) -> float:
        """Length of documents: 0.1 at first, full after --grow tokens."""
        return min(1.0, 0.1 + 0.9 * self.tokens / self.arguments.grow)

    def rate(self) -> float:
        """Learning rate: a short warm-up, constant, and a fall to zero over the last part of this training's tokens."""
        a = self.arguments
        warm = min(1.0, (self.step + 1) / WARM_UP)
        left = (a.tokens - self.tokens) / (a.tokens - a.seen) / a.anneal
        return a.lr * warm * min(1.0, max(0.01, left))

    def kinds(self) -> list[str]:
        """The kinds of document of one step: two draws."""
        shares = self.arguments.shares
        return self.order.choices(list(shares), list(shares.values()), k=self.arguments.draws)

    def train_step(self) -> list[tuple[str, float]]:
        """One update; the loss of each batch."""
        losses, tokens_before = [], self.tokens
        for kind in self.kinds():
            batch = self.sources[kind].batch(self.level())
            found = self.model.predictions(batch)
            each = F.cross_entropy(found.logits, found.targets, reduction="none")
            loss = (each * found.weights).sum() / found.weights.sum()
            for hop, missed in found.missed.items():
                loss = loss + self.arguments.look * missed
                losses.append((hop, missed.item()))
            (loss / self.arguments.draws).backward()
            losses.append((kind, each[found.weights >= 1].mean().item()))
            self.tokens += int(batch.context_len.sum() + batch.branch_len.sum())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate() * self.scale(group["name"])
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        if tokens_before < self.arguments.connect_at <= self.tokens:
            circuits.connect(self.model, self.kinds_of_tokens, SEED)
        return losses

    @torch.no_grad()
    def scores(self, n_documents: int) -> list[tuple[str, float, float]]:
        """Held-out documents of the evaluation's size: kind, share of right answer tokens, share of right answers."""
        result = []
        for kind in SHARES:
            source = batches.Source(kind, self.encoder, f"held out {kind}", 1, held_out=True)
            tokens, whole = [], []
            for _ in range(n_documents):
                batch = source.batch(1.0, invented=0.0)
                found = self.model.predictions(batch)
                right = torch.zeros_like(batch.weight)
                n = int((batch.weight > 0).sum())
                right[batch.weight > 0] = (found.logits.argmax(-1) == found.targets)[:n].float()
                asked = batch.weight >= 1
                tokens.append(right[asked].mean())
                rows = asked.any(-1)
                whole.append((right.eq(1) | ~asked).all(-1)[rows].float().mean())
            result.append((kind, torch.stack(tokens).mean().item(), torch.stack(whole).mean().item()))
        return result

    def write(self, name: str, row: dict[str, object]) -> None:
        """Appends a row to a table of the folder; a new table gets its header first."""
        path = self.folder / name
        is_new = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)

    def progress(self) -> dict[str, object]:
        return {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds)}

    def log(self, losses: list[tuple[str, float]]) -> None:
        """Gathers losses and writes their means now and then."""
        self.recent += losses
        if self.step % LOG_EVERY:
            return
        row = self.progress()
        for kind in (*SHARES, *HOPS):
            found = [loss for name, loss in self.recent if name == kind]
            row[f"loss_{kind}" if kind in SHARES else f"look_{kind}"] = f"{sum(found) / len(found):.4f}" if found else ""
        self.write("log.csv", row)
        self.recent.clear()

    def report(self) -> None:
        for kind, part, whole in self.scores(self.arguments.score_documents):
            row = self.progress() | {"kind": kind, "tokens_right": f"{part:.4f}", "answers_right": f"{whole:.4f}"}
            self.write("scores.csv", row)
            print(*row.values(), flush=True)

    def run(self) -> None:
        """Trains until all tokens are seen, the minutes are over or a signal comes; saves and scores on the way."""
        stop: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda caught, _: stop.append(caught))
        start = saved = time.monotonic()
        limit = start + 60 * self.arguments.minutes
        while not stop and self.tokens < self.arguments.tokens and time.monotonic() < limit:
            losses = self.train_step()
            self.seconds = self.seconds_before + time.monotonic() - start
            self.log(losses)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
            if self.step % self.arguments.score_every == 0:
                self.report()
        self.save()
        if not stop:
            self.report()


def shares(text: str) -> dict[str, float]:
    """Shares by kind from kind=share,kind=share; kinds that are not named are not drawn."""
    found = dict(part.split("=", 1) for part in text.split(","))
    unknown = sorted(set(found) - set(SHARES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no kind of document: {', '.join(unknown)} (known: {', '.join(SHARES)})")
    return {kind: float(share) for kind, share in found.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, help="model folder to write at the end")
    parser.add_argument("--from", dest="start", type=pathlib.Path, help="model folder to start from")
    parser.add_argument("--seen", type=float, default=0, help="tokens that its weights have seen")
    parser.add_argument("--tokens", type=float, default=6.5e6, help="of the whole training")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many; start again to go on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the matrix products")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--anneal", type=float, default=0.25, help="share of the tokens over which the rate falls to zero")
    parser.add_argument("--look", type=float, default=0.0, help="weight of where the heads of model.HOPS look")
    parser.add_argument("--connect-at", type=float, default=math.inf, help="tokens after which circuits.connect is called")
    parser.add_argument("--grow", type=float, default=3.5e6, help="tokens until documents have their full length")
    parser.add_argument("--budget", type=int, default=1800, help="tokens of a batch")
    parser.add_argument("--shares", type=shares, default=SHARES, help="of each kind: tool_call=2,prose=1")
    parser.add_argument("--draws", type=int, default=2, help="batches of a step")
    parser.add_argument("--score-every", type=int, default=150, help="steps")
    parser.add_argument("--score-documents", type=int, default=6)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    Training(arguments).run()
    if arguments.out:
        export_canary.export(arguments.state, arguments.out)


if __name__ == "__main__":
    main()
