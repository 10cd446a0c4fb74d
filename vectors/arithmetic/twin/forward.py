"""A pass of a decoder or an encoder, token by token, out of the operations of `law.py`."""

import law


class Layer:
    """One layer's parts; the gate is missing in an encoder, the head norms in most models."""

    def __init__(self, model, index):
        c, prefix = model.configuration, f"layer.{index}."
        self.index = index
        self.window = c.window if index >= c.first_window_layer else 0
        for name in ("query", "key", "value", "output", "up", "down"):
            setattr(self, name, model.matrix(prefix + name))
        self.gate = None if c.is_encoder else model.matrix(prefix + "gate")
        has_head_norms = c.head_epsilon is not None
        self.query_norm = model.vector(prefix + "query-norm") if has_head_norms else None
        self.key_norm = model.vector(prefix + "key-norm") if has_head_norms else None
        self.attention_norm = norm_of(model, prefix + "attention-norm")
        self.feed_forward_norm = norm_of(model, prefix + "feed-forward-norm")


def norm_of(model, name):
    """Gains with their bits, and the bias of a layer norm."""
    bias = model.vector(name + ".bias") if name + ".bias" in model.parts else None
    return model.vector(name), bias


class Cache:
    """A-19: for each key head, the keys and values of the positions so far and their bits."""

    def __init__(self, heads):
        self.keys = [[] for _ in range(heads)]
        self.values = [[] for _ in range(heads)]
        self.key_bits = [[] for _ in range(heads)]
        self.value_bits = [[] for _ in range(heads)]

    def copy(self):
        """Another cache with the same content."""
        other = Cache(len(self.keys))
        for name in ("keys", "values", "key_bits", "value_bits"):
            setattr(other, name, [list(head) for head in getattr(self, name)])
        return other


