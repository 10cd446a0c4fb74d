"""The smallest tokenizers that a checkpoint can have, and the files of a sentence encoder."""

import json
import string

# The one pair of characters that is a token.
MERGE = ("t", "h")

def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def ascii_tokens(count):
    """A vocabulary of `count` tokens: <end>, <begin>, each printable ASCII character, one pair.

    Byte-level tokenizers write a space as Ġ and a line feed as Ċ.
    """
    characters = string.ascii_letters + string.digits + string.punctuation
    tokens = ["<end>", "<begin>", "Ġ", "Ċ", *characters, "".join(MERGE)]
    return tokens + [f"<unused {index}>" for index in range(count - len(tokens))]


def write_bytes(folder, count):
    """Byte-level BPE with one merge."""
    tokens = ascii_tokens(count)
    special = [
        {
            "id": index,
            "content": tokens[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index in (0, 1)
    ]
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", **level},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", **level},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {token: index for index, token in enumerate(tokens)},
                "merges": [list(MERGE)],
            },
        },
    )


def write_words(folder, count):
    """WordPiece whose words are single letters."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    tokens += [*string.digits, *string.punctuation]
    tokens += [f"[unused{index}]" for index in range(count - len(tokens))]
    special = [
        {
            "id": index,
            "content": tokens[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index in range(5)
    ]
    surround = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    write(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": True,
                "strip_accents": None,
                "lowercase": True,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": surround,
                "pair": [
                    *surround,
                    {"Sequence": {"id": "B", "type_id": 1}},
                    {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
                ],
                "special_tokens": {
                    name: {"id": name, "ids": [tokens.index(name)], "tokens": [name]}
                    for name in ("[CLS]", "[SEP]")
                },
            },
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {token: index for index, token in enumerate(tokens)},
            },
        },
    )


def write_sentence_folder(folder, width, is_mean):
    """The modules of sentence-transformers: encoder, pooling and, for the mean, a normalisation."""
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    if is_mean:
        modules.append(
            {
                "idx": 2,
                "name": "2",
                "path": "2_Normalize",
                "type": "sentence_transformers.models.Normalize",
            }
        )
    write(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": width,
            "pooling_mode_cls_token": not is_mean,
            "pooling_mode_mean_tokens": is_mean,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    write(folder / "sentence_bert_config.json", {"max_seq_length": 128, "do_lower_case": False})
