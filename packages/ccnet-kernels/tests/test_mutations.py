"""Faults seeded into the kernels' sources, each of which the emulator or the comparison with float64 must catch."""

import re

import pytest
import torch
from emulated_memory import EmulationError
from kernel_oracle import errors, wrong
from kernel_variants import attend_by, variant

from ccnet_kernels.formula import plain_attention

HALF, SINGLE = torch.bfloat16, torch.float32
# (B, D, C, H, W) or (B, D, C, T, H, W)
SMALL = (1, 16, 8, 3, 11)
TALL = (1, 16, 8, 11, 3)
ROUNDS = (1, 16, 8, 1, 70)  # three rounds of 32, two of 64
SLICES = (1, 72, 8, 1, 3)
THIRDS = (1, 136, 8, 1, 40)  # three slices of query, two rounds
CHUNKS = (1, 8, 136, 2, 3)
CLIP = (1, 8, 8, 3, 2, 2)
LONGEST = (1, 8, 8, 1, 40)  # three warps
MANY = (2, 8, 320, 66, 2)  # 132 short lines with five slices of value, in blocks of three and two
HIGH = (1, 72, 8, 2, 3)  # with energies of several hundred
FLAT = 0.3  # magnitude of query: with much larger ones a weight more or less changes little

NUMBERS = "wrong numbers"
RACE = "by two warps without a barrier"
TOO_EARLY = "a copy has not been waited for"
BOUNDS = "is out of bounds"

