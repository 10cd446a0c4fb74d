"""What the official packages' programs do not offer, for `cargo xtask formats`.

keys FOLDER             writes a new P-256 key pair: private.pem, public.pem
sign-shards MODEL KEY SIGNATURE SIZE
verify-shards MODEL KEY SIGNATURE SIZE
canonical FILE          fails unless the file is the canonical JSON (RFC 8785) of itself
describe FOLDER FILE    writes what mlcroissant says of a folder's files
digests FILE            fails unless every file that a Croissant document tells of is beside it, with its digest
"""

import hashlib
import json
import pathlib
import sys
import urllib.parse

import mlcroissant as mlc
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


def describe(folder, path):
    folder = pathlib.Path(folder)
    files = sorted(found for found in folder.rglob("*") if found.is_file())
    distribution = [
        mlc.FileObject(
            id=f"file-{number}",
            name=f"file-{number}",
            content_url=urllib.parse.quote(str(found.relative_to(folder))),
            content_size=f"{found.stat().st_size} B",
            encoding_formats=["text/plain"],
            sha256=hashlib.sha256(found.read_bytes()).hexdigest(),
        )
        for number, found in enumerate(files)
    ]
    metadata = mlc.Metadata(
        name="Notes on databases",
        description="Two notes.",
        license=["https://creativecommons.org/licenses/by/4.0/"],
        url="https://example.org/notes",
        version="1.2.0",
        distribution=distribution,
    )
    pathlib.Path(path).write_text(json.dumps(metadata.to_json(), default=str), "utf-8")


def digests(path):
    metadata = mlc.Dataset(jsonld=path).metadata
    for found in metadata.distribution:
        name = urllib.parse.unquote(found.content_url)
        text = (pathlib.Path(path).parent / name).read_bytes()
        if hashlib.sha256(text).hexdigest() != found.sha256:
            raise SystemExit(f"{name} is another file")
    if not metadata.distribution:
        raise SystemExit("the document tells of no files")


ACTS = {
    "keys": keys,
    "sign-shards": sign_shards,
    "verify-shards": verify_shards,
    "canonical": canonical,
    "describe": describe,
    "digests": digests,
}
ACTS[sys.argv[1]](*sys.argv[2:])
