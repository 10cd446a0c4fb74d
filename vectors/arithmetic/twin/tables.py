"""The tables of A-27, made from their formulas."""

from fractions import Fraction
from functools import lru_cache

import exact

ONE = exact.ONE


@lru_cache(None)
def exponential():
    """E[i] = round((2^16 - 1) * e^(-i/2^12))."""
    found = []
    for power in powers():
        found.append(exact.rounded(power * (2**16 - 1), 0))
    return found


@lru_cache(None)
def powers():
    """e^(-i/2^12) for i < 2^16: each block of 256 from its own first power."""
    step, found = exact.exp(-(ONE >> 12)), []
    for block in range(256):
        power = exact.exp(-(ONE * block >> 4))
        for _ in range(256):
            found.append(power)
            power = power * step >> exact.P
    return found


@lru_cache(None)
def silu():
    """psi[i] = round(2^12 * -x / (1 + e^x)) at x = i/2^12; e^-x / (1 + e^-x) is 1 / (1 + e^x)."""
    found = []
    for i, power in enumerate(powers()):
        found.append(exact.rounded(-i * ((power << exact.P) // (ONE + power)), 0))
    return found


@lru_cache(None)
def gelu():
    """psi[i] = round(2^12 * -x * (mass of the normal distribution below -x)) at x = i/2^12."""
    found = []
    for i in range(2**16):
        # From x = 6 on, x * 2^12 times the mass is below 2^15 * 10^-9.
        if i < 6 << 12:
            found.append(exact.rounded(-i * exact.normal_above(ONE * i >> 12), 0))
        else:
            found.append(0)
    return found


BY_NAME = {"exponential": exponential, "silu": silu, "gelu": gelu}


def speeds(theta, scaling, head_dim):
    """Radians per position of each pair, as A-27 has them."""
    log_theta = exact.ln((ONE * Fraction(theta)).__floor__())
    found = []
    for i in range(head_dim // 2):
        speed = exact.exp(-log_theta * 2 * i // head_dim)
        found.append(scaled(speed, scaling))
    return found


def scaled(speed, scaling):
    """The speed after the source's scaling."""
    kind = scaling["kind"]
    if kind == "none":
        return speed
    slow = (speed / Fraction(scaling["factor"])).__floor__()
    if kind == "linear":
        return slow
    low, high = Fraction(scaling["low"]), Fraction(scaling["high"])
    turns = Fraction(speed * scaling["original_context"], 2 * exact.pi())
    if turns <= low:
        return slow
    if turns >= high:
        return speed
    return slow + ((turns - low) / (high - low) * (speed - slow)).__floor__()


def rotation(theta, scaling, head_dim, positions):
    """Cosines and sines of the positions, 14 fraction bits, position by position."""
    cosines, sines = [], []
    for position in positions:
        for speed in speeds(theta, scaling, head_dim):
            cosine, sine = exact.cos_sin(speed * position)
            cosines.append(exact.rounded(cosine, 14))
            sines.append(exact.rounded(sine, 14))
    return cosines, sines