# What is wrong: (place, text, replacement, shape, how it is caught)
LINE_FAULTS = {
    "A takes eight rows twice": ("lines", "* 16 + (lane & 15)) * pitch", "* 16 + (lane & 7)) * pitch", TALL, NUMBERS),
    "A takes the halves of its channels by rows": (
        "lines",
        "+ (lane >> 4) * 8)\n    left_address",
        "+ (lane >> 3 & 1) * 8)\n    left_address",
        SMALL,
        NUMBERS,
    ),
    "every warp takes the rows of the first": (
        "lines",
        "(cuda.threadIdx.x >> 5) * 16 + (lane & 15)",
        "(lane & 15)",
        ROUNDS,
        NUMBERS,
    ),
    "B takes the wrong eight rows": (
        "lines",
        "(lane & 7) + (lane >> 4) * 8",
        "(lane & 7) + (lane >> 3 & 1) * 8",
        SMALL,
        NUMBERS,
    ),
    "B takes the wrong half of its channels": (
        "lines",
        "* pitch + (lane >> 3 & 1) * 8)",
        "* pitch + (lane >> 4) * 8)",
        SMALL,
        NUMBERS,
    ),
    "the weighted tile is read in the wrong order": (
        "lines",
        "offset + (lane & 15) * pitch + (lane >> 4) * 8",
        "offset + (lane & 15) * pitch + (lane >> 3 & 1) * 8",
        SMALL,
        NUMBERS,
    ),
    "the weighted tile is not transposed": (
        "lines",
        "ptx.load_matrices_transposed(",
        "ptx.load_matrices(",
        SMALL,
        NUMBERS,
    ),
    "the weights of upper and lower rows change places": ("lines", "a0, a1 = pack", "a1, a0 = pack", TALL, NUMBERS),
    "a pair of weights changes places": (
        "lines",
        "pack(weights[w + 4], weights[w + 5])",
        "pack(weights[w + 5], weights[w + 4])",
        SMALL,
        NUMBERS,
    ),
    "channels that are not there are not zero": ("lines", " and channel + across < channels\n", "\n", SLICES, NUMBERS),
    "a copy brings half of its bytes": ("lines", "uint32(16) if inside", "uint32(8) if inside", SMALL, NUMBERS),
    "the last position of a line is another": (
        "lines",
        "min(row + there, length - 1)",
        "min(row + there, length - 2)",
        SMALL,
        NUMBERS,
    ),
    "lines begin where others do": (
        "lines",
        "int64(length * step)",
        "int64(length)",
        (2, 8, 8, 2, 3),
        "by two threads",
    ),
    "a chunk begins where the first does": ("lines", "int32(chunk * width)", "int32(0)", CHUNKS, "by two threads"),
    "the next round is copied over this one": (
        "lines",
        "copy_tile(theres, int32(turn * THERE_TILE)",
        "copy_tile(theres, int32(0 * THERE_TILE)",
        ROUNDS,
        "where nothing was written",
    ),
    "values are copied to the other half": (
        "lines",
        "place = int32(value_turn * VALUE_TILE)",
        "place = int32((1 - value_turn) * VALUE_TILE)",
        SMALL,
        "where nothing was written",
    ),
    "a group is not closed": ("lines", "    ptx.close_group()\n", "", SMALL, TOO_EARLY),
    "queries are copied in the first round only": (
        "lines",
        "if narrow > SLICE or seen == 0:",
        "if seen == 0:",
        THIRDS,
        NUMBERS,
    ),
    "no barrier after the wait": (
        "line_attention",
        "            cuda.syncthreads()\n\n            if part == 0:",
        "            if part == 0:",
        SMALL,
        RACE,
    ),
    "no barrier before the next copy": (
        "line_attention",
        "next_value_turn\n            cuda.syncthreads()\n",
        "next_value_turn\n",
        ROUNDS,
        RACE,
    ),
    "no wait while the next round is copied": (
        "line_attention",
        "ptx.wait_for_all_groups_but_one()",
        "ptx.close_group()",
        ROUNDS,
        TOO_EARLY,
    ),
    "the last round does not wait": (
        "line_attention",
        "ptx.wait_for_all_groups()",
        "ptx.wait_for_all_groups_but_one()",
        SMALL,
        TOO_EARLY,
    ),
    "the maximum forgets two lanes": (
        "line_attention",
        "in (1, 2):  # the four",
        "in (1, 1):  # the four",
        SMALL,
        NUMBERS,
    ),
    "the sum forgets two lanes": (
        "line_attention",
        "in (1, 2):\n            upper_sum",
        "in (1,):\n            upper_sum",
        SMALL,
        NUMBERS,
    ),
    "one position too many": (
        "line_attention",
        "outside = position >= length",
        "outside = position > length",
        SMALL,
        NUMBERS,
    ),
    "itself twice": (
        "line_attention",
        "if outside or (not first and position == upper):",
        "if outside:",
        SMALL,
        NUMBERS,
    ),
    "itself twice in the lower rows": (
        "line_attention",
        "(not first and position == upper + 8)",
        "(not first and position == upper + 9)",
        TALL,
        NUMBERS,
    ),
    "itself not at all": ("line_attention", "(not first and position == upper)", "(position == upper)", SMALL, NUMBERS),
    "the total is not rescaled": (
        "line_attention",
        "totals[i + n] *= upper_fade",
        "totals[i + n] *= float32(1.0)",
        ROUNDS,
        NUMBERS,
    ),
    "the sum is not rescaled": (
        "line_attention",
        "lower_sum *= lower_fade",
        "lower_sum *= float32(1.0)",
        ROUNDS,
        NUMBERS,
    ),
    "no maximum is subtracted": (
        "line_attention",
        "upper_higher = ptx.maximum(upper_higher, energies[i + n])",
        "upper_higher = ptx.maximum(upper_higher, float32(0.0))",
        HIGH,
        NUMBERS,
    ),
    "axes are merged without weights": (
        "line_attention",
        "one += low(pair) * before",
        "one += low(pair)",
        SMALL,
        NUMBERS,
    ),
    "the sum of the earlier axis is forgotten": (
        "line_attention",
        "before + now * total",
        "now * total",
        SMALL,
        NUMBERS,
    ),
    "the log-sum-exp has another base": (
        "line_attention",
        "ptx.log2(total)) * float32(LN_2)",
        "ptx.log2(total))",
        SMALL,
        NUMBERS,
    ),
    "half of the output is not scaled": ("line_attention", "two *= scale[0]", "two *= float32(1.0)", SMALL, NUMBERS),
    "the residual's pairs are doubled": (
        "line_attention",
        "                                two += high(pair)\n",
        "                                two += low(pair)\n",
        SMALL,
        NUMBERS,
    ),
    "the attended map is not kept": ("line_attention", "if kept or not last:", "if not last:", SMALL, NUMBERS),
    "the last channels are not written": (
        "line_attention",
        "if at < value_channels:",
        "if at < value_channels - 2:",
        SMALL,
        NUMBERS,
    ),
    "sums are read where they are written": (
        "passes",
        "None if first else before",
        "None if first else now",
        CHUNKS,
        "read by one thread and written by another|" + NUMBERS,
    ),
    "a launch lacks a block": (
        "grids",
        "positions // length * in_pieces(length, ROWS)",
        "positions // length",
        ROUNDS,
        NUMBERS,
    ),
    "delta forgets the second of a pair": ("line_gradients", " + high(one) * high(two)", "", SMALL, NUMBERS),
    "delta forgets half of the lanes": (
        "line_gradients",
        "(1, 2, 4, 8, 16)",
        "(1, 2, 4, 8)",
        (1, 8, 40, 1, 3),
        NUMBERS,
    ),
    "no barrier after the wait of the value gradient": (
        "line_gradients",
        "            cuda.syncthreads()\n\n            if part == 0:",
        "            if part == 0:",
        SMALL,
        RACE,
    ),
    "no barrier before the value gradient's next copy": (
        "line_gradients",
        "next_value_turn\n            cuda.syncthreads()\n",
        "next_value_turn\n",
        ROUNDS,
        RACE,
    ),
    "the value gradient takes its own log-sum-exp": (
        "line_gradients",
        "log_sums[start + int32(position * step)]",
        "log_sums[start + int32(min(upper, length - 1) * step)]",
        SMALL,
        NUMBERS,
    ),
    "the value gradient counts itself twice": (
        "line_gradients",
        "if not first and position == upper + 8 * side:",
        "if not first and position == upper + 8 * side + 1:",
        SMALL,
        NUMBERS,
    ),
    "the value gradient looks too far": (
        "line_gradients",
        "                        if position < length:\n",
        "                        if position <= length:\n",
        SMALL,
        BOUNDS,
    ),
    "the value gradient forgets scale": (
        "line_gradients.weighted_sum_kernel",
        "totals[i + 2 * side] * factor",
        "totals[i + 2 * side]",
        SMALL,
        NUMBERS,
    ),
    "the energy gradient forgets the axis before": (
        "line_gradients.energy_gradient_kernel",
        "two += high(pair)",
        "two += float32(0.0)",
        SMALL,
        NUMBERS,
    ),
    "no barrier after the wait of the energy gradient": (
        "line_gradients",
        "            cuda.syncthreads()\n\n            place =",
        "            place =",
        SMALL,
        RACE,
    ),
    "no barrier before the energy gradient's next copy": (
        "line_gradients",
        "int32(1 - turn)\n            cuda.syncthreads()\n\n        factor",
        "int32(1 - turn)\n\n        factor",
        SMALL,
        RACE,
    ),
    "the energy gradient forgets delta": ("line_gradients", " - delta[owner])", ")", SMALL, NUMBERS),
    "the key gradient takes its own log-sum-exp": (
        "line_gradients",
        "position if transposed else own",
        "own",
        SMALL,
        NUMBERS,
    ),
    "the energy gradient counts itself twice": (
        "line_gradients",
        " & ((first != 0) | (position != own))",
        "",
        SMALL,
        NUMBERS,
    ),
    "the energy gradient forgets the last slice of values": (
        "line_gradients",
        "uint32(value_channels + SLICE - 1) // uint32(SLICE) + 1",
        "uint32(value_channels) // uint32(SLICE) + 1",
        SMALL,
        NUMBERS,
    ),
    "the products of values are not cleared": (
        "line_gradients",
        "clear(products, SLOPES)",
        "clear(energies, SLOPES)",
        SMALL,
        NUMBERS,
    ),
    "added channels are not zero": ("maps", "    copy[:, channels:] = 0\n", "", (1, 3, 8, 2, 3), NUMBERS),
}

