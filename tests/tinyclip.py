"""A CLIP of random weights, made from a configuration, in a folder as transformers saves it. Skips the test where it is not installed."""

import json
from pathlib import Path

import pytest
import torch

SIDE, WIDTH = 16, 16
WORDS = (
    *("a", "photo", "of", "picture", "close", "up", "bright", "dark", "blurry", "good", "bad", "drawing"),
    *("painting", "render", "cropped", "face", "smiling", "red", "green", "old"),
)


def made(folder: Path, seed: int = 0) -> str:
    """The folder."""
    transformers = pytest.importorskip("transformers", reason="the extra `clip` (transformers) is not installed")
    if (folder / "model.safetensors").is_file():
        return str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted({c for word in WORDS for c in word} | {"-"})
    pieces = [*letters, *(f"{c}</w>" for c in letters), *(f"{w}</w>" for w in WORDS if len(w) > 1)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"]))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    end = vocabulary["<|endoftext|>"]
    text = {
        "vocab_size": len(vocabulary), "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 40, "eos_token_id": end, "pad_token_id": end,
        "bos_token_id": vocabulary["<|startoftext|>"],
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": 8,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
        transformers.CLIPModel(config).save_pretrained(folder, safe_serialization=True)
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    return str(folder)
