"""The sampler of `spec/arithmetic.md` (A-28 to A-32, A-38 to A-42) in plain integers."""

from hashlib import sha256
from struct import pack

from exact import exp_ratio, ln_of_ln_ratio, ln_ratio
from law import round_ratio, rs

MILLION = 1_000_000
MASK = 2**32 - 1


class ParameterRefusal(Exception):
    """Parameters that the sampler does not take."""


# Philox4x32-10


def philox(counter, key):
    """One block: four words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & MASK, (a >> 32) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


def key_of(seed):
    """A-31: the key's two words."""
    digest = sha256(b"tally/sampler-key/v1\0" + seed).digest()
    return [int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")]


# Tables


class Tables:
    """Made once; every entry is a real number rounded to the nearest integer."""

    def __init__(self):
        self.log = [ln_ratio(4096 + i, 4096, 40) for i in range(4097)]
        self.tail = [0] + [ln_of_ln_ratio(i, 2048, 40) for i in range(1, 1025)]
        self.ln_2 = ln_ratio(2, 1, 40)
        self.exp_whole = [exp_ratio(-i, 1, 51) for i in range(32)]
        self.exp_byte = [
            [exp_ratio(-i, 1 << (8 * j), 51) for i in range(256)] for j in range(1, 5)
        ]

    def digest(self):
        """SHA-256 of all entries as A-38 orders them."""
        entries = self.log + self.tail + [self.ln_2] + self.exp_whole
        for table in self.exp_byte:
            entries += table
        return sha256(b"".join(pack("<q", entry) for entry in entries)).hexdigest()


_TABLES = []


def tables():
    """The tables, made at first use."""
    if not _TABLES:
        _TABLES.append(Tables())
    return _TABLES[0]


def interpolate(table, x, c):
    """A-39: between two entries by 22 bits of the place in the cell."""
    cell, place = x >> c, (x % (1 << c)) >> (c - 22)
    return table[cell] + rs((table[cell + 1] - table[cell]) * place, 22)


def negative_ln(x, b):
    """A-39: -ln(x / 2^b) with 40 fraction bits."""
    n = x.bit_length() - 1
    mantissa = (x - (1 << n)) << (63 - n)
    return (b - n) * tables().ln_2 - interpolate(tables().log, mantissa, 51)


def gumbel(word):
    """A-39: g, with 24 fraction bits."""
    u = 2 * word + 1
    if u < 2**32:
        value = negative_ln(negative_ln(u, 33), 40)
    else:
        v = 2**33 - u
        value = negative_ln(v, 33) - interpolate(tables().tail, v, 22)
    return rs(value, 16)


def weight(delta, lambda_bits, temperature):
    """A-38: the weight at a distance below the largest logit."""
    step = round_ratio(MILLION << 64, temperature << lambda_bits)
    x = rs(delta * step, 32)
    if x >= 32 << 32:
        return 0
    value = tables().exp_whole[x >> 32]
    for j, table in enumerate(tables().exp_byte):
        value = rs(value * table[(x >> (24 - 8 * j)) & 255], 51)
    return rs(value, 11)


# Adjustments


def appraise(logits, lambda_bits, parameters):
    """A-28: what is out of range whatever the logits are."""
    if not 1 <= len(logits) <= 2**20:
        raise ParameterRefusal("vocabulary")
    if lambda_bits > 31:
        raise ParameterRefusal("fraction bits")
    if parameters.get("temperature", 0) > 100 * MILLION:
        raise ParameterRefusal("temperature")
    if parameters.get("top_p", 0) > MILLION:
        raise ParameterRefusal("top-p")
    for name in ("presence_penalty", "frequency_penalty"):
        if abs(parameters.get(name, 0)) > 2 * MILLION:
            raise ParameterRefusal("penalty")
    bias = parameters.get("bias", [])
    if any(abs(value) > 100 * MILLION for _, value in bias):
        raise ParameterRefusal("bias")
    if any(one >= other for (one, _), (other, _) in zip(bias, bias[1:])):
        raise ParameterRefusal("bias order")


def adjusted(logits, lambda_bits, parameters):
    """A-40: l' of every token."""
    totals = dict(map(tuple, parameters.get("bias", [])))
    presence = parameters.get("presence_penalty", 0)
    frequency = parameters.get("frequency_penalty", 0)
    if presence or frequency:
        for token, count in parameters.get("counts", []):
            if count > 0:
                totals[token] = totals.get(token, 0) - presence - frequency * count
    found = list(logits)
    for token, total in totals.items():
        if token >= len(found):
            raise ParameterRefusal("token")
        moved = found[token] + round_ratio(total << lambda_bits, MILLION)
        found[token] = min(max(moved, -(2**30)), 2**30)
    return found


def rounded_log(base, delta, lambda_bits):
    """A-41: a distance and what all weigh as a log-probability in millionths."""
    return rs((base - (delta << (40 - lambda_bits))) * MILLION, 40)


def log_probabilities(logits, lambda_bits, tokens, count):
    """A-41: of tokens, and of the `count` likeliest."""
    if count > 20:
        raise ParameterRefusal("count")
    if not 1 <= len(logits) <= 2**20:
        raise ParameterRefusal("vocabulary")
    if lambda_bits > 31:
        raise ParameterRefusal("fraction bits")
    if any(token >= len(logits) for token in tokens):
        raise ParameterRefusal("token")
    highest = max(logits)
    base = negative_ln(sum(weight(highest - l, lambda_bits, MILLION) for l in logits), 40)
    top = sorted(range(len(logits)), key=lambda token: (-logits[token], token))[:count]
    of = lambda token: rounded_log(base, highest - logits[token], lambda_bits)
    return list(map(of, tokens)), top, list(map(of, top))


def stopped(tokens, stops):
    """A-42: how many of these tokens (their bytes) the output has, whether a stop string ends it,
    and the bytes that are shown."""
    text = b""
    for count, token in enumerate(tokens, 1):
        text += token
        starts = [text.find(stop) for stop in stops if stop in text]
        if starts:
            return count, True, text[: min(starts)]
    return len(tokens), False, text


# The draw


def candidates(logits, lambda_bits, temperature, top_k, top_p, allowed):
    """A-30: (distance, token) of those that may be drawn, the likeliest first."""
    highest = max(logits[token] for token in allowed)
    kept = sorted((highest - logits[token], token) for token in allowed)
    if top_k > 0:
        kept = kept[:top_k]
    if top_p >= MILLION:
        return kept
    all_weights = [weight(delta, lambda_bits, temperature) for delta, _ in kept]
    border, total = sum(all_weights) * top_p, 0
    for count, one in enumerate(all_weights, 1):
        total += one
        if total * MILLION >= border:
            return kept[:count]
    raise AssertionError("the whole reaches every part of itself")


def sample(logits, lambda_bits, parameters, key, position):
    """A-28 to A-31 and A-40: the token."""
    appraise(logits, lambda_bits, parameters)
    temperature, top_p = parameters["temperature"], parameters["top_p"]
    logits = adjusted(logits, lambda_bits, parameters)
    allowed = parameters.get("allowed", range(len(logits)))
    if not allowed:
        raise ParameterRefusal("allowed")
    if temperature == 0:
        return max(allowed, key=lambda token: (logits[token], -token))
    best = None
    top_k = parameters["top_k"]
    for delta, token in candidates(logits, lambda_bits, temperature, top_k, top_p, allowed):
        word = philox([position, token, parameters["choice"], 0], key)[0]
        noise = gumbel(word) * temperature << lambda_bits
        score = noise - delta * MILLION * 2**24
        if best is None or (-score, token) < best:
            best = (-score, token)
    return best[1]