SHORT_FAULTS = {
    "A takes the halves of its channels by rows": (
        "short_lines",
        "(lane & 15) * pitch + (lane >> 4) * 8",
        "(lane & 15) * pitch + (lane >> 3 & 1) * 8",
        SMALL,
        NUMBERS,
    ),
    "B takes the wrong eight rows": (
        "short_lines",
        "((lane & 7) + (lane >> 4) * 8)",
        "((lane & 7) + (lane >> 3 & 1) * 8)",
        SMALL,
        NUMBERS,
    ),
    "a copy brings what is not there": ("short_lines", " and channel + across < channels\n", "\n", SLICES, NUMBERS),
    "a row has one thread": ("short_lines", "range(pieces // 2)", "range(pieces // 4)", SMALL, "nothing was written"),
    "the odd lanes write the first four": (
        "short_lines",
        "(lane & 1) * 8 + (lane >> 1 & 1) * 4",
        "(lane >> 1 & 1) * 8 + (lane & 1) * 4",
        SMALL,
        NUMBERS,
    ),
    "neighbours hand over the wrong two": (
        "short_lines",
        "two if odd else four, 1)",
        "four if odd else two, 1)",
        SMALL,
        NUMBERS,
    ),
    "the last rows are not seen": ("short_lines", "if j * 16 < rows:", "if j * 16 + 16 < rows:", TALL, NUMBERS),
    "no barrier after the energies' wait": (
        "short_attention",
        "            cuda.syncthreads()\n            queries",
        "            queries",
        LONGEST,
        RACE,
    ),
    "no barrier after the energies": (
        "short_attention",
        "            cuda.syncthreads()\n            channel, pair",
        "            channel, pair",
        (1, 136, 8, 1, 40),
        RACE,
    ),
    "no barrier after the values' wait": (
        "short_attention",
        "            cuda.syncthreads()\n            if channel",
        "            if channel",
        LONGEST,
        RACE,
    ),
    "the energies do not wait": (
        "short_attention",
        "ptx.wait_for_all_groups_but_two()",
        "ptx.close_group()",
        SMALL,
        TOO_EARLY,
    ),
    "the values do not wait": (
        "short_attention",
        "ptx.wait_for_all_groups_but_one()",
        "ptx.wait_for_all_groups_but_two()",
        SMALL,
        TOO_EARLY,
    ),
    "values are copied over those in use": (
        "short_attention",
        "((turn + 2) & 3)",
        "((turn + 1) & 3)",
        MANY,
        NUMBERS,
    ),
    "a block takes the channels of the next": (
        "short_attention",
        "int32(piece * uint32(span))",
        "int32(piece * uint32(SLICE))",
        MANY,
        "by two threads",
    ),
    "itself twice": (
        "short_attention",
        "if position >= length or (not first and position == upper + 8 * side):",
        "if position >= length:",
        SMALL,
        NUMBERS,
    ),
    "one position too many": (
        "short_attention",
        "if position >= length or",
        "if position > length or",
        SMALL,
        NUMBERS,
    ),
    "the maximum forgets two lanes": (
        "short_attention",
        "in (1, 2):  # the four",
        "in (1, 1):  # the four",
        HIGH,
        NUMBERS,
    ),
    "the sum forgets two lanes": (
        "short_attention",
        "in (1, 2):\n                sums",
        "in (1,):\n                sums",
        SMALL,
        NUMBERS,
    ),
    "the sum of the earlier axis is forgotten": (
        "short_attention",
        "before[side] + now[side] * sums[side]",
        "now[side] * sums[side]",
        SMALL,
        NUMBERS,
    ),
    "the earlier axis has no weight": (
        "short_attention",
        "high(pairs[1]) * before[side]",
        "high(pairs[1])",
        SMALL,
        NUMBERS,
    ),
    "the attended map is not kept": ("short_attention", "if kept or not last:", "if not last:", SMALL, NUMBERS),
    "the gradients' weights are read before they are there": (
        "short_gradients",
        "            cuda.syncthreads()\n            following",
        "            following",
        LONGEST,
        RACE,
    ),
    "the slopes are read before they are there": (
        "short_gradients",
        "                    cuda.syncthreads()\n                at =",
        "                at =",
        LONGEST,
        RACE,
    ),
    "the gradients do not wait": (
        "short_gradients",
        "ptx.wait_for_all_groups()",
        "ptx.wait_for_all_groups_but_one()",
        SMALL,
        TOO_EARLY,
    ),
    "the gradients count themselves twice": (
        "short_gradients",
        " & ((first != 0) | (other != position))",
        "",
        SMALL,
        NUMBERS,
    ),
    "the slopes forget delta": ("short_gradients", "(energies[i + 1] - own_delta)", "energies[i + 1]", SMALL, NUMBERS),
    "the lower rows take the delta of the upper": (
        "short_gradients",
        "lower_delta if i // 2 % 2 else upper_delta",
        "upper_delta",
        TALL,
        NUMBERS,
    ),
    "the gradient of query takes the columns": (
        "short_gradients",
        "ptx.load_matrices, seeing, 16,",
        "ptx.load_matrices_transposed, seen, int32(16 * pitch),",
        SMALL,
        NUMBERS,
    ),
    "the gradients forget the axis before": (
        "short_gradients",
        "four += high(pairs[1])",
        "four += low(pairs[1])",
        SMALL,
        NUMBERS,
    ),
    "the gradients forget scale": ("short_gradients", "four * factor", "four", SMALL, NUMBERS),
    "the last slice of values is forgotten": (
        "short_gradients",
        "uint32(value_channels + SLICE - 1) // uint32(SLICE)",
        "uint32(value_channels) // uint32(SLICE)",
        (1, 8, 40, 2, 3),
        NUMBERS + "|nothing was written",
    ),
    "a block has too few warps": ("grids", "in_pieces(length, 16) * 16", "in_pieces(length, 32) * 16", ROUNDS, NUMBERS),
}

