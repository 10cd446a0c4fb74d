"""The sampler of `spec/arithmetic.md` (A-28 to A-32, A-38, A-39) in plain integers."""

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


# The draw


def candidates(logits, lambda_bits, temperature, top_k, top_p):
    """A-30: (distance, token) of those that may be drawn, the likeliest first."""
    highest = max(logits)
    kept = sorted((highest - logit, token) for token, logit in enumerate(logits))
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
    """A-28 to A-31: the token."""
    temperature, top_p = parameters["temperature"], parameters["top_p"]
    if not 1 <= len(logits) <= 2**20:
        raise ParameterRefusal("vocabulary")
    if lambda_bits > 31:
        raise ParameterRefusal("fraction bits")
    if temperature > 100 * MILLION:
        raise ParameterRefusal("temperature")
    if top_p > MILLION:
        raise ParameterRefusal("top-p")
    if temperature == 0:
        return logits.index(max(logits))
    best = None
    for delta, token in candidates(logits, lambda_bits, temperature, parameters["top_k"], top_p):
        word = philox([position, token, parameters["choice"], 0], key)[0]
        noise = gumbel(word) * temperature << lambda_bits
        score = noise - delta * MILLION * 2**24
        if best is None or (-score, token) < best:
            best = (-score, token)
    return best[1]
