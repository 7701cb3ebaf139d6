"""What dtype two dtypes meet at: a JSON table, with no tensors."""

import json

import torch

from recorder import DTYPES, NAMES


class Promotion:
    name = "promotion"
    cases = ()

    @staticmethod
    def write(folder):
        """`tensors[a][b]` for two tensors; `scalars[a][kind]` for a tensor and a scalar of that kind."""
        table = {
            "torch": torch.__version__,
            "tensors": {a: {b: NAMES.get(torch.promote_types(da, db), "i16") for b, db in DTYPES.items()}
                        for a, da in DTYPES.items()},
            "scalars": {a: {kind: NAMES[torch.result_type(torch.zeros(2, dtype=da), scalar)]
                            for kind, scalar in (("bool", True), ("int", 3), ("float", 1.5))}
                        for a, da in DTYPES.items()},
        }
        (folder / "promotion.json").write_text(json.dumps(table, indent=1) + "\n")


def record():
    return Promotion()
