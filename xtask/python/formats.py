"""What the official packages' programs do not offer, for `cargo xtask formats`.

keys FOLDER             writes a new P-256 key pair: private.pem, public.pem
sign-shards MODEL KEY SIGNATURE SIZE
verify-shards MODEL KEY SIGNATURE SIZE
canonical FILE          fails unless the file is the canonical JSON (RFC 8785) of itself
"""

import json
import pathlib
import sys

import rfc8785
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying


def keys(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pathlib.Path(folder, "private.pem").write_bytes(private)
    pathlib.Path(folder, "public.pem").write_bytes(public)


def shards(size):
    return hashing.Config().use_shard_serialization(shard_size=int(size))


def sign_shards(model, key, signature, size):
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    config.set_hashing_config(shards(size)).sign(model, signature)


def verify_shards(model, key, signature, size):
    config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    config.set_hashing_config(shards(size)).verify(model, signature)


def canonical(path):
    text = pathlib.Path(path).read_bytes()
    if rfc8785.dumps(json.loads(text)) != text:
        raise SystemExit(f"{path} is not canonical")


ACTS = {
    "keys": keys,
    "sign-shards": sign_shards,
    "verify-shards": verify_shards,
    "canonical": canonical,
}
ACTS[sys.argv[1]](*sys.argv[2:])