class Network:
    """A model's parts, ready to be computed with."""

    def __init__(self, model):
        self.model, self.c = model, model.configuration
        self.layers = [Layer(model, index) for index in range(self.c.layers)]
        self.embedding = model.matrix("embedding")
        self.table = model.vector("exponential")[0]
        if self.c.is_encoder:
            self.bend = model.vector("gelu")[0]
            self.positions, self.position_bits = model.vector("position")
            self.input_norm = norm_of(model, "embedding-norm")
        else:
            self.bend = model.vector("silu")[0]
            self.cosines = model.vector("rotation-cosine")[0]
            self.sines = model.vector("rotation-sine")[0]
            self.final_norm = norm_of(model, "final-norm")
            self.head = self.embedding if self.c.is_tied else model.matrix("head")

    # Pieces

    def linear(self, matrix, x):
        """A-9 and A-33."""
        p, bits = law.linear(matrix.rows, matrix.scales, matrix.j, *x)
        if matrix.bias is None:
            return p, bits
        return law.add_bias(p, bits, *matrix.bias)

    def heads(self, p):
        """A vector in heads."""
        return [p[at : at + self.c.head_dim] for at in range(0, len(p), self.c.head_dim)]

    def rotation(self, position):
        """Cosines and sines of one position."""
        half = self.c.head_dim // 2
        row = slice(position * half, (position + 1) * half)
        return self.cosines[row], self.sines[row]

    def rms(self, h, norm):
        """A-13 to A-15 of the residual stream."""
        (gains, bits), _ = norm
        return law.root_mean_square_norm(h, gains, bits, self.c.epsilon)

    def layer_norm(self, h, norm):
        """A-34."""
        (gains, bits), (bias, bias_bits) = norm
        r_bits = self.c.residual_bits
        return law.layer_norm(h, gains, bits, self.c.epsilon, bias, bias_bits, r_bits)

    def block_input(self, h, norm):
        """A-11: what a block reads."""
        if self.c.is_encoder:
            x, e = law.narrow(h, law.INT16)
            return x, self.c.residual_bits - e
        return self.rms(h, norm)

    def after_block(self, h, norm):
        """A-11: an encoder norms the sum."""
        return self.layer_norm(h, norm) if self.c.is_encoder else h

    def narrow_head(self, head, bits, norm):
        """A-17 before the rotation."""
        if norm is not None:
            return law.head_norm(head, bits, *norm, self.c.head_epsilon)
        x, e = law.narrow(head, law.INT16)
        return x, bits - e

    # A token's way

    def embed(self, token, position):
        """A-10."""
        matrix, r_bits = self.embedding, self.c.residual_bits
        h = law.embed(matrix.rows[token], matrix.scales[token], matrix.j, r_bits)
        if not self.c.is_encoder:
            return h
        row = self.positions[position * self.c.width : (position + 1) * self.c.width]
        h = law.add_to_residual(h, row, self.position_bits, r_bits, "embedding")
        return self.layer_norm(h, self.input_norm)

    def queries(self, layer, x, position):
        """A-16 to A-18: each head of the query and its bits."""
        p, bits = self.linear(layer.query, x)
        found = []
        for head in self.heads(p):
            q, q_bits = self.narrow_head(head, bits, layer.query_norm)
            if not self.c.is_encoder:
                q, e = law.narrow(law.rotate(q, *self.rotation(position)), law.INT16)
                q_bits += 14 - e
            found.append((q, q_bits))
        return found

    def remember(self, layer, x, position, cache):
        """A-19: one more position in the cache."""
        p, bits = self.linear(layer.key, x)
        for index, head in enumerate(self.heads(p)):
            key_bits = bits
            if not self.c.is_encoder:
                head, key_bits = self.narrow_head(head, bits, layer.key_norm)
                head, key_bits = law.rotate(head, *self.rotation(position)), key_bits + 14
            key, e = law.narrow(head, law.INT8)
            cache.keys[index].append(key)
            cache.key_bits[index].append(key_bits - e)
        p, bits = self.linear(layer.value, x)
        for index, head in enumerate(self.heads(p)):
            value, e = law.narrow(head, law.INT8)
            cache.values[index].append(value)
            cache.value_bits[index].append(bits - e)

    def attend(self, layer, queries, position, cache):
        """A-20 to A-23: the input of the output layer."""
        end = len(cache.keys[0]) if self.c.is_encoder else position + 1
        seen = slice(max(0, end - layer.window) if layer.window else 0, end)
        group, found = self.c.heads // self.c.kv_heads, []
        for index, (query, query_bits) in enumerate(queries):
            head = index // group
            keys, key_bits = cache.keys[head][seen], cache.key_bits[head][seen]
            sigma = law.scores(query, query_bits, keys, key_bits)
            e, z = law.numerators(sigma, self.table)
            w, b = law.weights(e, cache.value_bits[head][seen])
            found.append((law.weighted_sum(w, cache.values[head][seen]), z, b))
        least, out = min(b for _, _, b in found), []
        for o, z, b in found:
            out += law.divide(o, z, b - least)
        return out, least + 8

    def feed_forward(self, layer, x):
        """A-24 to A-26: the input of the down layer."""
        gate = law.gate(*self.linear(layer.gate or layer.up, x))
        g, e = law.narrow(law.activate(gate, self.bend), law.INT16)
        if layer.gate is None:
            return g, 12 - e
        p, up_bits = self.linear(layer.up, x)
        up, up_e = law.narrow(p, law.INT16)
        y, y_e = law.narrow(law.gated(g, up), law.INT16)
        return y, 12 - e + up_bits - up_e - y_e

    def layer(self, layer, streams, positions, cache):
        """A-11: one layer for a stack of tokens of one text."""
        r_bits, c = self.c.residual_bits, self.c
        inputs = [self.block_input(h, layer.attention_norm) for h in streams]
        for x, position in zip(inputs, positions):
            self.remember(layer, x, position, cache)
        found = []
        for h, x, position in zip(streams, inputs, positions):
            queries = self.queries(layer, x, position)
            p, bits = self.linear(layer.output, self.attend(layer, queries, position, cache))
            h = law.add_to_residual(h, p, bits, r_bits, "attention residual")
            h = self.after_block(h, layer.attention_norm)
            x = self.block_input(h, layer.feed_forward_norm)
            p, bits = self.linear(layer.down, self.feed_forward(layer, x))
            h = law.add_to_residual(h, p, bits, r_bits, "feed-forward residual")
            found.append(self.after_block(h, layer.feed_forward_norm))
        return found

    def layers_of(self, tokens, start, caches):
        """The residual streams of tokens after the last layer."""
        if not all(0 <= token < self.c.vocabulary for token in tokens):
            raise ValueError("a token outside the vocabulary")
        if not 1 <= start + len(tokens) <= self.c.context:
            raise ValueError("an empty text, or one that does not fit the context")
        positions = range(start, start + len(tokens))
        streams, at = [], 0
        try:
            streams = [self.embed(token, position) for token, position in zip(tokens, positions)]
            for at, (layer, cache) in enumerate(zip(self.layers, caches)):
                streams = self.layer(layer, streams, positions, cache)
        except law.Refusal as refusal:
            refusal.layer = at
            raise
        return streams

    def caches(self):
        """Empty caches of a text."""
        return [Cache(self.c.kv_heads) for _ in self.layers]

    def logits(self, h):
        """A-12."""
        p, bits = self.linear(self.head, self.rms(h, self.final_norm))
        try:
            return law.logits(p, bits, self.c.logit_bits)
        except law.Refusal as refusal:
            refusal.layer = self.c.layers
            raise

    def vector_of(self, tokens):
        """A-36 and A-37: an encoder's vector of a text."""
        streams = self.layers_of(tokens, 0, self.caches())
        kind, is_normalised = self.c.pooling
        try:
            return law.pool(streams, kind == 1, is_normalised, self.c.residual_bits)
        except law.Refusal as refusal:
            refusal.layer = self.c.layers
            raise


class Text:
    """A decoder's text in the making."""

    def __init__(self, network, caches=None, length=0):
        self.network, self.caches, self.length = network, caches or network.caches(), length

    def append(self, token):
        """The residual stream of one more token."""
        (h,) = self.network.layers_of([token], self.length, self.caches)
        self.length += 1
        return h

    def branch(self):
        """Another text with the same beginning."""
        return Text(self.network, [cache.copy() for cache in self.caches], self.length)
