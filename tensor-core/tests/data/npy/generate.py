"""Writes the arrays of tests/npy.rs as NumPy writes them. Run it in this folder; it needs numpy alone.

Made with numpy 2.4.6.
"""

import numpy as np

count = np.arange(6).reshape(2, 3)
arrays = {
    "f2": np.array([0.1, np.inf, -2.5], "<f2"),
    "f4": np.array([[0.1, -1.5, np.nan], [0.0, -0.0, 3e38]], "<f4"),
    "f8": np.array([0.1, 5e-324], "<f8"),
    "i4": np.array([-(2**31), 2**31 - 1], "<i4"),
    "i8": np.array([-(2**63), 2**63 - 1], "<i8"),
    "u1": np.array([0, 7, 255], "u1"),
    "i1": np.array([-128, -1, 127], "i1"),
    "b1": np.array([True, False, True]),
    "scalar": np.array(2.5, "<f4"),
    "empty": np.zeros((0, 3), "<f8"),
    "big_f4": np.array([0.1, -1.5], ">f4"),
    "big_i8": count.astype(">i8"),
    "fortran": np.asfortranarray(count.astype("<i8")),
    "fortran_3d": np.asfortranarray(np.arange(24, dtype="<i4").reshape(2, 3, 4)),
    "i2": np.array([1, 2], "<i2"),
    "complex": np.array([1j], "<c8"),
    "struct": np.zeros(2, [("x", "<f4"), ("y", "<i4")]),
}
for name, array in arrays.items():
    np.save(f"{name}.npy", array)
for major in (2, 3):
    with open(f"version_{major}.npy", "wb") as file:
        np.lib.format.write_array(file, count.astype("<i8"), version=(major, 0))
np.savez("stored.npz", a=count.astype("<i8"), b=np.array(2.5, "<f4"))
np.savez_compressed("deflated.npz", a=count.astype("<i8"), b=np.array(2.5, "<f4"))
