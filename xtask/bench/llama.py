"""Measures llama.cpp on one GGUF file: reads `prefill COUNT THREADS` or `decode COUNT THREADS` a line,
answers each with nanoseconds a line. `decode` generates after a prompt of 16 tokens.

Usage: llama.py FILE
"""

import ctypes
import sys
import time

import llama_cpp

PROMPT = 16


def main():
    llama_cpp.llama_backend_init()


    model = llama_cpp.llama_model_load_from_file(
        sys.argv[1].encode(), llama_cpp.llama_model_default_params()
    )
    if not model:
        sys.exit(f"llama.cpp does not load {sys.argv[1]}")
    vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = 1024
    parameters.n_batch = 512
    parameters.n_ubatch = 512
    context = llama_cpp.llama_init_from_model(model, parameters)

    def run(tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))):
            sys.exit("llama_decode failed")
        logits = llama_cpp.llama_get_logits(context)
        return max(range(0, vocabulary, 97), key=lambda token: logits[token])

    print(llama_cpp.llama_print_system_info().decode(), flush=True)
    for line in sys.stdin:
        act, count, threads = line.split()
        llama_cpp.llama_set_n_threads(context, int(threads), int(threads))
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        tokens = [(index * 131 + 7) % vocabulary for index in range(int(count))]
        if act == "prefill":
            started = time.perf_counter_ns()
            run(tokens)
        else:
            token = run(tokens[:PROMPT])
            started = time.perf_counter_ns()
            for _ in range(int(count)):
                token = run([token])
        print(time.perf_counter_ns() - started, flush=True)


main()
