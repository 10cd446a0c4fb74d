"""Load on a node: clients that stream, leave, read slowly, send too much and send nonsense.

Usage: load.py BASE_URL FOLDER SECONDS CLIENTS [--until-gone]

Prints one JSON line: how many of each there were. Receipts of whole answers are written to FOLDER, at most 400
of them, with the ids of all of them in FOLDER/ids. With --until-gone the node is expected to vanish: an error of the
connection then ends a client in order; without it, it is a failure.
"""

import base64
import collections
import json
import pathlib
import random
import sys
import threading
import time

import httpx

BASE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
SECONDS, CLIENTS = float(sys.argv[3]), int(sys.argv[4])
UNTIL_GONE = "--until-gone" in sys.argv
RECEIPTS_MAX = 400
PROMPTS = ["What is a lock?", "How does a log work?", "Name a thing.", "Tell me of keys and doors, at length."]

counts, failures, kept = collections.Counter(), [], 0
guard = threading.Lock()


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def keep(member):
    global kept
    with guard:
        with open(FOLDER / "ids", "a") as ids:
            ids.write(member["id"] + "\n")
        kept += 1
        if kept > RECEIPTS_MAX:
            return
        bare, openings = unbase64(member["receipt"]), unbase64(member["openings"])
        (FOLDER / f"{kept:04}.receipt").write_bytes(bare[:-1] + openings)


def expect(what, found, expected):
    if found not in expected:
        failures.append(f"{what}: status {found}")


def body(chance, **more):
    prompt = chance.choice(PROMPTS)
    return {
        "model": "default", "max_tokens": chance.randint(1, 60), "temperature": chance.choice([0, 0.7, 1]),
        "messages": [{"role": "user", "content": prompt}], **more,
    }


def whole(client, chance):
    answer = client.post("/v1/chat/completions", json=body(chance))
    expect("an answer", answer.status_code, (200, 429))
    if answer.status_code == 200:
        keep(answer.json()["tally"])
    return "whole"


def streamed(client, chance, slow=False):
    last = None
    with client.stream("POST", "/v1/chat/completions", json=body(chance, stream=True)) as answer:
        expect("a stream", answer.status_code, (200, 429))
        if answer.status_code != 200:
            return "turned away"
        for line in answer.iter_lines():
            if slow:
                time.sleep(chance.random() / 20)
            if line == "data: [DONE]":
                keep(last["tally"])
                return "slow" if slow else "streamed"
            if line.startswith("data: "):
                last = json.loads(line[6:])
                if "error" in last:
                    failures.append(f"a stream: {last['error']['message']}")
    failures.append("a stream ended without its end")
    return "cut"


def left(client, chance):
    with client.stream("POST", "/v1/chat/completions", json=body(chance, stream=True, max_tokens=200)) as answer:
        for number, _ in enumerate(answer.iter_lines()):
            if number > chance.randint(0, 12):
                break
    return "left"


def oversized(client, chance):
    answer = client.post("/v1/chat/completions", content=b"x" * (5 << 20))
    expect("a body too large", answer.status_code, (413,))
    return "oversized"


def nonsense(client, chance):
    content = chance.choice([b"", b"{", b"[]", b'{"model":1}', b"\xff\xfe", b'{"model":"default","messages":[]}'])
    answer = client.post("/v1/chat/completions", content=content)
    expect("nonsense", answer.status_code, (400, 429))
    return "nonsense"


def run(number):
    chance = random.Random(number)
    acts = [whole, streamed, streamed, left, lambda c, r: streamed(c, r, slow=True), nonsense]
    end = time.monotonic() + SECONDS
    client = httpx.Client(base_url=BASE, timeout=120)
    while time.monotonic() < end:
        act = oversized if chance.random() < 0.02 else chance.choice(acts)
        try:
            done = act(client, chance)
        except httpx.HTTPError as error:
            client.close()
            if UNTIL_GONE:
                return
            # A body that is refused while it is still sent may end the connection first.
            if act is oversized:
                client = httpx.Client(base_url=BASE, timeout=120)
                continue
            failures.append(f"{type(error).__name__}: {error}")
            return
        with guard:
            counts[done] += 1


threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"counts": counts, "receipts": kept, "failures": failures[:20]}))