WALK = "min(STEPS, steps - first)"
PIXEL_FAULTS = {
    "the column meets the pixel itself": ("pixel_walk", "if other >= row else", "if other > row else", SMALL, NUMBERS),
    "time meets the pixel itself": ("pixel_walk", "if other >= frame else", "if other > frame else", CLIP, NUMBERS),
    "the column ends early": (
        "pixel_walk",
        "if other < height - 1:",
        "if other < height - 2:",
        TALL,
        f"{NUMBERS}|{BOUNDS}",
    ),
    "rows change places with columns": (
        "pixel_attention.log_sum_exp",
        "lane // TILE_WIDTH), int32(column + lane % TILE_WIDTH)",
        "lane % TILE_WIDTH), int32(column + lane // TILE_WIDTH)",
        SMALL,
        NUMBERS,
    ),
    "a step too many": ("pixel_attention", "if first + n < steps:", "if first + n <= steps:", SMALL, NUMBERS),
    "the sum is not rescaled to the new maximum": (
        "pixel_attention",
        "total * math.exp(highest - higher) + math.exp(",
        "total + math.exp(",
        SMALL,
        NUMBERS,
    ),
    "the merge forgets a group": ("pixel_attention", "range(1, GROUPS)", "range(1, GROUPS - 6)", SMALL, NUMBERS),
    "no barrier before the merge": (
        "pixel_attention",
        "    cuda.syncthreads()\n\n    # A group",
        "    # A group",
        SMALL,
        RACE,
    ),
    "no barrier before the sum": (
        "pixel_attention",
        "        cuda.syncthreads()\n        for n in range(min(STEPS",
        "        for n in range(min(STEPS",
        SMALL,
        RACE,
    ),
    "no barrier before the next round": (
        "pixel_attention",
        "        cuda.syncthreads()\n    factor",
        "    factor",
        ROUNDS,
        RACE,
    ),
    "a round loses its last step": ("pixel_attention", WALK, f"{WALK} - 1", SMALL, NUMBERS),
    "the last channel is not written": (
        "pixel_attention",
        "first_channel + c < channels:",
        "first_channel + c < channels - 1:",
        SMALL,
        NUMBERS,
    ),
    "every thread writes": (
        "pixel_attention",
        "if inside and first_channel",
        "if first_channel",
        SMALL,
        "by two threads",
    ),
    "the value gradient takes its own log-sum-exp": (
        "pixel_attention",
        "positions[n] if transposed else pixel",
        "pixel",
        SMALL,
        NUMBERS,
    ),
    "the output is not scaled": (
        "pixel_attention",
        "factor = scale[0] if scaled else float32(1.0)",
        "factor = float32(1.0)",
        SMALL,
        NUMBERS,
    ),
    "the scaled map is kept": (
        "pixel_attention",
        "attended[index] = totals[c]",
        "attended[index] = factor * totals[c]",
        SMALL,
        NUMBERS,
    ),
    "delta loses a channel": (
        "pixel_gradients",
        "for channel in range(channels):",
        "for channel in range(1, channels):",
        SMALL,
        NUMBERS,
    ),
    "the energy gradient forgets delta": ("pixel_gradients", " - delta[owner])", ")", SMALL, NUMBERS),
    "the key gradient takes its own log-sum-exp": (
        "pixel_gradients",
        "(positions[n] if transposed else pixel)",
        "pixel",
        SMALL,
        NUMBERS,
    ),
    "no barrier before the energy gradient's sum": (
        "pixel_gradients",
        "        cuda.syncthreads()\n        for n in range(min(STEPS",
        "        for n in range(min(STEPS",
        SMALL,
        RACE,
    ),
    "no barrier before the energy gradient's next round": (
        "pixel_gradients",
        "        cuda.syncthreads()\n    factor",
        "    factor",
        ROUNDS,
        RACE,
    ),
    "the energy gradient loses a step": ("pixel_gradients", WALK, f"{WALK} - 1", SMALL, NUMBERS),
    "a clip has one frame": ("passes", "(frames[0] if frames else 1)", "1", CLIP, NUMBERS),
}
LONG, SHORT, PIXELS = "long", "short", "pixels"
CASES = [(LONG, name, fault) for name, fault in LINE_FAULTS.items()]
CASES += [(SHORT, name, fault) for name, fault in SHORT_FAULTS.items()]
CASES += [(PIXELS, name, fault) for name, fault in PIXEL_FAULTS.items()]


