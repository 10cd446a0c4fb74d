"""The model file of `spec/model.md`: parsed strictly, with its root.

Clauses M-1 to M-10. What is not written exactly as the specification has it is refused.
"""

from array import array
from hashlib import sha256
import sys

from law import group_row

MAGIC = b"TALLY-MODEL-1\r\n\x1a"
ARITHMETIC = "ra-1-draft.2"
MANIFEST_MAX = 2**20
ALIGNMENT = 64

INT8, INT16, UINT16, TEXT, INT4, UINT8, INT32 = range(1, 8)
TYPECODES = {INT8: "b", INT16: "h", UINT16: "H", UINT8: "B", INT32: "i"}


class ModelRefusal(Exception):
    """A file that is not as the specification has it."""


def require(is_so, what):
    """Refuses with a sentence."""
    if not is_so:
        raise ModelRefusal(what)


# Deterministic CBOR


class Reader:
    """Pulls items out of deterministic CBOR."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        require(self.at + count <= len(self.data), "the manifest is truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def item(self):
        """One item of any type that the format has."""
        head = self.take(1)[0]
        major, low = head >> 5, head & 31
        if major == 7:
            require(low in (20, 21, 22), "a simple value other than false, true and null")
            return {20: False, 21: True, 22: None}[low]
        value = self.argument(low)
        if major == 0:
            return value
        if major == 1:
            return -1 - value
        if major == 2:
            return self.take(value)
        if major == 3:
            return self.take(value).decode("utf-8")
        require(value <= len(self.data), "a count that no item can have")
        if major == 4:
            return [self.item() for _ in range(value)]
        require(major == 5, "a tag, which the format has not")
        found, last = {}, -1
        for _ in range(value):
            key = self.item()
            is_next = type(key) is int and key > last
            require(is_next, "keys of a map are not in increasing order")
            found[key], last = self.item(), key
        return found

    def argument(self, low):
        if low < 24:
            return low
        require(low <= 27, "an indefinite length")
        size = 1 << (low - 24)
        value = int.from_bytes(self.take(size), "big")
        least = 24 if size == 1 else 1 << (4 * size)
        require(value >= least, "an argument that is not in its shortest form")
        return value


def read_cbor(data):
    """The one item of the data."""
    reader = Reader(data)
    value = reader.item()
    require(reader.at == len(data), "bytes follow the manifest's last item")
    return value


def cbor(value):
    """The deterministic encoding of a value."""

    def head(major, number):
        if number < 24:
            return bytes([major << 5 | number])
        size = next(s for s in (1, 2, 4, 8) if number < 1 << (8 * s))
        return bytes([major << 5 | 24 + size.bit_length() - 1]) + number.to_bytes(size, "big")

    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        data = value.encode("utf-8")
        return head(3, len(data)) + data
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    items = b"".join(cbor(key) + cbor(value[key]) for key in sorted(value))
    return head(5, len(value)) + items


# Parts


class Configuration:
    """The numbers of M-5 by name."""

    def __init__(self, m, family):
        self.family = family
        self.vocabulary, self.width, self.hidden, self.layers = m[1], m[2], m[3], m[4]
        self.heads, self.kv_heads, self.head_dim, self.context = m[5], m[6], m[7], m[8]
        self.is_tied, self.residual_bits, self.epsilon = m[9], m[10], m[11]
        self.logit_bits, self.end_tokens = m[12], m[13]
        self.begin_token = m.get(16)
        self.element_bits, self.group = m[17]
        self.has_attention_bias, self.has_output_bias, self.has_feed_forward_bias = m[18]
        self.head_epsilon = m.get(19)
        self.window, self.first_window_layer = m.get(20, [0, 0])
        self.pooling = m.get(21)
        allowed = set(range(1, 22))
        needed = allowed - {16, 19, 20, 21}
        require(needed <= set(m) <= allowed, "keys of the configuration")
        self.check()

    @property
    def is_encoder(self):
        return self.family == "encoder"

    def check(self):
        """M-5 and the bounds of the arithmetic."""
        in_range = [
            (self.vocabulary, 1, 2**20),
            (self.width, 1, 2**14),
            (self.hidden, 1, 2**16),
            (self.layers, 1, 256),
            (self.heads, 1, 2**16),
            (self.kv_heads, 1, self.heads),
            (self.head_dim, 2, 256),
            (self.heads * self.head_dim, 1, 2**16),
            (self.context, 1, 2**12 if self.is_encoder else 2**17),
            (self.residual_bits, 0, 24),
            (self.logit_bits, 0, 20),
            (self.epsilon, 0, 2**60),
            (self.head_epsilon or 0, 0, 2**60),
            (self.window, 0, 2**17),
            (self.first_window_layer, 0, self.layers - 1),
        ]
        for value, least, most in in_range:
            require(least <= value <= most, f"{value} is not in {least}..={most}")
        require(self.head_dim % 2 == 0, "the width of a head is odd")
        require(self.heads % self.kv_heads == 0, "heads do not share keys evenly")
        require((self.element_bits, self.group) in ((8, 0), (8, 32), (4, 32)), "kind of weights")
        tokens = self.end_tokens
        require(len(tokens) <= 64 and tokens == sorted(set(tokens)), "end tokens")
        for token in tokens + [t for t in [self.begin_token] if t is not None]:
            require(0 <= token < self.vocabulary, "a token outside the vocabulary")
        require(self.is_encoder == (self.pooling is not None), "family and pooling")
        if self.is_encoder:
            require(self.pooling[0] in (1, 2), "kind of pooling")
            biases = (self.has_attention_bias, self.has_output_bias, self.has_feed_forward_bias)
            require(all(biases) and self.kv_heads == self.heads, "an encoder's shape")
            nothing = (self.is_tied, self.logit_bits, self.end_tokens, self.window)
            require(not any(nothing), "an encoder claims what only decoders have")
            require(self.begin_token is None and self.head_epsilon is None, "an encoder's keys")


def layer_matrices(c):
    """(name, rows, columns, has bias) of a layer's matrices in their order."""
    query, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
    found = [
        ("query", query, c.width, c.has_attention_bias),
        ("key", kv, c.width, c.has_attention_bias),
        ("value", kv, c.width, c.has_attention_bias),
        ("output", c.width, query, c.has_output_bias),
        ("gate", c.hidden, c.width, c.has_feed_forward_bias),
        ("up", c.hidden, c.width, c.has_feed_forward_bias),
        ("down", c.width, c.hidden, c.has_feed_forward_bias),
    ]
    return [matrix for matrix in found if not (c.is_encoder and matrix[0] == "gate")]


