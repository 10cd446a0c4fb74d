"""The twin's command line; `--help` lists what it does."""

import sys

sys.dont_write_bytecode = True

import argparse
import json
import os
import time

import known_answers
import law
import sampler
from forward import Network, Text
from model import open_model

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.dirname(HERE)
REPOSITORY = os.path.dirname(os.path.dirname(VECTORS))
FAILURES_SHOWN = 20


def generate(text, logits, given):
    """A-28 to A-32: the output of a text whose input has these last logits, and why it ended."""
    network, output = text.network, []
    key = sampler.key_of(bytes.fromhex(given["seed"]))
    while True:
        bits = network.c.logit_bits
        output.append(sampler.sample(logits, bits, given, key, text.length))
        if output[-1] in given["stop_tokens"]:
            return output, "stop"
        is_full = text.length + 1 >= network.c.context
        if len(output) >= given["max_tokens"] or is_full:
            return output, "length"
        logits = network.logits(text.append(output[-1]))


class Answers:
    """Answers about one model; texts with one beginning share its computation."""

    def __init__(self, path):
        self.model = open_model(path)
        self.network = Network(self.model)
        self.begun = {}

    def begin(self, tokens):
        """The text of these tokens and the logits after the last."""
        key = tuple(tokens)
        if key not in self.begun:
            text, h = Text(self.network), None
            for token in tokens:
                h = text.append(token)
            self.begun[key] = (text, self.network.logits(h))
        text, logits = self.begun[key]
        return text.branch(), logits

    def answer(self, task):
        """One task's outputs, or its refusal."""
        try:
            return getattr(self, task["kind"])(task)
        except law.Refusal as refusal:
            where = {"layer": refusal.layer, "operation": refusal.operation}
            return {"refused": {**where, "bound": refusal.bound}}

    def root(self, _):
        return {"root": self.model.root}

    def generate(self, task):
        output, finish = generate(*self.begin(task["input"]), task)
        return {"output": output, "finish": finish}

    def logits(self, task):
        """The logits after each token."""
        text = Text(self.network)
        return {"logits": [self.network.logits(text.append(token)) for token in task["tokens"]]}

    def embed(self, task):
        return {"values": self.network.vector_of(task["tokens"])}


def answer_tasks(stream):
    """Answers {"models": [{"model": path, "tasks": [...]}, ...]} in order."""
    found = []
    for each in json.load(stream)["models"]:
        answers = Answers(each["model"])
        found.append([answers.answer(task) for task in each["tasks"]])
    return {"answers": found}


def check_file(path, models):
    """(cases, failures) of one file of vectors."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    operation, failures = content["operation"], []
    for case in content["cases"]:
        given, wanted = case["in"], known_answers.expected(case["out"])
        if operation == "generation":
            model = given["model"]
            if model not in models:
                models[model] = Answers(os.path.join(REPOSITORY, model))
            found = {**models[model].root(given), **models[model].answer({"kind": "generate", **given})}
        else:
            found = known_answers.answer(operation, given)
        if found != wanted:
            failures.append(f"{os.path.basename(path)}: {case['what']}: {difference(found, wanted)}")
    return len(content["cases"]), failures


def difference(found, wanted):
    """The first place where two outputs differ."""
    if set(found) != set(wanted):
        return f"yields {sorted(found)}, the vector has {sorted(wanted)}"
    for name, value in wanted.items():
        if found[name] == value:
            continue
        if not isinstance(value, list) or len(value) != len(found[name]):
            return f"{name} is {str(found[name])[:80]}, the vector has {str(value)[:80]}"
        pairs = enumerate(zip(found[name], value))
        index, (one, other) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        return f"{name}[{index}] is {str(one)[:80]}, the vector has {str(other)[:80]}"
    return "nothing differs"


def check_vectors(folder):
    """Computes every vector of a folder again; the number of failures."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    total, all_failures, models = 0, [], {}
    if not names:
        all_failures.append(f"{folder} has no vectors")
    for name in names:
        started = time.monotonic()
        count, failures = check_file(os.path.join(folder, name), models)
        total += count
        all_failures += failures
        seconds = time.monotonic() - started
        print(f"{name:24} {count:5} cases {len(failures):5} differ {seconds:7.1f} s", flush=True)
    for failure in all_failures[:FAILURES_SHOWN]:
        print(failure, file=sys.stderr)
    print(f"{total} cases, {len(all_failures)} differ")
    return len(all_failures)


def main():
    parser = argparse.ArgumentParser(description="The receipt arithmetic a second time")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("vectors", help="compute every vector again and compare")
    command.add_argument("folder", nargs="?", default=VECTORS)
    command = commands.add_parser("root", help="the model root of a model file")
    command.add_argument("model")
    commands.add_parser("answer", help="answer the tasks on standard input as JSON")
    arguments = parser.parse_args()
    if arguments.command == "vectors":
        sys.exit(1 if check_vectors(arguments.folder) else 0)
    if arguments.command == "root":
        print(open_model(arguments.model).root)
    if arguments.command == "answer":
        json.dump(answer_tasks(sys.stdin), sys.stdout)
        print()


if __name__ == "__main__":
    main()