@pytest.mark.parametrize(("kind", "name", "fault"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_a_fault_is_caught(kind, name, fault, tmp_path):
    place, text, replacement, shape, expected = fault
    magnitude, dtype = 10.0 if shape == HIGH else FLAT, SINGLE if kind == PIXELS else HALF
    passes = variant(tmp_path, "faulty_" + re.sub(r"\W", "_", name), place, text, replacement)
    if kind == LONG:
        passes.SHORT = 0
    try:
        found = wrong(
            errors(attend_by(passes), shape, magnitude, dtype=dtype, reference=plain_attention), magnitude, dtype
        )
        caught = NUMBERS if found else "nothing"
    except EmulationError as error:
        caught = str(error)
    assert re.search(expected, caught)


@pytest.mark.parametrize("kind", [LONG, SHORT, PIXELS])
@pytest.mark.parametrize("shape", [SMALL, TALL, ROUNDS, SLICES, THIRDS, CHUNKS, CLIP, MANY], ids=str)
def test_without_a_fault_nothing_is_caught(kind, shape, tmp_path):
    dtype = SINGLE if kind == PIXELS else HALF
    passes = variant(tmp_path, "faultless", "maps", "PIECE = 8\n", "PIECE = 8\n")
    if kind == LONG:
        passes.SHORT = 0
    assert not wrong(errors(attend_by(passes), shape, 1.0, dtype=dtype, reference=plain_attention), 1.0, dtype)
