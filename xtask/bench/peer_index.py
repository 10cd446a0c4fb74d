"""infini-gram beside our index, in byte mode.

Usage: peer_index.py build FOLDER   makes the table of FOLDER/tokenized.0 with one thread
       peer_index.py serve FOLDER   reads `ACT HEX HEX ..` a line, answers `NANOSECONDS NUMBER NUMBER ..`

`count` answers how often each text occurs. `earliest` answers the least document of those that hold
it, -1 if there is none, -2 if there are more than LIMIT places to look at.
"""

import os
import subprocess
import sys
import time

LIMIT = 200


def build(folder):
    # The program's first step, reading JSON, is skipped because its results are there.
    arguments = ["--data_dir", folder, "--save_dir", folder, "--token_dtype", "u8"]
    arguments += ["--cpus", "1", "--mem", "8", "--ulimit", "1024"]
    command = [sys.executable, "-m", "infini_gram.indexing", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(os.path.getsize(os.path.join(folder, "table.0")))


def serve(folder):
    from infini_gram.engine import InfiniGramEngine

    # Byte 255 ends documents of itself; the other numbers are for language models and must be bytes.
    engine = InfiniGramEngine(index_dir=folder, eos_token_id=0, vocab_size=255, token_dtype="u8")

    def earliest(query):
        found = engine.find(input_ids=query)
        if found["cnt"] > LIMIT:
            return -2
        (low, high), = found["segment_by_shard"]
        ranks = range(low, high)
        documents = (engine.get_doc_by_rank(s=0, rank=rank, max_disp_len=1) for rank in ranks)
        return min((document["doc_ix"] for document in documents), default=-1)

    acts = {"count": lambda query: engine.count(input_ids=query)["count"], "earliest": earliest}
    for line in sys.stdin:
        act, *queries = line.split()
        queries = [list(bytes.fromhex(query)) for query in queries]
        started = time.perf_counter_ns()
        numbers = [acts[act](query) for query in queries]
        print(time.perf_counter_ns() - started, *numbers, flush=True)


if __name__ == "__main__":
    {"build": build, "serve": serve}[sys.argv[1]](sys.argv[2])
