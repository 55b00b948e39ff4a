"""Operations on whole vectors, written in the compiler's own language (LLVM's, for any
processor).

Numba makes vector code of plain loops, too, but tests before each whether its arrays overlap;
around loops as short as these that costs two to six times their own work (measured).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, index: Any, vector: Any) -> Any:
    """The address of array[index], of a flat array, as that of a vector. Nothing is checked."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _add_rows(lanes: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def add_rows(
        _: Any,
        weight: Any,
        picked: Any,
        begin: Any,
        end: Any,
        width: Any,
        first: Any,
        shift: Any,
        keep: Any,
        sums: Any,
        at: Any,
    ) -> Any:
        """sums[at : at + lanes] (int32 or int16) = for all k in begin..end the weights (int8) from
        picked[k] * width + first on, added up in int16 and shifted left; with `keep` = -1 instead
        of 0, plus what is there.
        """
        whole, element = types.intp, {types.int32: INT32, types.int16: INT16}[sums.dtype]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            weight, picked, begin, end, width, first, shift, keep, sums, at = arguments
            narrow, wide = ir.VectorType(INT8, lanes), ir.VectorType(INT16, lanes)
            before = builder.block
            head, body, after = (
                builder.append_basic_block(name) for name in ("head", "body", "after")
            )
            builder.branch(head)
            builder.position_at_end(head)
            k, total = builder.phi(INT64), builder.phi(wide)
            k.add_incoming(begin, before)
            total.add_incoming(ir.Constant(wide, [0] * lanes), before)
            builder.cbranch(builder.icmp_signed("<", k, end), body, after)
            builder.position_at_end(body)
            row = builder.sext(
                builder.load(
                    builder.gep(
                        context.make_array(signature.args[1])(context, builder, picked).data, [k]
                    )
                ),
                INT64,
            )
            place = builder.add(builder.mul(row, width), first)
            values = builder.load(
                pointer_to(context, builder, signature.args[0], weight, place, narrow), align=1
            )
            k.add_incoming(builder.add(k, ir.Constant(INT64, 1)), body)
            total.add_incoming(builder.add(total, builder.sext(values, wide)), body)
            builder.branch(head)
            builder.position_at_end(after)
            kind = ir.VectorType(element, lanes)
            shift, keep = (
                splat(builder, builder.trunc(one, element) if element == INT16 else one, kind)
                for one in (shift, keep)
            )
            found = builder.shl(total if kind == wide else builder.sext(total, kind), shift)
            into = pointer_to(context, builder, signature.args[8], sums, at, kind)
            held = builder.and_(builder.load(into, align=element.width // 8), keep)
            builder.store(builder.add(found, held), into, align=element.width // 8)
            return context.get_dummy_value()

        numbers = (types.int32, types.int32)
        return types.void(weight, picked, *(whole,) * 4, *numbers, sums, whole), generate

    return add_rows


add_16, add_32, add_64, add_128 = (_add_rows(lanes) for lanes in (16, 32, 64, 128))


@intrinsic  # type: ignore[untyped-decorator]
def copy_8(_: Any, source: Any, first: Any, plus: Any, target: Any, at: Any) -> Any:
    """target[at : at + 8] = source[first : first + 8] + plus, all int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, plus, target, at = arguments
        eight = ir.VectorType(INT32, 8)
        values = builder.load(
            pointer_to(context, builder, signature.args[0], source, first, eight), align=4
        )
        builder.store(
            builder.add(values, splat(builder, plus, eight)),
            pointer_to(context, builder, signature.args[3], target, at, eight),
            align=4,
        )
        return context.get_dummy_value()

    return types.void(source, types.intp, types.int32, target, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def put_32(_: Any, found: Any, first: Any, shift: Any, keep: Any, sums: Any, at: Any) -> Any:
    """sums[at : at + 32] (int32 or int16) = found[first : first + 32] (int32), shifted left; with
    `keep` = -1 instead of 0, plus what is there.
    """
    element = {types.int32: INT32, types.int16: INT16}[sums.dtype]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found, first, shift, keep, sums, at = arguments
        wide, kind = ir.VectorType(INT32, 32), ir.VectorType(element, 32)
        values = builder.load(
            pointer_to(context, builder, signature.args[0], found, first, wide), align=4
        )
        values = builder.shl(values, splat(builder, shift, wide))
        if kind != wide:
            values, keep = builder.trunc(values, kind), builder.trunc(keep, element)
        into = pointer_to(context, builder, signature.args[4], sums, at, kind)
        align = element.width // 8
        held = builder.and_(builder.load(into, align=align), splat(builder, keep, kind))
        builder.store(builder.add(values, held), into, align=align)
        return context.get_dummy_value()

    numbers = (types.int32, types.int32)
    return types.void(found, types.intp, *numbers, sums, types.intp), generate


def call(builder: Any, name: str, returns: Any, arguments: list[Any]) -> Any:
    """Call an operation that LLVM knows by name."""
    kind = ir.FunctionType(returns, [one.type for one in arguments])
    return builder.call(builder.module.declare_intrinsic(name, (), kind), arguments)


def splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector that holds `value` everywhere."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(INT32, 0))
    everywhere = ir.Constant(ir.VectorType(INT32, vector.count), None)
    return builder.shuffle_vector(one, one, everywhere)
