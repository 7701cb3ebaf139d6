"""Scaled-dot-product attention and nn.MultiheadAttention."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from recorder import Family

# name: (query [..., L, E], key [..., S, E], value [..., S, V])
SHAPES = {
    "small": ((2, 3, 5), (2, 3, 5), (2, 3, 5)),
    "heads": ((2, 2, 5, 3), (2, 2, 7, 3), (2, 2, 7, 2)),
    "one_query": ((1, 2, 1, 5), (1, 2, 7, 5), (1, 2, 7, 5)),
    "one_key": ((2, 3, 2), (2, 1, 2), (2, 1, 2)),
}


def attend(q, k, v, *mask, is_causal, scale, mask_kind):
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, k, v, mask[0] if mask else None, 0.0, is_causal, scale=scale)


def visible(r, rows, columns):
    """A random mask, true where attention may look, with something to look at in every row."""
    mask = r.bools(rows, columns)
    mask[:, 0] = True
    return mask


def record():
    family = Family("attention")
    op = "scaled_dot_product_attention"
    note = "inputs: query, key, value, mask if a fourth; a bool mask is true where attention looks"
    for name, (q, k, v) in SHAPES.items():
        qkv = lambda r: [r.normal(*q), r.normal(*k), r.normal(*v)]
        rows, columns = q[-2], k[-2]
        plain = {"is_causal": False, "scale": None, "mask_kind": None}
        family.case(f"sdpa_plain/{name}", op, attend, qkv, params=plain, second=True, note=note)
        family.case(f"sdpa_scale/{name}", op, attend, qkv, params={**plain, "scale": 0.7}, note=note)
        family.case(f"sdpa_causal/{name}", op, attend, qkv, params={**plain, "is_causal": True}, second=True,
                    note=f"{note}; query i sees keys 0..=i")
        family.case(f"sdpa_bool_mask/{name}", op, attend, lambda r: qkv(r) + [visible(r, rows, columns)],
                    params={**plain, "mask_kind": "bool"}, second=True, note=note)
        family.case(f"sdpa_additive_mask/{name}", op, attend, lambda r: qkv(r) + [r.normal(rows, columns)],
                    params={**plain, "mask_kind": "additive"}, second=True, note=note)
    family.case("sdpa_bool_mask/per_batch", op, attend,
                lambda r: [r.normal(2, 2, 3, 5), r.normal(2, 2, 3, 5), r.normal(2, 2, 3, 5),
                           torch.stack([visible(r, 1, 3), visible(r, 1, 3)])],
                params={**plain, "mask_kind": "bool"}, note=note)
    family.case("sdpa_bool_mask/blind_row", op, attend,
                lambda r: [r.normal(1, 2, 3), r.normal(1, 3, 3), r.normal(1, 3, 3),
                           torch.tensor([[True, False, True], [False, False, False]])],
                params={**plain, "mask_kind": "bool"}, note=f"{note}; a row that sees nothing gives zeros")
    split = [{"view": "permute", "dims": [0, 2, 1, 3]}]
    family.case("sdpa_causal/heads_split_by_permute", op, attend,
                lambda r: [r.normal(2, 5, 2, 3), r.normal(2, 5, 2, 3), r.normal(2, 5, 2, 3)],
                params={**plain, "is_causal": True}, views={0: split, 1: split, 2: split}, note=note)
    multihead(family)
    return family


def multihead(family):
    op = "multihead_attention"
    size = {"embed_dim": 6, "num_heads": 2, "bias": True, "mask": None}
    note = "batch first; inputs: query = key = value; outputs: y, attention weights averaged over heads"
    make = lambda **changes: nn.MultiheadAttention(6, 2, batch_first=True, dtype=torch.float64, **changes)
    sequence = lambda r: [r.normal(2, 5, 6)]
    itself = lambda m, x, **masks: m(x, x, x, **masks)
    family.module("mha/self", op, make(), sequence, itself, params=size, note=note)
    family.module("mha/without_bias", op, make(bias=False), sequence, itself, params={**size, "bias": False}, note=note)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    family.module("mha/causal", op, make(), sequence,
                  lambda m, x: itself(m, x, attn_mask=causal), params={**size, "mask": "causal"}, note=note)
    family.module("mha/cross", op, make(), lambda r: [r.normal(2, 3, 6), r.normal(2, 5, 6), r.normal(2, 5, 6)],
                  lambda m, q, k, v: m(q, k, v), params=size, note="inputs: query, key, value")
    family.module("mha/key_padding", op, make(), lambda r: [r.normal(2, 5, 6), torch.tensor(
        [[False] * 5, [False, False, True, True, True]])],
        lambda m, x, hidden: itself(m, x, key_padding_mask=hidden), params={**size, "mask": "key_padding"},
        note="inputs: query = key = value, then a mask that is true where a key is padding (PyTorch's sense)")
