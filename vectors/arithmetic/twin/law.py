"""Every operation of `spec/arithmetic.md` in plain integers, one function for each, named by clause.

Vectors are lists of int. There is no float, no table and no state in this file, and nothing here is
made to be fast: a reader should be able to hold each function against its clause. Python's integers
have no width, so what the specification says about bounds shows here as a comparison and never as a
wrap.
"""

from math import isqrt
from operator import mul

INT16 = 32_767
INT8 = 127
BITS_23 = 2**23 - 1
BITS_30 = 2**30 - 1
BOUND_30 = 2**30
BOUND_31 = 2**31 - 1
TABLE_LEN = 2**16


class Refusal(Exception):
    """A magnitude above its bound (A-5)."""

    def __init__(self, operation, bound, layer=None):
        super().__init__(f"{operation}: a magnitude exceeds the bound {bound}")
        self.operation, self.bound, self.layer = operation, bound, layer


def bounded(values, bound, operation):
    """A-5: the values, unless one exceeds the bound."""
    if magnitude(values) > bound:
        raise Refusal(operation, bound)
    return values


def magnitude(values):
    """The largest magnitude; zero of no values."""
    return max(map(abs, values), default=0)


# Conventions


def rs(x, s):
    """A-1: round(x / 2^s) = floor(x / 2^s + 1/2) for s >= 0."""
    return x if s == 0 else (x + (1 << (s - 1))) >> s


def round_ratio(numerator, denominator):
    """A-1: round(numerator / denominator) for a positive denominator."""
    return (2 * numerator + denominator) // (2 * denominator)


def le(m, limit):
    """A-3: the least e >= 0 with rs(m, e) <= limit."""
    e = 0
    while rs(m, e) > limit:
        e += 1
    return e


def narrow(values, limit):
    """A-3: the values under one least exponent, and that exponent."""
    e = le(magnitude(values), limit)
    return [rs(x, e) for x in values], e


def rescale(values, f, g):
    """A-4: values of f fraction bits with g of them."""
    if f >= g:
        return [rs(x, f - g) for x in values]
    return [x << (g - f) for x in values]


# Linear layers


