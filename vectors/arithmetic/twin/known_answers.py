"""Computes the known answers again: each operation of the vectors out of the twin's functions."""

from hashlib import sha256
from struct import pack

import law
import sampler
import tables


def integers(value):
    """A list as the vectors write it: integers, large ones as text, `value*count` for a run."""
    found = []
    for item in value:
        number, _, count = str(item).partition("*")
        found += [int(number)] * int(count or 1)
    return found


def rows_of(values, width):
    """A row-major matrix row by row."""
    return [values[at : at + width] for at in range(0, len(values), width)]


def rescale(i):
    found = law.rescale(integers(i["values"]), i["from"], i["to"])
    return {"values": law.bounded(found, i["bound"], i["operation"])}


def narrow(i):
    values, e = law.narrow(integers(i["values"]), i["limit"])
    return {"values": values, "exponent": e}


def linear(i):
    width = i["columns"]
    rows = rows_of(integers(i["elements"]), width)
    if "group_scales" in i:
        scales = rows_of(integers(i["group_scales"]), width // 32)
        rows = [law.group_row(row, of_row) for row, of_row in zip(rows, scales)]
    return {"sums": [law.sums(rows, integers(x)) for x in i["x"]]}


def requantise(i):
    p, e = law.requantise(integers(i["sums"]), integers(i["scales"]))
    return {"p": p, "bits": i["bits"] - e + i["j"]}


def bias(i):
    p, bits = law.add_bias(integers(i["p"]), i["bits"], integers(i["bias"]), i["bias_bits"])
    return {"p": p, "bits": bits}


def embedding(i):
    row = integers(i["elements"])
    return {"h": law.embed(row, i["scale"], i["j"], i["residual_bits"])}


def residual(i):
    h, p = integers(i["h"]), integers(i["p"])
    r_bits, operation = i["residual_bits"], i["operation"]
    return {"h": law.add_to_residual(h, p, i["bits"], r_bits, operation)}


def norm(i):
    h, gains = integers(i["h"]), integers(i["gains"])
    values, bits = law.root_mean_square_norm(h, gains, i["gain_bits"], int(i["epsilon"]))
    return {"values": values, "bits": bits}


def head_norm(i):
    p, gains = integers(i["p"]), integers(i["gains"])
    values, bits = law.head_norm(p, i["bits"], gains, i["gain_bits"], int(i["epsilon"]))
    return {"values": values, "bits": bits}


def layer_norm(i):
    h, gains, bias_values = integers(i["h"]), integers(i["gains"]), integers(i["bias"])
    epsilon, r_bits = int(i["epsilon"]), i["residual_bits"]
    bias_bits = i["bias_bits"]
    return {
        "h": law.layer_norm(h, gains, i["gain_bits"], epsilon, bias_values, bias_bits, r_bits)
    }


def rotate(i):
    rotated = law.rotate(integers(i["x"]), integers(i["cosines"]), integers(i["sines"]))
    query, query_e = law.narrow(rotated, law.INT16)
    key, key_e = law.narrow(rotated, law.INT8)
    return {
        "rotated": rotated,
        "query": query,
        "query_exponent": query_e,
        "key": key,
        "key_exponent": key_e,
    }


def scores(i):
    query = integers(i["query"])
    keys = rows_of(integers(i["keys"]), len(query))
    return {"scores": law.scores(query, i["query_bits"], keys, integers(i["key_bits"]))}


def softmax(i):
    e, z = law.numerators(integers(i["scores"]), tables.exponential())
    w, b = law.weights(e, integers(i["value_bits"]))
    return {"weights": w, "total": z, "least_bits": b}


def weighted_sum(i):
    w, values = integers(i["weights"]), integers(i["values"])
    return {"sums": law.weighted_sum(w, rows_of(values, i["head_dim"]))}


def divide(i):
    return {"values": law.divide(integers(i["sums"]), int(i["total"]), i["lag"])}


def activate(i):
    bent = law.activate(integers(i["x"]), tables.BY_NAME[i["table"]]())
    narrowed, e = law.narrow(bent, law.INT16)
    return {"values": bent, "narrowed": narrowed, "exponent": e}


def gated(i):
    products = law.gated(integers(i["gate"]), integers(i["up"]))
    narrowed, e = law.narrow(products, law.INT16)
    return {"products": products, "narrowed": narrowed, "exponent": e}


def pool(i):
    streams = [integers(stream) for stream in i["streams"]]
    return {"values": law.pool(streams, i["is_mean"], i["is_normalised"], i["residual_bits"])}


def philox(i):
    return {"words": sampler.philox(i["counter"], i["key"])}


def sampler_key(i):
    return {"key": sampler.key_of(bytes.fromhex(i["seed"]))}


def gumbel(i):
    return {"values": [sampler.gumbel(word) for word in integers(i["words"])]}


def weight(i):
    bits, temperature = i["fraction_bits"], i["temperature"]
    distances = integers(i["distances"])
    return {"weights": [sampler.weight(delta, bits, temperature) for delta in distances]}


def sample(i):
    logits, bits, positions = integers(i["logits"]), i["fraction_bits"], integers(i["positions"])
    return {"tokens": [sampler.sample(logits, bits, i, i["key"], at) for at in positions]}


def adjust(i):
    logits, bits = integers(i["logits"]), i["fraction_bits"]
    sampler.appraise(logits, bits, i)
    return {"logits": sampler.adjusted(logits, bits, i)}


def logprobs(i):
    logits, bits, tokens = integers(i["logits"]), i["fraction_bits"], i["tokens"]
    found, top, of_top = sampler.log_probabilities(logits, bits, tokens, i["count"])
    return {"millionths": found, "top": top, "top_millionths": of_top}


def stop(i):
    tokens = [bytes.fromhex(token) for token in i["tokens"]]
    stops = [text.encode() for text in i["stop"]]
    count, is_stopped, shown = sampler.stopped(tokens, stops)
    return {"count": count, "is_stopped": is_stopped, "shown": shown.decode(errors="replace")}


def table(i):
    entries = tables.BY_NAME[i["table"]]()
    form = "<H" if i["table"] == "exponential" else "<h"
    digest = sha256(b"".join(pack(form, entry) for entry in entries)).hexdigest()
    return {"entries": [entries[index] for index in integers(i["indices"])], "sha256": digest}


def sampler_tables(_):
    return {"sha256": sampler.tables().digest()}


def rotation(i):
    cosines, sines = tables.rotation(i["theta"], i["scaling"], i["head_dim"], integers(i["positions"]))
    return {"cosines": cosines, "sines": sines}


OPERATIONS = {
    "activate": activate,
    "adjust": adjust,
    "bias": bias,
    "divide": divide,
    "embedding": embedding,
    "gated": gated,
    "gumbel": gumbel,
    "head-norm": head_norm,
    "layer-norm": layer_norm,
    "linear": linear,
    "logprobs": logprobs,
    "narrow": narrow,
    "norm": norm,
    "philox": philox,
    "pool": pool,
    "requantise": requantise,
    "rescale": rescale,
    "residual": residual,
    "rotate": rotate,
    "rotation": rotation,
    "sample": sample,
    "sample-allowed": sample,
    "sampler-key": sampler_key,
    "sampler-tables": sampler_tables,
    "scores": scores,
    "softmax": softmax,
    "stop": stop,
    "table": table,
    "weight": weight,
    "weighted-sum": weighted_sum,
}


def expected(value):
    """An output as the vectors write it, with its runs written out."""
    if isinstance(value, list):
        is_flat = not any(isinstance(item, (list, dict)) for item in value)
        return integers(value) if is_flat else [expected(item) for item in value]
    if isinstance(value, dict):
        return {name: expected(item) for name, item in value.items()}
    return value


def answer(operation, given):
    """What the operation yields: its outputs, or its refusal."""
    try:
        return OPERATIONS[operation](given)
    except law.Refusal as refusal:
        return {"refused": {"operation": refusal.operation, "bound": refusal.bound}}
    except sampler.ParameterRefusal as refusal:
        return {"refused": {"parameter": str(refusal)}}
