"""Convolution and transposed convolution in one, two and three dimensions."""

import torch.nn.functional as F

from recorder import Family

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

# name: (x, weight [out, in / groups, *kernel], stride, padding, dilation, groups)
CONVS = {
    "plain_1d": ((2, 3, 7), (2, 3, 3), [1], [0], [1], 1),
    "strided_1d": ((2, 3, 11), (5, 3, 3), [2], [1], [1], 1),
    "dilated_1d": ((1, 2, 11), (3, 2, 3), [1], [2], [2], 1),
    "grouped_1d": ((2, 4, 7), (6, 2, 2), [2], [1], [1], 2),
    "depthwise_1d": ((2, 3, 7), (3, 1, 3), [1], [1], [1], 3),
    "pointwise_1d": ((2, 3, 5), (7, 3, 1), [1], [0], [1], 1),
    "plain_2d": ((2, 3, 5, 7), (2, 3, 3, 3), [1, 1], [0, 0], [1, 1], 1),
    "same_2d": ((2, 2, 5, 5), (3, 2, 3, 3), [1, 1], [1, 1], [1, 1], 1),
    "strided_2d": ((2, 2, 7, 6), (3, 2, 3, 2), [2, 3], [1, 0], [1, 1], 1),
    "rows_left_over_2d": ((1, 2, 8, 8), (3, 2, 3, 3), [3, 3], [0, 0], [1, 1], 1),
    "dilated_2d": ((1, 2, 7, 9), (2, 2, 3, 2), [1, 2], [2, 1], [2, 3], 1),
    "grouped_2d": ((2, 4, 5, 5), (6, 2, 3, 3), [1, 1], [1, 1], [1, 1], 2),
    "depthwise_2d": ((2, 3, 5, 5), (3, 1, 3, 3), [1, 1], [1, 1], [1, 1], 3),
    "depthwise_strided_2d": ((1, 3, 7, 7), (3, 1, 3, 3), [2, 2], [1, 1], [1, 1], 3),
    "depthwise_multiplied_2d": ((1, 2, 5, 5), (6, 1, 3, 3), [1, 1], [1, 1], [1, 1], 2),
    "pointwise_2d": ((2, 5, 3, 3), (3, 5, 1, 1), [1, 1], [0, 0], [1, 1], 1),
    "pointwise_strided_2d": ((2, 3, 5, 5), (2, 3, 1, 1), [2, 2], [0, 0], [1, 1], 1),
    "whole_input_2d": ((2, 2, 3, 3), (5, 2, 3, 3), [1, 1], [0, 0], [1, 1], 1),
    "wide_padding_2d": ((1, 1, 2, 2), (1, 1, 3, 3), [1, 1], [4, 3], [1, 1], 1),
    "patches_2d": ((1, 3, 8, 8), (5, 3, 4, 4), [4, 4], [0, 0], [1, 1], 1),
    "plain_3d": ((1, 2, 3, 5, 4), (3, 2, 2, 3, 2), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1),
    "strided_3d": ((1, 2, 5, 4, 5), (2, 2, 3, 2, 3), [2, 1, 2], [1, 0, 1], [1, 1, 1], 1),
    "dilated_grouped_3d": ((1, 2, 5, 5, 5), (4, 1, 2, 2, 2), [1, 2, 1], [1, 1, 0], [2, 1, 2], 2),
}

# name: (x, weight [in, out / groups, *kernel], stride, padding, output_padding, dilation, groups)
TRANSPOSED_CONVS = {
    "plain_1d": ((2, 3, 5), (3, 2, 3), [1], [0], [0], [1], 1),
    "strided_1d": ((2, 3, 5), (3, 2, 3), [2], [1], [1], [1], 1),
    "dilated_grouped_1d": ((1, 4, 5), (4, 3, 2), [3], [1], [2], [2], 2),
    "plain_2d": ((2, 2, 3, 5), (2, 3, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1], 1),
    "doubling_2d": ((1, 3, 3, 3), (3, 2, 4, 4), [2, 2], [1, 1], [0, 0], [1, 1], 1),
    "strided_2d": ((2, 2, 3, 2), (2, 3, 3, 2), [2, 3], [1, 0], [1, 2], [1, 1], 1),
    "grouped_2d": ((1, 4, 3, 3), (4, 3, 3, 3), [2, 2], [1, 1], [1, 1], [1, 1], 2),
    "depthwise_2d": ((2, 3, 3, 3), (3, 1, 3, 3), [2, 2], [1, 1], [0, 0], [1, 1], 3),
    "dilated_2d": ((1, 2, 3, 3), (2, 2, 2, 3), [1, 2], [1, 2], [0, 1], [2, 2], 1),
    "plain_3d": ((1, 2, 2, 3, 2), (2, 3, 2, 3, 2), [1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1], 1),
    "strided_3d": ((1, 2, 2, 3, 2), (2, 1, 3, 2, 3), [2, 2, 2], [1, 0, 1], [1, 1, 0], [1, 1, 1], 1),
    "grouped_3d": ((1, 2, 2, 2, 3), (2, 2, 2, 2, 2), [2, 1, 1], [0, 1, 0], [0, 0, 0], [1, 2, 1], 2),
}


def record():
    family = Family("conv")
    for name, (x, weight, stride, padding, dilation, groups) in CONVS.items():
        d = len(stride)
        params = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        family.case(f"conv{d}d/{name}", f"conv{d}d", FORWARD[d],
                    lambda r: [r.normal(*x), r.normal(*weight), r.normal(weight[0])], params=params,
                    second=d < 3, note="inputs: x, weight, bias")
    for name, (x, weight, stride, padding, output_padding, dilation, groups) in TRANSPOSED_CONVS.items():
        d = len(stride)
        params = {"stride": stride, "padding": padding, "output_padding": output_padding,
                  "dilation": dilation, "groups": groups}
        family.case(f"conv_transpose{d}d/{name}", f"conv_transpose{d}d", TRANSPOSED[d],
                    lambda r: [r.normal(*x), r.normal(*weight), r.normal(weight[1] * groups)],
                    params=params, second=d < 3, note="inputs: x, weight [in, out / groups, ...], bias")
    once = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1}
    family.case("conv2d/without_bias", "conv2d", F.conv2d,
                lambda r: [r.normal(1, 2, 5, 3), r.normal(3, 2, 3, 3)], params=once)
    family.case("conv2d/channels_last_in_memory", "conv2d", F.conv2d,
                lambda r: [r.normal(2, 5, 5, 3), r.normal(3, 3, 2, 3)], params=once,
                views={0: [{"view": "permute", "dims": [0, 3, 1, 2]}],
                       1: [{"view": "permute", "dims": [2, 3, 0, 1]}]})
    family.case("conv2d/flipped_input", "conv2d", F.conv2d,
                lambda r: [r.normal(1, 2, 5, 5), r.normal(3, 2, 3, 3)], params=once,
                views={0: [{"view": "flip", "dims": [2, 3]}], 1: [{"view": "flip", "dims": [0]}]})
    family.case("conv2d/one_sample_without_batch", "conv2d", F.conv2d,
                lambda r: [r.normal(2, 5, 3), r.normal(3, 2, 3, 3), r.normal(3)], params=once,
                note="PyTorch accepts an input without a batch dimension")
    return family
