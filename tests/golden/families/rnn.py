"""Recurrent layers."""

import torch
import torch.nn as nn

from recorder import Family


def record():
    family = Family("rnn")
    base = {"input_size": 3, "hidden_size": 4, "num_layers": 1, "bias": True, "bidirectional": False}
    for op, kind, states in (("lstm", nn.LSTM, 2), ("gru", nn.GRU, 1), ("rnn_tanh", nn.RNN, 1)):
        for name, changes in (("one_layer", {}), ("without_bias", {"bias": False}),
                              ("two_layers_both_ways", {"num_layers": 2, "bidirectional": True})):
            params = {**base, **changes}
            if op == "rnn_tanh" and name != "one_layer":
                continue
            rows = params["num_layers"] * (2 if params["bidirectional"] else 1)
            call = (lambda m, x, h, c: flat(m(x, (h, c)))) if states == 2 else (lambda m, x, h: m(x, h))
            family.module(f"{op}/{name}", op, kind(**params, batch_first=True, dtype=torch.float64),
                          lambda r: [r.normal(2, 5, 3)] + [r.normal(rows, 2, 4) for _ in range(states)],
                          call, params=params,
                          note="batch first; inputs: x, h0 (and c0); outputs: y, hn (and cn)")
    return family


def flat(result):
    y, (h, c) = result
    return y, h, c
