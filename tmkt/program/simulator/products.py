"""Innermost loop of dense delivery: the values of a window times its weights, for several positions
and 16 channels at a time, with the processor's instructions for products of bytes.

Values are unsigned bytes, weights have 7 bits and sign, sums are int32. The instructions multiply
four pairs of bytes and add them up, so four inputs of a channel lie side by side in the packed
weights. The loop is written in the compiler's own language (LLVM's), as in simd.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tmkt.processor import features
from tmkt.program.simulator.packing import BLOCK, GROUP, PACKED
from tmkt.program.simulator.simd import INT8, INT16, INT32, INT64, call, splat

# Value: a signed byte, as Arm's products take it; two of them times weights of -128..127 fit int16
LARGEST = 127
DIGIT_BITS = 7  # larger values are multiplied digit by digit
Values = list[Any]  # of the compiler's language


@dataclass(frozen=True)
class Instructions:
    """The instructions that multiply.

    `feature`: of the processor, as LLVM calls it; none for any processor. `positions`, `blocks`:
    how many of each are computed together, enough to hide the instruction's latency, and no more
    than there are registers for. Blocks that are left over are computed one by one. `vector`: its
    bytes.
    """

    feature: str
    positions: int
    blocks: int
    vector: int


# The best first. With VNNI, tiles of 4 to 24 positions and 1 to 4 blocks were tried: this one is
# the fastest on an AMD EPYC 9005, at 500 G products a second (a core at 4 GHz: 512 G). Arm's
# ("dotprod") ran in an emulator, which tells nothing of time.
KNOWN = (
    Instructions("avx512vnni", 8, 2, 64),
    Instructions("avxvnni", 4, 1, 32),
    Instructions("avx2", 4, 1, 32),
    Instructions("dotprod", 4, 1, 16),
    Instructions("", 4, 1, 64),
)


def products_of(instructions: Instructions) -> Any:
    """Make the inner loop for a processor with these instructions: for as many blocks of channels
    as they take together, or, unless `together`, for one of those that are left over.

    The sum of products of the window at position p with channel c < BLOCK of block b, shifted left,
    comes to out[at + p * apart + b * BLOCK + c] (int32 or int16, flat): in the place of what is
    there, or, with `keep` = -1 instead of 0, added to it. Unless the tile is `inside` of `out`, it
    comes to rest[p, b, c] (as `out`, flat) instead. The windows begin at places[first + p]
    (int64) of `values` (uint8). A window has `rows` rows of `groups` groups of values, `pitch`
    bytes apart. The first block's weights (int8) begin at `begin`. So many groups as `flush` fit
    int16: at most `LARGEST` / largest value. Nothing is checked.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def multiply_windows(
        _: Any,
        values: Any,
        places: Any,
        first: Any,
        pitch: Any,
        rows: Any,
        groups: Any,
        flush: Any,
        weight: Any,
        begin: Any,
        shift: Any,
        keep: Any,
        out: Any,
        at: Any,
        apart: Any,
        inside: Any,
        rest: Any,
        together: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            *taken, together = [
                context.make_array(kind)(context, builder, value).data
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            with builder.if_else(together) as cases:
                for case, blocks in zip(cases, (instructions.blocks, 1), strict=True):
                    with case:
                        _Writer(builder, instructions, blocks).windows(taken)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(
            values,
            places,
            *(whole,) * 5,
            weight,
            whole,
            types.int32,
            types.int32,
            out,
            whole,
            whole,
            types.boolean,
            rest,
            types.boolean,
        ), generate

    return multiply_windows


class _Writer:
    """Writes the inner loop in LLVM's language."""

    def __init__(self, builder: Any, instructions: Instructions, blocks: int) -> None:
        self.builder, self.positions, self.blocks = builder, instructions.positions, blocks
        self.bytes, self.halves, self.words = (
            ir.VectorType(kind, 8 * instructions.vector // kind.width)
            for kind in (INT8, INT16, INT32)
        )
        self.feature = instructions.feature
        self.vector, self.vectors = instructions.vector, PACKED // instructions.vector

    def windows(self, arguments: Values) -> None:
        """Write the loops over rows of the window, parts of a row, and groups of a part.

        `arguments`: those of `multiply_windows`.
        """
        values, places, first, pitch, rows, groups, flush, weight, begin, *target = arguments
        b = self.builder
        zero, one = ir.Constant(INT64, 0), ir.Constant(INT64, 1)
        none = [ir.Constant(self.words, None)] * (self.blocks * self.positions * self.vectors)
        size = b.mul(b.mul(rows, groups), ir.Constant(INT64, PACKED))
        blocks = [b.gep(weight, [b.mul(size, ir.Constant(INT64, i))]) for i in range(self.blocks)]
        windows = [
            b.gep(values, [b.load(b.gep(places, [b.add(first, ir.Constant(INT64, p))]))])
            for p in range(self.positions)
        ]

        def row(_: Any, carried: Values) -> Values:
            line, *carried = carried

            def part(begin: Any, carried: Values) -> Values:
                packed, *sums = carried
                end = b.add(begin, flush)
                end = b.select(b.icmp_signed("<", end, groups), end, groups)

                def group(index: Any, carried: Values) -> Values:
                    packed, *adding = carried
                    place = b.add(line, b.mul(index, ir.Constant(INT64, GROUP)))
                    added = self._group(windows, place, blocks, packed, adding)
                    return [b.add(packed, ir.Constant(INT64, PACKED)), *added]

                packed, *added = self._loop(begin, end, one, [packed, *self._begin(sums)], group)
                return [packed, *self._end(sums, added)]

            return [b.add(line, pitch), *self._loop(zero, groups, flush, carried, part)]

        _, _, *sums = self._loop(zero, rows, one, [zero, begin, *none], row)
        self._put(sums, target)

    def _put(self, sums: Values, target: Values) -> None:
        """Write the sums, those of a position after those of the one before it."""
        shift, keep, out, at, apart, inside, rest = target
        b, element = self.builder, out.type.pointee
        zero, across = ir.Constant(INT64, 0), ir.Constant(INT64, self.blocks * BLOCK)
        out, at, apart, keep = (
            b.select(inside, *two)
            for two in ((out, rest), (at, zero), (apart, across), (keep, ir.Constant(INT32, 0)))
        )
        kind, align = ir.VectorType(element, self.words.count), element.width // 8
        shift, keep = (splat(b, one, self.words) for one in (shift, keep))
        for i, found in enumerate(sums):
            which, vector = divmod(i, self.vectors)
            block, position = divmod(which, self.positions)
            first = b.add(at, b.mul(apart, ir.Constant(INT64, position)))
            channel = ir.Constant(INT64, block * BLOCK + vector * self.words.count)
            place = b.bitcast(b.gep(out, [b.add(first, channel)]), kind.as_pointer())
            before = b.load(place, align=align)
            before = before if kind == self.words else b.sext(before, self.words)
            total = b.add(b.shl(found, shift), b.and_(before, keep))
            b.store(total if kind == self.words else b.trunc(total, kind), place, align=align)

    def _loop(
        self,
        first: Any,
        end: Any,
        step: Any,
        carried: Values,
        body: Callable[[Any, Values], Values],
    ) -> Values:
        """Write a loop that runs once at least; `body` gives the values that are carried on."""
        b = self.builder
        before, head = b.block, b.append_basic_block()
        b.branch(head)
        b.position_at_end(head)
        phis = [b.phi(value.type) for value in (first, *carried)]
        found = body(phis[0], phis[1:])
        following = b.add(phis[0], step)
        for phi, start, then in zip(phis, [first, *carried], [following, *found], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(then, b.block)
        after = b.append_basic_block()
        b.cbranch(b.icmp_signed("<", following, end), head, after)
        b.position_at_end(after)
        return found

    def _group(
        self, windows: Values, place: Any, blocks: Values, packed: Any, sums: Values
    ) -> Values:
        """Add the products of one group: of the values at `place` of each window, and of each
        block's weights at `packed`.
        """
        b = self.builder
        parts = [b.add(packed, ir.Constant(INT64, i * self.vector)) for i in range(self.vectors)]
        weights = [[self._load(block, part, self.bytes) for part in parts] for block in blocks]
        words = [self._load(window, place, INT32) for window in windows]
        fours = [b.bitcast(splat(b, word, self.words), self.bytes) for word in words]
        pairs = [(four, one) for block in weights for four in fours for one in block]
        return [self._multiply(sums[i], *pair) for i, pair in enumerate(pairs)]

    def _load(self, data: Any, place: Any, kind: Any) -> Any:
        b = self.builder
        return b.load(b.bitcast(b.gep(data, [place]), kind.as_pointer()), align=1)

    def _begin(self, sums: Values) -> Values:
        """Give what a part adds to: AVX2 adds in int16, from zero."""
        if self.feature != "avx2":
            return sums
        return [ir.Constant(self.halves, None)] * len(sums)

    def _end(self, sums: Values, added: Values) -> Values:
        """Give the sums after a part."""
        if self.feature != "avx2":
            return added
        ones = ir.Constant(self.halves, [1] * self.halves.count)
        return [
            self.builder.add(
                before, self._call("llvm.x86.avx2.pmadd.wd", self.words, [found, ones])
            )
            for before, found in zip(sums, added, strict=True)
        ]

    def _multiply(self, before: Any, values: Any, weights: Any) -> Any:
        """Add values times weights, four (AVX2: two) products to a sum.

        Weights are signed, and values unsigned; but for Arm, where they are too small to differ.
        """
        if self.feature == "avx2":
            name = "llvm.x86.avx2.pmadd.ub.sw"
            return self.builder.add(before, self._call(name, self.halves, [values, weights]))
        if not self.feature:
            return self._multiply_anywhere(before, values, weights)
        if self.feature == "dotprod":
            name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
            return self._call(name, self.words, [before, values, weights])
        # In vectors of int32: older versions of LLVM know it so, newer ones translate it.
        cast = [self.builder.bitcast(one, self.words) for one in (values, weights)]
        name = f"llvm.x86.avx512.vpdpbusd.{8 * self.vector}"
        return self._call(name, self.words, [before, *cast])

    def _multiply_anywhere(self, before: Any, values: Any, weights: Any) -> Any:
        b, lanes = self.builder, ir.VectorType(INT32, self.words.count)
        for k in range(GROUP):
            every_fourth = ir.Constant(lanes, [*range(k, self.vector, GROUP)])
            value, weight = (b.shuffle_vector(one, one, every_fourth) for one in (values, weights))
            before = b.add(before, b.mul(b.zext(value, self.words), b.sext(weight, self.words)))
        return before

    def _call(self, name: str, returns: Any, arguments: Values) -> Any:
        return call(self.builder, name, returns, arguments)


INSTRUCTIONS = next(one for one in KNOWN if one.feature in {*features(), ""})
multiply_windows = products_of(INSTRUCTIONS)