def demands(c):
    """M-8: (name, kind, shape, least and most fraction bits) of every part."""
    found = []

    def matrix(name, rows, columns, may_have_groups, has_bias=False):
        has_groups = may_have_groups and c.group and columns % c.group == 0
        kind = INT4 if has_groups and c.element_bits == 4 else INT8
        found.append((name, kind, [rows, columns], 0, 0))
        if has_groups:
            found.append((name + ".group-scale", UINT8, [rows, columns // 32], 0, 0))
        found.append((name + ".scale", INT16, [rows], 0, 60))
        if has_bias:
            found.append((name + ".bias", INT32, [rows], 0, 60))

    def gains(name, shape):
        found.append((name, INT16, shape, 0, 30))

    def norm(name):
        gains(name, [c.width])
        if c.is_encoder:
            found.append((name + ".bias", INT32, [c.width], 0, 60))

    matrix("embedding", c.vocabulary, c.width, False)
    if c.is_encoder:
        gains("position", [c.context, c.width])
        norm("embedding-norm")
    for layer in range(c.layers):
        norm(f"layer.{layer}.attention-norm")
        norm(f"layer.{layer}.feed-forward-norm")
        if c.head_epsilon is not None:
            gains(f"layer.{layer}.query-norm", [c.head_dim])
            gains(f"layer.{layer}.key-norm", [c.head_dim])
        for name, rows, columns, has_bias in layer_matrices(c):
            matrix(f"layer.{layer}.{name}", rows, columns, True, has_bias)
    if not c.is_encoder:
        norm("final-norm")
        if not c.is_tied:
            matrix("head", c.vocabulary, c.width, False)
        for name in ("rotation-cosine", "rotation-sine"):
            found.append((name, INT16, [c.context, c.head_dim // 2], 14, 14))
    found.append(("exponential", UINT16, [2**16], 16, 16))
    found.append(("gelu" if c.is_encoder else "silu", INT16, [2**16], 12, 12))
    found.append(("tokenizer.json", TEXT, None, 0, 0))
    found.append(("chat-template", TEXT, None, 0, 0))
    return found


def size_of(kind, shape):
    """Size of a part in bytes."""
    count = 1
    for dimension in shape:
        count *= dimension
    return {INT4: count // 2, INT16: 2 * count, UINT16: 2 * count, INT32: 4 * count}.get(kind, count)


def check_elements(name, kind, values):
    """M-9 for one part's elements, unpacked."""
    if kind == TEXT:
        return
    least, most = min(values), max(values)
    if name == "exponential":
        require(values[0] == 2**16 - 1, "the exponential does not begin with 2^16 - 1")
        return
    if name in ("silu", "gelu"):
        least_legal, most_legal = -(2**15), 0
    elif name.startswith("rotation-"):
        least_legal, most_legal = -(2**14), 2**14
    elif name.endswith(".scale") or name.endswith(".group-scale"):
        least_legal, most_legal = 1, 127 if kind == UINT8 else 32_767
    elif kind == INT32:
        least_legal, most_legal = -(2**29) + 1, 2**29 - 1
    elif kind == INT4:
        least_legal, most_legal = -8, 7
    else:
        most_legal = 127 if kind == INT8 else 32_767
        least_legal = -most_legal
    require(least_legal <= least and most <= most_legal, f"part {name} has an element out of range")


def unpack(kind, data):
    """The integers of a part's bytes."""
    if kind == INT4:
        values = []
        for at in range(0, len(data), 16):
            block = data[at : at + 16]
            values += [(byte & 15) - 8 for byte in block]
            values += [(byte >> 4) - 8 for byte in block]
        return values
    values = array(TYPECODES[kind])
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


# The root


def leaf_hash(data):
    """RFC 6962: hash of a leaf."""
    return sha256(b"\0" + data).digest()


def tree_root(leaves):
    """RFC 6962: root of a list of leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\1" + tree_root(leaves[:split]) + tree_root(leaves[split:])).digest()


def model_root(manifest, contents):
    """M-10."""
    leaves = [
        ["configuration", sha256(cbor([manifest[2], manifest[3], manifest[4]])).digest()],
        ["provenance", sha256(cbor(manifest[5])).digest()],
    ]
    for part, content in zip(manifest[6], contents):
        leaves.append(part[:4] + [sha256(content).digest()])
    tag = b"tally/model-part/v1\0"
    return tree_root([leaf_hash(tag + cbor(leaf)) for leaf in leaves]).hex()


# The file


class Matrix:
    """Rows w with scales mu and j; a bias or none."""

    def __init__(self, rows, scales, j, bias):
        self.rows, self.scales, self.j, self.bias = rows, scales, j, bias


class Model:
    """A parsed model file."""

    def __init__(self, data):
        self.manifest = self.read_manifest(data)
        self.configuration = Configuration(self.manifest[4], self.manifest[3])
        self.contents = self.read_parts(data)
        self.root = model_root(self.manifest, self.contents)
        self.parts = {}
        for part, content in zip(self.manifest[6], self.contents):
            name, kind, shape, bits = part[:4]
            values = content.decode("utf-8") if kind == TEXT else unpack(kind, content)
            check_elements(name, kind, values)
            self.parts[name] = (values, shape, bits)

    def read_manifest(self, data):
        require(data[:16] == MAGIC, "the magic is another")
        size = int.from_bytes(data[16:24], "little")
        require(size <= MANIFEST_MAX, "the manifest is too large")
        self.end_of_manifest = 24 + size
        encoded = data[24 : 24 + size]
        require(len(encoded) == size, "the file ends in the manifest")
        manifest = read_cbor(encoded)
        require(type(manifest) is dict and sorted(manifest) == list(range(1, 7)), "manifest keys")
        require(cbor(manifest) == encoded, "the manifest is not deterministic")
        require(manifest[1] == 2, "another version")
        require(manifest[2] == ARITHMETIC, f"arithmetic {manifest[2]}, not {ARITHMETIC}")
        require(manifest[3] in ("decoder", "encoder"), "another family")
        return manifest

    def read_parts(self, data):
        """M-2 and M-8: where every part lies and that it is the one demanded."""
        parts, wanted = self.manifest[6], demands(self.configuration)
        require([part[0] for part in parts] == [demand[0] for demand in wanted], "list of parts")
        start = -(-self.end_of_manifest // ALIGNMENT) * ALIGNMENT
        end, contents = self.end_of_manifest, []
        for part, (name, kind, shape, least, most) in zip(parts, wanted):
            _, found_kind, found_shape, bits, offset, size = part
            require(found_kind == kind and least <= bits <= most, f"part {name}: kind or bits")
            is_shape = found_shape == ([size] if kind == TEXT else shape)
            require(is_shape and size == size_of(kind, found_shape), f"part {name}: shape or size")
            begin = -(-end // ALIGNMENT) * ALIGNMENT
            require(offset == begin - start, f"part {name}: offset")
            require(not any(data[end:begin]), f"part {name}: padding is not zero")
            end = begin + size
            require(end <= len(data), f"part {name}: the file ends")
            contents.append(data[begin:end])
        require(end == len(data), "bytes follow the last part")
        return contents

    def vector(self, name):
        """The integers and the fraction bits of a part."""
        values, _, bits = self.parts[name]
        return values, bits

    def matrix(self, name):
        """A matrix with its elements w (A-6) row by row."""
        values, (count, columns), _ = self.parts[name]
        rows = [values[r * columns : (r + 1) * columns] for r in range(count)]
        if name + ".group-scale" in self.parts:
            groups, (_, per_row), _ = self.parts[name + ".group-scale"]
            scales = [groups[r * per_row : (r + 1) * per_row] for r in range(count)]
            rows = [group_row(row, of_row) for row, of_row in zip(rows, scales)]
        scales, j = self.vector(name + ".scale")
        bias = self.vector(name + ".bias") if name + ".bias" in self.parts else None
        return Matrix(rows, scales, j, bias)


def open_model(path):
    """Reads a model file."""
    with open(path, "rb") as file:
        return Model(file.read())
