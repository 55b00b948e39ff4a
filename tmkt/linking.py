"""Compilation of functions that only other compiled functions call."""

from typing import Any

from numba._dynfunc import make_function
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


@register_pass(mutates_CFG=True, analysis_only=False)
class _LowerToLink(NativeLowering):  # type: ignore[misc]
    """Lowers a function to LLVM's intermediate code, which its callers link."""

    _name = "lower_to_link"

    def run_pass(self, state: Any) -> bool:
        """Lower as numba does, but let nothing ask for the function's address."""
        context = state.targetctx
        library = context.codegen().create_library(state.func_id.func_qualname)
        library.enable_object_caching()
        library._finalize_final_module = lambda: setattr(library, "_finalized", True)
        state.library = library

        def executable(library: Any, about: Any, environment: Any) -> Any:
            name = about.qualname.rpartition(".")[2]
            module = about.lookup_module()
            return make_function(module, name, "", 0, environment, (library,))

        state.targetctx = context.subtarget(get_executable=executable)
        done: bool = super().run_pass(state)
        state.targetctx = context
        return done


class ToLink(CompilerBase):  # type: ignore[misc]
    """Compiles a function for others that link it: numba would write machine code for it, too, that
    nothing calls.
    """

    def define_pipelines(self) -> list[Any]:
        """Give numba's steps with the last one replaced."""
        steps = DefaultPassBuilder.define_nopython_pipeline(self.state)
        steps.passes = [
            (_LowerToLink if one is NativeLowering else one, what) for one, what in steps.passes
        ]
        steps.finalize()
        return [steps]
