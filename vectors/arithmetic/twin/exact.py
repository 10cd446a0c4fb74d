"""Correctly rounded exponentials, logarithms, circular functions and the normal distribution.

Real numbers are integers with 192 fraction bits here. Each result is computed with an error far
below 2^-150 and then rounded once; `rounded` refuses to round what lies closer than that to a tie.
"""

from functools import lru_cache
from math import isqrt

P = 192
ONE = 1 << P


def rounded(value, bits):
    """round(value * 2^bits) of a number with P fraction bits that is no nearer than 2^-150 to a tie."""
    shift = P - bits
    above_a_tie = (value + (1 << (shift - 1))) & ((1 << shift) - 1)
    if min(above_a_tie, (1 << shift) - above_a_tie) < 1 << (P - 150):
        raise AssertionError("too near a tie to be rounded with certainty")
    return (value + (1 << (shift - 1))) >> shift


def exp(x):
    """e^x of a number with P fraction bits."""
    n, rest = divmod(x, ln_2())
    # The argument is made small by halving it, and the result squared again.
    halvings = 16
    rest = rest << 64 >> halvings
    one = ONE << 64
    total = term = one
    i = 1
    while term:
        term = term * rest // (one * i)
        total += term
        i += 1
    for _ in range(halvings):
        total = total * total >> (P + 64)
    total >>= 64
    return total << n if n >= 0 else total >> -n


def atanh_ratio(numerator, denominator):
    """The inverse hyperbolic tangent of a small ratio, by its series."""
    power = (numerator << P) // denominator
    n2, d2 = numerator * numerator, denominator * denominator
    total, i = 0, 1
    while power:
        total += power // i
        power = power * n2 // d2
        i += 2
    return total


@lru_cache(None)
def ln_2():
    """ln 2."""
    return 2 * atanh_ratio(1, 3)


def ln(x):
    """ln of a positive number with P fraction bits."""
    n = x.bit_length() - 1 - P
    m = x >> n if n >= 0 else x << -n
    # m in 1..2; brought near to one by a factor of a short table.
    i = (m - ONE) >> (P - 5)
    near = ln_of_step(i)
    m = (m << 5) // (32 + i)
    return n * ln_2() + near + 2 * atanh_ratio(m - ONE, m + ONE)


@lru_cache(None)
def ln_of_step(i):
    """ln(1 + i/32)."""
    return 2 * atanh_ratio(i, 64 + i)


def ln_ratio(numerator, denominator, bits):
    """round(2^bits * ln(numerator / denominator))."""
    if numerator == denominator:
        return 0
    return rounded(ln((numerator << P) // denominator), bits)


def ln_of_ln_ratio(i, denominator, bits):
    """round(2^bits * ln(-ln(1 - v) / v)) with v = i / denominator."""
    inner = -ln(((denominator - i) << P) // denominator)
    return rounded(ln(inner * denominator // i), bits)


def exp_ratio(numerator, denominator, bits):
    """round(2^bits * e^(numerator / denominator))."""
    if numerator == 0:
        return 1 << bits
    return rounded(exp((numerator << P) // denominator), bits)


# Circular functions


@lru_cache(None)
def pi():
    """Machin's formula."""

    def atan_inverse(n):
        power, total, i, sign = ONE // n, 0, 1, 1
        while power:
            total += sign * (power // i)
            power //= n * n
            i, sign = i + 2, -sign
        return total

    return 4 * (4 * atan_inverse(5) - atan_inverse(239))


def cos_sin(x):
    """Cosine and sine of a number with P fraction bits."""
    quarter = pi() // 2
    n, x = divmod(x, quarter)
    square = x * x >> P
    cosine = term = ONE
    i = 1
    while term:
        term = -(term * square >> P) // ((2 * i - 1) * (2 * i))
        if term == -1:
            break
        cosine += term
        i += 1
    sine = term = x
    i = 1
    while term:
        term = -(term * square >> P) // ((2 * i) * (2 * i + 1))
        if term == -1:
            break
        sine += term
        i += 1
    return [(cosine, sine), (-sine, cosine), (-cosine, -sine), (sine, -cosine)][n % 4]


# The normal distribution


@lru_cache(None)
def root_of_two_pi():
    """The square root of two pi."""
    return isqrt(2 * pi() << P)


def normal_above(x):
    """The mass of the normal distribution above x >= 0, by 1/2 - phi(x) * (x + x^3/3 + ...)."""
    square = x * x >> P
    term = total = x
    i = 3
    while term:
        term = (term * square >> P) // i
        total += term
        i += 2
    density = (exp(-square // 2) << P) // root_of_two_pi()
    return ONE // 2 - (density * total >> P)
