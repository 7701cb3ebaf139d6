"""Embedding look-up."""

import torch
import torch.nn.functional as F

from recorder import Family


def embedding(ids, weight, padding_idx):
    return F.embedding(ids, weight, padding_idx)


def record():
    family = Family("embedding")
    note = "inputs: ids, weight [rows, width]"
    for name, shape in (("scalar", ()), ("flat", (7,)), ("matrix", (2, 3)), ("empty", (0,))):
        for padding in (None, 0, 2):
            family.case(f"embedding_padding_{padding}/{name}".lower(), "embedding", embedding,
                        lambda r: [r.integers(0, 5, *shape), r.normal(5, 3)], params={"padding_idx": padding},
                        second=name == "matrix", note=note)
    family.case("embedding_padding_none/all_the_same", "embedding", embedding,
                lambda r: [torch.full((3, 5), 4), r.normal(5, 3)], params={"padding_idx": None}, note=note)
    family.case("embedding_padding_1/repeated", "embedding", embedding,
                lambda r: [torch.tensor([[1, 3, 1], [0, 1, 3]]), r.normal(5, 2)], params={"padding_idx": 1},
                note=f"{note}; the padding row reads as it is and gets no gradient")
    return family