def group_row(quotients, scales):
    """A-6: the elements w = s * q of a row whose groups of 32 have scales."""
    return [scales[k // 32] * q for k, q in enumerate(quotients)]


def sums(rows, x):
    """A-9: a_r, complete over the integers."""
    return [sum(map(mul, row, x)) for row in rows]


def requantise(a, scales):
    """A-9: both what t * mu is and the exponent e of the first stage."""
    t, e = narrow(a, INT16)
    return list(map(mul, t, scales)), e


def linear(rows, scales, j, x, f):
    """A-9: p and its fraction bits."""
    p, e = requantise(sums(rows, x), scales)
    return p, f - e + j


def add_bias(p, big_f, bias, big_b):
    """A-33: p with its bias, and the fewer fraction bits of the two."""
    g = min(big_f, big_b)
    return [rs(x, big_f - g) + rs(b, big_b - g) for x, b in zip(p, bias)], g


# Residual stream


def embed(row, scale, j, r_bits):
    """A-10: a token's row in the residual stream's fixed point."""
    return bounded(rescale([w * scale for w in row], j, r_bits), BOUND_31, "embedding")


def add_to_residual(h, p, f, r_bits, operation):
    """A-11: h plus p, rescaled."""
    added = rescale(p, f, r_bits)
    return bounded([x + y for x, y in zip(h, added)], BOUND_31, operation)


# Norms


def inverse_root(d, v):
    """A-14: k and r."""
    k = 0
    while d << (k + 2) < v << 32:
        k += 2
    while d << k >= v << 32:
        raise AssertionError("d is at most 2^14, so d < v * 2^32")
    r = isqrt((d << k) // v)
    assert v * r * r <= d << k < v * (r + 1) ** 2 and 2**15 <= r < 2**16
    return k, r


def squares(u, epsilon, shift):
    """v of A-13, A-34 and A-35."""
    return max(1, sum(map(mul, u, u)) + rs(epsilon, shift))


def root_mean_square_norm(h, gains, big_g, epsilon):
    """A-13 to A-15: int16 output and its fraction bits."""
    return norm_of(h, gains, big_g, epsilon, 0)


def norm_of(h, gains, big_g, epsilon, more):
    """A-13 to A-15 with an epsilon of `more` fraction bits above those of h squared."""
    s = le(magnitude(h), BITS_23)
    u = [rs(x, s) for x in h]
    k, r = inverse_root(len(h), squares(u, epsilon, more + 2 * s))
    out, e = narrow([x * g * r for x, g in zip(u, gains)], INT16)
    return out, big_g + k // 2 - e


def head_norm(p, big_f, gains, big_g, epsilon_h):
    """A-35: one head of p, normed."""
    f = min(big_f, 24)
    return norm_of(rescale(p, big_f, f), gains, big_g, epsilon_h, 2 * (24 - f))


def layer_norm(h, gains, big_g, epsilon, bias, big_b, r_bits):
    """A-34: the new h."""
    d, total = len(h), sum(h)
    c = [d * x - total for x in h]
    s = le(magnitude(c), BITS_23)
    u = [rs(x, s) for x in c]
    k, r = inverse_root(d, squares(u, epsilon, 2 * s))
    y, e = narrow([x * g * r for x, g in zip(u, gains)], BITS_30)
    y, bits = add_bias(y, big_g + k // 2 - e, bias, big_b)
    return bounded(rescale(y, bits, r_bits), BOUND_31, "layer norm")


# Attention


def rotate(x, cosines, sines):
    """A-17: one head at one position, with 14 more fraction bits."""
    half = len(x) // 2
    first = [x[i] * cosines[i] - x[i + half] * sines[i] for i in range(half)]
    second = [x[i + half] * cosines[i] + x[i] * sines[i] for i in range(half)]
    return first + second


def scores(query, query_bits, keys, key_bits):
    """A-20: sigma_j for the keys that the query sees."""
    found = []
    for key, bits in zip(keys, key_bits):
        found += rescale([sum(map(mul, query, key))], query_bits + bits, 12)
    return bounded(found, BOUND_30, "attention score")


def numerators(sigma, table):
    """A-21: e_j and Z."""
    m = max(sigma)
    e = [table[m - x] if m - x < TABLE_LEN else 0 for x in sigma]
    return e, sum(e)


def weights(e, value_bits):
    """A-22: w_j and b."""
    b = min(value_bits)
    return [rs(x, bits - b) for x, bits in zip(e, value_bits)], b


def weighted_sum(w, values):
    """A-22: o_i."""
    return [sum(map(mul, w, column)) for column in zip(*values)]


def divide(o, z, lag):
    """A-23: round(o * 2^(8 - lag) / Z) with lag = b - B."""
    if lag <= 8:
        return [round_ratio(x << (8 - lag), z) for x in o]
    return [round_ratio(x, z << (lag - 8)) for x in o]


# Feed-forward


def gate(p, f):
    """A-24: the gate, or an encoder's up, in its fixed point."""
    return bounded(rescale(p, f, 12), BOUND_30, "gate")


def activate(x, table):
    """A-25 before it is narrowed."""
    return [max(v, 0) + (table[abs(v)] if abs(v) < TABLE_LEN else 0) for v in x]


def gated(g, up):
    """A-26 before it is narrowed."""
    return list(map(mul, g, up))


# Outputs


def logits(p, f, lambda_bits):
    """A-12."""
    return bounded(rescale(p, f, lambda_bits), BOUND_30, "logits")


def pool(streams, is_mean, is_normalised, r_bits):
    """A-36 and A-37: the vector of a text from the residual streams of its tokens."""
    streams = streams if is_mean else streams[:1]
    totals = [sum(column) for column in zip(*streams)]
    if is_normalised:
        u, _ = narrow(totals, BITS_23)
        root = isqrt(max(1, sum(map(mul, u, u))) << 60)
        return [round_ratio(x << 54, root) for x in u]
    means = [round_ratio(x << (24 - r_bits), len(streams)) for x in totals]
    return bounded(means, BOUND_30, "pooling")
